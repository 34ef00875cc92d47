"""This file measures a book: what a close would meet there, and what it would cost."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from perpctl.emergency.venue.port import Book, Product
from perpctl.model.money import ZERO, cents, plain
from perpctl.model.order import Side
from perpctl.model.position import Position

_TENTH, _CENT = Decimal("0.1"), Decimal("0.01")


class Depth(NamedTuple):
    """The side of a book that would fill a close, best first, and where the venue's band ends on that side."""

    levels: tuple[tuple[Decimal, Decimal], ...]
    mid: Decimal | None
    band: Decimal | None
    sign: int

    @classmethod
    def read(cls, book: Book, position: Position) -> Depth:
        """The side that a close of this position would meet."""
        sign, ticker = (1 if position.size > 0 else -1), book.ticker  # selling a long is filled by bids
        band = ticker.band_low if sign > 0 else ticker.band_high
        return cls(book.bids if sign > 0 else book.asks, ticker.mid, band, sign)

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


def close_row(position: Position, depth: Depth, product: Product, ladder: Sequence[Decimal | None]) -> dict[str, Any]:
    """One close as it would go now; what the book does not tell is None. Positive slippage is a cost."""
    size = abs(position.size)
    expected = depth.average(size)
    slip = None if expected is None or depth.mid is None else (depth.mid - expected) * depth.sign
    worst = None if depth.band is None or depth.mid is None else (depth.mid - depth.band) * depth.sign * size
    known_fee = None if expected is None or product.taker_fee is None else cents(size * expected * product.taker_fee)
    return {
        "product": position.product_id,
        "underlying": product.underlying,
        "contracts": None if product.contract is None else plain((size / product.contract).normalize()),
        "slot": position.slot,
        "side": (Side.SELL if position.size > 0 else Side.BUY).value,
        "size": plain(size),
        "units_agree": position.units_agree,
        "depth": [plain(within_of(depth, rung)) for rung in ladder if rung is not None],
        "expected": None if expected is None else plain(expected.quantize(_CENT)),
        "slippage_bps": None if slip is None or not depth.mid else plain((slip / depth.mid * 10_000).quantize(_TENTH)),
        "slippage": None if slip is None else plain(cents(slip * size)),
        "slippage_at_band": None if worst is None else plain(cents(worst)),
        "fee": None if known_fee is None else plain(known_fee),
    }
