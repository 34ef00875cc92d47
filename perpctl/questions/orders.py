"""This file answers what is working at the venue, what filled, and the whole story of one order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import from_ms, to_ms
from perpctl.model import identity
from perpctl.model.fill import Fill
from perpctl.model.instrument import Instrument
from perpctl.model.order import Order, OrderType, is_protective
from perpctl.model.position import Position
from perpctl.questions import figures
from perpctl.questions.venue import watched
from perpctl.results import Answer, Block, Column, Json, Line, Next, Row, Table, Tone

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
    products = {one.product_id: one for one in await exchange.instruments()}
    usual = exchange.terms.stop.type
    rows = tuple(_row(desk, order, positions, now_ms, products.get(order.product_id), usual) for order in orders)
    foreign = sum(owner(desk, order.identity) == "NOT OURS" for order in orders)
    name = desk.settings.profile
    told, awaited = watched.lines(desk, exchange.terms, now_ms)
    view: tuple[Block, ...] = (
        Table(_columns(orders), rows, "no order is working at the venue"),
        Line(""),
        Line(_count(orders, positions) + (f"; {foreign} NOT OURS" if foreign else "")),
        *told,
        Next(_after(name, orders)),
    )
    facts: dict[str, Json] = {"orders": [_facts(desk, order, positions) for order in orders], "watched": awaited}
    standing = desk.standing(source="venue over HTTP", age_s=0.0)
    return Answer("perpctl.orders/1", await desk.scope(), facts, view, records="orders", standing=standing)


def _after(name: str, orders: tuple[Order, ...]) -> tuple[str, ...]:
    if not orders:
        return ()
    return (f"perpctl -p {name} orders trace {orders[0].order_id}", f"perpctl -p {name} cancel-all --dry-run")


_COLUMNS = (
    Column("product", "PRODUCT"),
    Column("kind", "KIND"),
    Column("side", "SIDE"),
    Column("size", "SIZE", True),
    Column("price", "PRICE", True),
    Column("filled", "FILLED", True),
    Column("age", "AGE", True),
    Column("owner", "OWNER"),
    Column("id", "ID"),
)
_ENDS = Column("ends", "ENDS IN", True)


def _columns(orders: Sequence[Order]) -> tuple[Column, ...]:
    """With when they end by themselves, where any does."""
    return (*_COLUMNS[:7], _ENDS, *_COLUMNS[7:]) if any(order.ends_ms for order in orders) else _COLUMNS


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
    entries = figures.count(len(orders) - stops, "entry", "entries")
    return f"{len(orders)} working: {entries}, {figures.count(stops, 'protective stop')}"


def _kind_words(order: Order, positions: tuple[Position, ...], usual_stop: OrderType) -> str:
    """What it is for, and its type where that does not follow."""
    what = kind(order, positions)
    usual = {"entry": OrderType.LIMIT, "stop": usual_stop}[what]
    return what if order.type is usual else f"{what} {order.type.value}"


def _row(
    desk: Desk,
    order: Order,
    positions: tuple[Position, ...],
    now_ms: int,
    instrument: Instrument | None,
    usual_stop: OrderType,
) -> Row:
    price = order.trigger_price if order.is_trigger else order.price
    whose = owner(desk, order.identity)
    base, decimals, of_price = "?", 4, 2
    if instrument is not None:
        base, decimals, of_price = instrument.base, instrument.size_decimals, instrument.price_decimals
    return Row(
        {
            "product": order.product_id if order.slot is None else f"{order.product_id} iso {order.slot}",
            "side": order.side.value,
            "size": figures.size(order.size, base, decimals, signed=False),
            "price": "market" if price is None else figures.price(price, of_price),
            "filled": "0" if order.filled == 0 else f"{order.filled:.{decimals}f}",
            "age": figures.age((now_ms - order.created_ms) / 1000),
            "ends": "never" if order.ends_ms is None else figures.age(max(0, order.ends_ms - now_ms) / 1000),
            "kind": _kind_words(order, positions, usual_stop),
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
        "ends_at": None if order.ends_ms is None else from_ms(order.ends_ms).isoformat(),
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
    products = {one.product_id: one for one in await exchange.instruments()}
    in_order = sorted(fills, key=lambda fill: (fill.at_ms, fill.product_id, fill.trade_seq or 0))
    rows = tuple(_fill_row(desk, fill, products.get(fill.product_id)) for fill in in_order)
    fees = ", ".join(f"{figures.money(fee)} {currency}" for currency, fee in _fees(fills).items())
    view = (
        Table(_FILL_COLUMNS, rows, f"no fill in the last {hours:g} h"),
        Line(""),
        Line(f"{figures.count(len(fills), 'fill')} in {hours:g} h" + (f", fees {fees}" if fees else "")),
    )
    facts: dict[str, Json] = {
        "hours": f"{hours:g}",
        "fees": {currency: figures.text(fee) for currency, fee in _fees(fills).items()},
        "fills": [_fill_facts(desk, fill) for fill in in_order],
    }
    standing = desk.standing(source="venue over HTTP", age_s=0.0)
    return Answer("perpctl.fills/1", await desk.scope(), facts, view, records="fills", standing=standing)


def _fees(fills: Sequence[Fill]) -> dict[str, Decimal]:
    """What was paid, by currency: unlike money is not added up."""
    sums: dict[str, Decimal] = {}
    for fill in fills:
        sums[fill.fee_currency] = sums.get(fill.fee_currency, Decimal(0)) + fill.fee
    return sums


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


def _fill_row(desk: Desk, fill: Fill, instrument: Instrument | None) -> Row:
    liquidity = {"M": "maker", "T": "taker"}.get(fill.liquidity or "", figures.MISSING)
    return Row(
        {
            "at": from_ms(fill.at_ms).strftime("%d %b %H:%M:%S"),
            "product": fill.product_id,
            "side": fill.side.value,
            "size": f"{fill.size:f}" if instrument is None else f"{fill.size:.{instrument.size_decimals}f}",
            "price": f"{fill.price:,f}" if instrument is None else figures.price(fill.price, instrument.price_decimals),
            "fee": f"{fill.fee:.4f} {fill.fee_currency}",
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
