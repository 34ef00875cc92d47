"""This file reads products: which are ours, their increments, margin, session and funding, books and candles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpctl.exchange.advanced_trade.wire import words
from perpctl.exchange.both.document import Malformed, Row, row_of, rows_of, text
from perpctl.exchange.port import Candle
from perpctl.model.books.funding import FundingRate
from perpctl.model.exposure import MarginRates
from perpctl.model.instrument import Book, BookState, Instrument, Quote, TradingSession
from perpctl.model.money import ZERO
from perpctl.model.venue.calendar import Happening, Kind
from perpctl.model.venue.margin import WindowRates

HOUR_MS = 3_600_000
NO_MARK = "this venue publishes no mark price; positions are valued at the FCM's own price"
VALUED_BY = "FCM price"
MAINTENANCE_SHARE = Decimal(1)  # the venue publishes no maintenance rate: the whole initial one stands in for it
HUNDRED_PERCENT = Decimal(1)


@dataclass(frozen=True, slots=True)
class Contract:
    """What turns contracts of one future into base coin."""

    product_id: str
    base: str
    size: Decimal  # base coin in one contract
    tick: Decimal

    def coin(self, contracts: Decimal) -> Decimal:
        """Base coin in so many contracts."""
        return contracts * self.size

    def contracts(self, coin: Decimal) -> Decimal | None:
        """Whole contracts that are so much base coin; None when it is no whole number of them."""
        count, rest = divmod(abs(coin), self.size)
        return count if rest == 0 else None


@dataclass(frozen=True, slots=True)
class Fees:
    """Shares of notional; the part by contract is told nowhere but in fills and previews."""

    maker: Decimal
    taker: Decimal


def is_future(row: Row) -> bool:
    """Whether a product is a future that Coinbase Financial Markets clears."""
    return row.get("product_type") == "FUTURE" and row.get("product_venue") == "FCM"


def is_perpetual(row: Row) -> bool:
    """Whether a future is a perpetual-style one: the venue calls it EXPIRING, but it alone has funding (captured)."""
    return is_future(row) and words.word(_details(row), "funding_rate") is not None


def contract(row: Row) -> Contract:
    """The unit of any future, dated ones too."""
    details = _details(row)
    size, tick = words.need_number(details, "contract_size"), _tick(row)
    if size <= 0 or tick <= 0:
        raise Malformed(f"{row.get('product_id')}: tick or contract size is not positive")
    return Contract(text(row, "product_id"), text(details, "contract_root_unit"), size, tick)


def instrument(row: Row, fees: Fees | None) -> Instrument:
    """A future in base coin. The tick is `price_increment`; `quote_increment` is not it (captured)."""
    unit, details = contract(row), _details(row)
    step = words.need_number(row, "base_increment") * unit.size
    least = words.need_number(row, "base_min_size") * unit.size
    most = words.number(row, "base_max_size")
    rates = margin_rates(details)
    if step <= 0:
        raise Malformed(f"{unit.product_id}: its size step is not positive")
    dear = max((one for window in rates for one in (window.long.initial, window.short.initial)), default=None)
    symbol = f"{unit.base}-PERP" if is_perpetual(row) else unit.product_id
    return Instrument(
        product_id=unit.product_id,
        symbol=symbol,
        base=unit.base,
        currency=words.word(row, "quote_currency_id") or "USD",
        tick=unit.tick,
        size_step=step,
        min_size=max(least, step),
        maker_fee=None if fees is None else fees.maker,
        taker_fee=None if fees is None else fees.taker,
        max_leverage=None if not dear else (HUNDRED_PERCENT / dear).quantize(Decimal("0.01")),
        state=book_state(row),
        price_decimals=_decimals(unit.tick),
        size_decimals=_decimals(step),
        margin_rates=rates,
        contract_size=unit.size,
        max_size=None if most is None else most * unit.size,
        session=session(row),
        valued_by=VALUED_BY,
        mark_absent=NO_MARK,
    )


def margin_rates(details: Row) -> tuple[WindowRates, ...]:
    """What each margin window asks, long and short."""
    found = []
    for window in ("intraday", "overnight"):
        rates = details.get(f"{window}_margin_rate")
        if not isinstance(rates, dict):
            continue
        long, short = words.number(rates, "long_margin_rate"), words.number(rates, "short_margin_rate")
        if long and short:
            found.append(WindowRates(window, _rates(long), _rates(short)))
    return tuple(found)


def _rates(initial: Decimal) -> MarginRates:
    return MarginRates(initial, initial * MAINTENANCE_SHARE, ZERO)


def book_state(row: Row) -> BookState:
    """Whether it can be traded now. A session that is shut halts cancels too."""
    details = row.get("fcm_trading_session_details")
    if not isinstance(details, dict) or not isinstance(details.get("is_session_open"), bool):
        return BookState.UNKNOWN
    if not details["is_session_open"]:
        return BookState.HALTED
    if row.get("cancel_only") is True:
        return BookState.LOCKED
    if any(row.get(flag) is True for flag in ("is_disabled", "trading_disabled", "view_only")):
        return BookState.INACTIVE
    if any(row.get(flag) is True for flag in ("auction_mode", "post_only", "limit_only")):
        return BookState.UNKNOWN
    return BookState.OPEN


def session(row: Row) -> TradingSession | None:
    """The session and the next planned stop; `closed_reason` is set while it is open too, so it says nothing then."""
    details = row.get("fcm_trading_session_details")
    if not isinstance(details, dict) or not isinstance(details.get("is_session_open"), bool):
        return None
    planned = details.get("maintenance")
    planned = planned if isinstance(planned, dict) else {}
    reason = words.word(details, "closed_reason")
    return TradingSession(
        is_open=details["is_session_open"],
        opens_ms=words.moment(details, "open_time"),
        closes_ms=words.moment(details, "close_time"),
        stop_starts_ms=words.moment(planned, "start_time"),
        stop_ends_ms=words.moment(planned, "end_time"),
        closed_reason=None if details["is_session_open"] or reason is None else reason.rpartition("REASON_")[2].lower(),
    )


def planned_stop(row: Row) -> Happening | None:
    """The venue's announced maintenance of a product."""
    found = session(row)
    if found is None or found.stop_starts_ms is None:
        return None
    title = "maintenance: nothing can be placed, cancelled or closed"
    return Happening("maintenance", Kind.STOP, title, found.stop_starts_ms, found.stop_ends_ms, announced=True)


