"""This file answers for positions that cannot be read: what was last proven, and the worst it can have come to."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.errors import ExitCode, UnknownState
from perpctl.model import exposure
from perpctl.model.exposure import Holding, Reach, UnknownOrder
from perpctl.questions import figures
from perpctl.results import Age, Answer, Column, Json, Line, Next, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.store.projections import Projections


def answer(desk: Desk, schema: str, why: UnknownState) -> Answer:
    """Exit 3. From the journal alone: nothing here is shown as what is held now."""
    proven_at = desk.projections().last_clean_reconcile()
    age_s = None if proven_at is None else (desk.clock.now() - proven_at).total_seconds()
    reaches, pending = _reaches(desk)
    currencies = {fill.product_id: fill.fee_currency for fill in desk.projections().fills()}
    name = desk.settings.profile
    since = "never proven" if age_s is None else f"last proven {figures.span(age_s)} ago, at {proven_at:%H:%M:%S} UTC"
    orders = (
        f"{figures.count(pending, 'order')} of ours may have filled since" if pending else "no order of ours was out"
    )
    view = (
        Line(""),
        Line(f"POSITIONS UNKNOWN: {since}; {orders}.", Tone.BAD, mark=True),
        Line(f"cause: {why.message}"),
        Table(
            _COLUMNS,
            tuple(_row(one, age_s, currencies) for one in reaches),
            "our journal holds nothing",
        ),
        Line("Not done: nothing was sent. New entries are refused until a fresh read."),
        Next(
            (
                f"perpctl -p {name} market status",
                f"perpctl -p {name} auth test",
                f"perpctl kill -p {name} --force",
            )
        ),
    )
    facts: dict[str, Json] = {
        "source": "journal",
        "positions": None,
        "last_proven_at": None if proven_at is None else proven_at.isoformat(),
        "orders_that_may_have_filled": pending,
        "last_proven": [_facts(one) for one in reaches],
    }
    standing = desk.standing(venue_state="UNREACHABLE", source="our journal")
    trouble = f"positions unknown: {why.message}"
    return Answer(schema, desk.known_scope(), facts, view, ExitCode.UNKNOWN, standing=standing, trouble=trouble)


_COLUMNS = (
    Column("product", "PRODUCT"),
    Column("size", "LAST PROVEN", True),
    Column("worst", "WORST CASE NOW (open and unknown orders filled)", True),
    Column("price", "LAST PRICE", True),
    Column("age", "AGE", True),
)


def _last_price(projections: Projections, product_id: str) -> Decimal | None:
    fill = projections.newest_fill(product_id)
    return None if fill is None else fill.mark or fill.price


def _reaches(desk: Desk) -> tuple[list[Reach], int]:
    projections = desk.projections()
    held = [
        Holding(one.product_id, one.product_id, one.size, _last_price(projections, one.product_id), None, one.slot)
        for one in projections.positions()
    ]
    working = [one.order for one in projections.working_orders() if one.order is not None]
    unknown = [UnknownOrder(one.request, 0) for one in projections.unknown_orders() if one.request is not None]
    found = exposure.reaches(held, working, unknown)
    return sorted(found.values(), key=lambda one: (one.product_id, one.slot or 0)), len(working) + len(unknown)


def _row(one: Reach, age_s: float | None, currencies: Mapping[str, str]) -> Row:
    base = figures.coin_of(one.product_id)
    spread = f"{one.low:+f}" if one.low == one.high else f"{one.low:+f} to {one.high:+f}"
    worst = _worst(one)
    money = f"{figures.money(worst)} {currencies.get(one.product_id, '')}".rstrip()
    price = worst if worst is None else one.price
    cells: dict[str, str | Age] = {
        "product": one.product_id if one.slot is None else f"{one.product_id} iso {one.slot}",
        "size": f"{one.size:+f} {base}",
        "worst": f"{spread} {base} ({money})",
        "price": "?" if price is None else f"{price:,f}",
        "age": "?" if age_s is None else Age(age_s),
    }
    return Row(cells)


def _worst(one: Reach) -> Decimal | None:
    return None if one.price is None else one.worst * one.price


def _facts(one: Reach) -> dict[str, Json]:
    numbers = [("size", one.size), ("low", one.low), ("high", one.high), ("price", one.price)]
    return {
        "product_id": one.product_id,
        "slot": one.slot,
        **figures.texts([*numbers, ("worst_notional", _worst(one))]),
    }
