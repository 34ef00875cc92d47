"""This file plays seeded schedules of kills at the US venue: two closers, old reads, lost answers, a moving market.

`python -m tests.emergency.schedules 1000 [FIRST_SEED]` is the long form. Every schedule is a function of its seed: both
kills run in threads that hand one baton to each other, and only sleeping and asking the venue let time pass.
"""

from __future__ import annotations

import heapq
import json
import random
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from perpctl.emergency.venue.wire import HttpAnswer, NoAnswer
from perpctl.model import identity
from perpctl.paper.advanced_trade.face import REST_PATH
from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.terms.us import BIP, ETP, SLP
from perpctl.paper.types import Print, Tick
from tests.emergency.virtual import Kill, OneByOne, held, new_kill
from tests.paper.advanced_trade.trader import Trader, new_trader

T = TypeVar("T")
PRODUCTS = (BIP, ETP, SLP)
ENTRIES = 100
MOST_LAG_S = 60.0
PATIENCE_S = 1800.0  # by then a kill has ended, or never will
POSITIONS = "cfm/positions"


class Stuck(BaseException):
    """A kill did not end; it ends its thread, whatever the kill would do about an exception."""


@dataclass
class Task:
    """One thread that runs only while it has the baton."""

    go: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    thread: threading.Thread | None = None
    ended: bool = False


@dataclass
class Baton:
    """Virtual time, shared: the earliest sleeper runs next, alone."""

    trader: Trader
    chance: random.Random
    now: float = field(init=False)
    watch: Callable[[], None] = lambda: None
    _heap: list[tuple[float, float, Task | Callable[[], None]]] = field(default_factory=list)
    _back: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    _task: Task | None = None
    _over: bool = False

    def __post_init__(self) -> None:
        self.now = self.began = self.trader.wall_s

    def after(self, seconds: float, what: Task | Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, self.chance.random(), what))

    def start(self, work: Callable[[], None], after_s: float) -> None:
        task = Task()

        def run() -> None:
            task.go.acquire()
            try:
                work()
            except Stuck:
                pass
            finally:
                task.ended = True
                self._back.release()

        task.thread = threading.Thread(target=run, daemon=True)
        task.thread.start()
        self.after(after_s, task)

    def sleep(self, seconds: float) -> None:
        task = self._task
        assert task is not None
        self.after(max(seconds, 0.001), task)
        self._back.release()
        task.go.acquire()
        if self._over:
            raise Stuck

    def run(self, tasks: int) -> bool:
        """Until so many tasks have ended; False: they did not within the time there is."""
        left = tasks
        while left:
            at, _, what = heapq.heappop(self._heap)
            self._over = self._over or at - self.began > PATIENCE_S
            self._advance(at)
            if not isinstance(what, Task):
                what()
                continue
            self._task = what
            what.go.release()
            self._back.acquire()
            left -= what.ended
        return not self._over

    def _advance(self, at: float) -> None:
        self.now = max(self.now, at)
        self.trader.exchange.advance(int(self.now * 1_000))
        self.trader.ahead_s = self.now - self.trader.exchange.now / 1_000
        self.trader.face.tick(self.now)
        self.trader.face.publish()
        self.watch()


@dataclass
class SharedWorld(OneByOne):
    """A kill's world: the time of the baton."""

    baton: Baton

    def monotonic(self) -> float:
        return self.baton.now

    def wall_s(self) -> float:
        return self.baton.now

    def sleep(self, seconds: float) -> None:
        self.baton.sleep(seconds)


@dataclass
class Weather:
    """How bad a schedule is."""

    lost: float  # share of requests that never arrive, and as many whose answer never does
    lost_s: float  # for so long; where answers are lost for ever, nothing can be proven
    lag_s: float  # position reads are up to so old
    uncapped: bool  # the venue's close takes any size: only we cap
    jump: float | None  # of the price, at some moment
    contracts: int  # at the touch

    @staticmethod
    def of(chance: random.Random) -> Weather:
        return Weather(
            lost=chance.choice((0.0, 0.02, 0.08)),
            lost_s=chance.uniform(5, 120),
            lag_s=chance.choice((0.0, 5.0, MOST_LAG_S, MOST_LAG_S)),
            uncapped=chance.random() < 0.5,
            jump=chance.choice((None, None, 0.03, -0.03)),
            contracts=chance.choice((2, 10, 200)),
        )


