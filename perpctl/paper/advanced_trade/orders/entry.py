"""This file enters, previews, changes, cancels and closes: the answers are HTTP 200 also when the venue says no."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from perpctl.paper.advanced_trade.listing import contracts, moment, text
from perpctl.paper.advanced_trade.orders.admission import FUNDS, Reason, from_core, judge
from perpctl.paper.advanced_trade.orders.configuration import CONFIGURATIONS, Wish, configuration_of, read_configuration
from perpctl.paper.advanced_trade.orders.rows import SIMPLE, Row, commission_row
from perpctl.paper.advanced_trade.reading import FLAG, TEXT, TEXTS, ApiError, HttpWait, invalid, number
from perpctl.paper.types import Edit, NewOrder, Order, Product, Rejected

if TYPE_CHECKING:
    from perpctl.paper.advanced_trade.face import AdvancedTrade, Call

ZERO = Decimal(0)
MOST_CANCELS = 100  # changelog of 16 January 2024
LONGEST_ID = 128
SILENT_S = 30.0  # an empty list of ids seems to hang (hummingbot): nothing is answered for so long
_NO_REASON = "UNKNOWN_FAILURE_REASON"
_ATTACHED = {"trigger_bracket_gtc": CONFIGURATIONS["trigger_bracket_gtc"]}

_PREVIEW = {
    "product_id": TEXT,
    "side": TEXT,
    "order_configuration": CONFIGURATIONS,
    "leverage": TEXT,
    "margin_type": TEXT,
    "retail_portfolio_id": TEXT,
    "attached_order_configuration": _ATTACHED,
    "sor_preference": TEXT,
    "cost_basis_method": TEXT,
    "prediction_metadata": {},
    "self_trade_prevention_id": TEXT,
}
SCHEMAS: dict[str, dict[str, Any]] = {
    "create": {**_PREVIEW, "client_order_id": TEXT, "preview_id": TEXT},
    "preview": _PREVIEW,
    "cancel": {"order_ids": TEXTS},
    "edit": {
        "order_id": TEXT,
        "price": TEXT,
        "size": TEXT,
        "stop_price": TEXT,
        "attached_order_configuration": _ATTACHED,
        "cancel_attached_order": FLAG,
    },
    "close": {"client_order_id": TEXT, "product_id": TEXT, "size": TEXT},
}


def create(call: Call) -> Row:
    """A re-used client_order_id makes no second order: the first is returned as if it were this one."""
    body = call.body(SCHEMAS["create"])
    client_id = _client_id(body)
    kind, terms = read_configuration(body.get("order_configuration"))
    first = call.face.sight.by_label(call.account, client_id)
    if first is not None:
        return _created(first, call.exchange.product(first.product))
    _own_portfolio(call, body)
    wish = Wish(body.get("product_id", ""), body.get("side", ""), kind, terms, client_id, _attached_terms(body))
    reasons = _margin_words(body) or judge(call.face, call.account, wish)
    if reasons:
        return _refused(reasons[0], {kind: terms})
    return _enter(call, wish, {kind: terms})


def _client_id(body: Row) -> str:
    client_id = str(body.get("client_order_id", ""))
    if not client_id:
        raise invalid("client_order_id is required")
    if len(client_id) > LONGEST_ID:
        raise invalid(f"client_order_id must have at most {LONGEST_ID} characters")
    return client_id


def _own_portfolio(call: Call, body: Row) -> None:
    wanted = body.get("retail_portfolio_id")
    if wanted and wanted != call.portfolio:
        raise ApiError(403, "PERMISSION_DENIED", "account is not available")


def _margin_words(body: Row) -> list[Reason]:
    """Leverage and isolation are INTX's: here the FCM sets margin, and `leverage` means nothing."""
    if body.get("margin_type") == "ISOLATED":
        return [Reason("INVALID_MARGIN_TYPE", "INVALID_MARGIN_TYPE", "isolated margin is not offered")]
    leverage = body.get("leverage")
    if leverage and number(leverage) is None:
        return [Reason("INVALID_LEVERAGE", "INVALID_LEVERAGE", "leverage is no number")]
    return []


def _attached_terms(body: Row) -> Row | None:
    """The bracket that comes along; only one kind is known."""
    attached = body.get("attached_order_configuration") or {}
    terms: Row | None = attached.get("trigger_bracket_gtc")
    return terms


