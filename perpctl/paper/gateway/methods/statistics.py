"""This file holds the public methods that sum the market up: summaries, charts, histories, lists of names."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from perpctl.paper.gateway import rows
from perpctl.paper.gateway.methods.public import KINDS, named, paged, within
from perpctl.paper.gateway.rpc import invalid
from perpctl.paper.types import Product, PublicTrade

if TYPE_CHECKING:
    from perpctl.paper.gateway.face import Call

HOUR_MS = 3_600_000
_CHART_HOURS = {"8h": 8, "24h": 24, "1m": 720}
_RANGE_HOURS = {"1h": 1, "1d": 24, "2d": 48, "1m": 720, "1y": 8_760, "all": 10**6}


def get_expirations(call: Call) -> Any:
    """When futures expire, by kind; "PERPETUAL" for what does not."""
    currency = call.params.need_word("currency")
    kind = call.params.need_word("kind", ("future", "option", "any"))
    if currency == "grouped":
        settles = dict.fromkeys(product.settle for product in call.exchange.products.values())
        return {settle.lower(): _expirations(call, settle, kind) for settle in settles}
    return _expirations(call, currency, kind)


def _expirations(call: Call, currency: str, kind: str) -> dict[str, list[str]]:
    found = [
        product.name.rpartition("-")[2]
        for product in call.exchange.products.values()
        if product.kind == "future" and currency in ("any", product.settle, product.base)
    ]
    names = {"option": [], "future": sorted(dict.fromkeys(found), key=lambda name: name == "PERPETUAL")}
    return names if kind == "any" else {kind: names[kind]}


def get_supported_index_names(call: Call) -> Any:
    call.params.word("type", ("all", "spot", "derivative"))
    return [{"name": name} for name in _indices(call)]


def _indices(call: Call) -> list[str]:
    return sorted({product.price_index for product in call.exchange.products.values()})


def get_index_chart_data(call: Call) -> Any:
    """[time, index] at each full hour of the range."""
    product, hours = _of_index(call), _RANGE_HOURS[call.params.need_word("range", tuple(_RANGE_HOURS))]
    start = call.now - hours * HOUR_MS
    return [[row.at_ms, row.index_price] for row in call.exchange.funding_hours(product.name, start, call.now)]


def get_delivery_prices(call: Call) -> Any:
    """The index at each daily settlement, newest first."""
    product, params = _of_index(call), call.params
    offset, count = params.whole("offset") or 0, params.whole("count", 1, 1000) or 10
    minute = call.exchange.rules.settlement_minute
    found = [
        {"date": rows.day(row.at_ms), "delivery_price": row.index_price}
        for row in reversed(call.exchange.funding_hours(product.name, 0, call.now))
        if row.at_ms // 60_000 % 1440 == minute
    ]
    return {"records_total": len(found), "data": found[offset : offset + count]}


def _of_index(call: Call) -> Product:
    """The product that an index is read from: the first that follows it and has a market."""
    name = call.params.need_word("index_name")
    found = [product for product in call.exchange.products.values() if product.price_index == name]
    if not found:
        raise invalid("index_name", "unknown index")
    return next((product for product in found if product.tradable), found[0])


def get_mark_price_history(call: Call) -> Any:
    """Kept for a subset of options only; futures and perpetuals have an empty list (Deribit docs)."""
    named(call)
    call.params.need_whole("start_timestamp")
    call.params.need_whole("end_timestamp")
    return []


def get_funding_chart_data(call: Call) -> Any:
    product, hours = named(call), _CHART_HOURS[call.params.need_word("length", tuple(_CHART_HOURS))]
    view = call.exchange.ticker(product.name)
    found = call.exchange.funding_hours(product.name, call.now - hours * HOUR_MS, call.now)
    return {
        "current_interest": rows.money(view.current_funding),
        "interest_8h": rows.money(view.funding_8h),
        "data": [
            {"index_price": row.index_price, "interest_8h": row.interest_8h, "timestamp": row.at_ms} for row in found
        ],
    }


def get_book_summary_by_instrument(call: Call) -> Any:
    return [_summary(call, named(call))]


def get_book_summary_by_currency(call: Call) -> Any:
    currency, kind = call.params.need_word("currency"), call.params.word("kind", KINDS) or "any"
    return [
        _summary(call, product)
        for product in call.exchange.products.values()
        if currency == product.settle and kind in ("any", product.kind)
    ]


def _summary(call: Call, product: Product) -> dict[str, Any]:
    view = call.exchange.ticker(product.name)
    bid, ask = view.best_bid_price, view.best_ask_price
    row = {
        "instrument_name": product.name,
        "base_currency": product.base,
        "quote_currency": product.quote,
        "creation_timestamp": call.now,
        "bid_price": bid,
        "ask_price": ask,
        "mid_price": (bid + ask) / 2 if bid is not None and ask is not None else None,
        "mark_price": view.mark_price,
        "last": view.last_price,
        "high": view.high,
        "low": view.low,
        "price_change": None if view.price_change is None else rows.price(view.price_change),
        "volume": rows.money(view.volume),
        "volume_usd": view.volume_usd.quantize(Decimal("0.01")),
        "volume_notional": rows.money(view.volume_usd),
    }
    if product.kind != "future":
        return row
    row |= {"open_interest": view.open_interest, "estimated_delivery_price": view.index_price}
    if product.settlement_period == "perpetual":
        row |= {"funding_8h": rows.money(view.funding_8h), "current_funding": rows.money(view.current_funding)}
    return row


def get_order_book_by_instrument_id(call: Call) -> Any:
    number, depth = call.params.need_whole("instrument_id"), call.params.whole("depth") or 5
    product = next((one for one in call.exchange.products.values() if one.instrument_id == number), None)
    if product is None:
        raise invalid("instrument_id", "instrument not found")
    return rows.order_book(call.exchange.ticker(product.name), product, call.exchange.book(product.name, depth), depth)


def get_last_trades_by_currency(call: Call) -> Any:
    return _last_trades(call, call.params.whole("start_timestamp"), call.params.whole("end_timestamp"))


def get_last_trades_by_currency_and_time(call: Call) -> Any:
    return _last_trades(call, call.params.need_whole("start_timestamp"), call.params.need_whole("end_timestamp"))


def _last_trades(call: Call, start: int | None, end: int | None) -> Any:
    currency, kind = call.params.need_word("currency"), call.params.word("kind", KINDS) or "any"
    first, last = call.params.trade_number("start_id"), call.params.trade_number("end_id")
    found: list[PublicTrade] = [
        trade
        for product in call.exchange.products.values()
        if currency == product.settle and kind in ("any", product.kind)
        for trade in call.exchange.public_trades(product.name)
        if within(trade.at_ms, start, end) and within(int(trade.trade_id.rpartition("-")[2]), first, last)
    ]
    found.sort(key=lambda trade: (trade.at_ms, int(trade.trade_id.rpartition("-")[2])))
    page, has_more = paged(found, call.params, default=10)
    sizes = {product.name: product.contract_size for product in call.exchange.products.values()}
    return {"trades": [rows.public_trade(trade, sizes[trade.product]) for trade in page], "has_more": has_more}


def get_trade_volumes(call: Call) -> Any:
    """Of the last 24 hours, by currency: there are no options here."""
    call.params.flag("extended")
    volumes: dict[str, Decimal] = {}
    for product in call.exchange.products.values():
        if product.kind == "future":
            volume = call.exchange.ticker(product.name).volume
            volumes[product.base] = volumes.get(product.base, Decimal(0)) + volume
    return [
        {"currency": name, "futures_volume": rows.money(sum_), "spot_volume": 0, "calls_volume": 0, "puts_volume": 0}
        for name, sum_ in volumes.items()
    ]


METHODS = {
    f"public/{method.__name__}": method
    for method in (
        get_expirations,
        get_supported_index_names,
        get_index_chart_data,
        get_delivery_prices,
        get_mark_price_history,
        get_funding_chart_data,
        get_book_summary_by_instrument,
        get_book_summary_by_currency,
        get_order_book_by_instrument_id,
        get_last_trades_by_currency,
        get_last_trades_by_currency_and_time,
        get_trade_volumes,
    )
}
