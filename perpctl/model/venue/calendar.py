"""This file keeps a venue's clock: what recurs when, what pauses entries, when reads prove nothing, which margin holds.

A venue's times are data (`calendars`); the adapter says which are its own. All answers are in market milliseconds.
Wall times follow their zone through daylight saving; a venue that only knows UTC needs no time-zone data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from perpctl.clock import from_ms, to_ms
from perpctl.errors import UnknownState

DAY_MS = 86_400_000
EVERY_DAY = frozenset(range(7))  # Monday is 0
WEEKDAYS = frozenset(range(5))
NEW_YORK = "America/New_York"


class Kind(StrEnum):
    """What recurs."""

    STOP = "stop"  # nothing can be placed, cancelled or closed meanwhile
    MARGIN = "margin"
    SESSION = "session"
    DAY = "day"  # of our own risk limits
    FUNDING = "funding"
    MONEY = "money"  # cash that moves by itself
    ROUTINE = "routine"  # the runbook's own cron times


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that recurs at a wall time. `only_announced`: it happens only when the venue says so."""

    key: str
    kind: Kind
    title: str
    at: time
    zone: str = "UTC"
    days: frozenset[int] = EVERY_DAY
    lasts_s: int = 0
    pause_before_s: int = 0  # no new entry from then on ...
    pause_after_s: int = 0  # ... until so long after its end
    blind_before_s: int = 0  # reads in between prove nothing
    blind_after_s: int = 0
    skips_holidays: bool = False
    only_announced: bool = False

    @property
    def pauses(self) -> bool:
        return not self.only_announced and bool(self.pause_before_s or self.pause_after_s or self.lasts_s)


@dataclass(frozen=True, slots=True)
class Happening:
    """One time that something happens; `end_ms` is its start when it takes no time, None when nobody says."""

    key: str
    kind: Kind
    title: str
    start_ms: int
    end_ms: int | None
    announced: bool = False  # told by the venue, not by a rule
    uncertain: bool = False  # it happens only if the venue announces it

    def runs_at(self, now_ms: int) -> bool:
        """Whether it goes on then."""
        return self.start_ms <= now_ms < (self.start_ms if self.end_ms is None else self.end_ms)


@dataclass(frozen=True, slots=True)
class MarginHours:
    """A venue with cheaper margin by day: `inside` holds from `opens` to `closes` on weekdays, else `outside`."""

    inside: str
    outside: str
    zone: str
    opens: time
    closes: time


