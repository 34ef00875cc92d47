"""This file is the gateway as one object: every method by name, over HTTP or over a session, on handed-in time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from perpctl.paper.core import Exchange
from perpctl.paper.events import Event
from perpctl.paper.faults import FaultPlane, Verdict
from perpctl.paper.gateway import rpc
from perpctl.paper.gateway.access import HTTP_LIFE_S, Credits, Grant, TokenStore, pool_of, require_scope
from perpctl.paper.gateway.methods import account, orders, public, reads, statistics
from perpctl.paper.gateway.queue import EngineQueue, Waiting
from perpctl.paper.gateway.rpc import Params, Request, RpcError
from perpctl.paper.gateway.session import SESSION_METHODS, GatewaySession, Host
from perpctl.paper.keys import Keys
from perpctl.paper.types import Rejected
from perpctl.paper.wire.reply import Forgetful, HttpReply, Keeper

RPC_PATH = "/api/v2"
PRIVATE_SOCKET = "/ws/api/v2"
STREAMS_SOCKET = "/streams/ws/api/v2"


class Call(msgspec.Struct, frozen=True):
    """One request as its method sees it."""

    gateway: Gateway
    params: Params
    wall_s: float
    grant: Grant | None = None
    session: GatewaySession | None = None

    @property
    def exchange(self) -> Exchange:
        return self.gateway.exchange

    @property
    def now(self) -> int:
        """Market time, ms."""
        return self.gateway.exchange.now

    @property
    def account(self) -> int:
        """The caller's main account. Raises RpcError 13009 without a grant."""
        if self.grant is None:
            raise RpcError("unauthorized")
        return self.grant.account


Method = Callable[[Call], Any]

# Which methods only a socket offers, and which of the real gateway's this exchange lacks (Deribit docs, method list).
SOCKET_ONLY = SESSION_METHODS - {"public/test", "public/auth"}
LACKING = frozenset(
    f"private/{name}"
    for name in (
        "pme/simulate", "simulate_portfolio", "create_combo", "get_leg_prices",
        "accept_block_rfq", "add_block_rfq_quote", "cancel_all_block_rfq_quotes", "cancel_block_rfq",
        "cancel_block_rfq_quote", "cancel_block_rfq_trigger", "create_block_rfq", "edit_block_rfq_quote",
        "get_block_rfq_makers", "get_block_rfq_quotes", "get_block_rfq_user_info", "get_block_rfqs",
        "approve_block_trade", "execute_block_trade", "get_block_trade", "get_block_trade_requests", "get_block_trades",
        "invalidate_block_trade_signature", "reject_block_trade", "simulate_block_trade", "verify_block_trade",
        "get_broker_trade_requests", "get_broker_trades",
    )
) | frozenset(
    f"public/{name}"
    for name in (
        "get_block_rfq_trades", "get_combo_details", "get_combo_ids", "get_combos", "get_historical_volatility",
        "get_last_settlements_by_currency", "get_last_settlements_by_instrument", "get_volatility_index_data",
    )
)  # fmt: skip

METHODS: dict[str, Method] = {
    **public.METHODS,
    **statistics.METHODS,
    **orders.METHODS,
    **reads.METHODS,
    **account.METHODS,
}


