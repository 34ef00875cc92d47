"""Entries read back gone: an order that is still on its way is not gone, whoever asks and however."""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from tests.conftest import Cli, both_venues, tell
from tests.drills.running import Running, running
from tests.drills.test_run import orders_at
from tests.risk.world import WORLDS
from tests.trading import call, control, market, move

pytestmark = [pytest.mark.drill, pytest.mark.timeout(120), both_venues]
LATE_S = 1.2
FOLLOWER = ("--strategy", "tests.drills.still:Follower")


def ask_socket(bot: Running) -> bool:
    return bool(bot.control(do="mass_cancel")["ok"])


def ask_service(bot: Running) -> bool:
    status, answer = bot.mode("reduce_only")
    assert answer["read_back"] is (status == 200)
    return status == 200


def entries_at(cli: Cli) -> list[dict[str, Any]]:
    return [order for order in orders_at(cli) if not order["reduce_only"]]


def on_their_way(bot: Running) -> list[dict[str, Any]]:
    status = bot.control(do="status")
    return [one for one in status["orders"] if one["stage"] in ("sending", "unknown") and one["purpose"] != "stop"]


def hold_back_an_entry(bot: Running, paper: dict[str, Any], kind: str, **words: Any) -> None:
    """The next entries reach the venue late, or their answers never come; the bot has one of them under way."""
    for method in {call(paper, "buy"), call(paper, "sell")}:
        control(paper, "/fault", {"kind": kind, "method": method, "count": 50, **words})
    move(paper, market(paper) * Decimal("1.001"))
    bot.until(lambda: on_their_way(bot))


@pytest.mark.parametrize("ask", [ask_socket, ask_service])
def test_an_entry_on_its_way_is_waited_for_before_anything_is_called_gone(
    ask: Callable[[Running], bool], paper: dict[str, Any], cli: Cli
) -> None:
    with running(*FOLLOWER) as bot:
        bot.until(lambda: bot.events("place"))
        hold_back_an_entry(bot, paper, "delay", seconds=LATE_S)
        assert bot.mode("reduce_only")[0] in (200, 503)  # from here on nothing new is sent
        if ask(bot):
            assert on_their_way(bot) == []
            assert entries_at(cli) == []
        bot.until(lambda: not on_their_way(bot) and ask(bot))
        assert entries_at(cli) == []


@pytest.mark.parametrize("ask", [ask_socket, ask_service])
def test_an_entry_of_unknown_outcome_is_not_called_gone(
    ask: Callable[[Running], bool], paper: dict[str, Any], cli: Cli
) -> None:
    """Its answer is lost and every read that could settle it fails: two empty listings prove nothing about it."""
    with running(*FOLLOWER) as bot:
        bot.until(lambda: bot.events("place"))
        rule = {"kind": "error", "method": call(paper, "order by label"), "count": 500}
        control(paper, "/fault", rule)
        hold_back_an_entry(bot, paper, "drop_before")
        bot.until(lambda: any(one["stage"] == "unknown" for one in on_their_way(bot)))
        assert bot.mode("reduce_only")[0] == 503
        if call(paper, "open orders") != call(paper, "order by label"):  # else nobody can read a listing either
            assert entries_at(cli) == []
        assert ask(bot) is False
        tell(f"{paper['control']}/fault", method="DELETE")
        if WORLDS[paper["venue"]].terms.arrival.after_send_s is not None:
            assert ask(bot) is False  # nothing is absent here before it could have arrived, a minute from now
            return
        ends = time.monotonic() + 30
        while not ask(bot):
            assert time.monotonic() < ends
        assert on_their_way(bot) == []
        assert entries_at(cli) == []
