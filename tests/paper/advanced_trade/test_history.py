"""Reads of orders and fills on the US face: filters, pages, and what a read may hide."""

from __future__ import annotations

import json

import pytest

from perpctl.errors import UsageError
from perpctl.paper.keys import MAIN_ACCOUNT
from tests.paper.advanced_trade.trader import BIP_ID, Refused, Trader, at


def ids(rows: list[dict[str, str]]) -> list[str]:
    return [row["order_id"] for row in rows]


def test_a_read_right_after_a_write_may_not_know_of_it(trader: Trader) -> None:
    trader.face.switches.lag_s = 10.0
    order_id = trader.placed("BUY", 2)
    with pytest.raises(Refused, match="404"):
        trader.shown(order_id)
    assert trader.listed() == []
    assert trader.get("/orders/historical/fills")["fills"] == []
    assert trader.position() == 2  # the order is there all the same
    trader.ahead_s += 10
    assert trader.shown(order_id)["status"] == "FILLED"
    assert len(trader.get("/orders/historical/fills")["fills"]) == 1


def test_a_change_shows_late_too_and_never_runs_backwards(trader: Trader) -> None:
    order_id = trader.limit("BUY", 1, "83000")
    trader.face.switches.lag_s = 10.0
    trader.cancel(order_id)
    assert trader.shown(order_id)["status"] == "OPEN"
    seen = []
    for _ in range(110):
        trader.ahead_s += 0.1
        seen.append(trader.shown(order_id)["status"])
    assert seen[0] == "OPEN"
    assert seen[-1] == "CANCELLED"
    assert seen == sorted(seen, reverse=True)


def test_the_lag_is_repeatable_and_at_most_a_minute(trader: Trader) -> None:
    def waits(one: Trader) -> int:
        one.face.switches.change({"lag_s": 60})
        order_id = one.placed("BUY", 1)
        for second in range(62):
            if one.raw("GET", f"/orders/historical/{order_id}").status == 200:
                return second
            one.ahead_s += 1
        return 99

    from tests.paper.advanced_trade.trader import new_trader

    assert waits(new_trader()) == waits(new_trader()) <= 60
    for wrong in ({"lag_s": 61}, {"lag_s": -1}, {"nothing": 1}, {"pending_as": "OPEN"}, {"cancel_s": "x"}):
        with pytest.raises(UsageError):
            trader.face.switches.change(wrong)


def test_a_list_of_open_orders_may_still_show_one_that_just_ended(trader: Trader) -> None:
    order_id = trader.limit("BUY", 1, "83000")
    trader.face.switches.lag_s = 10.0
    trader.cancel(order_id)
    assert ids(trader.listed(order_status="OPEN")) == [order_id]
    trader.ahead_s += 10
    assert trader.listed(order_status="OPEN") == []
    assert ids(trader.listed()) == [order_id]


@pytest.mark.parametrize("word", ["PENDING", "QUEUED"])
def test_open_leaves_out_what_is_pending_or_queued_and_can_be_cancelled(trader: Trader, word: str) -> None:
    trader.face.switches.change({"pending_s": 5, "pending_as": word})
    order_id = trader.limit("BUY", 1, "83000")
    assert trader.listed(order_status="OPEN") == []
    assert ids(trader.listed(order_status=word)) == ids(trader.listed()) == [order_id]
    assert trader.cancel(order_id)[0]["success"] is True
    assert trader.shown(order_id)["status"] == "CANCELLED"
    other = trader.limit("BUY", 1, "83000")
    trader.settle(6)
    assert ids(trader.listed(order_status="OPEN")) == [other]


def test_orders_typed_into_the_simple_app_hide_from_a_list_unless_asked_for(trader: Trader) -> None:
    typed = trader.face.app_order(
        MAIN_ACCOUNT,
        {
            "product_id": BIP_ID,
            "side": "BUY",
            "order_configuration": {"limit_limit_gtc": {"base_size": "1", "limit_price": "83000"}},
        },
        trader.wall_s,
    )
    mine = trader.limit("BUY", 1, "83000")
    assert ids(trader.listed()) == [mine]
    (hidden,) = trader.listed(order_placement_source="RETAIL_SIMPLE")
    assert hidden["order_id"] == typed["order_id"]
    assert hidden["order_placement_source"] == "RETAIL_SIMPLE"
    assert trader.cancel(typed["order_id"])[0]["success"] is True


