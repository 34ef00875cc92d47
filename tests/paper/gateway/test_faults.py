"""The fault plane, rule by rule, over HTTP and over sockets."""

from __future__ import annotations

import contextlib
import json
from itertools import pairwise
from typing import Any

import pytest

from perpctl.errors import UsageError
from perpctl.paper.faults import FaultPlane, Rule, read_rule
from perpctl.paper.gateway.session import Close
from tests.paper.gateway.trader import BTC, Refused, Trader

ORDER = {"instrument_name": BTC, "amount": 0.01, "price": 83500, "post_only": True, "label": "x"}


def buy(trader: Trader) -> Any:
    body = json.dumps({"jsonrpc": "2.0", "method": "private/buy", "params": ORDER}).encode()
    headers = {"content-type": "application/json", "authorization": f"Bearer {trader.token}"}
    return trader.venue.http("POST", "/api/v2/private/buy", headers, body)


def placed(trader: Trader) -> int:
    return len(trader.http("private/get_open_orders"))


def test_a_drop_before_the_core_leaves_nothing_and_one_after_leaves_the_order(trader: Trader) -> None:
    trader.venue.faults.add(Rule("drop_before", "private/buy"))
    assert buy(trader).cut
    assert placed(trader) == 0
    trader.venue.faults.add(Rule("drop_after", "private/buy"))
    assert buy(trader).cut
    assert placed(trader) == 1
    assert not buy(trader).cut


def test_a_status_and_body_stand_in_for_the_answer(trader: Trader) -> None:
    trader.venue.faults.add(Rule("http_status", "private/*", status=502, body="<html>Bad gateway</html>"))
    reply = buy(trader)
    assert (reply.status, reply.body, reply.cut) == (502, b"<html>Bad gateway</html>", False)
    assert placed(trader) == 0


def test_an_error_an_expired_token_and_a_late_answer(trader: Trader) -> None:
    faults = trader.venue.faults
    faults.add(Rule("error", "private/buy", code=10040, message="retry"))
    assert json.loads(buy(trader).body)["error"] == {"code": 10040, "message": "retry"}
    faults.add(Rule("expired_token", "private/buy"))
    assert json.loads(buy(trader).body)["error"]["code"] == 13009
    faults.add(Rule("delay_answer", "private/buy", seconds=1.5))
    assert buy(trader).delay_s == 1.5
    assert placed(trader) == 1


def test_strikes_are_counted_by_rule_and_only_when_they_struck(trader: Trader) -> None:
    faults = trader.venue.faults
    two, never = faults.add(Rule("error", "private/get_*", count=2, skip=1)), faults.add(Rule("error", "private/sell"))
    for _ in range(5):
        with contextlib.suppress(Refused):
            trader.http("private/get_open_orders")
    assert faults.struck == {two: 2}
    assert never not in faults.struck
    assert faults.clear() == 1
    assert faults.struck == {two: 2}


def test_rules_spare_count_and_match_by_pattern(trader: Trader) -> None:
    trader.venue.faults.add(Rule("error", "private/get_*", count=2, skip=1))
    outcomes = []
    for _ in range(5):
        try:
            trader.http("private/get_positions")
            outcomes.append("ok")
        except Refused:
            outcomes.append("error")
    assert outcomes == ["ok", "error", "error", "ok", "ok"]
    assert trader.venue.faults.list() == []


def test_the_same_seed_strikes_at_the_same_moments() -> None:
    def strikes(seed: int) -> list[bool]:
        plane = FaultPlane(seed)
        plane.add(Rule("drop_before", count=None, probability=0.5))
        return [plane.judge("m").drop_before for _ in range(50)]

    assert strikes(1) == strikes(1)
    assert strikes(1) != strikes(2)
    assert 10 < sum(strikes(1)) < 40


def test_an_outage_cuts_sockets_and_refuses_requests_until_it_is_cleared(trader: Trader) -> None:
    socket = trader.open()
    outage = trader.venue.faults.add(Rule("outage"))
    assert buy(trader).cut
    trader.venue.wait(1)
    socket.take()
    assert socket.closes == [Close(cut=True)]
    trader.venue.faults.clear(outage)
    assert placed(trader) == 0


def test_a_request_over_a_socket_can_be_held_back_cut_or_left_unanswered(trader: Trader) -> None:
    socket = trader.open()
    trader.venue.faults.add(Rule("delay", "private/buy", seconds=2))
    assert socket.call("private/buy", **ORDER) is None
    assert socket.call("private/get_open_orders") == []
    trader.venue.wait(3)
    assert placed(trader) == 1
    trader.venue.faults.add(Rule("drop_after", "private/buy"))
    assert socket.call("private/buy", **ORDER) is None
    assert socket.closes == [Close(cut=True)]
    assert placed(trader) == 2


def test_a_socket_can_be_refused_its_heartbeat_by_a_fault(trader: Trader) -> None:
    trader.venue.faults.add(Rule("error", "public/set_heartbeat", code=13028, message="temporarily_unavailable"))
    with pytest.raises(Refused) as refused:
        trader.open().call("public/set_heartbeat", interval=10)
    assert refused.value.code == 13028


def test_answers_over_a_socket_can_overtake_each_other(trader: Trader) -> None:
    socket = trader.open()
    trader.venue.faults.add(Rule("delay_answer", "private/buy", seconds=2))
    socket.call("private/buy", **ORDER)
    assert socket.delays[-1] == 2


def test_notifications_are_doubled_swapped_and_lost(trader: Trader) -> None:
    socket = trader.open()
    socket.call("private/subscribe", channels=["user.orders.any.any.raw"])
    faults = trader.venue.faults
    faults.add(Rule("duplicate", "user.orders.*"))
    trader.order(label="a")
    faults.add(Rule("reorder", "user.orders.*"))
    trader.order(label="b")
    trader.order(label="c")
    faults.add(Rule("gap", "user.*"))
    trader.order(label="d")
    assert [row["label"] for row in socket.heard("user.orders.any.any.raw")] == ["a", "a", "c", "b"]


def test_a_gap_in_the_book_shows_in_prev_change_id(trader: Trader) -> None:
    streams = trader.open("streams")
    channel = f"book.{BTC}.100ms"
    streams.call("public/subscribe", channels=[channel])
    trader.market("84010.0")
    trader.venue.faults.add(Rule("gap", channel))
    trader.market("84020.0")
    trader.market("84030.0")
    messages = streams.heard(channel)
    assert [later["prev_change_id"] == earlier["change_id"] for earlier, later in pairwise(messages)] == [
        True,
        False,
    ]


@pytest.mark.parametrize(
    "raw", [[], {"kind": "fire"}, {"kind": "delay", "id": 3}, {"kind": "delay", "seconds": "x"}, {"method": "x"}]
)
def test_a_fault_that_cannot_be_read_is_refused(raw: object) -> None:
    with pytest.raises(UsageError):
        read_rule(raw)


@pytest.mark.parametrize("raw", [{"probability": 2}, {"seconds": -1}, {"status": 7}, {"skip": -1}])
def test_a_fault_out_of_range_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        read_rule({"kind": "delay"} | raw)


def test_numbers_in_a_rule_may_be_text_as_a_command_line_sends_them() -> None:
    rule = read_rule({"kind": "delay", "seconds": "0.5", "count": "3"})
    assert (rule.seconds, rule.count) == (0.5, 3)
