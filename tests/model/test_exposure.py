"""Worst cases, net, gross, and the estimates of margin and liquidation."""

from __future__ import annotations

from decimal import Decimal as D
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpctl.model.exposure import (
    Holding,
    UnknownOrder,
    gross_notional,
    initial_margin,
    leverage,
    liquidation_distance_pct,
    liquidation_price,
    maintenance_margin,
    net_notional,
    product_worst,
    reaches,
    standard_rates,
)
from perpctl.model.order import Order, OrderRequest, OrderStatus, OrderType, Side

BTC, DATED, ETH = "BTC_USDC-PERPETUAL", "BTC_USDC-29JAN27", "ETH_USDC-PERPETUAL"


def held(size: str | D, product_id: str = BTC, price: str | None = "84100", slot: int | None = None) -> Holding:
    return Holding(product_id, product_id[:3], D(size), None if price is None else D(price), 0, slot)


def order(signed: str | D, filled: str = "0", status: OrderStatus = OrderStatus.OPEN, reduce: bool = False) -> Order:
    size = D(signed)
    side = Side.BUY if size > 0 else Side.SELL
    kind = OrderType.LIMIT
    return Order(
        "o", None, BTC, side, kind, status, abs(size), D(filled), D(84000), None, reduce, False, None, None, 0, 0
    )


def unknown(signed: str | D, product_id: str = BTC, reduce: bool = False) -> UnknownOrder:
    size = D(signed)
    side = Side.BUY if size > 0 else Side.SELL
    asked = OrderRequest("i", product_id, side, abs(size), OrderType.LIMIT, D(84000), reduce_only=reduce)
    return UnknownOrder(asked, 0)


@pytest.mark.parametrize(
    ("name", "holding", "working", "out", "low", "high"),
    [
        ("nothing out", "0.85", [], [], "0.85", "0.85"),
        ("both sides", "0.85", ["0.2", "-0.2"], [], "0.65", "1.05"),
        ("short", "-1", ["0.3", "-0.2"], [], "-1.2", "-0.7"),
        ("through zero", "0.1", ["-0.3"], [], "-0.2", "0.1"),
        ("unknown in full", "0.24", [], ["0.008"], "0.24", "0.248"),
    ],
)
def test_the_reach_of_a_position(
    name: str, holding: str, working: list[str], out: list[str], low: str, high: str
) -> None:
    reach = reaches([held(holding)], [order(one) for one in working], [unknown(one) for one in out])[BTC, None]
    assert (reach.low, reach.high) == (D(low), D(high))
    assert reach.worst == max(abs(D(low)), abs(D(high)))


def test_only_what_is_left_of_a_partly_filled_order_counts() -> None:
    reach = reaches([held("1")], [order("0.5", filled="0.2")], [])[BTC, None]
    assert reach.high == D("1.3")


def test_an_order_in_a_state_we_do_not_know_counts_and_an_ended_one_does_not() -> None:
    orders = [order("0.5", status=OrderStatus.UNKNOWN), order("0.7", status=OrderStatus.CANCELLED)]
    assert reaches([held("1")], orders, [])[BTC, None].high == D("1.5")


def test_reduce_only_orders_cannot_make_it_worse() -> None:
    reach = reaches([held("1")], [order("-5", reduce=True)], [unknown("5", reduce=True)])[BTC, None]
    assert (reach.low, reach.high) == (1, 1)


def test_an_order_without_a_position_is_valued_at_its_own_price() -> None:
    found = reaches([], [order("0.5")], [])
    assert gross_notional(found.values()) == D(42_000)


def test_an_order_in_another_slot_joins_the_underlying_that_a_holding_names() -> None:
    found = reaches([held("1", slot=3)], [order("0.5")], [])
    assert found[BTC, None].underlying == "BTC"
    assert product_worst(found.values(), BTC) == (0, D("1.5"))


def test_opposite_slots_of_a_product_do_not_hide_each_other() -> None:
    found = reaches([held("1"), held("-0.4", slot=3)], [], [])
    assert product_worst(found.values(), BTC) == (D("0.4"), D(1))
    assert gross_notional(found.values()) == D(84_100) * D("1.4")
    assert net_notional(found.values(), "BTC") == (D(84_100) * D("0.6"), D(84_100) * D("0.6"))


