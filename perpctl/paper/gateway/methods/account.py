"""This file holds the methods about an account: money, positions, margin, the ledger."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from perpctl.paper.gateway import ledger_rows, rows
from perpctl.paper.gateway.access import limits
from perpctl.paper.gateway.methods.orders import in_currency
from perpctl.paper.gateway.methods.public import KINDS, named, within
from perpctl.paper.gateway.methods.reads import account_of
from perpctl.paper.gateway.rpc import RpcError, invalid
from perpctl.paper.types import AccountView, Position, SettlementRow

if TYPE_CHECKING:
    from perpctl.paper.gateway.face import Call

MARGIN_MODELS = ("cross_pm", "cross_sm", "segregated_pm", "segregated_sm")
_SUMMED = (
    "balance",
    "equity",
    "margin_balance",
    "initial_margin",
    "maintenance_margin",
    "projected_initial_margin",
    "available_funds",
    "session_rpl",
    "session_upl",
    "session_funding",
    "total_pl",
)


def get_positions(call: Call) -> Any:
    currency, kind = call.params.word("currency"), call.params.word("kind", KINDS) or "any"
    include = call.params.flag("include_isolated")
    found = call.exchange.positions(account_of(call), include_isolated=include)
    return [
        rows.position(position, call.account)
        for position in found
        if in_currency(call, position.product, currency) and kind in ("any", "future")
    ]


def get_position(call: Call) -> Any:
    """The cross position; with include_isolated only the isolated one, as the isolated positions guide warns."""
    product = named(call)
    position = call.exchange.position(call.account, product.name)
    if call.params.flag("include_isolated"):
        position = _isolated_position(call, product.name) or replace(position, size=Decimal(0), isolated=True)
    return rows.position(position, call.account)


def _isolated_position(call: Call, product: str) -> Position | None:
    found = call.exchange.positions(call.account, include_isolated=True)
    return next((held for held in found if held.isolated and held.product == product), None)


def get_account_summary(call: Call) -> Any:
    view = call.exchange.account(account_of(call))
    currency = call.params.need_word("currency")
    if currency not in _currencies(call):
        raise invalid("currency", "unknown currency")
    extended = call.params.flag("extended")
    shown = view if currency == view.currency else _empty(view, currency)
    return {**_summary(shown), **(rows.owner(view) if extended else {})}


def get_account_summaries(call: Call) -> Any:
    """Every currency; with include_isolated the figures of the isolated slots are added in."""
    view = call.exchange.account(account_of(call))
    shown = view
    if call.params.flag("include_isolated"):
        for slot in call.exchange.slot_ids(view.account_id):
            shown = _plus(shown, call.exchange.account(slot))
    others = [_empty(view, currency) for currency in _currencies(call) if currency != view.currency]
    return {**rows.owner(view), "summaries": [_summary(item) for item in (shown, *others)]}


def _summary(view: AccountView) -> dict[str, Any]:
    return {**rows.portfolio(view), "limits": limits()}


def _currencies(call: Call) -> list[str]:
    products = call.exchange.products.values()
    return list(dict.fromkeys([call.exchange.rules.currency, *(p.base for p in products), "USDT"]))


def _empty(view: AccountView, currency: str) -> AccountView:
    return replace(view, currency=currency, delta_total={}, **dict.fromkeys(_SUMMED, Decimal(0)))


def _plus(one: AccountView, other: AccountView) -> AccountView:
    sums = {name: getattr(one, name) + getattr(other, name) for name in _SUMMED}
    delta = dict(one.delta_total)
    for index, amount in other.delta_total.items():
        delta[index] = delta.get(index, Decimal(0)) + amount
    return replace(one, delta_total=delta, **sums)


def get_margins(call: Call) -> Any:
    product, params = named(call), call.params
    found = call.exchange.margins(call.account, product.name, params.need_number("amount"), params.need_number("price"))
    return {
        "buy": rows.money(found.buy),
        "sell": rows.money(found.sell),
        "buy_maker_fee": rows.money(found.maker_fee),
        "buy_taker_fee": rows.money(found.taker_fee),
        "sell_maker_fee": rows.money(found.maker_fee),
        "sell_taker_fee": rows.money(found.taker_fee),
        "min_price": found.min_price,
        "max_price": found.max_price,
    }


def get_leverage(call: Call) -> Any:
    """One instrument, or without a name the list of those that were changed."""
    account = account_of(call)
    if call.params.has("instrument_name"):
        return _leverage(call, account, named(call).name)
    names = [p.name for p in call.exchange.products.values() if call.exchange.leverage(account, p.name) is not None]
    return [_leverage(call, account, name) for name in names]


def _leverage(call: Call, account: int, product: str) -> dict[str, Any]:
    stored = call.exchange.leverage(account, product)
    row: dict[str, Any] = {"instrument_name": product, "max_leverage": call.exchange.product(product).max_leverage}
    return row if stored is None else {**row, "leverage": stored}


def set_leverage(call: Call) -> Any:
    """The stored value; null resets, the one parameter where null means something."""
    product = named(call)
    if "leverage" not in call.params.raw:
        raise invalid("leverage", "value required")
    reset = call.params.raw["leverage"] in (None, "null")
    leverage = None if reset else call.params.whole("leverage", 1, product.max_leverage)
    return call.exchange.set_leverage(call.account, product.name, leverage, call.now)


def get_order_margin_by_ids(call: Call) -> Any:
    """What each order binds alone; reduce-only and waiting orders bind nothing."""
    isolated = call.params.flag("isolated")
    found = [call.exchange.order(call.account, one, isolated=isolated) for one in call.params.words("ids")]
    return [
        {
            "order_id": order.order_id,
            "initial_margin": rows.money(call.exchange.order_margin(order)),
            "initial_margin_currency": call.exchange.product(order.product).settle,
        }
        for order in found
    ]


def get_max_order_size(call: Call) -> Any:
    """Notionals in quote currency: what the funds allow at a leverage and a price, and what the position does."""
    product, params, account = named(call), call.params, account_of(call)
    view = call.exchange.ticker(product.name)
    leverage = params.whole("leverage", 1, product.max_leverage) or product.max_leverage
    stored = call.exchange.leverage(account, product.name)
    fee = params.number("taker_fee_rate") or product.taker_fee
    price = params.number("price") or view.mark_price
    free = call.exchange.account(account).available_funds
    size = call.exchange.position(account, product.name).size
    fresh = price * min(
        _most(free, price, product.initial_rate + fee, product.rate_per_coin),
        free / price / (Decimal(1) / min(leverage, stored or leverage) + fee),
    )
    held = abs(size) * price
    buys, sells = (held, Decimal(0)) if size < 0 else (Decimal(0), held)
    return {
        "max_tradable_amount": {"buy_notional": rows.money(fresh + buys), "sell_notional": rows.money(fresh + sells)},
        "max_tradable_amount_reduce_only": {"buy_notional": rows.money(buys), "sell_notional": rows.money(sells)},
        "buy_price": price,
        "sell_price": price,
    }


def _most(free: Decimal, price: Decimal, rate: Decimal, slope: Decimal) -> Decimal:
    """The amount whose margin, at a rate that grows with the amount, is what is free."""
    linear, square = rate * price, slope * price
    return ((linear * linear + 4 * square * free).sqrt() - linear) / (2 * square) if square else free / linear


def change_margin_model(call: Call) -> Any:
    """Standard cross margin is the only model here: to it is no change, to another is not possible."""
    if call.params.need_word("margin_model", MARGIN_MODELS) != "cross_sm":
        raise RpcError("not_implemented")
    call.params.flag("dry_run")
    view = call.exchange.account(call.params.whole("user_id") or call.account)
    state = {
        "maintenance_margin_rate": _share(view.maintenance_margin, view.equity),
        "initial_margin_rate": _share(view.initial_margin, view.equity),
        "available_balance": rows.money(view.available_funds),
    }
    return [{"currency": view.currency.lower(), "old_state": state, "new_state": state}]


def _share(part: Decimal, whole: Decimal) -> Decimal:
    return rows.money(part / whole) if whole > 0 else Decimal(0)


def get_risk_profile(call: Call) -> Any:
    account_of(call)
    return {"portfolio_margining_allowed": False, "short_option_allowed": False, "max_leverage": None}


def get_pme_params(call: Call) -> Any:
    return {"enabled": False}


def get_trading_limits(call: Call) -> Any:
    account_of(call)
    return {
        "currency": call.params.word("currency") or call.exchange.rules.currency,
        "portfolio_margining_enabled": False,
        "max_total_open_orders": 1000,
        "max_open_orders_in_instrument": 500,
        "max_future_position_size": 5_000_000,
    }


def get_user_locks(call: Call) -> Any:
    view = call.exchange.account(call.account)
    locked = {"locked": view.locked, **({"message": "account locked"} if view.locked else {})}
    return [{"currency": currency, **locked} for currency in _currencies(call)]


def get_transaction_log(call: Call) -> Any:
    """Newest first; start and end are mandatory."""
    params, account = call.params, account_of(call)
    currency = params.need_word("currency")
    start, end = params.need_whole("start_timestamp"), params.need_whole("end_timestamp")
    count, query = params.whole("count", 1, 250) or 100, (params.word("query") or "").lower()
    before = params.whole("continuation")
    found = [
        entry
        for entry in reversed(call.exchange.ledger(account))
        if entry.currency == currency
        and within(entry.at_ms, start, end)
        and within(entry.id, None, before)
        and (not query or query in f"{entry.type} {entry.side} {entry.product} {entry.other_username}".lower())
    ]
    more = found[count].id if len(found) > count else None
    return {"logs": [ledger_rows.transaction(entry) for entry in found[:count]], "continuation": more}


def get_settlement_history_by_currency(call: Call) -> Any:
    currency = call.params.need_word("currency")
    return _settlements(call, lambda row: in_currency(call, row.product, currency))


def get_settlement_history_by_instrument(call: Call) -> Any:
    product = named(call)
    return _settlements(call, lambda row: row.product == product.name)


def _settlements(call: Call, wanted: Callable[[SettlementRow], bool]) -> Any:
    params = call.params
    kind = params.word("type", ("settlement", "delivery", "bankruptcy"))
    count, start = params.whole("count", 1, 1000) or 20, params.whole("continuation") or 0
    latest = params.whole("search_start_timestamp")

    def chosen(row: SettlementRow) -> bool:
        return wanted(row) and kind in (None, row.type) and within(row.at_ms, None, latest)

    found = [row for row in reversed(call.exchange.settlements(call.account)) if chosen(row)]
    more = str(start + count) if len(found) > start + count else None
    return {"settlements": [ledger_rows.settlement(row) for row in found[start : start + count]], "continuation": more}


def get_subaccounts(call: Call) -> Any:
    """The account itself; isolated slots only when asked for."""
    include, with_portfolio = call.params.flag("include_isolated"), call.params.flag("with_portfolio")
    ids = [call.account, *(call.exchange.slot_ids(call.account) if include else ())]
    return [_subaccount(call.exchange.account(account), with_portfolio) for account in ids]


def get_subaccounts_details(call: Call) -> Any:
    """Positions of the account and of its slots, with their open orders when asked."""
    currency, with_orders = call.params.need_word("currency"), call.params.flag("with_open_orders")
    return [
        {
            "uid": account,
            "positions": [
                rows.position(held, call.account)
                for held in call.exchange.positions(account)
                if in_currency(call, held.product, currency)
            ],
            **({"open_orders": _orders_of(call, account, currency)} if with_orders else {}),
        }
        for account in (call.account, *call.exchange.slot_ids(call.account))
    ]


def _orders_of(call: Call, account: int, currency: str) -> list[dict[str, Any]]:
    found = call.exchange.open_orders(account)
    return [
        rows.order(order, call.exchange.product(order.product).contract_size)
        for order in found
        if in_currency(call, order.product, currency)
    ]


def submit_transfer_between_subaccounts(call: Call) -> Any:
    """Cash between the account and a slot of it. Here `nonce` is an idempotency key: a repeat returns the first."""
    params = call.params
    if params.need_word("currency") != call.exchange.rules.currency:
        raise invalid("currency", "only the settlement currency can be moved")
    amount, destination = params.need_number("amount"), params.need_whole("destination")
    source, nonce = params.whole("source") or call.account, params.word("nonce")
    done = call.gateway.transfers
    if nonce is not None and (repeated := done.get(f"{call.account}:{nonce}")):
        return repeated
    mine = (call.account, *call.exchange.slot_ids(call.account))
    for name, account in (("source", source), ("destination", destination)):
        if account not in mine:
            raise invalid(name, "not a subaccount of this account")
    call.exchange.transfer(source, destination, amount, call.now)
    row = {
        "id": len(done) + 1,
        "amount": amount,
        "currency": call.exchange.rules.currency,
        "direction": "payment",
        "other_side": call.exchange.account(destination).username,
        "state": "confirmed",
        "type": "subaccount",
        "created_timestamp": call.now,
        "updated_timestamp": call.now,
    }
    return done.setdefault(f"{call.account}:{nonce or len(done)}", row)


def _subaccount(view: AccountView, with_portfolio: bool) -> dict[str, Any]:
    shown = rows.owner(view)
    row = {
        name: shown[name]
        for name in ("id", "email", "system_name", "username", "type", "login_enabled", "security_keys_enabled")
    }
    row |= {
        "is_password": False,
        "margin_model": "cross_sm" if view.main_account_id is None else "segregated_sm",
        "receive_notifications": False,
        "security_keys_assignments": [],
    }
    if view.main_account_id is not None:
        row |= {"isolated": True, "main_uid": view.main_account_id}
    if view.slot_product is not None:
        row["instrument_name"] = view.slot_product
    if with_portfolio:
        row["portfolio"] = {view.currency.lower(): _purse(view)}
    return row


def _purse(view: AccountView) -> dict[str, Any]:
    money = rows.portfolio(view)
    names = (
        "additional_reserve",
        "spot_reserve",
        "available_funds",
        "available_withdrawal_funds",
        "balance",
        "equity",
        "initial_margin",
        "maintenance_margin",
        "margin_balance",
    )
    return {**{name: money[name] for name in names}, "currency": view.currency.lower()}


METHODS = {
    f"private/{method.__name__}": method
    for method in (
        get_positions,
        get_position,
        get_account_summary,
        get_account_summaries,
        get_margins,
        get_leverage,
        set_leverage,
        get_order_margin_by_ids,
        get_max_order_size,
        change_margin_model,
        get_risk_profile,
        get_pme_params,
        get_trading_limits,
        get_user_locks,
        get_transaction_log,
        get_settlement_history_by_currency,
        get_settlement_history_by_instrument,
        get_subaccounts,
        get_subaccounts_details,
        submit_transfer_between_subaccounts,
    )
}
