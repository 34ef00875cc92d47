"""This file measures a book: what a close would meet there, and what it would cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpctl.emergency.venue.rows import maybe, number
from perpctl.model.flatten import LADDER
from perpctl.model.money import ZERO, cents, plain
from perpctl.model.order import Side
from perpctl.model.position import Position

_WITHIN = tuple(rung for rung in LADDER if rung is not None)
_TENTH, _CENT = Decimal("0.1"), Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Depth:
    """The side of a book that would fill a close, best first, and where the venue's band ends on that side."""

    levels: tuple[tuple[Decimal, Decimal], ...]
    mid: Decimal | None
    band: Decimal | None
    sign: int

    @classmethod
    def read(cls, book: Mapping[str, Any], position: Position) -> Depth:
        """Raises KeyError or ValueError for a row that is no book."""
        sign = 1 if position.size > 0 else -1  # selling a long is filled by bids
        levels = tuple((number(row[0]), number(row[1])) for row in book["bids" if sign > 0 else "asks"])
        touch = [number(book[side][0][0]) for side in ("bids", "asks") if book[side]]
        band = maybe(book.get("min_price" if sign > 0 else "max_price"))
        return cls(levels, sum(touch, ZERO) / 2 if len(touch) == 2 else None, band, sign)

    def average(self, size: Decimal) -> Decimal | None:
        """The average price at which `size` would fill; None when the book shown does not hold it."""
        left, paid = size, ZERO
        for price, there in self.levels:
            taken = min(left, there)
            left, paid = left - taken, paid + taken * price
            if left == 0:
                return paid / size
        return None


def within_of(depth: Depth, fraction: Decimal) -> Decimal:
    """Size that rests within `fraction` of the touch."""
    if not depth.levels:
        return ZERO
    bound = depth.levels[0][0] * (1 - depth.sign * fraction)
    return sum((size for price, size in depth.levels if (price - bound) * depth.sign >= 0), ZERO)


def close_row(position: Position, depth: Depth, taker_fee: Decimal) -> dict[str, Any]:
    """One close as it would go now; what the book does not tell is None. Positive slippage is a cost."""
    size = abs(position.size)
    expected = depth.average(size)
    slip = None if expected is None or depth.mid is None else (depth.mid - expected) * depth.sign
    worst = None if depth.band is None or depth.mid is None else (depth.mid - depth.band) * depth.sign * size
    return {
        "product": position.product_id,
        "slot": position.slot,
        "side": (Side.SELL if position.size > 0 else Side.BUY).value,
        "size": plain(size),
        "units_agree": position.units_agree,
        "depth": [plain(within_of(depth, fraction)) for fraction in _WITHIN],
        "expected": None if expected is None else plain(expected.quantize(_CENT)),
        "slippage_bps": None if slip is None or not depth.mid else plain((slip / depth.mid * 10_000).quantize(_TENTH)),
        "slippage": None if slip is None else plain(cents(slip * size)),
        "slippage_at_band": None if worst is None else plain(cents(worst)),
        "fee": None if expected is None else plain(cents(size * expected * taker_fee)),
    }