def test_a_list_that_wants_a_proof_token_is_empty_and_says_so(trader: Trader) -> None:
    trader.limit("BUY", 1, "83000")
    trader.face.switches.change({"proof_token": "secret"})
    answer = trader.get("/orders/historical/batch")
    assert (answer["orders"], answer["proof_token_required"]) == ([], True)
    assert trader.get("/orders/historical/fills")["fills"] == []
    assert len(trader.listed(proof_token="secret")) == 1


def test_perpetuals_are_expiring_in_every_filter(trader: Trader) -> None:
    order_id = trader.limit("BUY", 1, "83000")
    assert trader.listed(contract_expiry_type="PERPETUAL") == []
    assert ids(trader.listed(contract_expiry_type="EXPIRING")) == [order_id]
    assert trader.get("/products", contract_expiry_type="PERPETUAL")["products"] == []
    assert BIP_ID in [row["product_id"] for row in trader.get("/products", contract_expiry_type="EXPIRING")["products"]]


def test_lists_are_filtered_by_every_documented_parameter(trader: Trader) -> None:
    filled = trader.placed("BUY", 1)
    trader.market("84000", after_ms=60_000)
    resting = trader.limit("SELL", 1, "84500")
    cases = [
        ({"order_ids": [filled]}, [filled]),
        ({"product_ids": [BIP_ID]}, [resting, filled]),
        ({"product_ids": ["ETP-20DEC30-CDE"]}, []),
        ({"order_status": ["FILLED", "OPEN"]}, [resting, filled]),
        ({"order_status": "FILLED"}, [filled]),
        ({"order_side": "SELL"}, [resting]),
        ({"order_types": "MARKET"}, [filled]),
        ({"time_in_forces": "GOOD_UNTIL_CANCELLED"}, [resting]),
        ({"product_type": "FUTURE"}, [resting, filled]),
        ({"product_type": "SPOT"}, []),
        ({"asset_filters": "BTC"}, [resting, filled]),
        ({"asset_filters": "ETH"}, []),
        ({"start_date": "2026-09-30T14:31:00Z"}, [resting]),
        ({"end_date": "2026-09-30T14:31:00Z"}, [filled]),
        ({"sort_by": "LIMIT_PRICE"}, [filled, resting]),  # a market order has the band's end as its limit
    ]
    for filters, wanted in cases:
        assert ids(trader.listed(**filters)) == wanted, filters
    for wrong in ({"order_status": "NONE"}, {"order_placement_source": "x"}, {"start_date": "x"}, {"cursor": "x"}):
        with pytest.raises(Refused, match="400"):
            trader.listed(**wrong)
    assert at("2026-09-30T14:31:00") < trader.exchange.now


def test_pages_cover_everything_once_also_when_orders_end_meanwhile(trader: Trader) -> None:
    placed = [trader.limit("BUY", 1, "83000") for _ in range(7)]
    cursor, found, page = "", [], 0
    while True:
        answer = trader.get("/orders/historical/batch", order_status="OPEN", limit=2, cursor=cursor)
        found += ids(answer["orders"])
        assert answer["has_next"] == bool(answer["cursor"])
        cursor, page = answer["cursor"], page + 1
        if page == 1:
            trader.cancel(*found)  # the rows that the cursor was made from are gone
        if not cursor:
            break
    assert found == placed[::-1]


def test_fills_are_paged_and_filtered(trader: Trader) -> None:
    bought = [trader.placed("BUY", 1) for _ in range(3)]
    sold = trader.placed("SELL", 2)
    first = trader.get("/orders/historical/fills", limit=3)
    rest = trader.get("/orders/historical/fills", limit=3, cursor=first["cursor"])
    assert ids(first["fills"] + rest["fills"]) == [sold, *bought[::-1]]
    assert rest["cursor"] == ""
    assert ids(trader.get("/orders/historical/fills", order_ids=[sold])["fills"]) == [sold]
    entries = {row["entry_id"] for row in first["fills"] + rest["fills"]}
    assert len(entries) == 4


def test_nothing_answers_with_numbers_where_the_venue_has_strings(trader: Trader) -> None:
    trader.placed("BUY", 3)
    for path in ("/orders/historical/batch", "/orders/historical/fills", "/cfm/positions", "/cfm/balance_summary"):
        body = trader.raw("GET", path).body

        def refuse(text: str, path: str = path) -> None:
            raise AssertionError(f"{path} has the number {text}")

        json.loads(body, parse_float=refuse, parse_int=refuse)
