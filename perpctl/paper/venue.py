"""This file runs one paper exchange: market time follows wall time, ticks come from a feed, everything is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from time import perf_counter

import msgspec

from perpctl.paper.advanced_trade.instance import FOLDER, UsVenue
from perpctl.paper.core import Exchange
from perpctl.paper.faults import FaultPlane
from perpctl.paper.feed.choice import Feed, scaled
from perpctl.paper.gateway.face import Gateway
from perpctl.paper.gateway.session import GatewaySession, Host
from perpctl.paper.keys import MAIN_ACCOUNT, Keys, MemoryKeys
from perpctl.paper.products import GATEWAY_PRODUCTS, GATEWAY_RULES
from perpctl.paper.state import KeptExchange, Record, sync_files
from perpctl.paper.types import Print, Tick
from perpctl.paper.wire.reply import HttpReply

USERNAME = "paper"
MAX_SPEED = float("inf")
SLICE_S = 0.02  # of processor time for market data before requests get a turn


@dataclass
class Venue:
    """An exchange with its market, its face and its memory. Wall seconds come with each call."""

    record: Record
    keys: Keys
    feed: Feed
    speed: float = 1.0  # market seconds a wall second; MAX_SPEED for as fast as it goes
    seed: int = 0
    faults: FaultPlane = field(default_factory=FaultPlane)
    exchange: KeptExchange = field(init=False)
    gateway: Gateway = field(init=False)
    us: UsVenue = field(init=False)
    feed_ended: bool = False
    _ticks: Iterator[Tick | None] = field(init=False)
    _next: Tick | None = None
    _anchor: tuple[float, int] | None = None  # (wall s, market ms) that market time is counted from
    _last_wall_s: float = 0.0
    is_behind: bool = False  # the last slice ended before market time caught up
    _scale: dict[str, Decimal] = field(default_factory=dict)  # what the feed's prices are multiplied with

    def __post_init__(self) -> None:
        resumed = self.record.resume()
        self.exchange = resumed or self._new_exchange()
        self._open_face()
        beside = self.record.beside(FOLDER)
        self.us = UsVenue(beside, self.keys, self.exchange.now, self.seed, self.faults)
        self.us.advance(self.exchange.now)
        if resumed is None:
            self._open_books()
        elif self.feed.is_live:
            self._advance_all(max(self.exchange.now, self.feed.start_ms))

    def _new_exchange(self) -> KeptExchange:
        exchange = KeptExchange(GATEWAY_PRODUCTS, GATEWAY_RULES, self.feed.start_ms)
        self.record.start(exchange)
        exchange.open_account(MAIN_ACCOUNT, USERNAME, self.feed.start_ms)
        return exchange

    def _open_books(self) -> None:
        """The first tick of every product that the feed has: whoever connects first finds a market."""
        opened = set[str]()
        while (tick := self._peek()) is not None and tick.product not in opened:
            self._next = None
            opened.add(tick.product)
            self._play(tick)
        self.checkpoint()

    def _play(self, tick: Tick) -> None:
        """One tick of the feed, in every instance."""
        seen = self._scaled(tick)
        self.exchange.on_tick(seen)
        self.us.on_tick(seen, self.exchange.product(tick.product).base, hurried=self.speed == MAX_SPEED)

    def _advance_all(self, now: int) -> None:
        self.exchange.advance(now)
        self.us.advance(now)

    def publish(self) -> None:
        """Tell every connection what happened."""
        self.gateway.publish()
        self.us.publish()

    def checkpoint(self) -> None:
        """Write the whole state."""
        self.record.checkpoint(self.exchange)
        self.us.record.checkpoint(self.us.exchange)

    async def sync(self) -> None:
        """Bring what was committed through to the disk; requests are served meanwhile."""
        files = self.record.unsynced() + self.us.record.unsynced()
        if files:
            await asyncio.to_thread(sync_files, files)

    @property
    def is_long(self) -> bool:
        """Whether a checkpoint is due by size."""
        return self.record.is_long or self.us.record.is_long

    def _open_face(self) -> None:
        self.gateway = Gateway(self.exchange, self.keys, seed=self.seed, faults=self.faults, keeper=self.record)
        extra = self.record.extra
        self._scale = {name: Decimal(scale) for name, scale in extra.get("scale", {}).items()}
        self.gateway.remember(extra)
        self.feed_ended, self._next = False, None
        self._ticks = self.feed.ticks(self.exchange.now, self._prices())

    def _prices(self) -> dict[str, Decimal]:
        """Where the feed itself left off: the last marks, unscaled."""
        tradable = [product.name for product in self.exchange.products.values() if product.tradable]
        return {name: self.exchange.ticker(name).mark_price / self._scale.get(name, Decimal(1)) for name in tradable}

    # -- time

    def advance(self, wall_s: float) -> None:
        """Let market time follow; at most SLICE_S of work, the rest next time."""
        if self.speed == MAX_SPEED:
            self._run_until(None)
        else:
            self.catch_up(wall_s)

    def catch_up(self, wall_s: float) -> None:
        """As `advance`, before a request; at full speed requests do not wait for the market."""
        if self.speed == MAX_SPEED:
            return
        if self._anchor is None or wall_s < self._last_wall_s:  # or somebody set the machine's clock back
            self._anchor = (wall_s, self.exchange.now)
        self._last_wall_s = wall_s
        since_wall, since_market = self._anchor
        target = since_market + int((wall_s - since_wall) * 1000 * self.speed)
        if self._run_until(target) and target > self.exchange.now:
            self._advance_all(target)
            self.publish()
        elif self.exchange.now < target:
            self._anchor = (wall_s, self.exchange.now)  # too slow for this speed: do not pile up a debt

    def skip(self, seconds: float, *, quiet: bool = False) -> None:
        """Jump ahead in market time, through every tick in between; `quiet`: as if the market slept meanwhile."""
        target = self.exchange.now + int(seconds * 1000)
        while not quiet and not self._run_until(target):
            pass
        self._advance_all(max(target, self.exchange.now))
        if quiet:
            self._next, self._ticks = None, self.feed.ticks(self.exchange.now, self._prices())
        self.publish()
        self.checkpoint()
        self._anchor = None

    def _run_until(self, target: int | None) -> bool:
        """Feed ticks up to `target`; False when the slice ended first."""
        ends = perf_counter() + SLICE_S
        while (tick := self._peek()) is not None and (target is None or tick.at_ms <= target):
            self._next = None
            self._play(tick)
            self.publish()
            if perf_counter() > ends:
                self.is_behind = True
                return False
        self.is_behind = False
        return True

    def _peek(self) -> Tick | None:
        if self._next is None and not self.feed_ended:
            try:
                self._next = next(self._ticks)
            except StopIteration:
                self.feed_ended = True
        return self._next

    # -- interference

    def set_price(self, product: str, price: Decimal) -> None:
        """Move a product's market to `price` now, and the feed's path with it from here on."""
        listed = self.exchange.product(product)
        mark = self.exchange.ticker(product).mark_price
        self._scale[product] = self._scale.get(product, Decimal(1)) * price / mark
        half = listed.tick
        size = Decimal(1000) * listed.min_amount
        tick = Tick(product, self.exchange.now, price - half, price + half, size, size, price, price)
        placed = scaled(tick, Decimal(1), listed.tick)
        self.exchange.on_tick(placed)
        seen = (Print("buy", placed.ask, listed.min_amount),)  # the band there follows what was traded last
        self.us.on_tick(msgspec.structs.replace(placed, prints=seen), listed.base)
        self.publish()
        self.record.note_extra({"scale": {name: str(value) for name, value in self._scale.items()}})

    def _scaled(self, tick: Tick) -> Tick:
        if tick.at_ms < self.exchange.now:  # a live market's clock is not quite ours
            tick = msgspec.structs.replace(tick, at_ms=self.exchange.now)
        scale = self._scale.get(tick.product)
        return tick if scale is None else scaled(tick, scale, self.exchange.product(tick.product).tick)

    def reset(self, wall_s: float) -> None:
        """Start anew: every account, order and fill is forgotten, keys stay."""
        for session in list(self.gateway.sessions):
            session.lost()
        self.record.extra = {}
        self.exchange = self._new_exchange()
        self._scale = {}
        self._open_face()
        self.us.reset(self.exchange.now)
        self._anchor = (wall_s, self.exchange.now)

    # -- keeping

    def close(self) -> None:
        """The clean end: connections drop as in a release of the venue, then everything is on disk."""
        for session in list(self.gateway.sessions):
            session.lost()
        self.us.close()
        self.record.note_extra(self.gateway.memory())
        self.record.close(self.exchange)


class MemoryVenue:
    """An exchange in this process, in lock step with its caller, on a virtual clock: for simulations.

    Wall time is market time. Nothing moves but by `step` and `wait`; equal ticks, calls and seed give equal bytes.
    `http` serves as a transport; `open` makes a connection: `receive` and, after a step, `drain` give what goes out.
    """

    def __init__(self, ticks: Iterable[Tick], start_ms: int, *, seed: int = 0, balance: Decimal | None = None) -> None:
        self.exchange = Exchange(GATEWAY_PRODUCTS, GATEWAY_RULES, start_ms)
        self.exchange.open_account(MAIN_ACCOUNT, USERNAME, start_ms, balance)
        self.keys = MemoryKeys()
        self.faults = FaultPlane(seed)
        self.gateway = Gateway(self.exchange, self.keys, seed=seed, faults=self.faults)
        self._ticks: Iterator[Tick] = iter(ticks)

    @property
    def wall_s(self) -> float:
        """Virtual seconds since the epoch."""
        return self.exchange.now / 1000

    def push(self, tick: Tick) -> None:
        """Have this tick before the rest of the feed."""
        self._ticks = chain((tick,), self._ticks)

    def step(self) -> Tick | None:
        """Play the next tick and let every connection notice; None at the end of the feed."""
        tick = next(self._ticks, None)
        if tick is not None:
            self.exchange.on_tick(tick)
            self.gateway.publish()
            self._notice()
        return tick

    def wait(self, seconds: float) -> None:
        """Let time pass without a tick."""
        self.exchange.advance(self.exchange.now + int(seconds * 1000))
        self.gateway.publish()
        self._notice()

    def _notice(self) -> None:
        for session in list(self.gateway.sessions):
            session.hold(session.tick(self.wall_s))

    def http(self, method: str, target: str, headers: dict[str, str], body: bytes) -> HttpReply:
        """One HTTP request; header names in lower case. `reply.cut` stands for a dead connection."""
        return self.gateway.handle_http(method, target, headers, body, self.wall_s)

    def open(self, host: Host) -> GatewaySession:
        """A connection to one of the WebSocket hosts."""
        return self.gateway.open_session(host, self.wall_s)
