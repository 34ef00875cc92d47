"""This file reads the time that an operator means: `16:00ET`, `08:00 UTC`, `2026-11-27T17:30ET`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from perpctl.clock import from_ms, to_ms
from perpctl.model.venue.calendar import NEW_YORK, zone_of

ZONES = {"ET": NEW_YORK, "EST": NEW_YORK, "EDT": NEW_YORK, "NY": NEW_YORK, "UTC": "UTC", "Z": "UTC", "GMT": "UTC"}
EXAMPLES = "16:00ET, 08:00UTC or 2026-11-27T17:30ET"
_SHAPE = re.compile(r"(?:(\d{4}-\d\d-\d\d)[T ])?(\d{1,2}):(\d\d)\s*([A-Za-z]*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Moment:
    """A wall time in a zone, on a day or, without one, whenever it comes next."""

    at: time
    zone: str
    day: date | None = None

    def after_ms(self, now_ms: int) -> int:
        """The market time meant, now or later. Raises ValueError when its day has passed."""
        zone = zone_of(self.zone)
        day = self.day or from_ms(now_ms).astimezone(zone).date()
        meant_ms = to_ms(datetime.combine(day, self.at, zone).astimezone(UTC))
        if meant_ms >= now_ms:
            return meant_ms
        if self.day is not None:
            raise ValueError("that is past by the venue's clock")
        return to_ms(datetime.combine(day + timedelta(days=1), self.at, zone).astimezone(UTC))


def parse(text: str) -> Moment:
    """Raises ValueError in words: not a time, no zone, no such zone."""
    found = _SHAPE.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no time: write {EXAMPLES}")
    day, hour, minute, zone = found.groups()
    if not zone:
        raise ValueError(f"{text!r} does not say by which clock: write {EXAMPLES}")
    if zone.upper() not in ZONES:
        raise ValueError(f"{zone!r} is no clock that is known here: ET or UTC; write {EXAMPLES}")
    try:
        return Moment(time(int(hour), int(minute)), ZONES[zone.upper()], date.fromisoformat(day) if day else None)
    except ValueError:
        raise ValueError(f"{text!r} is no time: write {EXAMPLES}") from None
