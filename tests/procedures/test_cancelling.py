"""Cancel-all takes every entry, keeps protective stops, and claims nothing that two listings did not show."""

from __future__ import annotations

from typing import Any

import pytest

from perpctl.errors import ExitCode, UnknownState
from perpctl.procedures import cancelling, runner
from perpctl.procedures.runner import Wish
from tests import trading
from tests.conftest import both_venues

YES = Wish(yes=True, reason="test")
pytestmark = both_venues


async def test_every_entry_goes_whoever_made_it_and_the_protective_stop_stays(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        protective = await trading.stop(desk, size="0.05")
        for name in (None, "somebody-else", None):
            await trading.entry(desk, name=name)
        answer = await runner.carry_out(cancelling.cancel_all, desk, YES)
        assert answer.exit_code is ExitCode.OK
        assert await trading.working(desk) == {protective.order_id}
        facts = answer.facts["steps"][0]["facts"]  # type: ignore[index,call-overload]
        assert facts["stops_kept"] == [protective.order_id]
        assert len(facts["cancelled"]) == 3


async def test_include_stops_takes_the_stop_and_says_what_is_then_bare(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        await trading.stop(desk, size="0.05")
        answer = await runner.carry_out(lambda at: cancelling.cancel_all(at, include_stops=True), desk, YES)
        assert await trading.working(desk) == set()
        assert answer.facts["steps"][0]["left"] == [f"{trading.btc(paper)} +0.05 has no stop now"]  # type: ignore[index,call-overload]


async def test_a_stop_without_a_position_is_an_entry_unless_it_can_only_reduce(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        quote = await (await desk.exchange()).quote(trading.btc(paper))
        price = quote.mark or quote.last
        assert price is not None
        await trading.place(desk, side="BUY", trigger_price=f"{(price + 500) // 5 * 5}")
        answer = await runner.carry_out(cancelling.cancel_all, desk, YES)
        assert answer.exit_code is ExitCode.OK
        assert await trading.working(desk) == set()


async def test_when_the_mass_cancel_is_lost_the_ids_are_cancelled_one_by_one(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        for _ in range(3):
            await trading.entry(desk)
        trading.control(paper, "/fault", {"kind": "drop_before", "method": trading.call(paper, "mass cancel")})
        answer = await runner.carry_out(cancelling.cancel_all, desk, YES)
        assert answer.exit_code is ExitCode.OK
        assert await trading.working(desk) == set()


async def test_a_listing_that_fails_is_never_an_empty_one(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.entry(desk)
        fault = {"kind": "http_status", "status": 503, "method": trading.call(paper, "open orders"), "count": 1000}
        trading.control(paper, "/fault", fault)
        with pytest.raises(UnknownState):
            await runner.carry_out(cancelling.cancel_all, desk, YES)


async def test_nothing_working_is_proven_by_two_listings(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        answer = await runner.carry_out(cancelling.cancel_all, desk, YES)
        step = answer.facts["steps"][0]  # type: ignore[index,call-overload]
        assert answer.exit_code is ExitCode.OK
        assert step["result"] == "nothing_to_do"
        assert "2 listings a second apart" in step["evidence"]


async def test_a_dry_run_cancels_nothing(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        order = await trading.entry(desk)
        answer = await runner.carry_out(cancelling.cancel_all, desk, Wish(dry_run=True))
        assert "cancel 1 orders" in str(answer.facts["steps"])
        assert await trading.working(desk) == {order.order_id}
