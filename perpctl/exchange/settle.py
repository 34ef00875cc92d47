"""This file turns an unknown outcome into a proven one, by reads alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from perpctl.clock import Clock
from perpctl.errors import PerpctlError
from perpctl.exchange.port import Absent, Arrival, Confirmed, Settled, Unknown, VenueTerms
from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderRequest
from perpctl.model.venue.calendar import VenueCalendar

READ_EVERY_S = 1.0
SLOW_AFTER_S = 15.0
SLOW_EVERY_S = 5.0
PATIENCE_S = 60.0


class Reads(Protocol):
    """What settling asks of a venue."""

    @property
    def terms(self) -> VenueTerms: ...
    @property
    def calendar(self) -> VenueCalendar: ...
    async def time_ms(self) -> int: ...
    async def order(self, identity: str, order_id: str | None = None) -> tuple[Order, ...]: ...
    async def fills(self, since_ms: int) -> tuple[Fill, ...]: ...


async def settle(
    venue: Reads,
    request: OrderRequest,
    unknown: Unknown,
    clock: Clock,
    *,
    since_ms: int,
    sent_ms: int | None = None,
    patience_s: float | None = None,
) -> Settled:
    """Whether an order of unknown outcome exists: found by its identity, or proven never to have arrived.

    `since_ms` is market time before the send, `sent_ms` right before it when the first reaches further back. Absent
    takes two empty readings of orders and trades as far apart as the venue's terms ask, both begun when by those terms
    the order can no longer arrive. Asked every second for 15 s, then every 5 s, for `patience_s` in all; the order
    counts at its worst until proven.
    """
    arrival = venue.terms.arrival
    patience_s = PATIENCE_S + (arrival.after_send_s or 0.0) if patience_s is None else patience_s
    valid_until_ms = unknown.valid_until_ms or request.valid_until_ms
    settled_ms = valid_until_ms if arrival.after_send_s is None else None
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
            if settled_ms is None and arrival.after_send_s is not None:  # of a send that nobody dated: from now
                settled_ms = (sent_ms or max(since_ms, 0) or at_ms) + int(arrival.after_send_s * 1000)
            last = "not listed yet, and the venue may still take it"
            if settled_ms is not None and at_ms > settled_ms and not venue.calendar.reads_prove_nothing(at_ms):
                if empty_at is not None and asked_at - empty_at >= arrival.apart_s:
                    return Absent(_evidence(request, at_ms, arrival))
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


def _evidence(request: OrderRequest, at_ms: int, arrival: Arrival) -> str:
    since = "its last valid moment" if arrival.after_send_s is None else f"{arrival.after_send_s:g} s from its send"
    watched = f"; looked for again for {arrival.watched_s / 3600:g} h" if arrival.watched_s else ""
    return (
        f"no order and no trade under {request.identity} in two readings {arrival.apart_s:g} s apart, the last at "
        f"{at_ms} ms market time, after {since}{watched}"
    )
