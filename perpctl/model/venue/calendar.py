"""This file keeps a venue's clock: what recurs when, what pauses entries, when reads prove nothing, which margin holds.

A venue's times are data (`calendars`); the adapter says which are its own. All answers are in market milliseconds.
Wall times follow their zone through daylight saving; a venue that only knows UTC needs no time-zone data.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct
from msgspec.structs import replace

from perpctl.clock import from_ms, to_ms
from perpctl.errors import UnknownState
from perpctl.model.venue.stops import Standing, Steps

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


class Rule(Struct, frozen=True):
    """One thing that recurs at a wall time. `only_announced`: it happens only when the venue says so."""

    key: str
    kind: Kind
    title: str
    at: time
    zone: str = "UTC"
    days: frozenset[int] = EVERY_DAY
    lasts_s: int = 0
    steps: Steps | None = None  # of a stop: what is done before and after it
    blind_before_s: int = 0  # reads in between prove nothing
    blind_after_s: int = 0
    skips_holidays: bool = False
    only_announced: bool = False


class Happening(Struct, frozen=True):
    """One time that something happens; `end_ms` is its start when it takes no time, None when nobody says."""

    key: str
    kind: Kind
    title: str
    start_ms: int
    end_ms: int | None
    announced: bool = False  # told by the venue, not by a rule
    uncertain: bool = False  # it happens only if the venue announces it

    @property
    def name(self) -> str:
        """In few words."""
        return self.key.replace("_", " ")

    def runs_at(self, now_ms: int) -> bool:
        """Whether it goes on then."""
        return self.start_ms <= now_ms < (self.start_ms if self.end_ms is None else self.end_ms)


class MarginHours(Struct, frozen=True):
    """A venue with cheaper margin by day: `inside` holds from `opens` to `closes` on weekdays, else `outside`.

    `warn_s`: so long before it closes, more than the dearer margin allows is told, each time more gravely.
    """

    inside: str
    outside: str
    zone: str
    opens: time
    closes: time
    warn_s: tuple[int, ...] = ()


class VenueCalendar(Struct, frozen=True):
    """A venue's clock. `day` starts the risk day, `announced` is done about stops that no rule of it knows.

    After `holidays_until` every day counts as a holiday.
    """

    zone: str  # shown beside UTC
    day: Rule
    rules: tuple[Rule, ...]
    announced: Steps
    margin: MarginHours | None = None
    holidays: frozenset[date] = frozenset()
    holidays_until: date = date.max

    # --- the risk day

    def day_start_ms(self, now_ms: int) -> int:
        """The start of the risk day that holds this market time."""
        return max(start_ms for start_ms in _days(self.day, now_ms // DAY_MS) if start_ms <= now_ms)

    def next_day_ms(self, now_ms: int) -> int:
        """The next start of a risk day, strictly after."""
        return min(start_ms for start_ms in _days(self.day, now_ms // DAY_MS) if start_ms > now_ms)

    def last_days_ms(self, now_ms: int, days: int) -> tuple[int, ...]:
        """The starts of so many risk days, the one of now first."""
        noon_ms = self.day_start_ms(now_ms) + DAY_MS // 2  # well inside, whichever way the clocks change
        return tuple(self.day_start_ms(noon_ms - back * DAY_MS) for back in range(days))

    def day_left(self, now_ms: int) -> Decimal:
        """Fraction of the risk day still to come."""
        start_ms, next_ms = self.day_start_ms(now_ms), self.next_day_ms(now_ms)
        return Decimal(next_ms - now_ms) / (next_ms - start_ms)

    def day_name(self, now_ms: int) -> str:
        """The date, by the venue's own clock, on which the risk day of this market time begins."""
        return from_ms(self.day_start_ms(now_ms)).astimezone(zone_of(self.day.zone)).date().isoformat()

    # --- what comes

    def upcoming(self, now_ms: int, until_ms: int) -> tuple[Happening, ...]:
        """Everything that runs now or starts before `until_ms`, in order."""
        found = [one for rule in (self.day, *self.rules) for one in self.happenings(rule, now_ms - DAY_MS, until_ms)]
        ahead = (one for one in found if one.start_ms > now_ms or one.runs_at(now_ms))
        return tuple(sorted(ahead, key=lambda one: (one.start_ms, one.kind is not Kind.STOP, one.key)))

    def next_of(self, key: str, now_ms: int) -> Happening | None:
        """The next start of one rule, strictly after; None: there is none within two weeks."""
        rules = [rule for rule in (self.day, *self.rules) if rule.key == key]
        found = (one for rule in rules for one in self.happenings(rule, now_ms + 1, now_ms + 14 * DAY_MS))
        return min(found, key=lambda one: one.start_ms, default=None)

    # --- what it means

    def standing(self, now_ms: int, announced: Sequence[Happening] = ()) -> Standing | None:
        """The planned stop that counts most now, with the step that is due; None: none is near."""
        told = [one for one in announced if one.kind is Kind.STOP]
        found: Standing | None = None
        for stop in merged(_stops(self, now_ms // DAY_MS), told) if told else _stops(self, now_ms // DAY_MS):
            steps = self._steps_of(stop)
            stage = steps.stage(stop, now_ms)
            if stage is not None and (found is None or stage > found.stage):
                until_ms = None if stop.end_ms is None else stop.end_ms + steps.after_s * 1000
                found = Standing(stop, stage, until_ms)
        return found

    def pauses_entries(self, now_ms: int, announced: Sequence[Happening] = ()) -> bool:
        """Whether no new entry should be sent: before, during and shortly after a planned stop."""
        found = self.standing(now_ms, announced)
        return found is not None and found.pauses

    def _steps_of(self, stop: Happening) -> Steps:
        return next((rule.steps for rule in self.rules if rule.key == stop.key and rule.steps), self.announced)

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

    def cheap_margin_ends_ms(self, now_ms: int) -> int | None:
        """When the cheaper margin of now ends; None: it is the dear one already, or the only one."""
        hours = self.margin
        if hours is None or self.margin_window(now_ms) != hours.inside:
            return None
        there = from_ms(now_ms).astimezone(zone_of(hours.zone))
        return to_ms(datetime.combine(there.date(), hours.closes, there.tzinfo).astimezone(UTC))

    def is_holiday(self, day: date) -> bool:
        """Whether the venue keeps that day as a holiday; beyond what is known, the dearer answer."""
        return day in self.holidays or day > self.holidays_until

    def happenings(self, rule: Rule, from_at_ms: int, until_ms: int) -> Iterator[Happening]:
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


@lru_cache(maxsize=64)
def _days(rule: Rule, day: int) -> tuple[int, ...]:
    """The starts of risk days around a day of UTC."""
    return tuple(starts(rule, (day - 2) * DAY_MS, (day + 3) * DAY_MS))


@lru_cache(maxsize=64)
def _stops(calendar: VenueCalendar, day: int) -> tuple[Happening, ...]:
    """The stops that touch that day of UTC: asked before every order, worked out once a day."""
    rules = [rule for rule in calendar.rules if rule.kind is Kind.STOP and not rule.only_announced]
    from_at_ms, until_ms = (day - 1) * DAY_MS, (day + 2) * DAY_MS
    return tuple(one for rule in rules for one in calendar.happenings(rule, from_at_ms, until_ms))


def merged(ruled: Iterable[Happening], announced: Iterable[Happening]) -> tuple[Happening, ...]:
    """A stop that is both a rule and announced is one, with the end that the venue tells."""
    told = {(one.kind, one.start_ms): one for one in announced}
    found = []
    for one in ruled:
        same = told.pop((one.kind, one.start_ms), None)
        found.append(one if same is None else replace(one, end_ms=same.end_ms, announced=True, uncertain=False))
    return (*found, *told.values())


Spans = tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def _blinds(calendar: VenueCalendar, day: int) -> Spans:
    return tuple(
        (start - rule.blind_before_s * 1000, start + (rule.lasts_s + rule.blind_after_s) * 1000)
        for rule in calendar.rules
        if rule.blind_before_s or rule.blind_after_s
        for start in starts(rule, (day - 1) * DAY_MS, (day + 2) * DAY_MS)
    )
