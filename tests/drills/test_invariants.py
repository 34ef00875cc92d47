"""What must hold whatever fails, judged by the exchange's own ledger: limits, latch, strangers told, honest exits."""

from __future__ import annotations

import time
from typing import Any

import pytest

from perpctl.store.records import Kind
from tests.conftest import Cli
from tests.drills.arena import LIMIT, MOST_USD, Arena
from tests.drills.storm import on_orders
from tests.trading import at_the_desk, entry

pytestmark = [pytest.mark.drill, pytest.mark.timeout(180)]


def fresh_entries(place: Arena, before: set[str]) -> list[dict[str, Any]]:
    """Orders that can raise risk and that the exchange accepted since."""
    orders = place.ledger().orders.items()
    return [
        one for key, one in orders if key not in before and not one.get("reduce_only") and one["state"] != "rejected"
    ]


def test_the_position_limit_binds_and_is_never_passed_though_answers_are_lost(place: Arena) -> None:
    """I4 and I5: a strategy that only buys is stopped by the gate, counting what has no answer at its worst."""
    rule = place.fault(on_orders("drop_after", count=2)[0])
    bot = place.trade_with("tests.drills.restless:Greedy")
    bot.until(lambda: [one for one in bot.events("refused") if one["gate"] == "position_too_large"], 100)
    ledger = place.ledger()
    assert place.strikes(rule)
    assert ledger.worst <= LIMIT
    assert ledger.worst >= MOST_USD * 3 / 4, "the limit was never near"
    assert place.heal() == []


@pytest.mark.parametrize("mode", ["reduce_only", "halted"])
def test_after_the_latch_nothing_that_raises_risk_is_accepted(place: Arena, mode: str) -> None:
    """I6: judged from the moment that the change was confirmed, with requests late and answers lost."""
    bot = place.trading()
    for rule in [*on_orders("drop_after", count=2), *on_orders("delay", count=4, seconds=0.7)]:
        place.fault(rule)
    time.sleep(1)
    ends = time.monotonic() + 40
    while bot.mode(mode)[0] != 200:
        assert time.monotonic() < ends
    before = set(place.ledger().orders)
    time.sleep(4)
    assert fresh_entries(place, before) == []
    assert place.ledger().entries == []
    assert place.heal() == []


async def test_a_stranger_is_told_within_five_seconds_and_counted(place: Arena) -> None:
    """I9: the ledger has an order that no intent explains; the alert is on the record, and the bot trades on."""
    bot = place.trading()
    began = time.monotonic()
    async with at_the_desk() as desk:
        order = await entry(desk, size="0.001", name="not-ours")
    assert order.order_id in place.ledger().orders
    levels: list[int] = []
    async with at_the_desk() as desk:
        while not levels and time.monotonic() - began < 10:  # 5 s, and as much again for a loaded machine
            alerts = desk.journal().records(kinds=(Kind.ALERT_RAISED,))
            levels = [one.body["level"] for one in alerts if order.order_id in one.body["text"]]
        await (await desk.exchange()).cancel([order])
    assert levels == [3]
    assert [one for one in bot.events("alert") if order.order_id in one["note"]]


async def rest_an_order() -> None:
    async with at_the_desk() as desk:
        await entry(desk, size="0.001")


@pytest.mark.parametrize("kind", ["drop_before", "drop_after", "error"])
async def test_cancel_all_says_done_only_when_the_ledger_has_no_entry(place: Arena, kind: str, perpctl: Cli) -> None:
    """I10: exit 0 means that nothing was left at the exchange, whatever became of the calls."""
    place.trading().stop()
    for _ in range(3):
        await rest_an_order()
    rule = {"kind": kind, "method": "private/cancel*", "count": 2, "code": 11094, "message": "internal_server_error"}
    number = place.fault(rule)
    words = ("-p", "paper", "cancel-all", "--yes", "--reason", "drill")
    ran = perpctl(*words, timeout_s=60)
    left = place.ledger().entries
    assert place.strikes(number)
    assert ran.code in (0, 3, 6), ran.err
    assert (ran.code == 0) <= (left == []), (ran.code, left)
    place.tell("fault", method="DELETE")
    assert perpctl(*words, timeout_s=60).code == 0
    assert place.ledger().entries == []


def test_a_bot_that_ends_with_zero_left_no_entry(place: Arena) -> None:
    """I10, of the bot itself: cancels are lost while it ends."""
    bot = place.trading()
    number = place.fault({"kind": "drop_before", "method": "private/cancel", "count": 3})
    bot.until(lambda: place.ledger().entries, 20)
    code = bot.stop()
    assert code in (0, 3)
    assert place.strikes(number)
    if code == 0:
        assert place.ledger().entries == []
