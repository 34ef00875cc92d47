"""What the platform limits or switches off: sessions of a key, calls of strangers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from tests.paper.gateway.trader import BTC, Refused, Trader


def test_the_seventeenth_session_of_a_key_is_refused_until_one_ends(trader: Trader) -> None:
    sockets = [trader.open() for _ in range(16)]
    late = trader.open(auth=False)
    with pytest.raises(Refused) as refused:
        late.auth()
    assert (refused.value.code, refused.value.message) == (12003, "login_over_limit")
    sockets[3].auth()  # signing in again on a socket that is in is no new session
    sockets[5].session.lost()
    assert late.auth()["token_type"] == "bearer"


def test_another_key_and_the_streams_host_are_not_counted(trader: Trader) -> None:
    for _ in range(16):
        trader.open()
    other = trader.venue.keys.add("ed25519", ("view",), 1, datetime(2026, 9, 1, tzinfo=UTC))
    assert trader.open(auth=False).auth(other)["expires_in"] == 3000
    assert trader.open("streams").call("public/test")["version"]


def test_calls_of_strangers_can_be_switched_off_and_a_token_helps(trader: Trader) -> None:
    streams = trader.open("streams")
    streams.call("public/subscribe", channels=["platform_state.public_methods_state"])
    trader.venue.gateway.let_strangers_in(False)
    with pytest.raises(Refused) as refused:
        trader.http("public/ticker", token="", instrument_name=BTC)
    assert refused.value.code == 11056
    assert trader.http("public/ticker", instrument_name=BTC)["instrument_name"] == BTC
    assert trader.http("public/get_time", token="")
    assert streams.heard("platform_state.public_methods_state") == [{"allow_unauthenticated_public_requests": False}]
    trader.venue.gateway.let_strangers_in(True)
    assert trader.http("public/ticker", token="", instrument_name=BTC)


def test_a_login_is_told_to_those_who_watch_for_it(trader: Trader) -> None:
    socket = trader.open()
    socket.call("private/subscribe", channels=["user.access_log", "user.position_lock"])
    trader.auth()
    with pytest.raises(Refused):
        trader.exchange_jwt("rubbish")
    told = socket.heard("user.access_log")
    assert [row["log"] for row in told] == ["success", "failed"]
    assert set(told[0]) == {"id", "ip", "country", "city", "timestamp", "log"}
    trader.venue.exchange.lock_account(1, trader.venue.exchange.now, locked=False, position_locked=True)
    trader.venue.gateway.publish()
    assert socket.heard("user.position_lock") == [{"currency": "ALL", "locked": True}]


def test_a_trailing_stop_tells_where_its_trigger_has_moved(trader: Trader) -> None:
    trader.fill()
    socket = trader.open()
    socket.call("private/subscribe", channels=["user.trailing_orders.trigger_price.any"])
    trader.order("sell", type="trailing_stop", trigger="mark_price", trigger_offset=100, price=None, post_only=None)
    for bid in ("84200.0", "84150.0", "84300.0"):
        trader.market(bid)
    told = socket.heard("user.trailing_orders.trigger_price.any")
    assert [float(row["trigger_price"]) for row in told] == [83900.0, 84100.0, 84200.0]


def test_forced_transfers_of_a_slot_are_told_and_written_down(trader: Trader) -> None:
    socket = trader.open()
    socket.call("private/subscribe", channels=["user.isolated.liquidation"])
    trader.fill(amount=0.5, isolated=True, allocated_margin=1000)
    (slot,) = trader.venue.exchange.slot_ids(1)
    trader.market("82500.0")
    states = [row["state"] for row in socket.heard("user.isolated.liquidation")]
    assert states[:2] == ["liquidation_started", "lsp_transfer"]
    told = socket.heard("user.isolated.liquidation")[1]
    window = {"currency": "USDC", "start_timestamp": 0, "end_timestamp": 10**13, "subaccount_id": slot}
    logs = trader.http("private/get_transaction_log", **window)["logs"]
    rows = {row["type"]: row for row in logs}
    moved = rows["LSP transfer"]
    assert (moved["role"], moved["side"], moved["order_id"], moved["trade_id"]) == ("source", "close sell", None, None)
    assert (moved["amount"], moved["price"]) == (told["amount"], told["price"])
    assert "user_role" not in moved
    assert rows["LSP commission"]["change"] == -told["commission"]
