"""The time that an operator means, by the clock that he names."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from perpctl.clock import to_ms
from perpctl.model.venue.moment import parse

NOW = to_ms(datetime(2026, 11, 25, 12, 0, tzinfo=UTC))  # 07:00 in New York


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("16:00ET", "2026-11-25T21:00"),
        ("16:00 et", "2026-11-25T21:00"),
        ("6:30ET", "2026-11-26T11:30"),  # it was half an hour ago: tomorrow's
        ("07:00ET", "2026-11-25T12:00"),  # right now
        ("08:00UTC", "2026-11-26T08:00"),
        ("13:00Z", "2026-11-25T13:00"),
        ("2026-11-27T17:30ET", "2026-11-27T22:30"),
        ("2026-07-01 17:30EDT", None),
        ("2027-07-01 17:30ET", "2027-07-01T21:30"),
    ],
)
def test_a_time_is_the_next_one_by_the_clock_named(text: str, meant: str | None) -> None:
    if meant is None:
        with pytest.raises(ValueError, match="past by the venue's clock"):
            parse(text).after_ms(NOW)
    else:
        assert parse(text).after_ms(NOW) == utc(meant)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("16:00", "does not say by which clock"),
        ("soon", "is no time"),
        ("25:00ET", "is no time"),
        ("16:60ET", "is no time"),
        ("16:00CET", "no clock that is known here"),
        ("2026-13-01T16:00ET", "is no time"),
        ("", "is no time"),
        ("١٦:00ET", "is no time"),
    ],
)
def test_what_is_no_time_is_refused_in_words(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(text)
