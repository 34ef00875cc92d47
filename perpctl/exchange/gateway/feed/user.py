"""This file listens to what concerns us: signed in, armed, caught up from snapshots before it counts as live."""

from __future__ import annotations

from typing import Any, Protocol

from perpctl.clock import Clock
from perpctl.errors import VenueUnreachable
from perpctl.exchange.both.inbox import Inbox
from perpctl.exchange.budget import Duty, Pool
from perpctl.exchange.gateway import wire
from perpctl.exchange.gateway.errors import RpcFailure
from perpctl.exchange.gateway.feed.channels import USER, USER_CHANNELS, subscribe, told, user_events
from perpctl.exchange.gateway.line import Line
from perpctl.exchange.gateway.rpc import Call, Param, SocketRpc
from perpctl.exchange.port import Beat, FeedLost, FeedResumed, FillSeen, OrderSeen, SessionEvent
from perpctl.model.fill import Fill
from perpctl.model.order import Order
from perpctl.model.position import Position

SIGN_IN_S = 3.0
ASK_S = 5.0
RENEW_S = 2400.0  # a socket's sign-in lives about 50 minutes
RENEW_AT = 0.8  # of a shorter life
LOOK_BACK_MS = 60_000
COD_REFUSED = frozenset({10049, 13042})


class Reads(Protocol):
    """The snapshots that a new connection is caught up from."""

    async def time_ms(self) -> int: ...
    async def positions(self) -> tuple[Position, ...]: ...
    async def open_orders(self) -> tuple[Order, ...]: ...
    async def fills(self, since_ms: int) -> tuple[Fill, ...]: ...


class UserEnd:
    """Our end of the private socket."""

    refused: tuple[str, ...] = ()  # with fewer channels than it asks for it does not come up

    def __init__(self, inbox: Inbox, clock: Clock, line: Line, reads: Reads) -> None:
        self.granted: tuple[str, ...] = ()
        self.account_wide = False  # whether every new socket of the account starts armed: read with the dead man
        self._inbox = inbox
        self._clock = clock
        self._line = line
        self._reads = reads
        self._wants_dead_man = False
        self._renew_at = 0.0
        self._signed_in_at: float | None = None
        self._held: list[SessionEvent] | None = None  # told before the snapshot; None: caught up
        self._seen_ms: int | None = None  # market time up to which fills are known

    async def up(self, rpc: SocketRpc) -> None:
        """Sign in, arm if wanted, subscribe, and only then read: what happens meanwhile is held and applied after."""
        self._held = []
        await self.sign_in(rpc)
        if self._wants_dead_man and not await self._arm(rpc):
            raise VenueUnreachable("cancel-on-disconnect reads back off on the new connection")
        self.granted = await subscribe(rpc, "private", USER_CHANNELS)
        if USER_CHANNELS[0] not in self.granted:
            raise VenueUnreachable(f"the venue left {USER_CHANNELS[0]} out of the subscription")
        await self._catch_up()

    async def sign_in(self, rpc: SocketRpc) -> None:
        """The socket itself becomes the credential. Raises CredentialError for a key that cannot be used."""
        started = self._clock.monotonic()
        grant = wire.row_of(await rpc.call(Call("public/auth", self._line.sign(), SIGN_IN_S)), "the grant")
        self._signed_in_at = started
        self._renew_at = started + min(RENEW_S, RENEW_AT * wire.whole(grant, "expires_in"))

    def signed_in_s(self) -> float | None:
        """For how long this socket's sign-in has been good; None before the first."""
        return None if self._signed_in_at is None else self._clock.monotonic() - self._signed_in_at

    async def arm(self, rpc: SocketRpc) -> bool:
        """Arm cancel-on-disconnect, now and on every later connection, and read it back."""
        self._wants_dead_man = True
        return await self._arm(rpc)

    def heard(self, message: dict[str, Any]) -> None:
        channel, row = told(message)
        if channel not in USER_CHANNELS:
            return
        events = user_events(row, self._seen_ms or 0, self._clock.monotonic())
        for event in events:
            if isinstance(event, FillSeen):
                self._seen_ms = max(self._seen_ms or 0, event.fill.at_ms)
            if self._held is None:
                self._inbox.put(event)
            else:
                self._held.append(event)

    async def alive(self, rpc: SocketRpc) -> None:
        now = self._clock.monotonic()
        self._inbox.put_latest("beat", lambda: Beat(now))
        await self._line.budget.take(Pool.NON_MATCHING, Duty.STRATEGY)  # the probe's own credit
        await self.renew(rpc)

    async def renew(self, rpc: SocketRpc) -> None:
        """Sign in again on the same socket when its time has come."""
        if self._clock.monotonic() >= self._renew_at:
            await self.sign_in(rpc)

    def down(self, cause: str) -> None:
        self.granted = ()
        self._held = []
        self._inbox.put(FeedLost(USER, cause))

    async def _arm(self, rpc: SocketRpc) -> bool:
        connection: dict[str, Param] = {"scope": "connection"}
        try:
            await rpc.call(Call("private/enable_cancel_on_disconnect", connection, ASK_S))
        except RpcFailure as why:
            if why.code in COD_REFUSED:
                return False
            raise
        self.account_wide = await _reads_on(rpc, "account")
        return await _reads_on(rpc, "connection")

    async def _catch_up(self) -> None:
        """Snapshots after subscribing: user channels have neither sequence nor replay (Deribit docs, notifications)."""
        now_ms = await self._reads.time_ms()
        since_ms = (now_ms if self._seen_ms is None else self._seen_ms) - LOOK_BACK_MS
        positions = await self._reads.positions()
        orders = await self._reads.open_orders()
        fills = await self._reads.fills(since_ms)
        self._seen_ms = max([now_ms, *(fill.at_ms for fill in fills)])
        self._inbox.put(FeedResumed(USER, orders=orders, positions=positions, fills=fills))
        held, self._held = self._held or [], None
        known = {order.order_id: order.updated_ms for order in orders}
        for event in held:
            if not _is_older(event, known):
                self._inbox.put(event)


async def _reads_on(rpc: SocketRpc, scope: str) -> bool:
    answer = await rpc.call(Call("private/get_cancel_on_disconnect", {"scope": scope}, ASK_S))
    row = wire.row_of(answer, "the cancel-on-disconnect state")
    return row.get("enabled") is True and row.get("scope", scope) == scope


def _is_older(event: SessionEvent, known: dict[str, int]) -> bool:
    """Whether the snapshot already knows a later state of the same order."""
    return isinstance(event, OrderSeen) and known.get(event.order.order_id, -1) > event.order.updated_ms
