"""A small venue in memory for the client: what it answers is written down by each test, what it is asked is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from perpctl.clock import ManualClock
from perpctl.exchange.access import Access
from perpctl.exchange.advanced_trade.budget import Budget
from perpctl.exchange.advanced_trade.client import AdvancedTrade, open_advanced_trade
from perpctl.exchange.http import HttpReply, NoAnswer
from perpctl.exchange.port import MaySend
from perpctl.exchange.transport import Wire
from perpctl.paper.keys import KeyRing

ROOT = "http://127.0.0.1:9/api/v3/brokerage"
BIP = "BIP-20DEC30-CDE"
NOW_MS = 1_795_626_000_000
PRODUCT: dict[str, Any] = {
    "product_id": BIP,
    "product_type": "FUTURE",
    "product_venue": "FCM",
    "price": "84100",
    "base_increment": "1",
    "base_min_size": "1",
    "base_max_size": "5000",
    "price_increment": "5",
    "quote_currency_id": "USD",
    "fcm_trading_session_details": {"is_session_open": True, "open_time": None, "close_time": None},
    "future_product_details": {
        "contract_size": "0.01",
        "contract_root_unit": "BTC",
        "funding_rate": "0.000013",
        "funding_interval": "3600s",
        "open_interest": "183283",
        "index_price": "84101.5",
        "overnight_margin_rate": {"long_margin_rate": "0.24", "short_margin_rate": "0.30"},
    },
}
BOOK = {
    "pricebook": {
        "product_id": BIP,
        "bids": [{"price": "84100", "size": "12"}, {"price": "84095", "size": "30"}],
        "asks": [{"price": "84105", "size": "7"}, {"price": "84150", "size": "40"}],
        "time": "2026-11-25T13:00:00.5Z",
    }
}


def order_row(order_id: str = "o-1", **more: Any) -> dict[str, Any]:
    """An order as the historical endpoints show it."""
    size = more.pop("size", "3")
    row = {
        "order_id": order_id,
        "product_id": BIP,
        "product_type": "FUTURE",
        "order_configuration": {"limit_limit_gtd": {"base_size": size, "limit_price": "84000", "post_only": True}},
        "side": "BUY",
        "client_order_id": "mine",
        "status": "OPEN",
        "time_in_force": "GOOD_UNTIL_DATE_TIME",
        "created_time": "2026-11-25T13:00:00Z",
        "filled_size": "0",
        "average_filled_price": "0",
        "trigger_status": "INVALID_ORDER_TYPE",
        "order_type": "LIMIT",
        "order_placement_source": "RETAIL_ADVANCED",
    }
    return row | more


def fill_row(entry_id: str, **more: Any) -> dict[str, Any]:
    """A row of the fills."""
    row = {
        "entry_id": entry_id,
        "trade_id": f"t-{entry_id}",
        "order_id": "o-1",
        "trade_time": "2026-11-25T13:00:00Z",
        "trade_type": "FILL",
        "price": "84000",
        "size": "1",
        "commission": "0.8",
        "product_id": BIP,
        "liquidity_indicator": "TAKER",
        "size_in_quote": False,
        "side": "BUY",
    }
    return row | more


Answer = Callable[[dict[str, list[str]], Any], Any]


class Status(Exception):
    """A refusal by status, with its body."""

    def __init__(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


class FakeWeb:
    """Answers by method and path; what is not written down is a 404."""

    is_remote = False

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, dict[str, list[str]], Any]] = []
        self.tokens: list[str] = []
        self.wires: list[Wire | Exception] = []
        self.hosts: list[str] = []
        self.on("GET /time", lambda query, body: {"epochMillis": str(NOW_MS)})
        self.on("GET /products", lambda query, body: {"products": [PRODUCT]})
        self.on(f"GET /products/{BIP}", lambda query, body: PRODUCT)
        self.on("GET /product_book", lambda query, body: BOOK)
        self.on("GET /cfm/positions", lambda query, body: {"positions": []})
        self.on("GET /orders/historical/batch", lambda query, body: {"orders": [], "cursor": ""})
        self.on("GET /orders/historical/fills", lambda query, body: {"fills": [], "cursor": ""})
        self.on("GET /key_permissions", lambda query, body: {"portfolio_uuid": "p-1", "can_view": True})
        self.on("GET /transaction_summary", self._fees)

    @staticmethod
    def _fees(query: dict[str, list[str]], body: Any) -> Any:
        return {"fee_tier": {"maker_fee_rate": "0.00075", "taker_fee_rate": "0.0008"}}

    def on(self, what: str, answer: Answer) -> None:
        """From now on this is answered so."""
        self.answers[what] = answer

    def count(self, what: str) -> int:
        """How often something was asked."""
        return sum(1 for asked, _, _ in self.asked if asked == what)

    def bodies(self, what: str) -> list[Any]:
        return [body for asked, _, body in self.asked if asked == what]

    async def get(self, url: str, headers: dict[str, str], deadline_s: float) -> HttpReply:
        return self._answer("GET", url, None, headers)

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_s: float) -> HttpReply:
        return self._answer("POST", url, json.loads(body), headers)

    async def connect(self, url: str, deadline_s: float) -> Wire:
        self.hosts.append(url)
        found = self.wires.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def aclose(self) -> None:
        pass

    def _answer(self, method: str, url: str, body: Any, headers: dict[str, str]) -> HttpReply:
        parts = urlsplit(url)
        what, query = f"{method} {parts.path.removeprefix(urlsplit(ROOT).path)}", parse_qs(parts.query)
        self.asked.append((what, query, body))
        self.tokens.append(headers.get("authorization", "").removeprefix("Bearer "))
        answer = self.answers.get(what)
        try:
            if answer is None:
                raise Status(404, {"error": "NOT_FOUND", "message": "was not found"})
            return HttpReply(200, json.dumps(answer(query, body)).encode(), {})
        except Status as no:
            sent = no.body if isinstance(no.body, bytes) else json.dumps(no.body).encode()
            return HttpReply(no.status, sent, no.headers)


def silence(query: Any, body: Any) -> Any:
    """The request may have arrived; no answer comes."""
    raise NoAnswer("no whole answer within 5 s")


def make_key(tmp_path: Path, clock: ManualClock, algorithm: str = "es256") -> Path:
    """A key file, and nobody who knows it."""
    path = tmp_path / f"{algorithm}.json"
    KeyRing(tmp_path / f"ring-{algorithm}").create(algorithm, path, ("view", "trade"), 1, clock.now())
    return path


def open_client(
    web: FakeWeb, key_file: Path | None, clock: ManualClock, may_send: MaySend | None = None
) -> AdvancedTrade:
    """The client over the venue in memory."""
    access = Access(http=ROOT, ws="wss://user", streams="wss://market", key_file=key_file)
    return open_advanced_trade(access, clock, may_send=may_send, budget=Budget(clock), web=web)
