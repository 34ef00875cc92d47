"""This file is Advanced Trade v3 as one object: every REST path, over handed-in requests and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import formatdate
from typing import Any

from msgspec import Struct

from perpctl.paper.advanced_trade import market, money
from perpctl.paper.advanced_trade.access import Caller, Limits, TooMany, identify, require
from perpctl.paper.advanced_trade.feed.channels import WHOLE_BOOK
from perpctl.paper.advanced_trade.feed.session import FeedSession
from perpctl.paper.advanced_trade.orders import entry, history
from perpctl.paper.advanced_trade.orders.rows import Row
from perpctl.paper.advanced_trade.orders.sight import Sight, Switches
from perpctl.paper.advanced_trade.reading import ApiError, HttpWait, Query, Schema, encode, read_body, unauthorized
from perpctl.paper.core import Exchange
from perpctl.paper.events import Event, OrderChanged
from perpctl.paper.faults import FaultPlane, Verdict
from perpctl.paper.keys import Keys, RegisteredKey
from perpctl.paper.types import Order, Rejected
from perpctl.paper.wire.reply import Forgetful, HttpReply, Keeper

REST_PATH = "/api/v3/brokerage"
RETIRED = "/intx"


class Call(Struct, frozen=True):
    """One request as its method sees it."""

    face: AdvancedTrade
    words: Mapping[str, str]  # of the path
    query: Query
    raw_body: bytes
    wall_s: float
    caller: Caller | None = None

    @property
    def exchange(self) -> Exchange:
        return self.face.exchange

    @property
    def now(self) -> int:
        """Market time, ms."""
        return self.face.exchange.now

    @property
    def caller_key(self) -> RegisteredKey:
        if self.caller is None:
            raise unauthorized()
        return self.caller.key

    @property
    def account(self) -> int:
        return self.caller_key.account

    @property
    def portfolio(self) -> str:
        return self.caller_key.portfolio

    def body(self, schema: Schema) -> Row:
        """The body, when it has no unknown members. Raises ApiError."""
        return read_body(self.raw_body, schema)


Method = Callable[[Call], Any]

# path below REST_PATH, but for Coinbase App's own -> {verb: (scope, method)}; a scope of None is public (docs, Advanced
# Trade API scopes).
PATHS: dict[str, dict[str, tuple[str | None, Method]]] = {
    "/time": {"GET": (None, market.time)},
    "/v2/currencies": {"GET": (None, market.currencies)},
    "/v2/currencies/crypto": {"GET": (None, market.crypto_currencies)},
    "/v2/exchange-rates": {"GET": (None, market.exchange_rates)},
    "/market/products": {"GET": (None, market.products)},
    "/market/products/{id}": {"GET": (None, market.product)},
    "/market/product_book": {"GET": (None, market.product_book)},
    "/market/products/{id}/candles": {"GET": (None, market.candles)},
    "/market/products/{id}/ticker": {"GET": (None, market.ticker)},
    "/products": {"GET": ("view", market.products)},
    "/products/{id}": {"GET": ("view", market.product)},
    "/product_book": {"GET": ("view", market.product_book)},
    "/best_bid_ask": {"GET": ("view", market.best_bid_ask)},
    "/products/{id}/candles": {"GET": ("view", market.candles)},
    "/products/{id}/ticker": {"GET": ("view", market.ticker)},
    "/accounts": {"GET": ("view", money.accounts)},
    "/accounts/{id}": {"GET": ("view", money.account)},
    "/portfolios": {"GET": ("view", money.portfolios)},
    "/portfolios/{id}": {"GET": ("view", money.portfolio_breakdown)},
    "/key_permissions": {"GET": ("view", money.key_permissions)},
    "/transaction_summary": {"GET": ("view", money.transaction_summary)},
    "/orders": {"POST": ("trade", entry.create)},
    "/orders/preview": {"POST": ("trade", entry.preview)},
    "/orders/edit": {"POST": ("trade", entry.edit)},
    "/orders/edit_preview": {"POST": ("trade", entry.edit_preview)},
    "/orders/batch_cancel": {"POST": ("trade", entry.batch_cancel)},
    "/orders/close_position": {"POST": ("trade", entry.close_position)},
    "/orders/historical/batch": {"GET": ("view", history.list_orders)},
    "/orders/historical/fills": {"GET": ("view", history.list_fills)},
    "/orders/historical/{id}": {"GET": ("view", history.get_order)},
    "/cfm/balance_summary": {"GET": ("view", money.balance_summary)},
    "/cfm/positions": {"GET": ("view", money.positions)},
    "/cfm/positions/{id}": {"GET": ("view", money.position)},
    "/cfm/sweeps": {"GET": ("view", money.sweeps), "DELETE": ("transfer", money.cancel_sweep)},
    "/cfm/sweeps/schedule": {"POST": ("transfer", money.schedule_sweep)},
    "/cfm/intraday/margin_setting": {
        "GET": ("view", money.margin_setting),
        "POST": ("trade", money.set_margin_setting),
    },
    "/cfm/intraday/current_margin_window": {"GET": ("view", money.current_margin_window)},
}


def find(path: str) -> tuple[dict[str, tuple[str | None, Method]], dict[str, str]] | None:
    """What a path offers, and the words in it; a path written out comes before one with a place to fill."""
    if path in PATHS:
        return PATHS[path], {}
    parts = path.split("/")
    for pattern, offered in PATHS.items():
        wanted = pattern.split("/")
        if len(wanted) == len(parts) and all(w in (p, "{id}") for w, p in zip(wanted, parts, strict=True)):
            return offered, {w[1:-1]: p for w, p in zip(wanted, parts, strict=True) if w == "{id}"}
    return None


class AdvancedTrade:
    """The v3 face of one exchange. It reads no clock: wall seconds come with each call."""

    def __init__(
        self,
        exchange: Exchange,
        keys: Keys,
        *,
        seed: int = 0,
        faults: FaultPlane | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        """Without a `keeper` nothing outlives the process."""
        self.exchange = exchange
        self.keys = keys
        self.faults = faults or FaultPlane(seed)
        self.keeper = keeper or Forgetful()
        self.limits = Limits()
        self.sight = Sight(exchange, seed)
        self.sessions: list[FeedSession] = []
        self.told_levels = WHOLE_BOOK  # of each side of a book, by the channel level2
        self._wall_s = 0.0

    @property
    def switches(self) -> Switches:
        """What the venue may do to a client."""
        return self.sight.switches

    def handle_http(
        self, method: str, target: str, headers: dict[str, str], body: bytes, wall_s: float, peer: str = "127.0.0.1"
    ) -> HttpReply:
        """Answer one request; header names in lower case."""
        self._wall_s = wall_s
        path, _, query = target.partition("?")
        verdict = self.faults.judge(f"{method} {path}") if not self.faults.outage else Verdict(drop_before=True)
        if verdict.drop_before:
            return HttpReply(0, b"", cut=True)
        if verdict.status is not None:
            return _reply(verdict.status, verdict.body.encode(), {}, wall_s, verdict)
        limits: dict[str, str] = {}
        try:
            call, act, limits = self._admit(method, path, query, headers, (body, wall_s, peer), verdict)
            content = self._act(call, act)
            return _reply(200, encode(content), limits, wall_s, verdict)
        except HttpWait as silence:
            return HttpReply(silence.status, b"", {}, silence.seconds)
        except ApiError as no:
            extra = no.headers if isinstance(no, TooMany) else limits
            return _reply(no.status, no.body, extra | {"content-type": no.content_type}, wall_s, verdict)

    def _admit(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        rest: tuple[bytes, float, str],
        verdict: Verdict,
    ) -> tuple[Call, Method, dict[str, str]]:
        """(the call, what answers it, limit headers) once everything about it is in order. Raises ApiError."""
        body, wall_s, peer = rest
        inner = path.removeprefix(REST_PATH)
        if inner.startswith(RETIRED):
            raise ApiError(404, "NOT_FOUND", "INTX was retired on 1 October 2026: use cfm, or Global Derivatives")
        found = find(inner.rstrip("/"))
        if found is None:
            raise ApiError(404, "NOT_FOUND", f"{path} was not found")
        offered, words = found
        if method not in offered:
            raise ApiError(405, "UNIMPLEMENTED", f"{method} is not offered at {path}")
        scope, act = offered[method]
        caller = None
        if scope is None:
            limits = self.limits.spend(f"address {peer}", False, wall_s)
        else:
            asked = method, headers.get("host", ""), path
            caller = self.identify(headers.get("authorization", ""), asked, wall_s)
            limits = self.limits.spend(f"key {caller.key.name}", True, wall_s)
            if verdict.expired_token:
                raise unauthorized()
            require(scope, caller)
            self.open_account(caller.account)
        if verdict.error is not None:
            raise ApiError(500, "INTERNAL", verdict.error[1])
        return Call(self, words, Query.of(query), body, wall_s, caller), act, limits

    def identify(self, authorization: str, asked: tuple[str, str, str], wall_s: float) -> Caller:
        """The caller of (method, host, path). Raises ApiError 401."""
        return identify(authorization, self.keys, asked, wall_s)

    def open_account(self, account: int) -> None:
        """The portfolio that a key was made for is opened when it first calls."""
        if account not in self.exchange.account_ids():
            self.exchange.open_account(account, f"paper{account}", self.exchange.now)

    def _act(self, call: Call, act: Method) -> Any:
        try:
            self.sight.carry_out(call.wall_s)
            return act(call)
        except Rejected as no:
            raise ApiError(400, "INVALID_ARGUMENT", str(no)) from no
        finally:
            self.publish()
            self.keeper.commit()

    def tick(self, wall_s: float) -> None:
        """Time passed: cancels that were accepted take effect, orders that were pending are in the book."""
        self._wall_s = wall_s
        if self.sight.carry_out(wall_s):
            self.publish()
            self.keeper.commit()
        self.retell(self.sight.opened(wall_s))

    def retell(self, orders: list[Order]) -> None:
        """What only this face knows of orders has changed: the user channel says so."""
        events: list[Event] = [OrderChanged(order.account_id, order) for order in orders]
        for session in self.sessions if events else ():
            session.on_events(events, self._wall_s)

    def open_session(self, wall_s: float, peer: str = "127.0.0.1") -> FeedSession:
        """A connection to either WebSocket host."""
        return FeedSession(self, wall_s, peer)

    def publish(self) -> None:
        """Hand what happened in the exchange to whoever shows it."""
        events: list[Event] = self.exchange.take_events()
        if events:
            self.keeper.seen(events)
            self.sight.see(events, self._wall_s)
            for session in list(self.sessions):
                session.on_events(events, self._wall_s)

    def app_order(self, account: int, body: Row, wall_s: float) -> Row:
        """An order that the owner typed in the simple app, with its answer."""
        self._wall_s = wall_s
        try:
            return entry.from_the_app(self, account, body)
        finally:
            self.publish()

    def note_edit(self, order_id: str, row: Row) -> None:
        """Remember an edit that was accepted."""
        self.sight.edits.setdefault(order_id, []).append(row)
        self.keeper.note_extra(self.memory())

    def memory(self) -> dict[str, Any]:
        """What must outlive the process and is not the exchange's."""
        return self.sight.memory()

    def remember(self, memory: dict[str, Any]) -> None:
        """Take up the memory of an earlier process."""
        self.sight.edits = dict(memory.get("edits", {}))


def _reply(status: int, body: bytes, headers: dict[str, str], wall_s: float, verdict: Verdict) -> HttpReply:
    common = {"content-type": "application/json", "date": formatdate(wall_s, usegmt=True)}
    return HttpReply(status, body, common | headers, verdict.delay_answer_s, verdict.drop_after)
