"""Closing by hand never takes too much, never turns a position round, and says what it could not do."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from perpctl.errors import ExitCode, UsageError
from perpctl.procedures import cancelling, closing, runner
from perpctl.procedures.closer import one_closer
from perpctl.procedures.closing import Amount, Manner
from perpctl.procedures.runner import Build, Wish
from tests import trading
from tests.conftest import both_venues, us_alone

YES = Wish(yes=True, reason="test")
LADDER = Manner.named(market=False, max_slippage=None)
MARKET = Manner.named(market=True, max_slippage=None)


def reduce(by: str | None = None, to: str | None = None) -> Build:
    amount = Amount.given(by, to)
    return lambda desk: closing.reduce(desk, "BTC-PERP", None, amount, LADDER)


def close(manner: Manner = LADDER) -> Build:
    return lambda desk: closing.close(desk, "BTC-PERP", None, manner)


@both_venues
@pytest.mark.parametrize(
    ("by", "to", "left"), [("50%", None, "0.03"), ("0.02", None, "0.04"), (None, "0.01", "0.01"), (None, "0", None)]
)
async def test_exactly_what_was_asked_is_left(paper: dict[str, Any], by: str, to: str, left: str | None) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        answer = await runner.carry_out(reduce(by, to), desk, YES)
        assert answer.exit_code is ExitCode.OK
        assert await trading.held(desk) == ({} if left is None else {trading.btc(paper): Decimal(left)})


@both_venues
async def test_a_short_is_closed_by_buying_and_its_leftover_stop_goes(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, side="SELL", size="0.06")
        await trading.stop(desk, side="BUY", size="0.06")
        answer = await runner.carry_out(close(), desk, YES)
        assert answer.exit_code is ExitCode.OK
        assert (await trading.held(desk), await trading.working(desk)) == ({}, set())


@both_venues
async def test_every_order_it_sends_is_settled_in_the_journal(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        await runner.carry_out(close(), desk, YES)
        projections = desk.projections()
        assert projections.unknown_orders() == ()
        assert sum(fill.size for fill in projections.fills()) == Decimal("0.06")


@both_venues
async def test_a_lost_answer_is_looked_up_and_nothing_is_closed_twice(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        trading.control(paper, "/fault", {"kind": "drop_after", "method": trading.call(paper, "sell")})
        answer = await runner.carry_out(reduce("50%"), desk, YES)
        assert answer.exit_code is ExitCode.OK
        assert await trading.held(desk) == {trading.btc(paper): Decimal("0.03")}


async def test_a_venue_that_always_refuses_ends_it_and_the_rest_is_named(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        fault = {"kind": "error", "code": 10009, "message": "not_enough_funds", "method": "private/*l*", "count": 1000}
        for method in ("private/sell", "private/close_position"):
            trading.control(paper, "/fault", {**fault, "method": method})
        answer = await runner.carry_out(close(MARKET), desk, YES)
        assert answer.exit_code is ExitCode.PARTIAL
        assert "5 times in a row" in str(answer.facts)


@both_venues
async def test_two_closers_at_once_do_not_shrink_twice(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as one, trading.at_the_desk() as other:
        await trading.place(one, size="0.06")
        answers = await asyncio.gather(*(runner.carry_out(reduce("50%"), desk, YES) for desk in (one, other)))
        assert await trading.held(one) == {trading.btc(paper): Decimal("0.03")}
        assert {answer.exit_code for answer in answers} == {ExitCode.OK, ExitCode.HELD}


@both_venues
async def test_while_another_closes_nothing_is_sent(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        desk.journal()
        with one_closer(desk.settings.state_dir):
            answer = await runner.carry_out(close(), desk, YES)
        assert answer.exit_code is ExitCode.HELD
        assert await trading.held(desk) == {trading.btc(paper): Decimal("0.06")}


@us_alone
@pytest.mark.parametrize(("by", "to", "left"), [("2 contracts", None, "0.04"), (None, "1 contract", "0.01")])
async def test_contracts_are_taken_where_the_venue_counts_in_them(
    paper: dict[str, Any], by: str | None, to: str | None, left: str
) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        assert (await runner.carry_out(reduce(by, to), desk, YES)).exit_code is ExitCode.OK
        assert await trading.held(desk) == {trading.btc(paper): Decimal(left)}


@us_alone
async def test_a_part_of_a_contract_is_refused(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        with pytest.raises(UsageError, match="contracts are whole"):
            await runner.carry_out(reduce("0.5 contracts"), desk, YES)


async def test_contracts_are_refused_where_sizes_are_of_coin(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        with pytest.raises(UsageError, match="sized in BTC at this venue"):
            await runner.carry_out(reduce("2 contracts"), desk, YES)


@both_venues
async def test_nothing_held_is_nothing_to_do(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        assert (await runner.carry_out(close(), desk, Wish())).exit_code is ExitCode.OK


@pytest.mark.parametrize(
    ("by", "to"), [("abc", None), ("150%", None), ("-1", None), ("0", None), (None, "50%"), (None, None), ("1", "1")]
)
def test_nonsense_is_refused_before_anything_is_read(by: str | None, to: str | None) -> None:
    with pytest.raises(UsageError):
        Amount.given(by, to)


@both_venues
@pytest.mark.parametrize("by", ["0.00001", "0.07"])
async def test_less_than_a_step_or_more_than_is_held_is_refused(paper: dict[str, Any], by: str) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        with pytest.raises(UsageError):
            await runner.carry_out(reduce(by), desk, YES)


@pytest.mark.parametrize("by", [None, "50%"])
@us_alone
async def test_an_order_that_rests_in_the_way_is_named_and_what_comes_next_clears_the_way(
    paper: dict[str, Any], by: str | None
) -> None:
    build = close(MARKET) if by is None else reduce(by)
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        adding = await trading.entry(desk, size="0.01")
        resting = await trading.entry(desk, side="SELL", size="0.06")
        answer = await runner.carry_out(build, desk, YES)
        assert (answer.exit_code, await trading.held(desk)) == (ExitCode.PARTIAL, {trading.btc(paper): Decimal("0.06")})
        [step] = answer.facts["steps"]
        assert f"rests, {resting.order_id}" in str(step["left"])
        assert adding.order_id not in str(step)
        named, again, _ = step["facts"]["next"]
        assert named == "perpctl -p paper cancel-all"
        assert again.endswith("--market")
        answer = await runner.carry_out(cancelling.cancel_all, desk, YES)
        assert answer.exit_code is ExitCode.OK
        answer = await runner.carry_out(build, desk, YES)
        assert (answer.exit_code, await trading.held(desk)) == (
            ExitCode.OK,
            {} if by is None else {trading.btc(paper): Decimal("0.03")},
        )


@us_alone
async def test_what_is_left_of_a_shrunk_position_has_its_stop_again_in_its_size(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        before = await trading.stop(desk, size="0.06")
        answer = await runner.carry_out(reduce("50%"), desk, YES)
        assert (answer.exit_code, await trading.held(desk)) == (ExitCode.OK, {trading.btc(desk): Decimal("0.03")})
        (stop,) = await (await desk.exchange()).open_orders()
        assert (stop.size, stop.trigger_price) == (Decimal("0.03"), before.trigger_price)
        assert stop.order_id != before.order_id


@us_alone
async def test_a_close_that_gets_no_further_after_the_stop_went_puts_it_back(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.06")
        before = await trading.stop(desk, size="0.06")
        refusal = {"kind": "http_status", "status": 400, "method": "POST */orders/close_position", "count": 1000}
        trading.control(paper, "/fault", {**refusal, "skip": 1})
        answer = await runner.carry_out(close(MARKET), desk, YES)
        assert answer.exit_code is not ExitCode.OK
        held = (await trading.held(desk))[trading.btc(desk)]
        stops = [one for one in await (await desk.exchange()).open_orders() if one.is_trigger]
        assert [(one.size, one.trigger_price) for one in stops] == [(held, before.trigger_price)]
