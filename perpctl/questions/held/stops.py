"""This file answers whether every position has its protective stop: there, of the right size, outliving the bot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.errors import ExitCode
from perpctl.model.stops import remedy
from perpctl.questions import figures
from perpctl.questions.held import positions
from perpctl.questions.held.positions import Holding
from perpctl.results import Answer, Block, Column, Json, Line, Next, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk


async def listing(desk: Desk) -> Answer:
    """The stop of every open position."""
    return await _answer(desk, "perpctl.stops/1", judged=False)


async def verify(desk: Desk) -> Answer:
    """Exit 0 only when every open position is covered by protective stops; else 1, each bare one named."""
    return await _answer(desk, "perpctl.stops.verify/1", judged=True)


async def _answer(desk: Desk, schema: str, *, judged: bool) -> Answer:
    found = await positions.read(desk)
    scope = await desk.scope()
    bad = [one for one in found.holdings if trouble(one) is not None]
    view: list[Block] = [Table(_COLUMNS, tuple(map(_row, found.holdings)), "no open position: no stop is due")]
    if judged:
        held = figures.count(len(found.holdings), "position")
        words = f"{len(bad)} of {held} NOT PROTECTED AS ASKED"
        good = f"PROTECTED: {held}, each covered at the venue by orders that outlive the bot"
        view.append(Line(words, Tone.BAD, mark=True) if bad else Line(good, Tone.GOOD))
    if bad:
        view.append(Next(tuple(f"perpctl -p {scope.profile} stops place {one.words}" for one in bad)))
    facts: dict[str, Json] = {"protected": not bad, "positions": [_facts(one) for one in found.holdings]}
    code = ExitCode.NEGATIVE if judged and bad else ExitCode.OK
    standing = desk.standing(source="venue over HTTP", age_s=desk.clock.monotonic() - found.read_at)
    return Answer(schema, scope, facts, tuple(view), code, "positions", standing=standing)


def trouble(one: Holding) -> str | None:
    """What is wrong with a position's protection, or None."""
    if not one.stops:
        return "NO STOP AT THE VENUE"
    if not one.cover.is_enough:
        return f"covers only {one.cover.fraction * 100:.0f} %"
    if one.stop_distance_pct is None:
        return None
    try:
        cure = remedy(one.position, one.stops, one.stop_distance_pct, one.instrument.tick)
    except ValueError as why:
        return str(why)
    if cure.place is None:
        return None
    return f"{_from_entry(one)} from entry; at most {one.stop_distance_pct.normalize():f} % is allowed"


def _from_entry(one: Holding) -> str:
    entry, trigger = one.position.entry_price, one.cover.trigger_price
    if not entry or trigger is None:
        return figures.MISSING
    return f"{abs(trigger - entry) / entry * 100:.1f} %"


def is_bare(one: Holding) -> bool:
    """Whether some of it has no stop at all; one that stands too far away is another trouble."""
    return not one.stops or not one.cover.is_enough


_COLUMNS = (
    Column("product", "PRODUCT"),
    Column("size", "POSITION", True),
    Column("stop", "STOP", True),
    Column("at", "AT", True),
    Column("on", "ON"),
    Column("away", "AWAY", True),
    Column("covers", "COVERS", True),
    Column("verdict", "VERDICT"),
)


def _row(one: Holding) -> Row:
    position, instrument = one.position, one.instrument
    name = position.product_id if position.slot is None else f"{position.product_id} iso {position.slot}"
    cells = {
        "product": name,
        "size": figures.size(position.size, instrument.base, instrument.size_decimals),
        "verdict": trouble(one) or "PASS",
    }
    if one.stops:
        stop = one.stops[0]
        away = None
        if stop.trigger_price is not None and position.mark:
            away = (stop.trigger_price - position.mark) / position.mark
        cells |= {
            "stop": f"{stop.side} {stop.remaining:.{instrument.size_decimals}f}",
            "at": figures.price(stop.trigger_price, instrument.price_decimals),
            "on": (stop.trigger or "?").removesuffix("_price"),
            "away": figures.percent(away, 1),
            "covers": f"{one.cover.fraction * 100:.0f} %",
        }
    return Row(cells, tone=Tone.BAD if trouble(one) else Tone.PLAIN)


def _facts(one: Holding) -> dict[str, Json]:
    return {
        "product_id": one.position.product_id,
        "slot": one.position.slot,
        "size": figures.text(one.position.size),
        "stops": [stop.order_id for stop in one.stops],
        "covers": f"{one.cover.fraction:.4f}",
        "trouble": trouble(one),
    }
