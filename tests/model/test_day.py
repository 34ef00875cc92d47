"""The risk day: its start, its baseline that nothing re-bases, and the peak of seven days."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from perpctl.model.day import (
    DAY_MS,
    Baseline,
    Peaks,
    baseline_at,
    conservative_equity,
    day_start_ms,
    near_settlement,
    next_settlement_ms,
    reads_prove_nothing,
)
from perpctl.model.position import Position


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2026-11-23 08:00:00", "2026-11-23 08:00:00"),
        ("2026-11-23 07:59:59.999", "2026-11-22 08:00:00"),
        ("2026-11-23 23:59:59", "2026-11-23 08:00:00"),
        ("2026-11-24 03:00:00", "2026-11-23 08:00:00"),
        ("2027-01-01 07:00:00", "2026-12-31 08:00:00"),
    ],
)
def test_the_day_starts_at_8_utc(now: str, start: str) -> None:
    assert day_start_ms(ms(now)) == ms(start)
    assert next_settlement_ms(ms(now)) == ms(start) + DAY_MS


@pytest.mark.parametrize(
    ("now", "quiet", "unproven"),
    [
        ("2026-11-23 07:59:29.999", False, False),
        ("2026-11-23 07:59:30", True, False),
        ("2026-11-23 07:59:54.999", True, False),
        ("2026-11-23 07:59:55", True, True),
        ("2026-11-23 08:00:14.999", True, True),
        ("2026-11-23 08:00:15", True, False),
        ("2026-11-23 08:00:29.999", True, False),
        ("2026-11-23 08:00:30", False, False),
    ],
)
def test_the_quiet_time_around_the_settlement(now: str, quiet: bool, unproven: bool) -> None:
    assert near_settlement(ms(now)) is quiet
    assert reads_prove_nothing(ms(now)) is unproven


NOON = ms("2026-11-23 12:00:00")


def test_a_restart_within_the_day_keeps_the_baseline_and_its_loss() -> None:
    stored = baseline_at(None, NOON, D(100_000))
    after = baseline_at(stored, NOON + 3_600_000, D(97_000))
    assert after is stored
    assert after.pnl_pct(D(97_000)) == D(-3)


def test_a_new_day_takes_the_equity_then() -> None:
    stored = baseline_at(None, NOON, D(100_000))
    assert baseline_at(stored, NOON + DAY_MS, D(97_000)) == Baseline(day_start_ms(NOON + DAY_MS), D(97_000))


def test_a_clock_that_steps_back_over_the_start_keeps_the_newer_baseline() -> None:
    stored = baseline_at(None, NOON, D(100_000))
    assert baseline_at(stored, NOON - DAY_MS, D(1)) is stored


def test_a_deposit_is_neither_profit_nor_a_new_baseline() -> None:
    day = Baseline(day_start_ms(NOON), D(100_000)).with_transfer(D(50_000))
    assert day.pnl(D(148_000)) == D(-2_000)
    assert day.pnl_pct(D(148_000)) == D(-2)


def test_a_withdrawal_hides_no_profit() -> None:
    assert Baseline(0, D(100_000)).with_transfer(D(-40_000)).pnl(D(61_000)) == D(1_000)


def test_without_money_there_is_no_percentage() -> None:
    assert Baseline(0, D(0)).pnl_pct(D(5)) is None


def position(size: str, mark: str | None, index: str | None) -> Position:
    prices = [None if price is None else D(price) for price in (mark, index)]
    return Position("P", None, D(size), None, *prices, *[None] * 7, True, 0, 0.0)


@pytest.mark.parametrize(
    ("held", "want"),
    [
        (position("2", "100", "90"), "980"),
        (position("2", "90", "100"), "1000"),
        (position("-2", "100", "110"), "980"),
        (position("-2", "110", "100"), "1000"),
        (position("2", None, "90"), "1000"),
        (position("2", "100", None), "1000"),
    ],
)
def test_the_worse_of_mark_and_index_counts(held: Position, want: str) -> None:
    assert conservative_equity(D(1000), [held]) == D(want)


def test_the_fall_is_from_the_highest_of_seven_days() -> None:
    peaks = Peaks().seen(NOON, D(100)).seen(NOON + 1, D(120)).seen(NOON + 2, D(90))
    for day in range(1, 7):
        peaks = peaks.seen(NOON + day * DAY_MS, D(90))
    assert peaks.drawdown_pct(D(90)) == D(25)
    peaks = peaks.seen(NOON + 7 * DAY_MS, D(90))
    assert peaks.drawdown_pct(D(90)) == 0
    assert len(peaks.highs) == 7


def test_before_the_first_look_there_is_no_fall_and_a_new_high_is_none() -> None:
    assert Peaks().drawdown_pct(D(5)) is None
    assert Peaks().seen(NOON, D(5)).drawdown_pct(D(6)) == 0


def test_a_withdrawal_is_no_fall() -> None:
    assert Peaks().seen(NOON, D(100)).with_transfer(D(-50)).drawdown_pct(D(50)) == 0
