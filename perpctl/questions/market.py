"""This file answers what the venue and its books are like right now."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.errors import ExitCode
from perpctl.model.instrument import BookState, Instrument, Quote
from perpctl.model.venue.calendar import Happening
from perpctl.questions import figures
from perpctl.results import Answer, Block, Column, Json, Line, Next, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk

WIDE_SPREAD_BP = Decimal(5)  # conservative's widest spread to take
SOURCE = "venue over HTTP"
STALE_MS = 2_000  # an own-instrument quote is stale after this


async def status(desk: Desk, symbols: tuple[str, ...]) -> Answer:
    """Whether the venue is up and each product can be traded. Exit 1 when one cannot."""
    exchange = await desk.exchange()
    venue = await exchange.status()
    instruments = [await exchange.instrument(symbol) for symbol in symbols or desk.settings.symbols]
    quotes = await asyncio.gather(*(exchange.quote(one.product_id) for one in instruments))
    now_ms = await exchange.time_ms()
    reports = [_Report(one, quote, now_ms) for one, quote in zip(instruments, quotes, strict=True)]
    venue_open = venue.locked == "false" and not venue.maintenance
    good = venue_open and all(report.tradable for report in reports)
    maintenance = {True: "MAINTENANCE", False: "no maintenance", None: "maintenance not told here"}[venue.maintenance]
    view: list[Block] = [
        Line(
            f"venue    {'open' if venue_open else 'NOT OPEN'}: locked {venue.locked}, {maintenance}; "
            f"round trip {venue.round_trip_ms} ms, its time {figures.clock(now_ms)}",
            Tone.GOOD if venue_open else Tone.BAD,
        )
    ]
    view += [Line(f"notice   {text}", Tone.WARN) for text in venue.announcements]
    planned = [one for one in venue.planned if one.start_ms > now_ms or one.runs_at(now_ms)]
    view += [Line(f"planned  {_when(one, now_ms)}: {one.title}", Tone.WARN) for one in planned]
    view += [Line(""), Table(_STATUS_COLUMNS, tuple(report.row() for report in reports))]
    view += [Line(f"mark n/a: {text}", Tone.DIM) for text in {one.mark_absent for one in instruments} if text]
    view.append(Line("verdict  " + ("TRADABLE" if good else "NOT TRADABLE"), Tone.GOOD if good else Tone.BAD))
    facts: dict[str, Json] = {
        "locked": venue.locked,
        "maintenance": venue.maintenance,
        "announcements": list(venue.announcements),
        "planned": [_planned(one) for one in planned],
        "round_trip_ms": venue.round_trip_ms,
        "clock_offset_ms": venue.wall_offset_ms,
        "market_time_ms": now_ms,
        "tradable": good,
        "products": [report.facts() for report in reports],
    }
    code = ExitCode.OK if good else ExitCode.NEGATIVE
    if not good:
        view.append(
            Next((f"perpctl -p {desk.settings.profile} status", f"perpctl kill -p {desk.settings.profile} --dry-run"))
        )
    standing = desk.standing(source=SOURCE, age_s=0.0)
    return Answer("perpctl.market.status/1", await desk.scope(), facts, tuple(view), code, "products", standing)


def _when(one: Happening, now_ms: int) -> str:
    if one.runs_at(now_ms):
        return "NOW" if one.end_ms is None else f"NOW, {figures.span((one.end_ms - now_ms) / 1000)} left"
    return f"{from_ms(one.start_ms):%a %d %b %H:%M} UTC, in {figures.span((one.start_ms - now_ms) / 1000)}"


def _planned(one: Happening) -> Json:
    end_at = None if one.end_ms is None else from_ms(one.end_ms).isoformat()
    start_at = from_ms(one.start_ms).isoformat()
    return {"key": one.key, "kind": one.kind.value, "what": one.title, "start_at": start_at, "end_at": end_at}


_STATUS_COLUMNS = (
    Column("product", "PRODUCT"),
    Column("state", "STATE"),
    Column("bid", "BID", True),
    Column("ask", "ASK", True),
    Column("spread", "SPREAD", True),
    Column("mark", "MARK", True),
    Column("index", "INDEX", True),
    Column("band", "PRICE BAND", True),
    Column("age", "AGE", True),
)


class _Report:
    """One product's state, spread and age, and whether it can be traded."""

    def __init__(self, instrument: Instrument, quote: Quote, now_ms: int) -> None:
        self.instrument, self.quote = instrument, quote
        self.age_s = max(now_ms - quote.at_ms, 0) / 1000
        mid = quote.mid
        self.spread_bp = None
        if mid and quote.ask is not None and quote.bid is not None:
            self.spread_bp = (quote.ask - quote.bid) / mid * 10_000

    @property
    def tradable(self) -> bool:
        return self.quote.state is BookState.OPEN and self.quote.mid is not None

    def row(self) -> Row:
        quote, decimals = self.quote, self.instrument.price_decimals
        band = f"{figures.price(quote.band_low, decimals)} to {figures.price(quote.band_high, decimals)}"
        untold = quote.band_low is None and quote.band_high is None and self.instrument.mark_absent
        stale = " STALE" if self.age_s * 1000 > STALE_MS else ""
        spread = figures.MISSING if self.spread_bp is None else f"{self.spread_bp:.2f} bp"
        return Row(
            {
                "product": self.instrument.product_id,
                "state": quote.state.upper(),
                "bid": figures.price(quote.bid, decimals),
                "ask": figures.price(quote.ask, decimals),
                "spread": spread + (" WIDE" if self.spread_bp and self.spread_bp > WIDE_SPREAD_BP else ""),
                "mark": "n/a" if self.instrument.mark_absent else figures.price(quote.mark, decimals),
                "index": figures.price(quote.index, decimals),
                "band": "n/a" if untold else band,
                "age": figures.age(self.age_s) + stale,
            },
            tone=Tone.PLAIN if self.tradable else Tone.BAD,
        )

    def facts(self) -> dict[str, Json]:
        quote = self.quote
        return {
            "product_id": self.instrument.product_id,
            "symbol": self.instrument.symbol,
            "state": quote.state.value,
            "tradable": self.tradable,
            "age_s": f"{self.age_s:.3f}",
            **figures.texts(
                [
                    ("bid", quote.bid),
                    ("ask", quote.ask),
                    ("mark", quote.mark),
                    ("index", quote.index),
                    ("band_low", quote.band_low),
                    ("band_high", quote.band_high),
                    ("open_interest", quote.open_interest),
                    ("spread_bp", self.spread_bp),
                ]
            ),
        }


