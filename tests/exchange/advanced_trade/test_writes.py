"""What the US client sends: the venue's own terms, never a second order, never a close that turns a position around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from perpctl.clock import ManualClock
from perpctl.exchange.advanced_trade import errors
from perpctl.exchange.advanced_trade.client import AdvancedTrade
from perpctl.exchange.port import Confirmed, Refused, Unknown
from perpctl.model.order import Order, OrderRequest, OrderStatus, OrderType, Purpose, Side, TimeInForce
from tests.exchange.advanced_trade.venue import BIP, FakeWeb, Status, fill_row, open_client, order_row, silence

CREATE, CLOSE, CANCEL = "POST /orders", "POST /orders/close_position", "POST /orders/batch_cancel"
ORDERS = "GET /orders/historical/batch"
LIMIT = OrderRequest("mine", BIP, Side.BUY, Decimal("0.03"), OrderType.LIMIT, Decimal(84000), post_only=True)
STOP = replace(
    LIMIT,
    type=OrderType.STOP_MARKET,
    side=Side.SELL,
    price=None,
    post_only=False,
    reduce_only=True,
    trigger_price=Decimal(82000),
    purpose=Purpose.STOP,
)
SELL = replace(
    LIMIT, side=Side.SELL, type=OrderType.MARKET, price=None, post_only=False, reduce_only=True, purpose=Purpose.CLOSE
)


def held(web: FakeWeb, contracts: int) -> None:
    side = "LONG" if contracts > 0 else "SHORT"
    row = {"product_id": BIP, "side": side, "number_of_contracts": str(abs(contracts)), "current_price": "84100"}
    web.on("GET /cfm/positions", lambda query, body: {"positions": [row] if contracts else []})


def accepts(web: FakeWeb, what: str = CREATE, **row: Any) -> None:
    """The venue takes an order, and shows it so when it is read back."""
    answer = {"success": True, "success_response": {"order_id": "o-1"}}
    web.on(what, lambda query, body: answer)
    web.on("GET /orders/historical/o-1", lambda query, body: {"order": order_row("o-1", **row)})


def market(size: str, **more: Any) -> dict[str, Any]:
    return {
        "order_configuration": {"market_market_ioc": {"base_size": size}},
        "status": "FILLED",
        "side": "SELL",
    } | more


# --- the order as it goes out ----------------------------------------------------------------------------------------


async def test_an_entry_rests_for_two_minutes_and_no_longer(web: FakeWeb, client: AdvancedTrade) -> None:
    accepts(web)
    outcome = await client.place(LIMIT)
    assert isinstance(outcome, Confirmed)
    assert web.bodies(CREATE) == [
        {
            "client_order_id": "mine",
            "product_id": BIP,
            "side": "BUY",
            "order_configuration": {
                "limit_limit_gtd": {
                    "base_size": "3",
                    "limit_price": "84000",
                    "end_time": "2026-11-25T17:02:00.000Z",
                    "post_only": True,
                }
            },
        }
    ]


async def test_a_protective_stop_has_no_end_and_its_limit_lies_one_percent_beyond(
    web: FakeWeb, client: AdvancedTrade
) -> None:
    held(web, 3)
    terms = {
        "base_size": "3",
        "stop_price": "82000",
        "limit_price": "81180",
        "stop_direction": "STOP_DIRECTION_STOP_DOWN",
    }
    accepts(web, side="SELL", order_configuration={"stop_limit_stop_limit_gtc": terms}, trigger_status="STOP_PENDING")
    outcome = await client.place(STOP)
    assert isinstance(outcome, Confirmed)
    assert outcome.order.reduce_only
    assert outcome.order.status is OrderStatus.UNTRIGGERED
    assert web.bodies(CREATE)[0]["order_configuration"] == {"stop_limit_stop_limit_gtc": terms}


async def test_a_stop_larger_than_the_position_is_not_sent(web: FakeWeb, client: AdvancedTrade) -> None:
    held(web, 2)
    outcome = await client.place(STOP)
    assert isinstance(outcome, Refused)
    assert (outcome.sent, web.count(CREATE)) == (False, 0)


async def test_a_limit_that_ends_at_once_takes_what_stands_within_it(web: FakeWeb, client: AdvancedTrade) -> None:
    accepts(web, **market("7", side="BUY", filled_size="7"))
    asked = replace(LIMIT, post_only=False, time_in_force=TimeInForce.IOC, size=Decimal("0.50"), price=Decimal(84110))
    outcome = await client.place(asked)
    assert isinstance(outcome, Confirmed)
    assert web.bodies(CREATE)[0]["order_configuration"] == {"market_market_ioc": {"base_size": "7"}}
    empty = await client.place(replace(asked, price=Decimal(84000)))
    assert isinstance(empty, Refused)
    assert (empty.sent, web.count(CREATE)) == (False, 1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": Decimal("0.015")}, "no whole number of contracts"),
        ({"slot": 4}, "no isolated slots"),
        ({"type": OrderType.TRAILING_STOP}, "cannot be sent"),
        ({"price": None}, "needs a price"),
        ({"identity": "x" * 129}, "128"),
    ],
)
async def test_what_the_venue_has_no_order_for_is_not_sent(
    web: FakeWeb, client: AdvancedTrade, change: dict[str, Any], words: str
) -> None:
    outcome = await client.place(replace(LIMIT, **change))
    assert isinstance(outcome, Refused)
    assert words in outcome.reason
    assert (outcome.sent, web.count(CREATE)) == (False, 0)


async def test_a_gate_that_says_no_keeps_the_bytes_here(web: FakeWeb, key_file: Any, clock: ManualClock) -> None:
    client = open_client(web, key_file, clock, may_send=lambda request: "halted")
    outcome = await client.place(LIMIT)
    assert outcome == Refused(None, "not sent: halted", sent=False)
    assert web.count(CREATE) == 0


# --- what came of it -------------------------------------------------------------------------------------------------

REASONS = sorted(
    {
        "UNKNOWN_FAILURE_REASON", "UNSUPPORTED_ORDER_CONFIGURATION", "INVALID_SIDE", "INVALID_PRODUCT_ID",
        "INVALID_SIZE_PRECISION", "INVALID_PRICE_PRECISION", "INSUFFICIENT_FUND", "INVALID_LEDGER_BALANCE",
        "ORDER_ENTRY_DISABLED", "INELIGIBLE_PAIR", "INVALID_LIMIT_PRICE_POST_ONLY", "INVALID_LIMIT_PRICE",
        "INVALID_NO_LIQUIDITY", "INVALID_REQUEST", "COMMANDER_REJECTED_NEW_ORDER", "INSUFFICIENT_FUNDS",
        "IN_LIQUIDATION", "INVALID_MARGIN_TYPE", "INVALID_LEVERAGE", "UNTRADABLE_PRODUCT", "GEOFENCING_RESTRICTION",
        "INVALID_FCM_TRADING_SESSION", "INTRADAY_MARGIN_NOT_READY", "A_REASON_OF_NEXT_YEAR",
    }
)  # fmt: skip


@pytest.mark.parametrize("reason", REASONS)
async def test_every_documented_refusal_is_a_refusal(web: FakeWeb, client: AdvancedTrade, reason: str) -> None:
    web.on(CREATE, lambda query, body: {"success": False, "error_response": {"error": reason, "message": "said so"}})
    outcome = await client.place(LIMIT)
    assert isinstance(outcome, Refused)
    assert outcome.sent
    assert outcome.reason.startswith(reason)
    assert web.count(CREATE) == 1


@pytest.mark.parametrize(
    "answer", [{}, {"success": None}, {"success": True}, {"success": True, "success_response": {}}]
)
async def test_an_answer_that_says_neither_yes_nor_no_is_unknown(
    web: FakeWeb, client: AdvancedTrade, answer: dict[str, Any]
) -> None:
    web.on(CREATE, lambda query, body: answer)
    assert isinstance(await client.place(LIMIT), Unknown)


@pytest.mark.parametrize("status", [500, 502, 503, 504, 520, 302])
async def test_an_order_that_got_no_trustworthy_answer_is_unknown_and_not_sent_again(
    web: FakeWeb, client: AdvancedTrade, status: int
) -> None:
    def broken(query: Any, body: Any) -> Any:
        raise Status(status, b"<html>")

    for answer in (broken, silence):
        web.on(CREATE, answer)
        assert isinstance(await client.place(LIMIT), Unknown)
    assert web.count(CREATE) == 2


async def test_within_two_seconds_the_same_order_may_go_again_if_the_gate_still_lets_it(
    web: FakeWeb, key_file: Any, clock: ManualClock
) -> None:
    said: list[str | None] = [None, None]
    client = open_client(web, key_file, clock, may_send=lambda request: said.pop(0))
    accepts(web)
    good = web.answers[CREATE]

    def once(query: Any, body: Any) -> Any:
        web.on(CREATE, good)
        return silence(query, body)

    web.on(CREATE, once)
    outcome = await client.place(LIMIT)
    assert isinstance(outcome, Confirmed)
    assert [(one.method, one.http_status) for one in outcome.passages] == [
        ("POST /orders", None),
        ("POST /orders", 200),
    ]
    assert all(one.key_id and one.request_hash == outcome.passages[0].request_hash for one in outcome.passages)
    first, second = web.bodies(CREATE)
    assert first == second  # the same id: the venue returns the first, or makes it now
    web.on(CREATE, once)
    said[:] = [None, "the latch was set meanwhile"]
    assert isinstance(await client.place(LIMIT), Refused | Unknown)
    assert web.count(CREATE) == 3


async def test_what_goes_out_at_market_never_goes_twice(web: FakeWeb, key_file: Any, clock: ManualClock) -> None:
    web.on(CREATE, silence)
    asked = replace(LIMIT, post_only=False, time_in_force=TimeInForce.IOC, price=Decimal(84110))
    outcome = await open_client(web, key_file, clock, may_send=lambda request: None).place(asked)
    assert isinstance(outcome, Unknown)
    assert web.count(CREATE) == 1


async def test_what_goes_out_at_market_is_judged_by_the_limit_that_was_decided_on(
    web: FakeWeb, key_file: Any, clock: ManualClock
) -> None:
    asked = replace(LIMIT, post_only=False, time_in_force=TimeInForce.IOC, price=Decimal(84110))
    judged: list[OrderRequest] = []

    def no(request: OrderRequest) -> str:
        judged.append(request)
        return "no"

    await open_client(web, key_file, clock, may_send=no).place(asked)
    assert judged == [asked]


async def test_after_two_seconds_it_is_settled_and_not_repeated(
    web: FakeWeb, key_file: Any, clock: ManualClock
) -> None:
    client = open_client(web, key_file, clock, may_send=lambda request: None)

    def slow(query: Any, body: Any) -> Any:
        clock.advance(2.5)
        return silence(query, body)

    web.on(CREATE, slow)
    assert isinstance(await client.place(LIMIT), Unknown)
    assert web.count(CREATE) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"size": "4"},
        {"side": "SELL"},
        {"client_order_id": "another's"},
        {"product_id": "BIT-25JUN27-CDE"},
    ],
)
async def test_an_order_that_differs_from_the_one_asked_for_is_not_adopted(
    web: FakeWeb, client: AdvancedTrade, other: dict[str, Any]
) -> None:
    accepts(web, **other)
    web.on("GET /products/BIT-25JUN27-CDE", lambda query, body: {**_dated(), "product_id": "BIT-25JUN27-CDE"})
    outcome = await client.place(LIMIT)
    assert isinstance(outcome, Unknown)
    assert "not adopted" in outcome.cause


def _dated() -> dict[str, Any]:
    from tests.exchange.advanced_trade.venue import PRODUCT

    return {**PRODUCT, "future_product_details": {**PRODUCT["future_product_details"], "funding_rate": ""}}


async def test_an_order_that_cannot_be_read_back_is_not_claimed(web: FakeWeb, client: AdvancedTrade) -> None:
    web.on(CREATE, lambda query, body: {"success": True, "success_response": {"order_id": "o-1"}})
    outcome = await client.place(LIMIT)
    assert isinstance(outcome, Unknown)
    assert "cannot be read yet" in outcome.cause


# --- closing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("contracts", "sent"), [(5, "3"), (3, "3"), (2, "2")])
async def test_a_close_is_no_larger_than_what_is_held(
    web: FakeWeb, client: AdvancedTrade, contracts: int, sent: str
) -> None:
    held(web, contracts)
    accepts(web, CLOSE, **market(sent, filled_size=sent))
    outcome = await client.place(SELL)
    assert isinstance(outcome, Confirmed)
    assert web.bodies(CLOSE) == [{"client_order_id": "mine", "product_id": BIP, "size": sent}]


@pytest.mark.parametrize("contracts", [0, -3])
async def test_a_close_on_the_wrong_side_is_not_sent(web: FakeWeb, client: AdvancedTrade, contracts: int) -> None:
    held(web, contracts)
    outcome = await client.place(SELL)
    assert isinstance(outcome, Refused)
    assert (outcome.sent, web.count(CLOSE)) == (False, 0)


async def test_an_old_read_of_the_position_does_not_close_it_twice(web: FakeWeb, client: AdvancedTrade) -> None:
    held(web, 3)  # and the venue goes on saying so
    accepts(web, CLOSE, **market("3", filled_size="3"))
    assert isinstance(await client.place(SELL), Confirmed)
    again = await client.place(replace(SELL, identity="second"))
    assert isinstance(again, Refused)
    assert (again.sent, web.count(CLOSE)) == (False, 1)


async def test_what_rests_on_the_closing_side_holds_its_part_of_the_position(
    web: FakeWeb, client: AdvancedTrade
) -> None:
    held(web, 3)
    resting = order_row("o-9", side="SELL", size="1")
    web.on(ORDERS, lambda query, body: {"orders": [resting] if query["order_status"] == ["OPEN"] else []})
    accepts(web, CLOSE, **market("2", filled_size="2"))
    assert isinstance(await client.place(SELL), Confirmed)
    assert web.bodies(CLOSE)[0]["size"] == "2"


async def test_an_exit_that_rests_is_no_close_in_flight(web: FakeWeb, client: AdvancedTrade) -> None:
    held(web, 3)
    rests = replace(LIMIT, side=Side.SELL, reduce_only=True, purpose=Purpose.CLOSE, price=Decimal(85000))
    accepts(web, side="SELL")
    assert isinstance(await client.place(rests), Confirmed)
    accepts(web, CLOSE, **market("3", filled_size="3", client_order_id="close"))
    assert isinstance(await client.place(replace(SELL, identity="close")), Confirmed)
    too_large = await client.place(replace(rests, size=Decimal("0.04"), identity="large"))
    assert isinstance(too_large, Refused)
    assert not too_large.sent


async def test_while_the_fate_of_a_close_is_unknown_no_other_goes(
    web: FakeWeb, client: AdvancedTrade, clock: ManualClock
) -> None:
    held(web, 3)
    web.on(CLOSE, silence)
    assert isinstance(await client.place(SELL), Unknown)
    second = await client.place(replace(SELL, identity="second"))
    assert isinstance(second, Refused)
    assert "may still arrive" in second.reason
    assert web.count(CLOSE) == 1
    half = order_row("o-7", **market("3", client_order_id="mine", filled_size="1", status="CANCELLED"))
    web.on(ORDERS, lambda query, body: {"orders": [half], "has_next": False})
    accepts(web, CLOSE, **market("2", filled_size="2", client_order_id="third"))
    assert isinstance(await client.place(replace(SELL, identity="third")), Confirmed)
    assert web.bodies(CLOSE)[-1]["size"] == "2"  # what the first one closed is taken off, whatever the read says


async def test_two_closers_of_one_state_make_one_order(web: FakeWeb, key_file: Any, clock: ManualClock) -> None:
    held(web, 3)
    web.on("GET /orders/historical/fills", lambda query, body: {"fills": [fill_row("last")], "cursor": ""})
    sent: list[str] = []

    def taken(query: Any, body: Any) -> Any:
        sent.append(body["client_order_id"])
        return silence(query, body)

    web.on(CLOSE, taken)
    for _ in range(2):
        client = open_client(web, key_file, clock)
        [position] = await client.positions()
        await client.close(position, None)
    assert len(sent) == 2
    assert len(set(sent)) == 1
    ended = order_row("o-5", **market("3", client_order_id=sent[0], status="CANCELLED"))
    web.on(ORDERS, lambda query, body: {"orders": [ended], "has_next": False})
    await open_client(web, key_file, clock).close(position, None)
    assert sent[2] != sent[0]  # an order that has ended never comes back under its name: the next round has another


# --- cancelling ------------------------------------------------------------------------------------------------------


def doomed(*ids: str) -> list[Order]:
    return [_order(one) for one in ids]


def _order(order_id: str) -> Order:
    from perpctl.exchange.advanced_trade.wire import orders, products
    from tests.exchange.advanced_trade.venue import PRODUCT

    return orders.order(order_row(order_id), products.contract(PRODUCT))


def answers_cancels(web: FakeWeb, said: Callable[[str], tuple[bool, str]], status: Callable[[str], str]) -> None:
    def cancel(query: Any, body: Any) -> Any:
        rows = [(one, *said(one)) for one in body["order_ids"]]
        return {"results": [{"order_id": one, "success": yes, "failure_reason": why} for one, yes, why in rows]}

    def listed(query: dict[str, list[str]], body: Any) -> Any:
        mine = query["order_placement_source"] == ["RETAIL_ADVANCED"]
        rows = [order_row(one, status=status(one)) for one in query.get("order_ids", [])] if mine else []
        return {"orders": rows, "has_next": False}

    web.on(CANCEL, cancel)
    web.on(ORDERS, listed)


async def test_an_accepted_cancel_cancels_nothing_until_the_order_reads_so(web: FakeWeb, client: AdvancedTrade) -> None:
    ends = {"o-1": "CANCELLED", "o-2": "CANCEL_QUEUED", "o-3": "FILLED", "o-4": "OPEN"}
    said = {"o-3": (False, "ORDER_IS_FULLY_FILLED"), "o-4": (False, "INVALID_CANCEL_FCM_TRADING_SESSION")}
    accepted = (True, "UNKNOWN_CANCEL_FAILURE_REASON")
    answers_cancels(web, lambda one: said.get(one, accepted), lambda one: ends[one])
    gone, pending, filled, shut = await client.cancel(doomed("o-1", "o-2", "o-3", "o-4"))
    assert isinstance(gone, Confirmed)
    assert [one.method for one in gone.passages] == ["POST /orders/batch_cancel"]  # not the reads that proved it
    assert gone.order.status is OrderStatus.CANCELLED
    assert isinstance(pending, Unknown)
    assert isinstance(filled, Confirmed)
    assert filled.order.status is OrderStatus.FILLED
    assert shut == Refused(None, "INVALID_CANCEL_FCM_TRADING_SESSION")


async def test_cancels_go_in_hundreds_and_in_fewer_when_the_venue_says_so(web: FakeWeb, client: AdvancedTrade) -> None:
    answers_cancels(web, lambda one: (True, ""), lambda one: "CANCELLED")
    plain = web.answers[CANCEL]
    ids = [f"o-{number}" for number in range(250)]
    assert all(isinstance(one, Confirmed) for one in await client.cancel(doomed(*ids)))
    assert [len(body["order_ids"]) for body in web.bodies(CANCEL)] == [100, 100, 50]

    def fewer(query: Any, body: Any) -> Any:
        if len(body["order_ids"]) > 40:
            raise Status(400, {"error": "InvalidArgument", "message": "Too many orderIDs entered, limit is 40"})
        return plain(query, body)

    web.on(CANCEL, fewer)
    web.asked.clear()
    assert all(isinstance(one, Confirmed) for one in await client.cancel(doomed(*ids[:90])))
    assert [len(body["order_ids"]) for body in web.bodies(CANCEL)] == [90, 40, 40, 10]


async def test_a_cancel_without_an_answer_is_judged_by_the_order(web: FakeWeb, client: AdvancedTrade) -> None:
    answers_cancels(web, lambda one: (True, ""), lambda one: "CANCELLED" if one == "o-1" else "OPEN")
    web.on(CANCEL, silence)
    gone, open_still = await client.cancel(doomed("o-1", "o-2"))
    assert isinstance(gone, Confirmed)
    assert isinstance(open_still, Unknown)
    assert web.count(CANCEL) == 6  # it changes nothing the second time


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_cancel_that_met_an_overload_goes_again_until_it_is_answered(
    web: FakeWeb, client: AdvancedTrade, status: int
) -> None:
    answers_cancels(web, lambda one: (True, ""), lambda one: "CANCELLED")
    plain, calls = web.answers[CANCEL], iter([True, True])

    def overloaded(query: Any, body: Any) -> Any:
        if next(calls, False):
            raise Status(status, {})
        return plain(query, body)

    web.on(CANCEL, overloaded)
    (gone,) = await client.cancel(doomed("o-1"))
    assert isinstance(gone, Confirmed)
    assert web.count(CANCEL) == 3


async def test_a_cancel_that_is_forbidden_is_not_asked_for_again(web: FakeWeb, client: AdvancedTrade) -> None:
    answers_cancels(web, lambda one: (True, ""), lambda one: "OPEN")

    def forbidden(query: Any, body: Any) -> Any:
        raise Status(403, {"error": "PERMISSION_DENIED"})

    web.on(CANCEL, forbidden)
    (refused,) = await client.cancel(doomed("o-1"))
    assert isinstance(refused, Refused)
    assert web.count(CANCEL) == 1


async def test_nothing_to_cancel_asks_nothing(web: FakeWeb, client: AdvancedTrade) -> None:
    assert await client.cancel([]) == ()
    assert web.asked == []


def test_every_meaning_is_of_a_word_that_stands_at_the_head_of_its_reason() -> None:
    for word in errors.PRICE_BAND:
        reason = errors.refusal({"error_response": {"preview_failure_reason": f"PREVIEW_{word}"}})
        assert errors.code_of(reason) == word
