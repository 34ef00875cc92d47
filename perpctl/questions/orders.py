"""This file answers what is working at the venue, what filled, and the whole story of one order."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from perpctl.clock import from_ms, to_ms
from perpctl.model import identity
from perpctl.model.fill import Fill
from perpctl.model.order import Order, is_protective
from perpctl.model.position import Position
from perpctl.questions import figures
from perpctl.results import Answer, Column, Json, Line, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk


def owner(desk: Desk, label: str | None) -> str:
    """Whose order it is, by its identity alone: `ours`, `kill`, or `NOT OURS`."""
    if label is None:
        return "NOT OURS"
    if identity.is_kill(label):
        return "kill"
    return "ours" if identity.is_ours(desk.identity_key(), label) else "NOT OURS"


async def working(desk: Desk) -> Answer:
    """Every order at the venue that can still fill, whoever made it."""
    exchange = await desk.exchange()
    orders, positions = await asyncio.gather(exchange.open_orders(), exchange.positions())
    now_ms = await exchange.time_ms()
    rows = tuple(_row(desk, order, positions, now_ms) for order in orders)
    view = (
        Table(_COLUMNS, rows, "no order is working at the venue"),
        Line(""),
        Line(_count(orders, positions)),
    )
    facts: dict[str, Json] = {"orders": [_facts(desk, order, positions) for order in orders]}
    return Answer(
        "perpctl.orders/1", await desk.scope(), facts, view, records="orders", standing=desk.standing(source="venue")
    )


_COLUMNS = (
    Column("product", "PRODUCT"),
    Column("side", "SIDE"),
    Column("type", "TYPE"),
    Column("size", "SIZE", True),
    Column("price", "PRICE", True),
    Column("filled", "FILLED", True),
    Column("age", "AGE", True),
    Column("kind", "KIND"),
    Column("owner", "OWNER"),
    Column("id", "ID"),
)


def size_held(order: Order, positions: tuple[Position, ...]) -> Position | None:
    """The position that the order's product and slot hold."""
    same = (p for p in positions if (p.product_id, p.slot) == (order.product_id, order.slot))
    return next(same, None)


def kind(order: Order, positions: tuple[Position, ...]) -> str:
    """`stop` when it protects an open position, else `entry`."""
    position = size_held(order, positions)
    return "stop" if position is not None and is_protective(order, position.size) else "entry"


def _count(orders: tuple[Order, ...], positions: tuple[Position, ...]) -> str:
    stops = sum(kind(order, positions) == "stop" for order in orders)
    return f"{len(orders)} working: {len(orders) - stops} entries, {stops} protective stops"


def _row(desk: Desk, order: Order, positions: tuple[Position, ...], now_ms: int) -> Row:
    price = order.trigger_price if order.is_trigger else order.price
    whose = owner(desk, order.identity)
    return Row(
        {
            "product": order.product_id if order.slot is None else f"{order.product_id} iso {order.slot}",
            "side": order.side.value,
            "type": order.type.value,
            "size": f"{order.size:f}",
            "price": "market" if price is None else f"{price:,f}",
            "filled": f"{order.filled:f}",
            "age": figures.age((now_ms - order.created_ms) / 1000),
            "kind": kind(order, positions),
            "owner": whose if whose != "NOT OURS" else f"NOT OURS ({order.origin or 'origin not told'})",
            "id": order.order_id,
        },
        tone=Tone.WARN if whose == "NOT OURS" else Tone.PLAIN,
    )


def _facts(desk: Desk, order: Order, positions: tuple[Position, ...]) -> dict[str, Json]:
    return {
        "order_id": order.order_id,
        "client_order_id": order.identity,
        "product_id": order.product_id,
        "slot": order.slot,
        "side": order.side.value,
        "type": order.type.value,
        "status": order.status.value,
        "reduce_only": order.reduce_only,
        "post_only": order.post_only,
        "kind": kind(order, positions),
        "ours": owner(desk, order.identity) != "NOT OURS",
        "origin": order.origin,
        "trigger": order.trigger,
        "created_at": from_ms(order.created_ms).isoformat(),
        **figures.texts(
            [
                ("size", order.size),
                ("filled", order.filled),
                ("price", order.price),
                ("trigger_price", order.trigger_price),
                ("average_price", order.average_price),
            ]
        ),
    }


async def filled(desk: Desk, hours: float) -> Answer:
    """Every fill of the last `hours` at the venue, oldest first, with who made it."""
    exchange = await desk.exchange()
    since_ms = await exchange.time_ms() - to_ms(from_ms(0) + timedelta(hours=hours))
    fills = await exchange.fills(since_ms)
    rows = tuple(_fill_row(desk, fill) for fill in fills)
    fees = sum((fill.fee for fill in fills), start=fills[0].fee * 0) if fills else None
    view = (
        Table(_FILL_COLUMNS, rows, f"no fill in the last {hours:g} h"),
        Line(""),
        Line(
            f"{len(fills)} fills in {hours:g} h" + ("" if fees is None else f", fees {fees:f} {fills[0].fee_currency}")
        ),
    )
    facts: dict[str, Json] = {"hours": f"{hours:g}", "fills": [_fill_facts(desk, fill) for fill in fills]}
    return Answer(
        "perpctl.fills/1", await desk.scope(), facts, view, records="fills", standing=desk.standing(source="venue")
    )


_FILL_COLUMNS = (
    Column("at", "AT (UTC)"),
    Column("product", "PRODUCT"),
    Column("side", "SIDE"),
    Column("size", "SIZE", True),
    Column("price", "PRICE", True),
    Column("fee", "FEE", True),
    Column("liquidity", "LIQUIDITY"),
    Column("owner", "OWNER"),
    Column("id", "TRADE"),
)


def _fill_row(desk: Desk, fill: Fill) -> Row:
    liquidity = {"M": "maker", "T": "taker"}.get(fill.liquidity or "", figures.MISSING)
    return Row(
        {
            "at": from_ms(fill.at_ms).strftime("%d %b %H:%M:%S"),
            "product": fill.product_id,
            "side": fill.side.value,
            "size": f"{fill.size:f}",
            "price": f"{fill.price:,f}",
            "fee": f"{fill.fee:f} {fill.fee_currency}",
            "liquidity": "LIQUIDATION" if fill.liquidation else liquidity,
            "owner": owner(desk, fill.identity),
            "id": fill.trade_id,
        }
    )


def _fill_facts(desk: Desk, fill: Fill) -> dict[str, Json]:
    return {
        "trade_id": fill.trade_id,
        "order_id": fill.order_id,
        "client_order_id": fill.identity,
        "product_id": fill.product_id,
        "slot": fill.slot,
        "side": fill.side.value,
        "fee_currency": fill.fee_currency,
        "liquidity": fill.liquidity,
        "liquidation": fill.liquidation,
        "ours": owner(desk, fill.identity) != "NOT OURS",
        "at": from_ms(fill.at_ms).isoformat(),
        **figures.texts([("size", fill.size), ("price", fill.price), ("fee", fill.fee)]),
    }
