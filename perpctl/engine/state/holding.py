"""This file keeps what we hold of one product, folded from fills, each counted once."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from perpctl.model.fill import Fill
from perpctl.model.money import ZERO


@dataclass(slots=True)
class Held:
    """Signed size in base coin with its average entry; money in settlement currency.

    `cash` is what the fills moved since the start: minus bought, plus sold, minus fees. Size times price plus cash is
    the result at that price, whatever happened between.
    """

    size: Decimal = ZERO
    entry_price: Decimal | None = None
    realized: Decimal = ZERO
    fees: Decimal = ZERO
    cash: Decimal = ZERO
    fills: int = 0
    trip: Decimal = ZERO  # realised, less fees, since the position was last flat
    _known: set[str] = field(default_factory=set)

    def knows(self, fill: Fill) -> bool:
        return fill.trade_id in self._known

    def book(self, fill: Fill) -> Decimal | None:
        """Count a fill; what it realised, or None when it was counted before."""
        if fill.trade_id in self._known:
            return None
        self._known.add(fill.trade_id)
        change = fill.side.sign * fill.size
        realized = self._close(change, fill.price)
        self._open(change, fill.price)
        self.size += change
        if not self.size:
            self.entry_price = None
        self.realized += realized
        self.fees += fill.fee
        self.cash -= change * fill.price + fill.fee
        self.trip += realized - fill.fee
        self.fills += 1
        return realized

    def end_trip(self) -> Decimal:
        """What the round trip that just ended came to; the next one starts at nothing."""
        trip, self.trip = self.trip, ZERO
        return trip

    def adopt(self, size: Decimal, entry_price: Decimal | None, fills: tuple[Fill, ...]) -> None:
        """Take the venue's word for the position, which holds these fills already."""
        self._known.update(fill.trade_id for fill in fills)
        price = entry_price if entry_price is not None else self.entry_price
        self.cash -= (size - self.size) * (price or ZERO)
        self.size, self.entry_price = size, entry_price if size else None

    def unrealized(self, price: Decimal) -> Decimal:
        """Against the average entry; nothing when flat."""
        return self.size * (price - self.entry_price) if self.entry_price is not None else ZERO

    def _close(self, change: Decimal, price: Decimal) -> Decimal:
        if self.size * change >= 0 or self.entry_price is None:
            return ZERO
        closed = min(abs(change), abs(self.size))
        return closed * (price - self.entry_price) * (1 if self.size > 0 else -1)

    def _open(self, change: Decimal, price: Decimal) -> None:
        after = self.size + change
        if self.size * change >= 0:
            before = abs(self.size) * (self.entry_price or ZERO)
            self.entry_price = (before + abs(change) * price) / abs(after) if after else None
        elif after * change > 0:
            self.entry_price = price
