"""This file reads Advanced Trade's JSON rows: decimals as text, contracts as base coin, "" for what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from perpctl.emergency.venue.dates import moment_ms
from perpctl.emergency.venue.document import Row
from perpctl.emergency.venue.port import Book, Execution, Levels, Owner, Product, Session, Ticker
from perpctl.model.fill import Fill
from perpctl.model.money import ZERO, parse_decimal
from perpctl.model.order import Order, OrderStatus, OrderType, Side
from perpctl.model.position import Position

CURRENCY = "USD"
_STATUSES = {
    **dict.fromkeys(("PENDING", "OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED"), OrderStatus.OPEN),
    "FILLED": OrderStatus.FILLED,
    "CANCELLED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.CANCELLED,
    "FAILED": OrderStatus.REJECTED,
}
_TRIGGERS = {"STOP_PENDING": OrderStatus.UNTRIGGERED, "STOP_TRIGGERED": OrderStatus.TRIGGERED}
_KINDS = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "sor": OrderType.LIMIT,
    "stop": OrderType.STOP_LIMIT,
    "trigger": OrderType.STOP_LIMIT,
}


def number(value: object) -> Decimal:
    """A finite number, as text or as JSON has it. Raises ValueError."""
    if not isinstance(value, str | int | Decimal):
        raise ValueError(f"{value!r} is not a number")
    return parse_decimal(value)


def maybe(value: object) -> Decimal | None:
    """None when it is absent or empty."""
    return None if value is None or value == "" else number(value)


def money(value: object) -> Decimal:
    """The amount in a money object, or the plain text that stands in its place."""
    return number(value["value"] if isinstance(value, dict) else value)


def is_future(row: Row) -> bool:
    """Whether an order or fill is of a future; a fill tells it by its product's name only."""
    kind = row.get("product_type")
    return bool(kind == "FUTURE") if kind in ("SPOT", "FUTURE") else str(row["product_id"]).endswith("-CDE")


def has_ended(row: Row) -> bool:
    """Whether an order can never fill any more; a status that is not known still can."""
    return _STATUSES.get(str(row["status"]), OrderStatus.UNKNOWN).is_terminal


def order_id(row: Row) -> str:
    return _text(row["order_id"])


def created_ms(row: Row) -> int:
    """When an order was made. Raises ValueError: without it nothing tells which orders a listing must reach back to."""
    at_ms = moment_ms(row["created_time"])
    if at_ms is None:
        raise ValueError("an order without a time")
    return at_ms


def moment_of(fill: Row) -> int:
    return moment_ms(fill["trade_time"]) or 0


def read_product(row: Row) -> Product:
    """The tick is `price_increment`; `quote_increment` is not it (captured)."""
    details = row["future_product_details"]
    contract, step = number(details["contract_size"]), number(row["base_increment"])
    if contract <= 0 or step <= 0:
        raise ValueError("a contract size or a step that is not positive")
    return Product(
        product_id=str(row["product_id"]),
        underlying=str(details["contract_root_unit"]),
        tick=number(row["price_increment"]),
        size_step=step * contract,
        taker_fee=None,  # a part of the fee is by contract, and told only in fills
        contract=contract,
    )


def read_state(row: Row) -> str:
    """The state of a product's book in the words of `port`."""
    session = row["fcm_trading_session_details"]
    if session["is_session_open"] is not True:
        return "halted"
    if row.get("cancel_only") is True:
        return "locked"
    return "inactive" if any(row.get(flag) is True for flag in ("is_disabled", "trading_disabled")) else "open"


def read_session(row: Row, now_ms: int) -> Session | None:
    """None while it is open. `closed_reason` is set while it is open too (captured), so it says nothing."""
    details = row["fcm_trading_session_details"]
    if details["is_session_open"] is True:
        return None
    planned = details.get("maintenance") or {}
    starts, ends = moment_ms(planned.get("start_time")), moment_ms(planned.get("end_time"))
    if starts is not None and ends is not None and starts <= now_ms < ends:
        return Session(str(row["product_id"]), ends)
    opens = moment_ms(details.get("open_time"))
    return Session(str(row["product_id"]), opens if opens is not None and opens > now_ms else None)


def read_book(row: Row, product: Product) -> Book:
    """`product_book`: sizes are contracts there. No mark, no band, and not whether it is open."""
    found = row["pricebook"]
    if found["product_id"] != product.product_id:
        raise ValueError(f"the answer speaks of {found['product_id']}")
    bids, asks = (_levels(found[side], product) for side in ("bids", "asks"))
    touch = [levels[0][0] if levels else None for levels in (bids, asks)]
    ticker = Ticker(product.product_id, "?", touch[0], touch[1], None, None, None)
    return Book(ticker, bids, asks, moment_ms(found["time"]) or 0)


def _levels(rows: list[Row], product: Product) -> Levels:
    contract = product.contract or ZERO
    return tuple((number(row["price"]), number(row["size"]) * contract) for row in rows)


def read_position(row: Row, product: Product) -> Position:
    """A CFM position in base coin; its price is the FCM's own. Raises ValueError: contracts, and neither side."""
    contracts = abs(number(row["number_of_contracts"]))
    side = {"LONG": 1, "SHORT": -1}.get(str(row["side"]).upper())
    if side is None and contracts:
        raise ValueError(f"{row['product_id']} is neither long nor short")
    size, price = contracts * (product.contract or ZERO) * (side or 0), maybe(row.get("current_price")) or None
    return Position(
        product_id=str(row["product_id"]),
        slot=None,
        size=size,
        entry_price=maybe(row.get("avg_entry_price")),
        mark=price,
        index=None,
        notional=None if price is None else abs(size) * price,
        unrealized=_plain_or_none(row.get("unrealized_pnl")),
        realized=_plain_or_none(row.get("daily_realized_pnl")),
        funding=None,
        initial_margin=_plain_or_none(row.get("im_contribution")),
        maintenance_margin=_plain_or_none(row.get("mm_contribution")),
        leverage=None,
        units_agree=contracts == contracts.to_integral_value(),
        at_ms=0,
        seen=0.0,
        underlying=product.underlying,
    )


