"""This file answers what an account has: wallets, portfolios, CFM balances, positions, sweeps, margin windows, fees."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from perpctl.paper.advanced_trade.listing import contracts, display_name, moment, text
from perpctl.paper.advanced_trade.orders.rows import position_row
from perpctl.paper.advanced_trade.reading import TEXT, ApiError, invalid, not_found, number
from perpctl.paper.core import Exchange
from perpctl.paper.keys import MAIN_ACCOUNT, portfolio_of
from perpctl.paper.terms.calendar import Calendar
from perpctl.paper.types import AccountView, Position, Product, Rejected, Requirements, Sweep, Trade

if TYPE_CHECKING:
    from perpctl.paper.advanced_trade.face import Call

Row = dict[str, Any]
ZERO, CENT = Decimal(0), Decimal("0.01")
PROFILES = ("MARGIN_PROFILE_TYPE_RETAIL_REGULAR", "MARGIN_PROFILE_TYPE_RETAIL_INTRADAY_MARGIN_1")
STANDARD, INTRADAY = "INTRADAY_MARGIN_SETTING_STANDARD", "INTRADAY_MARGIN_SETTING_INTRADAY"
_OLD_BOUNDS = ("usd_from", "usd_to", "perps_vol_from", "perps_vol_to", "futures_vol_from", "futures_vol_to")
TIER = {
    "pricing_tier": "Advanced 3",
    "taker_fee_rate": "0.0008",
    "maker_fee_rate": "0.00075",
    "aop_from": "",
    "aop_to": "",
    "volume_types_and_range": [
        {"volume_types": ["VOLUME_TYPE_SPOT", "VOLUME_TYPE_US_DERIVATIVES"], "vol_from": "50000", "vol_to": "100000"}
    ],
}


# -- spot side


def accounts(call: Call) -> Row:
    rows = _wallets(call)
    limit = call.query.whole("limit", 250) or 49
    after = call.query.word("cursor")
    place = next((i + 1 for i, row in enumerate(rows) if row["uuid"] == after), 0) if after else 0
    shown = rows[place : place + limit]
    more = place + limit < len(rows)
    return {"accounts": shown, "has_next": more, "cursor": shown[-1]["uuid"] if more else "", "size": len(shown)}


def account(call: Call) -> Row:
    for row in _wallets(call):
        if row["uuid"] == call.words["id"]:
            return {"account": row}
    raise not_found("account")


def _wallets(call: Call) -> list[Row]:
    coins = sorted({product.base for product in call.exchange.products.values() if product.kind == "spot"})
    cash = _wallet(call, "USD", call.exchange.account(call.account).wallet)
    return [cash, *(_wallet(call, coin, ZERO) for coin in coins)]


def _wallet(call: Call, currency: str, amount: Decimal) -> Row:
    created = moment(call.exchange.account(call.account).created_ms)
    return {
        "uuid": str(uuid.uuid5(uuid.NAMESPACE_URL, f"perpctl paper wallet {call.account} {currency}")),
        "name": f"{currency} Wallet",
        "currency": currency,
        "available_balance": {"value": text(amount), "currency": currency},
        "default": currency == "USD",
        "active": True,
        "created_at": created,
        "updated_at": created,
        "deleted_at": None,
        "type": "ACCOUNT_TYPE_FIAT" if currency == "USD" else "ACCOUNT_TYPE_CRYPTO",
        "ready": True,
        "hold": {"value": "0", "currency": currency},
        "retail_portfolio_id": call.portfolio,
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
    }


def portfolios(call: Call) -> Row:
    kind = call.query.word("portfolio_type")
    rows = [_portfolio(account) for account in call.exchange.account_ids()]
    return {"portfolios": [row for row in rows if kind in (None, "UNDEFINED", row["type"])]}


def _portfolio(account: int) -> Row:
    main = account == MAIN_ACCOUNT
    name = "Default" if main else f"Portfolio {account}"
    return {"name": name, "uuid": portfolio_of(account), "type": _type_of(account), "deleted": False}


def _type_of(account: int) -> str:
    return "DEFAULT" if account == MAIN_ACCOUNT else "CONSUMER"


def portfolio_breakdown(call: Call) -> Row:
    """Spot numbers are JSON numbers here, as documented."""
    if call.words["id"] != call.portfolio:
        raise ApiError(403, "PERMISSION_DENIED", "portfolio is not available to this key")
    view, purse = call.exchange.account(call.account), purse_of(call)
    held = [one for one in call.exchange.positions(call.account) if one.size]
    wallet = _wallet(call, "USD", view.wallet)
    return {
        "breakdown": {
            "portfolio": _portfolio(call.account),
            "portfolio_balances": {
                "total_balance": _usd(purse.cash + view.total_pl + view.wallet),
                "total_futures_balance": _usd(purse.cash + view.total_pl),
                "total_cash_equivalent_balance": _usd(view.wallet),
                "total_crypto_balance": _usd(ZERO),
                "futures_unrealized_pnl": _usd(view.total_pl),
                "perp_unrealized_pnl": _usd(ZERO),
            },
            "spot_positions": [_spot_position(wallet)],
            "perp_positions": [],
            "futures_positions": [_breakdown_position(call.exchange.product(one.product), one) for one in held],
        }
    }


def _usd(amount: Decimal) -> Row:
    return {"value": text(amount.quantize(CENT)), "currency": "USD"}


def _spot_position(wallet: Row) -> Row:
    amount = float(wallet["available_balance"]["value"])
    return {
        "asset": "USD",
        "account_uuid": wallet["uuid"],
        "total_balance_fiat": amount,
        "total_balance_crypto": amount,
        "available_to_trade_fiat": amount,
        "allocation": 1.0,
        "one_day_change": 0.0,
        "cost_basis": {"value": "0", "currency": "USD"},
        "asset_img_url": "",
        "is_cash": True,
    }


def _breakdown_position(product: Product, held: Position) -> Row:
    average = held.average_price or ZERO
    return {
        "product_id": product.name,
        "contract_size": text(product.contract_size),
        "side": f"FUTURES_POSITION_SIDE_{'LONG' if held.size > 0 else 'SHORT'}",
        "amount": text(contracts(product, abs(held.size))),
        "avg_entry_price": text(average.quantize(Decimal("1e-6"))),
        "current_price": text(held.mark_price),
        "unrealized_pnl": text(held.total_profit_loss.quantize(CENT)),
        "expiry": moment(product.expires_ms),
        "underlying_asset": product.base,
        "asset_img_url": "",
        "product_name": display_name(product),
        "venue": "cde",
        "notional_value": text((abs(held.size) * held.mark_price).quantize(CENT)),
    }


def key_permissions(call: Call) -> Row:
    scopes = call.caller_key.scopes
    permissions = {f"can_{scope}": scope in scopes for scope in ("view", "trade", "transfer")}
    return {**permissions, "portfolio_uuid": call.portfolio, "portfolio_type": _type_of(call.account)}


def transaction_summary(call: Call) -> Row:
    """Numbers, but for total_balance. The part of a fee by contract is not shown here, as on the venue."""
    trades = [trade for trade in call.exchange.trades(call.account) if trade.at_ms > call.now - 30 * 86_400_000]
    volume = float(sum((trade.amount * trade.price for trade in trades), ZERO))
    fees = float(sum((trade.fee for trade in trades), ZERO))
    purse = purse_of(call)
    return {
        "total_volume": volume,
        "total_fees": fees,
        "fee_tier": TIER | dict.fromkeys(_OLD_BOUNDS, ""),
        "margin_rate": None,
        "goods_and_services_tax": None,
        "advanced_trade_only_volume": volume,
        "advanced_trade_only_fees": fees,
        "coinbase_pro_volume": 0,
        "coinbase_pro_fees": 0,
        "total_balance": text((purse.cash + purse.view.wallet).quantize(CENT)),
        "has_promo_fee": False,
        "volume_breakdown": [
            {"volume_type": "VOLUME_TYPE_SPOT", "volume": 0},
            {"volume_type": "VOLUME_TYPE_US_DERIVATIVES", "volume": volume},
        ],
        "has_cost_plus_commission": False,
    }


# -- CFM


class Purse:
    """An account's money in the FCM's words. cash + unrealised + funding not yet booked = equity, exactly."""

    def __init__(self, exchange: Exchange, account: int, trades: list[Trade]) -> None:
        calendar = exchange.rules.calendar
        assert calendar is not None, "this face is of a venue with hours"
        self.calendar: Calendar = calendar
        self.view: AccountView = exchange.account(account)
        self.day: Requirements = exchange.requirements(account, by_day=True)
        self.night: Requirements = exchange.requirements(account, by_day=False)
        # The core moves profit to cash at the settlement; the FCM shows it as cash when it is made.
        self.funding = self.view.session_funding
        self.cash = self.view.equity - self.view.total_pl - self.funding
        since = calendar.session(exchange.now)[0]
        self.realised: dict[str, Decimal] = {}
        for trade in reversed(trades):
            if trade.at_ms < since:
                break
            self.realised[trade.product] = self.realised.get(trade.product, ZERO) + trade.profit_loss

    @property
    def daily_realised(self) -> Decimal:
        return sum(self.realised.values(), ZERO)

    @property
    def hold(self) -> Decimal:
        return self.view.projected_initial_margin - self.view.initial_margin

    @property
    def buying_power(self) -> Decimal:
        return max(ZERO, self.view.equity - self.view.projected_initial_margin) + self.view.wallet

    def buffer_percent(self, threshold: Decimal) -> str:
        """The buffer as a share of the threshold; 1000 when nothing is held, as the documents' example has it."""
        return text(((self.view.equity - threshold) / threshold * 100).quantize(CENT)) if threshold else "1000"


