"""This file writes product rows with the members of the captures of April 2026."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from perpctl.paper.core import Exchange
from perpctl.paper.terms.calendar import Calendar
from perpctl.paper.types import Product, Rates, TickerView

Row = dict[str, Any]
BASE_MAX = 5000  # contracts an order
NAMES = {"BTC": "Bitcoin", "ETH": "Ethereum", "SOL": "Solana"}


def text(value: Decimal | None) -> str:
    """A decimal as the wire writes it: no exponent, no trailing zeros; "" when there is none."""
    if value is None:
        return ""
    bare = value.normalize() + 0
    return format(bare, "f")


def moment(at_ms: int | None) -> str | None:
    """RFC 3339 in UTC, None when there is none."""
    if at_ms is None:
        return None
    whole = datetime.fromtimestamp(at_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{at_ms % 1000:03d}000Z" if at_ms % 1000 else f"{whole}Z"


def contracts(product: Product, amount: Decimal) -> Decimal:
    """Base coin as the wire's size: contracts of a future, base coin of a spot product."""
    return amount / product.contract_size if product.kind == "future" else amount


def is_perpetual(product: Product) -> bool:
    """Whether it is a perpetual-style future; the venue itself calls it EXPIRING."""
    return product.settlement_period == "perpetual"


def product_row(exchange: Exchange, product: Product, *, alone: bool = False) -> Row:
    """One product; `alone` adds the best prices, which lists leave empty."""
    view = exchange.ticker(product.name)
    is_future = product.kind == "future"
    display = display_name(product)
    middle = _middle(view) if is_future else None
    best = (view.best_bid_price, view.best_ask_price) if alone and is_future else (None, None)
    row: Row = {
        "product_id": product.name,
        "price": text(view.last_price),
        "price_percentage_change_24h": text(view.price_change) or "0",
        "volume_24h": text(contracts(product, view.volume)),
        "volume_percentage_change_24h": "0",
        "base_increment": "1" if is_future else text(product.contract_size),
        "quote_increment": "0.01",
        "quote_min_size": "0" if is_future else "1",
        "quote_max_size": "100000000",
        "base_min_size": "1" if is_future else text(product.min_amount),
        "base_max_size": str(BASE_MAX if is_future else 3400),
        "base_name": "" if is_future else NAMES[product.base],
        "quote_name": "US Dollar",
        "watched": False,
        "is_disabled": False,
        "new": False,
        "status": "" if is_future else "online",
        "cancel_only": False,
        "limit_only": False,
        "post_only": False,
        "trading_disabled": False,
        "auction_mode": False,
        "product_type": "FUTURE" if is_future else "SPOT",
        "quote_currency_id": product.quote,
        "base_currency_id": "" if is_future else product.base,
        "fcm_trading_session_details": session_row(exchange, product) if is_future else None,
        "mid_market_price": text(middle),
        "alias": "",
        "alias_to": [] if is_future else [f"{product.base}-USDC"],
        "base_display_symbol": "" if is_future else product.base,
        "quote_display_symbol": product.quote,
        "view_only": not product.tradable,
        "price_increment": text(product.tick),
        "display_name": display,
        "product_venue": "FCM" if is_future else "CBE",
        "approximate_quote_24h_volume": text(view.volume_usd.quantize(Decimal("0.01"))),
        "new_at": None if is_future else "2023-01-01T00:00:00Z",
        "best_bid_price": text(best[0]),
        "best_ask_price": text(best[1]),
        "is_alpha_testing": False,
    }
    unset = ("market_cap", "base_cbrn", "quote_cbrn", "product_cbrn", "icon_color", "icon_url")
    row |= dict.fromkeys((*unset, "display_name_overwrite", "about_description"), "")
    return row | ({"future_product_details": _details(exchange, product, view)} if is_future else {})


def display_name(product: Product) -> str:
    """As the site shows it: BTC PERP, BTC 25 JUN 27, BTC-USD."""
    if product.kind == "spot":
        return product.name
    if is_perpetual(product):
        return f"{product.base} PERP"
    date = product.name.split("-")[1]
    return f"{product.base} {date[:2]} {date[2:5]} {date[5:]}"


