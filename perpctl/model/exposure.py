"""This file works out the worst case of positions and orders, and estimates the margin and liquidation they lead to.

Worst case: every open and unknown order filled on the bad side. Margin: the published rates of the standard model,
initial 2 % and maintenance 1 % of notional, and for BTC 0.005 % more for each coin of position. They are older than the
venue's last rework, so everything computed from them is an estimate; the venue's own figures win where it gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderRequest, Side


class Holding(Struct, frozen=True):
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


class UnknownOrder(Struct, frozen=True):
    """An order that was sent and neither confirmed nor refused; it counts as filled until it is settled."""

    request: OrderRequest
    since_ms: int  # market time of the send


Key = tuple[str, int | None]  # product and slot
HUNDRED = Decimal(100)


class Reach(NamedTuple):
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
            return self._replace(high=self.high + order.size)
        return self._replace(low=self.low - order.size)


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
        found[key] = reach._replace(low=reach.low - sells.get(key, ZERO), high=reach.high + buys.get(key, ZERO))
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
        worst = reach.worst
        if worst == 0:
            continue
        if reach.price is None:
            return None
        total += worst * reach.price
    return total


def leverage(gross: Decimal, equity: Decimal) -> Decimal | None:
    """Gross notional over equity; None without equity."""
    return gross / equity if equity > 0 else None


# --- margin, estimated ------------------------------------------------------------------------------------------------


class MarginRates(Struct, frozen=True):
    """Fractions of notional; `per_coin` is added to both for each base coin of position."""

    initial: Decimal
    maintenance: Decimal
    per_coin: Decimal


_PLAIN = MarginRates(Decimal("0.02"), Decimal("0.01"), ZERO)
_BTC = MarginRates(Decimal("0.02"), Decimal("0.01"), Decimal("0.00005"))


def standard_rates(base: str) -> MarginRates:
    """The published rates for a base coin; only those of BTC grow with size."""
    return _BTC if base == "BTC" else _PLAIN


def initial_margin(size: Decimal, price: Decimal, rates: MarginRates) -> Decimal:
    """Estimate in settlement currency of what a position of `size` base coin ties up."""
    return abs(size) * price * (rates.initial + rates.per_coin * abs(size))


def maintenance_margin(size: Decimal, price: Decimal, rates: MarginRates) -> Decimal:
    """Estimate in settlement currency of the least that keeps a position of `size` base coin alive."""
    return abs(size) * price * (rates.maintenance + rates.per_coin * abs(size))


def liquidation_price(
    size: Decimal, mark: Decimal, equity: Decimal, other_maintenance: Decimal, rates: MarginRates
) -> Decimal | None:
    """Estimate of the mark at which equity meets maintenance, every other price unchanged.

    `equity` is that of the cross account or of the isolated slot, at `mark`; `other_maintenance` is what its other
    positions need. None: not by this product alone, that is, not before the price falls to zero or doubles.
    Solves equity + size (P - mark) = other + |size| P rate for P.
    """
    if size == 0 or mark <= 0:
        return None
    rate = rates.maintenance + rates.per_coin * abs(size)
    slope = size - abs(size) * rate
    price = (size * mark - equity + other_maintenance) / slope
    if size > 0:
        if price <= 0:
            return None
        return min(price, mark)  # already past it: liquidation is here
    if price >= 2 * mark:
        return None
    return max(price, mark)


def liquidation_distance_pct(mark: Decimal, liquidation: Decimal | None) -> Decimal | None:
    """The adverse move from the mark to liquidation, in percent of the mark; None: not by this product alone."""
    return None if liquidation is None else abs(mark - liquidation) / mark * HUNDRED
