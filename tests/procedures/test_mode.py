"""The latch is written whatever else is broken, and left only with a name, a reason and proof."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from perpctl.errors import ExitCode, RefusedBySafety
from perpctl.model.mode import Mode
from perpctl.procedures import mode, protecting, runner
from perpctl.procedures.runner import Wish
from perpctl.store.latch import Latch
from tests import trading
from tests.conftest import both_venues

pytestmark = both_venues

YES = Wish(yes=True, reason="test")


async def test_reduce_only_latches_and_takes_the_entries_but_not_the_stops(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        stop = await trading.stop(desk, size="0.05")
        await trading.entry(desk)
        answer = await runner.carry_out(lambda at: mode.reduce_only(at, "test"), desk, YES)
        assert answer.exit_code is ExitCode.OK
        assert desk.latch().read().mode is Mode.REDUCE_ONLY
        assert await trading.working(desk) == {stop.order_id}


async def test_with_the_venue_down_it_is_latched_and_the_entries_are_unknown(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        trading.control(paper, "/fault", {"kind": "outage"})
        answer = await runner.carry_out(lambda at: mode.disable(at, "test"), desk, YES)
        assert answer.exit_code is ExitCode.UNKNOWN
        assert Latch(desk.latch().path).read().mode is Mode.HALTED
        assert "LATCHED halted, but the resting entries are unknown" in str(answer.facts)


async def test_a_trigger_file_does_not_stand_in_for_the_latch(paper: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "TRADING_DISABLED").touch()
    async with trading.at_the_desk() as desk:
        answer = await runner.carry_out(lambda at: mode.disable(at, "test"), desk, YES)
        assert answer.exit_code is ExitCode.OK
        assert "TRADING_DISABLED exists" in str(answer.facts)
        (tmp_path / "TRADING_DISABLED").unlink()
        assert desk.latch().read().mode is Mode.HALTED


async def test_with_the_journal_broken_it_is_latched_all_the_same(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        desk.settings.state_dir.mkdir(parents=True, exist_ok=True)
        (desk.settings.state_dir / "journal.db").write_bytes(b"this is no database" * 500)
        answer = await runner.carry_out(lambda at: mode.disable(at, "test"), desk, YES)
        assert answer.exit_code is ExitCode.STATE_DAMAGED
        assert Latch(desk.latch().path).read().mode is Mode.HALTED


async def test_resume_takes_a_name(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        with pytest.raises(RefusedBySafety):
            await mode.resume(desk, " ", "test")


async def test_resume_is_refused_while_not_reconciled(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await runner.carry_out(lambda at: mode.disable(at, "test"), desk, YES)
        answer = await runner.carry_out(lambda at: mode.resume(at, "ops", "test"), desk, YES)
        assert answer.exit_code is ExitCode.REFUSED
        assert "not reconciled" in str(answer.facts)
        assert desk.latch().read().mode is Mode.HALTED


async def test_a_bare_position_gets_its_stop_and_a_second_time_nothing(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        for expected in (1, 1):
            answer = await runner.carry_out(lambda at: protecting.place_stops(at, (), None), desk, YES)
            assert answer.exit_code is ExitCode.OK
            assert len(await trading.working(desk)) == expected


async def test_a_mass_cancel_leaves_no_cancel_untold_in_the_journal(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        ids = {(await trading.entry(desk, name=name)).order_id for name in (None, "somebody-else")}
        await runner.carry_out(lambda at: mode.reduce_only(at, "test"), desk, YES)
        told = {one.order_id: one.cancel_state for one in desk.projections().orders() if one.order_id in ids}
        assert told == dict.fromkeys(ids, "confirmed")
