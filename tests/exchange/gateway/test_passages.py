"""What each order and cancel was on the wire: its own tries and no other's, and how long the venue took for them."""

from __future__ import annotations

from typing import Any

import pytest

from perpctl.engine.sending import answered_in_s
from perpctl.exchange.gateway.client import Gateway
from perpctl.exchange.port import Confirmed, Refused, Unknown
from tests.exchange.gateway.venue import Refusal, Venue, order_row, request

NOT_OPEN = 11044


def takes(venue: Venue, seconds: float, answer: Any) -> Any:
    """An answer that comes after a while."""

    def late(params: dict[str, Any]) -> Any:
        venue.clock.advance(seconds)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    return late


async def test_how_an_order_ended_is_read_after_its_cancel_and_not_counted_as_its_answer(
    gateway: Gateway, venue: Venue
) -> None:
    order = (await _standing(gateway, venue, 1))[0]
    venue.answers["private/cancel"] = takes(venue, 0.05, Refusal(NOT_OPEN, "not_open_order"))
    venue.answers["private/get_order_state"] = takes(venue, 2.0, order_row(order_state="filled", filled_amount=0.01))
    began = venue.clock.monotonic()
    (outcome,) = await gateway.cancel([order])
    in_all_s = venue.clock.monotonic() - began
    assert isinstance(outcome, Confirmed)
    assert [passage.method for passage in outcome.passages] == ["private/cancel"]
    assert in_all_s == pytest.approx(2.05)
    assert answered_in_s(outcome, in_all_s) == pytest.approx(0.05)


async def test_cancels_sent_side_by_side_keep_their_passages_apart(gateway: Gateway, venue: Venue) -> None:
    orders = await _standing(gateway, venue, 8)
    venue.answers["private/cancel"] = lambda params: order_row(order_id=params["order_id"], order_state="cancelled")
    outcomes = await gateway.cancel(orders)
    assert [len(outcome.passages) for outcome in outcomes] == [1] * 8
    assert len({outcome.passages[0].request_hash for outcome in outcomes}) == 8


async def test_a_sign_in_that_lapsed_makes_two_tries_of_one_order(gateway: Gateway, venue: Venue) -> None:
    answers = iter([Refusal(13009, "unauthorized"), {"order": order_row(), "trades": []}])

    def lapsed_once(params: dict[str, Any]) -> Any:
        answer = next(answers)
        if isinstance(answer, Refusal):
            raise answer
        return answer

    venue.answers["private/buy"] = lapsed_once
    outcome = await gateway.place(request())
    assert isinstance(outcome, Confirmed)
    tries = [passage for passage in outcome.passages if passage.method == "private/buy"]
    assert [(one.http_status, one.key_id is None) for one in tries] == [(200, False)] * 2


async def test_a_try_that_was_not_answered_says_so_and_its_time_is_that_of_the_wait(
    gateway: Gateway, venue: Venue
) -> None:
    venue.answers["private/buy"] = lambda params: "no order at all"
    outcome = await gateway.place(request())
    assert isinstance(outcome, Unknown)
    assert outcome.passages[0].response_hash is not None
    venue.reachable = False
    refused = await gateway.place(request())
    assert isinstance(refused, Refused)
    assert [passage.answered_at for passage in refused.passages] == [None]
    assert answered_in_s(refused, 3.0) == 3.0


async def _standing(gateway: Gateway, venue: Venue, count: int) -> Any:
    venue.answers["private/get_open_orders"] = [order_row(order_id=f"USDC-{number + 1}") for number in range(count)]
    return await gateway.open_orders()
