"""This file is one WebSocket connection without the socket: frames and wall time in, frames out."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from perpctl.paper.events import Event
from perpctl.paper.faults import Verdict
from perpctl.paper.gateway import rpc
from perpctl.paper.gateway.access import SOCKET_LIFE_S, Grant, pool_of, require_scope
from perpctl.paper.gateway.channels import open_stream
from perpctl.paper.gateway.methods import public
from perpctl.paper.gateway.queue import Waiting
from perpctl.paper.gateway.rpc import Request, RpcError, invalid
from perpctl.paper.gateway.streams import Stream
from perpctl.paper.wire.reply import Close, Frame, Out

if TYPE_CHECKING:
    from perpctl.paper.gateway.face import Gateway

IDLE_S = 30.0  # a socket that sends no message for so long is closed; protocol pings do not count
TEST_GRACE_S = 5.0  # to answer a test_request
MOST_SESSIONS = 16  # of one key (Deribit docs, connection management); that the 17th is the one refused is our reading
Host = Literal["private", "streams"]


@dataclass(slots=True)
class _Subscription:
    stream: Stream
    every_s: float
    label: str | None = None
    due_s: float = 0.0


@dataclass(slots=True)
class _Heartbeat:
    every_s: float
    beat_due_s: float
    test_due_s: float
    answer_by_s: float | None = None


@dataclass
class GatewaySession:
    """A connection to the private host or to the streams host. After a Close came out, it is `closed`."""

    gateway: Gateway
    host: Host
    wall_s: float
    peer: str = "127.0.0.1"
    grant: Grant | None = None
    account: int | None = None  # outlives the grant: orders placed with it are still this socket's
    closed: bool = False
    cancels_on_disconnect: bool = False
    origin: str = field(default_factory=lambda: uuid.uuid4().hex)
    _outbox: list[Out] = field(default_factory=list)
    _subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    _held: list[tuple[float, Request, Waiting | None]] = field(default_factory=list)  # (due, what a fault keeps back)
    _late: list[bytes] = field(default_factory=list)  # notifications that go after the next one
    _heartbeat: _Heartbeat | None = None
    _last_message_s: float = 0.0

    def __post_init__(self) -> None:
        self._last_message_s = self.wall_s
        self.gateway.sessions.append(self)

    # -- what the owner of the wire calls

    def receive(self, frame: bytes | str, wall_s: float) -> list[Out]:
        """A frame came in; returns everything that is to go out."""
        if self.closed:
            return []
        self._last_message_s = wall_s
        if self.gateway.faults.outage:
            self.cut()
            return self.drain()
        try:
            request = rpc.read_request(frame)
        except RpcError as error:
            self._send(rpc.failure(msgspec.UNSET, error, wall_s))
            return self.drain()
        wait_s = self.gateway.faults.hold(request.method)
        if self.grant is not None:
            self.gateway.queue.arrive(self.grant.account, request)
        if wait_s > 0:
            self._hold(request, wall_s + wait_s, wall_s)
        else:
            self._serve(request, wall_s)
        return self.drain()

    def _hold(self, request: Request, due_s: float, wall_s: float) -> None:
        waiting = self.gateway.queue.enter(self.grant.account, request) if self.grant is not None else None
        if waiting is not None and waiting.refusal is not None:
            self._send(rpc.failure(request.id, waiting.refusal, wall_s))
        else:
            self._held.append((due_s, request, waiting))

    def tick(self, wall_s: float) -> list[Out]:
        """Time passed: heartbeats, idle and expired connections, held frames, channels that are due."""
        if self.closed:
            return self.drain()
        if self.gateway.faults.outage:
            self.cut()
        elif wall_s - self._last_message_s > IDLE_S:
            self._end(Close(1011, "idle"))
        elif self._heartbeat is not None:
            self._beat(self._heartbeat, wall_s)
        if self.grant is not None and self.grant.expires_s <= wall_s:
            self._log_out()
        for held in [held for held in self._held if held[0] <= wall_s]:
            self._held.remove(held)
            if not self.closed:
                self._serve_held(held[1], held[2], wall_s)
        self._flush(wall_s)
        return self.drain()

    def lost(self) -> None:
        """The peer went away without a word, or with one: cancel-on-disconnect fires if armed."""
        self._finish(fire=True)

    def cut(self) -> None:
        """Kill the connection from this side without a word."""
        self._end(Close(cut=True))

    def tell_all(self, but: str) -> None:
        """Have every channel say what it has, due or not, except those that begin so: for an owner in lock step."""
        for channel, subscription in self._subscriptions.items():
            if not channel.startswith(but):
                self._tell(channel, subscription)

    def hold(self, out: list[Out]) -> None:
        """Put back what `tick` gave, for a later `drain`."""
        self._outbox[:0] = out

    def drain(self) -> list[Out]:
        """What is waiting to go out."""
        out, self._outbox = self._outbox, []
        return out

    # -- what the gateway calls

    def on_events(self, events: list[Event]) -> None:
        """Something happened in the exchange; raw channels tell at once, others when they are due."""
        for subscription in self._subscriptions.values():
            for event in events:
                subscription.stream.see(event)
        for channel, subscription in self._subscriptions.items():
            if subscription.every_s == 0.0:
                self._tell(channel, subscription)

    def tell(self, channel: str, content: dict[str, Any]) -> None:
        """Something happened that is the platform's, not the exchange's: an announcement, a login."""
        if channel in self._subscriptions:
            self._notify(channel, content)

    # -- requests

    def _serve(self, request: Request, wall_s: float) -> None:
        verdict = self.gateway.faults.judge(request.method)
        if verdict.drop_before or verdict.status is not None:
            self.cut()
            return
        try:
            result = self._result(request, wall_s, verdict)
        except RpcError as error:
            if not verdict.drop_after:
                self._send(rpc.failure(request.id, error, wall_s), verdict.delay_answer_s)
            if error.message == "too_many_requests":
                self._end(Close(1008, "too_many_requests"))
        else:
            if not verdict.drop_after and not self.closed:
                self._send(rpc.answer(request.id, result, wall_s), verdict.delay_answer_s)
        if verdict.drop_after:
            self.cut()
        self._flush(wall_s)

    def _serve_held(self, request: Request, waiting: Waiting | None, wall_s: float) -> None:
        try:
            if waiting is not None:
                self.gateway.queue.leave(waiting)
        except RpcError as refusal:
            self._send(rpc.failure(request.id, refusal, wall_s))
        else:
            self._serve(request, wall_s)

    def _result(self, request: Request, wall_s: float, verdict: Verdict) -> Any:
        name = request.method
        own = _OWN[self.host].get(name)
        if self.host == "streams" and own is None:
            raise RpcError("Method not found", data={"reason": "method not in allowlist"})
        if self.host == "private" and name in _STREAMS_ONLY:
            raise RpcError("Method not found", data={"reason": "method not in allowlist"})
        rpc.refuse(verdict.error)
        if name.startswith("private/") and (self.grant is None or verdict.expired_token):
            raise RpcError("unauthorized")
        if own is None:
            return self.gateway.call(request, wall_s, self.grant, self, self.peer)
        owner: object = self.grant.account if self.grant else self.peer
        self.gateway.credits.spend(owner, pool_of(name, False), wall_s)
        if self.grant is not None and name.startswith("private/"):
            require_scope(name, self.grant)
        if self.gateway.exchange.maintenance and name != "public/test":
            raise RpcError("system_maintenance")
        return own(self, request.params, wall_s)

    def _auth(self, params: rpc.Params, wall_s: float) -> Any:
        grant = self.gateway.sign_in(params, SOCKET_LIFE_S, wall_s, self.peer)
        first = self.account is None
        others = sum(one.grant is not None and one.grant.key_name == grant.key_name for one in self.gateway.sessions)
        if self.grant is None and others >= MOST_SESSIONS:
            raise RpcError("login_over_limit")
        self.grant, self.account = grant, grant.account
        if first and grant.account in self.gateway.armed_accounts:
            self._arm(True)
        return {
            "expires_in": SOCKET_LIFE_S,
            "scope": grant.scope_text,
            "sid": grant.sid,
            "token_type": "bearer",
        }

    def _logout(self, params: rpc.Params, wall_s: float) -> Any:
        params.flag("invalidate_token")
        self._finish(fire=False)
        self._outbox.append(Close(1000, "logout"))

    def _test(self, params: rpc.Params, wall_s: float) -> Any:
        if params.word("expected_result", ("exception",)) == "exception":
            raise invalid("expected_result", "exception")
        if self._heartbeat is not None:
            self._heartbeat.answer_by_s = None
        return {"version": public.VERSION}

    def _hello(self, params: rpc.Params, wall_s: float) -> Any:
        params.need_word("client_name")
        params.need_word("client_version")
        return {"version": public.VERSION}

    def _set_heartbeat(self, params: rpc.Params, wall_s: float) -> Any:
        every = float(params.need_number("interval"))
        if every < 10:
            raise invalid("interval", "must be at least 10")
        self._heartbeat = _Heartbeat(every, wall_s + every / 2, wall_s + every)
        return "ok"

    def _disable_heartbeat(self, params: rpc.Params, wall_s: float) -> Any:
        self._heartbeat = None
        return "ok"

    def _subscribe(self, params: rpc.Params, wall_s: float) -> Any:
        """The channels granted; others are left out without a word."""
        names = params.words("channels")
        account = self.grant.account if self.grant and self.host == "private" else None
        if account is None and any(name.endswith(".raw") for name in names):
            raise RpcError("raw_subscriptions_not_available_for_unauthorized")
        granted = []
        for name in dict.fromkeys(names):
            opened = open_stream(self.gateway.exchange, name, account)
            if opened is not None:
                # Subscribing again starts anew: that is how a client asks for a fresh book snapshot.
                self._subscriptions[name] = _Subscription(*opened, params.word("label"))
                granted.append(name)
        return granted

    def _unsubscribe(self, params: rpc.Params, wall_s: float) -> Any:
        names = [name for name in params.words("channels") if name in self._subscriptions]
        for name in names:
            del self._subscriptions[name]
        return names

    def _unsubscribe_all(self, params: rpc.Params, wall_s: float) -> Any:
        self._subscriptions.clear()
        return "ok"

    def _enable_cod(self, params: rpc.Params, wall_s: float) -> Any:
        if self._cod_scope(params) == "account":
            self.gateway.arm_account(self._account, True)  # sockets opened from now on; this one stays as it is
        else:
            self._arm(True)
        return "ok"

    def _disable_cod(self, params: rpc.Params, wall_s: float) -> Any:
        if self._cod_scope(params) == "account":
            self.gateway.arm_account(self._account, False)
        else:
            self._arm(False)
        return "ok"

    def _get_cod(self, params: rpc.Params, wall_s: float) -> Any:
        scope = self._cod_scope(params)
        armed = self._account in self.gateway.armed_accounts if scope == "account" else self.cancels_on_disconnect
        return {"scope": scope, "enabled": armed}

    def _get_access_log(self, params: rpc.Params, wall_s: float) -> Any:
        offset, count = params.whole("offset") or 0, params.whole("count", 1, 1000) or 10
        newest_first = self.gateway.access_log[::-1]
        return {"records_total": len(newest_first), "data": newest_first[offset : offset + count]}

    @staticmethod
    def _cod_scope(params: rpc.Params) -> str:
        return params.word("scope", ("connection", "account")) or "connection"

    @property
    def _account(self) -> int:
        assert self.grant is not None, "private methods are refused without a grant"
        return self.grant.account

    def _arm(self, armed: bool) -> None:
        self.cancels_on_disconnect = armed
        self.gateway.arm_connection(self.origin, self._account, armed)

    # -- going out

    def _beat(self, heartbeat: _Heartbeat, wall_s: float) -> None:
        if heartbeat.answer_by_s is not None and wall_s > heartbeat.answer_by_s:
            self._end(Close(1000, "heartbeat not answered"))
            return
        if wall_s >= heartbeat.beat_due_s:
            heartbeat.beat_due_s = wall_s + heartbeat.every_s
            self._send({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "heartbeat"}})
        if wall_s >= heartbeat.test_due_s:
            heartbeat.test_due_s = wall_s + heartbeat.every_s
            heartbeat.answer_by_s = heartbeat.answer_by_s or wall_s + TEST_GRACE_S
            self._send({"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}})

    def _flush(self, wall_s: float) -> None:
        for channel, subscription in self._subscriptions.items():
            if wall_s >= subscription.due_s:
                subscription.due_s = wall_s + subscription.every_s
                self._tell(channel, subscription)

    def _tell(self, channel: str, subscription: _Subscription) -> None:
        for payload in subscription.stream.take():
            self._notify(channel, payload, subscription.label)

    def _notify(self, channel: str, payload: Any, label: str | None = None) -> None:
        if self.closed:
            return
        fault = self.gateway.faults.shake(channel)
        if fault == "gap":
            return
        body = rpc.encode(rpc.notification(channel, payload, label))
        if fault == "reorder":
            self._late.append(body)
            return
        self._outbox.extend([Frame(body)] * (2 if fault == "duplicate" else 1))
        self._outbox.extend(Frame(late) for late in self._late)
        self._late.clear()

    def _send(self, message: dict[str, object], delay_s: float = 0.0) -> None:
        self._outbox.append(Frame(rpc.encode(message), delay_s))

    def _log_out(self) -> None:
        """The socket's own credential ran out: user channels fall silent, private calls are refused."""
        self.grant = None
        for name in [name for name in self._subscriptions if self.host == "private"]:
            del self._subscriptions[name]

    def _end(self, close: Close) -> None:
        if not self.closed:
            self._finish(fire=True)
            self._outbox.append(close)

    def _finish(self, *, fire: bool) -> None:
        if self.closed:
            return
        self.closed = True
        self.gateway.sessions.remove(self)
        for _, _, waiting in self._held:
            with suppress(RpcError):
                if waiting is not None:
                    self.gateway.queue.leave(waiting)
        if self.cancels_on_disconnect and self.account is not None:
            if fire:
                self.gateway.cancel_orders_of(self.origin, self.account)
            self.gateway.arm_connection(self.origin, self.account, False)


