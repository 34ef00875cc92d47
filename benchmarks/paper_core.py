"""The paper exchange: events of its core beside a bare book of dicts and lists, and an order served beside an echo.

Run it as `python benchmarks/paper_core.py [EVENTS]`. An event of the core is a request dealt with whole: risk checked,
margin counted, matched, booked in position, cash and log, and told. The bare step matches the same requests between two
nameless parties and keeps nothing but the book. Served: one client on one kept connection, in turn with the echo.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from bisect import insort
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl.clock import SystemClock
from perpctl.exchange.auth import Signer
from perpctl.exchange.keys import read_key
from perpctl.host.process import start_detached
from perpctl.paper.core import Exchange
from perpctl.paper.products import BTC, GATEWAY_PRODUCTS, GATEWAY_RULES
from perpctl.paper.types import Direction, NewOrder, Tick

START_MS = 1_790_766_000_000
ROUNDS, BURST, WARM_UP = 11, 100, 50
TURN = 500  # requests
GOALS = {"core / bare step": 10.0, "core events per s": 200_000, "served order / echo p50": 1.5}
Request = tuple[str, int, int, NewOrder]  # buy, sell or cancel; price in ticks, size in steps; the same for the core


def requests(count: int) -> list[Request]:
    """Orders around one price, of which some meet, and cancels of what rests."""
    chance = random.Random(1)
    made: list[Request] = []
    for _ in range(count):
        side = chance.choice(("buy", "sell", "cancel", "cancel"))  # some orders rest, as at a desk, not thousands
        away = chance.randint(-2, 12)
        price, size = 840_000 + (-away if side == "buy" else away), chance.randint(1, 20)
        direction: Direction = "buy" if side == "buy" else "sell"
        order = NewOrder(product=BTC.name, direction=direction, amount=Decimal(size) / 1000, price=Decimal(price) / 10)
        made.append((side, price, size, order))
    return made


class Bare:
    """Price-time priority and nothing else: dicts of queues, and a sorted list of prices a side, best at its end."""

    def __init__(self) -> None:
        self.levels: dict[str, dict[int, dict[int, int]]] = {"buy": {}, "sell": {}}
        self.prices: dict[str, list[int]] = {"buy": [], "sell": []}
        self.resting: dict[int, tuple[str, int]] = {}
        self.number = self.fills = 0

    def step(self, request: Request) -> None:
        side, price, size, _ = request
        if side == "cancel":
            if self.resting:
                self._drop(next(iter(self.resting)))
            return
        sign = 1 if side == "buy" else -1
        other = "sell" if side == "buy" else "buy"
        prices, levels = self.prices[other], self.levels[other]
        while size and prices and (abs(prices[-1]) - price) * sign <= 0:
            queue = levels[prices[-1]]
            number, amount = next(iter(queue.items()))
            taken = min(size, amount)
            size -= taken
            self.fills += 1
            if taken == amount:
                self._drop(number)
            else:
                queue[number] = amount - taken
        if size:
            self.number += 1
            key = price * sign
            queue = self.levels[side].get(key) or {}
            if not queue:
                self.levels[side][key] = queue
                insort(self.prices[side], key)
            queue[self.number] = size
            self.resting[self.number] = (side, key)

    def _drop(self, number: int) -> None:
        side, key = self.resting.pop(number)
        queue = self.levels[side][key]
        del queue[number]
        if not queue:
            del self.levels[side][key]
            self.prices[side].remove(key)


class Core:
    """The exchange with two accounts that trade with each other, far inside a market that stands still."""

    def __init__(self) -> None:
        self.exchange = Exchange(GATEWAY_PRODUCTS, GATEWAY_RULES, START_MS)
        for account in (7, 8):
            self.exchange.open_account(account, f"u{account}", START_MS, Decimal(10_000_000))
        bid, ask, mark = Decimal("83000"), Decimal("85000"), Decimal("84000")
        self.exchange.on_tick(Tick(BTC.name, START_MS + 1, bid, ask, Decimal(0), Decimal(0), mark, mark, ()))
        self.resting: dict[str, int] = {}
        self.now, self.fills = START_MS + 2, 0

    def step(self, request: Request) -> None:
        side, *_, new = request
        self.now += 1
        if side == "cancel":
            self._cancel()
        else:
            account = 7 if side == "buy" else 8
            placed = self.exchange.place(account, new, self.now)
            self.fills += len(placed.trades)
            if placed.order.is_live:
                self.resting[placed.order.order_id] = account
        self.exchange.take_events()

    def _cancel(self) -> None:
        while self.resting:
            order_id, account = next(iter(self.resting.items()))
            del self.resting[order_id]
            if self.exchange.order(account, order_id).is_live:
                self.exchange.cancel(account, order_id, self.now)
                return


def spent(act: Callable[[Request], None], asked: list[Request]) -> float:
    """Processor time of these requests."""
    began = time.thread_time()
    for one in asked:
        act(one)
    return time.thread_time() - began


def core(count: int) -> dict[str, float]:
    asked = requests(count)
    bare_s, core_s = [], []
    for _ in range(ROUNDS):
        bare, paper = Bare(), Core()
        bare_s.append(0.0)
        core_s.append(0.0)
        for first in range(0, count, TURN):  # in turns, so that what slows the machine slows both
            some = asked[first : first + TURN]
            bare_s[-1] += spent(bare.step, some) / count
            core_s[-1] += spent(paper.step, some) / count
        for account in (7, 8):
            paper.exchange.check_identity(account)
        assert paper.fills == bare.fills, f"{paper.fills} fills, {bare.fills} in the bare book"
    return {
        "core / bare step": statistics.median(one / other for one, other in zip(core_s, bare_s, strict=True)),
        "core events per s": 1 / statistics.median(core_s),
        "core us of processor time": statistics.median(core_s) * 1e6,
        "bare us of processor time": statistics.median(bare_s) * 1e6,
        "fills in a round": paper.fills,
    }


class Caller:
    """One connection that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)
        self._connection.connect()
        self._connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # head and body are two sends
        self.headers = {"Content-Type": "application/json"}

    def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        self._connection.request("POST", "/api/v2", body, self.headers)
        answer: dict[str, Any] = json.loads(self._connection.getresponse().read())
        return answer


