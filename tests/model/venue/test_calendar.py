"""The venues' clocks: daylight saving, holidays, what pauses entries, when a read proves nothing."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from perpctl.clock import to_ms
from perpctl.errors import UnknownState
from perpctl.model.venue.calendar import DAY_MS, Happening, Kind, VenueCalendar, merged, zone_of
from perpctl.model.venue.calendars import GLOBAL, US
from perpctl.model.venue.stops import Stage
from perpctl.paper.terms.us import US_RULES

NEW_YORK = ZoneInfo("America/New_York")
moments = st.integers(to_ms(datetime(2026, 1, 1, tzinfo=UTC)), to_ms(datetime(2027, 12, 30, tzinfo=UTC)))


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def ny(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC))


@pytest.mark.parametrize(
    ("now", "paused"),
    [
        ("2026-11-25T07:59:29.999", False),
        ("2026-11-25T07:59:30", True),
        ("2026-11-25T08:00:00", True),
        ("2026-11-25T08:00:29.999", True),
        ("2026-11-25T08:00:30", False),
        ("2026-12-01T09:10:00", False),  # a Tuesday's release that nobody announced
    ],
)
def test_entries_pause_around_the_settlement(now: str, paused: bool) -> None:
    assert GLOBAL.pauses_entries(utc(now)) is paused


EIGHT_MS = 8 * 3_600_000


def since_eight(now_ms: int) -> int:
    return (now_ms - EIGHT_MS) % DAY_MS


@given(st.one_of(moments, st.integers(utc("2026-11-25T07:59:00"), utc("2026-11-25T08:01:00"))))
def test_the_global_clock_is_eight_utc_to_the_millisecond(now_ms: int) -> None:
    since = since_eight(now_ms)
    assert GLOBAL.day_start_ms(now_ms) == now_ms - since
    assert GLOBAL.next_day_ms(now_ms) == now_ms - since + DAY_MS
    assert GLOBAL.pauses_entries(now_ms) is (since < 30_000 or since >= DAY_MS - 30_000)
    assert GLOBAL.reads_prove_nothing(now_ms) is (since < 15_000 or since >= DAY_MS - 5_000)


@pytest.mark.parametrize(
    ("now", "paused"),
    [
        ("2026-11-20T16:44:59", False),
        ("2026-11-20T16:45:00", True),
        ("2026-11-20T17:30:00", True),
        ("2026-11-20T18:00:59", True),
        ("2026-11-20T18:01:00", False),
        ("2026-11-19T17:30:00", False),  # a Thursday
        ("2026-07-17T16:45:00", True),  # in summer too
    ],
)
def test_entries_pause_around_the_weekly_stop_by_new_yorks_clock(now: str, paused: bool) -> None:
    assert US.pauses_entries(ny(now)) is paused


def test_the_weekly_stop_is_an_hour_later_in_utc_in_winter() -> None:
    summer, winter = (
        US.next_of("weekly_stop", utc("2026-10-30T00:00:00")),
        US.next_of("weekly_stop", utc("2026-11-06T00:00:00")),
    )
    assert summer is not None
    assert winter is not None
    assert (summer.start_ms, summer.end_ms) == (utc("2026-10-30T21:00:00"), utc("2026-10-30T22:00:00"))
    assert (winter.start_ms, winter.end_ms) == (utc("2026-11-06T22:00:00"), utc("2026-11-06T23:00:00"))


@pytest.mark.parametrize(
    ("now", "window"),
    [
        ("2026-11-25T07:59:59", "overnight"),
        ("2026-11-25T08:00:00", "intraday"),
        ("2026-11-25T15:59:59", "intraday"),
        ("2026-11-25T16:00:00", "overnight"),
        ("2026-11-26T12:00:00", "overnight"),  # Thanksgiving
        ("2026-11-28T12:00:00", "overnight"),  # a Saturday
        ("2027-07-05T12:00:00", "overnight"),  # Independence Day, observed
        ("2027-07-06T12:00:00", "intraday"),
        ("2028-01-03T12:00:00", "overnight"),  # beyond the holidays that are known: the dearer
    ],
)
def test_the_margin_window_follows_new_yorks_clock_and_holidays(now: str, window: str) -> None:
    assert US.margin_window(ny(now)) == window


def test_a_venue_with_one_margin_has_no_window() -> None:
    assert GLOBAL.margin_window(utc("2026-11-25T12:00:00")) is None


def test_no_margin_change_is_shown_on_a_holiday() -> None:
    keys = {(one.key, one.start_ms) for one in US.upcoming(ny("2026-11-26T00:00"), ny("2026-11-27T00:00"))}
    assert not {key for key, _ in keys} & {"overnight_margin", "intraday_margin"}
    assert "session_roll" in {key for key, _ in keys}


@given(moments)
def test_the_margin_window_changes_only_where_the_calendar_says_so(now_ms: int) -> None:
    changes = [one for one in US.upcoming(now_ms, now_ms + 5 * DAY_MS) if one.kind is Kind.MARGIN]
    edges = [now_ms, *(one.start_ms for one in changes), now_ms + 5 * DAY_MS]
    for start_ms, end_ms in itertools.pairwise(edges):
        assert US.margin_window(start_ms) == US.margin_window((start_ms + end_ms) // 2) == US.margin_window(end_ms - 1)


@given(moments)
def test_what_comes_next_is_in_order_and_not_past(now_ms: int) -> None:
    for calendar in (GLOBAL, US):
        found = calendar.upcoming(now_ms, now_ms + 8 * DAY_MS)
        assert [one.start_ms for one in found] == sorted(one.start_ms for one in found)
        assert all(one.start_ms > now_ms or one.runs_at(now_ms) for one in found)
        assert {rule.key for rule in calendar.rules if not rule.skips_holidays} <= {one.key for one in found}


@given(moments)
def test_the_risk_day_of_new_york_starts_at_its_wall_time(now_ms: int) -> None:
    start_ms, next_ms = US.day_start_ms(now_ms), US.next_day_ms(now_ms)
    there = datetime.fromtimestamp(start_ms / 1000, NEW_YORK)
    assert start_ms <= now_ms < next_ms
    assert (there.hour, there.minute) == (17, 0)
    assert US.day_start_ms(next_ms) == next_ms
    assert 23 * 3_600_000 <= next_ms - start_ms <= 25 * 3_600_000


@given(moments)
def test_reads_prove_nothing_only_within_half_a_minute_of_the_roll(now_ms: int) -> None:
    nearest = min(abs(now_ms - US.day_start_ms(now_ms)), abs(US.next_day_ms(now_ms) - now_ms))
    assert US.reads_prove_nothing(now_ms) is (nearest < 30_000 or now_ms == US.next_day_ms(now_ms) - 30_000)


def test_what_runs_now_is_still_shown() -> None:
    now_ms = ny("2026-11-20T17:30")
    first = US.upcoming(now_ms, now_ms + DAY_MS)[0]
    assert (first.key, first.runs_at(now_ms)) == ("weekly_stop", True)


def announced(start: str, end: str | None) -> Happening:
    return Happening("maintenance", Kind.STOP, "m", utc(start), None if end is None else utc(end), announced=True)


@pytest.mark.parametrize(
    ("calendar", "now", "end", "paused"),
    [
        (GLOBAL, "2026-12-02T11:49:59", "2026-12-02T13:00", False),
        (GLOBAL, "2026-12-02T11:50:00", "2026-12-02T13:00", True),
        (US, "2026-12-02T11:44:59", "2026-12-02T13:00", False),
        (US, "2026-12-02T11:45:00", "2026-12-02T13:00", True),
        (US, "2026-12-02T12:59:59", "2026-12-02T13:00", True),
        (US, "2026-12-02T13:00:59", "2026-12-02T13:00", True),
        (US, "2026-12-02T13:01:00", "2026-12-02T13:00", False),
        (US, "2026-12-02T23:00:00", None, True),  # nobody said when it ends
    ],
)
def test_entries_pause_around_an_announced_stop(
    calendar: VenueCalendar, now: str, end: str | None, paused: bool
) -> None:
    assert calendar.pauses_entries(utc(now), [announced("2026-12-02T12:00", end)]) is paused


def stages(calendar: VenueCalendar, moments_: list[int], told: list[Happening]) -> list[Stage | None]:
    found = [calendar.standing(now_ms, told) for now_ms in moments_]
    return [None if one is None else one.stage for one in found]


STEPS = [None, Stage.AHEAD, Stage.PAUSED, Stage.CLEARED, Stage.VERIFIED, Stage.SHUT, Stage.AFTER, None]


@pytest.mark.parametrize("day", ["2026-07-17", "2026-11-20", "2026-03-13", "2026-11-06"])  # both sides of each change
def test_the_steps_to_the_weekly_stop(day: str) -> None:
    times = ["15:59:59", "16:00:00", "16:45:00", "16:55:00", "16:58:00", "17:00:00", "18:00:00", "18:01:00"]
    assert stages(US, [ny(f"{day}T{at}") for at in times], []) == STEPS


def test_the_steps_to_an_announced_release() -> None:
    times = ["07:57:00", "08:01:00", "08:50:00", "08:57:00", "08:58:00", "09:00:00", "09:30:00", "09:31:00"]
    told = [announced("2026-12-01T09:00", "2026-12-01T09:30")]
    assert stages(GLOBAL, [utc(f"2026-12-01T{at}") for at in times], told) == STEPS


def test_the_settlement_shuts_nothing_and_is_told_two_minutes_ahead() -> None:
    times = ["07:57:59", "07:58:00", "07:59:30", "08:00:00", "08:00:29", "08:00:30"]
    want = [None, Stage.AHEAD, Stage.PAUSED, Stage.AFTER, Stage.AFTER, None]
    assert stages(GLOBAL, [utc(f"2026-11-25T{at}") for at in times], []) == want


def test_the_end_that_the_venue_tells_wins_over_our_rule() -> None:
    longer = Happening("maintenance", Kind.STOP, "m", ny("2026-11-20T17:00"), ny("2026-11-20T19:00"), announced=True)
    assert stages(US, [ny("2026-11-20T18:30")], [longer]) == [Stage.SHUT]
    assert stages(US, [ny("2026-11-20T18:30")], []) == [None]


def test_a_sweep_of_cash_pauses_nothing() -> None:
    swept = replace(announced("2026-12-02T12:00", "2026-12-02T12:00"), kind=Kind.MONEY)
    assert US.standing(utc("2026-12-02T12:00"), [swept]) is None


def test_a_stop_that_is_announced_beside_the_rules_is_one_with_its_end() -> None:
    rule = Happening("weekly_stop", Kind.STOP, "weekly stop", 1000, 2000)
    longer, other = replace(rule, key="m", end_ms=3000, announced=True), replace(rule, start_ms=9000, announced=True)
    assert merged([rule], [longer, other]) == (replace(rule, end_ms=3000, announced=True), other)


@given(moments)
def test_entries_pause_only_while_a_step_is_due(now_ms: int) -> None:
    for calendar in (GLOBAL, US):
        found = calendar.standing(now_ms)
        assert calendar.pauses_entries(now_ms) is (found is not None and found.stage > Stage.AHEAD)
        if found is not None and found.until_ms is not None:
            assert not calendar.pauses_entries(found.until_ms)


@given(moments)
def test_the_cheap_margin_ends_when_the_window_changes(now_ms: int) -> None:
    ends_ms = US.cheap_margin_ends_ms(now_ms)
    assert (ends_ms is None) is (US.margin_window(now_ms) == "overnight")
    if ends_ms is not None:
        assert (US.margin_window(ends_ms - 1), US.margin_window(ends_ms)) == ("intraday", "overnight")
    assert GLOBAL.cheap_margin_ends_ms(now_ms) is None


@given(moments)
def test_the_last_seven_days_are_seven_whichever_way_the_clocks_change(now_ms: int) -> None:
    for calendar in (GLOBAL, US):
        days = calendar.last_days_ms(now_ms, 7)
        assert days[0] == calendar.day_start_ms(now_ms)
        assert [calendar.next_day_ms(earlier) for earlier in days[1:]] == list(days[:-1])
        assert 0 < calendar.day_left(now_ms) <= 1
        assert calendar.day_left(days[0]) == 1


@given(moments)
def test_a_risk_day_is_named_by_the_date_on_which_it_began_there(now_ms: int) -> None:
    for calendar, zone in ((GLOBAL, UTC), (US, NEW_YORK)):
        began = datetime.fromtimestamp(calendar.day_start_ms(now_ms) / 1000, zone)
        assert calendar.day_name(now_ms) == calendar.day_name(calendar.next_day_ms(now_ms) - 1) == f"{began:%Y-%m-%d}"
        assert calendar.day_name(now_ms) < calendar.day_name(calendar.next_day_ms(now_ms))


def test_every_weekday_holiday_of_the_two_years_is_known() -> None:
    assert len(US.holidays) == 20
    assert all(one.weekday() < 5 for one in US.holidays)
    fourth_thursday = next(
        date(2026, 11, 1) + timedelta(days=n)
        for n in range(21, 30)
        if (date(2026, 11, 1) + timedelta(n)).weekday() == 3
    )
    assert fourth_thursday in US.holidays


def test_a_machine_without_time_zones_is_told() -> None:
    with pytest.raises(UnknownState, match="no time-zone data for Nowhere/Here"):
        zone_of("Nowhere/Here")


@given(moments)
def test_another_reading_of_the_venues_documents_agrees(now_ms: int) -> None:
    there = US_RULES.calendar
    assert there is not None
    stop = next(one for one in US.upcoming(now_ms, now_ms + 8 * DAY_MS) if one.key == "weekly_stop")
    assert (stop.start_ms, stop.end_ms) == there.next_stop(now_ms)
    assert stop.runs_at(now_ms) is there.is_shut(now_ms)
    assert US.margin_window(now_ms) == ("intraday" if there.window(now_ms) == "INTRADAY" else "overnight")
    assert (US.day_start_ms(now_ms), US.next_day_ms(now_ms)) == there.session(now_ms)
    assert {one.isoformat() for one in US.holidays} == {
        day for day in there.holidays if day >= "2026"
    }  # earlier ones: replays
