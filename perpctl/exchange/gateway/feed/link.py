"""This file keeps one socket alive: connect, prove every second that it lives, and when it does not, begin again."""

from __future__ import annotations

import asyncio
import random
from typing import Any, Protocol
from urllib.parse import urlsplit

from perpctl.clock import Clock
from perpctl.errors import PerpctlError
from perpctl.exchange.both.life import Life
from perpctl.exchange.gateway.errors import Kind, RpcFailure
from perpctl.exchange.gateway.rpc import Call, SocketRpc
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.exchange.transport import Transport, WireClosed

CONNECT_S = 5.0
PROBE_EVERY_S = 1.0
PROBE_S = 2.0  # with the pause before it, a half-open socket is noticed within 3 s
HEARTBEAT_S = 10  # the least that the venue takes
BACKOFF_S, BACKOFF_MAX_S = 0.5, 30.0
CONNECT_EVERY_S = 2.0
NOT_OFFERED = -32601
_dice = random.SystemRandom()


class Ends(Protocol):
    """What the owner of a link is told, and does in its place."""

    @property
    def granted(self) -> tuple[str, ...]:
        """Channels that this connection was given."""

    @property
    def refused(self) -> tuple[str, ...]:
        """Channels asked for and left out."""

    async def up(self, rpc: SocketRpc) -> None:
        """A new connection: sign in, subscribe, catch up. Anything raised ends the connection."""

    def heard(self, message: dict[str, Any]) -> None:
        """A notification. NoAnswer raised here ends the connection: what cannot be read cannot be skipped."""

    async def alive(self, rpc: SocketRpc) -> None:
        """The venue has answered a probe just now."""

    def down(self, cause: str) -> None:
        """The connection is gone."""


class Link:
    """One supervised socket. `rpc` is there while the connection is signed in and caught up."""

    def __init__(self, url: str, transport: Transport, clock: Clock, ends: Ends, life: Life) -> None:
        self._url = url
        self._life = life
        self._transport = transport
        self._clock = clock
        self._ends = ends
        self._failures = 0
        self._connected_at: float | None = None
        self._answers: set[asyncio.Task[None]] = set()
        self.tried = asyncio.Event()  # the first connection came up, or did not
        self.rpc: SocketRpc | None = None
        self.cause = "not connected yet"
        self.failure: Exception | None = None  # what ended the last connection, as it was raised

    async def run(self) -> None:
        """Connect and reconnect until cancelled."""
        while True:
            await self._connect_once()
            self._failures += 1
            await self._clock.sleep(self._pause_s())

    async def _connect_once(self) -> None:
        self._connected_at = self._clock.monotonic()
        self._life.begins(self._url)
        try:
            wire = await self._transport.connect(self._url, CONNECT_S)
        except (NotSent, NoAnswer, PerpctlError) as why:
            self._lost(why)
            return
        place = (urlsplit(self._url).netloc, self._life.opened())
        rpc = SocketRpc(wire, lambda message: self._heard(rpc, message), self._clock, place)
        reader = asyncio.create_task(rpc.run())
        life = asyncio.create_task(self._live(rpc, reader))
        try:
            await asyncio.wait({reader, life}, return_when=asyncio.FIRST_COMPLETED)
            self._lost(await self._ending(rpc, reader, life))
        finally:
            self.rpc = None
            life.cancel()
            reader.cancel()
            await asyncio.gather(life, reader, return_exceptions=True)
            await rpc.close()
            self._life.ended(WireClosed("we hung up"))

    async def _live(self, rpc: SocketRpc, reader: asyncio.Task[str]) -> None:
        await self._ends.up(rpc)
        self.rpc, self._failures = rpc, 0
        self._life.is_up(self._ends.granted, self._ends.refused)
        self.tried.set()
        if not self._transport.is_remote:
            await reader
            return
        await self._ask_for_heartbeats(rpc)
        while True:
            await self._clock.sleep(PROBE_EVERY_S)
            await self._probe(rpc)
            await self._ends.alive(rpc)

    async def _ending(self, rpc: SocketRpc, reader: asyncio.Task[str], life: asyncio.Task[None]) -> Exception:
        """Why a connection ended: an expected failure is returned, anything else is raised."""
        if life.done() and not life.cancelled():
            failure = life.exception()
            if isinstance(failure, NotSent | NoAnswer | RpcFailure | PerpctlError):
                return failure
            if failure is not None:
                raise failure
        return WireClosed(await reader, rpc.close_code)

    async def _probe(self, rpc: SocketRpc) -> None:
        """Any answer proves life, a refusal too: the streams host may know no `public/test`."""
        try:
            await rpc.call(Call("public/test", {}, PROBE_S))
        except RpcFailure as why:
            if why.kind is Kind.THROTTLED:
                raise

    async def _ask_for_heartbeats(self, rpc: SocketRpc) -> None:
        try:
            await rpc.call(Call("public/set_heartbeat", {"interval": HEARTBEAT_S}, PROBE_S))
        except RpcFailure as why:
            if why.code != NOT_OFFERED:
                raise

    def _heard(self, rpc: SocketRpc, message: dict[str, Any]) -> None:
        self._life.heard()
        if message.get("method") == "heartbeat":
            if "test_request" in str(message.get("params")):
                task = asyncio.create_task(self._answer(rpc))
                self._answers.add(task)
                task.add_done_callback(self._answers.discard)
            return
        try:
            self._ends.heard(message)
        except NoAnswer as why:
            raise WireClosed(f"unreadable notification: {why}") from why

    async def _answer(self, rpc: SocketRpc) -> None:
        """A test_request not answered at once closes the socket, and takes armed orders with it."""
        try:
            await self._probe(rpc)
        except (NotSent, NoAnswer, RpcFailure) as why:
            self.cause = f"a test request could not be answered: {why}"

    def _lost(self, why: Exception) -> None:
        self.rpc, self.failure, self.cause = None, why, str(why)
        self._ends.down(self.cause)
        self.tried.set()
        self._life.ended(why)

    def _pause_s(self) -> float:
        """Full jitter up to 30 s, and never two connects within 2 s."""
        ceiling = min(BACKOFF_MAX_S, BACKOFF_S * 2 ** min(self._failures, 10))
        since = self._clock.monotonic() - (self._connected_at or 0.0)
        return max(_dice.uniform(0, ceiling), CONNECT_EVERY_S - since, 0.0)
