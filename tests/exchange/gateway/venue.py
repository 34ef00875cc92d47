"""A gateway in memory for tests: scripted answers, and an account of everything that arrived."""

from __future__ import annotations

import asyncio
import base64
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from perpctl.clock import ManualClock
from perpctl.exchange.access import Access
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.http import HttpReply, NotSent
from perpctl.exchange.port import MaySend
from perpctl.exchange.transport import WireClosed
from perpctl.model.order import OrderRequest, OrderType, Side

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
START_MS = 1_795_435_200_000
BTC = "BTC_USDC-PERPETUAL"


class Refusal(Exception):
    """An error answer of the venue."""

    def __init__(self, code: int, message: str = "refused", detail: object = None) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, **({"data": detail} if detail is not None else {})}


Answer = Callable[[dict[str, Any]], Any]


class SteppedClock(ManualClock):
    """Sleepers wake when the test has let enough time pass, and not before."""

    def __init__(self, start: datetime) -> None:
        super().__init__(start)
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.monotonic() + seconds, future))
        await future

    async def pass_by(self, seconds: float, step: float = 0.1) -> None:
        """Let time pass in small steps, everybody running in between."""
        for _ in range(round(seconds / step)):
            self.advance(step)
            for sleeper in [item for item in self._sleepers if item[0] <= self.monotonic() + 1e-9]:
                self._sleepers.remove(sleeper)
                if not sleeper[1].done():
                    sleeper[1].set_result(None)
            await breathe()


async def breathe() -> None:
    """Let every task that can run do so."""
    for _ in range(40):
        await asyncio.sleep(0)


