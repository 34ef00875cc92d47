"""This file writes the core's words as the gateway's JSON rows, with the members that real captures show."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from perpctl.paper.types import (
    AccountView,
    BookView,
    Order,
    Position,
    Product,
    PublicTrade,
    TickerView,
    Trade,
)

Row = dict[str, Any]
_ZERO = Decimal(0)
_MONEY, _PRICE, _CONTRACTS = Decimal("0.00000001"), Decimal("0.0001"), Decimal("0.1")
_STARBASE = 230_000_000_000_000_000  # real match ids are of this size: beyond what a float can hold


def money(amount: Decimal) -> Decimal:
    """USDC to eight places, the precision of the wire."""
    return _plain(amount.quantize(_MONEY))


def price(value: Decimal) -> Decimal:
    """A derived price to four places."""
    return _plain(value.quantize(_PRICE))


def contracts(amount: Decimal, contract_size: Decimal) -> Decimal:
    """Whole contracts, written as the wire writes them: 382.0."""
    return (amount / contract_size).quantize(_CONTRACTS)


def _plain(value: Decimal) -> Decimal:
    """Without trailing zeros and without 1E+5."""
    bare = value.normalize() + 0
    return bare.quantize(Decimal(1)) if bare == bare.to_integral_value() else bare


def day(at_ms: int) -> str:
    """A moment's UTC day."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).date().isoformat()


def currency_uuid(currency: str) -> str:
    """The same made-up identity for a currency every time."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{currency.lower()}.perpctl.invalid"))


def present(row: Mapping[str, Any]) -> Row:
    """Without what is not known: the gateway leaves members out rather than sending null."""
    return {name: value for name, value in row.items() if value is not None}


def instrument(product: Product, state: str) -> Row:
    """A row of public/get_instruments."""
    row: Row = {
        "kind": product.kind,
        "settlement_currency": product.settle,
        "counter_currency": product.quote,
        "base_currency": product.base,
        "base_currency_uuid": currency_uuid(product.base),
        "quote_currency": product.quote,
        "quote_currency_uuid": currency_uuid(product.quote),
        "min_trade_amount": product.min_amount,
        "instrument_name": product.name,
        "instrument_id": product.instrument_id,
        "is_active": True,
        "settlement_period": product.settlement_period or None,
        "creation_timestamp": product.created_ms,
        "tick_size": product.tick,
        "tick_size_steps": [],
        "expiration_timestamp": product.expires_ms,
        "instrument_type": product.instrument_type,
        "future_type": product.instrument_type if product.kind == "future" else None,
        "contract_size": product.contract_size,
        "maker_commission": product.maker_fee,
        "taker_commission": product.taker_fee,
        "max_liquidation_commission": Decimal("0.01"),  # the most; what is charged is the core's
        "max_leverage": product.max_leverage,
        "max_non_default_leverage": 5,
        "block_trade_commission": Decimal("0.00025"),
        "block_trade_tick_size": product.tick,
        "block_trade_min_trade_amount": 200_000 if product.base == "BTC" else 100_000,
        "price_index": product.price_index,
        "index_id": product.index_id,
        "product_group": product.group,
        "underlying_type": "crypto",
        "lot_size": product.lot_size,
        "state": state,
    }
    return present(row)


_FUNDING = ("interest_value", "current_funding", "funding_8h")
_DERIVATIVE = ("open_interest", "settlement_price", "estimated_delivery_price", *_FUNDING)


def ticker(view: TickerView, product: Product) -> Row:
    """public/ticker and the ticker channel. An empty side shows price 0; what is not perpetual has no funding."""
    absent = _DERIVATIVE if product.kind == "spot" else _FUNDING if product.settlement_period != "perpetual" else ()
    return {name: value for name, value in _ticker(view).items() if name not in absent}


def _ticker(view: TickerView) -> Row:
    return {
        "timestamp": view.at_ms,
        "state": view.state,
        "stats": {
            "high": view.high,
            "low": view.low,
            "price_change": None if view.price_change is None else price(view.price_change),
            "volume": money(view.volume),
            "volume_usd": view.volume_usd.quantize(Decimal("0.01")),
            "volume_notional": money(view.volume_usd),
        },
        "index_price": view.index_price,
        "instrument_name": view.product,
        "last_price": view.last_price,
        **({} if view.settlement_price is None else {"settlement_price": view.settlement_price}),
        "min_price": view.min_price,
        "max_price": view.max_price,
        "open_interest": view.open_interest,
        "mark_price": view.mark_price,
        "interest_value": view.interest_value,
        "current_funding": money(view.current_funding),
        "estimated_delivery_price": view.index_price,
        "funding_8h": money(view.funding_8h),
        "best_ask_price": view.best_ask_price or 0,
        "best_bid_price": view.best_bid_price or 0,
        "best_ask_amount": view.best_ask_amount or 0,
        "best_bid_amount": view.best_bid_amount or 0,
    }


def quote(view: TickerView) -> Row:
    """The quote channel."""
    return {
        "timestamp": view.at_ms,
        "instrument_name": view.product,
        "best_ask_price": view.best_ask_price or 0,
        "best_bid_price": view.best_bid_price or 0,
        "best_ask_amount": view.best_ask_amount or 0,
        "best_bid_amount": view.best_bid_amount or 0,
    }


def order_book(view: TickerView, product: Product, book: BookView, depth: int) -> Row:
    """public/get_order_book: two-element rows, unlike the channel's three."""
    return {
        **ticker(view, product),
        "change_id": book.change_id,
        "bids": [list(level) for level in book.bids[:depth]],
        "asks": [list(level) for level in book.asks[:depth]],
    }


