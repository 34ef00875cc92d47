"""What is held is told with its stop, owner and age; unreadable it is unknown, and never an empty list."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpctl import layout
from perpctl.errors import ExitCode
from perpctl.layout import Paper
from perpctl.procedures import protecting, reconciling, runner
from perpctl.procedures.runner import Wish
from perpctl.questions.held import positions, stops
from perpctl.store.records import Kind
from tests import trading
from tests.conftest import both_venues, us_alone

YES = Wish(yes=True, reason="test")


def one(answer: Any) -> Any:
    return answer.facts["positions"][0]


@both_venues
async def test_a_position_that_no_fill_of_ours_explains_says_so_until_it_is_reconciled(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        assert one(await positions.held(desk))["explained"]["agrees"] is False
        await runner.carry_out(lambda at: reconciling.reconciled(at, apply=True, adopt=False), desk, YES)
        told = one(await positions.held(desk))
        assert (told["ours"], told["explained"]["fills"]) == (True, 1)


@both_venues
async def test_a_position_that_somebody_else_made_is_not_ours_however_well_it_is_booked(paper: dict[str, Any]) -> None:
    """A bot sees strangers' orders and books their fills: that explains a position, and does not make it ours."""
    async with trading.at_the_desk() as desk:
        order = await trading.place(desk, size="0.05", name="made-by-hand")
        desk.projections().see_order(order, "listing")
        await runner.carry_out(lambda at: reconciling.reconciled(at, apply=True, adopt=True), desk, YES)
        answer = await positions.held(desk)
        told = one(answer)
        assert told["explained"]["agrees"] is True
        assert (told["ours"], told["explained"]["not_ours"]) == (False, 1)
        shown = layout.page(answer, Paper(110, colour=False, is_terminal=False), 0.0)
        assert "owner NOT OURS: 1 fill of other orders makes it" in shown


@us_alone
async def test_the_liquidation_price_is_estimated_beside_other_positions_too(paper: dict[str, Any]) -> None:
    """Rows there tell no margin; the account's does, less what the position itself takes of it."""
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="3.5")
        alone = Decimal(one(await positions.held(desk))["liquidation_estimate"])
        await trading.place(desk, size="0.1", product_id="ETP-20DEC30-CDE")
        both = (await positions.held(desk)).facts["positions"]
        beside = Decimal(next(row for row in both if row["symbol"] == "BTC-PERP")["liquidation_estimate"])
        assert abs(beside / alone - 1) < Decimal("0.02")


@both_venues
async def test_a_stop_that_covers_half_is_not_protection(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        await trading.stop(desk, size="0.02")
        assert (await stops.verify(desk)).exit_code is ExitCode.NEGATIVE
        await runner.carry_out(lambda at: protecting.place_stops(at, (), None), desk, YES)
        assert (await stops.verify(desk)).exit_code is ExitCode.OK
        acts = [row.kind for row in desk.journal().records() if row.kind in (Kind.ORDER_SENT, Kind.CANCEL_INTENDED)]
        # Two stops of one position would turn it where nothing but their size holds them back.
        placed_first = (await desk.exchange()).terms.reduces_only
        assert (acts[0] is Kind.ORDER_SENT) is placed_first


@both_venues
async def test_a_broken_journal_does_not_hide_what_is_held(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        desk.settings.state_dir.mkdir(parents=True, exist_ok=True)
        (desk.settings.state_dir / "journal.db").write_bytes(b"this is no database" * 500)
        answer = await positions.held(desk)
        assert answer.exit_code is ExitCode.OK
        assert (one(answer)["size"], one(answer)["explained"]) == ("0.05", None)


@both_venues
async def test_unreadable_positions_are_unknown_with_the_worst_case_from_our_records(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        await runner.carry_out(lambda at: reconciling.reconciled(at, apply=True, adopt=False), desk, YES)
        trading.control(paper, "/fault", {"kind": "outage"})
        answer = await positions.held(desk)
        assert answer.exit_code is ExitCode.UNKNOWN
        assert answer.facts["positions"] is None
        assert answer.facts["last_proven"][0]["high"] == "0.05"  # type: ignore[index,call-overload]
