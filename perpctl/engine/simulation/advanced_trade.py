"""This file runs the bot on the paper US venue in this process, in lock step: its REST face and both its sockets.

Our wall clock moves by a quarter of a second each tick, so that heartbeats come in time and what the client reads of a
product every few seconds is a few ticks old; limits, losses, ends of orders and strategies run on market time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from perpctl.clock import from_ms
from perpctl.engine.simulation.clock import VirtualClock
from perpctl.engine.simulation.line import Line, Lines
from perpctl.engine.simulation.memory import HOST, Feed, Stage
from perpctl.exchange.access import Access
from perpctl.exchange.advanced_trade.budget import Budget
from perpctl.exchange.advanced_trade.client import open_advanced_trade
from perpctl.exchange.budget import Duty
from perpctl.exchange.http import HttpReply, NoAnswer
from perpctl.exchange.port import MaySend
from perpctl.exchange.transport import Wire
from perpctl.paper.advanced_trade.access import Caller
from perpctl.paper.advanced_trade.face import REST_PATH, AdvancedTrade
from perpctl.paper.advanced_trade.feed.session import FeedSession
from perpctl.paper.advanced_trade.wire import MARKET_SOCKET, USER_SOCKET
from perpctl.paper.core import Exchange
from perpctl.paper.keys import MAIN_ACCOUNT, MemoryKeys
from perpctl.paper.products import GATEWAY_PRODUCTS
from perpctl.paper.terms.us import US_PRODUCTS, US_RULES, follow
from perpctl.paper.types import Tick

STEP_S = 0.25
USERNAME = "paper"
_COINS = {product.name: product.base for product in GATEWAY_PRODUCTS}


class _Endless(Budget):
    """The hour is a wall hour, which is a quarter of an hour here: the exchange counts no requests, nor do we."""

    async def take(self, duty: Duty) -> None:
        return


class _Trusting(AdvancedTrade):
    """The face for the one client of this process: a tenth of a run went into checking what it had just signed."""

    sole: Caller | None = None

    def identify(self, authorization: str, asked: tuple[str, str, str], wall_s: float) -> Caller:
        self.sole = self.sole or super().identify(authorization, asked, wall_s)
        return self.sole


class UsMarket:
    """The US instance of the exchange on a feed. Nothing moves but by `step`."""

    def __init__(self, ticks: Iterable[Tick], start_ms: int, clock: VirtualClock, seed: int) -> None:
        self.exchange = Exchange(US_PRODUCTS, US_RULES, start_ms)
        self.exchange.open_account(MAIN_ACCOUNT, USERNAME, start_ms)
        self.keys = MemoryKeys()
        self.face = _Trusting(self.exchange, self.keys, seed=seed)
        self.face.limits.enabled = False
        self.face.switches.change({"cancel_s": 0})
        self.face.told_levels = 1  # books are made anew with each tick, and nothing in the bot looks beyond the touch
        self._ticks, self._clock = iter(ticks), clock

    @property
    def wall_s(self) -> float:
        return self._clock.now().timestamp()

    def step(self) -> Tick | None:
        """Play the next tick and let every connection notice; None at the end of the feed."""
        tick = next(self._ticks, None)
        if tick is not None:
            for made in follow(tick, _COINS[tick.product]):
                self.exchange.on_tick(made)
            self.face.tick(self.wall_s)
            self.face.publish()
        return tick


class _Line(Line):
    def __init__(self, session: FeedSession, memory: Memory) -> None:
        super().__init__(session, memory)
        self._session, self._venue = session, memory.venue

    def tell(self, frame: bytes) -> None:
        self.take(self._session.receive(frame, self._venue.wall_s))

    def collect(self) -> None:
        self.take(self._session.tick(self._venue.wall_s))


class Memory(Lines):
    """The way to the US venue in this process."""

    def __init__(self, venue: UsMarket) -> None:
        super().__init__()
        self.venue = venue

    async def get(self, url: str, headers: dict[str, str], deadline_s: float) -> HttpReply:
        return self._asked("GET", url, b"", headers)

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_s: float) -> HttpReply:
        return self._asked("POST", url, body, headers)

    def _asked(self, method: str, url: str, body: bytes, headers: dict[str, str]) -> HttpReply:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        sent = {"host": HOST} | {name.lower(): value for name, value in headers.items()}
        reply = self.venue.face.handle_http(method, target, sent, body, self.venue.wall_s)
        self.venue.face.tick(self.venue.wall_s)
        self.deliver()
        if reply.cut:
            raise NoAnswer("the connection broke")
        return HttpReply(reply.status, reply.body, reply.headers)

    async def connect(self, url: str, deadline_s: float) -> Wire:
        return _Line(self.venue.face.open_session(self.venue.wall_s), self)


def set_up(
    feed: Feed, clock: VirtualClock, directory: Path, may_send: MaySend | None = None, *, seed: int = 0
) -> Stage:
    """A new exchange with one account and a key for it, and nothing random but what the seed gives."""
    start_ms, ticks = feed
    venue = UsMarket(ticks, start_ms, clock, seed)
    key_file = directory / "key.json"
    content = venue.keys.add("ed25519", ("view", "trade"), MAIN_ACCOUNT, from_ms(start_ms))
    key_file.touch(mode=0o600)
    key_file.write_text(json.dumps(content))
    access = Access(f"http://{HOST}{REST_PATH}", f"ws://{HOST}{USER_SOCKET}", f"ws://{HOST}{MARKET_SOCKET}", key_file)
    memory = Memory(venue)
    client = open_advanced_trade(access, clock, may_send=may_send, budget=_Endless(clock), web=memory)
    return Stage(venue, memory, client, clock, STEP_S)
