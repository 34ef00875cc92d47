"""This file reads the moments that a venue writes, whatever the locale."""

from __future__ import annotations

from datetime import UTC, datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def http_date(text: str) -> float:
    """Seconds since the epoch of "Mon, 23 Nov 2026 09:22:12 GMT". Raises ValueError."""
    _, day, month, year, clock, _ = text.split()
    hour, minute, second = clock.split(":")
    at = datetime(int(year), _MONTHS.index(month) + 1, int(day), int(hour), int(minute), int(second), tzinfo=UTC)
    return at.timestamp()


def moment_ms(text: object) -> int | None:
    """Ms since the epoch of RFC 3339; None: empty, absent or not a moment."""
    if not isinstance(text, str) or not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1_000)


def stamp(at_ms: int) -> str:
    """The moment as RFC 3339, for a query."""
    return datetime.fromtimestamp(at_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
