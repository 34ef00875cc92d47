"""This file holds the methods that read orders and fills."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from perpctl.paper.gateway import ledger_rows, rows
from perpctl.paper.gateway.methods.orders import in_currency, narrowed
from perpctl.paper.gateway.methods.public import KINDS, named, paged, within
from perpctl.paper.gateway.rpc import invalid
from perpctl.paper.types import Order, Trade

if TYPE_CHECKING:
    from perpctl.paper.gateway.face import Call

OLD_MS = 2 * 86_400_000  # older orders come only with include_old


def account_of(call: Call) -> int:
    """The account a read is about: the caller's, or the slot that `subaccount_id` names. Raises RpcError."""
    wanted = call.params.whole("subaccount_id")
    if wanted is None or wanted == call.account:
        return call.account
    if wanted not in call.exchange.slot_ids(call.account):
        raise invalid("subaccount_id", "not a subaccount of this account")
    return wanted


def get_open_orders(call: Call) -> Any:
    return _open(call, narrowed(call))


def get_open_orders_by_currency(call: Call) -> Any:
    currency = call.params.need_word("currency")
    chosen = narrowed(call)
    return _open(call, lambda order: in_currency(call, order.product, currency) and chosen(order))


def get_open_orders_by_instrument(call: Call) -> Any:
    product = named(call)
    chosen = narrowed(call)
    return _open(call, lambda order: order.product == product.name and chosen(order))


def get_open_orders_by_label(call: Call) -> Any:
    """Has no include_isolated."""
    currency, label = call.params.need_word("currency"), call.params.word("label")
    found = call.exchange.open_orders(call.account)
    return [
        row(call, order)
        for order in found
        if in_currency(call, order.product, currency) and label in (None, order.label)
    ]


def _open(call: Call, wanted: Callable[[Order], bool]) -> list[Any]:
    include = call.params.flag("include_isolated")
    found = call.exchange.open_orders(account_of(call), include_isolated=include)
    return [row(call, order) for order in found if wanted(order)]


def get_order_state(call: Call) -> Any:
    order_id, isolated = call.params.need_word("order_id"), call.params.flag("isolated")
    return row(call, call.exchange.order(call.account, order_id, isolated=isolated))


def get_order_state_by_label(call: Call) -> Any:
    """Open and recently finished orders of a label: what an unknown outcome is settled with."""
    currency, label = call.params.need_word("currency"), call.params.word("label")
    include = call.params.flag("include_isolated")
    found = [
        *call.exchange.open_orders(call.account, include_isolated=include),
        *call.exchange.orders(call.account, include_isolated=include),
    ]
    return [
        row(call, order)
        for order in found
        if in_currency(call, order.product, currency) and label in (None, order.label)
    ]


def get_order_history_by_currency(call: Call) -> Any:
    currency, kind = call.params.need_word("currency"), call.params.word("kind", KINDS) or "any"

    def wanted(order: Order) -> bool:
        product = call.exchange.product(order.product)
        return in_currency(call, order.product, currency) and kind in ("any", product.kind)

    return _history(call, wanted)


def get_order_history_by_instrument(call: Call) -> Any:
    product = named(call)
    return _history(call, lambda order: order.product == product.name)


def _history(call: Call, wanted: Callable[[Order], bool]) -> Any:
    params = call.params
    count = params.whole("count", 1, 1000) or 20
    token = params.whole("continuation") if params.flag("with_continuation") else None
    offset = token or params.whole("offset") or 0
    unfilled = params.flag("include_unfilled")
    oldest = 0 if params.flag("include_old") else call.now - OLD_MS
    found = [
        order
        for order in call.exchange.orders(account_of(call), historical=params.flag("historical"))
        if wanted(order) and (unfilled or order.filled) and order.updated_ms >= oldest
    ]
    page = [row(call, order) for order in found[offset : offset + count]]
    if not params.flag("with_continuation"):
        return page
    return {"orders": page, "continuation": str(offset + count) if len(found) > offset + count else None}


