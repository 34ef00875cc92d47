"""The WebSockets of the US face: envelope, sequence, rules of the connection, and each channel."""

from __future__ import annotations

from typing import Any

import pytest

from perpctl.paper.advanced_trade.feed.session import FIRST_WORD_S, QUIET_S
from perpctl.paper.advanced_trade.feed.user import BATCH
from perpctl.paper.faults import Rule
from tests.paper.advanced_trade.trader import BIP_ID, Socket, Trader, new_trader


@pytest.fixture
def socket(trader: Trader) -> Socket:
    return trader.open()


def test_every_message_is_counted_from_zero_across_channels(trader: Trader, socket: Socket) -> None:
    socket.subscribe("heartbeats")
    socket.subscribe("ticker", BIP_ID)
    socket.subscribe("level2", BIP_ID)
    for bid in ("84005", "84010"):
        trader.market(bid)
    socket.wait(3)
    assert [frame["sequence_num"] for frame in socket.frames] == list(range(len(socket.frames)))
    assert all(frame["client_id"] == "" for frame in socket.frames)
    assert {frame["channel"] for frame in socket.frames} == {"subscriptions", "heartbeats", "ticker", "l2_data"}


def test_acknowledgements_list_everything_active(socket: Socket) -> None:
    socket.subscribe("heartbeats")
    socket.subscribe("ticker", BIP_ID)
    socket.subscribe("ticker", "BTC-USDC")
    assert socket.events("subscriptions")[-1] == {
        "subscriptions": {"heartbeats": ["heartbeats"], "ticker": [BIP_ID, "BTC-USD"]}
    }
    socket.subscribe("ticker", BIP_ID, kind="unsubscribe")
    assert socket.events("subscriptions")[-1]["subscriptions"]["ticker"] == ["BTC-USD"]
    socket.subscribe("ticker", "BTC-USD", kind="unsubscribe")
    socket.subscribe("heartbeats", kind="unsubscribe")
    assert socket.events("subscriptions")[-1] == {"subscriptions": {}}


def test_heartbeats_come_once_a_second_and_keep_the_connection(socket: Socket) -> None:
    socket.subscribe("heartbeats")
    socket.wait(2 * QUIET_S, step=0.5)
    beats = socket.events("heartbeats")
    assert [beat["heartbeat_counter"] for beat in beats] == list(range(1, len(beats) + 1))
    assert len(beats) == pytest.approx(2 * QUIET_S, abs=2)
    assert " +0000 UTC m=+" in beats[0]["current_time"]
    assert not socket.closes


def test_who_says_nothing_for_five_seconds_is_closed(socket: Socket) -> None:
    socket.wait(FIRST_WORD_S - 0.2)
    assert not socket.closes
    socket.wait(1)
    assert len(socket.closes) == 1


def test_a_connection_without_anything_to_tell_is_closed(socket: Socket) -> None:
    socket.subscribe("ticker", BIP_ID)
    socket.wait(QUIET_S - 1, step=0.5)
    assert not socket.closes
    socket.wait(2, step=0.5)
    assert len(socket.closes) == 1


@pytest.mark.parametrize("first", ["nonsense", "[]", '{"type": "ping"}', '{"type": "subscribe"}'])
def test_a_wrong_message_ends_the_connection(socket: Socket, first: str) -> None:
    socket.send(first)
    assert len(socket.closes) == 1


def test_complaints_have_no_channel_and_no_number(socket: Socket) -> None:
    socket.subscribe("ticker", "NO-SUCH")
    socket.subscribe("nothing", BIP_ID)
    socket.subscribe("user")
    socket.subscribe("ticker", BIP_ID, exp=1)
    assert len(socket.errors) == 4
    assert socket.errors[2:] == ["authentication failure", "authentication failure"]
    assert all(frame.keys() == {"type", "message"} for frame in socket.frames)


def test_a_jwt_is_looked_at_only_when_its_message_is(trader: Trader, socket: Socket) -> None:
    socket.subscribe("user", signed=True)
    socket.subscribe("heartbeats")
    socket.wait(300, step=1)  # long after the token's 120 seconds
    trader.limit("BUY", 1, "83000")
    assert socket.events("user")[-1]["orders"][0]["status"] == "OPEN"


