"""This file holds the methods that create, change and cancel orders: the matching-engine ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from perpctl.paper.core import Placed
from perpctl.paper.gateway import rows
from perpctl.paper.gateway.methods.public import KINDS, named
from perpctl.paper.gateway.rpc import Params, RpcError, invalid
from perpctl.paper.types import (
    Direction,
    Edit,
    FillCondition,
    LinkedType,
    NewOrder,
    Order,
    OrderType,
    Product,
    TimeInForce,
    TriggerKind,
)

if TYPE_CHECKING:
    from perpctl.paper.gateway.face import Call

_LIMIT_TYPES = ("limit", "stop_limit", "take_limit")
# What a mass cancel or an order list may be narrowed to (Deribit docs; the lists of both differ in their words).
TYPES: dict[str, Callable[[Order], bool]] = {
    "all": lambda order: True,
    "limit": lambda order: order.trigger is None,
    "trigger_all": lambda order: order.trigger is not None,
    "stop": lambda order: order.order_type.startswith("stop_"),
    "stop_all": lambda order: order.order_type.startswith("stop_"),
    "stop_limit": lambda order: order.order_type == "stop_limit",
    "stop_market": lambda order: order.order_type == "stop_market",
    "take": lambda order: order.order_type.startswith("take_"),
    "take_all": lambda order: order.order_type.startswith("take_"),
    "take_limit": lambda order: order.order_type == "take_limit",
    "take_market": lambda order: order.order_type == "take_market",
    "trailing_all": lambda order: order.order_type == "trailing_stop",
    "trailing_stop": lambda order: order.order_type == "trailing_stop",
}

Reader = Callable[[Params, str], Any]


def _one_of(*choices: str) -> Reader:
    return lambda params, name: params.word(name, choices)


def _label(params: Params, name: str) -> str:
    label = params.need_word(name)
    if len(label) > 64:
        raise invalid(name, "must have at most 64 characters")
    return label


# How each member is read: of an edit, of one leg of linked orders, of a whole order.
_OF_EDIT: dict[str, Reader] = {
    "price": Params.number,
    "post_only": Params.flag,
    "reject_post_only": Params.flag,
    "reduce_only": Params.flag,
    "trigger_price": Params.number,
    "trigger_offset": Params.number,
    "display_amount": Params.number,
    "valid_until": Params.whole,
}
_OF_LEG: dict[str, Reader] = {
    "type": _one_of(*get_args(OrderType)),
    "price": Params.number,
    "time_in_force": _one_of(*get_args(TimeInForce)),
    "post_only": Params.flag,
    "reject_post_only": Params.flag,
    "reduce_only": Params.flag,
    "label": _label,
    "trigger": _one_of(*get_args(TriggerKind)),
    "trigger_price": Params.number,
    "trigger_offset": Params.number,
}
_OF_ORDER: dict[str, Reader] = {
    **_OF_LEG,
    "valid_until": Params.whole,
    "display_amount": Params.number,
    "linked_order_type": _one_of(*get_args(LinkedType)),
    "trigger_fill_condition": _one_of(*get_args(FillCondition)),
    "isolated": Params.flag,
    "allocated_margin": Params.number,
}


def buy(call: Call) -> Any:
    return _place(call, "buy")


def sell(call: Call) -> Any:
    return _place(call, "sell")


def _place(call: Call, direction: Direction) -> Any:
    product = named(call)
    new = read_new(call.params, product, direction, call.session.origin if call.session else None)
    return placed(call, call.exchange.place(call.account, new, call.now))


def read_new(params: Params, product: Product, direction: Direction, origin: str | None) -> NewOrder:
    """A request to create an order, with the gateway's own defaults: post_only is TRUE unless said otherwise."""
    if params.flag("mmp"):
        raise RpcError("mmp_required", code=13040)
    members = _given(params, _OF_ORDER)
    members.setdefault("post_only", members.get("type", "limit") in _LIMIT_TYPES)
    legs = [_secondary(leg, product, origin) for leg in params.objects("otoco_config")]
    amount = _amount(params, product)
    if amount is None:
        raise invalid("amount", "value required")
    return NewOrder(
        product=product.name,
        direction=direction,
        amount=amount,
        otoco=tuple(legs),
        origin=origin,
        **members,
    )


