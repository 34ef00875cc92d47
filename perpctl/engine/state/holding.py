"""This file keeps what we hold of one product, folded from fills, each counted once."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from operator import itemgetter

from msgspec.structs import replace

from perpctl.model.books.ledger import Change, Tally, apply_fill
from perpctl.model.fill import Fill
from perpctl.model.money import ZERO

KEPT = 5_000  # fills that may be told again: by the channel, a listing, or the end of an order that rested for long


@dataclass(slots=True)
class Held:
    """A position since the start of the run; `fills` counts those booked."""

    tally: Tally
    fills: int = 0
    _known: dict[str, int] = field(default_factory=dict)  # trade ids, with their market time
    _forgotten_ms: int = -1  # every fill until then is counted, and its id let go of

    @property
    def size(self) -> Decimal:
        return self.tally.size

    @property
    def entry_price(self) -> Decimal | None:
        return self.tally.entry_price

    @property
    def cash(self) -> Decimal:
        """Received less paid less fees. Plus size times price it is the result, whatever happened between."""
        return self.tally.cash - self.tally.fees

    def book(self, fill: Fill) -> Change | None:
        """Count a fill; None when it was counted before."""
        if fill.trade_id in self._known or fill.at_ms <= self._forgotten_ms:
            return None
        self._known[fill.trade_id] = fill.at_ms
        change = apply_fill(self.tally, fill)
        self.tally = change.after
        self.fills += 1
        return change

    def adopt(self, size: Decimal, entry_price: Decimal | None, fills: tuple[Fill, ...]) -> None:
        """Take the venue's word for the position, which holds these fills already; what is realised stays."""
        self._known |= {fill.trade_id: fill.at_ms for fill in fills}
        price = entry_price if entry_price is not None else self.tally.entry_price or ZERO
        cash = self.tally.cash - (size * price - self.tally.cost)
        self.tally = replace(self.tally, size=size, cost=size * price, cash=cash)

    def proven(self) -> None:
        """The venue holds just this, so every old fill is counted: the ids of the oldest may go, the fact stays."""
        if len(self._known) > KEPT:
            by_age = sorted(self._known.items(), key=itemgetter(1))
            self._forgotten_ms = by_age[-KEPT - 1][1]
            self._known = dict(by_age[-KEPT:])
