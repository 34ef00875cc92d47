"""This file listens to what concerns us: orders told cumulatively, folded onto what is known, their fills read."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Protocol

from perpctl.clock import Clock
from perpctl.errors import PerpctlError
from perpctl.exchange.advanced_trade.listing import Listing
from perpctl.exchange.advanced_trade.lists import Lists
from perpctl.exchange.advanced_trade.standing import marked
from perpctl.exchange.advanced_trade.wire import money, words
from perpctl.exchange.advanced_trade.wire.orders import pushed
from perpctl.exchange.both.document import Row, rows_of, text
from perpctl.exchange.both.inbox import Inbox
from perpctl.exchange.both.tasks import Tasks
from perpctl.exchange.http import NoAnswer
from perpctl.exchange.port import Beat, FeedLost, FeedResumed, FillSeen, OrderSeen, PositionSeen
from perpctl.model.fill import Fill
from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderStatus
from perpctl.model.position import Position

USER = "user"
BATCH = 50  # open orders in a message of the snapshot; the first with fewer is its last
SNAPSHOT_S = 5.0
LOOK_BACK_MS = 60_000
FILL_PAUSES_S = (0.0, 0.2, 0.5, 1.0, 2.0)  # fills can be read a little later than the order that they filled


class Reads(Protocol):
    """The snapshots that a new connection is caught up from."""

    async def time_ms(self) -> int: ...
    async def positions(self) -> tuple[Position, ...]: ...
    async def open_orders(self) -> tuple[Order, ...]: ...
    async def fills(self, since_ms: int) -> tuple[Fill, ...]: ...


class UserEnd:
    """Our end of the user socket."""

    channels: Sequence[str] = (USER,)
    products: Sequence[str] = ()

    def __init__(self, inbox: Inbox, clock: Clock, reads: Reads, lists: Lists, listing: Listing) -> None:
        self._inbox = inbox
        self._clock = clock
        self._reads = reads
        self._lists = lists
        self._listing = listing
        self._known: dict[str, Order] = {}
        self._positions: dict[str, Position] = {}
        self._booked: set[str] = set()  # entry ids of fills that were told
        self._held: list[tuple[Row, int]] | None = []  # orders told before we caught up; None: we have
        self._whole = False
        self._seen_ms: int | None = None  # market time up to which fills are known
        self._tasks = Tasks(inbox)
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # by order: its news in their order

    async def up(self) -> None:
        """The snapshot must be whole first; then everything is read, and what was told meanwhile applied after."""
        ends = self._clock.monotonic() + SNAPSHOT_S
        while not self._whole:
            if self._clock.monotonic() >= ends:
                raise NoAnswer(f"the snapshot of our orders did not come to its end within {SNAPSHOT_S:.0f} s")
            await self._clock.sleep(0.02)
        await self._catch_up()

    def missing(self, channel: str) -> None:
        raise NoAnswer(f"the venue does not confirm the channel {channel}")

    def heard(self, channel: str, events: Sequence[Row], at: object) -> None:
        if channel != USER:
            return
        at_ms = words.need_moment({"timestamp": at}, "timestamp")
        for event in events:
            orders = rows_of(event.get("orders") or [], "orders")
            if not self._whole and event.get("type") == "snapshot":
                self._whole = len(orders) < BATCH
            for row in orders:
                self._told(row, at_ms)
            held = event.get("positions")
            if isinstance(held, dict):
                self._tasks.start(self._place_positions(held.get("expiring_futures_positions") or [], at_ms))

    def alive(self) -> None:
        now = self._clock.monotonic()
        self._inbox.put_latest("beat", lambda: Beat(now))

    def down(self, cause: str) -> None:
        self._held, self._whole = [], False
        self._inbox.put(FeedLost(USER, cause))

    async def aclose(self) -> None:
        """Stop what is still being read."""
        await self._tasks.stop()

    # --- orders ------------------------------------------------------------------------------------------------------

    def _told(self, row: Row, at_ms: int) -> None:
        if self._held is not None:
            self._held.append((row, at_ms))
        elif row.get("product_type") != "SPOT":
            self._tasks.start(self._apply(row, at_ms))

    async def _apply(self, row: Row, at_ms: int) -> None:
        async with self._turns[str(row.get("order_id"))]:
            await self._fold(row, at_ms)

    async def _fold(self, row: Row, at_ms: int) -> None:
        """One order's new state onto what is known of it: told twice, it changes nothing."""
        try:
            order = pushed(row, await self._listing.unit(text(row, "product_id")), at_ms)
            known = self._known.get(order.order_id) or await self._lists.by_id(order.order_id)
        except NoAnswer as why:
            await self._resynchronise(f"an order that cannot be read: {why}")
            return
        except PerpctlError as why:
            await self._resynchronise(f"order {row.get('order_id')} could not be read: {why}")
            return
        before = self._known.get(order.order_id)
        if before is not None and order.filled < before.filled:
            if not before.status.is_terminal:
                await self._resynchronise(f"order {order.order_id} un-filled from {before.filled} to {order.filled}")
            return  # told again from before it ended
        if before is not None and before.status.is_terminal:
            return
        merged = _merged(known or order, order)
        if merged == before:
            return
        self._known[order.order_id] = merged
        if merged.filled > (ZERO if before is None else before.filled):
            await self._read_fills(merged)
        self._inbox.put(OrderSeen(self._marked(merged)))

    async def _read_fills(self, order: Order) -> None:
        """The channel tells no fills: they are read by their ids, until they come to what the order says."""
        for pause_s in FILL_PAUSES_S:
            await self._clock.sleep(pause_s)
            try:
                fills = await self._lists.fills(0, {"order_ids": [order.order_id]})
            except PerpctlError:
                continue
            for fill in fills:
                self._tell(fill)
            if sum((fill.size for fill in fills), Decimal(0)) >= order.filled:
                return

    def _tell(self, fill: Fill) -> None:
        if fill.trade_id not in self._booked:
            self._booked.add(fill.trade_id)
            self._seen_ms = max(self._seen_ms or 0, fill.at_ms)
            self._inbox.put(FillSeen(fill))

    def _marked(self, order: Order) -> Order:
        return marked([order], self._positions.values())[0]

    # --- positions ---------------------------------------------------------------------------------------------------

    async def _place_positions(self, rows: object, at_ms: int) -> None:
        if self._held is not None:
            return  # the catching-up reads them
        try:
            for row in rows_of(rows, "positions"):
                unit = await self._listing.unit(text(row, "product_id"))
                seen = money.pushed_position(row, unit, money.Moment(at_ms, self._clock.monotonic()))
                before = self._positions.get(seen.product_id)
                self._positions[seen.product_id] = replace(seen, mark=before.mark if before is not None else None)
                self._inbox.put(PositionSeen(self._positions[seen.product_id]))
        except (NoAnswer, PerpctlError) as why:
            await self._resynchronise(f"a position that cannot be read: {why}")

    # --- catching up -------------------------------------------------------------------------------------------------

    async def _catch_up(self) -> None:
        now_ms = await self._reads.time_ms()
        since_ms = (now_ms if self._seen_ms is None else self._seen_ms) - LOOK_BACK_MS
        orders, positions, fills = await asyncio.gather(
            self._reads.open_orders(), self._reads.positions(), self._reads.fills(since_ms)
        )
        self._seen_ms = max([now_ms, *(fill.at_ms for fill in fills)])
        self._booked |= {fill.trade_id for fill in fills}
        self._known = {order.order_id: order for order in orders}
        self._positions = {position.product_id: position for position in positions}
        self._inbox.put(FeedResumed(USER, orders=orders, positions=positions, fills=fills))
        held, self._held = self._held or [], None
        for row, at_ms in held:
            if at_ms > now_ms or row.get("order_id") in self._known:
                self._told(row, at_ms)

    async def _resynchronise(self, cause: str) -> None:
        """What was told cannot be trusted: everything is read anew."""
        if self._held is not None:
            return
        self._held = []
        self._inbox.put(FeedLost(USER, cause))
        try:
            await self._catch_up()
        except PerpctlError as why:
            self._inbox.put(FeedLost(USER, f"could not be read anew: {why}"))
            self._tasks.start(self._again(cause))

    async def _again(self, cause: str) -> None:
        await self._clock.sleep(1.0)
        self._held = None
        await self._resynchronise(cause)


def _merged(known: Order, told: Order) -> Order:
    """The state that was told, with the terms that the channel may leave out."""
    status = known.status if told.status is OrderStatus.UNKNOWN else told.status
    return replace(
        known,
        status=status,
        filled=max(known.filled, told.filled),
        average_price=told.average_price or known.average_price,
        updated_ms=max(known.updated_ms, told.updated_ms),
        cancel_reason=told.cancel_reason or known.cancel_reason,
    )
