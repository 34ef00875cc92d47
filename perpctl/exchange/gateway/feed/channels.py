"""This file names the channels we listen to, and subscribes with the answer compared to what was asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from perpctl.exchange.gateway import wire
from perpctl.exchange.gateway.rpc import Call, SocketRpc
from perpctl.exchange.port import FillSeen, OrderSeen, PositionSeen, SessionEvent

USER = "user"  # our word for everything the private socket tells of us
USER_CHANNELS = ("user.changes.any.any.raw", "user.isolated.changes.any.USDC.raw")
SUBSCRIBE_S = 3.0


def ticker_of(product_id: str) -> str:
    return f"ticker.{product_id}.100ms"


def book_of(product_id: str) -> str:
    return f"book.{product_id}.100ms"


def product_in(channel: str) -> str:
    """The product that a market channel speaks of."""
    return channel.split(".")[1]


def is_book(channel: str) -> bool:
    return channel.startswith("book.")


async def subscribe(rpc: SocketRpc, scope: str, channels: Sequence[str]) -> tuple[str, ...]:
    """The channels of these that the venue granted: it leaves out bad ones without a word.

    One call for all of them: subscribing has a small purse of its own. Raises NotSent, NoAnswer, RpcFailure.
    """
    granted = await rpc.call(Call(f"{scope}/subscribe", {"channels": tuple(channels)}, SUBSCRIBE_S))
    if not isinstance(granted, list):
        raise wire.Malformed("the list of granted channels is no list")
    return tuple(channel for channel in channels if channel in granted)


def told(message: dict[str, Any]) -> tuple[str, wire.Row]:
    """Channel and content of a notification whose content is an object. Raises Malformed."""
    params = message.get("params")
    if type(params) is dict:  # nearly all messages are as they should be, and the feed is a hot path
        channel, data = params.get("channel"), params.get("data")
        if channel and type(channel) is str and type(data) is dict:
            return channel, data
    params = wire.row_of(params, "the notification")
    return wire.text(params, "channel"), wire.row_of(params.get("data"), "its content")


def user_events(row: wire.Row, at_ms: int, seen: float) -> list[SessionEvent]:
    """What a `user.changes` message tells: trades before the orders and positions that they made."""
    fills = [FillSeen(wire.fill(item)) for item in wire.rows_of(row.get("trades", []), "trades")]
    orders = [OrderSeen(wire.order(item)) for item in wire.rows_of(row.get("orders", []), "orders")]
    rows = wire.rows_of(row.get("positions", []), "positions")
    return [*fills, *orders, *(PositionSeen(wire.position(item, seen, at_ms)) for item in rows)]
