"""Requests that wait before the matching engine: how many may, and what a later request does to them."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from perpctl.paper.faults import Rule
from tests.paper.gateway.trader import BTC, Refused, Socket, Trader

ORDER = {"instrument_name": BTC, "amount": 0.01, "price": 83500, "post_only": False}


def held(trader: Trader, method: str = "private/buy", seconds: float = 3.0) -> None:
    """Every such request waits that long from now on."""
    trader.venue.faults.add(Rule("delay", method, count=None, seconds=seconds))


def answers(socket: Socket) -> dict[int, Any]:
    """By id: the result, or the error's code."""
    socket.take(socket.session.tick(socket.trader.venue.wall_s))
    return {
        frame["id"]: frame["error"]["code"] if "error" in frame else frame["result"]
        for frame in socket.frames
        if "id" in frame
    }


def placed(trader: Trader) -> int:
    return len(trader.http("private/get_open_orders"))


def test_a_ninth_waiting_request_is_refused_and_the_eight_go_through(trader: Trader) -> None:
    socket = trader.open()
    held(trader)
    for _ in range(9):
        with suppress(Refused):  # the ninth
            assert socket.call("private/buy", **ORDER) is None
    assert placed(trader) == 0
    refused = [code for code in answers(socket).values() if code == 10047]
    assert refused == [10047]
    trader.venue.wait(4)
    assert placed(trader) == 8


def test_the_queue_is_the_accounts_own_and_reads_do_not_stand_in_it(trader: Trader) -> None:
    socket = trader.open()
    held(trader, "private/*")
    for _ in range(12):
        socket.call("private/get_positions")
    trader.venue.wait(4)
    assert 10047 not in answers(socket).values()


def test_a_mass_cancel_purges_what_waits_and_it_did_not_execute(trader: Trader) -> None:
    socket, other = trader.open(), trader.open()
    held(trader)
    socket.call("private/buy", **ORDER)
    socket.call("private/buy", **ORDER, label="keep")
    assert other.call("private/cancel_by_label", label="nobody") == 0  # about others: nothing is purged
    assert other.call("private/cancel_all") == 0
    trader.venue.wait(4)
    assert [answers(socket)[call_id] for call_id in (2, 3)] == [13666, 13666]
    assert placed(trader) == 0


def test_a_cancel_by_label_purges_that_label_only(trader: Trader) -> None:
    socket, other = trader.open(), trader.open()
    held(trader)
    socket.call("private/buy", **ORDER, label="gone")
    socket.call("private/buy", **ORDER, label="kept")
    other.call("private/cancel_by_label", label="gone")
    trader.venue.wait(4)
    assert answers(socket)[2] == 13666
    assert answers(socket)[3]["order"]["label"] == "kept"


def test_a_mass_cancel_that_waited_itself_does_not_purge_what_came_after_it(trader: Trader) -> None:
    socket = trader.open()
    held(trader, "private/cancel_all", 2.0)
    held(trader, "private/buy", 4.0)
    socket.call("private/cancel_all")
    socket.call("private/buy", **ORDER)
    trader.venue.wait(5)
    assert answers(socket)[3]["order"]["order_state"] == "open"


def test_a_newer_edit_takes_the_place_of_one_that_waits(trader: Trader) -> None:
    order_id = trader.order()["order"]["order_id"]
    socket = trader.open()
    held(trader, "private/edit")
    for price in (83400, 83300):
        socket.call("private/edit", order_id=order_id, amount=0.01, price=price, post_only=False)
    trader.venue.wait(4)
    told = answers(socket)
    assert told[2] == 13777
    assert told[3]["order"]["price"] == 83300


def test_requests_of_a_socket_that_closes_leave_the_queue_with_it(trader: Trader) -> None:
    held(trader)
    for _ in range(3):  # three times eight would be far too many
        socket = trader.open()
        for _ in range(8):
            socket.call("private/buy", **ORDER)
        assert 10047 not in answers(socket).values()
        socket.session.lost()
    trader.venue.wait(4)
    assert placed(trader) == 0