def _middle(view: TickerView) -> Decimal | None:
    if view.best_bid_price is None or view.best_ask_price is None:
        return None
    return (view.best_bid_price + view.best_ask_price) / 2


def session_row(exchange: Exchange, product: Product) -> Row:
    """The trading session: from roll to roll, and the next planned stop."""
    calendar = _calendar(exchange)
    opened, closes = calendar.session(exchange.now)
    stops = min(stop for stop in (calendar.next_stop(exchange.now), exchange.planned_stop) if stop is not None)
    is_open = exchange.ticker(product.name).state == "open" and not exchange.maintenance
    return {
        "is_session_open": is_open,
        "open_time": moment(opened),
        "close_time": moment(closes),
        "session_state": f"FCM_TRADING_SESSION_STATE_{'OPEN' if is_open else 'CLOSED'}",
        "after_hours_order_entry_disabled": not is_open,
        # Captured as EXCHANGE_MAINTENANCE while the session was open: it says nothing about now.
        "closed_reason": "FCM_TRADING_SESSION_CLOSED_REASON_EXCHANGE_MAINTENANCE",
        "maintenance": {"start_time": moment(stops[0]), "end_time": moment(stops[1])},
    }


def _calendar(exchange: Exchange) -> Calendar:
    calendar = exchange.rules.calendar
    assert calendar is not None, "this face is of a venue with hours"
    return calendar


def _details(exchange: Exchange, product: Product, view: TickerView) -> Row:
    code, perpetual = product.name[:3], is_perpetual(product)
    expiry = moment(product.expires_ms) or ""
    interest = text(contracts(product, view.open_interest).to_integral_value())
    hours = exchange.funding_hours(product.name, 0, exchange.now)
    # Until the first hour has been paid there is a rate too, or a client would not know a perpetual for one.
    rate = text(view.current_funding) if perpetual else ""
    paid_at = (hours[-1].at_ms if hours else exchange.now // 3_600_000 * 3_600_000) if perpetual else None
    month = datetime.fromtimestamp(product.expires_ms / 1000, UTC)
    return {
        "venue": "cde",
        "contract_code": code,
        "contract_expiry": expiry,
        "contract_size": text(product.contract_size),
        "contract_root_unit": product.base,
        "group_description": f"nano {product.base} Perp Futures"
        if perpetual
        else f"nano {NAMES[product.base]} Futures",
        "contract_expiry_timezone": "Europe/London",
        "group_short_description": f"nano {product.base} Perp" if perpetual else f"nano {product.base}",
        "risk_managed_by": "MANAGED_BY_FCM",
        "contract_expiry_type": "EXPIRING",
        "perpetual_details": {
            "open_interest": interest,
            "funding_rate": "",
            "funding_time": None,
            "max_leverage": "",
            "base_asset_uuid": "",
            "underlying_type": "",
        },
        "contract_display_name": display_name(product),
        "time_to_expiry_ms": str(product.expires_ms - exchange.now),
        "non_crypto": False,
        "contract_expiry_name": month.strftime("%Y-%m"),
        "twenty_four_by_seven": True,
        "funding_interval": "3600s" if perpetual else None,
        "open_interest": interest,
        "funding_rate": rate,
        "funding_time": moment(paid_at),
        "display_name": f"{product.base} Perpetual" if perpetual else f"{product.base} Futures ({month:%b %Y})",
        "region_enabled": {},
        "intraday_margin_rate": _rates(product.day_rates),
        "overnight_margin_rate": _rates(product.night_rates),
        "settlement_price": text(view.settlement_price),
        "futures_asset_type": "FUTURES_ASSET_TYPE_CRYPTO",
        "index_price": text(view.index_price) if perpetual else "",
        "contract_code_display_name": "",
        "product_group_cbrn": "",
    }


def _rates(rates: Rates | None) -> Row:
    assert rates is not None, "every future here has its rates"
    return {"long_margin_rate": text(rates.long), "short_margin_rate": text(rates.short)}
