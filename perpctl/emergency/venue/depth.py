"""This file reads from a book what closing a position would meet: depth, average price, rounds of the ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpctl.emergency.venue.rows import number
from perpctl.model.money import ZERO
from perpctl.model.position import Position


@dataclass(frozen=True, slots=True)
class Depth:
    """The side of a book that would fill a close, best first; `sign` is the position's."""

    levels: tuple[tuple[Decimal, Decimal], ...]
    mid: Decimal | None
    sign: int

    @classmethod
    def read(cls, book: Mapping[str, Any], position: Position) -> Depth:
        """Selling a long is filled by bids, buying a short back by asks."""
        sign = 1 if position.size > 0 else -1
        levels = tuple((number(row[0]), number(row[1])) for row in book["bids" if sign > 0 else "asks"])
        touch = [number(book[side][0][0]) for side in ("bids", "asks") if book[side]]
        return cls(levels, sum(touch, ZERO) / 2 if len(touch) == 2 else None, sign)

    def within(self, fraction: Decimal) -> Decimal:
        """Size that rests within `fraction` of the touch."""
        if not self.levels:
            return ZERO
        bound = self.levels[0][0] * (1 - self.sign * fraction)
        return sum((size for price, size in self.levels if (price - bound) * self.sign >= 0), ZERO)

    def average(self, size: Decimal) -> Decimal | None:
        """The average price at which `size` would fill; None when the book shown does not hold it."""
        left, paid = size, ZERO
        for price, there in self.levels:
            taken = min(left, there)
            left, paid = left - taken, paid + taken * price
            if left == 0:
                return paid / size
        return None

    def rounds(self, size: Decimal, rungs: Sequence[Decimal | None]) -> int:
        """How many rounds of the ladder until this much has met its match, the book as it is; at most all of them."""
        for at, rung in enumerate(rungs, 1):
            if rung is None or self.within(rung) >= size:
                return at
        return len(rungs)
