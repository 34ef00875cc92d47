"""This file answers what everybody may ask: time, products, books, candles, trades."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_DNS, uuid5

from perpctl.paper.advanced_trade.listing import NAMES, contracts, moment, product_row, text
from perpctl.paper.advanced_trade.reading import ApiError, invalid, number
from perpctl.paper.types import BookView, Level, Product, PublicTrade

if TYPE_CHECKING:
    from perpctl.paper.advanced_trade.face import Call

Row = dict[str, Any]
GRANULARITIES = {
    "ONE_MINUTE": 1,
    "FIVE_MINUTE": 5,
    "FIFTEEN_MINUTE": 15,
    "THIRTY_MINUTE": 30,
    "ONE_HOUR": 60,
    "TWO_HOUR": 120,
    "FOUR_HOUR": 240,
    "SIX_HOUR": 360,
    "ONE_DAY": 1440,
}
MOST_CANDLES = 350  # documented; CDE products give 300 (seen)
MOST_CDE_CANDLES = 300
MOST_TRADES = 1000
_KINDS = ("UNKNOWN_PRODUCT_TYPE", "SPOT", "FUTURE", "EQUITY", "OPTION_GROUP", "FUTURE_GROUP")
_EXPIRIES = ("UNKNOWN_CONTRACT_EXPIRY_TYPE", "EXPIRING", "PERPETUAL")
_STATUSES = ("UNKNOWN_EXPIRING_CONTRACT_STATUS", "STATUS_UNEXPIRED", "STATUS_EXPIRED", "STATUS_ALL")


def time(call: Call) -> Row:
    now = call.now
    return {"iso": moment(now // 1000 * 1000), "epochSeconds": str(now // 1000), "epochMillis": str(now)}


def products(call: Call) -> Row:
    """Every CDE future counts as EXPIRING, perpetuals too; asking by expiry means futures only."""
    query = call.query
    kind, expiry = query.word("product_type", _KINDS), query.word("contract_expiry_type", _EXPIRIES)
    status, ids = query.word("expiring_contract_status", _STATUSES), query.words("product_ids")
    rows = [product_row(call.exchange, one) for one in call.exchange.products.values() if not ids or one.name in ids]
    if kind not in (None, "UNKNOWN_PRODUCT_TYPE"):
        rows = [row for row in rows if row["product_type"] == kind]
    if expiry not in (None, "UNKNOWN_CONTRACT_EXPIRY_TYPE"):
        rows = [row for row in rows if row.get("future_product_details", {}).get("contract_expiry_type") == expiry]
    if status == "STATUS_EXPIRED":
        rows = []
    first = int(query.word("offset") or 0) if (query.word("offset") or "0").isdecimal() else 0
    limit = query.whole("limit", 10_000) or len(rows)
    shown = rows[first : first + limit]
    return {"products": shown, "num_products": len(shown), "pagination": None}


def product(call: Call) -> Row:
    return product_row(call.exchange, named(call, call.words["id"]), alone=True)


def named(call: Call, name: str | None) -> Product:
    """A listed product. Raises ApiError 404, or 400 when no name was given."""
    if not name:
        raise invalid("product_id is required")
    listed = call.exchange.products.get(_alias(name))
    if listed is None:
        raise ApiError(404, "NOT_FOUND", f"valid product_id is required: {name}")
    return listed


def _alias(name: str) -> str:
    """-USDC ids are the -USD books under another name."""
    return f"{name.removesuffix('-USDC')}-USD" if name.endswith("-USDC") else name


def product_book(call: Call) -> Row:
    listed = named(call, call.query.word("product_id"))
    depth = call.query.whole("limit", 10_000) or 10_000
    step = number(call.query.word("aggregation_price_increment"))
    view, ticker = call.exchange.book(listed.name, depth), call.exchange.ticker(listed.name)
    bid, ask = ticker.best_bid_price, ticker.best_ask_price
    middle = (bid + ask) / 2 if bid is not None and ask is not None else None
    spread = ask - bid if bid is not None and ask is not None else None
    bps = (spread / middle * 10_000).quantize(Decimal("1e-12")) if spread is not None and middle else None
    return {
        "pricebook": pricebook(listed, view, step),
        "last": text(ticker.last_price),
        "mid_market": text(middle),
        "spread_bps": text(bps),
        "spread_absolute": text(spread),
    }


def pricebook(listed: Product, view: BookView, step: Decimal | None = None) -> Row:
    """A book's levels, best first, grouped to a step when one is given."""
    return {
        "product_id": listed.name,
        "bids": _levels(listed, view.bids, step, ROUND_FLOOR),
        "asks": _levels(listed, view.asks, step, ROUND_CEILING),
        "time": moment(view.at_ms),
    }


