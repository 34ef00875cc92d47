"""This file answers reads of orders and fills: one, lists with their filters, pages."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from perpctl.paper.advanced_trade.orders.rows import ADVANCED, Row, Seen, fill_row, order_row, trade_uuid
from perpctl.paper.advanced_trade.reading import Query, invalid, not_found
from perpctl.paper.types import Trade

if TYPE_CHECKING:
    from perpctl.paper.advanced_trade.face import Call

STATUSES = (
    "UNKNOWN_ORDER_STATUS", "PENDING", "OPEN", "FILLED", "CANCELLED", "EXPIRED", "FAILED", "QUEUED", "CANCEL_QUEUED",
    "EDIT_QUEUED",
)  # fmt: skip
LIVE = {"PENDING", "OPEN", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED", "UNKNOWN_ORDER_STATUS"}  # unknown: never here
MOST = 1000
FILLS = 100  # a page unless asked otherwise
T = TypeVar("T")


def get_order(call: Call) -> Row:
    seen = call.face.sight.order(call.account, call.words["id"], call.wall_s)
    if seen is None:
        raise not_found("order with this orderID")
    return {"order": order_row(seen)}


def list_orders(call: Call) -> Row:
    """Newest first. OPEN means OPEN: what is PENDING or QUEUED, and can be cancelled, is left out."""
    if _lacks_proof(call):
        return {"orders": [], "sequence": "0", "has_next": False, "cursor": "", "proof_token_required": True}
    wanted = _order_filter(call.query)
    statuses = call.query.words("order_status")
    live_only, among = bool(statuses) and set(statuses) <= LIVE, call.query.words("order_ids")
    found = call.face.sight.orders(call.account, call.wall_s, among=among, live_only=live_only)
    found = [seen for seen in found if wanted(seen)]
    _sort(found, call.query)
    shown, cursor = _page(found, call.query, lambda seen: (seen.order.created_ms, seen.order.order_id[-12:]), MOST)
    return {
        "orders": [order_row(seen) for seen in shown],
        "sequence": "0",
        "has_next": bool(cursor),
        "cursor": cursor,
        "proof_token_required": False,
    }


def _lacks_proof(call: Call) -> bool:
    token = call.face.sight.switches.proof_token
    return bool(token) and call.query.word("proof_token") != token


def _order_filter(query: Query) -> Callable[[Seen], bool]:
    statuses = query.words("order_status")
    if unknown := set(statuses) - set(STATUSES):
        raise invalid(f'parsing list "order_status": {min(unknown)} is not valid')
    source = query.word("order_placement_source", ("UNKNOWN_PLACEMENT_SOURCE", "RETAIL_SIMPLE", ADVANCED)) or ADVANCED
    side, kind = query.word("order_side", ("BUY", "SELL")), query.word("product_type")
    expiry, portfolio = query.word("contract_expiry_type"), query.word("retail_portfolio_id")
    start, end = query.when("start_date"), query.when("end_date")
    lists: list[tuple[list[str], Callable[[Seen], str]]] = [
        (query.words("order_ids"), lambda seen: seen.order.order_id),
        (query.words("product_ids") + query.words("product_id"), lambda seen: seen.order.product),
        (statuses, lambda seen: seen.status),
        (query.words("time_in_forces"), lambda seen: seen.in_force),
        (query.words("order_types") + query.words("order_type"), lambda seen: seen.order_type),
        (query.words("asset_filters"), lambda seen: seen.product.base),
        ([source] if source != "UNKNOWN_PLACEMENT_SOURCE" else [ADVANCED], lambda seen: seen.source),
        ([side] if side else [], lambda seen: seen.order.direction.upper()),
        ([portfolio] if portfolio else [], lambda seen: seen.portfolio),
        ([kind] if kind and not kind.startswith("UNKNOWN") else [], _kind),
        # A CDE perpetual counts as EXPIRING: asked for PERPETUAL, it is not there.
        ([expiry] if expiry and not expiry.startswith("UNKNOWN") else [], _expiry),
    ]

    def wanted(seen: Seen) -> bool:
        at_ms = seen.order.created_ms
        if (start is not None and at_ms < start) or (end is not None and at_ms >= end):
            return False
        return all(not chosen or of(seen) in chosen for chosen, of in lists)

    return wanted


def _kind(seen: Seen) -> str:
    return "FUTURE" if seen.product.kind == "future" else "SPOT"


def _expiry(seen: Seen) -> str:
    return "EXPIRING" if seen.product.kind == "future" else "UNKNOWN_CONTRACT_EXPIRY_TYPE"


def _sort(found: list[Seen], query: Query) -> None:
    match query.word("sort_by"):
        case "LIMIT_PRICE":
            found.sort(key=lambda seen: seen.order.price or 0, reverse=True)
        case "LAST_FILL_TIME":
            found.sort(key=lambda seen: seen.trades[-1].at_ms if seen.trades else 0, reverse=True)
        case "LAST_UPDATE_TIME":
            found.sort(key=lambda seen: seen.order.updated_ms, reverse=True)


def list_fills(call: Call) -> Row:
    """Newest first. Funding is not among them."""
    if _lacks_proof(call):
        return {"fills": [], "cursor": "", "proof_token_required": True}
    query = call.query
    start, end = query.when("start_sequence_timestamp"), query.when("end_sequence_timestamp")
    lists: list[tuple[list[str], Callable[[Trade], str]]] = [
        (query.words("order_ids") + query.words("order_id"), lambda trade: trade.order_id),
        (query.words("trade_ids"), trade_uuid),
        (query.words("product_ids") + query.words("product_id"), lambda trade: trade.product),
        (query.words("asset_filters"), lambda trade: call.exchange.product(trade.product).base),
        (query.words("order_side"), lambda trade: trade.direction.upper()),
    ]

    def wanted(trade: Trade) -> bool:
        if (start is not None and trade.at_ms < start) or (end is not None and trade.at_ms >= end):
            return False
        return all(not chosen or of(trade) in chosen for chosen, of in lists)

    found = [trade for trade in call.face.sight.fills(call.account, call.wall_s, start or 0) if wanted(trade)]
    if query.word("sort_by") == "PRICE":
        found.sort(key=lambda trade: trade.price, reverse=True)
    shown, cursor = _page(found, query, lambda trade: (trade.at_ms, f"{trade.trade_seq:015d}"), FILLS)
    rows = [fill_row(trade, call.exchange.product(trade.product), call.portfolio) for trade in shown]
    return {"fills": rows, "cursor": cursor}


def _page(found: list[T], query: Query, key: Callable[[T], tuple[int, str]], default: int) -> tuple[list[T], str]:
    """One page and the cursor of the next: the last row's age, or in another order than by age its place."""
    limit, after, by_age = query.whole("limit", MOST) or default, query.word("cursor"), query.word("sort_by") is None
    place = 0
    if after is not None:
        at_ms, name = _read_cursor(after)
        place = sum(key(row) >= (at_ms, name) for row in found) if by_age else at_ms
    shown = found[place : place + limit]
    if place + limit >= len(found) or not shown:
        return shown, ""
    last = key(shown[-1]) if by_age else (place + limit, "")
    return shown, base64.urlsafe_b64encode(f"{last[0]}:{last[1]}".encode()).decode()


def _read_cursor(text: str) -> tuple[int, str]:
    try:
        number, _, name = base64.urlsafe_b64decode(text.encode()).decode().partition(":")
        return int(number), name
    except ValueError as why:
        raise invalid("cursor is not valid") from why
