"""This file works out the worst case: positions with every open and unknown order filled on the bad side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal

from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderRequest, Side


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of one product in one slot.

    `price` values it (mark, or the worse of mark and index); `proof_age_ms` runs from the last read or event that
    proved the size, None: never proven.
    """

    product_id: str
    underlying: str
    size: Decimal  # signed base coin
    price: Decimal | None
    proof_age_ms: int | None
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class UnknownOrder:
    """An order that was sent and neither confirmed nor refused; it counts as filled until it is settled."""

    request: OrderRequest
    since_ms: int  # market time of the send


Key = tuple[str, int | None]  # product and slot


@dataclass(frozen=True, slots=True)
class Reach:
    """How far a position can get with what is out now; signed base coin, low <= size <= high."""

    product_id: str
    slot: int | None
    underlying: str
    size: Decimal
    low: Decimal
    high: Decimal
    price: Decimal | None

    @property
    def worst(self) -> Decimal:
        """The largest absolute size it can get to."""
        return max(abs(self.low), abs(self.high))

    def with_order(self, order: OrderRequest) -> Reach:
        """The reach with one more order working; reduce-only orders cannot extend it."""
        if order.reduce_only:
            return self
        if order.side is Side.BUY:
            return replace(self, high=self.high + order.size)
        return replace(self, low=self.low - order.size)


def reaches(holdings: Iterable[Holding], working: Iterable[Order], unknown: Iterable[UnknownOrder]) -> dict[Key, Reach]:
    """The reach of every product and slot that is held or has an order.

    Reduce-only orders are left out: at worst they do not fill. Unknown orders count in full. A product that only has
    orders is valued at their price and stands as its own underlying until a holding names it.
    """
    found: dict[Key, Reach] = {}
    for held in holdings:
        found[held.product_id, held.slot] = Reach(
            held.product_id, held.slot, held.underlying, held.size, held.size, held.size, held.price
        )
    buys: dict[Key, Decimal] = {}
    sells: dict[Key, Decimal] = {}
    for key, side, size, price in _entries(working, unknown):
        if key not in found:
            named = next((reach.underlying for reach in found.values() if reach.product_id == key[0]), key[0])
            found[key] = Reach(*key, named, ZERO, ZERO, ZERO, price)
        sums = buys if side is Side.BUY else sells
        sums[key] = sums.get(key, ZERO) + size
    for key in buys.keys() | sells.keys():
        reach = found[key]
        found[key] = replace(reach, low=reach.low - sells.get(key, ZERO), high=reach.high + buys.get(key, ZERO))
    return found


def _entries(
    working: Iterable[Order], unknown: Iterable[UnknownOrder]
) -> Iterator[tuple[Key, Side, Decimal, Decimal | None]]:
    for order in working:
        if not order.reduce_only and not order.status.is_terminal:
            yield (order.product_id, order.slot), order.side, order.remaining, order.price or order.trigger_price
    for one in unknown:
        asked = one.request
        if not asked.reduce_only:
            yield (asked.product_id, asked.slot), asked.side, asked.size, asked.price or asked.trigger_price


def product_worst(all_reaches: Iterable[Reach], product_id: str) -> tuple[Decimal, Decimal]:
    """Worst short and worst long of a product over its slots, as positive sizes."""
    low = high = ZERO
    for reach in all_reaches:
        if reach.product_id == product_id:
            low += max(-reach.low, ZERO)
            high += max(reach.high, ZERO)
    return low, high


def net_notional(all_reaches: Iterable[Reach], underlying: str) -> tuple[Decimal, Decimal] | None:
    """Lowest and highest signed notional of one underlying; None when a price is missing."""
    low = high = ZERO
    for reach in all_reaches:
        if reach.underlying != underlying:
            continue
        if reach.price is None:
            return None
        low += reach.low * reach.price
        high += reach.high * reach.price
    return low, high


def gross_notional(all_reaches: Iterable[Reach]) -> Decimal | None:
    """Worst absolute notional of everything, summed; None when something held or ordered has no price."""
    total = ZERO
    for reach in all_reaches:
        if reach.worst == 0:
            continue
        if reach.price is None:
            return None
        total += reach.worst * reach.price
    return total


def leverage(gross: Decimal, equity: Decimal) -> Decimal | None:
    """Gross notional over equity; None without equity."""
    return gross / equity if equity > 0 else None
