"""Limits: what the levels mean in money and coin, overrides by hand, and what is refused."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from perpctl.errors import SettingError
from perpctl.risk.bounds import Market, effective
from perpctl.risk.limits import KEYS, UNSET, Limits, RiskLevel, level_limits, unit_of, with_overrides

CONSERVATIVE, MODERATE, AGGRESSIVE = RiskLevel
BTC_MARKET = Market(reference=D(84_100), open_interest=D(502))


@pytest.mark.parametrize(
    ("equity", "level", "order", "position"),
    [
        (10_000, CONSERVATIVE, 1_000, "0.0595"),
        (10_000, MODERATE, 2_500, "0.1189"),
        (10_000, AGGRESSIVE, 5_000, "0.2378"),
        (100_000, CONSERVATIVE, 10_000, "0.5945"),
        (100_000, MODERATE, 25_000, "1.1891"),
        (100_000, AGGRESSIVE, 50_000, "2.3781"),
        (1_000_000, CONSERVATIVE, 25_000, "2.51"),
        (1_000_000, MODERATE, 100_000, "5.02"),
        (1_000_000, AGGRESSIVE, 250_000, "10.04"),
    ],
)
def test_what_the_levels_mean_for_btc_at_84_100(equity: int, level: RiskLevel, order: int, position: str) -> None:
    bounds = effective(level_limits(level), D(equity), BTC_MARKET)
    assert bounds.order_notional == order
    assert round(bounds.position_size, 4) == D(position)
    assert bounds.position_by == (
        "max_position_open_interest_pct" if equity == 1_000_000 else "max_position_notional_equity"
    )


def test_the_money_cap_binds_when_open_interest_is_large() -> None:
    bounds = effective(level_limits(AGGRESSIVE), D(2_000_000), Market(D(84_100), D(10_000)))
    assert (bounds.position_notional, bounds.position_by) == (D(2_000_000), "max_position_notional_usd")


def test_depth_inside_the_collar_bounds_an_order() -> None:
    bounds = effective(level_limits(MODERATE), D(100_000), Market(D(84_100), depth_notional=D(50_000)))
    assert (bounds.order_notional, bounds.order_by) == (D(10_000), "max_order_depth_pct")


@pytest.mark.parametrize(
    ("ramp", "order", "net"), [("0.25", 2_500, 12_500), ("0.5", 5_000, 25_000), ("1", 10_000, 50_000)]
)
def test_a_return_ramps_the_sizes_and_not_the_collar(ramp: str, order: int, net: int) -> None:
    full = effective(level_limits(CONSERVATIVE), D(100_000), BTC_MARKET)
    bounds = effective(level_limits(CONSERVATIVE), D(100_000), BTC_MARKET, D(ramp))
    assert (bounds.order_notional, bounds.net_notional) == (order, net)
    assert bounds.gross_notional == full.gross_notional * D(ramp)
    assert bounds.position_notional == full.position_notional * D(ramp)
    assert (bounds.price_low, bounds.price_high) == (full.price_low, full.price_high)


@pytest.mark.parametrize(
    ("low", "high", "want"),
    [
        (None, None, ("99.5", "100.5")),
        ("98.5", "101.5", ("99.5", "100.5")),
        ("99.8", "100.2", ("99.82", "100.18")),
        ("99.8", None, ("99.82", "100.5")),
    ],
)
def test_the_collar_stays_within_nine_tenths_of_the_way_to_the_band(
    low: str | None, high: str | None, want: tuple[str, str]
) -> None:
    market = Market(D(100), None, None if low is None else D(low), None if high is None else D(high))
    bounds = effective(level_limits(CONSERVATIVE), D(1), market)
    assert (bounds.price_low, bounds.price_high) == (D(want[0]), D(want[1]))


def test_limits_that_nobody_set_allow_nothing() -> None:
    bounds = effective(Limits(), D(1_000_000), BTC_MARKET)
    assert (bounds.order_notional, bounds.position_notional, bounds.gross_notional) == (0, 0, 0)
    assert Limits().unset == KEYS
    assert Limits().origin("max_spread_bp") == UNSET


@pytest.mark.parametrize("level", RiskLevel)
def test_a_level_sets_every_row_and_says_so(level: RiskLevel) -> None:
    limits = level_limits(level)
    assert limits.unset == ()
    assert {limits.origin(key) for key in KEYS} == {f"risk level {level.value}"}


@pytest.mark.parametrize("key", KEYS)
def test_levels_grow_looser_row_by_row(key: str) -> None:
    values = [getattr(level_limits(level), key) for level in RiskLevel]
    tightening = key in {"min_liquidation_distance_pct", "duplicate_window_s"}
    assert values == sorted(values, reverse=tightening)


@pytest.mark.parametrize("level", RiskLevel)
def test_a_stop_on_a_full_position_costs_less_than_the_kill_line(level: RiskLevel) -> None:
    limits = level_limits(level)
    assert limits.max_position_notional_equity * limits.stop_distance_pct < limits.day_loss_kill_pct


def test_an_override_changes_one_row_and_keeps_the_origin_of_the_others() -> None:
    limits = with_overrides(level_limits(CONSERVATIVE), {"max_spread_bp": "7.5"}, "config.toml line 12")
    assert limits.max_spread_bp == D("7.5")
    assert limits.origin("max_spread_bp") == "config.toml line 12"
    assert limits.origin("price_collar_pct") == "risk level conservative"
    assert limits.price_collar_pct == D("0.5")


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("max_sperad_bp", "5", "did you mean max_spread_bp"),
        ("nonsense", "5", "no limit is called"),
        ("max_spread_bp", "NaN", "not a finite number"),
        ("max_spread_bp", "inf", "not a finite number"),
        ("max_spread_bp", "", "not a number"),
        ("max_spread_bp", "5 bp", "unit bp"),
        ("max_spread_bp", "-1", "negative"),
        ("day_loss_reduce_pct", "-2", "negative"),
        ("max_margin_used_pct", "0.5", "write 50"),
        ("price_collar_pct", "0.005", "write 0.5"),
        ("max_margin_used_pct", "500", "too high for its unit, %"),
        ("max_position_notional_equity", "50", "too high for its unit, x equity"),
        ("stop_missing_s", "5000", "too high for its unit, s"),
        ("max_resting_entries", "2.5", "whole number"),
    ],
)
def test_a_broken_override_is_refused_and_names_the_key(key: str, value: str, says: str) -> None:
    with pytest.raises(SettingError, match=key) as error:
        with_overrides(level_limits(CONSERVATIVE), {key: value}, "config.toml")
    assert says in error.value.message
    assert "config.toml" in error.value.message
    assert error.value.not_done


def test_a_float_is_refused_because_it_is_not_exact() -> None:
    with pytest.raises(SettingError, match="not an exact number"):
        with_overrides(level_limits(CONSERVATIVE), {"max_spread_bp": 7.5})  # type: ignore[dict-item]


def test_loss_limits_may_be_set_wide_by_name() -> None:
    wide = {"day_loss_warn_pct": 100, "day_loss_reduce_pct": 100, "day_loss_kill_pct": 100, "drawdown_halt_pct": 100}
    assert with_overrides(level_limits(CONSERVATIVE), wide).day_loss_kill_pct == 100


def test_every_row_has_a_unit_that_its_name_carries() -> None:
    endings = {"%": "_pct", "bp": "_bp", "s": "_s", "min": "_min", "USD": "_usd", "x equity": "_equity", "/s": "_per_s"}
    for key in KEYS:
        unit = unit_of(key)
        assert key.endswith(endings.get(unit, "")), (key, unit)
