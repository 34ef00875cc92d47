"""This file answers what funding costs: the rate now, what was paid, and when it is paid next."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.exchange.port import Unsupported
from perpctl.model.books.funding import FundingPayment, FundingRate
from perpctl.questions import figures, funding_samples
from perpctl.results import Answer, Block, Column, Json, Line, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.exchange.port import Exchange

EIGHT_HOURS_A_YEAR = Decimal(3 * 365)
DAY_MS = 86_400_000
SOURCE = "venue over HTTP"
# Coinbase help, perpetual-style futures, funding: by the hour, on what is held at its end; paid in cash twice a day.
BY_THE_HOUR = "accrues at the end of each hour on what is then held; paid twice a day, told by no row of the venue"


async def rates(desk: Desk, symbols: tuple[str, ...]) -> Answer:
    """The rate of each product: per 8 hours and a year, and when it is paid."""
    exchange = await desk.exchange()
    found = await _rates(desk, exchange, symbols)
    now_ms = await exchange.time_ms()
    rows = tuple(_rate_row(symbol, rate, now_ms) for symbol, rate in found)
    following = Column("next", "PAID NEXT" if exchange.terms.continuous_funding else "ACCRUES NEXT")
    table = Table((*_RATE_COLUMNS, following), rows)
    view = (table, Line("positive: longs pay shorts", Tone.DIM))
    facts: dict[str, Json] = {"rates": [_rate_facts(symbol, rate) for symbol, rate in found]}
    standing = desk.standing(source=SOURCE, age_s=0.0)
    return Answer("perpctl.funding.rates/1", await desk.scope(), facts, view, records="rates", standing=standing)


async def _rates(
    desk: Desk, exchange: Exchange, symbols: tuple[str, ...]
) -> tuple[tuple[str, FundingRate | Unsupported], ...]:
    instruments = [await exchange.instrument(symbol) for symbol in symbols or desk.settings.symbols]
    found = await asyncio.gather(*(exchange.funding_rate(one.product_id) for one in instruments))
    return tuple((one.symbol, rate) for one, rate in zip(instruments, found, strict=True))


_RATE_COLUMNS = (
    Column("symbol", "SYMBOL"),
    Column("rate", "PER 8 HOURS", True),
    Column("current", "CURRENT", True),
    Column("year", "A YEAR", True),
)


def _rate_row(symbol: str, rate: FundingRate | Unsupported, now_ms: int) -> Row:
    if isinstance(rate, Unsupported):
        return Row({"symbol": symbol, "rate": "n/a", "current": "n/a", "year": "n/a", "next": rate.reason})
    until = figures.span((rate.next_at_ms - now_ms) / 1000)
    return Row(
        {
            "symbol": symbol,
            "rate": figures.percent(rate.rate_8h, 4),
            "current": figures.percent(rate.current, 4),
            "year": figures.percent(rate.rate_8h * EIGHT_HOURS_A_YEAR, 1),
            "next": f"{from_ms(rate.next_at_ms):%d %b %H:%M} UTC, in {until}",
        }
    )


def _rate_facts(symbol: str, rate: FundingRate | Unsupported) -> dict[str, Json]:
    if isinstance(rate, Unsupported):
        return {"symbol": symbol, "rate_8h": None, "absent": rate.reason}
    return {
        "symbol": symbol,
        "product_id": rate.product_id,
        "next_at": from_ms(rate.next_at_ms).isoformat(),
        **figures.texts(
            [
                ("rate_8h", rate.rate_8h),
                ("current", rate.current),
                ("rate_year", rate.rate_8h * EIGHT_HOURS_A_YEAR),
            ]
        ),
    }


async def history(desk: Desk, days: int) -> Answer:
    """Payments of the last `days`, not rates, with the running session beside them."""
    exchange = await desk.exchange()
    now_ms = await exchange.time_ms()
    paid, positions = await asyncio.gather(exchange.funding_payments(now_ms - days * DAY_MS), exchange.positions())
    if isinstance(paid, Unsupported):
        return await funding_samples.history(desk, days, now_ms, paid)
    running = figures.total(position.funding for position in positions)
    currency = paid[0].currency if paid else (await exchange.account()).currency
    rows = tuple(_payment_row(payment) for payment in paid)
    total = sum((payment.amount for payment in paid), Decimal(0))
    span = figures.count(days, "day")
    view: tuple[Block, ...] = (
        Table(_PAYMENT_COLUMNS, rows, f"no funding was paid in {span}"),
        Line(""),
        Line(f"PAID     {figures.money(total, signed=True)} {currency} in {span}; negative: we paid"),
        Line(f"RUNNING  {figures.money(running, signed=True)} {currency} accrued in this session, not yet in cash"),
    )
    facts: dict[str, Json] = {
        "days": days,
        "payments": [_payment_facts(payment) for payment in paid],
        **figures.texts([("paid", total), ("running", running)]),
        "currency": currency,
    }
    standing = desk.standing(source=SOURCE, age_s=0.0)
    return Answer("perpctl.funding.history/1", await desk.scope(), facts, view, records="payments", standing=standing)


_PAYMENT_COLUMNS = (
    Column("at", "AT (UTC)"),
    Column("product", "PRODUCT"),
    Column("amount", "AMOUNT", True),
    Column("basis", "BASIS"),
    Column("row", "LEDGER ROW", True),
)


def _payment_row(payment: FundingPayment) -> Row:
    return Row(
        {
            "at": f"{from_ms(payment.at_ms):%d %b %Y %H:%M}",
            "product": payment.product_id if payment.slot is None else f"{payment.product_id} iso {payment.slot}",
            "amount": f"{'' if payment.exact else '~'}{payment.amount:+,.4f} {payment.currency}",
            "basis": "exact, the venue's ledger" if payment.exact else "estimate",
            "row": payment.row_id,
        }
    )


def _payment_facts(payment: FundingPayment) -> dict[str, Json]:
    return {
        "product_id": payment.product_id,
        "slot": payment.slot,
        "amount": figures.text(payment.amount),
        "currency": payment.currency,
        "at": from_ms(payment.at_ms).isoformat(),
        "row_id": payment.row_id,
        "exact": payment.exact,
    }


async def schedule(desk: Desk) -> Answer:
    """When funding is paid next, and about what each open position would pay at the rate of now."""
    exchange = await desk.exchange()
    positions = await exchange.positions()
    now_ms = await exchange.time_ms()
    symbols = tuple(dict.fromkeys(position.product_id for position in positions)) or desk.settings.symbols
    found = {
        rate.product_id: rate for _, rate in await _rates(desk, exchange, symbols) if isinstance(rate, FundingRate)
    }
    continuous = exchange.terms.continuous_funding
    rows: list[Row] = []
    facts: list[Json] = []
    for position in positions:
        rate = found.get(position.product_id)
        expected = _expected(position.size, position.mark, rate, now_ms, continuous=continuous)
        rows.append(
            Row(
                {
                    "product": position.product_id,
                    "accrued": _accrued(position.funding, continuous=continuous),
                    "expected": _expected_words(rate, expected),
                }
            )
        )
        facts.append(
            {
                "product_id": position.product_id,
                **figures.texts([("accrued", position.funding), ("expected_more", expected)]),
                "estimate": True,
            }
        )
    next_ms = min((rate.next_at_ms for rate in found.values()), default=None)
    when = "n/a at this venue"
    if next_ms is not None:
        when = f"{from_ms(next_ms):%a %d %b %H:%M} UTC, in {figures.span((next_ms - now_ms) / 1000)}"
    columns = (*_SCHEDULE_COLUMNS, _STILL_TO_COME if continuous else _NEXT_HOUR)
    view: list[Block] = [
        Line(""),
        Line(f"NEXT     {when}"),
        Table(columns, tuple(rows), "no open position: nothing due"),
    ]
    if rows and not continuous:
        view.append(Line(BY_THE_HOUR, Tone.DIM))
    body: dict[str, Json] = {
        "next_at": None if next_ms is None else from_ms(next_ms).isoformat(),
        "positions": facts,
    }
    standing = desk.standing(source=SOURCE, age_s=0.0)
    scope = await desk.scope()
    return Answer("perpctl.funding.schedule/1", scope, body, tuple(view), records="positions", standing=standing)


_SCHEDULE_COLUMNS = (
    Column("product", "PRODUCT"),
    Column("accrued", "ACCRUED", True),
)
_STILL_TO_COME = Column("expected", "STILL TO COME, AT THE RATE OF NOW", True)
_NEXT_HOUR = Column("expected", "OF THIS HOUR, AT THE RATE OF NOW", True)


def _accrued(funding: Decimal | None, *, continuous: bool) -> str:
    return "n/a" if funding is None and not continuous else figures.money(funding, signed=True)


def _expected_words(rate: FundingRate | None, expected: Decimal | None) -> str:
    if rate is None:
        return "n/a"
    return figures.MISSING if expected is None else f"~{figures.money(expected, signed=True)}"


def _expected(
    size: Decimal, mark: Decimal | None, rate: FundingRate | None, now_ms: int, *, continuous: bool
) -> Decimal | None:
    """Rate x notional x time / 8 h, until the payment or of the hour that is held to its end; negative: we pay."""
    if rate is None or mark is None:
        return None
    hours = Decimal(rate.next_at_ms - now_ms) / 3_600_000 if continuous else Decimal(1)
    return -size * mark * rate.rate_8h * hours / 8


async def overview(desk: Desk) -> Answer:
    """Rates, the next payment and what this session has accrued, on one screen."""
    now = await rates(desk, ())
    due, paid = await schedule(desk), await history(desk, 1)
    view = (*now.view, *due.view, Line(""), *paid.view)
    facts: dict[str, Json] = {"rates": now.facts["rates"], "schedule": dict(due.facts), "history": dict(paid.facts)}
    return Answer("perpctl.funding/1", now.scope, facts, view, standing=now.standing)
