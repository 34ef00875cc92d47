"""Reading orders, fills, money and the ledger."""

from __future__ import annotations

from decimal import Decimal

import pytest

from perpctl.paper.types import Print
from tests.paper.gateway.trader import BTC, ETH, Refused, Trader, new_trader

DAY_S = 86_400
WIDE = {"start_timestamp": 0, "end_timestamp": 10**13}


def test_histories_need_include_unfilled_to_show_what_never_filled(trader: Trader) -> None:
    trader.fill(label="filled")
    order_id = trader.order(label="gone")["order"]["order_id"]
    trader.http("private/cancel", order_id=order_id)
    known = [row["label"] for row in trader.http("private/get_order_history_by_currency", currency="USDC")]
    every = trader.http("private/get_order_history_by_instrument", instrument_name=BTC, include_unfilled=True)
    assert known == ["filled"]
    assert [row["label"] for row in every] == ["gone", "filled"]
    assert trader.http("private/get_order_history_by_currency", currency="BTC") == []


def test_a_history_can_be_read_page_by_page(trader: Trader) -> None:
    for number in range(5):
        trader.fill(label=str(number))
    asked = {"instrument_name": BTC, "count": 2, "with_continuation": True}
    first = trader.http("private/get_order_history_by_instrument", **asked)
    second = trader.http("private/get_order_history_by_instrument", **asked, continuation=first["continuation"])
    assert [row["label"] for row in first["orders"] + second["orders"]] == ["4", "3", "2", "1"]


def test_live_reads_forget_and_the_archive_lags(trader: Trader) -> None:
    trader.fill(label="old")
    recent = {"currency": "USDC"}
    archive = {"currency": "USDC", "historical": True}
    assert len(trader.http("private/get_order_history_by_currency", **recent)) == 1
    assert trader.http("private/get_order_history_by_currency", **archive) == []
    trader.venue.wait(3600)
    trader.auth()
    assert trader.http("private/get_order_history_by_currency", **recent) == []
    assert len(trader.http("private/get_order_history_by_currency", **archive)) == 1
    assert len(trader.http("private/get_user_trades_by_currency", **recent)["trades"]) == 1
    trader.venue.wait(DAY_S)
    trader.auth()
    assert trader.http("private/get_user_trades_by_currency", **recent)["trades"] == []
    assert len(trader.http("private/get_user_trades_by_currency", **archive)["trades"]) == 1


def test_fills_page_by_sequence_time_and_id(trader: Trader) -> None:
    for _ in range(4):
        trader.fill()
        trader.venue.wait(1)
    every = trader.http("private/get_user_trades_by_instrument", instrument_name=BTC, sorting="asc")["trades"]
    seqs = [row["trade_seq"] for row in every]
    assert seqs == sorted(seqs)
    newest = trader.http("private/get_user_trades_by_instrument", instrument_name=BTC, count=3)
    assert [row["trade_seq"] for row in newest["trades"]] == seqs[:0:-1]
    assert newest["has_more"] is True
    later = trader.http("private/get_user_trades_by_instrument", instrument_name=BTC, start_seq=seqs[2])
    assert len(later["trades"]) == 2
    timed = trader.http(
        "private/get_user_trades_by_instrument_and_time",
        instrument_name=BTC,
        start_timestamp=every[1]["timestamp"],
        end_timestamp=every[2]["timestamp"],
    )
    assert len(timed["trades"]) == 2
    by_id = trader.http("private/get_user_trades_by_currency", currency="USDC", start_id=every[3]["trade_id"])
    assert len(by_id["trades"]) == 1
    by_order = trader.http("private/get_user_trades_by_order", order_id=every[0]["order_id"])
    assert [row["trade_id"] for row in by_order] == [every[0]["trade_id"]]


def test_a_position_says_base_coin_in_size_currency_and_notional_in_size(trader: Trader) -> None:
    trader.fill("sell", amount=0.02)
    (row,) = trader.http("private/get_positions", currency="any", include_isolated=True)
    assert row["size_currency"] == Decimal("-0.02")
    assert row["size"] == -Decimal("0.02") * row["mark_price"]
    assert row["direction"] == "sell"
    assert row["estimated_liquidation_price"] is None
    assert trader.http("private/get_positions", currency="ETH") == []