@dataclass
class Schedule:
    """One seed, played."""

    seed: int
    trader: Trader
    baton: Baton
    weather: Weather
    chance: random.Random
    seen: list[tuple[float, bytes]] = field(default_factory=list)  # what cfm/positions would have said, and from when
    holds: dict[str, Decimal] = field(default_factory=dict)
    prices: dict[str, Decimal] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)
    _trades: int = 0

    # -- what must be so

    def look(self) -> None:
        """After whatever happened: remember the position reads, and blame each fill that went through zero."""
        trades = self.trader.face.sight.trades(MAIN_ACCOUNT)
        if len(trades) == self._trades and self.seen:
            return
        for trade in trades[self._trades :]:
            product = self.trader.exchange.product(trade.product)
            before = self.holds.get(trade.product, Decimal(0))
            change = trade.amount / product.contract_size * (1 if trade.direction == "buy" else -1)
            after = self.holds[trade.product] = before + change
            if identity.is_kill(trade.label) and (before * after < 0 or abs(after) > abs(before)):
                self.trouble.append(f"{trade.product}: a close of ours made {after} of {before}")
        self._trades = len(trades)
        self.seen.append((self.baton.now, self.trader.raw("GET", f"/{POSITIONS}").body))

    def judge(self, kill: Kill, code: int) -> None:
        self.codes.append(code)
        rest = self.trader.exchange.open_orders(MAIN_ACCOUNT)
        if code == 0 and (held(self.trader) or rest):
            self.trouble.append(f"{kill.pursuit.wish.kill_id} said 0 over {held(self.trader)} and {len(rest)} orders")

    # -- what happens

    def loses(self) -> bool:
        """Whether this message is lost."""
        return self.chance.random() < self.weather.lost and self.baton.now - self.baton.began < self.weather.lost_s

    def old_positions(self) -> bytes:
        """A read of positions: as they were at some moment of the last `lag_s`."""
        then = self.baton.now - self.chance.random() * self.weather.lag_s
        known = [body for since, body in self.seen if since <= then]
        return known[-1] if known else self.seen[0][1]

    def move_market(self) -> None:
        """A tick of every product, and the next one soon."""
        for product in PRODUCTS:
            self.tick(product.name, Decimal(self.chance.choice((-2, -1, 0, 1, 2))) / 10_000)
        self.baton.after(self.chance.uniform(0.5, 2.0), self.move_market)

    def tick(self, name: str, share: Decimal) -> None:
        product = self.trader.exchange.product(name)
        bid = self.prices[name] = self.prices[name] * (1 + share)
        price = bid - bid % product.tick
        size = product.contract_size * self.weather.contracts
        seen = (Print("sell", price, product.contract_size), Print("buy", price + product.tick, product.contract_size))
        tick = Tick(name, self.trader.exchange.now, price, price + product.tick, size, size, price, price, seen)
        self.trader.exchange.on_tick(tick)
        self.trader.face.publish()
        self.look()

    def jump(self) -> None:
        assert self.weather.jump is not None
        for product in PRODUCTS:
            self.tick(product.name, Decimal(str(self.weather.jump)))