def _enter(call: Call, wish: Wish, echo: Row) -> Row:
    product = call.exchange.product(wish.product_id)
    try:
        placed = call.exchange.place(call.account, wish.new_order(product), call.now)
    except Rejected as no:
        return _refused(from_core(no), echo)
    call.face.sight.accepted(placed.order, call.wall_s)
    return _created(placed.order, product, echo)


def from_the_app(face: AdvancedTrade, account: int, body: Row) -> Row:
    """An order of the same account that came through the simple app: product_id, side, order_configuration."""
    kind, terms = read_configuration(body.get("order_configuration"))
    wish = Wish(str(body.get("product_id", "")), str(body.get("side", "")), kind, terms, str(uuid.uuid4()))
    reasons = judge(face, account, wish)
    if reasons:
        return _refused(reasons[0], {kind: terms})
    product = face.exchange.product(wish.product_id)
    new = replace(wish.new_order(product), origin=SIMPLE)
    try:
        return _created(face.exchange.place(account, new, face.exchange.now).order, product)
    except Rejected as no:
        return _refused(from_core(no), {kind: terms})


def _created(order: Order, product: Product, echo: Row | None = None) -> Row:
    return {
        "success": True,
        "failure_reason": _NO_REASON,
        "order_id": order.order_id,
        "success_response": {
            "order_id": order.order_id,
            "product_id": order.product,
            "side": order.direction.upper(),
            "client_order_id": order.label,
            "attached_order_id": next(iter(order.oto_order_ids), ""),
        },
        "order_configuration": echo or configuration_of(order, product),
    }


def _refused(reason: Reason, echo: Row | None) -> Row:
    return {
        "success": False,
        "failure_reason": _NO_REASON,
        "order_id": "",
        "error_response": {
            "error": reason.order,
            "message": reason.message,
            "error_details": reason.message,
            "preview_failure_reason": reason.preview_word,
            "new_order_failure_reason": reason.order,
        },
        "order_configuration": echo,
    }


def close_position(call: Call) -> Row:
    """A market order of the whole position, or of `size` contracts of it. It is no reduce-only order: it can race."""
    body = call.body(SCHEMAS["close"])
    client_id, name = _client_id(body), str(body.get("product_id", ""))
    first = call.face.sight.by_label(call.account, client_id)
    if first is not None:
        return _created(first, call.exchange.product(first.product))
    product = call.exchange.products.get(name)
    if product is None:
        return _refused(Reason("INVALID_PRODUCT_ID", "INVALID_PRODUCT_ID", f"no such product: {name}"), None)
    held = contracts(product, call.exchange.position(call.account, name).size)
    size = number(body["size"]) if body.get("size") else abs(held)
    if not held:
        return _refused(Reason("INVALID_ORDER_CONFIG", "INVALID_REQUEST", "there is no open position"), None)
    terms = {"base_size": text(size)}
    echo = {"market_market_ioc": terms}
    if size is not None and size > abs(held):
        return _refused(Reason("INVALID_BASE_SIZE_TOO_LARGE", "INVALID_REQUEST", "larger than the position"), echo)
    wish = Wish(name, "SELL" if held > 0 else "BUY", "market_market_ioc", terms, client_id)
    reasons = judge(call.face, call.account, wish)
    return _refused(reasons[0], echo) if reasons else _enter(call, wish, echo)


def batch_cancel(call: Call) -> Row:
    """Success means that the request to cancel was accepted, and still carries a failure reason."""
    ids = call.body(SCHEMAS["cancel"]).get("order_ids", [])
    if not ids or not all(ids):
        raise HttpWait(SILENT_S)
    if len(ids) > MOST_CANCELS:
        raise ApiError(400, "InvalidArgument", f"Too many orderIDs entered, limit is {MOST_CANCELS}")
    rows = [_cancel_row(call, order_id) for order_id in ids]
    queued = [call.face.sight.cancelling(call.account, row["order_id"]) for row in rows if row["success"]]
    call.face.retell([order for order in queued if order is not None])
    return {"results": rows}