_Own = Callable[[GatewaySession, rpc.Params, float], Any]
_EVERYWHERE: dict[str, _Own] = {
    "public/test": GatewaySession._test,
    "public/hello": GatewaySession._hello,
    "public/set_heartbeat": GatewaySession._set_heartbeat,
    "public/disable_heartbeat": GatewaySession._disable_heartbeat,
}
_STREAMS_ONLY: dict[str, _Own] = {
    "public/subscribe": GatewaySession._subscribe,
    "public/unsubscribe": GatewaySession._unsubscribe,
    "public/unsubscribe_all": GatewaySession._unsubscribe_all,
}
_OWN: dict[str, dict[str, _Own]] = {
    "streams": {**_EVERYWHERE, **_STREAMS_ONLY},
    "private": {
        **_EVERYWHERE,
        "public/auth": GatewaySession._auth,
        "private/logout": GatewaySession._logout,
        "private/subscribe": GatewaySession._subscribe,
        "private/unsubscribe": GatewaySession._unsubscribe,
        "private/unsubscribe_all": GatewaySession._unsubscribe_all,
        "private/enable_cancel_on_disconnect": GatewaySession._enable_cod,
        "private/disable_cancel_on_disconnect": GatewaySession._disable_cod,
        "private/get_cancel_on_disconnect": GatewaySession._get_cod,
        "private/get_access_log": GatewaySession._get_access_log,
    },
}
SESSION_METHODS = frozenset(_OWN["private"]) | frozenset(_STREAMS_ONLY)

__all__ = ["SESSION_METHODS", "Close", "Frame", "GatewaySession", "Out"]
