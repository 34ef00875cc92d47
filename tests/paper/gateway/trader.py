"""A hand that trades on an exchange in memory: keys, signatures, requests, sockets."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from perpctl.paper.gateway.session import Close, Frame, GatewaySession, Host, Out
from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.types import Print, Tick
from perpctl.paper.venue import MemoryVenue

START_MS = 1_790_762_400_000  # 2026-09-30 10:00 UTC, far from a settlement
BTC = "BTC_USDC-PERPETUAL"
ETH = "ETH_USDC-PERPETUAL"


def tick(bid: str, *, at_ms: int, product: str = BTC, prints: tuple[Print, ...] = ()) -> Tick:
    """The outside market at a bid, one tick wide."""
    price, step = Decimal(bid), Decimal("0.1") if product == BTC else Decimal("0.01")
    size = Decimal(1)
    return Tick(product, at_ms, price, price + step, size, size, price, price, prints)


def sign(key: dict[str, Any], wall_s: float, **changes: Any) -> str:
    """A CDP JWT of a key file's content; `changes` spoil claims, `header` and `signer` the rest."""
    now = int(wall_s)
    name = key.get("name") or key["id"]
    claims = {"sub": name, "iss": "cdp", "nbf": now, "exp": now + 120}
    header = {"kid": name, "nonce": uuid.uuid4().hex} | changes.pop("header", {})
    signer = changes.pop("signer", key)
    claims = {claim: value for claim, value in (claims | changes).items() if value is not None}
    if "BEGIN" in signer["privateKey"]:
        return jwt.encode(claims, signer["privateKey"], algorithm="ES256", headers=header)
    seed = base64.b64decode(signer["privateKey"])[:32]
    return jwt.encode(claims, Ed25519PrivateKey.from_private_bytes(seed), algorithm="EdDSA", headers=header)


class Refused(Exception):
    """The exchange answered with an error."""

    def __init__(self, error: dict[str, Any], status: int = 0) -> None:
        super().__init__(error)
        self.code, self.message, self.data, self.status = error["code"], error["message"], error.get("data"), status


@dataclass
class Socket:
    """One connection, and all that came out of it."""

    session: GatewaySession
    trader: Trader
    frames: list[dict[str, Any]] = field(default_factory=list)
    closes: list[Close] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    _last_id: int = 0

    def call(self, method: str, **params: Any) -> Any:
        """The result of a method. Raises Refused; returns None when no answer came."""
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params}
        before = len(self.frames)
        self.take(self.session.receive(json.dumps(request), self.trader.venue.wall_s))
        for frame in self.frames[before:]:
            if frame.get("id") == self._last_id:
                if "error" in frame:
                    raise Refused(frame["error"])
                return frame["result"]
        return None

    def take(self, out: list[Out] | None = None) -> None:
        """Keep what came out; without an argument, what waits."""
        for item in self.session.drain() if out is None else out:
            if isinstance(item, Frame):
                self.frames.append(json.loads(item.body, parse_float=Decimal))
                self.delays.append(item.delay_s)
            else:
                self.closes.append(item)

    def heard(self, channel: str) -> list[Any]:
        """The payloads of a channel so far."""
        self.take()
        told = [frame["params"] for frame in self.frames if frame.get("method") == "subscription"]
        return [one["data"] for one in told if one["channel"] == channel]

    def auth(self, key: dict[str, Any] | None = None) -> Any:
        jwt_text = sign(key or self.trader.key, self.trader.venue.wall_s)
        return self.call("public/auth", grant_type="coinbase_cdp", token=jwt_text)


@dataclass
class Trader:
    """Somebody with a key at an exchange in memory where BTC is at 84000.0 / 84000.1."""

    venue: MemoryVenue
    key: dict[str, Any]
    token: str = ""

    def http(
        self, method: str, *, token: str | None = None, headers: dict[str, str] | None = None, **params: Any
    ) -> Any:
        """The result of a POST. Raises Refused."""
        body = json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()
        access = self.token if token is None else token
        sent = {"content-type": "application/json"} | ({"authorization": f"Bearer {access}"} if access else {})
        reply = self.venue.http("POST", f"/api/v2/{method}", sent | (headers or {}), body)
        return unwrap(reply.status, reply.body)

    def get(self, method: str, query: str = "") -> Any:
        """The result of a GET. Raises Refused."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        reply = self.venue.http("GET", f"/api/v2/{method}?{query}", headers, b"")
        return unwrap(reply.status, reply.body)

    def auth(self, **changes: Any) -> Any:
        """Exchange a JWT for a token and use it from now on."""
        answer = self.exchange_jwt(sign(self.key, self.venue.wall_s, **changes))
        self.token = answer["access_token"]
        return answer

    def exchange_jwt(self, jwt_text: str) -> Any:
        """The answer of public/auth. Raises Refused."""
        params = {"grant_type": "coinbase_cdp", "token": jwt_text}
        body = json.dumps({"jsonrpc": "2.0", "method": "public/auth", "params": params}).encode()
        reply = self.venue.http("POST", "/api/v2/public/auth", {"content-type": "application/json"}, body)
        return unwrap(reply.status, reply.body)

    def open(self, host: Host = "private", *, auth: bool = True) -> Socket:
        """A connection; on the private host authenticated unless told otherwise."""
        socket = Socket(self.venue.open(host), self)
        if auth and host == "private":
            socket.auth()
        return socket

    def order(self, side: str = "buy", **params: Any) -> Any:
        """A resting limit order of 0.01 BTC at 83500, or what `params` say."""
        given = {"instrument_name": BTC, "amount": 0.01, "price": 83500, "post_only": False} | params
        return self.http(f"private/{side}", **{name: value for name, value in given.items() if value is not None})

    def fill(self, side: str = "buy", amount: float = 0.01, **params: Any) -> Any:
        """A market order."""
        return self.http(f"private/{side}", instrument_name=BTC, amount=amount, type="market", **params)

    def market(self, bid: str, *, after_s: float = 1.0, prints: tuple[Print, ...] = ()) -> None:
        """Move BTC to a bid."""
        moved = tick(bid, at_ms=self.venue.exchange.now + int(after_s * 1000), prints=prints)
        self.venue.push(moved)
        self.venue.step()


def unwrap(status: int, body: bytes) -> Any:
    answer = json.loads(body, parse_float=Decimal)
    if "error" in answer:
        raise Refused(answer["error"], status)
    assert status == 200
    return answer["result"]


def new_trader(*, algorithm: Any = "es256", permissions: tuple[str, ...] = ("view", "trade")) -> Trader:
    """A trader with a token."""
    venue = MemoryVenue((), START_MS)
    key = venue.keys.add(algorithm, permissions, MAIN_ACCOUNT, datetime(2026, 9, 1, tzinfo=UTC))
    trader = Trader(venue, key)
    for first in (tick("84000.0", at_ms=START_MS + 1), tick("2600.00", at_ms=START_MS + 1, product=ETH)):
        venue.push(first)
        venue.step()
    trader.auth()
    return trader
