"""Money on the US face: the ledger to the cent, funding without a record, margin windows, sweeps, wallets."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import pytest

from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.terms.us import BIP
from tests.paper.advanced_trade.trader import BIP_ID, Refused, Trader, new_trader

D = Decimal


def figures(trader: Trader) -> dict[str, Decimal]:
    """The balance summary's money, as numbers."""
    summary = trader.get("/cfm/balance_summary")["balance_summary"]
    return {name: D(value["value"]) for name, value in summary.items() if isinstance(value, dict) and "value" in value}


def fills(trader: Trader) -> list[Any]:
    """Every fill, all pages."""
    rows: list[Any] = []
    cursor = ""
    while True:
        page = trader.get("/orders/historical/fills", limit=100, cursor=cursor)
        rows, cursor = rows + page["fills"], page["cursor"]
        if not cursor:
            return rows[::-1]


def realised_by_hand(rows: list[Any], contract: Decimal) -> tuple[Decimal, Decimal]:
    """(realised profit, contracts held) of fills alone, by average cost."""
    held, average, realised = D(0), D(0), D(0)
    for row in rows:
        size, price = D(row["size"]) * (1 if row["side"] == "BUY" else -1), D(row["price"])
        closing = min(abs(size), abs(held)) if size * held < 0 else D(0)
        realised += closing * contract * (price - average) * (1 if held > 0 else -1)
        rest = held + size
        if size * held < 0:
            average = average if abs(size) < abs(held) else price
        else:
            average = (average * abs(held) + price * abs(size)) / abs(rest)
        held = rest
    return realised, held


@pytest.mark.parametrize("seed", range(6))
def test_the_ledger_closes_to_the_cent_whatever_is_done(seed: int) -> None:
    trader, dice = new_trader("2026-09-30T14:30:00"), random.Random(seed)
    price = 84000
    for _ in range(120):
        act = dice.random()
        if act < 0.4:
            trader.order(dice.choice(("BUY", "SELL")), dice.randint(1, 40))
        elif act < 0.5:
            trader.order(dice.choice(("BUY", "SELL")), 5, "limit_limit_gtc", limit_price=str(price - 40))
        elif act < 0.6 and trader.listed(order_status="OPEN"):
            trader.cancel(trader.listed(order_status="OPEN")[0]["order_id"])
        else:
            price += 5 * dice.randint(-30, 30)
            trader.market(str(price), after_ms=dice.randint(1, 2_000_000), index=str(price - dice.randint(-60, 60)))
        trader.exchange.check_identity(MAIN_ACCOUNT)
    rows, shown = fills(trader), figures(trader)
    realised, held = realised_by_hand(rows, BIP.contract_size)
    assert held == trader.position()
    fees = sum((D(row["commission"]) for row in rows), D(0))
    (position,) = trader.get("/cfm/positions")["positions"] or [{"unrealized_pnl": "0"}]
    wallet_moved = D(25_000) - shown["cbi_usd_balance"]
    funding = sum((row.total_interest_pl or D(0) for row in trader.exchange.ledger(MAIN_ACCOUNT)), D(0))
    expected = 100_000 + wallet_moved + realised + D(position["unrealized_pnl"]) - fees + funding + shown["funding_pnl"]
    assert abs(expected - shown["available_margin"]) <= D("0.01")
    # What is shown adds up without a cent's difference.
    assert shown["cfm_usd_balance"] + shown["unrealized_pnl"] + shown["funding_pnl"] == shown["available_margin"]
    assert shown["cfm_usd_balance"] + shown["cbi_usd_balance"] == shown["total_usd_balance"]
    assert shown["liquidation_buffer_amount"] == shown["available_margin"] - shown["liquidation_threshold"]


def test_realised_profit_is_cash_at_once_and_a_days_figure_until_the_session_rolls(trader: Trader) -> None:
    trader.placed("BUY", 10)
    trader.market("84500")
    trader.placed("SELL", 10)
    shown = figures(trader)
    profit, fees = D("0.1") * (84500 - 84005), sum((D(row["commission"]) for row in fills(trader)), D(0))
    assert shown["daily_realized_pnl"] == profit
    assert shown["cfm_usd_balance"] == (100_000 + profit - fees).quantize(D("0.01"))
    trader.until("2026-09-30T20:59:59")
    assert figures(trader)["daily_realized_pnl"] == profit
    trader.until("2026-09-30T21:00:00")
    assert figures(trader)["daily_realized_pnl"] == 0
    assert figures(trader)["cfm_usd_balance"] == shown["cfm_usd_balance"]


def test_funding_shows_in_one_figure_until_it_is_cash_and_nowhere_else() -> None:
    trader = new_trader("2026-09-30T14:00:00")
    trader.placed("BUY", 100)
    trader.market("84084", index="84000")
    before = figures(trader)
    trader.until("2026-09-30T15:00:00")
    accrued = figures(trader)
    assert accrued["funding_pnl"] < 0
    assert accrued["cfm_usd_balance"] == before["cfm_usd_balance"]
    details = trader.get(f"/products/{BIP_ID}")["future_product_details"]
    assert D(details["funding_rate"]) > 0
    assert details["funding_time"] == "2026-09-30T15:00:00Z"
    assert details["perpetual_details"]["funding_rate"] == ""
    payment = -D(details["funding_rate"]) * 100 * D("0.01") * D("84084")
    assert accrued["funding_pnl"] == payment.quantize(D("0.01"))
    trader.until("2026-09-30T16:00:00")  # noon in New York
    booked = figures(trader)
    assert booked["funding_pnl"] == 0
    assert booked["cfm_usd_balance"] < accrued["cfm_usd_balance"] + accrued["funding_pnl"]
    assert len(fills(trader)) == 1  # funding is no fill
    assert booked["daily_realized_pnl"] == 0