def test_a_single_position_with_the_flag_is_the_isolated_one_only(trader: Trader) -> None:
    trader.fill(amount=0.02)
    trader.fill(amount=0.01, isolated=True, allocated_margin=100)
    cross = trader.http("private/get_position", instrument_name=BTC)
    isolated = trader.http("private/get_position", instrument_name=BTC, include_isolated=True)
    assert (cross["size_currency"], isolated["size_currency"]) == (Decimal("0.02"), Decimal("0.01"))
    assert isolated["isolated"] is True
    assert len(trader.http("private/get_positions")) == 1
    assert len(trader.http("private/get_positions", include_isolated=True)) == 2
    nothing = trader.http("private/get_position", instrument_name=ETH, include_isolated=True)
    assert (nothing["size"], nothing["direction"]) == (0, "zero")


def test_the_summary_adds_up_and_summaries_see_slots_only_when_asked(trader: Trader) -> None:
    trader.fill(amount=0.02)
    trader.market("84500.0")
    summary = trader.http("private/get_account_summary", currency="USDC", extended=True)
    assert summary["equity"] == summary["balance"] + summary["session_rpl"] + summary["session_upl"]
    assert summary["username"] == "paper"
    assert "username" not in trader.http("private/get_account_summary", currency="USDC")
    assert trader.http("private/get_account_summary", currency="BTC")["equity"] == 0
    trader.fill(amount=0.01, isolated=True, allocated_margin=100)
    bare = trader.http("private/get_account_summaries")["summaries"][0]
    whole = trader.http("private/get_account_summaries", include_isolated=True)["summaries"][0]
    assert bare["currency"] == "USDC"
    assert whole["equity"] - bare["equity"] > 90
    with pytest.raises(Refused):
        trader.http("private/get_account_summary", currency="DOGE")


def test_the_ledger_of_a_slot_is_read_by_its_subaccount_id(trader: Trader) -> None:
    trader.fill(amount=0.01, isolated=True, allocated_margin=100)
    assert len(trader.http("private/get_subaccounts")) == 1
    _, slot = trader.http("private/get_subaccounts", include_isolated=True, with_portfolio=True)
    assert slot["type"] == "subaccount"
    window = {"currency": "USDC", "start_timestamp": 0, "end_timestamp": 10**13}
    rows = trader.http("private/get_transaction_log", **window, subaccount_id=slot["id"])["logs"]
    assert "trade" in {row["type"] for row in rows}
    assert "trade" not in {row["type"] for row in trader.http("private/get_transaction_log", **window)["logs"]}
    with pytest.raises(Refused):
        trader.http("private/get_transaction_log", **window, subaccount_id=424242)


def test_the_ledger_is_newest_first_in_pages_and_wants_its_window(trader: Trader) -> None:
    for _ in range(3):
        trader.fill()
    with pytest.raises(Refused) as refused:
        trader.http("private/get_transaction_log", currency="USDC")
    assert refused.value.data == {"param": "start_timestamp", "reason": "value required"}
    window = {"currency": "USDC", "start_timestamp": 0, "end_timestamp": 10**13, "count": 2}
    first = trader.http("private/get_transaction_log", **window)
    second = trader.http("private/get_transaction_log", **window, continuation=first["continuation"])
    seqs = [row["user_seq"] for row in first["logs"] + second["logs"]]
    assert seqs == sorted(seqs, reverse=True)
    assert len(set(seqs)) == 4
    assert second["continuation"] is None
    assert [row["type"] for row in second["logs"]] == ["trade", "deposit"]
    assert len(trader.http("private/get_transaction_log", **window, query="deposit")["logs"]) == 1


def test_a_settlement_pays_the_session_into_cash_and_leaves_rows(trader: Trader) -> None:
    trader.fill(amount=0.1)
    trader.market("84400.0")
    trader.venue.wait(DAY_S)
    trader.auth()
    window = {"currency": "USDC", "start_timestamp": 0, "end_timestamp": 10**13, "query": "settlement"}
    (row,) = trader.http("private/get_transaction_log", **window)["logs"]
    assert row["type"] == "settlement"
    assert row["commission"] is None
    assert row["timestamp"] % (DAY_S * 1000) == 8 * 3600 * 1000
    assert "total_interest_pl" in row
    (settled,) = trader.http("private/get_settlement_history_by_currency", currency="USDC")["settlements"]
    assert settled["position"] == Decimal("0.1")
    by_name = trader.http("private/get_settlement_history_by_instrument", instrument_name=ETH)
    assert by_name["settlements"] == []


