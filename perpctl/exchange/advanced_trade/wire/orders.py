"""This file reads orders and fills, in contracts at the venue and in base coin here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal

from perpctl.exchange.advanced_trade.wire import words
from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.both.document import Malformed, Row, row_of, text
from perpctl.model.fill import Fill
from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderStatus, OrderType, Side, TimeInForce

_STATUSES = {
    **dict.fromkeys(("PENDING", "OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED"), OrderStatus.OPEN),
    "FILLED": OrderStatus.FILLED,
    "CANCELLED": OrderStatus.CANCELLED,
    "EXPIRED": OrderStatus.CANCELLED,
    "FAILED": OrderStatus.REJECTED,
}
_TRIGGERS = {"STOP_PENDING": OrderStatus.UNTRIGGERED, "STOP_TRIGGERED": OrderStatus.TRIGGERED}
_TIMES = {
    "GOOD_UNTIL_CANCELLED": TimeInForce.GTC,
    "GOOD_UNTIL_DATE_TIME": TimeInForce.GTD,
    "IMMEDIATE_OR_CANCEL": TimeInForce.IOC,
    "FILL_OR_KILL": TimeInForce.FOK,
}
_KINDS = {
    "market": OrderType.MARKET,
    "limit": OrderType.LIMIT,
    "sor": OrderType.LIMIT,
    "stop": OrderType.STOP_LIMIT,
    "trigger": OrderType.STOP_LIMIT,
}
_WORDS = {
    "Market": OrderType.MARKET,
    "Limit": OrderType.LIMIT,
    "Stop Limit": OrderType.STOP_LIMIT,
    "Bracket": OrderType.STOP_LIMIT,
}
_REASONS = ("reject_message", "cancel_message")
LAST_PRICE = "last_price"


def order(row: Row, unit: Contract) -> Order:
    """One order of the historical endpoints. `reduce_only` is False: the venue has no such thing (see `standing`)."""
    kind, terms = _configuration(row)
    status, filled = _status(row), unit.coin(words.number(row, "filled_size") or ZERO)
    created = words.need_moment(row, "created_time")
    updated = words.moment(row, "last_update_time") or words.moment(row, "last_fill_time") or created
    stop = words.price(terms, "stop_price") or words.price(terms, "stop_trigger_price")
    return Order(
        order_id=text(row, "order_id"),
        identity=words.word(row, "client_order_id"),
        product_id=text(row, "product_id"),
        side=words.side(row),
        type=_type(kind, terms, words.side(row), row),
        status=status,
        size=_size(terms, unit, status, filled),
        filled=filled,
        price=words.price(terms, "limit_price"),
        average_price=words.price(row, "average_filled_price") if filled else None,
        reduce_only=False,
        post_only=terms.get("post_only") is True,
        trigger_price=stop,
        trigger=LAST_PRICE if stop is not None else None,
        created_ms=created,
        updated_ms=updated,
        time_in_force=_TIMES.get(str(row.get("time_in_force"))),
        ends_ms=words.moment(terms, "end_time"),
        cancel_reason=_reason(row),
        origin=_origin(row),
    )


def _configuration(row: Row) -> tuple[str, Row]:
    """(the configuration's key, its members); ("", nothing) when the venue sent none."""
    found = row.get("order_configuration")
    if found is None or found == {}:
        return "", {}
    pairs = list(row_of(found, "order_configuration").items())
    if len(pairs) != 1:
        raise Malformed(f"order {row.get('order_id')}: it has {len(pairs)} configurations")
    return pairs[0][0], row_of(pairs[0][1], pairs[0][0])


def _status(row: Row) -> OrderStatus:
    status = _STATUSES.get(text(row, "status"), OrderStatus.UNKNOWN)
    return _TRIGGERS.get(str(row.get("trigger_status")), status) if status is OrderStatus.OPEN else status


def _type(kind: str, terms: Row, side: Side, row: Row) -> OrderType:
    """By the configuration; a stop that waits on the profitable side is a take-profit."""
    found = _KINDS.get(kind.partition("_")[0])
    if found is OrderType.STOP_LIMIT and kind.startswith("stop"):
        rises = terms.get("stop_direction") == "STOP_DIRECTION_STOP_UP"
        return OrderType.STOP_LIMIT if rises == (side is Side.BUY) else OrderType.TAKE_LIMIT
    return found or (OrderType.MARKET if row.get("order_type") == "MARKET" else OrderType.OTHER)


def _size(terms: Row, unit: Contract, status: OrderStatus, filled: Decimal) -> Decimal:
    size = words.number(terms, "base_size")
    if size is not None:
        return unit.coin(size)
    if status.is_terminal:
        return filled  # asked for in money, or by nobody: what was filled is all there is to it
    raise Malformed("an order that can still fill does not say how much")


def _reason(row: Row) -> str | None:
    if row.get("status") == "EXPIRED":
        return "expired"
    told = next((found for name in _REASONS if (found := words.word(row, name)) is not None), None)
    reason = words.word(row, "reject_reason")
    return told or (reason if reason and not reason.endswith("UNSPECIFIED") else None)


def _origin(row: Row) -> str | None:
    if row.get("is_liquidation") is True or row.get("order_type") == "LIQUIDATION":
        return "liquidation"
    source = words.word(row, "order_placement_source")
    return {"RETAIL_SIMPLE": "mobile", "RETAIL_ADVANCED": "api"}.get(source or "")


def pushed(row: Row, unit: Contract, at_ms: int) -> Order:
    """One order of the user channel, told at `at_ms`: cumulative, with title-case words; prices may be absent."""
    status, filled = _status(row), unit.coin(words.need_number(row, "cumulative_quantity"))
    left = unit.coin(words.number(row, "leaves_quantity") or ZERO)
    created = words.need_moment(row, "creation_time")
    stop = words.price(row, "stop_price")
    reasons = (words.word(row, "cancel_reason"), words.word(row, "reject_reason"))
    return Order(
        order_id=text(row, "order_id"),
        identity=words.word(row, "client_order_id"),
        product_id=text(row, "product_id"),
        side=words.side(row, "order_side"),
        type=_WORDS.get(str(row.get("order_type")), OrderType.OTHER),
        status=status,
        size=filled + left,
        filled=filled,
        price=words.price(row, "limit_price"),
        average_price=words.price(row, "avg_price") if filled else None,
        reduce_only=False,
        post_only=str(row.get("post_only")).lower() == "true",
        trigger_price=stop,
        trigger=LAST_PRICE if stop is not None else None,
        created_ms=created,
        updated_ms=max(at_ms, created),
        time_in_force=_TIMES.get(str(row.get("time_in_force"))),
        ends_ms=words.moment(row, "end_time"),
        cancel_reason="expired" if row.get("status") == "EXPIRED" else next(filter(None, reasons), None),
    )


# --- fills -----------------------------------------------------------------------------------------------------------


def fill(row: Row, unit: Contract, identity: str | None) -> Fill:
    """One row of the fills, under its `entry_id`: a `trade_id` repeats when the venue corrects itself."""
    if row.get("size_in_quote") is True:
        raise Malformed("a fill of a future counts in money")
    return Fill(
        trade_id=text(row, "entry_id"),
        order_id=text(row, "order_id"),
        identity=identity,
        product_id=text(row, "product_id"),
        side=words.side(row),
        size=unit.coin(words.need_number(row, "size")),
        price=words.need_number(row, "price"),
        fee=words.need_number(row, "commission"),
        fee_currency="USD",
        liquidity={"MAKER": "M", "TAKER": "T"}.get(str(row.get("liquidity_indicator"))),
        at_ms=words.need_moment(row, "trade_time"),
    )


def applied(rows: Sequence[Row], read: Mapping[str, Fill]) -> list[Fill]:
    """Fills with the venue's own corrections in them, each under an id that never changes its meaning.

    `rows` are fill documents and `read` the same by entry id. A REVERSAL books the opposite; a CORRECTION that no
    REVERSAL goes before takes the first one back itself. So what was booked once is never un-booked, only offset.
    """
    found: dict[str, Fill] = {}
    reversed_trades = {str(row.get("trade_id")) for row in rows if row.get("trade_type") == "REVERSAL"}
    first_of: dict[str, str] = {}
    for row in sorted(rows, key=lambda row: (words.need_moment(row, "trade_time"), text(row, "entry_id"))):
        entry, trade = text(row, "entry_id"), str(row.get("trade_id"))
        one = read[entry]
        match row.get("trade_type", "FILL"):
            case "FILL" | "SYNTHETIC" | "UNKNOWN_TRADE_TYPE":
                found.setdefault(entry, one)
                first_of.setdefault(trade, entry)
            case "REVERSAL":
                found.setdefault(entry, _opposite(one, entry))
            case "CORRECTION":
                original = first_of.get(trade)
                if original is not None and trade not in reversed_trades:
                    taken_back = _opposite(found[original], f"{original}~corrected")
                    found.setdefault(taken_back.trade_id, replace(taken_back, at_ms=one.at_ms))
                found.setdefault(entry, one)
            case other:
                raise Malformed(f"trade_type is {str(other)[:40]!r}")
    return list(found.values())


def _opposite(one: Fill, name: str) -> Fill:
    return replace(one, trade_id=name, side=one.side.opposite, fee=-one.fee)
