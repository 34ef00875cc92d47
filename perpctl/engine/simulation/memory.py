"""This file runs bot and paper exchange in one process, in lock step: each tick is dealt with whole before the next.

The venue's market time jumps from tick to tick; our wall clock moves by a millisecond each, so that heartbeats, tokens
and leases hardly age while limits, losses and strategies run on market time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from perpctl.clock import from_ms
from perpctl.engine.simulation.clock import VirtualClock
from perpctl.engine.simulation.line import Line, Lines
from perpctl.exchange.access import Access
from perpctl.exchange.budget import Budget, Duty, Limit, Pool
from perpctl.exchange.gateway.client import open_gateway
from perpctl.exchange.http import HttpReply, NoAnswer
from perpctl.exchange.port import Exchange, MaySend
from perpctl.exchange.transport import Wire
from perpctl.paper.core import Exchange as Core
from perpctl.paper.gateway.face import PRIVATE_SOCKET, RPC_PATH, STREAMS_SOCKET
from perpctl.paper.gateway.session import GatewaySession
from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.types import Tick
from perpctl.paper.venue import MemoryVenue

STEP_S = 0.001
Feed = tuple[int, Iterable[Tick]]  # market ms of the beginning, and what follows
HOST = "memory"


class _Endless(Budget):
    """Credits refill by the wall clock, which stands all but still here: the exchange counts none, nor do we."""

    async def take(self, pool: Pool, duty: Duty) -> None:
        return

    def learn(self, limits: Mapping[Pool, Limit]) -> None:
        return


class SoleHolder:
    """The lease where nobody else can be."""

    epoch = 1

    def left_ms(self) -> int:
        return 10_000

    def release(self) -> None:
        return


class _InStep(MemoryVenue):
    """The exchange with a wall clock of its own, which is ours."""

    def __init__(self, ticks: Iterable[Tick], start_ms: int, clock: VirtualClock, seed: int) -> None:
        super().__init__(ticks, start_ms, seed=seed)
        self._clock = clock
        self.gateway.credits.enabled = False

    @property
    def wall_s(self) -> float:
        return self._clock.now().timestamp()

    def _notice(self) -> None:
        """Books stay untold: they are made anew with each tick, and nothing in the bot looks beyond the touch."""
        for session in self.gateway.sessions:
            session.tell_all(but="book.")


class _Line(Line):
    def __init__(self, session: GatewaySession, memory: Memory) -> None:
        super().__init__(session, memory)
        self._session, self._memory = session, memory

    def tell(self, frame: bytes) -> None:
        self._session.hold(self._session.receive(frame, self._memory.venue.wall_s))
        self._memory.deliver()

    def collect(self) -> None:
        self.take(self._session.drain())


class Memory(Lines):
    """The way to an exchange in this process."""

    def __init__(self, venue: MemoryVenue) -> None:
        super().__init__()
        self.venue = venue

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_s: float) -> HttpReply:
        sent = {name.lower(): value for name, value in headers.items()}
        reply = self.venue.http("POST", urlsplit(url).path, sent, body)
        self.deliver()
        if reply.cut:
            raise NoAnswer("the connection broke")
        return HttpReply(reply.status, reply.body, reply.headers)

    async def connect(self, url: str, deadline_s: float) -> Wire:
        return _Line(self.venue.open("streams" if url.endswith(STREAMS_SOCKET) else "private"), self)


class Market(Protocol):
    """An exchange that moves only by `step`: the next tick is played, and every connection notices."""

    @property
    def exchange(self) -> Core: ...

    def step(self) -> Tick | None: ...


class Way(Protocol):
    """How the client reaches it; `deliver` puts on every line what is to be told."""

    def deliver(self) -> None: ...


@dataclass(slots=True)
class Stage:
    """A venue in memory, its feed, and the client that reaches it."""

    venue: Market
    memory: Way
    client: Exchange
    clock: VirtualClock
    step_s: float = STEP_S

    async def play(self, beside: asyncio.Task[object], is_enough: Callable[[], bool]) -> int:
        """Every tick of the feed, each dealt with before the next, while `beside` runs; how many there were."""
        ticks = 0
        await self.clock.sleep(self.step_s)  # let the bot connect
        while not beside.done() and not is_enough() and self.venue.step() is not None:
            self.memory.deliver()
            ticks += 1
            await self.clock.sleep(self.step_s)
        return ticks


def set_up(
    feed: Feed, clock: VirtualClock, directory: Path, may_send: MaySend | None = None, *, seed: int = 0
) -> Stage:
    """A new exchange with one account and a key for it, and nothing random but what the seed gives."""
    start_ms, ticks = feed
    venue = _InStep(ticks, start_ms, clock, seed)
    key_file = directory / "key.json"
    content = venue.keys.add("ed25519", ("view", "trade"), MAIN_ACCOUNT, from_ms(start_ms))
    key_file.touch(mode=0o600)
    key_file.write_text(json.dumps(content))
    http, private, streams = f"http://{HOST}{RPC_PATH}", f"ws://{HOST}{PRIVATE_SOCKET}", f"ws://{HOST}{STREAMS_SOCKET}"
    access = Access(http, private, streams, key_file)
    memory = Memory(venue)
    client = open_gateway(access, clock, may_send=may_send, budget=_Endless(clock), transport=memory)
    return Stage(venue, memory, client, clock)
