"""What the bot does on its own account, from a shell: strangers in the account, and a loss while nobody is there."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.clock import ManualClock, SystemClock
from perpctl.desk import Desk
from perpctl.engine.watch.strangers import FOREIGN
from perpctl.store.journal import JournalReader
from perpctl.store.records import Kind
from tests import trading
from tests.conftest import Cli, both_venues, tell, us_alone
from tests.drills.running import running
from tests.drills.test_run import get_filled
from tests.trading import at_the_desk, entry

pytestmark = [pytest.mark.drill, pytest.mark.timeout(180)]


def settle_on(paper: dict[str, Any], text: str) -> None:
    """The paper profile says so, and trades at the venue of the test."""
    config = Path(os.environ["PERPCTL_CONFIG_DIR"])
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.toml").write_text(f'[profiles.paper]\nvenue = "{paper["venue"]}"\n{text}')


async def test_an_order_placed_by_a_stranger_is_told_and_its_adoption_reaches_the_running_bot(
    paper: dict[str, Any], perpctl: Cli
) -> None:
    with running() as bot:
        async with at_the_desk() as desk:
            order = await entry(desk, size="0.01", name="by-hand")
        alert = bot.until(lambda: bot.events("alert"))[0]
        assert (alert["level"], order.order_id in alert["note"]) == (3, True)
        assert perpctl("orders", "adopt", order.order_id, "--yes").code == 5  # without a reason nobody answers for it
        adopted = perpctl("orders", "adopt", order.order_id, "--yes", "--reason", "placed it myself")
        assert adopted.code == 0, adopted.err
        assert order.order_id in bot.until(lambda: bot.events("adopted"))[0]["note"]
        assert bot.http("GET", "/api/status")[1]["foreign_orders"] == 1
        assert bot.http("GET", "/api/mode")[1]["mode"] == "normal"
        assert perpctl("orders", "adopt", "USDC-0", "--yes", "--reason", "x").code == 2
        with JournalReader.open_read(bot.directory / "journal.db") as journal:
            told = [one.body for one in journal.records(kinds=(Kind.ALERT_RAISED,)) if one.body["name"] == FOREIGN]
        assert [one["order_id"] for one in told] == [order.order_id]


async def test_a_bot_that_starts_again_gives_nobody_five_more_minutes_to_adopt(paper: dict[str, Any]) -> None:
    """As an earlier run left it that told of a stranger six minutes ago and is gone."""
    async with at_the_desk() as desk:
        order = await entry(desk, size="0.01", name="by-hand")
    earlier = Desk(profile.load("paper"), ManualClock(SystemClock().now() - timedelta(minutes=6)))
    earlier.journal().append(Kind.ALERT_RAISED, {"name": FOREIGN, "order_id": order.order_id, "level": 3})
    await earlier.aclose()
    with running() as bot:
        state = bot.until(lambda: (found := bot.http("GET", "/api/mode")[1])["mode"] == "halted" and found)
        assert order.order_id in state["why"]


@both_venues
async def test_with_halt_a_strangers_order_halts_the_bot_and_takes_its_entries(
    paper: dict[str, Any], perpctl: Cli
) -> None:
    settle_on(paper, 'foreign = "halt"\n')
    with running() as bot:
        bot.until(lambda: bot.events("place"))
        async with at_the_desk() as desk:
            order = await entry(desk, size="0.01", name="by-hand")
        state = bot.until(lambda: (found := bot.http("GET", "/api/mode")[1])["mode"] == "halted" and found)
        assert (state["risk"], order.order_id in state["why"]) == (True, True)
        bot.until(lambda: bot.http("GET", "/api/status")[1]["orders"] == [])
        bot.stop()
    left = perpctl("orders", "-o", "json").json["orders"]
    assert [one["order_id"] for one in left] == [order.order_id]


NARROW = """[profiles.paper.limits]
day_loss_warn_pct = "0.1"
day_loss_reduce_pct = "0.2"
day_loss_kill_pct = "0.3"
stop_distance_pct = "20"
"""  # so that a fall of the price reaches the lines before it reaches the stop


def lose(paper: dict[str, Any]) -> None:
    """The price falls by 12 %, less than to the stop."""
    trading.move(paper, trading.market(paper) * Decimal("0.88"))


def test_a_withdrawal_is_no_loss_it_neither_reduces_nor_kills(paper: dict[str, Any]) -> None:
    settle_on(paper, "unattended_kill = true\n")
    with running() as bot:
        get_filled(bot, paper)
        tell(f"{paper['control']}/deposit", amount="-10000")
        bot.until(lambda: Decimal(bot.http("GET", "/api/status")[1]["money"]["equity"]) < 95000, 60)
        assert [one for one in bot.events("alert") if "PnL" in one["name"] or "drawdown" in one["name"]] == []
        assert bot.http("GET", "/api/mode")[1]["mode"] == "normal"
    assert list(profile.load("paper").state_dir.glob("kills/*.jsonl")) == []


@us_alone
def test_where_no_transfers_are_listed_a_loss_may_be_one_so_the_bot_calls_and_reduces_and_never_kills(
    paper: dict[str, Any],
) -> None:
    settle_on(paper, f"unattended_kill = true\n{NARROW}")
    with running() as bot:
        get_filled(bot, paper)
        lose(paper)
        alert = bot.until(lambda: [one for one in bot.events("alert") if one["name"] == "day PnL kill line"], 40)[0]
        assert (alert["level"], "no unattended kill: this venue lists no past transfers" in alert["note"]) == (4, True)
        bot.until(lambda: bot.http("GET", "/api/mode")[1]["mode"] == "reduce_only")
        time.sleep(6)  # longer than prices would have to agree
        assert bot.position()["position"] != "0"
    assert list(profile.load("paper").state_dir.glob("kills/*.jsonl")) == []


@pytest.mark.parametrize("allowed", [True, False])
def test_past_the_kill_line_the_bot_kills_itself_where_the_profile_allows_it_and_else_only_calls(
    allowed: bool, paper: dict[str, Any], perpctl: Cli
) -> None:
    word = "true" if allowed else "false"
    kill = "[profiles.paper.kill]\nhold_s = 1\nhold_unproven_s = 3\nforeground_s = 20\n"
    settle_on(paper, f"unattended_kill = {word}\n{kill}{NARROW}")
    with running() as bot:
        get_filled(bot, paper)
        lose(paper)
        bot.until(lambda: [one for one in bot.events("alert") if one["name"] == "day PnL kill"], 40)
        assert any(one["level"] == 4 for one in bot.events("alert"))
        if allowed:
            bot.process.wait(timeout=30)
            assert bot.events("stopped")[0]["fenced_by"]
        else:
            state = bot.http("GET", "/api/mode")[1]
            assert (state["mode"], state["risk"]) == ("reduce_only", True)
            assert bot.position()["position"] != "0"
    kills = list(profile.load("paper").state_dir.glob("kills/*.jsonl"))
    if not allowed:
        assert kills == []
        return
    ends = time.monotonic() + 60
    while (ended := perpctl("kill", "-p", "paper", "--status", "-o", "json")).code == 3:
        assert time.monotonic() < ends, ended.out
        time.sleep(0.5)
    assert ended.code == 0, ended.out
    assert perpctl("positions", "-o", "json").json["positions"] == []
    assert "day PnL" in json.dumps(ended.json)
