"""The look-back: windows on market time, and a message bucket that never lets more out than rate and burst allow."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

from hypothesis import given
from hypothesis import strategies as st

from perpctl.model.fill import Fill
from perpctl.model.order import Side
from perpctl.risk.activity import Activity
from perpctl.risk.conduct import bucket_load, may_cancel
from perpctl.risk.limits import RiskLevel, level_limits
from tests.risk.world import GLOBAL, NOW

FILL = Fill("t-1", "o-1", "id", GLOBAL.btc, Side.BUY, D("0.01"), D(84100), D("0.1"), "USDC", "M", NOW)


def test_the_fills_of_one_order_are_one_execution_dated_at_the_last() -> None:
    activity = Activity()
    activity.executed(FILL)
    activity.executed(replace(FILL, trade_id="t-2", at_ms=NOW + 5))
    activity.executed(replace(FILL, trade_id="t-3", order_id="o-2", at_ms=NOW + 9))
    assert [(one.order_id, one.at_ms) for one in activity.recent(NOW + 10).executions] == [
        ("o-1", NOW + 5),
        ("o-2", NOW + 9),
    ]


def test_executions_are_forgotten_after_5_minutes_and_losses_after_60() -> None:
    activity = Activity()
    activity.executed(FILL)
    activity.round_trip_lost(NOW)
    assert activity.recent(NOW + 299_999).executions
    assert not activity.recent(NOW + 300_000).executions
    assert activity.recent(NOW + 3_599_999).losses_ms
    assert not activity.recent(NOW + 3_600_000).losses_ms


def test_a_sent_order_counts_as_message_order_and_identity() -> None:
    activity = Activity(identities=["old"], orders_today=7)
    activity.order_sent(GLOBAL.request(), NOW)
    activity.cancel_sent(NOW + 1)
    recent = activity.recent(NOW + 2)
    assert recent.messages_ms == (NOW, NOW + 1)
    assert recent.orders_today == 8
    assert set(recent.identities) == {"old", "id-new"}
    assert recent.sent[0].is_like(GLOBAL.request(identity="another"))


def test_a_new_day_counts_orders_from_zero_and_forgets_no_identity() -> None:
    activity = Activity(orders_today=7)
    activity.order_sent(GLOBAL.request(), NOW)
    activity.day_began()
    assert activity.recent(NOW).orders_today == 0
    assert "id-new" in activity.recent(NOW).identities


def test_old_messages_and_orders_are_forgotten() -> None:
    activity = Activity()
    activity.order_sent(GLOBAL.request(), NOW)
    recent = activity.recent(NOW + 60_000)
    assert (recent.messages_ms, recent.sent) == ((), ())


def test_cancels_may_use_the_share_that_entries_may_not() -> None:
    limits = level_limits(RiskLevel.CONSERVATIVE)
    assert may_cancel((NOW,) * 4, NOW, limits)
    assert not may_cancel((NOW,) * 5, NOW, limits)
    assert may_cancel((NOW,) * 5, NOW + 1_000, limits)


@given(st.lists(st.integers(0, 20_000), max_size=60), st.sampled_from(RiskLevel))
def test_the_bucket_lets_no_stretch_exceed_burst_and_rate(steps: list[int], level: RiskLevel) -> None:
    limits = level_limits(level)
    sent: list[int] = []
    for at in sorted(steps):
        if may_cancel(tuple(sent), at, limits):
            sent.append(at)
    for i, start in enumerate(sent):
        for j in range(i, len(sent)):
            allowed = limits.messages_burst + limits.messages_per_s * (sent[j] - start) / 1000
            assert j - i + 1 <= allowed


@given(st.lists(st.integers(0, 20_000), max_size=40))
def test_the_bucket_agrees_with_looking_at_every_stretch(steps: list[int]) -> None:
    limits = level_limits(RiskLevel.MODERATE)
    times = tuple(sorted(steps))
    worst = max((len(times) - i + 1 - (20_000 - at) * 2 // 1000 for i, at in enumerate(times)), default=1)
    assert bucket_load(times, 20_000, limits) == max(1, worst)