def _secondary(raw: dict[str, Any], product: Product, origin: str | None) -> NewOrder:
    """One member of otoco_config; its post_only default is false, as the docs give it none."""
    params = Params(raw)
    return NewOrder(
        product=product.name,
        direction=cast(Direction, params.need_word("direction", ("buy", "sell"))),
        amount=_amount(params, product),
        origin=origin,
        **_given(params, _OF_LEG),
    )


def _given(params: Params, readers: Mapping[str, Reader]) -> dict[str, Any]:
    """The members of an order that the caller named: few of the many that there are."""
    return {name: readers[name](params, name) for name in params.raw if name in readers}


def _amount(params: Params, product: Product) -> Decimal | None:
    """`amount` in base coin, or `contracts`; when both are there they must agree. None when neither is."""
    amount, contracts = params.number("amount"), params.number("contracts")
    if contracts is None:
        return amount
    if contracts % 1:
        raise RpcError("non_integer_contract_amount")
    if amount is not None and amount != contracts * product.contract_size:
        raise invalid("contracts", "amount and contracts do not agree")
    return contracts * product.contract_size


def edit(call: Call) -> Any:
    order_id, isolated = call.params.need_word("order_id"), call.params.flag("isolated")
    return _edit(call, call.exchange.order(call.account, order_id, isolated=isolated), isolated)


def edit_by_label(call: Call) -> Any:
    product, label, isolated = named(call), call.params.need_word("label"), call.params.flag("isolated")
    found = [
        order
        for order in call.exchange.open_orders(call.account, include_isolated=isolated)
        if order.label == label and order.product == product.name and order.isolated == isolated
    ]
    if not found:
        raise RpcError("order_not_found")
    if len(found) > 1:
        raise RpcError("non_unique_order_label")
    return _edit(call, found[0], isolated)


def _edit(call: Call, order: Order, isolated: bool) -> Any:
    params = call.params
    if params.has("mmp"):
        raise invalid("mmp", "editing mmp flag is not supported")
    product = call.exchange.product(order.product)
    resting = order.order_type in _LIMIT_TYPES and order.time_in_force == "good_til_cancelled"
    change = Edit(
        amount=_amount(params, product), **({"post_only": True} if resting else {}) | _given(params, _OF_EDIT)
    )
    return placed(call, call.exchange.edit(call.account, order.order_id, change, call.now, isolated=isolated))


def cancel(call: Call) -> Any:
    order_id, isolated = call.params.need_word("order_id"), call.params.flag("isolated")
    return _row(call, call.exchange.cancel(call.account, order_id, call.now, isolated=isolated))


def cancel_by_label(call: Call) -> Any:
    label, currency = call.params.need_word("label"), call.params.word("currency")

    def wanted(order: Order) -> bool:
        return order.label == label and in_currency(call, order.product, currency)

    include = call.params.flag("include_isolated")
    return len(call.exchange.cancel_where(call.account, wanted, call.now, include_isolated=include))


def cancel_all(call: Call) -> Any:
    return _mass_cancel(call, lambda order: True)


def cancel_all_by_currency(call: Call) -> Any:
    currency, chosen = call.params.need_word("currency"), narrowed(call)
    return _mass_cancel(call, lambda order: in_currency(call, order.product, currency) and chosen(order))


def cancel_all_by_kind_or_type(call: Call) -> Any:
    """Has no include_isolated: orders of isolated slots stay open."""
    raw = call.params.raw.get("currency")
    currencies = call.params.words("currency") if isinstance(raw, list) else [call.params.need_word("currency")]
    chosen = narrowed(call)

    def wanted(order: Order) -> bool:
        return chosen(order) and any(in_currency(call, order.product, currency) for currency in currencies)

    return _mass_cancel(call, wanted, reaches_slots=False)