def purse_of(call: Call) -> Purse:
    """The caller's money."""
    return Purse(call.exchange, call.account, call.face.sight.trades(call.account))


def summary(purse: Purse) -> Row:
    """Every figure of the balance summary as plain strings; REST makes money objects of some."""
    view = purse.view
    pending = view.sweep.amount or ZERO if view.sweep else ZERO
    # Sums are made of what is shown, so that whoever adds up the figures finds no cent missing.
    equity, unrealised, funding = view.equity.quantize(CENT), view.total_pl.quantize(CENT), purse.funding.quantize(CENT)
    cash, threshold = equity - unrealised - funding, view.maintenance_margin.quantize(CENT)
    figures = {
        "futures_buying_power": purse.buying_power,
        "total_usd_balance": cash + view.wallet,
        "cbi_usd_balance": view.wallet,
        "cfm_usd_balance": cash,
        "total_open_orders_hold_amount": purse.hold,
        "unrealized_pnl": unrealised,
        "daily_realized_pnl": purse.daily_realised,
        "initial_margin": view.initial_margin,
        "available_margin": equity,
        "liquidation_threshold": threshold,
        "liquidation_buffer_amount": equity - threshold,
        "total_pending_transfers_amount": pending,
        "funding_pnl": funding,
    }
    return {name: text(value.quantize(CENT)) for name, value in figures.items()}


