"""What the bot reads about the venue's hours: its state and announcements; and nothing while it settles."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.clock import from_ms, to_ms
from perpctl.engine.hours.state import closed_by_hours
from perpctl.engine.simulation.clock import VirtualClock, VirtualLoop, run_virtually
from perpctl.engine.simulation.memory import set_up
from perpctl.paper.faults import Rule
from perpctl.paper.feed.choice import feed_of
from perpctl.store.records import Kind
from tests.engine.test_transfers import Desk

Story = Callable[[Desk], Coroutine[Any, Any, None]]
TUESDAY = datetime(2026, 1, 6, tzinfo=UTC)


def tell(directory: Path, hour: int, minute: int, second: int, story: Story) -> None:
    """Runs a story at a desk in virtual time that begins at this time of a Tuesday."""
    start_ms = to_ms(TUESDAY.replace(hour=hour, minute=minute, second=second))
    loop = VirtualLoop()
    clock = VirtualClock(loop, from_ms(start_ms))
    ticks = (tick for tick in feed_of("synthetic", 7, start_ms).ticks(start_ms, {}) if tick is not None)
    stage = set_up((start_ms, itertools.islice(ticks, 5)), clock, directory)
    stage.venue.step()
    run_virtually(loop, story(Desk(stage, directory, clock)))


@pytest.mark.parametrize(("minute", "second", "waits"), [(59, 30, False), (59, 57, True)])
def test_a_bot_that_opens_while_the_venue_settles_waits_and_not_for_ever(
    tmp_path: Path, minute: int, second: int, waits: bool
) -> None:
    async def story(desk: Desk) -> None:
        began = desk.clock.monotonic()
        with desk.bot() as opening:
            await opening()
        assert (desk.clock.monotonic() - began > 15) is waits  # the market of this test stands still meanwhile
        assert desk.clock.monotonic() - began < 120

    tell(tmp_path, 7, minute, second, story)


def test_a_reconciliation_while_the_venue_settles_proves_nothing(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        with desk.bot() as opening:
            bot = await opening()
            before = bot.core.reconciled_at
            await bot.reconcile()
            assert bot.core.reconciled_at != before or bot.core.now == before
            proven = bot.core.reconciled_at
            desk.stage.venue.wait(40)  # to 07:59:58
            await desk.clock.sleep(1)
            await bot.read_venue()
            await bot.reconcile()
            assert bot.core.reconciled_at == proven
            ended = [one.body["clean"] for one in bot.gear.projections.journal.records(kinds=(Kind.RECONCILE_ENDED,))]
            assert ended[-1] is False

    tell(tmp_path, 7, 59, 18, story)


def test_an_announced_release_is_read_and_keeps_entries_off(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        with desk.bot() as opening:
            bot = await opening()
            assert closed_by_hours(bot.core) is None
            wall_s = desk.clock.now().timestamp()
            desk.stage.venue.gateway.announce("Release today, 09:00 UTC", "30 min", important=True, wall_s=wall_s)
            await bot.read_venue()
            closed = closed_by_hours(bot.core)
            assert closed is not None
            assert closed.why == "release (no new entries)"
            assert closed.until_ms == to_ms(TUESDAY.replace(hour=9, minute=31))

    tell(tmp_path, 8, 51, 0, story)


def test_a_state_that_cannot_be_read_grows_old_and_is_counted(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        with desk.bot() as opening:
            bot = await opening()
            desk.stage.venue.faults.add(Rule("error", "public/status", count=None))
            await bot.read_venue()
            assert bot.meter.counts["venue.failed"] == 1
            assert (bot.core.hours.age_ms(desk.clock.monotonic() + 61) or 0) > 60_000

    tell(tmp_path, 10, 0, 0, story)


def test_after_a_lock_that_nobody_planned_the_bots_limits_are_a_quarter(tmp_path: Path) -> None:
    async def story(desk: Desk) -> None:
        with desk.bot() as opening:
            bot = await opening()
            bot.look_at_latch()
            assert bot.core.ramp == 1
            bot.core.hours.surprised_ms = bot.core.market_ms
            bot.look_at_latch()
            assert bot.core.ramp == Decimal("0.25")

    tell(tmp_path, 10, 0, 0, story)