def test_leverage_is_read_set_and_reset(trader: Trader) -> None:
    assert trader.http("private/get_leverage", instrument_name=BTC) == {"instrument_name": BTC, "max_leverage": 50}
    assert trader.http("private/set_leverage", instrument_name=BTC, leverage=3) == 3
    assert trader.http("private/get_leverage", instrument_name=BTC)["leverage"] == 3
    assert [row["instrument_name"] for row in trader.http("private/get_leverage")] == [BTC]
    assert trader.http("private/set_leverage", instrument_name=BTC, leverage=None) is None
    assert trader.http("private/get_leverage") == []
    with pytest.raises(Refused) as refused:
        trader.http("private/set_leverage", instrument_name=BTC, leverage=51)
    assert refused.value.data["param"] == "leverage"


def test_margins_preview_an_order_with_its_fees_and_band(trader: Trader) -> None:
    found = trader.http("private/get_margins", instrument_name=BTC, amount=1, price=84000)
    assert found["buy"] > 0
    assert found["min_price"] < 84000 < found["max_price"]
    assert found["buy_maker_fee"] == Decimal("12.6")
    assert found["sell_taker_fee"] == Decimal("29.4")


def test_small_reads_have_their_documented_shapes(trader: Trader) -> None:
    assert trader.http("private/get_trading_limits", currency="USDC")["currency"] == "USDC"
    assert trader.http("private/get_pme_params") == {"enabled": False}
    assert trader.http("public/status") == {"locked": "false", "locked_indices": []}
    trader.venue.exchange.set_book_state(BTC, "locked", trader.venue.exchange.now)
    assert trader.http("public/status") == {"locked": "partial", "locked_indices": ["btc_usdc"]}


def test_market_reads_agree_with_each_other(trader: Trader) -> None:
    names = [row["instrument_name"] for row in trader.http("public/get_instruments", currency="USDC", kind="future")]
    assert {BTC, ETH, "SOL_USDC-PERPETUAL"} <= set(names)
    assert trader.http("public/get_instrument", instrument_name=BTC)["tick_size"] == Decimal("0.1")
    assert trader.http("public/get_instruments", currency="any", expired=True) == []
    book = trader.http("public/get_order_book", instrument_name=BTC, depth=1)
    row = trader.http("public/ticker", instrument_name=BTC)
    assert book["bids"] == [[row["best_bid_price"], row["best_bid_amount"]]]
    assert trader.http("public/get_index_price", index_name="btc_usdc")["index_price"] == row["index_price"]
    trader.fill()
    trade = trader.http("public/get_last_trades_by_instrument", instrument_name=BTC, count=1)["trades"][0]
    assert trade["price"] == Decimal("84000.1")
    now = trader.http("public/get_time")
    bars = trader.http(
        "public/get_tradingview_chart_data",
        instrument_name=BTC,
        start_timestamp=now - 60_000,
        end_timestamp=now,
        resolution="1",
    )
    assert bars["status"] == "ok"
    assert len({len(bars[name]) for name in ("ticks", "open", "high", "low", "close", "volume", "cost")}) == 1


def test_funding_rows_come_on_the_hour(trader: Trader) -> None:
    trader.venue.wait(3 * 3600)
    trader.auth()
    now = trader.http("public/get_time")
    window = {"instrument_name": BTC, "start_timestamp": now - 4 * 3_600_000, "end_timestamp": now}
    hours = trader.http("public/get_funding_rate_history", **window)
    assert [row["timestamp"] % 3_600_000 for row in hours] == [0, 0, 0]
    assert isinstance(trader.http("public/get_funding_rate_value", **window), int | Decimal)


def test_announcements_are_newest_first(trader: Trader) -> None:
    for number in range(3):
        trader.venue.gateway.announce(f"n{number}", "", important=False, wall_s=trader.venue.wall_s + number)
    titles = [row["title"] for row in trader.http("public/get_announcements", count=2)]
    assert titles == ["n2", "n1"]


def test_cash_moves_into_a_slot_once_for_each_nonce() -> None:
    trader = new_trader(permissions=("view", "trade", "transfer"))
    trader.fill(amount=0.01, isolated=True, allocated_margin=100)
    (slot,) = [row["id"] for row in trader.http("private/get_subaccounts", include_isolated=True)[1:]]
    moved = {"currency": "USDC", "amount": 25, "destination": slot, "nonce": "once"}
    before = trader.http("private/get_account_summary", currency="USDC")["balance"]
    first = trader.http("private/submit_transfer_between_subaccounts", **moved)
    assert trader.http("private/submit_transfer_between_subaccounts", **moved) == first
    assert before - trader.http("private/get_account_summary", currency="USDC")["balance"] == 25
    with pytest.raises(Refused):
        trader.http("private/submit_transfer_between_subaccounts", **(moved | {"destination": 99, "nonce": "x"}))


