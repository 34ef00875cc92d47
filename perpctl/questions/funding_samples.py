"""This file keeps our own record of funding where the venue has none: a sample each hour, and what they come to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from perpctl.clock import from_ms
from perpctl.exchange.port import Unsupported
from perpctl.model.books import sampling
from perpctl.model.books.funding import FundingPayment, FundingRate
from perpctl.model.books.sampling import Gap, Held, Sample
from perpctl.questions import figures
from perpctl.results import Answer, Block, Column, Json, Line, Row, Table, Tone
from perpctl.store.records import Kind

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.exchange.port import Exchange
    from perpctl.model.position import Position

SCHEMA = "perpctl.funding.record/1"
EIGHT = Decimal(8)
SHOWN_GAPS = 5


async def record(desk: Desk) -> Answer:
    """One sample of what is held and watched, with rate and price, written to the journal; for an hourly cron."""
    exchange = await desk.exchange()
    (positions, account), now_ms = await asyncio.gather(exchange.holdings(), exchange.time_ms())
    sizes = {one.product_id: one for one in positions}
    watched = [(await exchange.instrument(symbol)).product_id for symbol in desk.settings.symbols]
    held = [await _held(exchange, product, sizes.get(product)) for product in dict.fromkeys([*sizes, *watched])]
    sample = Sample(now_ms, tuple(held), account.funding_pnl, account.currency)
    desk.journal().append(Kind.FUNDING_SAMPLED, _body(sample), None, now_ms)
    lacking = [one.product_id for one in held if one.size and (one.price is None or one.rate_1h is None)]
    rows = tuple(_row(one, sample.currency) for one in held)
    view: list[Block] = [Table(_COLUMNS, rows, "nothing is held or watched")]
    view += [Line(f"no estimate can be made of {name}: its rate or price is not told", Tone.WARN) for name in lacking]
    view.append(Line(f"recorded for the hour of {from_ms(sampling.hour_of(now_ms)):%d %b %H:%M} UTC", Tone.DIM))
    facts: dict[str, Json] = {"recorded": True, "at_ms": now_ms, **_facts(sample)}
    standing = desk.standing(source="venue over HTTP", age_s=0.0)
    return Answer(SCHEMA, await desk.scope(), facts, tuple(view), records="samples", standing=standing)


async def _held(exchange: Exchange, product_id: str, position: Position | None) -> Held:
    """What is held of one product at its hourly rate; priced as the venue values it, else at the index."""
    rate, quote = await asyncio.gather(exchange.funding_rate(product_id), exchange.quote(product_id))
    hourly = rate.rate_8h / EIGHT if isinstance(rate, FundingRate) else None
    price = position.mark if position is not None else None
    size = position.size if position is not None else Decimal(0)
    return Held(product_id, size, price or quote.mark or quote.index or quote.mid, hourly)


_COLUMNS = (
    Column("product", "PRODUCT"),
    Column("size", "POSITION", True),
    Column("price", "PRICE", True),
    Column("rate", "PER HOUR", True),
    Column("amount", "THIS HOUR, ESTIMATED", True),
)


def _row(one: Held, currency: str) -> Row:
    amount = None if one.price is None or one.rate_1h is None else -one.size * one.price * one.rate_1h
    return Row(
        {
            "product": one.product_id,
            "size": f"{one.size:+f}",
            "price": figures.MISSING if one.price is None else f"{one.price:,f}",
            "rate": figures.percent(one.rate_1h, 5),
            "amount": figures.MISSING if amount is None else f"~{amount:+,.4f} {currency}",
        }
    )


def _body(sample: Sample) -> dict[str, object]:
    samples = [
        {"product_id": one.product_id, "size": one.size, "price": one.price, "rate_1h": one.rate_1h}
        for one in sample.held
    ]
    return {"samples": samples, "running": sample.running, "currency": sample.currency, "basis_hours": 1}


def _facts(sample: Sample) -> dict[str, Json]:
    rows: list[Json] = [
        {
            "product_id": one.product_id,
            **figures.texts([("size", one.size), ("price", one.price), ("rate_1h", one.rate_1h)]),
        }
        for one in sample.held
    ]
    return {"samples": rows, "running": figures.text(sample.running), "currency": sample.currency, "estimate": True}


# --- what the samples come to ----------------------------------------------------------------------------------------


async def history(desk: Desk, days: int, now_ms: int, absent: Unsupported) -> Answer:
    """The payments of the last `days` as our own samples have them: estimates, with every gap named."""
    since_ms = now_ms - days * 24 * sampling.HOUR_MS
    samples = [one for one in _samples(desk) if one.at_ms >= since_ms]
    payments, lacking = sampling.estimated(samples)
    gaps, moved = sampling.gaps(samples, since_ms, now_ms), sampling.moved(samples)
    paid = sampling.total(payments) if samples else None  # nothing recorded is not nothing paid
    currency = samples[-1].currency if samples else (await (await desk.exchange()).account()).currency
    table = Table(_PAYMENTS, tuple(_payment(one) for one in payments), "no sample of ours has a position in it")
    view: list[Block] = [Line(f"payments n/a: {absent.reason}"), Line(""), table, Line("")]
    told = figures.MISSING if paid is None else f"~{paid:+,.4f} {currency}"
    seen = f"{len(sampling.by_hour(samples))} of the {days * 24} hours of {days} d seen"
    view.append(Line(f"PAID     {told}, {seen}, ESTIMATED from our samples; negative: we paid"))
    view += _running_lines(moved, paid, currency)
    view += _gap_lines(gaps, lacking)
    facts: dict[str, Json] = {
        "days": days,
        "payments": [_payment_facts(one) for one in payments],
        "absent": absent.reason,
        "estimate": True,
        "samples": len(samples),
        "gaps": [_gap_facts(one) for one in gaps],
        "not_estimated": list(lacking),
        "currency": currency,
        **figures.texts(
            [
                ("paid", paid),
                ("venue_moved", moved),
                ("difference", None if moved is None or paid is None else moved - paid),
            ]
        ),
    }
    standing = desk.standing(source="our journal")
    return Answer(
        "perpctl.funding.history/1", await desk.scope(), facts, tuple(view), records="payments", standing=standing
    )


def _samples(desk: Desk) -> Iterator[Sample]:
    for line in desk.journal().records(kinds=(Kind.FUNDING_SAMPLED,)):
        yield _sample(line.at_market_ms or 0, line.body)


def _sample(at_ms: int, body: Mapping[str, Any]) -> Sample:
    held = tuple(
        Held(row["product_id"], Decimal(row["size"]), _number(row["price"]), _number(row["rate_1h"]))
        for row in body["samples"]
    )
    return Sample(at_ms, held, _number(body["running"]), body["currency"])


def _number(text: object) -> Decimal | None:
    return None if text is None else Decimal(str(text))


def _running_lines(moved: Decimal | None, paid: Decimal | None, currency: str) -> list[Block]:
    if moved is None or paid is None:
        return [Line("VENUE    its own running figure was not told in two samples: nothing to compare with", Tone.DIM)]
    return [
        Line(f"VENUE    its own running figure moved by {moved:+,.4f} {currency} over the same samples"),
        Line(
            f"         {moved - paid:+,.4f} apart; the window and the sign of that figure are not documented, and it "
            "starts anew when it is paid",
            Tone.DIM,
        ),
    ]


def _gap_lines(gaps: tuple[Gap, ...], lacking: tuple[str, ...]) -> list[Block]:
    texts = [
        f"{one.hours} h from {from_ms(one.from_ms):%d %b %H:%M} UTC: no sample, nothing estimated"
        for one in gaps[:SHOWN_GAPS]
    ]
    if len(gaps) > SHOWN_GAPS:
        texts.append(f"and {sum(one.hours for one in gaps[SHOWN_GAPS:])} h in {len(gaps) - SHOWN_GAPS} others")
    texts += [f"{name}: held, but no rate or price" for name in lacking[:SHOWN_GAPS]]
    lines: list[Block] = [Line(f"GAPS     {text}", Tone.WARN, mark=True) for text in texts]
    if lines:
        return [*lines, Line("         a cron line closes them: 50 * * * * perpctl funding record", Tone.DIM)]
    return [Line("GAPS     none: every hour has its sample")]


_PAYMENTS = (
    Column("at", "HOUR ENDING (UTC)"),
    Column("product", "PRODUCT"),
    Column("amount", "AMOUNT", True),
    Column("basis", "BASIS"),
)


def _payment(one: FundingPayment) -> Row:
    return Row(
        {
            "at": f"{from_ms(one.at_ms):%d %b %Y %H:%M}",
            "product": one.product_id,
            "amount": f"~{one.amount:+,.4f} {one.currency}",
            "basis": "estimate, our sample of that hour",
        }
    )


def _payment_facts(one: FundingPayment) -> Json:
    return {
        "product_id": one.product_id,
        "amount": figures.text(one.amount),
        "currency": one.currency,
        "at": from_ms(one.at_ms).isoformat(),
        "row_id": one.row_id,
        "exact": one.exact,
    }


def _gap_facts(one: Gap) -> Json:
    return {"from": from_ms(one.from_ms).isoformat(), "to": from_ms(one.to_ms).isoformat(), "hours": one.hours}
