"""This file tells which trigger orders protect a position: the venue has no reduce-only, so side and size must say it.

What is found to protect is marked `reduce_only`: it closes, and all of them together are no larger than what is held.
Whatever goes beyond, and any trigger order without a position, is an entry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from decimal import Decimal

from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderType, Side
from perpctl.model.position import Position


class Protection:
    """What protects, remembered: a stop that is too large only since we close its position is no entry."""

    def __init__(self) -> None:
        self._protected: set[str] = set()

    def marked(self, orders: Iterable[Order], positions: Iterable[Position]) -> tuple[Order, ...]:
        """The orders, those that protect marked; the trigger that an adverse move meets first counts first."""
        given, protective = tuple(orders), set[str]()
        for position in positions:
            left = abs(position.size)
            for order in sorted(_closing(given, position), key=lambda one: _reach(one, position.size)):
                if order.remaining <= left or order.order_id in self._protected:
                    protective.add(order.order_id)
                    left -= order.remaining
        self._protected |= protective
        return tuple(replace(one, reduce_only=True) if one.order_id in protective else one for one in given)


def _closing(orders: Iterable[Order], position: Position) -> list[Order]:
    side = Side.SELL if position.size > 0 else Side.BUY
    place = (position.product_id, side, OrderType.STOP_LIMIT)
    return [one for one in orders if (one.product_id, one.side, one.type) == place] if position.size else []


def _reach(order: Order, size: Decimal) -> Decimal:
    price = order.trigger_price or ZERO
    return -price if size > 0 else price