def order(number: int) -> dict[str, Any]:
    """One that rests far from the market."""
    price = 60_000 + number % 1000
    return {"instrument_name": BTC.name, "amount": 0.001, "type": "limit", "price": price, "post_only": True}


def served(place: Path) -> dict[str, float]:
    """Seconds of an order and of an echo of its size, in turn; the orders are taken back between the bursts."""
    program = Path(__file__).parent / "programs" / "echo.py"
    command = [sys.executable, "-m", "perpctl.paper.server", "--port", "0", "--state-dir", str(place / "exchange")]
    ready = start_detached(command, place / "server.log", ready_within_s=20)
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as echo:
        assert echo.stdout is not None
        try:
            _tell(str(ready["control"]), {"credits": False})
            port = int(str(ready["gateway_http"]).split(":")[2].split("/")[0])
            paper = _admitted(Caller(port), Path(str(ready["key_file"])))
            servers = {"order": int(str(ready["pid"])), "echo": echo.pid}
            return _in_turn(paper, Caller(int(echo.stdout.readline())), servers)
        finally:
            echo.kill()
            os.kill(int(ready["pid"]), signal.SIGTERM)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(int(ready["pid"]), 0)


def _tell(control: str, state: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{control}/state", json.dumps(state).encode())
    with urllib.request.urlopen(request, timeout=10) as answer:
        answer.read()


def _admitted(caller: Caller, key_file: Path) -> Caller:
    """The caller with the token that the exchange gives for a signed one."""
    signed = Signer(read_key(key_file), SystemClock()).jwt()
    grant = caller.call("public/auth", {"grant_type": "coinbase_cdp", "token": signed})
    caller.headers["Authorization"] = f"Bearer {grant['result']['access_token']}"
    return caller


def _processor_s(pid: int) -> float:
    """Processor time that a process has taken (proc(5), stat: utime and stime)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _in_turn(paper: Caller, echo: Caller, servers: dict[str, int]) -> dict[str, float]:
    taken: dict[str, list[float]] = {"order": [], "echo": []}
    before: dict[str, float] = {}
    for number in range(WARM_UP + ROUNDS * BURST):
        if number == WARM_UP:
            before = {name: _processor_s(pid) for name, pid in servers.items()}
        for name, caller in (("order", paper), ("echo", echo)):
            began = time.perf_counter()
            answer = caller.call("private/buy", order(number))
            if number >= WARM_UP:
                taken[name].append(time.perf_counter() - began)
            if name == "order":
                assert "result" in answer, answer
        if number % BURST == BURST - 1:
            paper.call("private/cancel_all", {})
    p50 = {name: statistics.median(values) for name, values in taken.items()}
    processor = {name: (_processor_s(pid) - before[name]) / (ROUNDS * BURST) for name, pid in servers.items()}
    return {
        "served order / echo p50": p50["order"] / p50["echo"],
        "order us": p50["order"] * 1e6,
        "echo us": p50["echo"] * 1e6,
        "order's server us of processor time": processor["order"] * 1e6,  # with its market, which never rests
        "echo's server us of processor time": processor["echo"] * 1e6,
    }


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        found = core(count) | served(Path(place))
    shown = {
        name: {"measured": float(f"{value:.4g}"), **({"goal": GOALS[name]} if name in GOALS else {})}
        for name, value in found.items()
    }
    print(json.dumps({"events": count, "load": os.getloadavg()[0], **shown}, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20_000)
