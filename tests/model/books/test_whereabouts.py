"""What a position can be: the truth is always among it, and it is soon alone."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from perpctl.model.books.whereabouts import Move, Whereabouts

LAG_MS = 60_000
D = Decimal


def test_a_read_that_lacks_our_own_fill_is_told_apart() -> None:
    held = Whereabouts(LAG_MS)
    held.see(D(10), 100_000, [], 100_000)
    fill = Move("f1", 100_500, D(-1))
    held.see(D(10), 101_000, [fill], 101_000)
    assert held.sizes == {D(9)}
    held.see(D(9), 102_000, [fill], 102_000)
    assert held.most == D(9)


def test_a_fill_of_the_last_minute_before_the_first_read_leaves_two_sizes_and_the_smaller_is_closed() -> None:
    held = Whereabouts(LAG_MS)
    fill = Move("f1", 99_000, D(4))
    held.see(D(6), 100_000, [fill], 100_000)
    assert held.sizes == {D(6), D(10)}
    assert held.most == D(6)
    held.see(D(10), 101_000, [fill], 101_000)
    assert held.sizes == {D(10)}


def test_nothing_is_closed_while_it_may_be_flat_or_turned() -> None:
    held = Whereabouts(LAG_MS)
    held.see(D(3), 100_000, [Move("f1", 99_000, D(-3))], 100_000)
    assert (held.most, held.is_zero) == (D(0), False)
    held.see(D(3), 170_000, [], 170_000)
    assert held.most == D(3), "a minute later every read is newer than the fill: it stood at 6 before"


def test_a_short_position_is_closed_by_its_own_sign() -> None:
    held = Whereabouts(LAG_MS)
    held.see(D(-5), 100_000, [], 100_000)
    held.see(D(-5), 101_000, [Move("f1", 100_500, D(2))], 101_000)
    assert held.most == D(-3)


def test_a_fill_told_late_may_be_in_an_earlier_read() -> None:
    held = Whereabouts(LAG_MS)
    held.see(D(7), 100_000, [], 100_000)
    held.see(D(7), 101_000, [Move("f1", 99_500, D(2))], 101_000)
    assert held.most == D(7), "nine as well is possible"


def test_reads_that_contradict_the_fills_win() -> None:
    held = Whereabouts(LAG_MS)
    held.see(D(7), 100_000, [], 100_000)
    held.see(D(2), 200_000, [], 200_000)
    assert held.sizes == {D(2)}


Fills = st.lists(st.tuples(st.integers(1, 20_000), st.integers(-4, 4).filter(bool)), max_size=12)
Reads = st.lists(st.tuples(st.integers(1, 20_000), st.integers(0, LAG_MS)), min_size=1, max_size=20)


@given(start=st.integers(-5, 5), fills=Fills, reads=Reads)
def test_the_truth_is_always_possible(start: int, fills: list[tuple[int, int]], reads: list[tuple[int, int]]) -> None:
    """Whatever the fills, and however old each read."""
    at, moves = 0, []
    for number, (pause, size) in enumerate(fills):
        at += pause
        moves.append(Move(f"f{number}", at, D(size)))
    held, now = Whereabouts(LAG_MS), 0
    since = reads[0][0] - LAG_MS
    for pause, age in reads:
        now += pause
        known = [move for move in moves if move.at_ms <= now]
        read = D(start) + sum((move.size for move in known if move.at_ms <= now - age), D(0))
        held.see(read, now, [move for move in known if move.at_ms >= since], now)
        truth = D(start) + sum((move.size for move in known), D(0))
        assert truth in held.sizes
        assert abs(held.most) <= abs(truth)
        assert held.most * truth >= 0
