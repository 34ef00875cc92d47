"""This file sets up what the kill drills need: a paper exchange of their own, and `kill` as a process."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl.emergency.venue.gateway.client import Gateway
from perpctl.emergency.venue.port import Ticker
from perpctl.emergency.venue.wire import Wire
from perpctl.store.snapshot import Snapshot, write_snapshot

BTC, ETH, SOL = "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL", "SOL_USDC-PERPETUAL"


@dataclass
class Exchange:
    """A running paper exchange, asked through its control plane: the oracle, which shares no code with kill."""

    server: dict[str, Any]
    process: subprocess.Popen[bytes]
    wire: Wire

    def control(self, path: str, verb: str = "GET", /, **body: object) -> dict[str, Any]:
        request = urllib.request.Request(
            f"{self.server['control']}/{path}", json.dumps(body).encode() if body else None, method=verb
        )
        authority = self.server["ca_file"]
        trust = ssl.create_default_context(cafile=authority) if authority else None
        with urllib.request.urlopen(request, timeout=5, context=trust) as answer:
            return json.loads(answer.read(), parse_float=Decimal)

    def fault(self, **rule: object) -> None:
        self.control("fault", "POST", **rule)

    def heal(self) -> None:
        self.control("fault", "DELETE")

    @property
    def account(self) -> dict[str, Any]:
        return self.control("status")["accounts"]["1"]

    @property
    def is_flat(self) -> bool:
        return not self.account["positions"] and self.account["open_orders"] == 0

    def trader(self) -> Trader:
        gateway = Gateway(self.wire, [Path(self.server["key_file"])], None)
        gateway.enter()
        return Trader(gateway)


@dataclass
class Trader:
    """Somebody who trades the account while or before it is killed."""

    gateway: Gateway

    def ticker(self, product: str) -> Ticker:
        return self.gateway.ticker(product)

    def market(self, side: str, product: str, amount: str, **more: object) -> dict[str, Any]:
        return self.send(side, product, amount, type="market", **more)

    def bid_below(self, product: str, amount: str, percent: str = "1", **more: object) -> dict[str, Any]:
        bid = self.ticker(product).bid
        assert bid is not None
        price = (bid * (1 - Decimal(percent) / 100)).quantize(Decimal(1))
        return self.send("buy", product, amount, type="limit", price=price, **more)

    def stop(self, side: str, product: str, amount: str, percent: str, **more: object) -> dict[str, Any]:
        bid = self.ticker(product).bid
        assert bid is not None
        trigger = (bid * (1 + Decimal(percent) / 100)).quantize(Decimal(1))
        return self.send(side, product, amount, type="stop_market", trigger="mark_price", trigger_price=trigger, **more)

    def send(self, side: str, product: str, amount: str, **more: object) -> dict[str, Any]:
        params = {"instrument_name": product, "amount": Decimal(amount), "post_only": False, **more}
        order = self.gateway.call(f"private/{side}", params)["order"]
        assert isinstance(order, dict)
        return order


@dataclass
class Desk:
    """A profile on this host, and `kill` run in it."""

    root: Path
    config: Path
    exchange: Exchange
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def directory(self) -> Path:
        return self.root / "paper"

    @property
    def environment(self) -> dict[str, str]:
        bare = {name: value for name, value in os.environ.items() if not name.startswith("PERPCTL_")}
        return {**bare, "PERPCTL_STATE_DIR": str(self.root), "PERPCTL_CONFIG_DIR": str(self.config)}

    def validate(self, profile: str = "paper", **settings: object) -> None:
        """Write the settings snapshot as a good load would."""
        given = {
            "profile": profile,
            "env": "paper",
            "venue": "global",
            "endpoints_file": self.exchange.server["state_dir"] + "/server.json",
            "key_file": self.exchange.server["key_file"],
            "account": {"id": "1", "username": None},
            "kill": {"foreground_s": 6, "hold_s": 1, "hold_unproven_s": 3},
            **settings,
        }
        write_snapshot(self.root / profile / "snapshot.json", Snapshot("test", 1_790_000_000_000, given))

    def start(self, *words: str, **more: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*more.pop("before", ()), sys.executable, "-m", "perpctl.emergency.kill", *words],
            env=more.pop("env", self.environment),
            stdin=more.pop("stdin", subprocess.DEVNULL),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **more,
        )

    def kill(self, *words: str, **more: Any) -> Killed:
        process = self.start(*(words or ("--force", "-p", "paper")), "-o", "json", **more)
        out, talk = process.communicate(timeout=60)
        return Killed(process.returncode, json.loads(out) if out.strip() else {}, talk)

    def worker(self) -> int | None:
        """The process that carries a kill out, if one does."""
        from perpctl.emergency.pending import unfinished

        return next((story.worker for story in unfinished(self.directory) if story.worker), None)

    def end_workers(self) -> None:
        while (pid := self.worker()) is not None:
            os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


@dataclass(frozen=True)
class Killed:
    """What a finished `kill` said."""

    code: int
    receipt: dict[str, Any]
    talk: str

    def step(self, name: str) -> dict[str, Any]:
        return next(step for step in self.receipt["steps"] if step["step"] == name)


@contextmanager
def running_exchange(directory: Path, *words: str) -> Iterator[Exchange]:
    process = subprocess.Popen(
        [sys.executable, "-m", "perpctl.paper.server", "--port", "0", "--state-dir", str(directory), *words],
        stdout=subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        server = json.loads(process.stdout.readline())
        exchange = Exchange(server, process, Wire(server["gateway_http"], server["ca_file"]))
        exchange.control("state", "POST", credits=False)
        trader = exchange.trader()
        wait_until(lambda: trader.ticker(SOL).bid is not None, 10)
        yield exchange
        exchange.wire.hang_up()
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_until(happened: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)
