"""A hand that trades on the US face in memory: keys, signatures, requests; a market that only it moves."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from perpctl.paper.advanced_trade.face import REST_PATH, AdvancedTrade
from perpctl.paper.advanced_trade.feed.session import FeedSession
from perpctl.paper.core import Exchange
from perpctl.paper.faults import FaultPlane
from perpctl.paper.keys import MAIN_ACCOUNT, Algorithm, MemoryKeys
from perpctl.paper.terms.us import BIP, US_PRODUCTS, US_RULES
from perpctl.paper.types import Print, Tick
from perpctl.paper.wire.reply import Close, Frame, HttpReply, Out
from tests.paper.gateway.trader import sign

D = Decimal
BIP_ID = BIP.name
START = "2026-09-30T14:30:00"  # a Wednesday, 10:30 in New York


def at(text: str) -> int:
    """UTC as market ms."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


class Refused(Exception):
    """The venue answered with another status than 200."""

    def __init__(self, reply: HttpReply) -> None:
        super().__init__(f"{reply.status} {reply.body.decode()}")
        self.status, self.text, self.headers = reply.status, reply.body.decode(), reply.headers

    @property
    def json(self) -> Any:
        return json.loads(self.text)


@dataclass
class Trader:
    """Somebody with a key at an exchange in memory where BIP is at 84000 / 84005."""

    face: AdvancedTrade
    keys: MemoryKeys
    key: dict[str, Any]
    ahead_s: float = 0.0  # of wall time, beyond market time
    cancels_at_once: bool = True
    last: HttpReply = field(default_factory=lambda: HttpReply(0, b""))

    @property
    def exchange(self) -> Exchange:
        return self.face.exchange

    @property
    def wall_s(self) -> float:
        return self.exchange.now / 1000 + self.ahead_s

    def raw(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        query: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
        key: dict[str, Any] | None = None,
        **spoilt: Any,
    ) -> HttpReply:
        """One signed request, as it comes back; `spoilt` changes the JWT."""
        full = REST_PATH + path
        token = sign(key or self.key, self.wall_s, **({"uri": f"{method} api.coinbase.com{full}"} | spoilt))
        sent = {"host": "127.0.0.1:9", "authorization": f"Bearer {token}"} | (headers or {})
        target = full + (f"?{urlencode(query, doseq=True)}" if query else "")
        self.last = self.face.handle_http(method, target, sent, body, self.wall_s)
        return self.last

    def get(self, path: str, **query: Any) -> Any:
        """The answer of a GET. Raises Refused."""
        return self._answer(self.raw("GET", path, query=query))

    def post(self, path: str, **body: Any) -> Any:
        """The answer of a POST. Raises Refused."""
        return self._answer(self.raw("POST", path, json.dumps(body).encode()))

    def delete(self, path: str) -> Any:
        return self._answer(self.raw("DELETE", path))

    @staticmethod
    def _answer(reply: HttpReply) -> Any:
        if reply.status != 200:
            raise Refused(reply)
        return json.loads(reply.body)

    # -- orders

    def order(self, side: str, contracts: int | str, kind: str = "market_market_ioc", **terms: Any) -> Any:
        """The answer to a new order; `client_order_id`, `product_id` and top-level members go by their names."""
        names = ("client_order_id", "product_id", "leverage", "margin_type", "retail_portfolio_id")
        top = {name: terms.pop(name) for name in names if name in terms}
        body = {
            "client_order_id": str(uuid.uuid4()),
            "product_id": BIP_ID,
            "side": side,
            "order_configuration": {kind: {"base_size": str(contracts), **terms}},
        }
        return self.post("/orders", **(body | top))

    def placed(self, side: str, contracts: int | str, kind: str = "market_market_ioc", **terms: Any) -> str:
        """The id of a new order that the venue took."""
        answer = self.order(side, contracts, kind, **terms)
        assert answer["success"], answer
        order_id: str = answer["success_response"]["order_id"]
        return order_id

    def limit(self, side: str, contracts: int, price: str, **terms: Any) -> str:
        return self.placed(side, contracts, "limit_limit_gtc", limit_price=price, **terms)

    def shown(self, order_id: str) -> Any:
        return self.get(f"/orders/historical/{order_id}")["order"]

    def listed(self, **filters: Any) -> list[Any]:
        rows: list[Any] = self.get("/orders/historical/batch", **filters)["orders"]
        return rows

    def cancel(self, *order_ids: str) -> list[Any]:
        """Ask, and let the cancels take effect."""
        rows: list[Any] = self.post("/orders/batch_cancel", order_ids=list(order_ids))["results"]
        if self.cancels_at_once:
            self.settle()
        return rows

    def settle(self, seconds: float = 1.0) -> None:
        """Wall time passes, market time does not."""
        self.ahead_s += seconds
        self.face.tick(self.wall_s)

    # -- the market

    def market(self, bid: str, *, after_ms: int = 1000, print_at: str | None = None, index: str | None = None) -> None:
        """The outside market one tick wide at `bid`, where somebody just sold."""
        low = D(bid)
        seen = (Print("sell", D(print_at or bid), D("0.01")),)
        now = self.exchange.now + after_ms
        self.exchange.on_tick(Tick(BIP_ID, now, low, low + 5, D(50), D(50), D(index or bid), low, seen))
        self.face.publish()

    def until(self, text: str) -> None:
        """Time passes without a tick."""
        self.exchange.advance(at(text))
        self.face.publish()

    def other_key(self, *permissions: str, account: int = 2, algorithm: Algorithm = "es256") -> dict[str, Any]:
        """A key of another portfolio, or with other permissions."""
        made = datetime(2026, 9, 1, tzinfo=UTC)
        return self.keys.add(algorithm, permissions or ("view", "trade"), account, made)

    def open(self) -> Socket:
        """A connection to one of the WebSocket hosts."""
        return Socket(self.face.open_session(self.wall_s), self)

    def position(self) -> int:
        """Contracts held in BIP, signed."""
        return int(self.exchange.position(MAIN_ACCOUNT, BIP_ID).size / BIP.contract_size)


