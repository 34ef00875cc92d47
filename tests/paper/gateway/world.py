"""A day in the life of an account at an exchange in memory, and what the face says of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from perpctl.paper.events import ForcedTransfer
from perpctl.paper.gateway import rpc
from perpctl.paper.gateway.ledger_rows import forced
from perpctl.paper.types import Print
from tests.paper.gateway.trader import BTC, Socket, new_trader

WIDE = {"start_timestamp": 0, "end_timestamp": 10**13}
USDC = {"currency": "USDC"}


class World:
    """An account with fills, resting orders, a stop that fired, a settlement behind it and a slot beside it."""

    def __init__(self) -> None:
        self.trader = trader = new_trader(permissions=("view", "trade", "transfer"))
        trader.venue.gateway.credits.enabled = False
        trader.fill(amount=0.1, label="x")
        trader.order("sell", price=84500, post_only=True, label="x")
        self._a_stop_fires()
        trader.venue.wait(2 * 86_400)
        trader.market("84000.0", prints=(Print("sell", Decimal(84000), Decimal(1)),))
        trader.auth()
        self.socket = trader.open()
        self.subscribed = self.over_socket("private/subscribe", channels=list(USER_CHANNELS))
        self.streams = trader.open("streams")
        self.streams.call("public/subscribe", channels=list(MARKET_CHANNELS))
        self._today()

    def _a_stop_fires(self) -> None:
        trader = self.trader
        trader.order("sell", type="stop_market", trigger="mark_price", trigger_price=83900, price=None, post_only=None)
        trader.order("sell", type="stop_limit", trigger="mark_price", trigger_price=83900, price=83800, post_only=False)
        trader.market("83890.0", prints=(Print("buy", Decimal(83890), Decimal(1)),))
        trader.market("84000.0", prints=(Print("sell", Decimal(84000), Decimal(1)),))

    def _today(self) -> None:
        trader = self.trader
        trader.fill(amount=0.05, isolated=True, allocated_margin=500)
        self.bought = self.answer("private/buy", instrument_name=BTC, amount=0.1, type="market", label="x")
        self.stopped = self.answer(
            "private/sell",
            instrument_name=BTC,
            amount=0.01,
            type="stop_market",
            reduce_only=True,
            trigger="mark_price",
            trigger_price=83000,
        )
        self.resting = self.answer("private/buy", instrument_name=BTC, amount=0.01, price=83500, post_only=True)
        self.sold = self.answer("private/sell", instrument_name=BTC, amount=0.01, price=84900, post_only=True)
        self.id = self.resting["result"]["order"]["order_id"]
        self.edited = self.answer("private/edit", order_id=self.id, amount=0.02, price=83400, post_only=True)
        self.cancelled = self.answer("private/cancel", order_id=self.sold["result"]["order"]["order_id"])
        trader.market("84010.0", prints=(Print("buy", Decimal(84010), Decimal(1)),))
        trader.venue.exchange.deposit(1, Decimal(100), trader.venue.exchange.now)
        trader.venue.exchange.deleverage(1, BTC, Decimal("0.01"), trader.venue.exchange.now)
        (slot,) = trader.venue.exchange.slot_ids(1)
        self.moved = self.answer(
            "private/submit_transfer_between_subaccounts", **USDC, amount=1, destination=slot, nonce="once"
        )
        trader.http("private/set_leverage", instrument_name=BTC, leverage=25)
        trader.venue.gateway.announce("Release", "soon", important=True, wall_s=trader.venue.wall_s)
        trader.venue.exchange.lock_account(1, trader.venue.exchange.now, locked=True)
        trader.venue.exchange.lock_account(1, trader.venue.exchange.now, locked=False)
        trader.venue.exchange.set_book_state(BTC, "locked", trader.venue.exchange.now)
        trader.venue.exchange.set_book_state(BTC, "open", trader.venue.exchange.now)
        trader.venue.gateway.publish()
        trader.venue.gateway.let_strangers_in(True)
        trader.venue.wait(2)
        trader.auth()

    def answer(self, method: str, *, send_id: bool = True, **params: Any) -> Any:
        """The whole reply, as plain JSON, so that numbers are what a capture's numbers are."""
        body = {"jsonrpc": "2.0", "method": method, "params": params} | ({"id": 1} if send_id else {})
        headers = {"content-type": "application/json", "authorization": f"Bearer {self.trader.token}"}
        encoded = json.dumps(body).encode()
        return json.loads(self.trader.venue.http("POST", f"/api/v2/{method}", headers, encoded).body)

    def over_socket(self, method: str, **params: Any) -> Any:
        """The whole reply on the private socket."""
        before = len(self.socket.frames)
        result = self.socket.call(method, **params)
        reply = next(frame for frame in self.socket.frames[before:] if "id" in frame)
        assert reply["result"] == result
        return _plain(reply)

    def told(self, channel: str) -> Any:
        """The first whole notification of a channel."""
        return self._told(channel, lambda content: True)

    def told_change(self, channel: str) -> Any:
        """The first that is a change to what was told before."""
        return self._told(channel, lambda content: content["type"] == "change")

    def _told(self, channel: str, wanted: Callable[[Any], bool]) -> Any:
        socket: Socket = self.streams if channel in MARKET_CHANNELS else self.socket
        socket.take()
        for frame in socket.frames:
            params = frame.get("params", {})
            if params.get("channel") == channel and wanted(params["data"]):
                return _plain(frame)
        raise AssertionError(f"nothing was told on {channel}")

    def while_locked(self, method: str) -> Any:
        """An answer to a locked account."""
        exchange = self.trader.venue.exchange
        exchange.lock_account(1, exchange.now, locked=True)
        answer = self.answer(method)
        exchange.lock_account(1, exchange.now, locked=False)
        return answer

    def almost_all_logs(self) -> Any:
        """The transaction log but for its oldest row, so that it goes on."""
        whole = self.answer("private/get_transaction_log", **USDC, **WIDE)["result"]["logs"]
        return self.answer("private/get_transaction_log", **USDC, **WIDE, count=len(whole) - 1)

    def forced(self, kind: Any, *, taken: bool = False) -> Any:
        """A forced transfer as the liquidation channels tell it."""
        act = ForcedTransfer(900_001, BTC, kind, "sell", Decimal(1), Decimal(84_000), Decimal(2), taken)
        content = forced(act, "USDC", self.trader.venue.exchange.now)
        return _plain(rpc.notification("user.isolated.liquidation", content))

    def heartbeat(self) -> Any:
        self.streams.call("public/set_heartbeat", interval=10)
        for _ in range(3):
            self.streams.call("public/test")
            self.trader.venue.wait(5)
        self.streams.take()
        return next(f for f in self.streams.frames if f.get("params") == {"type": "test_request"})


def _plain(frame: Any) -> Any:
    return json.loads(json.dumps(frame, default=float))


USER_CHANNELS = (
    f"user.changes.{BTC}.raw",
    "user.changes.any.any.raw",
    f"user.orders.{BTC}.raw",
    f"user.orders.{BTC}.100ms",
    "user.orders.any.any.raw",
    "user.orders.any.any.100ms",
    f"user.trades.{BTC}.raw",
    "user.trades.any.any.raw",
    "user.portfolio.any",
    "user.lock",
    "user.access_log",
)
MARKET_CHANNELS = (
    "announcements",
    f"book.{BTC}.100ms",
    f"book.{BTC}.none.10.100ms",
    f"chart.trades.{BTC}.1",
    "deribit_price_index.btc_usdc",
    f"incremental_ticker.{BTC}",
    "instrument.state.any.any",
    f"perpetual.{BTC}.100ms",
    "platform_state",
    "platform_state.public_methods_state",
    f"quote.{BTC}",
    f"ticker.{BTC}.100ms",
    f"trades.{BTC}.100ms",
)
