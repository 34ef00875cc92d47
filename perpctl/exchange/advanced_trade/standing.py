"""This file tells which trigger orders protect a position: the venue has no reduce-only, so side and size must say it.

An order that is found to protect is marked `reduce_only`, as on a venue that enforces it: it closes, and all of them
together are no larger than what is held. Whatever goes beyond, and any trigger order without a position, is an entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderType, Side
from perpctl.model.position import Position

_STOPS = frozenset({OrderType.STOP_LIMIT, OrderType.STOP_MARKET})


def marked(orders: Iterable[Order], positions: Iterable[Position]) -> tuple[Order, ...]:
    """The orders, those that protect marked; the nearest trigger comes first."""
    sizes = {position.product_id: position.size for position in positions}
    given = tuple(orders)
    protective: set[str] = set()
    for product_id, size in sizes.items():
        left = abs(size)
        for order in sorted(_closing(given, product_id, size), key=lambda one: _reach(one, size)):
            if order.remaining <= left:
                protective.add(order.order_id)
                left -= order.remaining
    return tuple(replace(one, reduce_only=True) if one.order_id in protective else one for one in given)


def _closing(orders: Iterable[Order], product_id: str, size: Decimal) -> list[Order]:
    side = Side.SELL if size > 0 else Side.BUY
    return [
        one
        for one in orders
        if one.product_id == product_id and one.side is side and one.type in _STOPS and not one.status.is_terminal
    ]


def _reach(order: Order, size: Decimal) -> Decimal:
    """Small for a trigger that an adverse move meets early."""
    price = order.trigger_price or ZERO
    return -price if size > 0 else price