def test_the_book_comes_whole_and_then_by_absolute_quantities(trader: Trader, socket: Socket) -> None:
    socket.subscribe("level2", BIP_ID)
    trader.limit("BUY", 3, "83500")
    trader.market("84005")
    trader.market("83900")
    book: dict[str, dict[str, str]] = {"bid": {}, "offer": {}}
    for event in socket.events("l2_data"):
        for row in event["updates"]:
            if row["new_quantity"] == "0":
                del book[row["side"]][row["price_level"]]
            else:
                book[row["side"]][row["price_level"]] = row["new_quantity"]
    shown = trader.get("/product_book", product_id=BIP_ID)["pricebook"]
    assert book["bid"] == {row["price"]: row["size"] for row in shown["bids"]}
    assert book["offer"] == {row["price"]: row["size"] for row in shown["asks"]}
    assert socket.events("l2_data")[0]["type"] == "snapshot"


def test_trades_come_in_batches_with_the_makers_side(trader: Trader, socket: Socket) -> None:
    socket.subscribe("market_trades", BIP_ID)
    trader.placed("BUY", 2)
    trader.placed("BUY", 1)
    assert len(socket.events("market_trades")) == 1
    socket.wait(0.3)
    batch = socket.events("market_trades")[-1]
    assert batch["type"] == "update"
    assert [(row["size"], row["side"]) for row in batch["trades"]] == [("1", "SELL"), ("2", "SELL")]


def test_tickers_follow_matches_and_batches_the_clock(trader: Trader, socket: Socket) -> None:
    socket.subscribe("ticker", BIP_ID)
    socket.subscribe("ticker_batch", BIP_ID, "BTC-USD")
    before = len(socket.events("ticker"))
    trader.placed("BUY", 1)
    assert len(socket.events("ticker")) == before + 1
    row = socket.events("ticker")[-1]["tickers"][0]
    assert (row["price"], row["best_bid"]) == ("84005", "84000")
    socket.wait(11)
    batches = socket.events("ticker_batch")
    assert len(batches) == 3
    assert "best_bid" not in batches[-1]["tickers"][0]
    assert len(batches[-1]["tickers"]) == 2


def test_candles_are_five_minutes_long(trader: Trader, socket: Socket) -> None:
    socket.subscribe("candles", BIP_ID)
    trader.placed("BUY", 1)
    socket.wait(2)
    kinds = [event["type"] for event in socket.events("candles")]
    assert kinds == ["snapshot", "update"]
    row = socket.events("candles")[-1]["candles"][0]
    assert int(row["start"]) % 300 == 0
    assert row["product_id"] == BIP_ID


def test_status_tells_when_the_session_shuts() -> None:
    trader = new_trader("2026-10-02T20:59:00")
    socket = trader.open()
    socket.subscribe("status")
    assert {row["status"] for row in socket.events("status")[0]["products"]} == {"online"}
    trader.until("2026-10-02T21:00:00")
    changed = {row["id"]: row["status"] for event in socket.events("status")[1:] for row in event["products"]}
    assert changed[BIP_ID] == "offline"
    assert "BTC-USD" not in changed


def test_user_orders_are_cumulative_and_in_title_case(trader: Trader, socket: Socket) -> None:
    socket.subscribe("user", signed=True)
    assert socket.events("subscriptions")[-1]["subscriptions"]["user"] != [BIP_ID]
    order_id = trader.limit("BUY", 60, "84005")  # 5,000 are there
    trader.placed("SELL", 10)
    rows = [row for event in socket.events("user") for row in event["orders"] if row["order_id"] == order_id]
    assert rows[-1]["order_type"] == "Limit"
    assert (rows[-1]["cumulative_quantity"], rows[-1]["leaves_quantity"]) == ("60", "0")
    assert rows[-1]["post_only"] == "false"
    assert rows[-1]["end_time"] == "0001-01-01T00:00:00Z"
    positions = socket.events("user")[-1]["positions"]
    assert positions["perpetual_futures_positions"] == []
    (held,) = positions["expiring_futures_positions"]
    assert (held["product_id"], held["side"], held["number_of_contracts"]) == (BIP_ID, "Long", "50")


