"""The risk day of each venue: a baseline a day, by the venue's own clock, across daylight saving and restarts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal as D
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpctl.clock import to_ms
from perpctl.engine import events as e
from perpctl.engine.state.day import RiskDay
from perpctl.model.venue.calendar import VenueCalendar
from perpctl.model.venue.calendars import GLOBAL, US
from tests.conftest import both_venues
from tests.engine.bench import Bench, of
from tests.risk import world

HOUR_MS = 3_600_000
YEAR = to_ms(datetime(2026, 1, 1, tzinfo=UTC))
CLOCKS = [(GLOBAL, UTC, 8), (US, ZoneInfo("America/New_York"), 17)]
gaps = st.lists(st.integers(1, 40 * HOUR_MS), min_size=1, max_size=40)


def named_by_hand(at_ms: int, zone: object, hour: int) -> str:
    """The date of the last such hour on the wall: another way to the same day."""
    there = datetime.fromtimestamp(at_ms / 1000, zone)  # type: ignore[arg-type]
    return f"{(there if there.hour >= hour else there - timedelta(days=1)):%Y-%m-%d}"


@pytest.mark.parametrize(("calendar", "zone", "hour"), CLOCKS)
@given(start=st.integers(YEAR, YEAR + 360 * 24 * HOUR_MS), steps=gaps)
def test_a_baseline_is_taken_once_a_day_of_the_venue(
    calendar: VenueCalendar, zone: object, hour: int, start: int, steps: list[int]
) -> None:
    day, at_ms, seen = RiskDay(calendar), start, set[str]()
    for step in steps:
        at_ms += step
        name = named_by_hand(at_ms, zone, hour)
        assert day.read(replace(world.GLOBAL.account, at_ms=at_ms), D(0), 1.0) is (name not in seen)
        assert calendar.day_name(at_ms) == name
        seen.add(name)
        assert day.pnl(D(-5), at_ms) == -5
        assert day.baseline is not None
        assert day.pnl(D(-5), calendar.next_day_ms(at_ms)) is None  # of a day without a baseline nothing is known
        days = [one for one, _ in day.peaks.highs]
        assert days == sorted(set(days))
        assert set(days) <= set(calendar.last_days_ms(at_ms, 7))


@pytest.mark.parametrize("calendar", [GLOBAL, US])
@given(at_ms=st.integers(YEAR, YEAR + 360 * 24 * HOUR_MS))
def test_a_restart_within_the_day_keeps_its_baseline(calendar: VenueCalendar, at_ms: int) -> None:
    start_ms = calendar.day_start_ms(at_ms)
    day = RiskDay(calendar)
    day.remember({one: (D(100_000), one) for one in calendar.last_days_ms(at_ms, 7)}, at_ms)
    assert not day.read(replace(world.GLOBAL.account, equity=D(97_000), at_ms=at_ms), D(0), 1.0)
    assert day.pnl_pct(D(0), calendar.next_day_ms(at_ms) - 1) == -3
    assert day.baseline is not None
    assert day.baseline.day_start_ms == start_ms
    assert len(day.peaks.highs) == 7


@pytest.mark.parametrize("day", ["2026-03-09T12:00", "2026-11-03T12:00", "2026-07-15T12:00"])
@pytest.mark.parametrize("calendar", [GLOBAL, US])
def test_the_peak_of_a_week_ago_is_forgotten_whichever_way_the_clocks_changed(
    calendar: VenueCalendar, day: str
) -> None:
    at_ms = to_ms(datetime.fromisoformat(f"{day}:00+00:00"))
    *week, eighth = calendar.last_days_ms(at_ms, 8)
    old, kept = RiskDay(calendar), RiskDay(calendar)
    old.read(replace(world.GLOBAL.account, equity=D(200_000), at_ms=eighth + HOUR_MS), D(0), 1.0)
    kept.read(replace(world.GLOBAL.account, equity=D(200_000), at_ms=week[-1] + HOUR_MS), D(0), 1.0)
    for one in (old, kept):
        one.read(replace(world.GLOBAL.account, at_ms=at_ms), D(0), 2.0)
    assert (old.drawdown_pct(D(0)), kept.drawdown_pct(D(0))) == (0, 50)


@both_venues
def test_the_bot_counts_orders_and_books_funding_anew_when_the_venues_day_begins(bench: Bench) -> None:
    next_ms = bench.world.calendar.next_day_ms(bench.at_ms)
    bench.at_ms = next_ms - 60_000
    assert not of(bench.quote(), e.ReadFunding)
    bench.at_ms = next_ms
    assert of(bench.quote(), e.ReadFunding)
    assert of(bench.tell(e.AccountRead(replace(bench.world.account, at_ms=next_ms))), e.TakeBaseline)
