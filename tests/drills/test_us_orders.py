"""The bot's orders where no dead-man switch takes them along and nothing is reduce-only: over real sockets."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from perpctl import profile
from perpctl.clock import SystemClock
from perpctl.model.order import OrderRequest, OrderType, Side
from perpctl.store.intents import Intents
from perpctl.store.journal import JournalReader
from perpctl.store.records import Kind, Record
from tests.conftest import Cli, tell, us_alone
from tests.drills.running import Running, running
from tests.store.stock import ALLOWED, GROUNDS
from tests.trading import at_the_desk, btc, entry, our_name

pytestmark = [
    pytest.mark.drill,
    pytest.mark.timeout(120),
    us_alone,
]
STILL = ("--strategy", "tests.drills.still:Still")
LEAVER = ("--strategy", "tests.drills.still:Leaver")
HOLDER = ("--strategy", "tests.drills.still:Holder")


@pytest.fixture
def clock() -> SystemClock:
    """Time that passes: a command that the venue throttles beside the bot waits, and asks again."""
    return SystemClock()


def orders_at(cli: Cli) -> list[dict[str, Any]]:
    """What is open at the venue."""
    return list(cli("orders", "-o", "json").json["orders"])


def held_nothing(cli: Cli) -> bool:
    return cli("positions", "-o", "json").json.get("positions") == []


def journal(*kinds: Kind) -> list[Record]:
    with JournalReader.open_read(profile.load("paper").state_dir / "journal.db") as reader:
        return list(reader.records(kinds=kinds))


def closes() -> list[Record]:
    return [one for one in journal(Kind.ORDER_INTENDED) if one.body["purpose"] == "close"]


def wait_for_places(bot: Running, count: int) -> list[dict[str, Any]]:
    return list(bot.until(lambda: (placed := bot.events("place"))[count - 1 :] and placed, 20))


def test_an_entry_is_renewed_before_its_end_and_never_stands_beside_its_successor(
    paper: dict[str, Any], cli: Cli
) -> None:
    with running(*STILL, level="aggressive") as bot:
        wait_for_places(bot, 1)
        first = bot.until(lambda: orders_at(cli))
        assert "ENDS IN" in cli("orders").out
        tell(f"{paper['control']}/advance", seconds=80)
        wait_for_places(bot, 2)
        second = bot.until(lambda: [one for one in orders_at(cli) if one["order_id"] != first[0]["order_id"]])
        assert len(orders_at(cli)) == 1
        assert (second[0]["size"], second[0]["price"]) == (first[0]["size"], first[0]["price"])
        assert second[0]["ends_at"] > first[0]["ends_at"]
        assert second[0]["client_order_id"] != first[0]["client_order_id"]
        assert bot.stop() == 0
    assert orders_at(cli) == []


def covered(bot: Running) -> dict[str, Any]:
    """What is held, once a stop stands under it."""
    return dict(bot.until(lambda: (held := bot.position())["stop"] and held, 20))


def test_a_stop_of_just_the_size_stands_under_a_position(paper: dict[str, Any], cli: Cli) -> None:
    with running(*HOLDER, level="aggressive") as bot:
        covered(bot)
        held = bot.until(lambda: cli("positions", "-o", "json").json.get("positions"))[0]
        stops = orders_at(cli)
        assert [(one["type"], one["kind"], one["size"], one["ends_at"]) for one in stops] == [
            ("stop_limit", "stop", held["size"], None)
        ]
        trigger, limit = float(stops[0]["trigger_price"]), float(stops[0]["price"])
        assert 0.0099 < 1 - limit / trigger < 0.0102
        assert bot.stop() == 0
    assert [one["order_id"] for one in orders_at(cli)] == [stops[0]["order_id"]]


def test_flatten_takes_the_stop_away_before_the_close_and_turns_nothing_over(paper: dict[str, Any], cli: Cli) -> None:
    with running(*HOLDER, "--flatten", level="aggressive") as bot:
        covered(bot)
        assert bot.stop(signal.SIGTERM) == 0
    assert held_nothing(cli)
    assert orders_at(cli) == []
    (close,) = closes()
    stops = {one.correlation.intent_id for one in journal(Kind.ORDER_INTENDED) if one.body["purpose"] == "stop"}
    told = [one for one in journal(Kind.ORDER_SEEN, Kind.CANCEL_CONFIRMED) if one.correlation.intent_id in stops]
    gone = [one.seq for one in told if (one.body["order"] or {}).get("status") == "cancelled"]
    assert gone
    assert gone[0] < close.seq


def test_an_exit_of_the_strategy_leaves_when_the_stop_is_read_gone_and_the_rest_gets_its_stop(
    paper: dict[str, Any], cli: Cli
) -> None:
    with running(*LEAVER, level="aggressive") as bot:
        bot.until(lambda: journal(Kind.FILL_BOOKED) and len(_intents("stop")) == 2 and orders_at(cli), 40)
        bot.until(lambda: bot.position()["stop"], 20)
        assert bot.stop() == 0
    (held,) = cli("positions", "-o", "json").json["positions"]
    (stop,) = orders_at(cli)
    assert (held["contracts"], stop["size"], stop["kind"]) == ("1", held["size"], "stop")
    (exit_,) = _intents("reduce")
    first, second = _intents("stop")
    assert exit_.body["strategy"] == "leaver"
    told = [one for one in journal(Kind.ORDER_SEEN, Kind.CANCEL_CONFIRMED) if first.correlation == one.correlation]
    gone = [one.seq for one in told if (one.body["order"] or {}).get("status") == "cancelled"]
    assert gone[0] < exit_.seq < second.seq


def _intents(purpose: str) -> list[Record]:
    return [one for one in journal(Kind.ORDER_INTENDED) if one.body["purpose"] == purpose]


def test_a_stop_that_fires_and_does_not_fill_is_closed_at_market(paper: dict[str, Any], cli: Cli) -> None:
    """The market jumps past the stop and past its limit."""
    with running(*HOLDER, level="aggressive") as bot:
        covered(bot)
        stop = orders_at(cli)[0]
        beyond = str(float(stop["price"]) // 1000 * 1000)
        tell(f"{paper['control']}/price", instrument_name=stop["product_id"], price=beyond)
        bot.until(lambda: held_nothing(cli), 30)
        assert bot.stop() == 0
    assert orders_at(cli) == []
    raised = [one.body for one in journal(Kind.ALERT_RAISED)]
    assert (4, "stop not filled") in [(alert["level"], alert["name"]) for alert in raised]
    assert [(one.body["request"]["type"], one.body["request"]["price"]) for one in closes()] == [("market", None)]


def test_an_order_of_an_earlier_run_that_arrives_hours_after_it_was_settled_absent_is_cancelled_as_ours(
    paper: dict[str, Any], cli: Cli
) -> None:
    name = asyncio.run(settled_absent())
    with running(*STILL, level="aggressive") as bot:
        wait_for_places(bot, 1)
        late = asyncio.run(arrives(name))
        bot.until(lambda: f"order returned {late}" in alerts(), 20)
        bot.until(lambda: late not in [one["order_id"] for one in orders_at(cli)], 20)
        assert bot.stop() == 0
    assert "foreign" not in alerts()


def alerts() -> list[str]:
    """The names of all that were raised."""
    return [one.body["name"] for one in journal(Kind.ALERT_RAISED)]


async def settled_absent() -> str:
    """The journal of a run whose order was never seen to arrive, three hours ago by the market's clock."""
    async with at_the_desk() as desk:
        name = our_name(desk)
        sent_ms = await (await desk.exchange()).time_ms() - 3 * 3_600_000
        request = OrderRequest(name, btc(desk), Side.BUY, Decimal("0.01"), OrderType.LIMIT, Decimal(80_000))
        intents = Intents(desk.projections())
        intents.intend(request, ALLOWED, replace(GROUNDS, market_ms=sent_ms))
        intents.unknown(name, "timed out")
        intents.settled_absent(name, "two empty readings", "listing")
        return name


async def arrives(name: str) -> str:
    async with at_the_desk() as desk:
        return (await entry(desk, name=name)).order_id
