"""Orders on the US face: entered, shown, changed, cancelled, closed; and each trap that real clients fell into."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.paper.advanced_trade.trader import BIP_ID, Refused, Trader, at, new_trader


def refusal(answer: Any) -> tuple[str, str]:
    """(new order reason, preview reason without its prefix) of an order that was refused with HTTP 200."""
    assert answer["success"] is False, answer
    assert "success_response" not in answer
    error = answer["error_response"]
    assert error["error"] == error["new_order_failure_reason"]
    return error["error"], error["preview_failure_reason"].removeprefix("PREVIEW_")


def test_a_market_order_is_filled_in_contracts_and_paid_for_by_both_parts_of_the_fee(trader: Trader) -> None:
    order_id = trader.placed("BUY", 3)
    row = trader.shown(order_id)
    assert (row["status"], row["filled_size"], row["average_filled_price"]) == ("FILLED", "3", "84005")
    assert row["filled_value"] == "2520.15"  # contracts x 0.01 x price
    assert row["total_fees"] == "2.43612"  # 8 bps, and 0.14 a contract
    assert row["order_type"] == "MARKET"
    (fill,) = trader.get("/orders/historical/fills", order_ids=[order_id])["fills"]
    assert (fill["size"], fill["commission"]) == ("3", "2.43612")
    assert fill["commission_detail_total"]["venue_commission"] == "0.42"
    assert trader.get("/cfm/positions")["positions"][0]["number_of_contracts"] == "3"


def test_a_used_client_order_id_returns_the_first_order_whatever_is_asked_now(trader: Trader) -> None:
    first = trader.order("BUY", 1, "limit_limit_gtc", limit_price="83000", client_order_id="x")
    again = trader.order("SELL", 5, client_order_id="x")
    assert again["success"] is True
    assert again["success_response"] == first["success_response"]
    assert len(trader.listed()) == 1
    assert trader.position() == 0


def test_a_refused_order_does_not_use_up_its_client_order_id(trader: Trader) -> None:
    refusal(trader.order("BUY", 100_000, client_order_id="x"))
    assert trader.order("BUY", 1, client_order_id="x")["success"] is True
    assert trader.position() == 1


@pytest.mark.parametrize("length", [128, 129])
def test_a_client_order_id_has_at_most_128_characters(trader: Trader, length: int) -> None:
    if length <= 128:
        assert trader.order("BUY", 1, client_order_id="x" * length)["success"]
    else:
        with pytest.raises(Refused, match="400"):
            trader.order("BUY", 1, client_order_id="x" * length)


@pytest.mark.parametrize("member", ["reduceOnly", "reduce_only", "post_only"])
def test_unknown_members_are_refused_as_protobuf_refuses_them(trader: Trader, member: str) -> None:
    with pytest.raises(Refused) as no:
        trader.post(
            "/orders",
            client_order_id="x",
            product_id=BIP_ID,
            side="BUY",
            order_configuration={"market_market_ioc": {"base_size": "1"}},
            **{member: True},
        )
    assert no.value.status == 400
    assert f'unknown field "{member}"' in no.value.json["message"]
    assert no.value.json["message"].startswith("proto: (line 1:")
    assert trader.position() == 0


def test_post_only_is_unknown_inside_a_market_configuration(trader: Trader) -> None:
    with pytest.raises(Refused, match="unknown field"):
        trader.order("BUY", 1, "market_market_ioc", post_only=True)


@pytest.mark.parametrize(
    ("side", "contracts", "kind", "terms", "reasons"),
    [
        ("BUY", "1.5", "market_market_ioc", {}, ("INVALID_SIZE_PRECISION", "INVALID_SIZE_PRECISION")),
        ("BUY", "0", "market_market_ioc", {}, ("UNKNOWN_FAILURE_REASON", "INVALID_BASE_SIZE_TOO_SMALL")),
        ("BUY", "5001", "market_market_ioc", {}, ("UNKNOWN_FAILURE_REASON", "INVALID_BASE_SIZE_TOO_LARGE")),
        ("BUY", "x", "market_market_ioc", {}, ("INVALID_REQUEST", "NON_NUMERIC_ORDER_SIZE")),
        ("BUY", "4000", "market_market_ioc", {}, ("INSUFFICIENT_FUND", "INSUFFICIENT_FUNDS_FOR_FUTURES")),
        ("HOLD", "1", "market_market_ioc", {}, ("INVALID_SIDE", "INVALID_SIDE")),
        (
            "BUY",
            "1",
            "limit_limit_gtc",
            {"limit_price": "83001"},
            ("INVALID_PRICE_PRECISION", "INVALID_LIMIT_PRICE_PRECISION"),
        ),
        (
            "BUY",
            "1",
            "limit_limit_gtc",
            {"limit_price": "90000"},
            ("INVALID_LIMIT_PRICE", "LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_BUY"),
        ),
        (
            "SELL",
            "1",
            "limit_limit_gtc",
            {"limit_price": "80000"},
            ("INVALID_LIMIT_PRICE", "LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_SELL"),
        ),
        (
            "BUY",
            "1",
            "limit_limit_gtc",
            {"limit_price": "84005", "post_only": True},
            ("INVALID_LIMIT_PRICE_POST_ONLY", "INVALID_LIMIT_PRICE_POST_ONLY"),
        ),
        (
            "BUY",
            "1",
            "sor_limit_ioc",
            {"limit_price": "84005"},
            ("UNSUPPORTED_ORDER_CONFIGURATION", "INVALID_ORDER_CONFIG"),
        ),
        (
            "BUY",
            "1",
            "market_market_ioc",
            {"quote_size": "100"},
            ("UNSUPPORTED_ORDER_CONFIGURATION", "QUOTE_ORDERS_NOT_ALLOWED_FOR_PRODUCT"),
        ),
        (
            "SELL",
            "1",
            "market_market_ioc",
            {"reduce_only": True},
            ("UNKNOWN_FAILURE_REASON", "REDUCE_ONLY_NOT_ALLOWED_ON_VENUE"),
        ),
        (
            "SELL",
            "1",
            "stop_limit_stop_limit_gtc",
            {"limit_price": "84000", "stop_price": "84500", "stop_direction": "STOP_DIRECTION_STOP_DOWN"},
            ("UNKNOWN_FAILURE_REASON", "STOP_PRICE_ABOVE_LAST_TRADE_PRICE"),
        ),
        (
            "SELL",
            "1",
            "stop_limit_stop_limit_gtc",
            {"limit_price": "83600", "stop_price": "83500", "stop_direction": "STOP_DIRECTION_STOP_DOWN"},
            ("UNKNOWN_FAILURE_REASON", "STOP_PRICE_BELOW_LIMIT_PRICE"),
        ),
    ],
)
def test_refusals_are_http_200_with_their_reasons(
    trader: Trader, side: str, contracts: str, kind: str, terms: dict[str, Any], reasons: tuple[str, str]
) -> None:
    assert refusal(trader.order(side, contracts, kind, **terms)) == reasons
    assert trader.listed() == []


def test_the_retired_perpetuals_and_spot_are_no_products_to_trade(trader: Trader) -> None:
    assert refusal(trader.order("BUY", 1, product_id="BTC-PERP-INTX"))[0] == "INVALID_PRODUCT_ID"
    assert refusal(trader.order("BUY", 1, product_id="BTC-USD"))[0] == "UNTRADABLE_PRODUCT"


def test_a_cancel_is_only_a_request(trader: Trader) -> None:
    trader.cancels_at_once = False
    order_id = trader.limit("BUY", 1, "83000")
    (row,) = trader.cancel(order_id)
    assert row == {"success": True, "failure_reason": "UNKNOWN_CANCEL_FAILURE_REASON", "order_id": order_id}
    assert (trader.shown(order_id)["status"], trader.shown(order_id)["pending_cancel"]) == ("CANCEL_QUEUED", True)
    (again,) = trader.cancel(order_id)
    assert (again["success"], again["failure_reason"]) == (False, "DUPLICATE_CANCEL_REQUEST")
    trader.market("82000")  # it fills before the cancel takes effect
    trader.settle()
    assert trader.shown(order_id)["status"] == "FILLED"
    (late,) = trader.cancel(order_id)
    assert late["failure_reason"] == "ORDER_IS_FULLY_FILLED"


def test_cancels_answer_row_by_row(trader: Trader) -> None:
    order_id = trader.limit("BUY", 1, "83000")
    rows = trader.cancel(order_id, "00000000-0000-0000-0000-000000000001")
    assert [row["success"] for row in rows] == [True, False]
    assert rows[1]["failure_reason"] == "UNKNOWN_CANCEL_ORDER"
    assert trader.shown(order_id)["status"] == "CANCELLED"
    assert trader.cancel(order_id)[0]["failure_reason"] == "DUPLICATE_CANCEL_REQUEST"


def test_at_most_100_orders_are_cancelled_at_once(trader: Trader) -> None:
    with pytest.raises(Refused) as no:
        trader.cancel(*[str(number) for number in range(101)])
    assert (no.value.status, no.value.json["error"]) == (400, "InvalidArgument")
    assert no.value.json["message"] == "Too many orderIDs entered, limit is 100"


@pytest.mark.parametrize("ids", [[], [""]])
def test_an_empty_list_of_ids_is_answered_by_silence(trader: Trader, ids: list[str]) -> None:
    reply = trader.raw("POST", "/orders/batch_cancel", json.dumps({"order_ids": ids}).encode())
    assert reply.delay_s >= 30
    assert reply.status == 504


def test_an_edit_needs_price_and_size(trader: Trader) -> None:
    order_id = trader.limit("BUY", 3, "83000")

    def reason(**body: str) -> str:
        answer = trader.post("/orders/edit", order_id=order_id, **body)
        assert answer["success"] is False
        word: str = answer["errors"][0]["edit_failure_reason"]
        return word

    assert reason(price="83005") == "INVALID_EDITED_SIZE"
    assert reason(size="2") == "INVALID_EDITED_PRICE"
    assert reason(price="83000", size="3") == "EDIT_REQUEST_EQUAL_TO_ORIGINAL_REQUEST"
    assert trader.post("/orders/edit", order_id=order_id, price="83005", size="2") == {"success": True, "errors": []}
    row = trader.shown(order_id)
    assert row["order_configuration"]["limit_limit_gtc"]["base_size"] == "2"
    assert row["edit_history"][0]["price"] == "83005"
    trader.cancel(order_id)
    assert reason(price="83010", size="2") == "ONLY_OPEN_ORDERS_CAN_BE_EDITED"


def test_an_order_with_an_end_cannot_be_edited_and_expires(trader: Trader) -> None:
    end = "2026-09-30T14:40:00Z"
    order_id = trader.placed("BUY", 1, "limit_limit_gtd", limit_price="83000", end_time=end)
    answer = trader.post("/orders/edit", order_id=order_id, price="83005", size="1")
    assert answer["errors"][0]["edit_failure_reason"] == "ONLY_LIMIT_ORDER_EDITS_SUPPORTED"
    assert trader.shown(order_id)["time_in_force"] == "GOOD_UNTIL_DATE_TIME"
    trader.until("2026-09-30T14:40:00")
    row = trader.shown(order_id)
    assert (row["status"], row["order_configuration"]["limit_limit_gtd"]["end_time"]) == ("EXPIRED", end)


def test_a_position_is_closed_whole_or_in_part_and_never_beyond(trader: Trader) -> None:
    trader.placed("BUY", 5)
    assert trader.post("/orders/close_position", client_order_id="a", product_id=BIP_ID, size="2")["success"]
    assert trader.position() == 3
    refusal(trader.post("/orders/close_position", client_order_id="b", product_id=BIP_ID, size="4"))
    assert trader.position() == 3
    closed = trader.post("/orders/close_position", client_order_id="c", product_id=BIP_ID)
    assert closed["success_response"]["side"] == "SELL"
    assert trader.position() == 0
    refusal(trader.post("/orders/close_position", client_order_id="d", product_id=BIP_ID))


def test_a_resting_bracket_refuses_a_close(trader: Trader) -> None:
    trader.placed("BUY", 5)
    bracket = trader.placed("SELL", 4, "trigger_bracket_gtc", limit_price="85000", stop_trigger_price="83000")
    assert trader.shown(bracket)["order_type"] == "BRACKET"
    close = trader.post("/orders/close_position", client_order_id="a", product_id=BIP_ID)
    assert refusal(close)[1] == "ORDER_SIZE_EXCEEDS_BRACKETED_POSITION"
    assert trader.post("/orders/close_position", client_order_id="b", product_id=BIP_ID, size="1")["success"]
    trader.cancel(bracket)
    assert trader.post("/orders/close_position", client_order_id="c", product_id=BIP_ID)["success"]
    assert trader.position() == 0


def test_a_bracket_is_on_the_closing_side_and_no_larger_than_the_position(trader: Trader) -> None:
    trader.placed("BUY", 5)
    prices = {"limit_price": "85000", "stop_trigger_price": "83000"}
    wrong = trader.order("BUY", 1, "trigger_bracket_gtc", limit_price="83000", stop_trigger_price="85000")
    assert refusal(wrong)[1] == "INVALID_BRACKET_ORDER_SIDE"
    large = trader.order("SELL", 6, "trigger_bracket_gtc", **prices)
    assert refusal(large)[1] == "BRACKET_ORDER_SIZE_EXCEEDS_POSITION"
    same = trader.order("SELL", 1, "trigger_bracket_gtc", limit_price="83500", stop_trigger_price="83000")
    assert refusal(same)[1] == "INVALID_BRACKET_PRICES"


def test_a_stop_limit_can_be_jumped(trader: Trader) -> None:
    trader.placed("BUY", 2)
    stop = trader.placed(
        "SELL",
        2,
        "stop_limit_stop_limit_gtc",
        limit_price="83500",
        stop_price="83600",
        stop_direction="STOP_DIRECTION_STOP_DOWN",
    )
    assert (trader.shown(stop)["status"], trader.shown(stop)["trigger_status"]) == ("OPEN", "STOP_PENDING")
    trader.market("83000")
    row = trader.shown(stop)
    assert (row["status"], row["trigger_status"], row["filled_size"]) == ("OPEN", "STOP_TRIGGERED", "0")
    assert row["order_configuration"]["stop_limit_stop_limit_gtc"]["stop_price"] == "83600"
    assert trader.position() == 2


def test_a_resting_stop_flips_a_position_that_was_closed_without_it(trader: Trader) -> None:
    trader.placed("BUY", 2)
    terms = {"limit_price": "83400", "stop_price": "83600", "stop_direction": "STOP_DIRECTION_STOP_DOWN"}
    trader.placed("SELL", 2, "stop_limit_stop_limit_gtc", **terms)
    trader.post("/orders/close_position", client_order_id="a", product_id=BIP_ID)
    trader.market("83600", after_ms=500)
    trader.market("83550")
    assert trader.position() == -2


def test_nothing_is_entered_or_cancelled_while_the_session_is_shut() -> None:
    trader = new_trader("2026-10-02T20:50:00")  # Friday 16:50 in New York
    order_id = trader.limit("BUY", 1, "83000")
    trader.until("2026-10-02T21:00:00")
    assert refusal(trader.order("BUY", 1))[0] == "INVALID_FCM_TRADING_SESSION"
    assert trader.cancel(order_id)[0]["failure_reason"] == "INVALID_CANCEL_FCM_TRADING_SESSION"
    session = trader.get(f"/products/{BIP_ID}")["fcm_trading_session_details"]
    assert (session["is_session_open"], session["after_hours_order_entry_disabled"]) == (False, True)
    trader.until("2026-10-02T22:00:00")
    assert trader.cancel(order_id)[0]["success"] is True
    assert trader.get(f"/products/{BIP_ID}")["fcm_trading_session_details"]["is_session_open"] is True


def test_a_preview_names_margin_and_fees_and_its_refusals_are_http_200(trader: Trader) -> None:
    wanted = {"product_id": BIP_ID, "side": "BUY", "order_configuration": {"market_market_ioc": {"base_size": "3"}}}
    answer = trader.post("/orders/preview", **wanted)
    assert answer["errs"] == []
    assert answer["commission_total"] == "2.43612"
    assert answer["max_leverage"] == ""
    assert float(answer["order_margin_total"]) == pytest.approx(3 * 0.01 * 84000 * 0.245625, abs=0.01)
    large = trader.post(
        "/orders/preview", **(wanted | {"order_configuration": {"market_market_ioc": {"base_size": "4000"}}})
    )
    assert large["errs"] == ["PREVIEW_INSUFFICIENT_FUNDS_FOR_FUTURES"]
    off = trader.post(
        "/orders/preview",
        **(wanted | {"order_configuration": {"limit_limit_gtc": {"base_size": "1", "limit_price": "83001"}}}),
    )
    assert off["errs"] == ["PREVIEW_INVALID_LIMIT_PRICE_PRECISION"]
    with pytest.raises(Refused, match="unknown field"):
        trader.post("/orders/preview", client_order_id="x", **wanted)
    assert trader.listed() == []


def test_a_fill_or_kill_that_cannot_be_filled_ends_as_cancelled(trader: Trader) -> None:
    order_id = trader.placed("BUY", 100, "limit_limit_fok", limit_price="83000")
    assert trader.shown(order_id)["status"] == "CANCELLED"
    assert trader.shown(order_id)["time_in_force"] == "FILL_OR_KILL"


def test_the_end_of_a_gtd_order_must_lie_ahead(trader: Trader) -> None:
    past = trader.order("BUY", 1, "limit_limit_gtd", limit_price="83000", end_time="2026-09-30T14:00:00Z")
    assert refusal(past)[1] == "END_TIME_IS_IN_THE_PAST"
    assert refusal(trader.order("BUY", 1, "limit_limit_gtd", limit_price="83000"))[1] == "GTD_ORDERS_MUST_HAVE_END_TIME"
    assert at("2026-09-30T14:00:00") < trader.exchange.now


def test_announced_maintenance_shows_ahead_shuts_the_books_and_opens_them_again(trader: Trader) -> None:
    order_id = trader.limit("BUY", 1, "83000")
    start, end = at("2026-09-30T15:10:00"), at("2026-09-30T15:25:00")
    trader.exchange.plan_stop(start, end, trader.exchange.now)
    details = trader.get(f"/products/{BIP_ID}")["fcm_trading_session_details"]
    assert details["is_session_open"] is True
    assert details["maintenance"] == {"start_time": "2026-09-30T15:10:00Z", "end_time": "2026-09-30T15:25:00Z"}
    trader.until("2026-09-30T15:10:00")
    assert refusal(trader.order("BUY", 1))[0] == "INVALID_FCM_TRADING_SESSION"
    assert trader.cancel(order_id)[0]["failure_reason"] == "INVALID_CANCEL_FCM_TRADING_SESSION"
    trader.until("2026-09-30T15:25:00")
    assert trader.cancel(order_id)[0]["success"] is True
    details = trader.get(f"/products/{BIP_ID}")["fcm_trading_session_details"]
    assert details["maintenance"]["start_time"] == "2026-10-02T21:00:00Z"  # the weekly stop again


def test_maintenance_that_is_announced_late_begins_at_once(trader: Trader) -> None:
    now = trader.exchange.now
    trader.exchange.plan_stop(now - 1000, now + 60_000, now)
    assert refusal(trader.order("BUY", 1))[0] == "INVALID_FCM_TRADING_SESSION"
    trader.exchange.advance(now + 60_000)
    assert trader.order("BUY", 1)["success"]


def attached(trader: Trader, side: str, contracts: int, kind: str, profit: str, stop: str, **terms: str) -> Any:
    """The answer to an order that brings a bracket along."""
    bracket = {"limit_price": profit, "stop_trigger_price": stop}
    return trader.post(
        "/orders",
        client_order_id=f"attached{trader.exchange.now}",
        product_id=BIP_ID,
        side=side,
        order_configuration={kind: {"base_size": str(contracts), **terms}},
        attached_order_configuration={"trigger_bracket_gtc": bracket},
    )


@pytest.mark.parametrize(("price", "left"), [("85000", "84900"), ("83000", "83000")], ids=["profit", "stop"])
def test_an_attached_bracket_closes_what_its_order_opened_under_the_promised_id(
    trader: Trader, price: str, left: str
) -> None:
    answer = attached(trader, "BUY", 3, "limit_limit_gtc", "84900", "83600", limit_price="83900")
    promised = answer["success_response"]["attached_order_id"]
    assert trader.shown(promised)["status"] == "PENDING"
    assert trader.shown(answer["order_id"])["attached_order_id"] == promised
    trader.market("83890")
    row = trader.shown(promised)
    assert (row["status"], row["order_type"], row["originating_order_id"]) == (
        "OPEN",
        "TAKE_PROFIT_STOP_LOSS",
        answer["order_id"],
    )
    assert trader.position() == 3
    trader.market(price)
    row = trader.shown(promised)
    assert (row["status"], row["average_filled_price"]) == ("FILLED", left)
    assert trader.position() == 0


def test_an_attached_bracket_ends_with_its_order(trader: Trader) -> None:
    answer = attached(trader, "BUY", 3, "limit_limit_gtc", "84900", "83600", limit_price="83900")
    trader.cancel(answer["order_id"])
    assert trader.shown(answer["success_response"]["attached_order_id"])["status"] == "CANCELLED"


def test_an_attached_bracket_lies_around_the_orders_price(trader: Trader) -> None:
    low = attached(trader, "BUY", 3, "limit_limit_gtc", "83800", "83600", limit_price="83900")
    assert refusal(low)[1] == "ATTACHED_TAKE_PROFIT_PRICE_TOO_LOW"
    high = attached(trader, "SELL", 3, "market_market_ioc", "83000", "83600")
    assert refusal(high)[1] == "ATTACHED_STOP_LOSS_PRICE_TOO_LOW"
    assert trader.listed() == []
    taken = attached(trader, "SELL", 3, "market_market_ioc", "83000", "84600")
    assert trader.shown(taken["success_response"]["attached_order_id"])["status"] == "OPEN"
    close = trader.post("/orders/close_position", client_order_id="x", product_id=BIP_ID)
    assert refusal(close)[1] == "ORDER_SIZE_EXCEEDS_BRACKETED_POSITION"