def get_trigger_order_history(call: Call) -> Any:
    currency, params = call.params.need_word("currency"), call.params
    instrument, count = params.word("instrument_name"), params.whole("count", 1, 1000) or 20
    start = params.whole("continuation") or 0
    found = [
        record
        for record in call.exchange.trigger_history(call.account)
        if in_currency(call, record.order.product, currency) and instrument in (None, record.order.product)
    ]
    more = len(found) > start + count
    page = [ledger_rows.trigger_record(record) for record in found[start : start + count]]
    return {"entries": page, **({"continuation": str(start + count)} if more else {})}


def get_user_trades_by_currency(call: Call) -> Any:
    return _trades_by_currency(call, call.params.whole("start_timestamp"), call.params.whole("end_timestamp"))


def get_user_trades_by_currency_and_time(call: Call) -> Any:
    start, end = call.params.need_whole("start_timestamp"), call.params.need_whole("end_timestamp")
    return _trades_by_currency(call, start, end)


def _trades_by_currency(call: Call, start: int | None, end: int | None) -> Any:
    currency, kind = call.params.need_word("currency"), call.params.word("kind", KINDS) or "any"
    first, last = call.params.trade_number("start_id"), call.params.trade_number("end_id")

    def wanted(trade: Trade) -> bool:
        return (
            in_currency(call, trade.product, currency)
            and kind in ("any", call.exchange.product(trade.product).kind)
            and within(trade.at_ms, start, end)
            and within(int(trade.trade_id.rpartition("-")[2]), first, last)
        )

    return _trades(call, wanted)


def get_user_trades_by_instrument(call: Call) -> Any:
    return _trades_by_instrument(call, call.params.whole("start_timestamp"), call.params.whole("end_timestamp"))


def get_user_trades_by_instrument_and_time(call: Call) -> Any:
    start, end = call.params.need_whole("start_timestamp"), call.params.need_whole("end_timestamp")
    return _trades_by_instrument(call, start, end)


def _trades_by_instrument(call: Call, start: int | None, end: int | None) -> Any:
    product, params = named(call), call.params
    first, last = params.whole("start_seq"), params.whole("end_seq")

    def wanted(trade: Trade) -> bool:
        here = trade.product == product.name
        return here and within(trade.at_ms, start, end) and within(trade.trade_seq, first, last)

    return _trades(call, wanted)


def _trades(call: Call, wanted: Callable[[Trade], bool]) -> Any:
    historical = call.params.flag("historical")
    found = [trade for trade in call.exchange.trades(account_of(call), historical=historical) if wanted(trade)]
    page, has_more = paged(found, call.params, default=10)
    return {"trades": [trade_row(call, trade) for trade in page], "has_more": has_more}


def get_user_trades_by_order(call: Call) -> Any:
    """A plain list, unlike its siblings."""
    order_id, params = call.params.need_word("order_id"), call.params
    found = call.exchange.trades(
        account_of(call), historical=params.flag("historical"), include_isolated=params.flag("isolated")
    )
    mine = [trade for trade in found if trade.order_id == order_id]
    page, _ = paged(mine, params, default=1000)
    return [trade_row(call, trade) for trade in page]


def row(call: Call, order: Order) -> dict[str, Any]:
    return rows.order(order, call.exchange.product(order.product).contract_size)


def trade_row(call: Call, trade: Trade) -> dict[str, Any]:
    return rows.user_trade(trade, call.exchange.product(trade.product).contract_size)


METHODS = {
    f"private/{method.__name__}": method
    for method in (
        get_open_orders,
        get_open_orders_by_currency,
        get_open_orders_by_instrument,
        get_open_orders_by_label,
        get_order_state,
        get_order_state_by_label,
        get_order_history_by_currency,
        get_order_history_by_instrument,
        get_trigger_order_history,
        get_user_trades_by_currency,
        get_user_trades_by_currency_and_time,
        get_user_trades_by_instrument,
        get_user_trades_by_instrument_and_time,
        get_user_trades_by_order,
    )
}