@dataclass
class SpoiltLine:
    """A kill's way to the venue in a schedule: slow, lossy, and old where positions are read."""

    schedule: Schedule
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)

    def dial(self, deadline: float) -> None:
        """There is nothing to open."""

    def hang_up(self) -> None:
        """Nor to close."""

    def get(self, path: str, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        return self._ask("GET", path, b"", headers, seconds)

    def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        return self._ask("POST", path, body, headers, seconds)

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        it, chance = self.schedule, self.schedule.chance
        self.sent.append((method, path, body))
        it.baton.sleep(chance.uniform(0.005, 0.2))
        if it.loses():
            it.baton.sleep(seconds)
            raise NoAnswer("timed out", sent=True)
        heard = {"host": "127.0.0.1:9", **{name.lower(): value for name, value in headers.items()}}
        if (
            path == "orders/close_position"
            and it.weather.uncapped
            and json.loads(body)["product_id"] in held(it.trader)
        ):
            reply = it.trader.raw("POST", "/orders", _uncapped(it.trader, json.loads(body)))
        else:
            reply = it.trader.face.handle_http(method, f"{REST_PATH}/{path}", heard, body, it.baton.now)
        it.look()
        content = it.old_positions() if path == POSITIONS and reply.status == 200 else reply.body
        it.baton.sleep(chance.uniform(0.005, 0.2))
        if it.loses():
            it.baton.sleep(seconds)
            raise NoAnswer("the answer was lost", sent=True)
        return HttpAnswer(reply.status, reply.headers, content)


def _uncapped(trader: Trader, wanted: Mapping[str, Any]) -> bytes:
    """A close as a market order of any size, on the side that the position asks for at this moment."""
    side = "BUY" if held(trader)[wanted["product_id"]] < 0 else "SELL"
    terms = {"market_market_ioc": {"base_size": wanted["size"]}}
    named = {"client_order_id": wanted["client_order_id"], "product_id": wanted["product_id"]}
    return json.dumps({**named, "side": side, "order_configuration": terms}).encode()


def play(seed: int, directory: Path, closers: int = 2) -> Schedule:
    """One schedule from its seed."""
    chance = random.Random(seed)
    trader = new_trader()
    baton = Baton(trader, chance)
    it = Schedule(seed, trader, baton, Weather.of(chance), chance)
    it.prices = {product.name: product.start_price for product in PRODUCTS}
    it.prices[BIP.name] = Decimal(84_000)
    _set_up(it)
    it.look()
    baton.watch = it.look
    for number in range(closers):
        place = directory / str(number)
        place.mkdir(parents=True)
        world = SharedWorld(baton)
        kill = new_kill(trader, place, world=world, kill_id=f"K-{number}", line=SpoiltLine(it))
        baton.start(lambda kill=kill: it.judge(kill, kill.run()), chance.uniform(0, 3))
    baton.after(0.5, it.move_market)
    if it.weather.jump is not None:
        baton.after(chance.uniform(0, 20), it.jump)
    if not baton.run(closers):
        it.trouble.append("a kill did not end")
    return it


def _set_up(it: Schedule) -> None:
    """Three positions with their stops, and a hundred entries, some of them near."""
    chance, trader = it.chance, it.trader
    for product in PRODUCTS:
        side, contracts = chance.choice((("BUY", 1), ("SELL", -1))), chance.randint(1, 30)
        size = product.contract_size * 100
        price = it.prices[product.name]
        seen = (Print("sell", price, product.contract_size),)
        now = trader.exchange.now + 1
        trader.exchange.on_tick(Tick(product.name, now, price, price + product.tick, size, size, price, price, seen))
        trader.face.publish()
        trader.placed(side[0], contracts, product_id=product.name)
        stop = _on_tick(price * (1 - side[1] * Decimal("0.02")), product.tick)
        limit = _on_tick(stop * (1 - side[1] * Decimal("0.01")), product.tick)
        trader.placed(
            "SELL" if side[1] > 0 else "BUY",
            contracts,
            "stop_limit_stop_limit_gtc",
            product_id=product.name,
            stop_price=str(stop),
            limit_price=str(limit),
            stop_direction=f"STOP_DIRECTION_STOP_{'DOWN' if side[1] > 0 else 'UP'}",
        )
    for number in range(ENTRIES):
        product = PRODUCTS[number % 3]
        sign = chance.choice((1, -1))
        away = Decimal(chance.choice((2, 10, 100, 200))) / 10_000
        price = _on_tick(it.prices[product.name] * (1 - sign * away), product.tick)
        trader.limit("BUY" if sign > 0 else "SELL", chance.randint(1, 3), str(price), product_id=product.name)


def _on_tick(price: Decimal, tick: Decimal) -> Decimal:
    return (price / tick).to_integral_value() * tick


def main() -> None:
    """Seeds one after another; what went wrong, and how the kills ended."""
    count, first = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    codes: dict[int, int] = {}
    bad = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory() as place:
            it = play(seed, Path(place))
        for code in it.codes:
            codes[code] = codes.get(code, 0) + 1
        if it.trouble:
            bad += 1
            sys.stdout.write(f"seed {seed} {it.weather}: {'; '.join(it.trouble[:3])}\n")
            sys.stdout.flush()
    sys.stdout.write(f"{count} schedules, {bad} in trouble; kills ended with {codes}\n")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