def measure(purse: Purse, window: str, needs: Requirements, buffer_name: str) -> Row:
    """What one margin window asks of the account."""
    hold = needs.projected - needs.initial
    return {
        "margin_window_type": f"FCM_MARGIN_WINDOW_TYPE_{window}",
        "margin_level": f"MARGIN_LEVEL_TYPE_{'BASE' if purse.view.equity >= needs.maintenance else 'LIQUIDATION'}",
        "initial_margin": text(needs.initial.quantize(CENT)),
        "maintenance_margin": text(needs.maintenance.quantize(CENT)),
        buffer_name: purse.buffer_percent(needs.maintenance),
        "total_hold": text(hold.quantize(CENT)),
        "futures_buying_power": text(max(ZERO, purse.view.equity - needs.projected).quantize(CENT)),
    }


def balance_summary(call: Call) -> Row:
    purse = purse_of(call)
    money = {name: {"value": value, "currency": "USD", "cbrn": ""} for name, value in summary(purse).items()}
    return {
        "balance_summary": {
            **money,
            "liquidation_buffer_percentage": purse.buffer_percent(purse.view.maintenance_margin),
            "intraday_margin_window_measure": measure(purse, "INTRADAY", purse.day, "liquidation_buffer"),
            "overnight_margin_window_measure": measure(purse, "OVERNIGHT", purse.night, "liquidation_buffer"),
        }
    }