def public_trade(trade: PublicTrade, contract_size: Decimal) -> Row:
    """A market trade."""
    row: Row = {
        "timestamp": trade.at_ms,
        "price": trade.price,
        "amount": trade.amount,
        "direction": trade.direction,
        "index_price": trade.index_price,
        "instrument_name": trade.product,
        "trade_seq": trade.trade_seq,
        "mark_price": trade.mark_price,
        "tick_direction": trade.tick_direction,
        "starbase_match_id": _STARBASE + trade.trade_seq,
        "trade_id": trade.trade_id,
        "contracts": contracts(trade.amount, contract_size),
        "starbase_timestamp": trade.at_ms * 1_000_000,
    }
    if trade.liquidation:
        row["liquidation"] = trade.liquidation
    return row


def order(item: Order, contract_size: Decimal) -> Row:
    """An order; trigger-market orders show price "market_price", and no fill members before they fire."""
    fills = item.state != "untriggered" or item.trigger is None
    triggering = item.trigger is not None
    row: Row = {
        "order_id": item.order_id,
        "order_state": item.state,
        "order_type": item.order_type,
        "original_order_type": item.original_order_type,
        "time_in_force": item.time_in_force,
        "instrument_name": item.product,
        "creation_timestamp": item.created_ms,
        "last_update_timestamp": item.updated_ms,
        "direction": item.direction,
        "price": "market_price" if item.price is None else item.price,
        "label": item.label,
        "post_only": item.post_only,
        "reject_post_only": item.reject_post_only,
        "reduce_only": item.reduce_only,
        "api": True,
        "web": False,
        "mmp": False,
        "amount": item.amount,
        "contracts": contracts(item.amount, contract_size),
        "display_amount": item.display_amount,
        "filled_amount": item.filled if fills else None,
        "average_price": price(item.average_price or _ZERO) if fills else None,
        "replaced": item.replaced,
        "is_liquidation": item.is_liquidation,
        "is_rebalance": False,
        "risk_reducing": item.reduce_only,
        "cancel_reason": item.cancel_reason,
        "trigger": item.trigger,
        "trigger_price": item.trigger_price,
        "trigger_offset": item.trigger_offset,
        "trigger_reference_price": item.trigger_reference_price,
        "triggered": item.triggered if triggering else None,
        "trigger_order_id": item.trigger_order_id,
        "trigger_fill_condition": item.trigger_fill_condition,
        "oco_ref": item.oco_ref,
        "primary_order_id": item.primary_order_id,
        "is_secondary_oto": item.is_secondary_oto or None,
        "is_primary_otoco": item.is_primary_otoco or None,
        "oto_order_ids": list(item.oto_order_ids) or None,
        "isolated": item.isolated or None,
        "user_id": item.account_id,
    }
    return present(row)


def user_trade(item: Trade, contract_size: Decimal) -> Row:
    """A fill of ours."""
    row: Row = {
        "trade_id": item.trade_id,
        "trade_seq": item.trade_seq,
        "instrument_name": item.product,
        "timestamp": item.at_ms,
        "order_type": "liquidation" if item.liquidation else item.order_type,
        "original_order_type": item.original_order_type,
        "order_id": item.order_id,
        "direction": item.direction,
        "tick_direction": item.tick_direction,
        "index_price": item.index_price,
        "mark_price": item.mark_price,
        "price": item.price,
        "amount": item.amount,
        "contracts": contracts(item.amount, contract_size),
        "liquidation": item.liquidation,
        "liquidity": item.liquidity,
        "fee": money(item.fee),
        "fee_currency": item.fee_currency,
        "profit_loss": money(item.profit_loss),
        "label": item.label or None,
        "state": item.order_state,
        "reduce_only": item.reduce_only,
        "post_only": item.post_only,
        "mmp": False,
        "risk_reducing": item.reduce_only,
        "api": True,
        "isolated": item.isolated or None,
        "main_uid": item.main_account_id,
        "user_id": item.account_id,
        "starbase_match_id": _STARBASE + item.trade_seq,
        "starbase_timestamp": item.at_ms * 1_000_000,
    }
    return {**present(row), "matching_id": None}


