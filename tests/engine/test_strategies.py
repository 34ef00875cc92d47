"""The two strategies: what they wish for, what they spend of the day's orders, and how one of your own is chosen."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from perpctl.engine.strategies.quoter import Quoter, QuoterParams
from perpctl.engine.strategies.trend import MINUTE_MS, Trend, TrendParams
from perpctl.engine.strategy import View, algorithm_id, choose, params_hash
from perpctl.errors import UsageError
from perpctl.model.order import Side
from tests.risk.world import INSTRUMENT, NOW, QUOTE

VIEW = View(
    instrument=INSTRUMENT,
    quote=QUOTE,
    bid=D("84099.9"),
    ask=D("84100.1"),
    market_ms=NOW,
    position=D(0),
    entry_price=None,
    target_max=D("0.3"),
    max_order=D("0.1"),
    closed=frozenset(),
    may_increase=True,
    orders_left=500,
    orders_a_day=500,
    day_left=D("0.5"),
)


def at(mid: str, **change: object) -> View:
    return replace(VIEW, bid=D(mid) - D("0.1"), ask=D(mid) + D("0.1"), **change)


def test_the_quoter_quotes_both_sides_of_the_mid() -> None:
    low, high = Quoter().on_market(VIEW) or ()
    assert (low.side, high.side) == (Side.BUY, Side.SELL)
    assert low.price < VIEW.bid < VIEW.ask < high.price
    assert low.size == high.size == D("0.03")


def test_the_quoter_leans_against_its_inventory() -> None:
    flat = Quoter().on_market(VIEW) or ()
    long = Quoter().on_market(replace(VIEW, position=D("0.15"))) or ()
    assert long[0].price < flat[0].price
    assert long[1].price < flat[1].price


def test_a_full_quoter_only_quotes_the_way_out() -> None:
    wishes = Quoter().on_market(replace(VIEW, position=D("0.3"))) or ()
    assert [wish.side for wish in wishes] == [Side.SELL]


def test_the_quoter_leaves_what_stands_near_enough() -> None:
    quoter = Quoter()
    quoter.on_market(VIEW)
    assert quoter.on_market(at("84105")) is None
    assert quoter.on_market(at("84130")) is not None


def test_the_quoter_leaves_out_the_side_that_funding_closes_unless_it_leads_out() -> None:
    closed = frozenset({Side.BUY})
    assert [wish.side for wish in Quoter().on_market(replace(VIEW, closed=closed)) or ()] == [Side.SELL]
    short = replace(VIEW, closed=closed, position=D("-0.02"))
    out = (Quoter().on_market(short) or ())[0]
    assert (out.side, out.size) == (Side.BUY, D("0.02"))


def test_the_quoter_spends_its_share_of_the_day_evenly() -> None:
    assert Quoter().on_market(replace(VIEW, orders_left=500 - 179, day_left=D("0.5"))) is None
    assert Quoter().on_market(replace(VIEW, orders_left=500 - 179, day_left=D("0.1"))) is not None


def test_the_quoter_wishes_for_nothing_when_it_may_not_increase() -> None:
    assert Quoter().on_market(replace(VIEW, may_increase=False)) == ()


def trended(step: str, minutes: int = 60) -> tuple[Trend, D]:
    """A trend follower with an hour of closes that moved by `step` a minute, alternating a little."""
    trend, price = Trend(TrendParams(10, 30, 30, warm_up_minutes=20)), D(84_000)
    for minute in range(minutes):
        price += D(step) + (D(3) if minute % 2 else D(-3))
        trend.on_market(at(str(price), market_ms=NOW + minute * MINUTE_MS))
    return trend, price


@pytest.mark.parametrize(("step", "side"), [("20", Side.BUY), ("-20", Side.SELL)])
def test_the_trend_follower_goes_with_the_trend(step: str, side: Side) -> None:
    trend, price = trended(step)
    wishes = trend.on_market(at(str(price), market_ms=NOW + 60 * MINUTE_MS))
    assert wishes
    assert (wishes[0].side, wishes[0].take, wishes[0].size) == (side, True, D("0.1"))


def test_the_trend_follower_decides_once_a_minute() -> None:
    trend, price = trended("20")
    assert trend.on_market(at(str(price), market_ms=NOW + 60 * MINUTE_MS)) is not None
    assert trend.on_market(at(str(price), market_ms=NOW + 60 * MINUTE_MS + 500)) is None


def test_the_trend_follower_leaves_when_the_trend_turns() -> None:
    trend, price = trended("20")
    wishes = trend.on_market(at(str(price), market_ms=NOW + 60 * MINUTE_MS, position=D("-0.05")))
    assert wishes
    assert wishes[0].side is Side.BUY


def test_a_wild_market_gets_a_smaller_position() -> None:
    calm, wild = TrendParams(risk_a_day=D("0.03")), TrendParams(risk_a_day=D("0.0003"))
    sizes = []
    for params in (calm, wild):
        trend, price = Trend(replace(params, fast_minutes=10, slow_minutes=30, warm_up_minutes=20)), D(84_000)
        for minute in range(61):
            price += D(20) + (D(3) if minute % 2 else D(-3))
            wishes = trend.on_market(at(str(price), market_ms=NOW + minute * MINUTE_MS, max_order=D(1)))
        sizes.append(wishes[0].size if wishes else D(0))
    assert sizes[0] > sizes[1]


def test_history_warms_the_trend_follower_up() -> None:
    trend = Trend(TrendParams(10, 30, 30, warm_up_minutes=20))
    closes = [(NOW + minute * MINUTE_MS, D(84_000 + 20 * minute + 3 * (minute % 2))) for minute in range(60)]
    trend.warm_up(closes)
    assert trend.on_market(at("85200", market_ms=NOW + 60 * MINUTE_MS + 1)) is None
    assert trend.on_market(at("85220", market_ms=NOW + 61 * MINUTE_MS + 1))


def test_before_it_has_seen_enough_the_trend_follower_wishes_for_nothing() -> None:
    trend = Trend()
    for minute in range(30):
        assert not trend.on_market(at(str(84_000 + 20 * minute), market_ms=NOW + minute * MINUTE_MS))


def test_equal_parameters_are_one_algorithm_and_others_another() -> None:
    assert algorithm_id(Quoter()) == algorithm_id(Quoter())
    assert params_hash(Quoter()) != params_hash(Quoter(QuoterParams(slices=5)))


def test_a_strategy_of_ones_own_is_named_by_module_and_class() -> None:
    assert choose("tests.engine.bench:Scripted").name == "scripted"


@pytest.mark.parametrize("name", ["nonsense", "no.such.module:Class", "decimal:Decimal", "tests.engine.bench:Nobody"])
def test_what_is_no_strategy_is_refused_in_words(name: str) -> None:
    with pytest.raises(UsageError, match="strateg"):
        choose(name)