class Line:
    """One end of a memory pair."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.peer: Line | None = None
        self.closed = False

    async def send(self, frame: bytes) -> None:
        if self.closed or self.peer is None:
            raise WireClosed("hung up")
        self.peer.inbox.put_nowait(frame)

    async def receive(self) -> bytes | str:
        frame = await self.inbox.get()
        if frame is None:
            raise WireClosed("hung up")
        return frame

    async def close(self) -> None:
        for end in (self, self.peer):
            if end is not None and not end.closed:
                end.closed = True
                end.inbox.put_nowait(None)


def pair() -> tuple[Line, Line]:
    """Two ends of one line."""
    one, other = Line(), Line()
    one.peer, other.peer = other, one
    return one, other


class Venue:
    """Answers by method: a value, or a function of the parameters that may raise Refusal. Implements Transport."""

    is_remote = True

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.answers: dict[str, Any] = {
            "public/auth": {"access_token": "T1", "expires_in": 900, "scope": "", "token_type": "bearer"},
            "public/get_time": lambda params: START_MS + int(clock.monotonic() * 1000),
            "public/test": {"version": "1"},
            "public/set_heartbeat": "ok",
            "public/get_instruments": [INSTRUMENT],
            "private/get_subaccounts": [{"id": 7}],
            "private/get_positions": [],
            "private/get_open_orders": [],
            "private/get_user_trades_by_currency_and_time": {"trades": [], "has_more": False},
        }
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, str]] = []
        self.lines: dict[str, list[Line]] = {"ws": [], "streams": []}
        self.reachable = True
        self.date: str | None = None  # of the Date header
        self._servers: set[asyncio.Task[None]] = set()

    def count(self, method: str) -> int:
        """How many calls of a method arrived."""
        return Counter(name for name, _ in self.calls)[method]

    def sent(self, method: str) -> dict[str, Any]:
        """The parameters of the last call of a method."""
        return next(params for name, params in reversed(self.calls) if name == method)

    def reply(self, body: bytes) -> bytes:
        """What the venue says to a request."""
        request = json.loads(body, parse_float=Decimal)
        method, params = request["method"], request["params"]
        self.calls.append((method, params))
        head = {"jsonrpc": "2.0", "id": request["id"]}
        try:
            if method not in self.answers:
                raise Refusal(-32601, "Method not found")
            answer = self.answers[method]
            result = answer(params) if callable(answer) else answer
        except Refusal as why:
            return json.dumps({**head, "error": why.body}).encode()
        return json.dumps({**head, "result": result}).encode()

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_s: float) -> HttpReply:
        if not self.reachable:
            raise NotSent("no connection")
        self.headers.append(headers)
        await asyncio.sleep(0)
        return HttpReply(200, self.reply(body), {"date": self.date} if self.date else {})

    async def connect(self, url: str, deadline_s: float) -> Line:
        if not self.reachable:
            raise NotSent("no connection")
        ours, theirs = pair()
        self.lines["ws" if url == "ws://localhost/ws" else "streams"].append(theirs)
        task = asyncio.create_task(self._serve(theirs))
        self._servers.add(task)
        task.add_done_callback(self._servers.discard)
        return ours

    async def _serve(self, line: Line) -> None:
        try:
            while True:
                frame = await line.receive()
                await line.send(self.reply(frame if isinstance(frame, bytes) else frame.encode()))
        except WireClosed:
            return

    async def tell(self, channel: str, content: object, socket: str = "streams") -> None:
        """A notification on the newest line of a socket."""
        frame = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": content}}
        await self.lines[socket][-1].send(json.dumps(frame).encode())

    def drop(self, socket: str) -> None:
        """Cut the newest line of a socket: nothing that is on its way arrives any more."""
        line = self.lines[socket][-1]
        line.closed = True
        if line.peer is not None:
            line.peer.inbox.put_nowait(None)

    async def start_over(self) -> None:
        return

    async def aclose(self) -> None:
        for lines in self.lines.values():
            for line in lines:
                await line.close()


INSTRUMENT: dict[str, Any] = {
    "instrument_name": BTC,
    "kind": "future",
    "settlement_period": "perpetual",
    "instrument_type": "linear",
    "base_currency": "BTC",
    "quote_currency": "USDC",
    "settlement_currency": "USDC",
    "tick_size": 0.1,
    "contract_size": 0.0001,
    "min_trade_amount": 0.0001,
    "maker_commission": 0.00015,
    "taker_commission": 0.00035,
    "max_leverage": 50,
    "state": "open",
    "is_active": True,
}


def order_row(**changes: Any) -> dict[str, Any]:
    """An open limit order, as the venue reports it."""
    return {
        "order_id": "USDC-1",
        "order_state": "open",
        "order_type": "limit",
        "instrument_name": BTC,
        "direction": "buy",
        "price": 80000.5,
        "label": "L-1",
        "amount": 0.01,
        "filled_amount": 0,
        "average_price": 0,
        "post_only": False,
        "reduce_only": False,
        "api": True,
        "time_in_force": "good_til_cancelled",
        "creation_timestamp": START_MS,
        "last_update_timestamp": START_MS,
        **changes,
    }


def trade_row(number: int, **changes: Any) -> dict[str, Any]:
    """A trade of ours, as the venue reports it."""
    return {
        "trade_id": f"USDC-{number}",
        "trade_seq": number,
        "order_id": "USDC-1",
        "instrument_name": BTC,
        "direction": "buy",
        "amount": 0.01,
        "price": 80000.5,
        "fee": 0.28,
        "fee_currency": "USDC",
        "liquidity": "T",
        "label": "L-1",
        "timestamp": START_MS,
        "mark_price": 80001,
        "index_price": 80002,
        **changes,
    }


def position_row(**changes: Any) -> dict[str, Any]:
    """A long position of 0.01 BTC at a mark of 80,000."""
    return {
        "instrument_name": BTC,
        "kind": "future",
        "direction": "buy",
        "size": 800,
        "size_currency": 0.01,
        "delta": 0.01,
        "mark_price": 80000,
        "index_price": 80001,
        "average_price": 79000,
        "floating_profit_loss": 10,
        "realized_profit_loss": 0,
        "realized_funding": 0,
        "initial_margin": 16,
        "maintenance_margin": 8,
        "leverage": 50,
        **changes,
    }


def request(**changes: Any) -> OrderRequest:
    """A limit order to buy 0.01 BTC."""
    plain: dict[str, Any] = {
        "identity": "L-1",
        "product_id": BTC,
        "side": Side.BUY,
        "size": Decimal("0.01"),
        "type": OrderType.LIMIT,
        "price": Decimal("80000.5"),
    }
    return OrderRequest(**{**plain, **changes})


def write_key(folder: Path) -> Path:
    """An Ed25519 key file."""
    private = Ed25519PrivateKey.generate()
    raw = private.private_bytes_raw() + private.public_key().public_bytes_raw()
    path = folder / "key.json"
    path.write_text(json.dumps({"id": "0d5c-c41e", "privateKey": base64.b64encode(raw).decode()}))
    path.chmod(0o600)
    return path


def connect(venue: Venue, folder: Path, may_send: MaySend | None = None) -> Gateway:
    """A client of the venue with a key of its own."""
    access = Access(
        http="http://localhost/api/v2",
        ws="ws://localhost/ws",
        streams="ws://localhost/streams",
        key_file=write_key(folder),
    )
    return open_gateway(access, venue.clock, may_send=may_send, transport=venue)
