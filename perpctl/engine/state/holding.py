"""This file keeps what we hold of one product, folded from fills, each counted once."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from msgspec.structs import replace

from perpctl.model.books.ledger import Change, Tally, apply_fill
from perpctl.model.fill import Fill
from perpctl.model.money import ZERO


@dataclass(slots=True)
class Held:
    """A position since the start of the run; `fills` counts those booked."""

    tally: Tally
    fills: int = 0
    _known: set[str] = field(default_factory=set)

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
        if fill.trade_id in self._known:
            return None
        self._known.add(fill.trade_id)
        change = apply_fill(self.tally, fill)
        self.tally = change.after
        self.fills += 1
        return change

    def adopt(self, size: Decimal, entry_price: Decimal | None, fills: tuple[Fill, ...]) -> None:
        """Take the venue's word for the position, which holds these fills already; what is realised stays."""
        self._known.update(fill.trade_id for fill in fills)
        price = entry_price if entry_price is not None else self.tally.entry_price or ZERO
        cash = self.tally.cash - (size * price - self.tally.cost)
        self.tally = replace(self.tally, size=size, cost=size * price, cash=cash)
