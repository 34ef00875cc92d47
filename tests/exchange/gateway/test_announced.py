"""Announcements are prose: which of them mean a stop, when, for how long, and what takes them back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from perpctl.clock import from_ms, to_ms
from perpctl.exchange.gateway.announced import planned
from perpctl.model.venue.calendar import Kind
from perpctl.model.venue.calendars import GLOBAL

NOW = to_ms(datetime(2026, 11, 26, 12, 0, tzinfo=UTC))  # a Thursday
HOUR_MS = 3_600_000


def row(title: str, body: str = "", at_ms: int = NOW - HOUR_MS) -> dict[str, Any]:
    return {"title": title, "body": body, "publication_timestamp": at_ms, "id": at_ms, "important": False}


def told(*rows: dict[str, Any], now_ms: int = NOW) -> list[tuple[str, int]]:
    found = planned(list(rows), GLOBAL, now_ms)
    assert all(one.kind is Kind.STOP and one.announced for one in found)
    return [(f"{from_ms(one.start_ms):%Y-%m-%d %H:%M}", ((one.end_ms or 0) - one.start_ms) // 60_000) for one in found]


@pytest.mark.parametrize(
    ("title", "body", "start", "minutes"),
    [
        ("Scheduled maintenance", "On 2026-12-03 at 10:30 UTC, for 45 minutes.", "2026-12-03 10:30", 45),
        ("Platform upgrade on 3 December 2026, 10:30 UTC", "Expect 15 to 20 min.", "2026-12-03 10:30", 20),
        ("Release", "December 3rd at 10:30 UTC, about 1 hour of downtime", "2026-12-03 10:30", 60),
        ("Release on 5 Jan at 09:00 UTC", "", "2027-01-05 09:00", 30),
        ("Release next Tuesday, 08:45 UTC", "", "2026-12-01 08:45", 30),
        ("New release", "See the notes.", "2026-12-01 09:00", 30),  # no time: the usual one
        ("Maintenance on 31 November 2026, 10:00 UTC", "", "2026-12-01 10:00", 30),  # no such day: the usual one
    ],
)
def test_what_is_announced_is_planned(title: str, body: str, start: str, minutes: int) -> None:
    assert told(row(title, body)) == [(start, minutes)]


def test_what_is_about_something_else_is_none() -> None:
    assert told(row("New fee tiers from 3 December 2026", "Lower fees."), row("Lorem ipsum")) == []


@pytest.mark.parametrize("word", ["postponed", "completed", "cancelled", "complete"])
def test_a_later_word_takes_back_what_was_said_before(word: str) -> None:
    release = row("Release on 1 December 2026, 09:00 UTC")
    assert told(row(f"The release of 1 December is {word}"), release) == []
    assert told(release, row(f"The release of 24 November is {word}")) == [("2026-12-01 09:00", 30)]


def test_what_is_over_for_an_hour_is_told_no_more() -> None:
    release, ends = row("Release on 26 November 2026, 09:00 UTC", "30 min"), NOW - 2 * HOUR_MS - 30 * 60_000
    assert told(release, now_ms=ends + HOUR_MS - 1) == [("2026-11-26 09:00", 30)]
    assert told(release, now_ms=ends + HOUR_MS) == []


def test_where_the_market_is_a_replay_the_time_it_was_written_counts_no_later_than_now() -> None:
    assert told(row("Release", at_ms=NOW + 400 * 24 * HOUR_MS)) == [("2026-12-01 09:00", 30)]