def new_trader(start: str = START, *, permissions: tuple[str, ...] = ("view", "trade", "transfer")) -> Trader:
    """A fresh exchange with one account."""
    exchange = Exchange(US_PRODUCTS, US_RULES, at(start))
    exchange.open_account(MAIN_ACCOUNT, "paper", exchange.now)
    keys = MemoryKeys()
    key = keys.add("es256", permissions, MAIN_ACCOUNT, datetime(2026, 9, 1, tzinfo=UTC))
    face = AdvancedTrade(exchange, keys, faults=FaultPlane(0))
    face.limits.enabled = False
    trader = Trader(face, keys, key)
    for product in US_PRODUCTS:
        price, size = product.start_price, product.contract_size * 5
        seen = (Print("sell", price, product.contract_size),)
        tick = Tick(product.name, exchange.now, price, price + product.tick, size, size, price, price, seen)
        exchange.on_tick(tick)
    trader.market("84000")
    return trader


@dataclass
class Socket:
    """One connection, and all that came out of it."""

    session: FeedSession
    trader: Trader
    frames: list[Any] = field(default_factory=list)
    closes: list[Close] = field(default_factory=list)

    def send(self, content: Any) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        self.take(self.session.receive(text, self.trader.wall_s))

    def subscribe(self, channel: str, *ids: str, kind: str = "subscribe", signed: bool = False, **spoilt: Any) -> None:
        """Subscribe, with a fresh JWT when `signed` or when its claims are spoilt."""
        request: dict[str, Any] = {"type": kind, "channel": channel, "product_ids": list(ids)}
        if signed or spoilt:
            request["jwt"] = sign(self.trader.key, self.trader.wall_s, **spoilt)
        self.send(request)

    def wait(self, seconds: float, *, step: float = 0.1) -> None:
        """Wall time passes in steps as a server's does."""
        for _ in range(round(seconds / step)):
            self.trader.ahead_s += step
            self.take(self.session.tick(self.trader.wall_s))

    def take(self, out: list[Out] | None = None) -> None:
        """Keep what came out; without an argument, what waits."""
        for item in self.session.drain() if out is None else out:
            if isinstance(item, Frame):
                self.frames.append(json.loads(item.body))
            else:
                self.closes.append(item)

    def heard(self, channel: str) -> list[Any]:
        """The messages of a channel so far."""
        self.take()
        return [frame for frame in self.frames if frame.get("channel") == channel]

    def events(self, channel: str) -> list[Any]:
        """The events of a channel so far."""
        return [event for frame in self.heard(channel) for event in frame["events"]]

    @property
    def errors(self) -> list[str]:
        self.take()
        return [frame["message"] for frame in self.frames if frame.get("type") == "error"]
