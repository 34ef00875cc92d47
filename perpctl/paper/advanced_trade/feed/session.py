"""This file is one connection of the Advanced Trade feed without the socket: frames and wall time in, frames out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from perpctl.paper.advanced_trade.access import Caller, identify_socket
from perpctl.paper.advanced_trade.feed.channels import MARKET, Level2, Stream
from perpctl.paper.advanced_trade.feed.user import Balance, Mine
from perpctl.paper.advanced_trade.listing import moment
from perpctl.paper.advanced_trade.orders.rows import USER_ID
from perpctl.paper.advanced_trade.reading import encode
from perpctl.paper.events import Event
from perpctl.paper.keys import BadToken
from perpctl.paper.types import Product
from perpctl.paper.wire.reply import Close, Frame, Out

if TYPE_CHECKING:
    from perpctl.paper.advanced_trade.face import AdvancedTrade

FIRST_WORD_S = 5.0  # a subscribe must arrive within
QUIET_S = 75.0  # without anything to tell the connection is closed; documented as 60 to 90
OWN = ("user", "futures_balance_summary")
_decode = msgspec.json.Decoder(dict[str, Any]).decode


@dataclass(slots=True)
class _Subscription:
    channel: str  # as messages name it
    stream: Stream
    every_s: float
    products: list[str]
    shown: list[str]  # as the acknowledgement lists them: products, or what the channel is about
    due_s: float = 0.0


@dataclass
class FeedSession:
    """A connection to either host: both speak the same, as the venue's do."""

    face: AdvancedTrade
    wall_s: float
    peer: str = "127.0.0.1"
    closed: bool = False
    _outbox: list[Out] = field(default_factory=list)
    _subscriptions: dict[str, _Subscription] = field(default_factory=dict)
    _late: list[bytes] = field(default_factory=list)  # messages that a fault puts after the next one
    _held: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    _sequence: int = 0
    _spoke: bool = False
    _told_s: float = 0.0

    def __post_init__(self) -> None:
        self._told_s = self.wall_s
        self.face.sessions.append(self)

    # -- what the owner of the wire calls

    def receive(self, frame: bytes | str, wall_s: float) -> list[Out]:
        """A frame came in; returns everything that is to go out."""
        if self.closed:
            return []
        if self.face.faults.outage:
            self.cut()
            return self.drain()
        try:
            request = _decode(frame)
        except (msgspec.MsgspecError, RecursionError):
            self._end(Close(1008, "invalid message"))
            return self.drain()
        name = f"{request.get('type')} {request.get('channel')}"
        wait_s = self.face.faults.hold(name)
        if wait_s > 0:
            self._held.append((wall_s + wait_s, request))
        else:
            self._serve(name, request, wall_s)
        return self.drain()

    def tick(self, wall_s: float) -> list[Out]:
        """Time passed: silent and idle connections end, channels tell what is due."""
        if self.closed:
            return self.drain()
        if self.face.faults.outage:
            self.cut()
        elif not self._spoke and wall_s - self.wall_s > FIRST_WORD_S:
            self._end(Close(1008, "subscribe required"))
        elif wall_s - self._told_s > QUIET_S:
            self._end(Close(1001, "no updates"))
        for due, request in [held for held in self._held if held[0] <= wall_s]:
            self._held.remove((due, request))
            self._serve(f"{request.get('type')} {request.get('channel')}", request, wall_s)
        self._flush(wall_s)
        return self.drain()

    def lost(self) -> None:
        """The peer went away. Nothing here cancels on disconnect."""
        if not self.closed:
            self.closed = True
            self.face.sessions.remove(self)

    def cut(self) -> None:
        """Kill the connection from this side without a word."""
        self._end(Close(cut=True))

    def drain(self) -> list[Out]:
        """What is waiting to go out."""
        out, self._outbox = self._outbox, []
        return out

    def on_events(self, events: list[Event], wall_s: float) -> None:
        """Something happened; channels without a cadence tell at once."""
        for subscription in self._subscriptions.values():
            for event in events:
                subscription.stream.see(event)
        for subscription in self._subscriptions.values():
            if subscription.every_s == 0.0:
                self._tell(subscription, wall_s)

    # -- requests

    def _serve(self, name: str, request: dict[str, Any], wall_s: float) -> None:
        verdict = self.face.faults.judge(name)
        if verdict.drop_before or verdict.drop_after or verdict.status is not None:
            self.cut()
            return
        if verdict.error is not None:
            self._complain(verdict.error[1])
            return
        kind, channel = request.get("type"), request.get("channel")
        if kind not in ("subscribe", "unsubscribe") or not isinstance(channel, str):
            self._end(Close(1008, "invalid message"))  # a wrong first word is not answered, it ends the connection
            return
        try:
            caller = self._caller(request, wall_s, expired=verdict.expired_token)
        except BadToken:
            self._complain("authentication failure")
            return
        if caller is None and not self.face.limits.hears(self.peer, wall_s):
            self._complain("rate limit exceeded")
            return
        if channel not in MARKET and channel not in OWN:
            self._complain(f"{channel} is not a valid channel")
        elif kind == "unsubscribe":
            self._unsubscribe(channel, _words(request.get("product_ids")), wall_s)
        else:
            self._subscribe(channel, _words(request.get("product_ids")), caller, wall_s)

    def _caller(self, request: dict[str, Any], wall_s: float, *, expired: bool) -> Caller | None:
        token = request.get("jwt")
        if not token:
            return None
        if expired:
            raise BadToken("expired")
        return identify_socket(str(token), self.face.keys, wall_s)

    def _subscribe(self, channel: str, ids: list[str], caller: Caller | None, wall_s: float) -> None:
        if channel in OWN:
            if caller is None or "view" not in caller.key.scopes:
                self._complain("authentication failure")
                return
            self.face.open_account(caller.account)
        products = self._products(ids)
        if products is None:
            self._complain(f"invalid product_ids: {', '.join(ids)}")
            return
        if channel in MARKET and channel not in ("heartbeats", "status") and not products:
            self._complain("product_ids are required")
            return
        self._spoke = True
        known = self._subscriptions.get(channel)
        names = [*(known.products if known else []), *(one.name for one in products)]
        fresh = self._opened(channel, list(dict.fromkeys(names)), caller)
        self._subscriptions[channel] = fresh
        fresh.due_s = wall_s + fresh.every_s
        if channel == "heartbeats":  # captured: the acknowledgement first, then the beat; elsewhere the snapshot first
            self._acknowledge(wall_s)
            self._tell(fresh, wall_s)
        else:
            self._tell(fresh, wall_s)
            self._acknowledge(wall_s)

    def _products(self, ids: list[str]) -> list[Product] | None:
        """The products meant, None when one is unknown; -USDC ids come back as -USD."""
        listed = self.face.exchange.products
        names = [f"{one[:-5]}-USD" if one.endswith("-USDC") else one for one in ids]
        return None if any(name not in listed for name in names) else [listed[name] for name in names]

    def _opened(self, channel: str, names: list[str], caller: Caller | None) -> _Subscription:
        exchange = self.face.exchange
        if channel == "user" and caller is not None:
            mine = Mine(exchange, self.face.sight, caller.account, frozenset(names))
            return _Subscription("user", mine, 0.0, names, [USER_ID])
        if channel == "futures_balance_summary" and caller is not None:
            return _Subscription(channel, Balance(exchange, self.face.sight, caller.account), 0.25, names, [USER_ID])
        shown_as, every_s, opener = MARKET[channel]
        chosen = [exchange.product(name) for name in names] or list(exchange.products.values())
        listed = [channel] if channel == "heartbeats" else names
        stream = opener(exchange, chosen)
        if isinstance(stream, Level2):
            stream.depth = self.face.told_levels
        return _Subscription(shown_as, stream, every_s, names, listed)

    def _unsubscribe(self, channel: str, ids: list[str], wall_s: float) -> None:
        known = self._subscriptions.get(channel)
        if known is not None:
            left = [name for name in known.products if name not in ids]
            if ids and left and channel in MARKET and channel != "heartbeats":
                self._subscriptions[channel] = self._opened(channel, left, None)
                self._subscriptions[channel].stream.take()  # goes on from here, without a snapshot
            else:
                del self._subscriptions[channel]
        self._acknowledge(wall_s)

    # -- going out

    def _acknowledge(self, wall_s: float) -> None:
        active = {channel: one.shown for channel, one in self._subscriptions.items()}
        self._send("subscriptions", [{"subscriptions": active}], wall_s)

    def _complain(self, message: str) -> None:
        self._spoke = True
        self._outbox.append(Frame(encode({"type": "error", "message": message})))

    def _flush(self, wall_s: float) -> None:
        for subscription in self._subscriptions.values():
            if subscription.every_s and wall_s >= subscription.due_s:
                subscription.due_s = max(subscription.due_s + subscription.every_s, wall_s)
                self._tell(subscription, wall_s)

    def _tell(self, subscription: _Subscription, wall_s: float) -> None:
        for events in subscription.stream.take():
            self._send(subscription.channel, events, wall_s)

    def _send(self, channel: str, events: list[dict[str, Any]], wall_s: float) -> None:
        """One message. The sequence counts it whether or not a fault loses it: that is how a client notices."""
        if self.closed:
            return
        message = {
            "channel": channel,
            "client_id": "",
            "timestamp": moment(self.face.exchange.now),
            "sequence_num": self._sequence,
            "events": events,
        }
        self._sequence += 1
        self._told_s = wall_s
        fault = self.face.faults.shake(channel)
        body = encode(message)
        if fault == "reorder":
            self._late.append(body)
        elif fault != "gap":
            self._outbox.extend([Frame(body)] * (2 if fault == "duplicate" else 1))
            self._outbox.extend(Frame(late) for late in self._late)
            self._late.clear()

    def _end(self, close: Close) -> None:
        if not self.closed:
            self.lost()
            self._outbox.append(close)


def _words(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else []