def test_moving_cash_needs_the_transfer_permission(trader: Trader) -> None:
    with pytest.raises(Refused) as refused:
        trader.http("private/submit_transfer_between_subaccounts", currency="USDC", amount=1, destination=5)
    assert refused.value.code == 13021


def test_sums_of_the_market_agree_with_what_they_sum_up(trader: Trader) -> None:
    trader.market("84010.0", prints=(Print("buy", Decimal(84010), Decimal(2)),))
    trader.venue.wait(26 * 3600)
    trader.auth()
    trader.market("84020.0", prints=(Print("sell", Decimal(84020), Decimal(3)),))
    ticker = trader.http("public/ticker", instrument_name=BTC)
    (summary,) = trader.http("public/get_book_summary_by_instrument", instrument_name=BTC)
    assert (summary["volume"], summary["last"], summary["bid_price"]) == (3, 84020, ticker["best_bid_price"])
    assert summary in trader.http("public/get_book_summary_by_currency", currency="USDC", kind="future")
    by_id = trader.http("public/get_order_book_by_instrument_id", instrument_id=211704)
    assert by_id["bids"] == trader.http("public/get_order_book", instrument_name=BTC)["bids"]
    by_currency = trader.http("public/get_last_trades_by_currency", currency="USDC", count=100)["trades"]
    assert [row["amount"] for row in by_currency] == [3, 2]
    first = by_currency[0]["trade_id"]
    found = trader.http("public/get_last_trades_by_currency", currency="USDC", start_id=first)["trades"]
    assert [row["trade_id"] for row in found] == [first]
    assert trader.http("public/get_trade_volumes")[0] | {"currency": "BTC"} == {
        "currency": "BTC", "futures_volume": 3, "spot_volume": 0, "calls_volume": 0, "puts_volume": 0,
    }  # fmt: skip
    prices = trader.http("public/get_delivery_prices", index_name="btc_usdc")
    assert (prices["records_total"], prices["data"][0]["delivery_price"]) == (1, 84010)
    assert len(trader.http("public/get_index_chart_data", index_name="btc_usdc", range="1d")) == 24
    assert len(trader.http("public/get_funding_chart_data", instrument_name=BTC, length="8h")["data"]) == 8
    assert trader.http("public/get_mark_price_history", instrument_name=BTC, **WIDE) == []
    assert trader.http("public/get_expirations", currency="USDC", kind="future") == {"future": ["25JUN27", "PERPETUAL"]}
    with pytest.raises(Refused):
        trader.http("public/get_delivery_prices", index_name="gold")


def test_the_largest_order_told_is_one_that_passes_and_a_larger_one_does_not(trader: Trader) -> None:
    told = trader.http("private/get_max_order_size", instrument_name=BTC)["max_tradable_amount"]["buy_notional"]
    amount = told / 84_000  # at the mark
    with pytest.raises(Refused) as refused:
        trader.order(amount=round(float(amount * Decimal("1.0001")), 3))
    assert refused.value.code == 10009
    order_id = trader.order(amount=round(float(amount * Decimal("0.9999")), 3))["order"]["order_id"]
    (margin,) = trader.http("private/get_order_margin_by_ids", ids=[order_id])
    assert margin["initial_margin"] > 0
    assert margin["initial_margin_currency"] == "USDC"
    (own,) = trader.http("private/get_subaccounts_details", currency="USDC", with_open_orders=True)
    assert [order["order_id"] for order in own["open_orders"]] == [order_id]


def test_another_margin_model_is_refused_as_not_implemented(trader: Trader) -> None:
    (state,) = trader.http("private/change_margin_model", margin_model="cross_sm", dry_run=True)
    assert state["old_state"] == state["new_state"]
    with pytest.raises(Refused) as refused:
        trader.http("private/change_margin_model", margin_model="cross_pm", dry_run=True)
    assert refused.value.code == 10033


def test_a_mass_cancel_by_currency_pair_takes_that_pair_and_leaves_slots(trader: Trader) -> None:
    trader.order(isolated=True, allocated_margin=500)
    trader.order()
    trader.order(instrument_name="ETH_USDC-PERPETUAL", price=2500)
    assert trader.http("private/cancel_all_by_currency_pair", currency_pair="btc_usdc") == 1
    left = trader.http("private/get_open_orders", include_isolated=True)
    assert sorted((row["instrument_name"], bool(row.get("isolated"))) for row in left) == [
        (BTC, True),
        ("ETH_USDC-PERPETUAL", False),
    ]
