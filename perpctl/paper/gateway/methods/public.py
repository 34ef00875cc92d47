"""This file holds the public methods: the market, the clock, the state of the platform."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from perpctl.paper.gateway import rows
from perpctl.paper.gateway.rpc import Params, invalid
from perpctl.paper.types import Product, PublicTrade

if TYPE_CHECKING:
    from perpctl.paper.gateway.face import Call

VERSION = "2.1.1"
KINDS = ("future", "option", "spot", "future_combo", "option_combo", "combo", "any")
SORTING = ("asc", "desc", "default")
_DEPTHS = (1, 5, 10, 20, 50, 100, 1000, 10000)
_RESOLUTIONS = {
    **{str(minutes): minutes for minutes in (1, 3, 5, 10, 15, 30, 60, 120, 180, 360, 720)},
    "1D": 1440,
}
DURING_MAINTENANCE = ("public/test", "public/get_time", "public/status", "public/get_announcements")


def test(call: Call) -> Any:
    if call.params.word("expected_result", ("exception",)) == "exception":
        raise invalid("expected_result", "exception")
    return {"version": VERSION}


def get_time(call: Call) -> Any:
    return call.now


def status(call: Call) -> Any:
    locked = [p.price_index for p in _tradable(call) if call.exchange.ticker(p.name).state == "locked"]
    everything = len(locked) == len(_tradable(call))
    return {"locked": "false" if not locked else "true" if everything else "partial", "locked_indices": locked}


def get_instruments(call: Call) -> Any:
    currency = call.params.word("currency") or "any"
    kind = call.params.word("kind", KINDS) or "any"
    if call.params.flag("expired"):
        return []
    return [
        rows.instrument(product, _state(call, product))
        for product in call.exchange.products.values()
        if currency in ("any", product.settle, product.base) and kind in ("any", product.kind)
    ]


def get_instrument(call: Call) -> Any:
    product = named(call)
    return rows.instrument(product, _state(call, product))


def get_contract_size(call: Call) -> Any:
    return {"contract_size": named(call).contract_size}


def get_currencies(call: Call) -> Any:
    products = call.exchange.products.values()
    names = dict.fromkeys(name for p in products for name in (p.base, p.settle))
    return [_currency(name) for name in names]


def ticker(call: Call) -> Any:
    product = named(call)
    return rows.ticker(call.exchange.ticker(product.name), product)


def tickers_by_currency(call: Call) -> Any:
    currency = call.params.need_word("currency")
    wanted = [p for p in _tradable(call) if currency in (p.settle, p.base)]
    return [rows.ticker(call.exchange.ticker(product.name), product) for product in wanted]


def get_order_book(call: Call) -> Any:
    product = named(call)
    depth = call.params.whole("depth") or 5
    if depth not in _DEPTHS:
        raise invalid("depth", f"must be one of {', '.join(map(str, _DEPTHS))}")
    return rows.order_book(call.exchange.ticker(product.name), product, call.exchange.book(product.name, depth), depth)


def get_last_trades_by_instrument(call: Call) -> Any:
    return _last_trades(call, call.params.whole("start_timestamp"), call.params.whole("end_timestamp"))


def get_last_trades_by_instrument_and_time(call: Call) -> Any:
    return _last_trades(call, call.params.need_whole("start_timestamp"), call.params.need_whole("end_timestamp"))


def _last_trades(call: Call, start: int | None, end: int | None) -> Any:
    product, params = named(call), call.params
    first, last = params.whole("start_seq"), params.whole("end_seq")

    def wanted(trade: PublicTrade) -> bool:
        return within(trade.at_ms, start, end) and within(trade.trade_seq, first, last)

    found = [trade for trade in call.exchange.public_trades(product.name) if wanted(trade)]
    page, has_more = paged(found, params, default=10)
    return {"trades": [rows.public_trade(trade, product.contract_size) for trade in page], "has_more": has_more}


def get_tradingview_chart_data(call: Call) -> Any:
    product, params = named(call), call.params
    minutes = _RESOLUTIONS[params.need_word("resolution", tuple(_RESOLUTIONS))]
    start, end = params.need_whole("start_timestamp"), min(call.now, params.need_whole("end_timestamp"))
    if (end - start) // (minutes * 60_000) > 5000:
        start = end - 5000 * minutes * 60_000
    return chart(call.exchange.candles(product.name, start, end, minutes))


def chart(candles: list[Any]) -> dict[str, Any]:
    """Columns, as charting libraries want them."""
    return {
        "status": "ok" if candles else "no_data",
        "ticks": [candle.at_ms for candle in candles],
        "open": [candle.open for candle in candles],
        "high": [candle.high for candle in candles],
        "low": [candle.low for candle in candles],
        "close": [candle.close for candle in candles],
        "volume": [candle.volume for candle in candles],
        "cost": [rows.money(candle.cost) for candle in candles],
    }


def get_index_price(call: Call) -> Any:
    name = call.params.need_word("index_name")
    for product in call.exchange.products.values():
        if product.price_index == name:
            index = call.exchange.ticker(product.name).index_price
            return {"index_price": index, "estimated_delivery_price": index}
    raise invalid("index_name", "unknown index")


def get_index_price_names(call: Call) -> Any:
    names = sorted({product.price_index for product in call.exchange.products.values()})
    if not call.params.flag("extended"):
        return names
    flags = {"future_combo_creation_enabled": False, "option_combo_creation_enabled": False}
    return [{"name": name, **flags} for name in names]


def get_funding_rate_history(call: Call) -> Any:
    product = _perpetual(call)
    start, end = call.params.need_whole("start_timestamp"), call.params.need_whole("end_timestamp")
    return [
        {
            "timestamp": hour.at_ms,
            "index_price": hour.index_price,
            "prev_index_price": hour.prev_index_price,
            "interest_8h": hour.interest_8h,
            "interest_1h": hour.interest_1h,
        }
        for hour in call.exchange.funding_hours(product.name, start, end)
    ]


def get_funding_rate_value(call: Call) -> Any:
    product = _perpetual(call)
    start, end = call.params.need_whole("start_timestamp"), call.params.need_whole("end_timestamp")
    return call.exchange.funding_between(product.name, start, end)


def get_announcements(call: Call) -> Any:
    before = call.params.whole("start_timestamp")
    count = call.params.whole("count", 1, 50) or 5
    newest_first = reversed(call.gateway.announcements)
    return [row for row in newest_first if within(row["publication_timestamp"], None, before)][:count]


def named(call: Call) -> Product:
    """The product of `instrument_name`. Raises RpcError -32602 when missing, Rejected -32602 when unknown."""
    return call.exchange.product(call.params.need_word("instrument_name"))


def within(value: int, low: int | None, high: int | None) -> bool:
    """Whether low <= value <= high; None is no bound."""
    return (low is None or value >= low) and (high is None or value <= high)


def paged(found: list[Any], params: Params, default: int) -> tuple[list[Any], bool]:
    """(the page, whether there is more) of rows that come oldest first, after `sorting` and `count` (at most 1000)."""
    count = params.whole("count", 1, 1000) or default
    ordered = found if params.word("sorting", SORTING) == "asc" else found[::-1]
    return ordered[:count], len(ordered) > count


def _perpetual(call: Call) -> Product:
    product = named(call)
    if product.settlement_period != "perpetual":
        raise invalid("instrument_name", "must be a perpetual")
    return product


def _tradable(call: Call) -> list[Product]:
    return [product for product in call.exchange.products.values() if product.tradable]


def _state(call: Call, product: Product) -> str:
    return call.exchange.ticker(product.name).state


def _currency(name: str) -> dict[str, Any]:
    return {
        "currency": name,
        "currency_long": name,
        "coin_type": name,
        "currency_uuid": rows.currency_uuid(name),
        "decimals": 6,
        "apr": Decimal("0.0"),
        "min_withdrawal_fee": 0,
        "withdrawal_fee": 0,
        "withdrawal_priorities": [],
        "network_fee": 0,
        "network_currency": name,
        "coinbase_networks": [],
        "min_confirmations": 0,
        "in_cross_collateral_pool": name == "USDC",
        "onchain_operations_precision": 6,
    }


METHODS = {
    f"public/{method.__name__}": method
    for method in (
        test,
        get_time,
        status,
        get_instruments,
        get_instrument,
        get_contract_size,
        get_currencies,
        ticker,
        tickers_by_currency,
        get_order_book,
        get_last_trades_by_instrument,
        get_last_trades_by_instrument_and_time,
        get_tradingview_chart_data,
        get_index_price,
        get_index_price_names,
        get_funding_rate_history,
        get_funding_rate_value,
        get_announcements,
    )
}
