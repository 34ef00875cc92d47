"""This file runs a kill at the US venue in virtual time: over the paper face in memory, no socket, no thread."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from perpctl.emergency.closing.closer import Wish
from perpctl.emergency.pending import Record
from perpctl.emergency.receipt import judge
from perpctl.emergency.steps import Pursuit
from perpctl.emergency.target import Pin, Target, Timing
from perpctl.emergency.venue.terms import US
from perpctl.emergency.venue.wire import HttpAnswer, NoAnswer
from perpctl.errors import ExitCode
from perpctl.model.flatten import ladder
from perpctl.paper.advanced_trade.face import REST_PATH
from perpctl.paper.keys import MAIN_ACCOUNT, portfolio_of
from perpctl.paper.terms.us import BIP, ETP, SLP
from perpctl.paper.types import Print, Tick
from tests.paper.advanced_trade.trader import Trader

T = TypeVar("T")
URL = f"http://127.0.0.1:9{REST_PATH}"
Spoiler = Callable[[str, HttpAnswer], HttpAnswer]


class OneByOne:
    """What a world does side by side, done one after another."""

    def at_once(self, calls: Sequence[Callable[[], T]]) -> list[T | Exception]:
        answers: list[T | Exception] = []
        for call in calls:
            try:
                answers.append(call())
            except Exception as why:  # noqa: BLE001 - handed to the caller, who must look at it
                answers.append(why)
        return answers

    def beside(self, call: Callable[[], None]) -> Callable[[], None]:
        call()
        return lambda: None


@dataclass
class VirtualWorld(OneByOne):
    """Time that only sleeping moves; what happens meanwhile is scripted as (seconds from now, what)."""

    trader: Trader
    plans: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.trader.wall_s

    def wall_s(self) -> float:
        return self.trader.wall_s

    def sleep(self, seconds: float) -> None:
        end = self.trader.wall_s + max(seconds, 0.001)
        for at_s, happens in sorted(self.plans, key=lambda plan: plan[0]):
            if at_s <= end and (at_s, happens) in self.plans:
                self.plans.remove((at_s, happens))
                self._pass(at_s)
                happens()
        self._pass(end)

    def _pass(self, until_s: float) -> None:
        """The market's time passes with the wall's."""
        exchange, left_ms = self.trader.exchange, round((until_s - self.trader.wall_s) * 1_000)
        if left_ms > 0:
            exchange.advance(exchange.now + left_ms)
            self.trader.face.publish()
            self.trader.settle(0)

    def plan(self, after_s: float, happens: Callable[[], None]) -> None:
        self.plans.append((self.trader.wall_s + after_s, happens))


@dataclass
class FaceLine:
    """The face as a line; `spoil` may change an answer, `lost` loses the answers to some writes."""

    trader: Trader
    world: VirtualWorld
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)
    spoil: Spoiler = lambda _, answer: answer
    lost: list[str] = field(default_factory=list)  # paths, each good for one answer after it was carried out
    takes_s: float = 0.01

    def dial(self, deadline: float) -> None:
        """There is nothing to open."""

    def hang_up(self) -> None:
        """Nor to close."""

    def get(self, path: str, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        return self._ask("GET", path, b"", headers)

    def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        return self._ask("POST", path, body, headers)

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        self.sent.append((method, path, body))
        self.world.sleep(self.takes_s)
        heard = {"host": "127.0.0.1:9", **{name.lower(): value for name, value in headers.items()}}
        reply = self.trader.face.handle_http(method, f"{REST_PATH}/{path}", heard, body, self.trader.wall_s)
        if reply.cut or path in self.lost:
            self.lost = [one for one in self.lost if one != path]
            raise NoAnswer("the answer was lost", sent=True)
        return self.spoil(path, HttpAnswer(reply.status, reply.headers, reply.body))

    def bodies(self, path: str) -> list[Any]:
        return [json.loads(body) for _, asked, body in self.sent if asked == path and body]


@dataclass
class Kill:
    """One kill of the trader's account."""

    trader: Trader
    directory: Path
    world: VirtualWorld
    line: FaceLine
    pursuit: Pursuit
    told: list[ExitCode] = field(default_factory=list)

    def run(self) -> ExitCode:
        self.pursuit.run(
            at_deadline=lambda it: self.told.append(judge(it)),
            stop_service=lambda it: it.mark("stop", "none", ""),
        )
        return judge(self.pursuit)

    @property
    def closes(self) -> list[Any]:
        return self.line.bodies("orders/close_position")


def new_kill(trader: Trader, directory: Path, **wished: Any) -> Kill:
    """A kill that has been typed just now, with a pin, key, timing, world, line ... as `wished`."""
    key_file = directory / "key.json"
    key_file.write_text(json.dumps(wished.get("key", trader.key)))
    key_file.chmod(0o600)
    world = wished.get("world") or VirtualWorld(trader)
    line = wished.get("line") or FaceLine(trader, world)
    target = Target(
        profile="desk-us",
        env="live",
        venue="us",
        directory=directory,
        http=URL,
        endpoints_file=None,
        exchange_command=None,
        key_files=(*wished.get("keys", ()), key_file),
        ca_file=None,
        pin=Pin(wished.get("pin", portfolio_of(MAIN_ACCOUNT)), None),
        scope="account",
        currencies=("USDC",),
        symbols=(),
        latches=(directory / "latch",),
        bot_unit=None,
        settings_at_ms=None,
        timing=wished.get("timing", Timing(180.0, 15.0, 60.0)),
    )
    rungs = ladder(wished.get("max_slippage"), at_market=wished.get("market", False), whole=US.ladder)
    began = world.monotonic()
    wish = Wish(
        wished.get("kill_id", "K-1"),
        "ops1",
        "drill",
        "perpctl kill",
        began,
        began,
        wished.get("scope", "account"),
        rungs,
    )
    wish = wish._replace(identity_key=wished.get("identity_key"))
    record = Record(directory, wish.kill_id, None)
    pursuit = Pursuit(target, wish, record, {target.latches[0]: "written"}, world, lambda url, ca: line)
    return Kill(trader, directory, world, line, pursuit)


def depth(trader: Trader, contracts: int, *, levels: int = 8, step: str = "0.0010") -> None:
    """A book of some levels on both sides of every perpetual, so many contracts at each."""
    for product in (BIP, ETP, SLP):
        price, now = product.start_price, trader.exchange.now + 1
        size = product.contract_size * contracts
        seen = (Print("sell", price, product.contract_size),)
        trader.exchange.on_tick(Tick(product.name, now, price, price + product.tick, size, size, price, price, seen))
    trader.face.publish()


def held(trader: Trader) -> dict[str, Decimal]:
    """Contracts held by product, signed."""
    positions = trader.exchange.positions(MAIN_ACCOUNT)
    sizes = {one.product: trader.exchange.product(one.product).contract_size for one in positions}
    return {one.product: one.size / sizes[one.product] for one in positions if one.size}