@pytest.mark.parametrize("count", [0, 49, BATCH, BATCH + 1])
def test_the_user_snapshot_comes_in_batches_of_which_the_short_one_is_the_last(trader: Trader, count: int) -> None:
    for _ in range(count):
        trader.limit("BUY", 1, "83000")
    socket = trader.open()
    socket.subscribe("user", signed=True)
    sizes = [len(event["orders"]) for event in socket.events("user")]
    assert sum(sizes) == count
    assert all(size == BATCH for size in sizes[:-1])
    assert sizes[-1] < BATCH


def test_a_cancel_is_told_twice_when_asked_for_and_when_done(trader: Trader, socket: Socket) -> None:
    socket.subscribe("user", signed=True)
    trader.cancels_at_once = False
    order_id = trader.limit("BUY", 1, "83000")
    trader.cancel(order_id)
    trader.settle()
    statuses = [row["status"] for event in socket.events("user") for row in event["orders"]]
    assert statuses == ["OPEN", "CANCEL_QUEUED", "CANCELLED"]


def test_a_pending_order_is_told_again_when_it_is_in_the_book(trader: Trader, socket: Socket) -> None:
    trader.face.switches.pending_s = 2.0
    socket.subscribe("user", signed=True)
    trader.limit("BUY", 1, "83000")
    trader.settle(3)
    statuses = [row["status"] for event in socket.events("user") for row in event["orders"]]
    assert statuses == ["PENDING", "OPEN"]


def test_the_balance_is_plain_strings_without_what_only_rest_has(trader: Trader, socket: Socket) -> None:
    socket.subscribe("futures_balance_summary", signed=True)
    trader.placed("BUY", 10)
    socket.wait(1)
    first, last = socket.events("futures_balance_summary")[0], socket.events("futures_balance_summary")[-1]
    assert (first["type"], last["type"]) == ("snapshot", "update")
    summary = last["fcm_balance_summary"]
    rest = trader.get("/cfm/balance_summary")["balance_summary"]
    assert summary["initial_margin"] == rest["initial_margin"]["value"] != "0"
    assert "funding_pnl" not in summary
    measure = summary["overnight_margin_window_measure"]
    assert measure["liquidation_buffer_percentage"] == rest["overnight_margin_window_measure"]["liquidation_buffer"]


def test_unsigned_messages_are_limited_by_address(trader: Trader, socket: Socket) -> None:
    trader.face.limits.enabled = True
    for _ in range(9):
        socket.subscribe("heartbeats")
    assert socket.errors == ["rate limit exceeded"]
    socket.subscribe("heartbeats", signed=True)
    assert len(socket.errors) == 1


@pytest.mark.parametrize(("kind", "expected"), [("gap", [0, 1, 3]), ("duplicate", [0, 1, 2, 2, 3])])
def test_faults_show_in_the_sequence(trader: Trader, socket: Socket, kind: str, expected: list[int]) -> None:
    socket.subscribe("user", signed=True)
    trader.face.faults.add(Rule(kind, method="user", count=1))
    trader.limit("BUY", 1, "83000")
    trader.limit("BUY", 1, "83005")
    socket.take()
    assert [frame["sequence_num"] for frame in socket.frames] == expected


def test_an_outage_cuts_every_connection(trader: Trader, socket: Socket) -> None:
    socket.subscribe("heartbeats")
    trader.face.faults.add(Rule("outage"))
    socket.wait(0.1)
    assert [close.cut for close in socket.closes] == [True]
    assert trader.face.sessions == []
    reply = trader.raw("GET", "/time")
    assert reply.cut


def test_another_portfolios_orders_are_not_told(trader: Trader, socket: Socket) -> None:
    other: Any = trader.other_key()
    mine = trader.key
    trader.key = other
    socket.subscribe("user", signed=True)
    trader.key = mine
    trader.limit("BUY", 1, "83000")
    assert len(socket.events("user")) == 1
    assert socket.events("user")[0]["orders"] == []