def test_margin_follows_the_window_for_who_enrolled(trader: Trader) -> None:
    trader.placed("BUY", 10)
    notional = 10 * D("0.01") * 84000
    assert BIP.day_rates is not None
    assert BIP.night_rates is not None
    night, day = (notional * rate for rate in (BIP.night_rates.long, BIP.day_rates.long))
    assert figures(trader)["initial_margin"] == night.quantize(D("0.01"))
    assert trader.get("/cfm/intraday/margin_setting")["setting"] == "INTRADAY_MARGIN_SETTING_STANDARD"
    assert trader.post("/cfm/intraday/margin_setting", setting="INTRADAY_MARGIN_SETTING_INTRADAY") == {}
    assert figures(trader)["initial_margin"] == day.quantize(D("0.01"))
    window = trader.get("/cfm/intraday/current_margin_window")["margin_window"]
    assert window == {"margin_window_type": "MARGIN_WINDOW_TYPE_INTRADAY", "end_time": "2026-09-30T20:00:00Z"}
    measures = trader.get("/cfm/balance_summary")["balance_summary"]
    assert D(measures["overnight_margin_window_measure"]["initial_margin"]) == night.quantize(D("0.01"))
    trader.until("2026-09-30T20:00:00")
    assert figures(trader)["initial_margin"] == night.quantize(D("0.01"))
    window = trader.get("/cfm/intraday/current_margin_window")["margin_window"]
    assert window == {"margin_window_type": "MARGIN_WINDOW_TYPE_OVERNIGHT", "end_time": "2026-10-01T12:00:00Z"}
    with pytest.raises(Refused, match="400"):
        trader.post("/cfm/intraday/margin_setting", setting="NONE")
    trader.face.switches.change({"window_forbidden": True})
    with pytest.raises(Refused, match="403"):
        trader.get("/cfm/intraday/current_margin_window")


def test_a_liquidation_is_marked_and_no_order_can_be_entered_meanwhile() -> None:
    trader = new_trader()
    for _ in range(5):
        trader.placed("BUY", 100)
    for step in range(30):
        trader.market(str(84000 - 1000 * (step + 1)), after_ms=60_000)
    rows = trader.listed(order_types="LIQUIDATION", order_placement_source="RETAIL_ADVANCED")
    assert rows
    assert all(row["is_liquidation"] for row in rows)
    assert trader.position() < 500
    trader.exchange.check_identity(MAIN_ACCOUNT)


def test_a_pending_sweep_refuses_another_and_moves_cash_at_the_roll(trader: Trader) -> None:
    trader.post("/cfm/sweeps/schedule", usd_amount="1000")
    with pytest.raises(Refused, match="400"):
        trader.post("/cfm/sweeps/schedule", usd_amount="5")
    (row,) = trader.get("/cfm/sweeps")["sweeps"]
    assert (row["status"], row["scheduled_time"], row["should_sweep_all"]) == ("PENDING", "2026-09-30T21:00:00Z", False)
    assert figures(trader)["total_pending_transfers_amount"] == 1000
    trader.until("2026-09-30T21:00:00")
    assert trader.get("/cfm/sweeps")["sweeps"] == []
    shown = figures(trader)
    assert (shown["cbi_usd_balance"], shown["cfm_usd_balance"]) == (26_000, 99_000)
    assert trader.get("/accounts")["accounts"][0]["available_balance"]["value"] == "26000"
    trader.post("/cfm/sweeps/schedule")  # without an amount: everything that is free
    assert trader.get("/cfm/sweeps")["sweeps"][0]["should_sweep_all"] is True
    assert trader.delete("/cfm/sweeps") == {"success": True}
    with pytest.raises(Refused, match="404"):
        trader.delete("/cfm/sweeps")


def test_spot_money_moves_by_itself_when_an_order_needs_margin(trader: Trader) -> None:
    trader.placed("BUY", 550)
    shown = figures(trader)
    assert 0 < shown["cbi_usd_balance"] < 25_000
    assert shown["cfm_usd_balance"] > 100_000


def test_positions_of_all_futures_are_listed_and_flat_ones_are_not(trader: Trader) -> None:
    trader.placed("BUY", 2)
    trader.placed("SELL", 3, product_id="ETP-20DEC30-CDE")
    trader.placed("BUY", 1, product_id="BIT-25JUN27-CDE")
    trader.placed("SELL", 2)
    rows = {row["product_id"]: row for row in trader.get("/cfm/positions")["positions"]}
    assert {name: (row["side"], row["number_of_contracts"]) for name, row in rows.items()} == {
        "ETP-20DEC30-CDE": ("SHORT", "3"),
        "BIT-25JUN27-CDE": ("LONG", "1"),
    }
    with pytest.raises(Refused, match="404"):
        trader.get(f"/cfm/positions/{BIP_ID}")