@dataclass(frozen=True, slots=True)
class VenueCalendar:
    """A venue's clock. `day` starts the risk day. After `holidays_until` every day counts as a holiday."""

    zone: str  # shown beside UTC
    day: Rule
    rules: tuple[Rule, ...]
    margin: MarginHours | None = None
    holidays: frozenset[date] = frozenset()
    holidays_until: date = date.max

    # --- the risk day

    def day_start_ms(self, now_ms: int) -> int:
        """The start of the risk day that holds this market time."""
        return max(one.start_ms for one in self._of(self.day, now_ms - 2 * DAY_MS, now_ms + 1))

    def next_day_ms(self, now_ms: int) -> int:
        """The next start of a risk day, strictly after."""
        return min(one.start_ms for one in self._of(self.day, now_ms + 1, now_ms + 2 * DAY_MS + 1))

    # --- what comes

    def upcoming(self, now_ms: int, until_ms: int) -> tuple[Happening, ...]:
        """Everything that runs now or starts before `until_ms`, in order."""
        found = [one for rule in (self.day, *self.rules) for one in self._of(rule, now_ms - DAY_MS, until_ms)]
        ahead = (one for one in found if one.start_ms > now_ms or one.runs_at(now_ms))
        return tuple(sorted(ahead, key=lambda one: (one.start_ms, one.kind is not Kind.STOP, one.key)))

    def next_of(self, key: str, now_ms: int) -> Happening | None:
        """The next start of one rule, strictly after; None: there is none within two weeks."""
        rules = [rule for rule in (self.day, *self.rules) if rule.key == key]
        found = (one for rule in rules for one in self._of(rule, now_ms + 1, now_ms + 14 * DAY_MS))
        return min(found, key=lambda one: one.start_ms, default=None)

    # --- what it means

    def pauses_entries(self, now_ms: int, announced: Sequence[Happening] = ()) -> bool:
        """Whether no new entry should be sent: before, during and shortly after a planned stop."""
        if any(start <= now_ms < end for start, end in _pauses(self, now_ms // DAY_MS)):
            return True
        return any(_announced_pause(one, now_ms) for one in announced)

    def reads_prove_nothing(self, now_ms: int) -> bool:
        """Whether a read now is no proof, because the venue is settling."""
        return any(start <= now_ms < end for start, end in _blinds(self, now_ms // DAY_MS))

    def margin_window(self, at_ms: int) -> str | None:
        """The margin window in force by the clock; None: this venue has only one."""
        hours = self.margin
        if hours is None:
            return None
        there = from_ms(at_ms).astimezone(zone_of(hours.zone))
        by_day = there.weekday() in WEEKDAYS and not self.is_holiday(there.date())
        return hours.inside if by_day and hours.opens <= there.time() < hours.closes else hours.outside

    def is_holiday(self, day: date) -> bool:
        """Whether the venue keeps that day as a holiday; beyond what is known, the dearer answer."""
        return day in self.holidays or day > self.holidays_until

    def _of(self, rule: Rule, from_at_ms: int, until_ms: int) -> Iterator[Happening]:
        """A rule's happenings that start in [from_at_ms, until_ms)."""
        for start_ms in starts(rule, from_at_ms, until_ms):
            there = from_ms(start_ms).astimezone(zone_of(rule.zone)).date()
            if rule.skips_holidays and self.is_holiday(there):
                continue
            end_ms = start_ms + rule.lasts_s * 1000
            yield Happening(rule.key, rule.kind, rule.title, start_ms, end_ms, uncertain=rule.only_announced)


def starts(rule: Rule, from_at_ms: int, until_ms: int) -> Iterator[int]:
    """The times at which a rule's wall time comes, in [from_at_ms, until_ms), oldest first."""
    zone = zone_of(rule.zone)
    day, last = (from_ms(ms).astimezone(zone).date() for ms in (from_at_ms, until_ms))
    while day <= last:
        if day.weekday() in rule.days:
            at_ms = to_ms(datetime.combine(day, rule.at, zone).astimezone(UTC))
            if from_at_ms <= at_ms < until_ms:
                yield at_ms
        day += timedelta(days=1)


@lru_cache(maxsize=16)
def zone_of(name: str) -> tzinfo:
    """A time zone by name. Raises UnknownState where the machine has no time-zone data."""
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except ZoneInfoNotFoundError as why:
        raise UnknownState(
            f"this machine has no time-zone data for {name}, so the venue's hours cannot be told",
            not_done="nothing was sent",
            next_commands=("apt-get install tzdata",),
        ) from why


Spans = tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def _pauses(calendar: VenueCalendar, day: int) -> Spans:
    """When entries pause, as far as it touches that day of UTC: asked before every order, worked out once a day."""
    rules = [rule for rule in calendar.rules if rule.pauses]
    return tuple(
        (start - rule.pause_before_s * 1000, start + (rule.lasts_s + rule.pause_after_s) * 1000)
        for rule in rules
        for start in starts(rule, (day - 1) * DAY_MS, (day + 2) * DAY_MS)
    )


@lru_cache(maxsize=64)
def _blinds(calendar: VenueCalendar, day: int) -> Spans:
    return tuple(
        (start - rule.blind_before_s * 1000, start + (rule.lasts_s + rule.blind_after_s) * 1000)
        for rule in calendar.rules
        if rule.blind_before_s or rule.blind_after_s
        for start in starts(rule, (day - 1) * DAY_MS, (day + 2) * DAY_MS)
    )


ANNOUNCED_PAUSE_S = 900  # before an announced stop, as before the weekly one


def _announced_pause(one: Happening, now_ms: int) -> bool:
    """An announced stop whose end nobody says lasts until it is announced no more."""
    if one.kind is not Kind.STOP or now_ms < one.start_ms - ANNOUNCED_PAUSE_S * 1000:
        return False
    return one.end_ms is None or now_ms < one.end_ms
