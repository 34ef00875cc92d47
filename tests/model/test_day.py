"""The risk day: its start, its baseline that nothing re-bases, and the peak of seven days."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from perpctl.model.day import DAY_MS, Baseline, Peaks, conservative_equity
from perpctl.model.position import Position


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOON = ms("2026-11-23 12:00:00")


def test_a_deposit_is_neither_profit_nor_a_new_baseline() -> None:
    day = Baseline(NOON, D(100_000)).with_transfer(D(50_000))
    assert day.pnl(D(148_000)) == D(-2_000)
    assert day.pnl_pct(D(148_000)) == D(-2)


def test_a_withdrawal_hides_no_profit() -> None:
    assert Baseline(0, D(100_000)).with_transfer(D(-40_000)).pnl(D(61_000)) == D(1_000)


def test_without_money_there_is_no_percentage() -> None:
    assert Baseline(0, D(0)).pnl_pct(D(5)) is None


def position(size: str, mark: str | None, index: str | None) -> Position:
    prices = [None if price is None else D(price) for price in (mark, index)]
    return Position("P", None, D(size), None, *prices, *[None] * 7, True, 0, 0.0, underlying="P")


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
    peaks = Peaks().seen(NOON, D(100)).seen(NOON, D(120)).seen(NOON, D(90))
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
