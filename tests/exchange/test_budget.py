"""Request credits: never more than the venue allows, and the way out never waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpctl.clock import ManualClock
from perpctl.exchange.budget import Budget, Duty, Limit, Pool
from tests.exchange.gateway.venue import SteppedClock, breathe

START = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


async def spend(budget: Budget, count: int, duty: Duty, pool: Pool = Pool.MATCHING) -> None:
    for _ in range(count):
        await budget.take(pool, duty)


async def test_a_strategy_gets_its_share_at_once_and_the_rest_at_its_pace(clock: ManualClock) -> None:
    budget = Budget(clock)
    await spend(budget, 12, Duty.STRATEGY)
    assert clock.monotonic() == 0
    await spend(budget, 6, Duty.STRATEGY)
    assert clock.monotonic() == pytest.approx(2.0, abs=0.01)


async def test_an_exit_never_waits_and_the_reserve_is_never_lent(clock: ManualClock) -> None:
    budget = Budget(clock)
    await spend(budget, 12, Duty.STRATEGY)
    await spend(budget, 8, Duty.EXIT)
    assert clock.monotonic() == 0
    await spend(budget, 50, Duty.EXIT)
    assert clock.monotonic() == 0


async def test_the_more_urgent_goes_first() -> None:
    clock = SteppedClock(START)
    budget = Budget(clock)
    await spend(budget, 12, Duty.STRATEGY)
    order: list[Duty] = []

    async def queue(duty: Duty) -> None:
        await budget.take(Pool.MATCHING, duty)
        order.append(duty)

    waiting = asyncio.gather(queue(Duty.OPERATOR), queue(Duty.RECONCILE), queue(Duty.STRATEGY))
    await breathe()
    await clock.pass_by(2)
    await waiting
    assert order == [Duty.STRATEGY, Duty.RECONCILE, Duty.OPERATOR]


async def test_being_throttled_halves_the_pace_for_a_minute(clock: ManualClock) -> None:
    budget = Budget(clock)
    await spend(budget, 12, Duty.STRATEGY)
    budget.slow_down()
    await spend(budget, 3, Duty.STRATEGY)
    assert clock.monotonic() == pytest.approx(2.0, abs=0.01)
    clock.advance(120)
    await spend(budget, 15, Duty.STRATEGY)
    assert clock.monotonic() == pytest.approx(123.0, abs=0.01)


async def test_real_limits_replace_the_lowest_tier(clock: ManualClock) -> None:
    budget = Budget(clock)
    budget.learn({Pool.MATCHING: Limit(30, 100)})
    await spend(budget, 60, Duty.STRATEGY)
    assert clock.monotonic() == 0
    assert budget.used(Pool.MATCHING) == pytest.approx(1.0)


async def test_the_mass_cancel_pool_is_for_exits_alone(clock: ManualClock) -> None:
    with pytest.raises(ValueError, match="belongs to exits"):
        await Budget(clock).take(Pool.CANCEL_ALL, Duty.STRATEGY)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(list(Duty)[1:]), st.floats(0, 2)), max_size=60))
def test_what_is_shared_never_goes_beyond_the_venue_s_bucket(calls: list[tuple[Duty, float]]) -> None:
    clock = ManualClock(START)
    budget = Budget(clock)
    sent: list[float] = []

    async def run() -> None:
        for duty, pause in calls:
            clock.advance(pause)
            await budget.take(Pool.MATCHING, duty)
            sent.append(clock.monotonic())

    asyncio.run(run())
    level, before = 20.0, 0.0  # the venue's own bucket: 5 a second, 20 at once
    for at in sent:
        level = min(20.0, level + (at - before) * 5) - 1
        before = at
        assert level >= 8 - 0.01  # the reserve is still there for an exit