def cancel_all_by_currency_pair(call: Call) -> Any:
    """Has no include_isolated either."""
    pair, chosen = call.params.need_word("currency_pair"), narrowed(call)
    if pair not in {product.price_index for product in call.exchange.products.values()}:
        raise invalid("currency_pair", "unknown currency pair")

    def wanted(order: Order) -> bool:
        return chosen(order) and call.exchange.product(order.product).price_index == pair

    return _mass_cancel(call, wanted, reaches_slots=False)


def cancel_all_by_instrument(call: Call) -> Any:
    product, chosen = named(call), narrowed(call)
    return _mass_cancel(call, lambda order: order.product == product.name and chosen(order))


def close_position(call: Call) -> Any:
    product, params = named(call), call.params
    kind = cast(Literal["limit", "market"], params.need_word("type", ("limit", "market")))
    if kind == "limit" and not params.has("price"):
        raise invalid("price", "value required")
    origin = call.session.origin if call.session else None
    done = call.exchange.close_position(
        call.account,
        product.name,
        kind,
        params.number("price"),
        call.now,
        isolated=params.flag("isolated"),
        origin=origin,
    )
    return placed(call, done)


def placed(call: Call, done: Placed) -> dict[str, Any]:
    """{order, trades}."""
    size = call.exchange.product(done.order.product).contract_size
    return {
        "order": rows.order(done.order, size),
        "trades": [rows.user_trade(trade, size) for trade in done.trades],
    }


def in_currency(call: Call, product: str, currency: str | None) -> bool:
    """Whether a product settles in that currency; None and "any" are every one."""
    return currency in (None, "any", call.exchange.product(product).settle)


def narrowed(call: Call) -> Callable[[Order], bool]:
    """The `kind` and `type` filters of a list or mass cancel as one question."""
    kind = call.params.word("kind", KINDS) or "any"
    of_type = TYPES[call.params.word("type", tuple(TYPES)) or "all"]
    return lambda order: of_type(order) and kind in ("any", call.exchange.product(order.product).kind)


def _mass_cancel(call: Call, wanted: Callable[[Order], bool], *, reaches_slots: bool = True) -> Any:
    """The count, or with `detailed` a report for each book. A mass cancel may fail for some books: no error then."""
    include = reaches_slots and call.params.flag("include_isolated")
    cancelled = call.exchange.cancel_where(call.account, wanted, call.now, include_isolated=include)
    if not call.params.flag("detailed"):
        return len(cancelled)
    left = [order for order in call.exchange.open_orders(call.account, include_isolated=include) if wanted(order)]
    reports = [_report(call, name, {"result": [_row(call, one) for one in group]}) for name, group in _books(cancelled)]
    return reports + [_report(call, name, {"error": _closed(call, name)}) for name, _ in _books(left)]


def _books(orders: list[Order]) -> list[tuple[str, list[Order]]]:
    by_book = groupby(sorted(orders, key=lambda order: order.product), key=lambda order: order.product)
    return [(name, list(group)) for name, group in by_book]


def _report(call: Call, name: str, outcome: dict[str, Any]) -> dict[str, Any]:
    settle = call.exchange.product(name).settle
    return {"currency": settle, "type": "perpetual", "instrument_name": name, **outcome}


def _closed(call: Call, name: str) -> dict[str, Any]:
    settling = call.exchange.ticker(name).state == "settlement"
    return (
        {"code": 10041, "message": "settlement_in_progress"} if settling else {"code": 10012, "message": "book_closed"}
    )


def _row(call: Call, order: Order) -> dict[str, Any]:
    return rows.order(order, call.exchange.product(order.product).contract_size)


METHODS = {
    f"private/{method.__name__}": method
    for method in (
        buy,
        sell,
        edit,
        edit_by_label,
        cancel,
        cancel_by_label,
        cancel_all,
        cancel_all_by_currency,
        cancel_all_by_kind_or_type,
        cancel_all_by_currency_pair,
        cancel_all_by_instrument,
        close_position,
    )
}
