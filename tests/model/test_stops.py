"""Protective stops: which one a position needs, how far it is covered, and what to do about it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpctl.model.money import is_multiple
from perpctl.model.order import Order, OrderStatus, OrderType, Side
from perpctl.model.position import Position
from perpctl.model.stops import Remedy, coverage, remedy, required_stop, stop_price

P = "BTC_USDC-PERPETUAL"
TICK, PCT = D("0.1"), D(2)
LONG = Position(P, None, D("0.24"), D("84021.17"), D("84102.35"), *[None] * 8, True, 0, 0.0, underlying="BTC")
SHORT = replace(LONG, size=D("-0.24"))


def stop(side: Side = Side.SELL, size: str = "0.24", trigger: str = "82340.8", **change: Any) -> Order:
    order = Order(
        order_id=f"{side}{trigger}",
        identity=None,
        product_id=P,
        side=side,
        type=OrderType.STOP_MARKET,
        status=OrderStatus.UNTRIGGERED,
        size=D(size),
        filled=D(0),
        price=None,
        average_price=None,
        reduce_only=True,
        post_only=False,
        trigger_price=D(trigger),
        trigger="mark_price",
        created_ms=0,
        updated_ms=0,
    )
    return replace(order, **change)


def test_the_stop_of_a_long_and_of_a_short() -> None:
    long, short = required_stop(LONG, PCT, TICK), required_stop(SHORT, PCT, TICK)
    assert long is not None
    assert short is not None
    assert (long.side, long.size, long.trigger_price, long.beyond) == (Side.SELL, D("0.24"), D("82340.8"), False)
    assert (short.side, short.size, short.trigger_price, short.beyond) == (Side.BUY, D("0.24"), D("85701.5"), False)


@given(
    st.decimals("1", "150000", places=2),
    st.decimals("0.2", "9", places=1),
    st.sampled_from(["0.1", "0.5", "5"]),
    st.booleans(),
)
def test_a_stop_is_on_the_tick_and_loses_no_more_than_asked(entry: D, pct: D, tick: str, short: bool) -> None:
    size = D(-1) if short else D(1)
    trigger = stop_price(entry, size, pct, D(tick))
    loss = (entry - trigger) * size
    assert is_multiple(trigger, D(tick))
    assert loss <= entry * pct / 100
    assert loss > entry * pct / 100 - D(tick)


@pytest.mark.parametrize(("mark", "beyond"), [("82340.9", False), ("82340.8", True), ("80000", True)])
def test_a_market_past_the_trigger_is_said(mark: str, beyond: bool) -> None:
    needed = required_stop(replace(LONG, mark=D(mark)), PCT, TICK)
    assert needed is not None
    assert needed.beyond is beyond


@pytest.mark.parametrize("broken", [replace(LONG, entry_price=None), replace(LONG, units_agree=False)])
def test_nothing_is_sized_from_a_position_that_contradicts_itself(broken: Position) -> None:
    with pytest.raises(ValueError, match=P):
        required_stop(broken, PCT, TICK)
    with pytest.raises(ValueError, match=P):
        remedy(broken, [], PCT, TICK)


@pytest.mark.parametrize(
    ("name", "position", "orders", "fraction"),
    [
        ("none", LONG, [], "0"),
        ("whole", LONG, [stop()], "1"),
        ("half", LONG, [stop(size="0.12")], "0.5"),
        ("partly filled", LONG, [stop(filled=D("0.06"))], "0.75"),
        ("two halves", LONG, [stop(size="0.12"), stop(size="0.12", trigger="82000")], "1"),
        ("of a short", SHORT, [stop(Side.BUY, trigger="85701.5")], "1"),
        ("wrong side", LONG, [stop(Side.BUY)], "0"),
        ("not reduce-only", LONG, [stop(reduce_only=False)], "0"),
        ("a take-profit", LONG, [stop(type=OrderType.TAKE_MARKET)], "0"),
        ("cancelled", LONG, [stop(status=OrderStatus.CANCELLED)], "0"),
        ("in an unknown state", LONG, [stop(status=OrderStatus.UNKNOWN)], "0"),
        ("another product", LONG, [stop(product_id="ETH_USDC-PERPETUAL")], "0"),
        ("another slot", LONG, [stop(slot=3)], "0"),
        ("flat", replace(LONG, size=D(0)), [stop()], "0"),
    ],
)
def test_how_far_stops_cover(name: str, position: Position, orders: list[Order], fraction: str) -> None:
    assert coverage(position, orders).fraction == D(fraction)


def test_the_nearest_stop_is_the_one_shown() -> None:
    found = coverage(LONG, [stop(trigger="80000"), stop(trigger="82340.8")])
    assert found.trigger_price == D("82340.8")
    assert found.distance_pct is not None
    assert round(found.distance_pct, 1) == D("2.1")
    short = coverage(SHORT, [stop(Side.BUY, trigger="90000"), stop(Side.BUY, trigger="85701.5")])
    assert short.trigger_price == D("85701.5")


NEEDED = required_stop(LONG, PCT, TICK)


@pytest.mark.parametrize(
    ("name", "position", "orders", "want"),
    [
        ("bare", LONG, [], Remedy(NEEDED)),
        ("covered", LONG, [stop()], Remedy()),
        ("all but a hundredth", LONG, [stop(size="0.2376")], Remedy()),
        ("under-covered", LONG, [stop(size="0.2375")], Remedy(NEEDED, (stop(size="0.2375"),))),
        ("over-covered shrinks by itself", LONG, [stop(size="0.5")], Remedy()),
        ("tighter than asked", LONG, [stop(trigger="83900")], Remedy()),
        ("in profit", LONG, [stop(trigger="84050")], Remedy()),
        ("the entry moved a little", LONG, [stop(trigger="82180")], Remedy()),
        ("too far", LONG, [stop(trigger="82170")], Remedy(NEEDED, (stop(trigger="82170"),))),
        ("flat with a stop left", replace(LONG, size=D(0)), [stop()], Remedy(cancel=(stop(),))),
        ("flat", replace(LONG, size=D(0)), [], Remedy()),
    ],
)
def test_what_brings_it_in_order(name: str, position: Position, orders: list[Order], want: Remedy) -> None:
    assert remedy(position, orders, PCT, TICK) == want
    assert want.is_needed is (want != Remedy())


@given(
    st.decimals("-2", "2", places=4).filter(bool),
    st.lists(st.tuples(st.decimals("0.0001", "2", places=4), st.decimals("70000", "99000", places=1)), max_size=4),
)
def test_after_the_remedy_nothing_is_left_to_do(size: D, resting: list[tuple[D, D]]) -> None:
    position = replace(LONG, size=size)
    side = Side.SELL if size > 0 else Side.BUY
    orders = [stop(side, str(amount), str(at)) for amount, at in resting]
    first = remedy(position, orders, PCT, TICK)
    after = [order for order in orders if order not in first.cancel]
    if first.place is not None:
        after.append(stop(first.place.side, str(first.place.size), str(first.place.trigger_price)))
    assert coverage(position, after).is_enough
    assert not remedy(position, after, PCT, TICK).is_needed