def positions(call: Call) -> Row:
    purse = purse_of(call)
    held = [one for one in call.exchange.positions(call.account) if one.size]
    return {"positions": [_cfm_row(call, one, purse) for one in held]}


def position(call: Call) -> Row:
    """One position; 404 when there is none."""
    name = call.words["id"]
    if name not in call.exchange.products or not call.exchange.position(call.account, name).size:
        raise ApiError(404, "NOT_FOUND", f"position for {name} was not found")
    return {"position": _cfm_row(call, call.exchange.position(call.account, name), purse_of(call))}


def _cfm_row(call: Call, held: Position, purse: Purse) -> Row:
    return position_row(held, call.exchange.product(held.product), purse.realised.get(held.product, ZERO))


SWEEP_SCHEMA = {"usd_amount": TEXT}
SETTING_SCHEMA = {"setting": TEXT}


def sweeps(call: Call) -> Row:
    planned = call.exchange.account(call.account).sweep
    return {"sweeps": [_sweep_row(planned)] if planned else []}


def _sweep_row(planned: Sweep) -> Row:
    return {
        "id": planned.id,
        "requested_amount": {"value": text(planned.amount or ZERO), "currency": "USD"},
        "should_sweep_all": planned.amount is None,
        "status": "PENDING",
        "scheduled_time": moment(planned.due_ms),
    }


def schedule_sweep(call: Call) -> Row:
    """From the FCM to the spot wallet when the session ends; without an amount all that is free. One at a time."""
    asked = call.body(SWEEP_SCHEMA).get("usd_amount")
    amount = number(asked) if asked else None
    if asked and (amount is None or amount < 0):
        raise invalid("usd_amount is not a valid amount")
    due = purse_of(call).calendar.session(call.now)[1]
    planned = Sweep(str(uuid.uuid5(uuid.NAMESPACE_URL, f"sweep {call.account} {call.now}")), amount or None, due)
    try:
        call.exchange.plan_sweep(call.account, planned, call.now)
    except Rejected as no:
        raise ApiError(400, "INVALID_ARGUMENT", "a sweep is already pending") from no
    return {"success": True}


def cancel_sweep(call: Call) -> Row:
    try:
        call.exchange.plan_sweep(call.account, None, call.now)
    except Rejected as no:
        raise ApiError(404, "NOT_FOUND", "no pending sweep was found") from no
    return {"success": True}


def margin_setting(call: Call) -> Row:
    return {"setting": INTRADAY if call.exchange.account(call.account).day_margin else STANDARD}


def set_margin_setting(call: Call) -> Row:
    setting = call.body(SETTING_SCHEMA).get("setting")
    if setting not in (STANDARD, INTRADAY):
        raise invalid("setting is not valid")
    call.exchange.choose_margin(call.account, setting == INTRADAY, call.now)
    return {}


def current_margin_window(call: Call) -> Row:
    call.query.word("margin_profile_type", ("MARGIN_PROFILE_TYPE_UNSPECIFIED", *PROFILES))
    if call.face.switches.window_forbidden:
        raise ApiError(403, "PERMISSION_DENIED", "margin window is not available to this account")
    calendar = purse_of(call).calendar
    window = calendar.window(call.now)
    return {
        "margin_window": {
            "margin_window_type": f"MARGIN_WINDOW_TYPE_{window}",
            "end_time": moment(calendar.window_end(call.now)),
        },
        "is_intraday_margin_killswitch_enabled": False,
        "is_intraday_margin_enrollment_killswitch_enabled": False,
    }