def _plain_or_none(value: object) -> Decimal | None:
    return None if value is None or value == "" else money(value)


def read_order(row: Row, product: Product) -> Order:
    """One order of the historical endpoints. An order whose size cannot be read is `OTHER`: to be cancelled by id."""
    kind, terms = _configuration(row)
    contract, side = product.contract or ZERO, Side(str(row["side"]))
    filled, size = (maybe(row.get("filled_size")) or ZERO) * contract, maybe(terms.get("base_size"))
    stop = maybe(terms.get("stop_price")) or maybe(terms.get("stop_trigger_price"))
    created = created_ms(row)
    return Order(
        order_id=_text(row["order_id"]),
        identity=str(row["client_order_id"]) if row.get("client_order_id") else None,
        product_id=product.product_id,
        side=side,
        type=OrderType.OTHER if size is None else _type(kind, terms, side),
        status=_status(row),
        size=filled if size is None else size * contract,
        filled=filled,
        price=maybe(terms.get("limit_price")),
        average_price=maybe(row.get("average_filled_price")) or None,
        reduce_only=False,
        post_only=terms.get("post_only") is True,
        trigger_price=stop,
        trigger="last_price" if stop is not None else None,
        created_ms=created,
        updated_ms=moment_ms(row.get("last_update_time")) or moment_ms(row.get("last_fill_time")) or created,
        cancel_reason=str(row.get("cancel_message") or row.get("reject_message") or "") or None,
        origin=_origin(row),
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{value!r} is no id")
    return value


def _configuration(row: Row) -> tuple[str, Row]:
    found = row.get("order_configuration") or {}
    (kind, terms), *more = found.items() if found else (("", {}),)
    if more:
        raise ValueError("an order with several configurations")
    return str(kind), terms or {}


def _type(kind: str, terms: Row, side: Side) -> OrderType:
    """By the configuration; a stop that waits on the profitable side is a take-profit."""
    found = _KINDS.get(kind.partition("_")[0], OrderType.OTHER)
    if kind.startswith("stop"):
        rises = terms.get("stop_direction") == "STOP_DIRECTION_STOP_UP"
        return OrderType.STOP_LIMIT if rises == (side is Side.BUY) else OrderType.TAKE_LIMIT
    return found


def _status(row: Row) -> OrderStatus:
    status = _STATUSES.get(str(row["status"]), OrderStatus.UNKNOWN)
    return _TRIGGERS.get(str(row.get("trigger_status")), status) if status is OrderStatus.OPEN else status


def _origin(row: Row) -> str | None:
    if row.get("is_liquidation") is True or row.get("order_type") == "LIQUIDATION":
        return "liquidation"
    return {"RETAIL_SIMPLE": "mobile", "RETAIL_ADVANCED": "api"}.get(str(row.get("order_placement_source")))


def read_execution(row: Row, product: Product, identity: str | None) -> Execution:
    """A fill under its `entry_id`: a `trade_id` repeats when the venue corrects itself. What it realised is unknown."""
    if row.get("size_in_quote") is True:
        raise ValueError("a fill of a future counts in money")
    sign = -1 if row.get("trade_type") == "REVERSAL" else 1
    fill = Fill(
        trade_id=_text(row["entry_id"]),
        order_id=_text(row["order_id"]),
        identity=identity,
        product_id=str(row["product_id"]),
        side=Side(str(row["side"])),
        size=sign * number(row["size"]) * (product.contract or ZERO),
        price=number(row["price"]),
        fee=sign * number(row["commission"]),
        fee_currency=CURRENCY,
        liquidity={"MAKER": "M", "TAKER": "T"}.get(str(row.get("liquidity_indicator"))),
        at_ms=moment_ms(row["trade_time"]) or 0,
    )
    return Execution(fill, None)


def read_owner(portfolio: str, summary: Row) -> Owner:
    """`cfm/balance_summary`: the money at the FCM; spot dollars are named beside it."""
    cash, unrealized = money(summary["cfm_usd_balance"]), money(summary["unrealized_pnl"])
    balances = {"USD at the FCM": cash, "USD in spot": money(summary.get("cbi_usd_balance") or "0")}
    return Owner(
        account_id=portfolio,
        username=None,
        equity=cash + unrealized,
        initial_margin=money(summary["initial_margin"]),
        maintenance_margin=money(summary["liquidation_threshold"]),
        margin_balance=money(summary["available_margin"]),
        balances={name: amount for name, amount in balances.items() if amount},
        hold=money(summary["total_open_orders_hold_amount"]),
    )


def reason_of(answer: Mapping[str, object]) -> str:
    """The most specific reason of a refused create or close (HTTP 200, success false)."""
    error = answer.get("error_response")
    error = error if isinstance(error, dict) else {}
    names = ("preview_failure_reason", "new_order_failure_reason", "error")
    given = [str(error.get(name) or "") for name in names] + [str(answer.get("failure_reason") or "")]
    telling = [one for one in given if one and not one.startswith("UNKNOWN_")]
    return (telling or ["UNKNOWN_FAILURE_REASON"])[0].removeprefix("PREVIEW_")