def _levels(listed: Product, levels: tuple[Level, ...], step: Decimal | None, rounding: str) -> list[Row]:
    sums: dict[Decimal, Decimal] = {}
    for price, amount in levels:
        at = (price / step).to_integral_value(rounding) * step if step else price
        sums[at] = sums.get(at, Decimal(0)) + amount
    return [{"price": text(price), "size": text(contracts(listed, amount))} for price, amount in sums.items()]


def best_bid_ask(call: Call) -> Row:
    names = call.query.words("product_ids") or list(call.exchange.products)
    chosen = [named(call, name) for name in names]
    return {"pricebooks": [pricebook(one, call.exchange.book(one.name, 1)) for one in chosen]}


def currencies(call: Call) -> Row:
    """Coinbase App's list of fiat, which third-party clients load beside the products."""
    return {"data": [{"id": "USD", "name": "US Dollar", "min_size": "0.01"}]}


def crypto_currencies(call: Call) -> Row:
    """Coinbase App's list of coins."""
    coins = sorted({product.base for product in call.exchange.products.values()})
    rows = [{"code": coin, "name": NAMES[coin], "exponent": 8, "type": "crypto"} for coin in coins]
    ids = [str(uuid5(NAMESPACE_DNS, f"{coin.lower()}.perpctl.invalid")) for coin in coins]
    return {"data": [row | {"asset_id": asset_id} for row, asset_id in zip(rows, ids, strict=True)]}


def exchange_rates(call: Call) -> Row:
    """What a dollar is worth in each coin."""
    prices = {one.base: call.exchange.ticker(one.name).index_price for one in call.exchange.products.values()}
    rates = {coin: text((1 / price).quantize(Decimal("1e-16"))) for coin, price in prices.items()}
    return {"data": {"currency": "USD", "rates": {"USD": "1", **rates}}}


def candles(call: Call) -> Row:
    """Newest first; more than the limit is refused as on the venue."""
    listed = named(call, call.words["id"])
    start, end = call.query.when("start"), call.query.when("end")
    granularity = call.query.word("granularity", tuple(GRANULARITIES))
    if start is None or end is None or granularity is None:
        raise invalid("start, end and granularity are required")
    minutes = GRANULARITIES[granularity]
    if (end - start) // (minutes * 60_000) > MOST_CANDLES:
        raise invalid(f"number of candles requested should be less than {MOST_CANDLES}")
    limit = min(call.query.whole("limit", MOST_CANDLES) or MOST_CANDLES, MOST_CDE_CANDLES if _is_cde(listed) else 350)
    found = call.exchange.candles(listed.name, start, end, minutes)[::-1][:limit]
    return {"candles": [candle_row(listed, one) for one in found]}


def _is_cde(listed: Product) -> bool:
    return listed.kind == "future"


def candle_row(listed: Product, candle: Any) -> Row:
    """One bar."""
    return {
        "start": str(candle.at_ms // 1000),
        "low": text(candle.low),
        "high": text(candle.high),
        "open": text(candle.open),
        "close": text(candle.close),
        "volume": text(contracts(listed, candle.volume)),
    }


def ticker(call: Call) -> Row:
    """The latest trades, newest first; `side` is the maker's."""
    listed = named(call, call.words["id"])
    limit = call.query.whole("limit", MOST_TRADES)
    if limit is None:
        raise invalid("limit is required")
    start, end = call.query.when("start") or 0, call.query.when("end") or call.now
    found = [one for one in call.exchange.public_trades(listed.name) if start <= one.at_ms <= end][::-1][:limit]
    view = call.exchange.ticker(listed.name)
    rows = [trade_row(listed, one) | {"bid": "", "ask": "", "exchange": "coinbase"} for one in found]
    return {"trades": rows, "best_bid": text(view.best_bid_price), "best_ask": text(view.best_ask_price)}


def trade_row(listed: Product, trade: PublicTrade) -> Row:
    """A trade of the market; the maker's side is the other one than the taker's."""
    return {
        "trade_id": trade.trade_id.rpartition("-")[2],
        "product_id": listed.name,
        "price": text(trade.price),
        "size": text(contracts(listed, trade.amount)),
        "time": moment(trade.at_ms),
        "side": "SELL" if trade.direction == "buy" else "BUY",
    }