def position(item: Position, main_account_id: int) -> Row:
    """A position: `size` is the quote notional, `size_currency` the base coin; liquidation price always null."""
    notional = item.size * item.mark_price
    row: Row = {
        "instrument_name": item.product,
        "kind": "future",
        "average_price": price(item.average_price or _ZERO),
        "direction": "zero" if not item.size else "buy" if item.size > 0 else "sell",
        "mark_price": item.mark_price,
        "index_price": item.index_price,
        "delta": item.size,
        "size": _plain(notional.quantize(Decimal("0.000001"))),
        "size_currency": item.size,
        "initial_margin": money(item.initial_margin),
        "maintenance_margin": money(item.maintenance_margin),
        "open_orders_margin": money(item.open_orders_margin),
        "settlement_price": item.settlement_price if item.settlement_price is not None else item.mark_price,
        "total_profit_loss": money(item.total_profit_loss),
        "floating_profit_loss": money(item.floating_profit_loss),
        "realized_profit_loss": money(item.realized_profit_loss),
        "realized_funding": money(item.realized_funding),
        "interest_value": item.interest_value,
        "leverage": item.leverage,
        "isolated": item.isolated or None,
        "main_uid": main_account_id if item.isolated else None,
        "user_id": item.account_id,
    }
    return {**present(row), "estimated_liquidation_price": None}


def portfolio(view: AccountView) -> Row:
    """The money members of a summary, of user.portfolio and of get_account_summaries."""
    delta_total = sum(view.delta_total.values(), _ZERO)
    unrealised, realised = money(view.session_upl), money(view.session_rpl)
    equity, margin_balance = money(view.equity), money(view.margin_balance)
    return {
        "currency": view.currency,
        "balance": money(view.balance),
        "equity": equity,
        "margin_balance": margin_balance,
        "initial_margin": money(view.initial_margin),
        "maintenance_margin": money(view.maintenance_margin),
        "projected_initial_margin": money(view.projected_initial_margin),
        "projected_maintenance_margin": money(view.maintenance_margin),
        "close_out_margin": money(view.maintenance_margin / 2),
        "projected_close_out_margin": money(view.maintenance_margin / 2),
        "available_funds": money(view.available_funds),
        "available_withdrawal_funds": money(min(view.available_funds, max(_ZERO, view.balance))),
        "session_rpl": realised,
        "session_upl": unrealised,
        "futures_session_rpl": realised,
        "futures_session_upl": unrealised,
        "futures_pl": money(view.total_pl),
        "total_pl": money(view.total_pl),
        "delta_total": delta_total,
        "projected_delta_total": delta_total,
        "delta_total_map": dict(view.delta_total),
        "spot_reserve": 0,
        "additional_reserve": 0,
        "fee_balance": 0,
        "locked_balance": 0,
        "margin_model": "cross_sm",
        "portfolio_margining_enabled": False,
        "cross_collateral_enabled": True,
        "total_equity_usd": equity,
        "total_initial_margin_usd": money(view.initial_margin),
        "total_maintenance_margin_usd": money(view.maintenance_margin),
        "total_margin_balance_usd": margin_balance,
        "total_delta_total_usd": 0,
        **_NO_OPTIONS,
    }


_NO_OPTIONS: Row = {
    **{
        f"options_{name}": 0
        for name in ("delta", "gamma", "pl", "session_rpl", "session_upl", "theta", "value", "vega")
    },
    **{f"options_{name}_map": {} for name in ("gamma", "theta", "vega")},
}


def owner(view: AccountView) -> Row:
    """Who an account belongs to: the members of a summary that are not money."""
    return {
        "id": view.account_id,
        "email": "paper@example.invalid",
        "system_name": view.username,
        "username": view.username,
        "type": "main" if view.main_account_id is None else "subaccount",
        "creation_timestamp": view.created_ms,
        "referrer_id": None,
        "login_enabled": view.main_account_id is None,
        "security_keys_enabled": False,
        "mmp_enabled": False,
        "interuser_transfers_enabled": False,
        "block_rfq_self_match_prevention": True,
        "self_trading_reject_mode": "cancel_maker",
        "self_trading_extended_to_subaccounts": False,
    }
