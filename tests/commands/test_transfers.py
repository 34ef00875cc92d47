"""A withdrawal is no loss, wherever the day's result is told; what could not be read is said, and stays in it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from perpctl import profile
from perpctl.model.mode import Mode
from perpctl.procedures import mode as modes
from perpctl.questions.held import positions
from perpctl.store.latch import Latch
from tests import trading
from tests.commands import scenes
from tests.commands.stage import Stage
from tests.conftest import Cli, Ran, us_alone

LEDGER = "private/get_transaction_log"


def day(cli: Cli) -> Any:
    return cli("positions", "-o", "json").json["day"]


def preflight(cli: Cli) -> Any:
    return next(gate for gate in cli("preflight", "-o", "json").json["gates"] if gate["gate"] == "daily loss")


def resumed(cli: Cli) -> tuple[Ran, Mode]:
    ran = cli("resume", "--as", "ops1", "--yes", "--reason", "drill", "-o", "json")
    return ran, Latch(profile.load("paper").state_dir / "latch").read().mode


def test_a_withdrawal_after_the_baseline_changes_no_figure_of_the_day(stage: Stage, cli: Cli) -> None:
    scenes.held(stage, cli)
    before = day(cli)
    assert (before["transfers"], before["transfers_unread"]) == ("0", None)
    stage.tell("/deposit", amount="-30000")
    stage.tell("/deposit", amount="5000")
    after = day(cli)
    assert after == {**before, "transfers": "-25000"}
    assert "and -25,000.00 USDC of transfers, which are no part of it" in cli("positions").out
    assert preflight(cli)["verdict"] == "PASS"
    assert f"day {Decimal(before['percent']):+.2f} %" in cli("status").out


def test_margin_for_a_slot_is_no_transfer(stage: Stage, cli: Cli) -> None:
    scenes.bare(stage, cli)
    assert day(cli)["transfers"] == "0"


def test_a_withdrawal_does_not_keep_a_human_from_going_on_and_a_loss_of_as_much_does(stage: Stage, cli: Cli) -> None:
    scenes.halted(stage, cli)
    stage.tell("/deposit", amount="-30000")
    scenes.booked(cli)
    ran, mode = resumed(cli)
    assert (ran.code, mode) == (0, Mode.NORMAL), ran.out


def http_error(stage: Stage) -> None:
    stage.fault("http_status", LEDGER)


def silence(stage: Stage) -> None:
    stage.fault("delay_answer", LEDGER, seconds=30)


@pytest.mark.parametrize("spoil", [http_error, silence])
def test_a_ledger_that_cannot_be_read_hides_nothing_else_and_is_said(
    stage: Stage, cli: Cli, spoil: Callable[[Stage], None]
) -> None:
    scenes.held(stage, cli)
    stage.tell("/deposit", amount="-500")
    spoil(stage)
    ran = cli("positions")
    assert ran.code == 0
    assert "deposits and withdrawals in it: " in ran.out
    told = day(cli)
    assert (told["transfers"], bool(told["transfers_unread"])) == (None, True)
    assert Decimal(told["pnl"]) < -400
    assert "transfers in it" in cli("status").out


def test_with_the_ledger_unread_preflight_warns_and_a_human_gets_no_further_than_reduce_only(
    stage: Stage, cli: Cli
) -> None:
    scenes.halted(stage, cli)
    http_error(stage)
    gate = preflight(cli)
    assert (gate["verdict"], "deposits and withdrawals in it" in gate["evidence"]) == ("WARN", True), gate
    ran, mode = resumed(cli)
    assert (ran.code, mode) == (6, Mode.REDUCE_ONLY), ran.out
    assert "the result of the day is not known: " in ran.out


@us_alone
def test_where_the_venue_lists_no_transfers_the_figure_has_them_in_it_and_says_so(paper: dict[str, Any]) -> None:
    async def ask() -> tuple[Any, Any, str]:
        async with trading.at_the_desk() as desk:
            exchange = await desk.exchange()
            account, at_ms = await exchange.account(), await exchange.time_ms()
            name = exchange.calendar.day_name(at_ms)
            desk.projections().set_baseline(name, account.equity, account.currency, at_ms)
            answer = await positions.held(desk)
            return answer.facts["day"], *await modes._day_pnl_pct(desk)

    told, pnl, words = asyncio.run(ask())
    assert told["transfers"] is None
    assert "lists no past transfers" in told["transfers_unread"]
    assert (pnl, "deposits and withdrawals in it: this venue lists no past transfers" in words) == (0, True)
