"""This file says which protective stop a position needs, how far its stops cover it, and what to place or cancel."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from perpctl.model.money import ZERO, price_down, price_up
from perpctl.model.order import Order, OrderStatus, Side, is_protective
from perpctl.model.position import Position

HUNDRED = Decimal(100)
LEAST_COVER = Decimal("0.99")  # of the position; below it the stop is resized
SLACK = Decimal("1.1")  # a stop up to a tenth farther than asked still counts: the average entry moves


def stop_price(entry: Decimal, size: Decimal, distance_pct: Decimal, tick: Decimal) -> Decimal:
    """The trigger of a stop `distance_pct` percent from entry, on the tick that is nearer to the entry."""
    reach = entry * distance_pct / HUNDRED
    return price_up(entry - reach, tick) if size > 0 else price_down(entry + reach, tick)


class Stop(Struct, frozen=True):
    """A protective stop to be placed: reduce-only, stop at market on the mark price, without an end."""

    product_id: str
    slot: int | None
    side: Side
    size: Decimal  # base coin, positive
    trigger_price: Decimal
    beyond: bool  # the mark is past the trigger already: close, rather than place


def required_stop(position: Position, distance_pct: Decimal, tick: Decimal) -> Stop | None:
    """The stop for the whole of a position; None when there is nothing to protect.

    Raises ValueError when the position has no entry price or its units contradict each other: then no size may be
    taken from it, and it can only be closed by the venue's own word for the whole.
    """
    if position.size == 0:
        return None
    if position.entry_price is None or not position.units_agree:
        raise ValueError(f"no stop can be worked out for {position.product_id}: entry or units are not known")
    trigger = stop_price(position.entry_price, position.size, distance_pct, tick)
    beyond = position.mark is not None and (position.mark - trigger) * position.size <= 0
    side = Side.SELL if position.size > 0 else Side.BUY
    return Stop(position.product_id, position.slot, side, abs(position.size), trigger, beyond)


class Coverage(Struct, frozen=True):
    """How the stops of one position stand. `fraction` is of its size; 1 is all of it."""

    fraction: Decimal
    stops: tuple[Order, ...]  # nearest trigger first
    trigger_price: Decimal | None  # of the nearest
    distance_pct: Decimal | None  # from the mark to the nearest trigger, in percent of the mark

    @property
    def is_enough(self) -> bool:
        return self.fraction >= LEAST_COVER


def coverage(position: Position, orders: Iterable[Order]) -> Coverage:
    """What protects a position among the open orders. An order in a state that we do not know protects nothing."""
    mine = [
        order
        for order in orders
        if (order.product_id, order.slot) == (position.product_id, position.slot)
        and is_protective(order, position.size)
        and not order.status.is_terminal
        and order.status is not OrderStatus.UNKNOWN
    ]
    sign = 1 if position.size > 0 else -1
    mine.sort(key=lambda order: -sign * (order.trigger_price or ZERO))
    covered = sum((order.remaining for order in mine), ZERO)
    nearest = mine[0].trigger_price if mine else None
    away = None
    if nearest is not None and position.mark:
        away = abs(position.mark - nearest) / position.mark * HUNDRED
    fraction = covered / abs(position.size) if position.size else ZERO
    return Coverage(fraction, tuple(mine), nearest, away)


class Remedy(Struct, frozen=True):
    """What brings the protection in order: first `place`, and only when it is read back, `cancel`."""

    place: Stop | None = None
    cancel: tuple[Order, ...] = ()

    @property
    def is_needed(self) -> bool:
        return self.place is not None or bool(self.cancel)


def remedy(position: Position, orders: Iterable[Order], distance_pct: Decimal, tick: Decimal) -> Remedy:
    """What to place and what to cancel so that one stop, near enough, covers the position.

    Stops that are too far from entry do not count. A reduce-only stop larger than the position is left alone: it
    shrinks by itself. Raises ValueError like `required_stop`.
    """
    needed = required_stop(position, distance_pct, tick)
    if needed is None:
        return Remedy(cancel=_left_over(position, orders))
    cover = coverage(position, orders)
    near = [order for order in cover.stops if _is_near(order, position, distance_pct)]
    if sum((order.remaining for order in near), ZERO) >= LEAST_COVER * needed.size:
        return Remedy()
    return Remedy(needed, cover.stops)


def _is_near(order: Order, position: Position, distance_pct: Decimal) -> bool:
    if order.trigger_price is None or position.entry_price is None:
        return False
    adverse = (position.entry_price - order.trigger_price) * (1 if position.size > 0 else -1)
    return adverse <= position.entry_price * distance_pct * SLACK / HUNDRED


def _left_over(position: Position, orders: Iterable[Order]) -> tuple[Order, ...]:
    return tuple(
        order
        for order in orders
        if (order.product_id, order.slot) == (position.product_id, position.slot)
        and (is_protective(order, Decimal(1)) or is_protective(order, Decimal(-1)))
        and not order.status.is_terminal
    )