class Gateway:
    """The gateway face of one exchange. It reads no clock: wall seconds come with each call."""

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
        self.faults = faults or FaultPlane(seed)
        self.tokens = TokenStore(keys, seed)
        self.credits = Credits()
        self.queue = EngineQueue()
        self.serves_strangers = True  # public methods without a token; the venue may switch them off under stress
        self.keeper = keeper or Forgetful()
        self.sessions: list[GatewaySession] = []
        self.armed_accounts: set[int] = set()  # new sockets of these start with cancel-on-disconnect armed
        self.armed_connections: dict[str, int] = {}
        self.transfers: dict[str, dict[str, Any]] = {}  # by account and nonce, of this process
        self.announcements: list[dict[str, Any]] = []
        self.access_log: list[dict[str, Any]] = []

    # -- HTTP

    def handle_http(
        self,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes,
        wall_s: float,
        peer: str = "127.0.0.1",
        *,
        waited: Waiting | None = None,
    ) -> HttpReply:
        """Answer `POST /api/v2[/method]` or `GET /api/v2/method?query`; header names in lower case."""
        if self.faults.outage:
            return HttpReply(0, b"", cut=True)
        request_id: object = msgspec.UNSET
        verdict = Verdict()
        try:
            request = _read_http(method, target, headers, body)
            request_id = request.id
            if waited is not None:
                self.queue.leave(waited)
            elif self.queue.holds_some:
                self._arrive(request, headers, wall_s)
            verdict = self.faults.judge(request.method)
            if verdict.drop_before:
                return HttpReply(0, b"", cut=True)
            if verdict.status is not None:
                return _reply(verdict.status, verdict.body.encode(), wall_s, verdict)
            result = self._serve_http(request, headers.get("authorization", ""), wall_s, peer, verdict)
            status, message = 200, rpc.answer(request_id, result, wall_s)
        except RpcError as error:
            status, message = error.http_status, rpc.failure(request_id, error, wall_s)
        return _reply(status, rpc.encode(message), wall_s, verdict)

    def hold_http(
        self, method: str, target: str, headers: dict[str, str], body: bytes, wall_s: float
    ) -> Waiting | None:
        """Let a request that a fault holds back wait before the engine; None when it is none of the engine's."""
        with suppress(RpcError):
            request = _read_http(method, target, headers, body)
            owner = self._arrive(request, headers, wall_s)
            return None if owner is None else self.queue.enter(owner, request)
        return None

    def _arrive(self, request: Request, headers: dict[str, str], wall_s: float) -> int | None:
        """Whose request came in, after it did to the queue what it does; None when nobody signed it."""
        with suppress(RpcError):
            owner = self.tokens.check(headers.get("authorization", ""), wall_s).account
            self.queue.arrive(owner, request)
            return owner
        return None

    def _serve_http(self, request: Request, authorization: str, wall_s: float, peer: str, verdict: Verdict) -> Any:
        name = request.method
        rpc.refuse(verdict.error)
        known = name in METHODS or name in SOCKET_ONLY or name in LACKING or name == "public/auth"
        if not known:
            raise RpcError("Method not found")
        if name in SOCKET_ONLY:
            raise RpcError("must_be_websocket_request")
        if name == "public/auth":
            self.credits.spend(peer, "non_matching", wall_s)
            return self.tokens.issue(self.sign_in(request.params, HTTP_LIFE_S, wall_s, peer), HTTP_LIFE_S, wall_s)
        grant = None
        if name.startswith("private/") or authorization:
            if verdict.expired_token:
                raise RpcError("unauthorized")
            grant = self.tokens.check(authorization, wall_s)
        try:
            return self.call(request, wall_s, grant, None, peer)
        except RpcError as error:
            if error.message == "too_many_requests" and grant is not None:
                self.tokens.revoke(grant.sid)  # a breach ends the session, it is not a polite 429
            raise

    # -- both

    def call(
        self,
        request: Request,
        wall_s: float,
        grant: Grant | None,
        session: GatewaySession | None,
        peer: str,
    ) -> Any:
        """The result of a method that is not about the session itself. Raises RpcError."""
        name = request.method
        owner: object = grant.account if grant else peer
        self.credits.spend(owner, pool_of(name, request.params.has("currency")), wall_s)
        if grant is not None and name.startswith("private/"):
            require_scope(name, grant)
        if grant is None and not self.serves_strangers and name not in public.DURING_MAINTENANCE:
            raise RpcError("unauthenticated_public_requests_temporarily_disabled")
        if name in LACKING:
            raise RpcError("not_implemented")
        if name not in METHODS:
            raise RpcError("Method not found")
        if self.exchange.maintenance and name not in public.DURING_MAINTENANCE:
            raise RpcError("system_maintenance")
        call = Call(self, request.params, wall_s, grant, session)
        try:
            return METHODS[name](call)
        except Rejected as no:
            message = "Invalid params" if no.code == -32602 else str(no)
            raise RpcError(message, code=no.code, data=no.data) from no
        finally:
            self.publish()
            self.keeper.commit()

    def publish(self) -> None:
        """Hand what happened in the exchange to every session."""
        events: list[Event] = self.exchange.take_events()
        if events:
            self.keeper.seen(events)
            for session in self.sessions:
                session.on_events(events)

    def open_session(self, host: Host, wall_s: float, peer: str = "127.0.0.1") -> GatewaySession:
        """A connection to one of the two WebSocket hosts."""
        return GatewaySession(self, host, wall_s, peer)

    def announce(self, title: str, body: str, *, important: bool, wall_s: float) -> None:
        """Publish a platform announcement."""
        stamp = int(wall_s * 1000)
        row = {"id": stamp, "title": title, "body": body, "important": important, "publication_timestamp": stamp}
        self.announcements.append(row)
        for session in self.sessions:
            session.tell("announcements", {**row, "action": "new"})

    def let_strangers_in(self, served: bool) -> None:
        """Switch public calls without a token on or off, and say so."""
        self.serves_strangers = served
        for session in self.sessions:
            content = {"allow_unauthenticated_public_requests": served}
            session.tell("platform_state.public_methods_state", content)

    # -- cancel-on-disconnect

    def arm_account(self, account: int, armed: bool) -> None:
        """Whether sockets that this account opens from now on start armed."""
        if armed:
            self.armed_accounts.add(account)
        else:
            self.armed_accounts.discard(account)
        self.keeper.note_extra(self.memory())

    def arm_connection(self, origin: str, account: int, armed: bool) -> None:
        """Remember, beyond a crash of ours, whose orders die with their connection."""
        if armed:
            self.armed_connections[origin] = account
        else:
            self.armed_connections.pop(origin, None)
        self.keeper.note_extra(self.memory())

    def memory(self) -> dict[str, Any]:
        """What must outlive the process and is not the exchange's."""
        return {
            "armed_accounts": sorted(self.armed_accounts),
            "armed_connections": dict(self.armed_connections),
            "announcements": self.announcements,
            "access_log": self.access_log[-1000:],
        }

    def remember(self, memory: dict[str, Any]) -> None:
        """Take up the memory of an earlier process; its connections died with it, so their orders go now."""
        self.armed_accounts = set(memory.get("armed_accounts", []))
        self.announcements = memory.get("announcements", [])
        self.access_log = memory.get("access_log", [])
        for origin, owner in memory.get("armed_connections", {}).items():
            self.cancel_orders_of(origin, owner)

    def cancel_orders_of(self, origin: str, account: int) -> None:
        """A connection with cancel-on-disconnect died: its own orders go, nobody else's."""
        exchange = self.exchange
        with suppress(Rejected):  # during maintenance nothing can be cancelled, here as on the venue
            exchange.cancel_where(
                account,
                lambda order: order.origin == origin,
                exchange.now,
                include_isolated=True,
                reason="cancel_on_disconnect",
            )
        self.publish()

    def sign_in(self, params: Params, life_s: float, wall_s: float, peer: str) -> Grant:
        """What a public/auth grants; an account that a key was made for is opened when it first signs in."""
        if params.need_word("grant_type", ("coinbase_cdp", "coinbase_oauth2")) == "coinbase_oauth2":
            raise RpcError("not_implemented")
        try:
            grant = self.tokens.grant(params.need_word("token"), life_s, wall_s)
        except RpcError:
            self._note_login(peer, "failed", wall_s, None)
            raise
        self._note_login(peer, "success", wall_s, grant.account)
        if grant.account not in self.exchange.account_ids():
            self.exchange.open_account(grant.account, f"paper{grant.account}", self.exchange.now)
            self.publish()
        return grant

    def _note_login(self, peer: str, outcome: str, wall_s: float, account: int | None) -> None:
        """Whose login failed is not known, so everybody is told of it."""
        row = {
            "id": len(self.access_log) + 1,
            "ip": peer,
            "timestamp": int(wall_s * 1000),
            "country": "Local Country",
            "city": "Local Town",
            "result": outcome,
            "log": outcome,
        }
        self.access_log.append(row)
        for session in self.sessions:
            if account is None or session.account == account:
                session.tell("user.access_log", {name: value for name, value in row.items() if name != "result"})


def _read_http(method: str, target: str, headers: dict[str, str], body: bytes) -> Request:
    path, _, query = target.partition("?")
    name = path.removeprefix(RPC_PATH).strip("/")
    if method == "GET":
        if not name:
            raise RpcError("Invalid Request")
        return Request(name, Params(dict(parse_qsl(query, keep_blank_values=True))))
    if method != "POST":
        raise RpcError("Invalid Request")
    if "json" not in headers.get("content-type", "application/json"):
        raise RpcError("invalid_content_type")
    return rpc.read_request(body, name)


@lru_cache(maxsize=1)
def _date(wall_s: int) -> str:
    return formatdate(wall_s, usegmt=True)


def _reply(status: int, body: bytes, wall_s: float, verdict: Verdict) -> HttpReply:
    headers = {"content-type": "application/json", "date": _date(int(wall_s))}
    return HttpReply(status, body, headers, verdict.delay_answer_s, verdict.drop_after)


__all__ = ["HTTP_LIFE_S", "Call", "Gateway", "HttpReply"]
