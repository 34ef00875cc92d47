"""A running bot when a stop of its venue is announced: entries gone and read back, and why and until when is told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from perpctl.clock import SystemClock
from tests import trading
from tests.conftest import Cli, both_venues, us_alone
from tests.drills.running import Running, running

BIP = "BIP-20DEC30-CDE"
pytestmark = [pytest.mark.drill, pytest.mark.timeout(180)]


@pytest.fixture
def clock() -> SystemClock:
    """Time that passes: a command that the venue throttles beside the bot waits, and asks again."""
    return SystemClock()


def announce(paper: dict[str, Any], cli: Cli, venue: str) -> None:
    """A stop in two minutes, in the way of the venue: in prose, or in the session details of its products."""
    if venue == "us":
        trading.control(paper, "/plan-stop", {"in_s": 130, "for_s": 900})
        return
    market = datetime.fromisoformat(cli("calendar", "-o", "json").json["market_time"])
    soon = market + timedelta(seconds=150)
    title = f"Maintenance on {soon:%Y-%m-%d} at {soon:%H:%M} UTC for 15 minutes"
    trading.control(paper, "/announce", {"title": title, "body": ""})


def entries(bot: Running) -> list[dict[str, Any]]:
    return [one for one in bot.control(do="status")["orders"] if one["purpose"] != "stop"]


@both_venues
def test_a_stop_that_is_announced_takes_the_entries_of_a_running_bot(
    paper: dict[str, Any], cli: Cli, venue: str
) -> None:
    with running() as bot:
        bot.until(lambda: entries(bot), 40)
        announce(paper, cli, venue)
        off = bot.until(lambda: (found := bot.control(do="status"))["entries_off"] and found, 60)
        assert off["venue"]["stage"] in ("cleared", "verified")
        assert off["entries_off"]["until"] is not None
        bot.until(lambda: not entries(bot), 10)
        assert {"entries cancelled"} <= {one["name"] for one in bot.events("alert")}
        assert not [one for one in bot.events("alert") if one["name"].startswith("entries left")]
        assert cli("orders", "-o", "json").json["orders"] == []
        told = bot.until(
            lambda: (ran := cli("status").out) and "NO NEW ENTRIES before" in " ".join(ran.split()) and ran, 40
        )
        assert "ENTRIES OFF" in told
        assert bot.stop() == 0


@pytest.mark.timeout(420)
@us_alone
def test_a_running_bot_holds_its_position_through_a_stop_and_comes_back_by_itself(
    paper: dict[str, Any], cli: Cli
) -> None:
    with running() as bot:
        bid = bot.until(lambda: next((line for line in bot.events("place") if line["side"] == "BUY"), None), 40)
        trading.control(paper, "/price", {"instrument_name": BIP, "price": str(float(bid["price"]) - 30)})
        held = bot.until(lambda: (now := bot.position())["stop"] and now, 40)
        trading.control(paper, "/plan-stop", {"in_s": 75, "for_s": 60})
        bot.until(lambda: bot.control(do="status")["venue"]["stage"] == "shut", 150)
        said = bot.until(lambda: bot.events("shut"), 20)[0]["note"]
        assert "stop at the venue" in said
        assert "nothing can be cancelled or closed" in said
        bot.until(lambda: bot.events("hours") and bot.control(do="status")["venue"]["stage"] != "shut", 120)
        after = bot.control(do="status")
        assert after["entries_off"] is not None
        assert bot.position()["position"] == held["position"]
        bot.until(lambda: bot.control(do="status")["entries_off"] is None, 200)
        assert bot.events("alert")[-1]["name"] == "entries back"
        assert bot.position()["stop"]["order_id"] == held["stop"]["order_id"]
        assert bot.stop() == 0
