"""One connection: life, heartbeat, cancel-on-disconnect, channels."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from perpctl.paper.gateway.session import Close
from perpctl.paper.types import Print
from tests.paper.gateway.trader import BTC, Refused, Socket, Trader

RESTING = {"instrument_name": BTC, "amount": 0.01, "price": 83500, "post_only": True}


def beats(socket: Socket) -> list[str]:
    socket.take()
    return [frame["params"]["type"] for frame in socket.frames if frame.get("method") == "heartbeat"]


def test_each_host_refuses_what_belongs_to_the_other(trader: Trader) -> None:
    private, streams = trader.open(), trader.open("streams")
    for socket, method in ((private, "public/subscribe"), (streams, "public/ticker"), (streams, "public/auth")):
        with pytest.raises(Refused) as refused:
            socket.call(method, channels=[])
        assert refused.value.code == -32601
    assert streams.call("public/test")["version"]


def test_refused_channels_are_left_out_without_a_word(trader: Trader) -> None:
    private, streams = trader.open(), trader.open("streams")
    asked = ["user.changes.any.any.raw", "user.nonsense", "ticker.BTC_USDC-PERPETUAL.100ms", "user.liquidation"]
    assert private.call("private/subscribe", channels=asked) == asked[:1]
    public = ["ticker.NONE.100ms", f"ticker.{BTC}.100ms", f"book.{BTC}.none.7.100ms", "user.lock"]
    assert streams.call("public/subscribe", channels=public) == public[1:2]
    assert streams.call("public/unsubscribe", channels=public) == public[1:2]


def test_raw_needs_the_private_socket(trader: Trader) -> None:
    with pytest.raises(Refused) as refused:
        trader.open("streams").call("public/subscribe", channels=[f"book.{BTC}.raw"])
    assert refused.value.code == 13778
    assert trader.open().call("private/subscribe", channels=[f"book.{BTC}.raw"]) == [f"book.{BTC}.raw"]


def test_a_silent_socket_is_closed_with_1011(trader: Trader) -> None:
    socket = trader.open()
    trader.venue.wait(29)
    assert not socket.session.closed
    trader.venue.wait(2)
    socket.take()
    assert socket.closes == [Close(1011, "idle")]


def test_an_unanswered_test_request_closes_the_socket_and_cancels_its_orders(trader: Trader) -> None:
    socket = trader.open()
    socket.call("public/set_heartbeat", interval=10)
    socket.call("private/enable_cancel_on_disconnect")
    socket.call("private/buy", **RESTING)
    trader.venue.wait(5)
    trader.venue.wait(5)
    assert beats(socket) == ["heartbeat", "test_request"]
    socket.call("public/test")
    trader.venue.wait(6)
    assert not socket.session.closed
    trader.venue.wait(4)
    socket.call("private/get_positions")  # another message is not an answer
    trader.venue.wait(6)
    socket.take()
    assert socket.closes
    assert trader.http("private/get_open_orders") == []


def test_a_heartbeat_faster_than_ten_seconds_is_refused(trader: Trader) -> None:
    with pytest.raises(Refused):
        trader.open().call("public/set_heartbeat", interval=9)


def test_cancel_on_disconnect_takes_this_sockets_orders_and_no_others(trader: Trader) -> None:
    armed, other = trader.open(), trader.open()
    armed.call("private/enable_cancel_on_disconnect")
    assert armed.call("private/get_cancel_on_disconnect") == {"scope": "connection", "enabled": True}
    assert other.call("private/get_cancel_on_disconnect")["enabled"] is False
    armed.call("private/buy", **RESTING, label="mine")
    armed.call("private/buy", **RESTING, label="isolated", isolated=True, allocated_margin=50)
    other.call("private/buy", **RESTING, label="other socket")
    trader.order(label="over http")
    armed.session.lost()
    left = trader.http("private/get_open_orders", include_isolated=True)
    assert sorted(order["label"] for order in left) == ["other socket", "over http"]
    (gone,) = trader.http("private/get_order_state_by_label", currency="USDC", label="mine")
    assert gone["cancel_reason"] == "cancel_on_disconnect"
    other.session.lost()
    assert len(trader.http("private/get_open_orders")) == 2


def test_cancel_on_disconnect_survives_the_end_of_the_sockets_credential(trader: Trader) -> None:
    socket = trader.open()
    socket.call("private/enable_cancel_on_disconnect")
    socket.call("private/buy", **RESTING)
    for _ in range(155):
        trader.venue.wait(20)
        socket.call("public/test")
    socket.session.lost()
    trader.auth()
    assert trader.http("private/get_open_orders") == []


def test_account_scope_arms_sockets_opened_later_and_not_this_one(trader: Trader) -> None:
    before = trader.open()
    before.call("private/enable_cancel_on_disconnect", scope="account")
    assert before.call("private/get_cancel_on_disconnect", scope="account")["enabled"] is True
    assert before.call("private/get_cancel_on_disconnect")["enabled"] is False
    after = trader.open()
    assert after.call("private/get_cancel_on_disconnect")["enabled"] is True
    after.call("private/disable_cancel_on_disconnect", scope="account")
    assert trader.open().call("private/get_cancel_on_disconnect")["enabled"] is False


def test_logout_closes_with_1000_says_nothing_and_keeps_the_orders(trader: Trader) -> None:
    socket = trader.open()
    socket.call("private/enable_cancel_on_disconnect")
    socket.call("private/buy", **RESTING)
    frames = len(socket.frames)
    assert socket.call("private/logout") is None
    assert len(socket.frames) == frames
    assert socket.closes == [Close(1000, "logout")]
    assert len(trader.http("private/get_open_orders")) == 1


def test_a_malformed_frame_gets_an_error_and_the_socket_lives(trader: Trader) -> None:
    socket = trader.open()
    socket.take(socket.session.receive("{", trader.venue.wall_s))
    assert socket.frames[-1]["error"]["code"] == -32700
    assert socket.call("public/test")


def test_raw_changes_tell_order_fill_and_position_together(trader: Trader) -> None:
    socket = trader.open()
    socket.call("private/subscribe", channels=["user.changes.any.any.raw", f"user.trades.{BTC}.raw"])
    trader.fill(label="seen")
    (change,) = socket.heard("user.changes.any.any.raw")
    assert change["instrument_name"] == BTC
    assert change["orders"][-1]["order_state"] == "filled"
    assert change["trades"][0]["label"] == "seen"
    assert change["positions"][0]["size_currency"] == Decimal("0.01")
    (trades,) = socket.heard(f"user.trades.{BTC}.raw")
    assert isinstance(trades, list)


def test_raw_orders_come_one_at_a_time_and_timed_ones_in_a_list(trader: Trader) -> None:
    socket = trader.open()
    channels = ["user.orders.any.any.raw", "user.orders.future.USDC.100ms", "user.orders.future.BTC.100ms"]
    assert socket.call("private/subscribe", channels=channels) == channels
    trader.venue.wait(1)
    trader.order(label="a")
    trader.order(label="b")
    assert [row["label"] for row in socket.heard(channels[0])] == ["a", "b"]
    assert socket.heard(channels[1]) == []
    trader.venue.wait(0.2)
    (batch,) = socket.heard(channels[1])
    assert [row["label"] for row in batch] == ["a", "b"]
    assert socket.heard(channels[2]) == []


def test_isolated_channels_tell_of_slots_only(trader: Trader) -> None:
    socket = trader.open()
    channels = ["user.isolated.changes.any.USDC.raw", "user.changes.any.USDC.raw", "user.isolated.portfolio.USDC"]
    assert socket.call("private/subscribe", channels=channels) == channels
    trader.order(label="cross")
    trader.fill(label="slot", isolated=True, allocated_margin=100)
    isolated = {row["label"] for change in socket.heard(channels[0]) for row in change["orders"]}
    cross = {row["label"] for change in socket.heard(channels[1]) for row in change["orders"]}
    assert (isolated, cross) == ({"slot"}, {"cross"})
    trader.venue.wait(2)
    assert socket.heard(channels[2])[-1]["currency"] == "USDC"


def test_a_book_is_rebuilt_from_snapshot_and_changes_without_a_gap(trader: Trader) -> None:
    streams = trader.open("streams")
    channel = f"book.{BTC}.100ms"
    streams.call("public/subscribe", channels=[channel])
    for step in range(20):
        trader.market(f"{84000 + step * 7}.0")
        trader.order(label="own", price=83950 - step)
        trader.venue.wait(0.2)
        if step % 4 == 3:
            trader.venue.wait(1)
    messages = streams.heard(channel)
    assert messages[0]["type"] == "snapshot"
    assert "prev_change_id" not in messages[0]
    sides: dict[str, dict[Decimal, Decimal]] = {"bids": {}, "asks": {}}
    last = None
    for message in messages:
        assert message.get("prev_change_id") == last
        last = message["change_id"]
        for side, levels in sides.items():
            for action, price, amount in message[side]:
                assert (action == "new") == (price not in levels)
                if action == "delete":
                    del levels[price]
                else:
                    levels[price] = amount
    truth = trader.venue.exchange.book(BTC, 1000)
    assert sides == {"bids": dict(truth.bids), "asks": dict(truth.asks)}


def test_subscribing_again_brings_a_fresh_snapshot(trader: Trader) -> None:
    streams = trader.open("streams")
    channel = f"book.{BTC}.100ms"
    for _ in range(2):
        streams.call("public/subscribe", channels=[channel])
    assert [message["type"] for message in streams.heard(channel)] == ["snapshot", "snapshot"]


def test_market_channels_tell_of_a_tick(trader: Trader) -> None:
    streams = trader.open("streams")
    channels = [
        f"ticker.{BTC}.100ms",
        f"incremental_ticker.{BTC}",
        f"quote.{BTC}",
        f"trades.{BTC}.100ms",
        "trades.future.any.100ms",
        f"perpetual.{BTC}.100ms",
        f"chart.trades.{BTC}.1",
        "deribit_price_index.btc_usdc",
        f"book.{BTC}.none.10.100ms",
        f"book.{BTC}.10.1.agg2",
    ]
    assert streams.call("public/subscribe", channels=channels) == channels
    trader.market("84010.0", prints=(Print("buy", Decimal("84000.1"), Decimal("0.5")),))
    trader.venue.wait(1.2)
    heard = {channel: streams.heard(channel) for channel in channels}
    assert all(heard.values())
    assert heard[f"incremental_ticker.{BTC}"][0]["type"] == "snapshot"
    change = heard[f"incremental_ticker.{BTC}"][1]
    assert change["type"] == "change"
    assert "state" not in change
    assert heard[f"trades.{BTC}.100ms"][0][0]["amount"] == Decimal("0.5")
    assert heard[f"quote.{BTC}"][-1]["best_bid_price"] == 84010
    assert len(heard[f"book.{BTC}.none.10.100ms"][-1]["bids"][0]) == 2
    assert heard[f"book.{BTC}.10.1.agg2"][-1]["bids"][0][0] == 84010


def test_locks_states_and_announcements_are_told(trader: Trader) -> None:
    private, streams = trader.open(), trader.open("streams")
    private.call("private/subscribe", channels=["user.lock"])
    streams.call("public/subscribe", channels=["platform_state", "instrument.state.any.any", "announcements"])
    exchange, gateway = trader.venue.exchange, trader.venue.gateway
    exchange.lock_account(1, exchange.now, locked=True)
    exchange.set_book_state(BTC, "locked", exchange.now)
    exchange.set_maintenance(True, exchange.now)
    gateway.publish()
    gateway.announce("Release", "soon", important=True, wall_s=1.0)
    assert private.heard("user.lock") == [{"currency": "ALL", "locked": True}]
    assert streams.heard("platform_state") == [{"price_index": "btc_usdc", "locked": True}, {"maintenance": True}]
    assert streams.heard("instrument.state.any.any")[0]["state"] == "locked"
    assert streams.heard("announcements")[0]["action"] == "new"


def test_the_access_log_tells_of_good_and_bad_sign_ins(trader: Trader) -> None:
    socket = trader.open(auth=False)
    with pytest.raises(Refused):
        socket.call("public/auth", grant_type="coinbase_cdp", token="rubbish")
    socket.auth()
    log = socket.call("private/get_access_log", count=2)
    assert [row["result"] for row in log["data"]] == ["success", "failed"]
    assert log["records_total"] == 3  # the trader signed in over HTTP before


def test_replies_echo_their_ids(trader: Trader) -> None:
    socket = trader.open()
    request = {"jsonrpc": "2.0", "id": "text id", "method": "public/test", "params": {}}
    socket.take(socket.session.receive(json.dumps(request).encode(), trader.venue.wall_s))
    assert socket.frames[-1]["id"] == "text id"


def test_notifications_repeat_the_label_of_their_subscription(trader: Trader) -> None:
    streams = trader.open("streams")
    streams.call("public/subscribe", channels=[f"quote.{BTC}"], label="mine")
    assert streams.frames[-1]["params"]["label"] == "mine"
