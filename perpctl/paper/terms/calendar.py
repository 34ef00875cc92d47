"""This file keeps a venue's hours in New York time: sessions, the weekly stop, margin windows, when cash is booked.

Daylight saving follows the rule of the Energy Policy Act of 2005 (second Sunday in March to first Sunday in November,
02:00), worked out here so that a replay never depends on the machine's time zone files.
"""

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal

from msgspec import Struct

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
Window = Literal["INTRADAY", "OVERNIGHT", "WEEKEND"]


class Calendar(Struct, frozen=True):
    """Full hours of the New York day: whoever looks every hour misses nothing. `stop_day` counts from Monday."""

    roll_hour: int  # a session ends and the next begins; daily settlement
    booking_hours: tuple[int, ...]  # accrued funding becomes cash
    day_margin: tuple[int, int]  # from, to, on business days: the lower rates for those who chose them
    stop_day: int
    stop: tuple[int, int]  # weekly: nothing is traded, changed or cancelled
    holidays: tuple[str, ...]  # ISO dates without a day window

    def books(self, at_ms: int) -> bool:
        """Whether accrued funding becomes cash in this full hour."""
        return local(at_ms).hour in self.booking_hours

    def rolls(self, at_ms: int) -> bool:
        """Whether a session ends in this full hour."""
        return local(at_ms).hour == self.roll_hour

    def is_shut(self, at_ms: int) -> bool:
        """Whether it is inside the weekly stop."""
        there = local(at_ms)
        return there.weekday() == self.stop_day and self.stop[0] <= there.hour < self.stop[1]

    def next_stop(self, at_ms: int) -> tuple[int, int]:
        """Start and end of the weekly stop that is on, or comes next."""
        there = local(at_ms)
        days = (self.stop_day - there.weekday()) % 7
        if days == 0 and there.hour >= self.stop[1]:
            days = 7
        day = there.date() + timedelta(days=days)
        return utc_ms(day, self.stop[0]), utc_ms(day, self.stop[1])

    def session(self, at_ms: int) -> tuple[int, int]:
        """When the session that holds this moment began and ends: from roll to roll."""
        there = local(at_ms)
        day = there.date() if there.hour >= self.roll_hour else there.date() - timedelta(days=1)
        return utc_ms(day, self.roll_hour), utc_ms(day + timedelta(days=1), self.roll_hour)

    def window(self, at_ms: int) -> Window:
        """Which margin window is on: INTRADAY, or OVERNIGHT, or WEEKEND with the same rates as overnight."""
        there = local(at_ms)
        if self._is_business(there.date()) and self.day_margin[0] <= there.hour < self.day_margin[1]:
            return "INTRADAY"
        weekend = there.weekday() > 4 or (there.weekday() == 4 and there.hour >= self.day_margin[1])
        return "WEEKEND" if weekend else "OVERNIGHT"

    def window_end(self, at_ms: int) -> int:
        """When the margin rates change next."""
        now_by_day = self.window(at_ms) == "INTRADAY"
        hour = at_ms // HOUR_MS * HOUR_MS + HOUR_MS
        while (self.window(hour) == "INTRADAY") == now_by_day:
            hour += HOUR_MS
        return hour

    def _is_business(self, day: date) -> bool:
        return day.weekday() < 5 and day.isoformat() not in self.holidays


def local(at_ms: int) -> datetime:
    """New York wall time, as a naive date and hour carried in UTC."""
    return datetime.fromtimestamp((at_ms + _offset_ms(at_ms)) / 1000, UTC)


def utc_ms(day: date, hour: int) -> int:
    """The moment at which New York's clocks show this full hour."""
    shown = int(datetime(day.year, day.month, day.day, hour, tzinfo=UTC).timestamp() * 1000)
    return shown - _offset_ms(shown + 5 * HOUR_MS)


def _offset_ms(at_ms: int) -> int:
    begins, ends = _summer(datetime.fromtimestamp(at_ms / 1000, UTC).year)
    return -4 * HOUR_MS if begins <= at_ms < ends else -5 * HOUR_MS


@lru_cache(maxsize=64)
def _summer(year: int) -> tuple[int, int]:
    begins = _sunday(year, 3, 2) + timedelta(hours=7)  # 02:00 standard time
    ends = _sunday(year, 11, 1) + timedelta(hours=6)  # 02:00 summer time
    return int(begins.timestamp() * 1000), int(ends.timestamp() * 1000)


def _sunday(year: int, month: int, which: int) -> datetime:
    first = datetime(year, month, 1, tzinfo=UTC)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (which - 1))
