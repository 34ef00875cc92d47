"""This file keeps one socket of this venue alive: subscribe in time, count every message, and begin again on any doubt.

One counter runs through all messages of a connection, so an unbroken sequence with a heartbeat each second confirms
every channel of it; a jump means that a message is lost, and nothing that was told before counts any more.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from perpctl.clock import Clock
from perpctl.errors import PerpctlError
from perpctl.exchange import trace
from perpctl.exchange.both.document import Row, decode, rows_of
from perpctl.exchange.both.life import Life
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.exchange.transport import Transport, Wire, WireClosed

CONNECT_S = 5.0
HEARTBEATS_MISSED = 3
ANSWER_S = 3.0  # a subscription that is not confirmed by then is sent again
ASKED_TWICE = 2
BACKOFF_S, BACKOFF_MAX_S = 0.5, 30.0
CONNECT_EVERY_S = 2.0
HEARTBEATS = "heartbeats"
TOLD_AS = {"level2": "l2_data"}  # a channel that is subscribed by one name and told under another
_encode = msgspec.json.Encoder().encode
_dice = random.SystemRandom()


class Ends(Protocol):
    """What the owner of a line is told, and does in its place."""

    @property
    def channels(self) -> Sequence[str]:
        """What to subscribe, heartbeats apart."""

    @property
    def products(self) -> Sequence[str]:
        """Of which products; none: of every one."""

    async def up(self) -> None:
        """Everything is subscribed: catch up. Anything raised ends the connection."""

    def heard(self, channel: str, events: Sequence[Row], at: object) -> None:
        """A message of a channel, sent `at`. NoAnswer raised here ends the connection."""

    def missing(self, channel: str) -> None:
        """The venue does not confirm this channel."""

    def alive(self) -> None:
        """A heartbeat with an unbroken sequence behind it."""

    def down(self, cause: str) -> None:
        """The connection is gone."""


class Line:
    """One supervised socket, on either of two hosts: each is the other's stand-in."""

    def __init__(
        self,
        hosts: Sequence[str],
        transport: Transport,
        clock: Clock,
        jwt: Callable[[], str | None],
        ends: Ends,
        life: Life,
    ) -> None:
        self._life = life
        self._hosts = tuple(dict.fromkeys(hosts))
        self._transport = transport
        self._clock = clock
        self._jwt = jwt
        self._ends = ends
        self._failures = 0
        self._connected_at: float | None = None
        self._sequence: int | None = None
        self._beat_at = 0.0
        self._confirmed: set[str] = set()
        self.tried = asyncio.Event()  # the first connection came up, or did not
        self.is_up = False
        self.failure: Exception | None = None

    @property
    def granted(self) -> tuple[str, ...]:
        """Channels that the venue has confirmed on this connection."""
        return tuple(channel for channel in self._ends.channels if channel in self._confirmed)

    async def run(self) -> None:
        """Connect and reconnect until cancelled."""
        while True:
            await self._connect_once()
            self._failures += 1
            await self._clock.sleep(self._pause_s())

    async def _connect_once(self) -> None:
        self._connected_at = self._clock.monotonic()
        host = self._hosts[self._failures % len(self._hosts)]
        self._life.begins(host)
        try:
            wire = await self._transport.connect(host, CONNECT_S)
        except (NotSent, NoAnswer, PerpctlError) as why:
            self._lost(why)
            return
        self._life.opened()
        self._sequence, self._confirmed, self._beat_at = None, set(), self._clock.monotonic()
        reader, life = asyncio.create_task(self._read(wire)), asyncio.create_task(self._live(wire))
        try:
            await asyncio.wait({reader, life}, return_when=asyncio.FIRST_COMPLETED)
            self._lost(_ending(reader, life))
        finally:
            self.is_up = False
            for task in (reader, life):
                task.cancel()
            await asyncio.gather(reader, life, return_exceptions=True)
            await wire.close()
            self._life.ended(WireClosed("we hung up"))

    async def _read(self, wire: Wire) -> None:
        """Take messages off the wire until it closes; what cannot be read may have been anything: start over."""
        while True:
            frame = await wire.receive()
            trace.frame("<-", frame)
            self._life.heard()
            try:
                self._take(decode(frame))
            except NoAnswer as why:
                raise WireClosed(f"unreadable message: {why}") from why

    def _take(self, message: Mapping[str, Any]) -> None:
        if message.get("type") == "error":
            raise WireClosed(f"the venue says {str(message.get('message'))[:200]}")
        channel, number = message.get("channel"), message.get("sequence_num")
        if not isinstance(channel, str):
            raise WireClosed(f"a message without a channel: {str(message)[:120]}")
        self._count(number)
        events = rows_of(message.get("events"), "events")
        if channel == "subscriptions":
            self._confirmed = {name for event in events for name in event.get("subscriptions") or {}}
        elif channel == HEARTBEATS:
            self._beat_at = self._clock.monotonic()
            if self.is_up:
                self._ends.alive()
        else:
            self._ends.heard(channel, events, message.get("timestamp"))

    def _count(self, number: object) -> None:
        if not isinstance(number, int) or isinstance(number, bool):
            raise WireClosed(f"a message without a sequence number: {str(number)[:40]}")
        expected = 0 if self._sequence is None else self._sequence + 1
        if number != expected:
            raise WireClosed(f"a gap: message {number} follows {expected - 1}")
        self._sequence = number

    async def _live(self, wire: Wire) -> None:
        await self._subscribe(wire)
        await self._ends.up()
        self.is_up, self._failures = True, 0
        self._life.is_up(self.granted, [one for one in self._ends.channels if one not in self._confirmed])
        self.tried.set()
        while True:
            await self._clock.sleep(1.0)
            silent_s = self._clock.monotonic() - self._beat_at
            if silent_s >= HEARTBEATS_MISSED:
                raise WireClosed(f"no heartbeat for {silent_s:.1f} s")

    async def _subscribe(self, wire: Wire) -> None:
        """Heartbeats first, at once: a connection that asks for nothing within 5 s is closed."""
        wanted = [HEARTBEATS, *self._ends.channels]
        for channel in wanted:
            await self._ask(wire, channel)
        for attempt in range(ASKED_TWICE):
            ends = self._clock.monotonic() + ANSWER_S
            while not self._confirmed.issuperset(wanted) and self._clock.monotonic() < ends:
                await self._clock.sleep(0.02)
            missing = [channel for channel in wanted if channel not in self._confirmed]
            for channel in missing if attempt + 1 < ASKED_TWICE else ():
                await self._ask(wire, channel)
        for channel in (one for one in self._ends.channels if one not in self._confirmed):
            self._ends.missing(channel)

    async def _ask(self, wire: Wire, channel: str) -> None:
        """Each message carries a token of its own, looked at once."""
        asked: dict[str, object] = {"type": "subscribe", "channel": channel}
        if channel != HEARTBEATS and self._ends.products:
            asked["product_ids"] = list(self._ends.products)
        if (jwt := self._jwt()) is not None:
            asked["jwt"] = jwt
        frame = _encode(asked)
        trace.frame("->", frame)
        await wire.send(frame)

    def _lost(self, why: Exception) -> None:
        self.failure = why
        self._confirmed = set()
        self._ends.down(str(why))
        self.tried.set()
        self._life.ended(why)

    def _pause_s(self) -> float:
        """Full jitter up to 30 s, and never two connects within 2 s: 8 a second are allowed to everybody behind one
        address."""
        ceiling = min(BACKOFF_MAX_S, BACKOFF_S * 2 ** min(self._failures, 10))
        since = self._clock.monotonic() - (self._connected_at or 0.0)
        return max(_dice.uniform(0, ceiling), CONNECT_EVERY_S - since, 0.0)


def _ending(*tasks: asyncio.Task[None]) -> Exception:
    """Why a connection ended: an expected failure is returned, anything else is raised."""
    for task in tasks:
        if task.done() and not task.cancelled() and (failure := task.exception()) is not None:
            if isinstance(failure, NotSent | NoAnswer | WireClosed | PerpctlError):
                return failure
            raise failure
    return WireClosed("the connection ended")