def _cancel_row(call: Call, order_id: str) -> Row:
    reason = call.face.sight.ask_cancel(call.account, order_id, call.wall_s)
    return {
        "success": reason is None,
        "failure_reason": reason or "UNKNOWN_CANCEL_FAILURE_REASON",
        "order_id": order_id,
    }


# -- edits


def edit(call: Call) -> Row:
    """Price and size both count: a missing one is read as zero."""
    body = call.body(SCHEMAS["edit"])
    reason, change, order = _judged_edit(call, body)
    if reason is None and order is not None:
        try:
            call.exchange.edit(call.account, order.order_id, change, call.now)
        except Rejected as no:
            reason = ("COMMANDER_REJECTED_EDIT_ORDER", from_core(no).preview_word)
    if reason is not None or order is None:
        edit_word, preview_word = reason or ("ORDER_NOT_FOUND", "UNKNOWN_PREVIEW_FAILURE_REASON")
        return {
            "success": False,
            "errors": [{"edit_failure_reason": edit_word, "preview_failure_reason": preview_word}],
        }
    row = {"price": body.get("price", ""), "size": body.get("size", ""), "replace_accept_timestamp": moment(call.now)}
    call.face.note_edit(order.order_id, row)
    return {"success": True, "errors": []}


def edit_preview(call: Call) -> Row:
    body = call.body(SCHEMAS["edit"])
    reason, change, order = _judged_edit(call, body)
    answer: Row = {"errors": []}
    if reason is not None or order is None:
        edit_word, preview_word = reason or ("ORDER_NOT_FOUND", "UNKNOWN_PREVIEW_FAILURE_REASON")
        answer["errors"] = [{"edit_failure_reason": edit_word, "preview_failure_reason": preview_word}]
    names = ("slippage", "order_total", "commission_total", "quote_size", "base_size", "best_bid", "best_ask")
    answer |= dict.fromkeys((*names, "average_filled_price"), "")
    if order is not None:
        product = call.exchange.product(order.product)
        view = call.exchange.ticker(product.name)
        amount, price = change.amount or order.amount, change.price or order.price or ZERO
        fee = call.exchange.margins(call.account, product.name, order.amount, price).taker_fee
        answer |= {
            "slippage": "0",
            "order_total": text(amount * price + fee),
            "commission_total": text(fee),
            "quote_size": text(amount * price),
            "base_size": text(contracts(product, amount)),
            "best_bid": text(view.best_bid_price),
            "best_ask": text(view.best_ask_price),
            "average_filled_price": "0",
        }
    return answer


_Why = tuple[str, str] | None


def _judged_edit(call: Call, body: Row) -> tuple[_Why, Edit, Order | None]:
    """(why not, the change, the order)."""
    none, nothing = "UNKNOWN_PREVIEW_FAILURE_REASON", Edit()
    seen = call.face.sight.order(call.account, str(body.get("order_id", "")), call.wall_s)
    if seen is None:
        return ("ORDER_NOT_FOUND", none), nothing, None
    order, product = seen.order, seen.product
    if not order.is_live:
        return ("ONLY_OPEN_ORDERS_CAN_BE_EDITED", none), nothing, order
    if seen.pending_cancel:
        return ("COMMANDER_REJECTED_EDIT_ORDER", "PREVIEW_ORDER_IS_PENDING_CANCEL"), nothing, order
    if order.end_ms is not None or order.time_in_force != "good_til_cancelled" or order.original_order_type:
        return ("ONLY_LIMIT_ORDER_EDITS_SUPPORTED", none), nothing, order
    price, size = number(body.get("price")) or ZERO, number(body.get("size")) or ZERO
    if price <= 0 or price % product.tick:
        return ("INVALID_EDITED_PRICE", "PREVIEW_INVALID_LIMIT_PRICE_PRECISION" if price > 0 else none), nothing, order
    if size <= 0 or size != size.to_integral_value():
        below = size <= 0 < order.filled
        return ("CANNOT_EDIT_TO_BELOW_FILLED_SIZE" if below else "INVALID_EDITED_SIZE", none), nothing, order
    amount, stop = size * product.contract_size, number(body.get("stop_price"))
    if amount <= order.filled:
        return ("CANNOT_EDIT_TO_BELOW_FILLED_SIZE", none), nothing, order
    if (price, amount, stop or order.trigger_price) == (order.price, order.amount, order.trigger_price):
        return ("EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST", none), nothing, order
    return None, Edit(amount=amount, price=price, trigger_price=stop), order