def quote(row: Row, touch: Book, seen: float) -> Quote:
    """The product beside the touch of its book. No mark: `mark_absent` of the instrument says why."""
    unit, details = contract(row), _details(row)
    if touch.product_id != unit.product_id:
        raise Malformed(f"the book speaks of {touch.product_id}")
    bid, ask = (levels[0] if levels else None for levels in (touch.bids, touch.asks))
    hourly, interest = words.number(details, "funding_rate"), words.number(details, "open_interest")
    return Quote(
        product_id=unit.product_id,
        bid=bid[0] if bid else None,
        bid_size=bid[1] if bid else None,
        ask=ask[0] if ask else None,
        ask_size=ask[1] if ask else None,
        mark=None,
        index=words.price(details, "index_price"),
        last=words.price(row, "price"),
        band_low=None,
        band_high=None,
        funding_8h=None if hourly is None else hourly * 8,
        current_funding=hourly,
        open_interest=None if interest is None else unit.coin(interest),
        state=book_state(row),
        at_ms=touch.at_ms,
        seen=seen,
    )


def funding_rate(row: Row, now_ms: int) -> FundingRate | None:
    """The hourly rate, stated per 8 hours; it accrues each hour after `funding_time`. None: a dated future has none."""
    details = _details(row)
    hourly = words.number(details, "funding_rate")
    if hourly is None:
        return None
    at_ms, every_ms = words.moment(details, "funding_time"), _interval_ms(details)
    next_ms = (now_ms // every_ms + 1) * every_ms
    if at_ms is not None:
        next_ms = at_ms + max(0, (now_ms - at_ms) // every_ms + 1) * every_ms
    return FundingRate(text(row, "product_id"), hourly * 8 * HOUR_MS / every_ms, hourly, next_ms, at_ms or now_ms)


def _interval_ms(details: Row) -> int:
    said = (words.word(details, "funding_interval") or "3600s").removesuffix("s")
    if not said.isdecimal() or not 60 <= int(said) <= 86_400:
        raise Malformed(f"funding_interval is {said[:20]!r}")
    return int(said) * 1000


def book(pricebook: Row, unit: Contract, seen: float, depth: int) -> Book:
    """A book in base coin, best first; it has no sequence here."""
    at_ms = words.need_moment(pricebook, "time")
    return Book(
        product_id=text(pricebook, "product_id"),
        bids=_levels(pricebook, "bids", unit, depth),
        asks=_levels(pricebook, "asks", unit, depth),
        change_id=None,
        at_ms=at_ms,
        seen=seen,
    )


def _levels(pricebook: Row, name: str, unit: Contract, depth: int) -> tuple[tuple[Decimal, Decimal], ...]:
    rows = rows_of(pricebook.get(name), name)[:depth]
    return tuple((words.need_number(row, "price"), unit.coin(words.need_number(row, "size"))) for row in rows)


def candles(rows: Sequence[Row], unit: Contract) -> tuple[Candle, ...]:
    """Bars, oldest first; their volume in base coin."""
    found = [
        Candle(
            at_ms=int(words.need_number(row, "start")) * 1000,
            open=words.need_number(row, "open"),
            high=words.need_number(row, "high"),
            low=words.need_number(row, "low"),
            close=words.need_number(row, "close"),
            volume=unit.coin(words.need_number(row, "volume")),
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda one: one.at_ms))


def fees(summary: Row) -> Fees:
    """The fee tier in a transaction summary."""
    tier = row_of(summary.get("fee_tier"), "fee_tier")
    return Fees(words.need_number(tier, "maker_fee_rate"), words.need_number(tier, "taker_fee_rate"))


def _details(row: Row) -> Row:
    return row_of(row.get("future_product_details"), "future_product_details")


def _tick(row: Row) -> Decimal:
    return words.need_number(row, "price_increment")


def _decimals(step: Decimal) -> int:
    return max(0, -int(step.normalize().as_tuple().exponent))