async def listing(desk: Desk) -> Answer:
    """Every perpetual of the venue with its increments and fees."""
    exchange = await desk.exchange()
    instruments = await exchange.instruments()
    rows = tuple(
        Row(
            {
                "symbol": one.symbol,
                "product": one.product_id,
                "state": one.state.value,
                "tick": f"{one.tick:f}",
                "step": f"{one.size_step:f} {one.base}",
                "min": f"{one.min_size:f} {one.base}",
                "maker": figures.percent(one.maker_fee, 3, signed=False),
                "taker": figures.percent(one.taker_fee, 3, signed=False),
                "leverage": figures.MISSING if one.max_leverage is None else f"{one.max_leverage:f} x",
            }
        )
        for one in instruments
    )
    products: list[Json] = [
        {
            "symbol": one.symbol,
            "product_id": one.product_id,
            "base": one.base,
            "currency": one.currency,
            "state": one.state.value,
            **figures.texts(
                [
                    ("tick", one.tick),
                    ("size_step", one.size_step),
                    ("min_size", one.min_size),
                    ("maker_fee", one.maker_fee),
                    ("taker_fee", one.taker_fee),
                    ("max_leverage", one.max_leverage),
                ]
            ),
        }
        for one in instruments
    ]
    table = Table(_LIST_COLUMNS, rows)
    standing = desk.standing(source=SOURCE)
    facts: dict[str, Json] = {"products": products}
    return Answer("perpctl.market.list/1", await desk.scope(), facts, (table,), records="products", standing=standing)


_LIST_COLUMNS = (
    Column("symbol", "SYMBOL"),
    Column("product", "PRODUCT"),
    Column("state", "STATE"),
    Column("tick", "TICK", True),
    Column("step", "SIZE STEP", True),
    Column("min", "MINIMUM", True),
    Column("maker", "MAKER", True),
    Column("taker", "TAKER", True),
    Column("leverage", "LEVERAGE", True),
)


async def book(desk: Desk, symbol: str, depth: int) -> Answer:
    """The best `depth` levels a side."""
    exchange = await desk.exchange()
    instrument = await exchange.instrument(symbol)
    found = await exchange.book(instrument.product_id, depth)
    columns = (
        Column("bid_size", f"BID {instrument.base}", True),
        Column("bid", "BID", True),
        Column("ask", "ASK", True),
        Column("ask_size", f"ASK {instrument.base}", True),
    )
    rows = []
    for level in range(min(depth, max(len(found.bids), len(found.asks)))):
        bid = found.bids[level] if level < len(found.bids) else None
        ask = found.asks[level] if level < len(found.asks) else None
        rows.append(
            Row(
                {
                    "bid_size": "" if bid is None else f"{bid[1]:.{instrument.size_decimals}f}",
                    "bid": "" if bid is None else figures.price(bid[0], instrument.price_decimals),
                    "ask": "" if ask is None else figures.price(ask[0], instrument.price_decimals),
                    "ask_size": "" if ask is None else f"{ask[1]:.{instrument.size_decimals}f}",
                }
            )
        )
    facts: dict[str, Json] = {
        "product_id": instrument.product_id,
        "change_id": found.change_id,
        "at_ms": found.at_ms,
        "bids": [[figures.text(price), figures.text(size)] for price, size in found.bids[:depth]],
        "asks": [[figures.text(price), figures.text(size)] for price, size in found.asks[:depth]],
    }
    age_s = desk.clock.monotonic() - found.seen
    change = "" if found.change_id is None else f", change {found.change_id}"
    head = Line(f"{instrument.product_id}   as of {figures.clock(found.at_ms)}{change}")
    view = (Line(""), head, Table(columns, tuple(rows), "the book is empty"))
    standing = desk.standing(source=SOURCE, age_s=age_s)
    return Answer("perpctl.market.book/1", await desk.scope(), facts, view, standing=standing)
