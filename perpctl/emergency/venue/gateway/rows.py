"""This file reads the gateway's JSON rows strictly: a listing with one bad row is no listing at all."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, TypeVar

from perpctl.emergency.venue.document import maybe, number
from perpctl.emergency.venue.port import Book, Execution, LabelledFill, Levels, Owner, Product, Ticker
from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderStatus, OrderType, Side
from perpctl.model.position import Position

SETTLEMENT_CURRENCY = "USDC"
T = TypeVar("T")
_AGREE = Decimal("0.02")  # mark moves between the moments at which the venue fills two members of one row


def read_order(row: dict[str, Any]) -> Order:
    """An order row. What the engine turned into a limit order counts as what was asked (`original_order_type`)."""
    trigger_price, price = row.get("trigger_price"), row.get("price")
    return Order(
        order_id=str(row["order_id"]),
        identity=str(row["label"]) if row.get("label") else None,
        product_id=str(row["instrument_name"]),
        side=Side(str(row["direction"]).upper()),
        type=_word(OrderType, row.get("original_order_type") or row["order_type"], OrderType.OTHER),
        status=_word(OrderStatus, row["order_state"], OrderStatus.UNKNOWN),
        size=number(row.get("amount", 0)),
        filled=number(row.get("filled_amount", 0)),
        price=None if isinstance(price, str) else maybe(price),
        average_price=maybe(row.get("average_price")),
        reduce_only=row.get("reduce_only") is True,
        post_only=row.get("post_only") is True,
        trigger_price=maybe(trigger_price),
        trigger=row.get("trigger"),
        created_ms=int(row.get("creation_timestamp", 0)),
        updated_ms=int(row.get("last_update_timestamp", 0)),
        slot=_slot(row),
        cancel_reason=row.get("cancel_reason"),
        origin=_origin(row),
    )


def read_position(row: dict[str, Any]) -> Position:
    """A position row: `size_currency` is base coin, `size` is notional (Coinbase gateway docs, isolated positions)."""
    coin, mark, quoted = maybe(row.get("size_currency")), maybe(row.get("mark_price")), number(row["size"])
    sign = {"buy": 1, "sell": -1, "zero": 0}[row["direction"]]
    size = Decimal(sign) * abs(quoted if coin is None else coin)
    if size == 0 and (quoted != 0 or coin):
        raise ValueError("direction zero with a size")
    return Position(
        product_id=str(row["instrument_name"]),
        slot=_slot(row),
        size=size,
        entry_price=maybe(row.get("average_price")),
        mark=mark,
        index=maybe(row.get("index_price")),
        notional=None if mark is None or coin is None else abs(coin) * mark,
        unrealized=maybe(row.get("floating_profit_loss")),
        realized=maybe(row.get("realized_profit_loss")),
        funding=maybe(row.get("realized_funding")),
        initial_margin=maybe(row.get("initial_margin")),
        maintenance_margin=maybe(row.get("maintenance_margin")),
        leverage=maybe(row.get("leverage")),
        units_agree=_units_agree(row["instrument_name"], coin, quoted, mark, sign, maybe(row.get("delta"))),
        at_ms=0,
        seen=0.0,
        underlying=_underlying(row),
    )


def _underlying(row: dict[str, Any]) -> str:
    """The coin that a product's name begins with."""
    return str(row["instrument_name"]).split("_")[0].split("-")[0]


def _units_agree(
    name: str, coin: Decimal | None, quoted: Decimal, mark: Decimal | None, sign: int, delta: Decimal | None
) -> bool:
    """Whether a size may be taken from the row: linear in USDC, and its members tell one story."""
    if "_USDC-" not in name or coin is None or mark is None or mark <= 0:
        return False
    if (coin < 0) != (sign < 0) and coin != 0:
        return False
    if delta is not None and abs(abs(delta) - abs(coin)) > abs(coin) * _AGREE:
        return False
    return abs(abs(quoted) - abs(coin) * mark) <= abs(coin) * mark * _AGREE


