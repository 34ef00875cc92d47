"""This file turns an unknown outcome into a proven one, by reads alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perpctl.clock import Clock
from perpctl.errors import PerpctlError
from perpctl.exchange.port import Absent, Confirmed, Settled, Unknown
from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderRequest

READ_EVERY_S = 1.0
SLOW_AFTER_S = 15.0
SLOW_EVERY_S = 5.0
APART_S = 2.0  # between the two reads that prove absence
DAY_MS = 86_400_000
# 07:59:55 to 08:00:15 UTC: the venue settles, and what it answers proves nothing.
SETTLEMENT_MS = (28_795_000, 28_815_000)


class Reads(Protocol):
    """What settling asks of a venue."""

    async def time_ms(self) -> int: ...
    async def order(self, identity: str, order_id: str | None = None) -> tuple[Order, ...]: ...
    async def fills(self, since_ms: int) -> tuple[Fill, ...]: ...


async def settle(
    venue: Reads, request: OrderRequest, unknown: Unknown, clock: Clock, *, since_ms: int, patience_s: float = 60.0
) -> Settled:
    """Whether an order of unknown outcome exists: found by its identity, or proven never to have arrived.

    `since_ms` is market time right before the send. Absent takes two empty readings of orders and trades, 2 s apart,
    both begun after the venue can no longer take the order; without a `valid_until_ms` it cannot be proven. Asked
    every second for 15 s, then every 5 s, for `patience_s` in all; the order counts at its worst until proven.
    """
    valid_until_ms = unknown.valid_until_ms or request.valid_until_ms
    started = clock.monotonic()
    empty_at: float | None = None
    last = unknown.cause
    while True:
        try:
            at_ms = await venue.time_ms()
            asked_at = clock.monotonic()
            found = await _find(venue, request.identity, since_ms)
        except PerpctlError as why:
            last = str(why)
        else:
            if found is not None:
                return found
            last = "not listed yet, and the venue may still take it"
            if _proves_absence(at_ms, valid_until_ms):
                if empty_at is not None and asked_at - empty_at >= APART_S:
                    return Absent(_evidence(request, at_ms))
                empty_at = asked_at if empty_at is None else empty_at
        elapsed = clock.monotonic() - started
        if elapsed >= patience_s:
            return Unknown(last, valid_until_ms)
        await clock.sleep(READ_EVERY_S if elapsed < SLOW_AFTER_S else SLOW_EVERY_S)


async def settle_cancel(venue: Reads, order: Order, clock: Clock, *, patience_s: float = 15.0) -> Confirmed | Unknown:
    """How an order stands after a cancel of unknown outcome: Confirmed when it is terminal, with its fills."""
    started = clock.monotonic()
    last = "not read yet"
    while True:
        try:
            found = await venue.order(order.identity or "", order.order_id)
            last = f"order {order.order_id} is {found[0].status.value}" if found else f"{order.order_id} is not listed"
            if found and found[0].status.is_terminal:
                fills = await venue.fills(order.created_ms)
                return Confirmed(found[0], tuple(fill for fill in fills if fill.order_id == order.order_id))
        except PerpctlError as why:
            last = str(why)
        if clock.monotonic() - started >= patience_s:
            return Unknown(last)
        await clock.sleep(READ_EVERY_S)


async def _find(venue: Reads, identity: str, since_ms: int) -> Confirmed | Unknown | None:
    """The one order under the identity, with its fills; Unknown when there are several, None when there is none."""
    orders = await venue.order(identity)
    fills = [fill for fill in await venue.fills(since_ms) if fill.identity == identity]
    if not orders and fills:
        orders = await venue.order(identity, fills[0].order_id)
        if not orders:
            return Unknown(f"trade {fills[0].trade_id} carries the identity, its order cannot be read")
    if not orders:
        return None
    order = _first_of(orders)
    if len(orders) > 1 and not order.is_trigger:
        return Unknown(f"{len(orders)} orders carry the identity {identity}")
    return Confirmed(order, tuple(fill for fill in fills if fill.order_id == order.order_id))


def _first_of(orders: Sequence[Order]) -> Order:
    """The order that was sent: a trigger order that fired is followed by a second one under the same label."""
    return min(orders, key=lambda order: (not order.is_trigger, order.created_ms, order.order_id))


def _proves_absence(at_ms: int, valid_until_ms: int | None) -> bool:
    of_day = at_ms % DAY_MS
    settling = SETTLEMENT_MS[0] <= of_day <= SETTLEMENT_MS[1]
    return valid_until_ms is not None and at_ms > valid_until_ms and not settling


def _evidence(request: OrderRequest, at_ms: int) -> str:
    return (
        f"no order and no trade under {request.identity} in two readings {APART_S:g} s apart, the last at {at_ms} ms "
        "market time, after the order's last valid moment"
    )