# -- preview


def preview(call: Call) -> Row:
    """A refused preview is HTTP 200 too, with `errs`."""
    body = call.body(SCHEMAS["preview"])
    kind, terms = read_configuration(body.get("order_configuration"))
    _own_portfolio(call, body)
    wish = Wish(body.get("product_id", ""), body.get("side", ""), kind, terms, "", _attached_terms(body))
    reasons = _margin_words(body) or judge(call.face, call.account, wish)
    product = call.exchange.products.get(wish.product_id)
    size = wish.size
    if product is None or size is None or size < 1 or size != size.to_integral_value() or not product.tradable:
        return _preview_row(reasons, {})
    return _preview_row(*_priced(call, wish, product, reasons))


def _priced(call: Call, wish: Wish, product: Product, reasons: list[Reason]) -> tuple[list[Reason], Row]:
    exchange, view = call.exchange, call.exchange.ticker(product.name)
    new: NewOrder = wish.new_order(product)
    new = replace(new, end_ms=None)
    amount = new.amount or ZERO
    best = view.best_ask_price if wish.side == "BUY" else view.best_bid_price
    price = best or view.last_price if wish.is_market else wish.limit or view.last_price
    needed = exchange.margins(call.account, product.name, amount, price)
    margin = needed.buy if wish.side == "BUY" else needed.sell
    account = exchange.account(call.account)
    if not reasons and margin + needed.taker_fee > account.available_funds + account.wallet and margin > 0:
        reasons = [FUNDS]
    if not reasons and not wish.is_market and not wish.is_stop and not needed.min_price <= price <= needed.max_price:
        side = "BUY" if wish.side == "BUY" and price > needed.max_price else "SELL"
        if side == wish.side:
            reasons = [Reason(f"LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_{side}")]
    binds = exchange.requirements(call.account, by_day=False)
    bound = account.maintenance_margin
    projected = bound + margin * product.maintenance_share
    buffers = (account.equity - bound, account.equity - projected)
    return reasons, {
        "order_total": text((margin + needed.taker_fee).quantize(Decimal("0.01"))),
        "commission_total": text(needed.taker_fee),
        "quote_size": text(amount * price),
        "base_size": text(contracts(product, amount)),
        "best_bid": text(view.best_bid_price),
        "best_ask": text(view.best_ask_price),
        "order_margin_total": text(margin.quantize(Decimal("0.01"))),
        "slippage": "0",
        "current_liquidation_buffer": text(buffers[0].quantize(Decimal("0.01"))),
        "projected_liquidation_buffer": text(buffers[1].quantize(Decimal("0.01"))),
        "margin_ratio_data": {
            "current_margin_ratio": _ratio(account.equity, bound or binds.maintenance),
            "projected_margin_ratio": _ratio(account.equity, projected),
        },
        "commission_detail_total": commission_row(product, amount, needed.taker_fee),
        "est_average_filled_price": text(price),
    }


def _ratio(equity: Decimal, threshold: Decimal) -> str:
    return text((equity / threshold).quantize(Decimal("1e-4"))) if threshold else ""


def _preview_row(reasons: list[Reason], priced: Row) -> Row:
    unset = (
        "order_total", "commission_total", "quote_size", "base_size", "best_bid", "best_ask", "order_margin_total",
        "leverage", "long_leverage", "short_leverage", "slippage", "current_liquidation_buffer",
        "projected_liquidation_buffer", "max_leverage", "position_notional_limit",
        "max_notional_at_requested_leverage", "est_average_filled_price", "predicted_liquidation_price",
    )  # fmt: skip
    return {
        **dict.fromkeys(unset, ""),
        "errs": [reason.preview_word for reason in reasons],
        "warning": [],
        "is_max": False,
        "preview_id": str(uuid.uuid4()),
        "pnl_configuration": None,
        "twap_bucket_metadata": None,
        "margin_ratio_data": {"current_margin_ratio": "", "projected_margin_ratio": ""},
        "commission_detail_total": None,
        "scaled_metadata": None,
        "compliance_limit_data": None,
        **priced,
    }
