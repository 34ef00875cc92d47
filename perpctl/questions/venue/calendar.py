"""This file answers what comes next: the venue's clock, what it has announced, funding, our routine, and our ages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING

from perpctl.clock import from_ms, to_ms
from perpctl.errors import UnknownState
from perpctl.exchange.port import Grant, Unsupported, VenueTerms
from perpctl.model.order import TimeInForce
from perpctl.model.venue.calendar import DAY_MS, Happening, Kind, VenueCalendar, merged, zone_of
from perpctl.model.venue.stops import Standing
from perpctl.questions import figures
from perpctl.questions.venue import ages
from perpctl.results import Answer, Block, Column, Json, Line, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.exchange.port import Exchange

AHEAD_DAYS = 8  # holds every weekly stop once
STEPS_MS = {"plan it": 60, "no new entries": 15, "entries off": 5, "stops verified": 2}


def upcoming(days: int | None) -> Callable[[Desk], Awaitable[Answer]]:
    """Asks what comes in `days`, or the next of each kind; a view that is watched signs in anew only once."""
    grants: list[Grant | Unsupported] = []

    async def ask(desk: Desk) -> Answer:
        exchange = await desk.exchange()
        if not grants:
            grants.append(await exchange.grant())
        return await _answer(desk, exchange, grants[0], days)

    async def told(desk: Desk) -> Answer:
        try:
            return await ask(desk)
        except UnknownState as why:
            why.message = f"{why.message}; {await _by_our_clock(desk)}"
            raise

    return told


async def _by_our_clock(desk: Desk) -> str:
    """A venue that does not answer may be in a stop that everybody knew of."""
    calendar, now_ms = (await desk.market()).calendar, to_ms(desk.clock.now())
    stops = (one for one in calendar.upcoming(now_ms, now_ms + AHEAD_DAYS * DAY_MS) if one.kind is Kind.STOP)
    first = next(stops, None)
    if first is None:
        return "by our own clock no stop is planned in the next days"
    if first.runs_at(now_ms):
        return f"by our own clock this is its {first.title}, until {_utc(first.end_ms)} UTC"
    return f"by our own clock the next is: {first.title}, in {figures.span((first.start_ms - now_ms) / 1000)}"


async def _answer(desk: Desk, exchange: Exchange, grant: Grant | Unsupported, days: int | None) -> Answer:
    status, orders, believed = await asyncio.gather(exchange.status(), exchange.open_orders(), ages.ages(desk, grant))
    now_ms = await exchange.time_ms()
    calendar = exchange.calendar
    until_ms = now_ms + (AHEAD_DAYS if days is None else days) * DAY_MS
    found = [*merged(calendar.upcoming(now_ms, until_ms), status.planned), *await _funding(desk, exchange)]
    found = sorted((one for one in found if one.start_ms < until_ms), key=lambda one: one.start_ms)
    if days is None:
        found = list(_first_of_each(found))
    ending = sum(one.time_in_force is TimeInForce.DAY for one in orders)
    dated = sum(one.time_in_force is TimeInForce.GTD for one in orders)
    standing = calendar.standing(now_ms, status.planned)
    view: list[Block] = [_now_line(calendar, now_ms), *_notices(status.announcements)]
    view += [*_endings(exchange.terms, ending, dated), *_entries(standing, now_ms), Line("")]
    view += [_table(calendar, found, now_ms), Line(""), ages.table(believed)]
    facts: dict[str, Json] = {
        "market_time": from_ms(now_ms).isoformat(),
        "entries_pause": standing is not None and standing.pauses,
        "entries_back_at": None if standing is None or not standing.pauses else _at(standing.until_ms),
        "reads_prove_nothing": calendar.reads_prove_nothing(now_ms),
        "margin_window": calendar.margin_window(now_ms),
        "announcements": list(status.announcements),
        "good_til_day_orders": ending,
        "good_til_date_orders": dated,
        "upcoming": [_facts(one, now_ms) for one in found],
        "ages": [one.facts() for one in believed],
    }
    return Answer("perpctl.calendar/1", await desk.scope(), facts, tuple(view), records="upcoming")


async def _funding(desk: Desk, exchange: Exchange) -> list[Happening]:
    """When each product of the profile is paid, as the venue tells it."""
    found = []
    for symbol in desk.settings.symbols:
        instrument = await exchange.instrument(symbol)
        rate = await exchange.funding_rate(instrument.product_id)
        if not isinstance(rate, Unsupported):
            words = f"funding of {instrument.symbol} at {figures.percent(rate.rate_8h, 4)} per 8 h"
            key = f"funding {instrument.symbol}"
            found.append(Happening(key, Kind.FUNDING, words, rate.next_at_ms, rate.next_at_ms, announced=True))
    return found


def _first_of_each(found: Iterable[Happening]) -> Iterable[Happening]:
    seen: set[str] = set()
    for one in found:
        if one.key not in seen or one.announced:
            seen.add(one.key)
            yield one


def _now_line(calendar: VenueCalendar, now_ms: int) -> Line:
    words = f"NOW   {_utc(now_ms)} UTC by the venue's clock{_local(calendar, now_ms)}"
    window = calendar.margin_window(now_ms)
    if window is not None:
        words += f"   margin window {window}"
    return Line(words)


def _notices(titles: tuple[str, ...]) -> list[Block]:
    return [Line(f"NOTICE  {title}", Tone.WARN) for title in titles]


def _endings(terms: VenueTerms, day: int, dated: int) -> list[Block]:
    """What ends by itself."""
    lines: list[Block] = []
    if day:
        lines.append(Line(f"ENDS  {figures.count(day, 'good-til-day order')} at the next settlement", Tone.WARN))
    if dated:
        within = "" if terms.entries_end_s is None else f", entries of ours within {terms.entries_end_s} s"
        lines.append(Line(f"ENDS  {figures.count(dated, 'good-til-date order')}, each at its own time{within}"))
    return lines


def _entries(standing: Standing | None, now_ms: int) -> list[Block]:
    """Whether the clock keeps entries off, and until when."""
    if standing is None:
        return []
    if not standing.pauses:
        return [
            Line(f"NEAR  {standing.stop.title}, in {figures.span((standing.stop.start_ms - now_ms) / 1000)}", Tone.WARN)
        ]
    until = "while nobody says when it ends" if standing.until_ms is None else f"before {_utc(standing.until_ms)} UTC"
    return [Line(f"NO NEW ENTRIES {until}: {standing.stop.title}", Tone.WARN, mark=True)]


def _at(at_ms: int | None) -> str | None:
    return None if at_ms is None else from_ms(at_ms).isoformat()


def _table(calendar: VenueCalendar, found: list[Happening], now_ms: int) -> Table:
    columns = [Column("utc", "AT (UTC)"), Column("in", "IN", True), Column("what", "WHAT", wraps=True)]
    if calendar.zone != "UTC":
        columns.insert(1, Column("local", _zone_title(calendar)))
    return Table(tuple(columns), tuple(_row(calendar, one, now_ms) for one in found), "nothing in that time")


def _row(calendar: VenueCalendar, one: Happening, now_ms: int) -> Row:
    running = one.runs_at(now_ms)
    away = "NOW" if running else figures.span((one.start_ms - now_ms) / 1000)
    if running and one.end_ms is not None:
        away = f"NOW, {figures.span((one.end_ms - now_ms) / 1000)} left"
    near = one.kind is Kind.STOP and not one.uncertain and one.start_ms - now_ms < STEPS_MS["plan it"] * 60_000
    cells = {"utc": _utc(one.start_ms), "local": _clock(calendar, one.start_ms), "in": away, "what": one.title}
    return Row(cells, tone=Tone.BAD if running else Tone.WARN if near else Tone.DIM if one.uncertain else Tone.PLAIN)


def _facts(one: Happening, now_ms: int) -> dict[str, Json]:
    return {
        "key": one.key,
        "kind": one.kind.value,
        "what": one.title,
        "start_at": from_ms(one.start_ms).isoformat(),
        "end_at": _at(one.end_ms),
        "in_s": f"{(one.start_ms - now_ms) // 1000}",
        "now": one.runs_at(now_ms),
        "announced": one.announced,
        "only_if_announced": one.uncertain,
    }


def _utc(at_ms: int | None) -> str:
    return "nobody says when" if at_ms is None else f"{from_ms(at_ms):%a %d %b %H:%M}"


def _local(calendar: VenueCalendar, at_ms: int) -> str:
    return "" if calendar.zone == "UTC" else f" = {_clock(calendar, at_ms)} {_zone_title(calendar).title()}"


def _clock(calendar: VenueCalendar, at_ms: int) -> str:
    return f"{from_ms(at_ms).astimezone(zone_of(calendar.zone)):%a %H:%M}"


def _zone_title(calendar: VenueCalendar) -> str:
    return calendar.zone.rpartition("/")[2].replace("_", " ").upper()
