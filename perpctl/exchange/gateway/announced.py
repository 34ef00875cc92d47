"""This file finds planned stops in the announcements, which are prose: in doubt there is one, at its usual time.

Releases come on Tuesdays about 09:00 UTC and last 15 to 30 minutes (Coinbase gateway docs, release notes of 13 January
and 19 May 2026). There is no field for the time; what a human reads is read here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, time, timedelta

from perpctl.clock import from_ms, to_ms
from perpctl.exchange.gateway import wire
from perpctl.model.venue.calendar import DAY_MS, Happening, Kind, VenueCalendar

HOUR_MS = 3_600_000
USUAL = "release"  # the rule of the calendar that an announcement without a time means
_ABOUT = re.compile(r"\b(maintenance|release|upgrade|downtime|outage)\b", re.I)
_OVER = re.compile(r"\b(completed?|postponed|cancell?ed|resolved|finished|is over)\b", re.I)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTH = rf"({'|'.join(_MONTHS)})[a-z]*\.?"
_ISO = re.compile(r"\b(\d{4})-(\d\d)-(\d\d)")
_DAY_FIRST = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?{_MONTH}(?:,?\s+(\d{{4}}))?", re.I)
_MONTH_FIRST = re.compile(rf"\b{_MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?\b(?:,?\s+(\d{{4}}))?", re.I)
_WEEKDAY = re.compile(r"\b(mon|tues?|wed|thu|fri|sat|sun)[a-z]*day\b", re.I)
_TIME = re.compile(r"\b([01]?\d|2[0-3]):([0-5]\d)")
_LASTS = re.compile(r"(?:(\d+)\s*(?:to|-|–)\s*)?(\d+)\s*(min|hour)", re.I)


def planned(result: object, calendar: VenueCalendar, now_ms: int) -> tuple[Happening, ...]:
    """The announced stops that are not over. A word that one is done or put off takes back what was said before it."""
    found = []
    for row in wire.rows_of(result, "announcements"):  # newest first
        words = f"{row.get('title') or ''} {row.get('body') or ''}"
        if _ABOUT.search(words) is None:
            continue
        if _OVER.search(words):
            break
        published = row.get("publication_timestamp")
        said_ms = min(published, now_ms) if isinstance(published, int) else now_ms
        stop = _stop(words, str(row.get("title") or words).strip(), calendar, said_ms)
        if stop is not None and (stop.end_ms is None or stop.end_ms + HOUR_MS > now_ms):
            found.append(stop)
    return tuple(sorted(found, key=lambda one: one.start_ms))


def _stop(words: str, title: str, calendar: VenueCalendar, said_ms: int) -> Happening | None:
    usual = calendar.next_of(USUAL, said_ms)
    at, day = _time(words), _day(words, said_ms)
    if day is None and usual is None:
        return None
    start_ms = usual.start_ms if usual is not None else said_ms
    if day is not None:
        usual_at = from_ms(start_ms).time()
        start_ms = to_ms(datetime.combine(day, at or usual_at, UTC))
    elif at is not None:
        start_ms = to_ms(datetime.combine(from_ms(start_ms).date(), at, UTC))
    lasts_ms = _lasts_ms(words) or (HOUR_MS if usual is None or usual.end_ms is None else usual.end_ms - usual.start_ms)
    return Happening(USUAL, Kind.STOP, f"announced: {title[:80]}", start_ms, start_ms + lasts_ms, announced=True)


def _day(words: str, said_ms: int) -> date | None:
    """The first date, else the first day of the week after it was said."""
    said = from_ms(said_ms).date()
    for pattern, order in ((_ISO, (1, 2, 3)), (_DAY_FIRST, (3, 2, 1)), (_MONTH_FIRST, (3, 1, 2))):
        for found in pattern.finditer(words):
            if (day := _date([found[at] for at in order], said)) is not None:
                return day
    weekday = _WEEKDAY.search(words)
    if weekday is None:
        return None
    ahead = (_DAYS.index(weekday[1][:3].lower()) - said.weekday()) % 7
    return said + timedelta(days=ahead)


def _date(parts: Iterable[str | None], said: date) -> date | None:
    """A year that is left out is the one in which the day is nearest."""
    year, month, day = parts
    assert month is not None
    assert day is not None
    number = int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower()) + 1
    years = [int(year)] if year is not None else [said.year, said.year + 1, said.year - 1]
    found = []
    for one in years:
        try:
            found.append(date(one, number, int(day)))
        except ValueError:
            continue
    return min(found, key=lambda one: abs(one - said), default=None)


def _time(words: str) -> time | None:
    found = _TIME.search(words)
    return None if found is None else time(int(found[1]), int(found[2]))


def _lasts_ms(words: str) -> int | None:
    found = _LASTS.search(words)
    if found is None:
        return None
    return min(int(found[2]) * (HOUR_MS if found[3].lower() == "hour" else 60_000), DAY_MS)
