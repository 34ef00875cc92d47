"""Margin after a move: exact where it can be, unknown where a part is missing, and the venue's figures win."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perpctl.model.exposure import MarginRates, standard_rates
from perpctl.model.venue.margin import (
    Balance,
    MarginMeasure,
    Part,
    WindowRates,
    after_move,
    dearest,
    move_to_liquidation,
    part_in,
    rates_for,
    shared_out,
)

# The `us` desk: 1.2 BTC long, 8 ETH short, 0.1 BTC short; figures of its margin screen.
INTRADAY = MarginMeasure("intraday", D("13317.07"), D("11985.37"))
OVERNIGHT = MarginMeasure("overnight", D("34867.57"), D("31380.81"))
EQUITY = D("61932.10")
NIGHT = WindowRates(
    "overnight",
    MarginRates(D("0.245625"), D("0.2210625"), D(0)),
    MarginRates(D("0.306375"), D("0.2757375"), D(0)),
)
DAY = WindowRates("intraday", MarginRates(D("0.1"), D("0.09"), D(0)), MarginRates(D("0.1"), D("0.09"), D(0)))

prices = st.decimals("0.01", "200000", places=2)
sizes = st.decimals("-50", "50", places=4)
shares = st.decimals("0.001", "0.9", places=4)


@st.composite
def parts(draw: st.DrawFn) -> Part:
    size, price, share = draw(sizes), draw(prices), draw(shares)
    initial = abs(size) * price * share
    return Part("P", size, price, initial, initial / 2)


some_parts = st.lists(parts(), max_size=4)
moves = st.decimals("-0.99", "1", places=4)


def balance(all_parts: list[Part], equity: D, orders: D = D(0)) -> Balance:
    initial = sum((one.initial or D(0) for one in all_parts), orders)
    maintenance = sum((one.maintenance or D(0) for one in all_parts), D(0))
    return Balance(equity, MarginMeasure(None, initial, maintenance))


def test_the_figures_of_the_desk() -> None:
    now, later = Balance(EQUITY, INTRADAY), Balance(EQUITY, OVERNIGHT)
    assert now.buffer == D("49946.73")
    assert later.buffer == D("30551.29")
    assert (round(now.used_pct or D(0), 1), round(later.used_pct or D(0), 1)) == (D("21.5"), D("56.3"))
    assert later.cash_needed(D(60)) == 0
    assert round(later.cash_needed(D(50)), 2) == D("7803.04")
    assert dearest([INTRADAY, OVERNIGHT]) is OVERNIGHT


def test_cash_paid_in_brings_the_margin_used_down_to_the_limit() -> None:
    short = Balance(D("50940.00"), MarginMeasure(None, D("33902.40"), D(0)))
    needed = short.cash_needed(D(60))
    assert round(needed, 2) == D("5564.00")
    assert Balance(short.equity + needed, short.measure).used_pct == D(60)


def test_no_limit_is_no_division() -> None:
    with pytest.raises(ValueError, match="no share"):
        Balance(D(1), INTRADAY).cash_needed(D(0))


def test_without_equity_nothing_can_be_said_in_percent_of_it() -> None:
    assert Balance(D(0), INTRADAY).used_pct is None
    assert Balance(D(-5), INTRADAY).used_pct is None
    assert Balance(D(-5), INTRADAY).is_liquidated


def test_an_account_without_positions_is_not_liquidated() -> None:
    assert not Balance(D(0), MarginMeasure(None, D(0), D(0))).is_liquidated


def test_ten_percent_down_on_one_bitcoin() -> None:
    part = Part("BTC", D(1), D(84_000), D(1_684), D(844))
    moved = after_move(Balance(D(100_000), MarginMeasure(None, D(2_000), D(844))), [part], [D("-0.10")])
    assert moved is not None
    assert moved.equity == D(91_600)
    assert moved.measure.initial == D("1831.6")  # the 316 of open orders stay
    assert moved.measure.maintenance == D("759.6")
    assert not moved.measure.told


@given(some_parts, moves, st.decimals("-1000", "1000000", places=2))
def test_a_move_changes_equity_by_what_the_positions_make(all_parts: list[Part], move: D, equity: D) -> None:
    moved = after_move(balance(all_parts, equity), all_parts, [move] * len(all_parts))
    assert moved is not None
    made = sum((one.size * ((one.price or D(0)) * (1 + move) - (one.price or D(0))) for one in all_parts), D(0))
    assert abs(moved.equity - equity - made) <= D("1e-12")


@given(some_parts, moves, moves)
def test_margin_after_a_move_is_that_of_the_position_at_the_new_price(all_parts: list[Part], move: D, other: D) -> None:
    moved = after_move(balance(all_parts, D(0), orders=D(7)), all_parts, [move] * len(all_parts))
    assert moved is not None
    expected = sum(((one.initial or D(0)) * (1 + move) for one in all_parts), D(7))
    assert abs(moved.measure.initial - expected) <= D("1e-12")
    assert moved.measure.maintenance >= 0


@given(some_parts)
def test_no_move_changes_nothing(all_parts: list[Part]) -> None:
    before = balance(all_parts, D(500))
    after = after_move(before, all_parts, [D(0)] * len(all_parts))
    assert after is not None
    assert (after.equity, after.measure.initial) == (before.equity, before.measure.initial)


@given(some_parts, st.decimals("1", "1000000", places=2))
def test_at_the_move_to_liquidation_equity_meets_maintenance(all_parts: list[Part], equity: D) -> None:
    before = balance(all_parts, equity)
    move = move_to_liquidation(before, all_parts)
    assume(move is not None)
    assert move is not None
    if before.is_liquidated:
        assert move == 0
        return
    after = after_move(before, all_parts, [move] * len(all_parts))
    assert after is not None
    assert abs(after.buffer) <= D("1e-9") * max(equity, D(1))


@given(some_parts, st.decimals("1", "1000000", places=2), moves)
def test_short_of_the_move_to_liquidation_there_is_none(all_parts: list[Part], equity: D, move: D) -> None:
    before = balance(all_parts, equity)
    assume(not before.is_liquidated)
    limit = move_to_liquidation(before, all_parts)
    same_way = limit is not None and (limit < 0) == (move < 0)
    assume(limit is None or not same_way or abs(move) < abs(limit) * D("0.999999"))
    after = after_move(before, all_parts, [move] * len(all_parts))
    assert after is not None
    assert after.buffer > -D("1e-9")


@pytest.mark.parametrize("missing", ["price", "initial", "maintenance"])
def test_a_position_that_cannot_be_valued_makes_the_answer_unknown(missing: str) -> None:
    known = {"price": D(100), "initial": D(2), "maintenance": D(1)}
    part = Part("P", D(1), **{**known, missing: None})
    other = Part("Q", D(1), D(100), D(2), D(1))
    before = Balance(D(100), MarginMeasure(None, D(4), D(2)))
    assert after_move(before, [other, part], [D("-0.1"), D("-0.1")]) is None
    if missing != "initial":
        assert move_to_liquidation(before, [other, part]) is None


def test_what_does_not_move_need_not_be_known() -> None:
    part = Part("P", D(1), None, None, None)
    before = Balance(D(100), MarginMeasure(None, D(4), D(2)))
    moved = after_move(before, [part], [D(0)])
    assert moved is not None
    assert moved.equity == D(100)


def test_a_hedged_account_cannot_be_liquidated_by_all_prices_together() -> None:
    both = [Part("P", D(1), D(100), D(2), D(0)), Part("Q", D(-1), D(100), D(2), D(0))]
    assert move_to_liquidation(balance(both, D(50)), both) is None


def test_another_window_asks_by_its_own_rates_long_and_short() -> None:
    long, short = Part("P", D("1.2"), D(84_105), None, None), Part("P", D("-0.1"), D(85_300), None, None)
    assert round(part_in(NIGHT, long).initial or D(0), 2) == D("24789.95")
    assert round(part_in(NIGHT, short).initial or D(0), 2) == D("2613.38")
    assert part_in(None, long) is long
    blind = Part("P", D(1), None, None, None)
    assert part_in(NIGHT, blind) is blind


def test_the_dearest_published_rate_counts_else_the_standard_model() -> None:
    assert rates_for((DAY, NIGHT), "BTC", D(1)) is NIGHT.long
    assert rates_for((DAY, NIGHT), "BTC", D(-1)) is NIGHT.short
    assert rates_for((), "BTC", D(1)) == standard_rates("BTC")


def test_maintenance_by_rates_is_brought_to_what_the_account_is_asked() -> None:
    both = [Part("P", D(1), D(100), D(10), D(10)), Part("Q", D(-1), D(300), D(30), D(30))]
    shared = shared_out(both, MarginMeasure("intraday", D(40), D(36)))
    assert [one.maintenance for one in shared] == [D(9), D(27)]
    assert [one.initial for one in shared] == [D(10), D(30)]
    assert shared_out(both, MarginMeasure("intraday", D(40), D(50))) == tuple(both)  # others are asked for too
    assert shared_out(both, MarginMeasure("intraday", D(40), D(36), told=False)) == tuple(both)
    assert shared_out([], MarginMeasure("intraday", D(0), D(0))) == ()
