"""Entries read back gone: an order that is still on its way is not gone, whoever asks and however."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.conftest import Cli, tell
from tests.drills.running import Running, running
from tests.drills.test_run import orders_at
from tests.trading import control

pytestmark = [pytest.mark.drill, pytest.mark.timeout(120)]
LATE_S = 1.2


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
    for method in ("private/buy", "private/sell"):
        control(paper, "/fault", {"kind": kind, "method": method, "count": 50, **words})
    mark = tell(f"{paper['control']}/status", method="GET")["marks"]["BTC_USDC-PERPETUAL"]
    tell(f"{paper['control']}/price", instrument_name="BTC_USDC-PERPETUAL", price=str(round(float(mark) * 1.001, 1)))
    bot.until(lambda: on_their_way(bot))


@pytest.mark.parametrize("ask", [ask_socket, ask_service])
def test_an_entry_on_its_way_is_waited_for_before_anything_is_called_gone(
    ask: Callable[[Running], bool], paper: dict[str, Any], cli: Cli
) -> None:
    with running() as bot:
        bot.until(lambda: len(bot.events("place")) >= 2)
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
    with running() as bot:
        bot.until(lambda: len(bot.events("place")) >= 2)
        rule = {"kind": "error", "method": "private/get_order_state_by_label", "count": 500}
        control(paper, "/fault", rule)
        hold_back_an_entry(bot, paper, "drop_before")
        latched = threading.Thread(target=bot.mode, args=("reduce_only",))
        latched.start()
        bot.until(lambda: any(one["stage"] == "unknown" for one in on_their_way(bot)))
        latched.join()
        assert entries_at(cli) == []
        assert ask(bot) is False
        tell(f"{paper['control']}/fault", method="DELETE")
        ends = time.monotonic() + 30
        while not ask(bot):
            assert time.monotonic() < ends
        assert on_their_way(bot) == []
