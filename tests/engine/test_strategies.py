"""The two strategies: what they wish for, what they spend of the day's orders, and how one of your own is chosen."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from perpctl.engine.strategies.quoter import Quoter, QuoterParams
from perpctl.engine.strategies.trend import MINUTE_MS, Trend, TrendParams
from perpctl.engine.strategy import View, algorithm_id, choose, params_hash
from perpctl.errors import UsageError
from perpctl.model.order import Side
from tests.conftest import both_venues
from tests.risk.world import NOW, WORLDS, World


def seen(world: World, mid: str = "84100", **change: Any) -> View:
    """What a strategy is shown at this venue, two ticks wide."""
    view = View(
        instrument=world.instrument,
        quote=world.quote,
        bid=D(mid) - world.tick,
        ask=D(mid) + world.tick,
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
    return replace(view, **change)


@pytest.fixture
def world(venue: str) -> World:
    return WORLDS[venue]


@both_venues
def test_the_quoter_quotes_both_sides_of_the_mid(world: World) -> None:
    view = seen(world)
    low, high = Quoter().on_market(view) or ()
    assert (low.side, high.side) == (Side.BUY, Side.SELL)
    assert low.price < view.bid < view.ask < high.price
    assert low.size == high.size == D("0.03")


@both_venues
def test_the_quoter_leans_against_its_inventory(world: World) -> None:
    flat = Quoter().on_market(seen(world)) or ()
    long = Quoter().on_market(seen(world, position=D("0.15"))) or ()
    assert long[0].price < flat[0].price
    assert long[1].price < flat[1].price


@both_venues
def test_a_full_quoter_only_quotes_the_way_out(world: World) -> None:
    wishes = Quoter().on_market(seen(world, position=D("0.3"))) or ()
    assert [wish.side for wish in wishes] == [Side.SELL]


@both_venues
def test_the_quoter_leaves_what_stands_near_enough(world: World) -> None:
    quoter = Quoter()
    quoter.on_market(seen(world))
    assert quoter.on_market(seen(world, "84105")) is None
    assert quoter.on_market(seen(world, "84130")) is not None


@both_venues
def test_the_quoter_leaves_out_the_side_that_funding_closes_unless_it_leads_out(world: World) -> None:
    closed = frozenset({Side.BUY})
    assert [wish.side for wish in Quoter().on_market(seen(world, closed=closed)) or ()] == [Side.SELL]
    short = seen(world, closed=closed, position=D("-0.02"))
    out = (Quoter().on_market(short) or ())[0]
    assert (out.side, out.size) == (Side.BUY, D("0.02"))


@both_venues
def test_the_quoter_spends_its_share_of_the_day_evenly(world: World) -> None:
    assert Quoter().on_market(seen(world, orders_left=500 - 179, day_left=D("0.5"))) is None
    assert Quoter().on_market(seen(world, orders_left=500 - 179, day_left=D("0.1"))) is not None


@both_venues
def test_the_quoter_wishes_for_nothing_when_it_may_not_increase(world: World) -> None:
    assert Quoter().on_market(seen(world, may_increase=False)) == ()


def trended(world: World, step: str, minutes: int = 60) -> tuple[Trend, D]:
    """A trend follower with an hour of closes that moved by `step` a minute, alternating a little."""
    trend, price = Trend(TrendParams(10, 30, 30, warm_up_minutes=20)), D(84_000)
    for minute in range(minutes):
        price += D(step) + (D(3) if minute % 2 else D(-3))
        trend.on_market(seen(world, str(price), market_ms=NOW + minute * MINUTE_MS))
    return trend, price


@both_venues
@pytest.mark.parametrize(("step", "side"), [("20", Side.BUY), ("-20", Side.SELL)])
def test_the_trend_follower_goes_with_the_trend(world: World, step: str, side: Side) -> None:
    trend, price = trended(world, step)
    wishes = trend.on_market(seen(world, str(price), market_ms=NOW + 60 * MINUTE_MS))
    assert wishes
    assert (wishes[0].side, wishes[0].take, wishes[0].size) == (side, True, D("0.1"))


@both_venues
def test_the_trend_follower_decides_once_a_minute(world: World) -> None:
    trend, price = trended(world, "20")
    assert trend.on_market(seen(world, str(price), market_ms=NOW + 60 * MINUTE_MS)) is not None
    assert trend.on_market(seen(world, str(price), market_ms=NOW + 60 * MINUTE_MS + 500)) is None


@both_venues
def test_the_trend_follower_leaves_when_the_trend_turns(world: World) -> None:
    trend, price = trended(world, "20")
    wishes = trend.on_market(seen(world, str(price), market_ms=NOW + 60 * MINUTE_MS, position=D("-0.05")))
    assert wishes
    assert wishes[0].side is Side.BUY


@both_venues
def test_a_wild_market_gets_a_smaller_position(world: World) -> None:
    calm, wild = TrendParams(risk_a_day=D("0.03")), TrendParams(risk_a_day=D("0.0003"))
    sizes = []
    for params in (calm, wild):
        trend, price = Trend(replace(params, fast_minutes=10, slow_minutes=30, warm_up_minutes=20)), D(84_000)
        for minute in range(61):
            price += D(20) + (D(3) if minute % 2 else D(-3))
            wishes = trend.on_market(seen(world, str(price), market_ms=NOW + minute * MINUTE_MS, max_order=D(1)))
        sizes.append(wishes[0].size if wishes else D(0))
    assert sizes[0] > sizes[1]


@both_venues
def test_history_warms_the_trend_follower_up(world: World) -> None:
    trend = Trend(TrendParams(10, 30, 30, warm_up_minutes=20))
    closes = [(NOW + minute * MINUTE_MS, D(84_000 + 20 * minute + 3 * (minute % 2))) for minute in range(60)]
    trend.warm_up(closes)
    assert trend.on_market(seen(world, "85200", market_ms=NOW + 60 * MINUTE_MS + 1)) is None
    assert trend.on_market(seen(world, "85220", market_ms=NOW + 61 * MINUTE_MS + 1))


@both_venues
def test_before_it_has_seen_enough_the_trend_follower_wishes_for_nothing(world: World) -> None:
    trend = Trend()
    for minute in range(30):
        assert not trend.on_market(seen(world, str(84_000 + 20 * minute), market_ms=NOW + minute * MINUTE_MS))


def test_equal_parameters_are_one_algorithm_and_others_another() -> None:
    assert algorithm_id(Quoter()) == algorithm_id(Quoter())
    assert params_hash(Quoter()) != params_hash(Quoter(QuoterParams(slices=5)))


def test_a_strategy_of_ones_own_is_named_by_module_and_class() -> None:
    assert choose("tests.engine.bench:Scripted").name == "scripted"


@pytest.mark.parametrize("name", ["nonsense", "no.such.module:Class", "decimal:Decimal", "tests.engine.bench:Nobody"])
def test_what_is_no_strategy_is_refused_in_words(name: str) -> None:
    with pytest.raises(UsageError, match="strateg"):
        choose(name)