def test_the_net_of_an_underlying_takes_perpetual_and_dated_together() -> None:
    found = reaches([held("1"), held("-0.4", DATED, "85000"), held("9", ETH, "2960")], [], [])
    net = D(84_100) - D("0.4") * 85_000
    assert net_notional(found.values(), "BTC") == (net, net)


def test_without_a_price_there_is_no_net_and_no_gross() -> None:
    found = reaches([held("1", price=None)], [], [])
    assert net_notional(found.values(), "BTC") is None
    assert gross_notional(found.values()) is None
    assert gross_notional(reaches([held("0", price=None)], [], []).values()) == 0


def test_leverage_needs_equity() -> None:
    assert leverage(D(150), D(100)) == D("1.5")
    assert leverage(D(150), D(0)) is None


@given(
    st.decimals("-2", "2", places=4),
    st.lists(st.decimals("-1", "1", places=4).filter(bool), max_size=5),
    st.lists(st.decimals("-1", "1", places=4).filter(bool), max_size=2),
)
def test_no_mix_of_fills_leaves_the_reach_and_its_ends_are_reached(size: D, working: list[D], out: list[D]) -> None:
    reach = reaches([held(size)], [order(one) for one in working], [unknown(one) for one in out])[BTC, None]
    ends = {size + sum(mix, D(0)) for mix in product(*[(D(0), one) for one in [*working, *out]])}
    assert (min(ends), max(ends)) == (reach.low, reach.high)


# --- margin ----------------------------------------------------------------------------------------------------------


def test_margins_of_a_two_coin_account() -> None:
    btc, eth = standard_rates("BTC"), standard_rates("ETH")
    mark, other = D("84102.35"), D("2961.47")
    initial = [initial_margin(D("0.85"), mark, btc), initial_margin(D(-12), other, eth)]
    maintenance = [maintenance_margin(D("0.85"), mark, btc), maintenance_margin(D(-12), other, eth)]
    assert [round(amount, 2) for amount in initial] == [D("1432.78"), D("710.75")]
    assert [round(amount, 2) for amount in maintenance] == [D("717.91"), D("355.38")]


def test_liquidation_of_an_isolated_position() -> None:
    price = liquidation_price(D(150), D("140.05"), D("4027.50"), D(0), standard_rates("SOL"))
    assert price is not None
    assert round(price, 2) == D("114.34")
    distance = liquidation_distance_pct(D("140.05"), price)
    assert distance is not None
    assert round(distance, 1) == D("18.4")


@pytest.mark.parametrize(
    ("size", "mark", "equity", "other"),
    [("0.85", "84102.35", "108382.68", "355.38"), ("-12", "2961.47", "108382.68", "717.91"), ("0", "100", "5", "0")],
)
def test_no_liquidation_by_this_product_alone(size: str, mark: str, equity: str, other: str) -> None:
    assert liquidation_price(D(size), D(mark), D(equity), D(other), standard_rates("BTC")) is None
    assert liquidation_distance_pct(D(mark), None) is None


@pytest.mark.parametrize("size", ["10", "-10"])
def test_equity_below_maintenance_is_liquidation_here(size: str) -> None:
    assert liquidation_price(D(size), D(100), D(5), D(0), standard_rates("ETH")) == 100


@given(
    st.decimals("0.01", "50", places=2),
    st.decimals("10", "99999", places=1),
    st.decimals("1", "90", places=0),
    st.booleans(),
)
def test_at_the_liquidation_price_equity_meets_maintenance(size: D, mark: D, percent: D, short: bool) -> None:
    rates, signed = standard_rates("BTC"), -size if short else size
    equity = size * mark * percent / 100
    price = liquidation_price(signed, mark, equity, D(7), rates)
    if price is None or price == mark:
        return
    left = equity + signed * (price - mark)
    assert abs(left - D(7) - maintenance_margin(size, price, rates)) < D("1e-9")
    assert (price > mark) is short