def read_owner(row: dict[str, Any]) -> Owner:
    """`get_account_summaries`: identity, money of the settlement currency, and whether margin is in use in any."""
    summaries = row["summaries"]
    main = next((summary for summary in summaries if summary["currency"] == SETTLEMENT_CURRENCY), None)
    if main is None:
        raise ValueError(f"no {SETTLEMENT_CURRENCY} summary")
    return Owner(
        str(row["id"]),
        row.get("username"),
        number(main["equity"]),
        sum((abs(number(summary["initial_margin"])) for summary in summaries), Decimal(0)),
        number(main["maintenance_margin"]),
        number(main["margin_balance"]),
        {str(each["currency"]): number(each["balance"]) for each in summaries if number(each["balance"]) != 0},
    )


def read_ticker(row: dict[str, Any]) -> Ticker:
    return Ticker(
        str(row["instrument_name"]),
        str(row["state"]),
        maybe(row.get("best_bid_price")) or None,
        maybe(row.get("best_ask_price")) or None,
        maybe(row.get("mark_price")),
        maybe(row.get("min_price")),
        maybe(row.get("max_price")),
    )


def read_execution(row: dict[str, Any]) -> Execution:
    fill = Fill(
        trade_id=str(row["trade_id"]),
        order_id=str(row["order_id"]),
        identity=str(row["label"]) if row.get("label") else None,
        product_id=str(row["instrument_name"]),
        side=Side(str(row["direction"]).upper()),
        size=number(row["amount"]),
        price=number(row["price"]),
        fee=number(row.get("fee", 0)),
        fee_currency=str(row.get("fee_currency", SETTLEMENT_CURRENCY)),
        liquidity=row.get("liquidity"),
        at_ms=int(row["timestamp"]),
        trade_seq=row.get("trade_seq"),
        slot=_slot(row),
        mark=maybe(row.get("mark_price")),
        index=maybe(row.get("index_price")),
    )
    return Execution(fill, maybe(row.get("profit_loss")))


def read_labelled_fill(row: dict[str, Any]) -> LabelledFill:
    sign = Side(str(row["direction"]).upper()).sign
    return LabelledFill(str(row["trade_id"]), int(row["trade_seq"]), sign * number(row["amount"]), row.get("label"))


def read_book(row: dict[str, Any]) -> Book:
    """`public/get_order_book`: levels, best first, beside the state and the band."""
    bids, asks = _levels(row["bids"]), _levels(row["asks"])
    ticker = Ticker(
        str(row["instrument_name"]),
        str(row["state"]),
        bids[0][0] if bids else None,
        asks[0][0] if asks else None,
        maybe(row.get("mark_price")),
        maybe(row.get("min_price")),
        maybe(row.get("max_price")),
    )
    return Book(ticker, bids, asks, int(number(row["timestamp"])))


def _levels(rows: Any) -> Levels:
    return tuple((number(row[0]), number(row[1])) for row in rows)


def read_product(row: dict[str, Any]) -> Product:
    return Product(
        product_id=str(row["instrument_name"]),
        underlying=_underlying(row),
        tick=number(row["tick_size"]),
        size_step=number(row.get("qty_tick_size", row["contract_size"])),
        taker_fee=maybe(row.get("taker_commission")),
    )


def _word(kind: Any, value: object, otherwise: T) -> T:
    try:
        return kind(str(value))  # type: ignore[no-any-return]
    except ValueError:
        return otherwise


def _slot(row: dict[str, Any]) -> int | None:
    """An isolated position lives in a subaccount of its own; 0 when its number was not sent."""
    return int(row.get("user_id", 0)) if row.get("isolated") is True else None


def _origin(row: dict[str, Any]) -> str | None:
    if row.get("is_liquidation") is True or row.get("order_type") == "liquidation":
        return "liquidation"
    return next((origin for origin in ("web", "mobile", "api") if row.get(origin) is True), None)
