"""Fills folded into positions and money: tables, and what must hold whatever the fills are."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs

from perpctl.model.books.funding import FundingPayment
from perpctl.model.books.ledger import Effect, Ledger, Tally, apply_fill, explain, in_order
from perpctl.model.fill import Fill
from perpctl.model.order import Side

P = "BTC_USDC-PERPETUAL"


def fill(signed: str | D, price: str | D, fee: str | D = "0", n: int = 0, **change: object) -> Fill:
    size = D(signed)
    side = Side.BUY if size > 0 else Side.SELL
    made = Fill(f"t-{n:04}", f"o-{n}", None, P, side, abs(size), D(price), D(fee), "USDC", "T", 1_000 + n)
    return replace(made, **change)  # type: ignore[arg-type]


def fold(*fills: Fill) -> Tally:
    tally = Tally(P)
    for one in fills:
        tally = apply_fill(tally, one).after
    return tally


@pytest.mark.parametrize(
    ("fills", "size", "entry", "realized"),
    [
        ([], "0", None, "0"),
        ([("1", "100")], "1", "100", "0"),
        ([("1", "100"), ("3", "200")], "4", "175", "0"),
        ([("2", "100"), ("-1", "150")], "1", "100", "50"),
        ([("-2", "100"), ("1", "150")], "-1", "100", "-50"),
        ([("2", "100"), ("-2", "90")], "0", None, "-20"),
        ([("1", "100"), ("-3", "120")], "-2", "120", "20"),
        ([("-1", "100"), ("3", "120")], "2", "120", "-20"),
        ([("1", "100"), ("2", "100.1"), ("-1.5", "101"), ("-1.5", "99")], "0", None, "-0.2"),
    ],
)
def test_position_entry_and_realised(fills: list[tuple[str, str]], size: str, entry: str | None, realized: str) -> None:
    tally = fold(*[fill(*one) for one in fills])
    assert tally.size == D(size)
    assert tally.entry_price == (None if entry is None else D(entry))
    assert tally.realized == D(realized)


@pytest.mark.parametrize(
    ("held", "added", "effect"),
    [
        ("0", "1", Effect.OPENED),
        ("1", "1", Effect.ADDED),
        ("-1", "-1", Effect.ADDED),
        ("2", "-1", Effect.REDUCED),
        ("2", "-2", Effect.CLOSED),
        ("2", "-3", Effect.FLIPPED),
        ("-2", "3", Effect.FLIPPED),
    ],
)
def test_what_a_fill_does(held: str, added: str, effect: Effect) -> None:
    start = fold(fill(held, "100")) if D(held) else Tally(P)
    assert apply_fill(start, fill(added, "110")).effect is effect


def test_a_round_trip_counts_its_fees_on_both_sides_and_ends_at_zero() -> None:
    changes = explain([fill("2", "100", "0.1", 1), fill("-1", "110", "0.1", 2), fill("-1", "90", "0.1", 3)])
    assert [change.trip for change in changes] == [None, None, D("-0.3")]
    assert changes[-1].after.trip == 0


def test_a_round_trip_ends_when_the_position_turns_over() -> None:
    changes = explain([fill("1", "100", "1", 1), fill("-3", "90", "1", 2), fill("2", "80", "1", 3)])
    assert [change.trip for change in changes] == [None, D(-12), D(19)]


def test_fills_are_explained_as_they_happened_whatever_order_they_came_in() -> None:
    one, two, three = fill("1", "100", n=1), fill("1", "110", n=2), fill("-1", "120", n=3)
    changes = explain([three, one, two])
    assert [change.fill for change in changes] == [one, two, three]
    assert [change.after.size for change in changes] == [1, 2, 1]
    assert [change.realized for change in changes] == [0, 0, 15]


def test_fills_of_one_millisecond_go_by_the_venues_sequence() -> None:
    late = fill("1", "1", trade_id="a", at_ms=5, trade_seq=9)
    early = fill("1", "1", trade_id="z", at_ms=5, trade_seq=8)
    assert in_order([late, early]) == [early, late]


def test_an_explanation_may_start_from_a_known_position() -> None:
    known = fold(fill("1", "100"))
    (change,) = explain([fill("-1", "110", n=5)], {(P, None): known})
    assert (change.effect, change.realized) == (Effect.CLOSED, D(10))


def test_slots_are_kept_apart() -> None:
    ledger = Ledger(D(0)).with_fill(fill("1", "100")).with_fill(fill("-2", "100", slot=3))
    assert ledger.tally(P).size == 1
    assert ledger.tally(P, 3).size == -2


@pytest.mark.parametrize("bad", [fill("1", "1", product_id="other"), fill("1", "1", slot=1), fill("1", "1", size=D(0))])
def test_a_fill_that_does_not_belong_is_refused(bad: Fill) -> None:
    with pytest.raises(ValueError, match="fill t-0000"):
        apply_fill(Tally(P), bad)


def test_a_fee_in_another_currency_is_refused_rather_than_added() -> None:
    with pytest.raises(ValueError, match="BTC"):
        Ledger(D(0)).with_fill(fill("1", "100", "0.1", fee_currency="BTC"))


def test_without_a_price_there_is_no_equity() -> None:
    ledger = Ledger(D(1000)).with_fill(fill("1", "100"))
    assert ledger.equity({}) is None
    assert ledger.equity({P: D(90)}) == 990
    assert Ledger(D(1000)).equity({}) == 1000


# --- what must hold whatever the fills are ---------------------------------------------------------------------------

sizes = st.decimals("-3", "3", places=4).filter(bool)
prices = st.decimals("1", "150000", places=1)
fees = st.decimals("-1", "5", places=6)
events = st.lists(st.tuples(sizes, prices, fees), max_size=25)


THIRDS = [
    (D("-0.0001"), D("1.1"), D(0)),
    (D("0.0002"), D(1), D(0)),
    (D("0.0002"), D("1.1"), D(0)),
    (D("-0.0001"), D(1), D(0)),
]


@example(THIRDS, D(1), [], D(0))  # an average entry that never ends
@given(events, prices, st.lists(st.decimals("-9", "9", places=5), max_size=5), st.decimals("-99", "99", places=2))
def test_the_money_closes_to_the_last_digit(rows: list[tuple[D, D, D]], mark: D, paid: list[D], transfer: D) -> None:
    """Equity by the ledger is start plus every cash movement plus what is held at its mark, added up on its own."""
    ledger = Ledger(D(100_000)).with_transfer(transfer)
    independent, held = D(100_000) + transfer, D(0)
    for n, (size, price, fee) in enumerate(rows):
        ledger = ledger.with_fill(fill(size, price, fee, n))
        independent -= size * price + fee
        held += size
    for n, amount in enumerate(paid):
        ledger = ledger.with_funding(FundingPayment(P, amount, "USDC", n, str(n), True))
        independent += amount
    assert ledger.equity({P: mark}) == independent + held * mark
    assert ledger.tally(P).size == held


@given(st.lists(st.decimals("0.0001", "2", places=4), min_size=1, max_size=8), prices, events, st.randoms())
def test_the_order_of_partial_fills_of_one_price_is_irrelevant(
    parts: list[D], price: D, before: list[tuple[D, D, D]], chance: object
) -> None:
    start = fold(*[fill(*row, n) for n, row in enumerate(before)])
    shuffled = list(parts)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    for side in (1, -1):
        ends = []
        for some in (parts, shuffled, [sum(parts, D(0))]):
            tally = start
            for part in some:
                tally = apply_fill(tally, fill(side * part, price)).after
            ends.append(tally)
        assert {(end.size, end.cash, end.fees) for end in ends} == {(ends[0].size, ends[0].cash, ends[0].fees)}
        assert all(abs(end.cost - ends[0].cost) < D("1e-10") for end in ends)


@given(
    st.decimals("0.0001", "3", places=4), st.decimals("0.0001", "3", places=4), prices, prices, st.sampled_from([1, -1])
)
def test_a_flip_is_a_close_and_an_open(held: D, beyond: D, entry: D, price: D, side: int) -> None:
    start = fold(fill(side * held, entry))
    flipped = apply_fill(start, fill(-side * (held + beyond), price, "0.02"))
    closed = apply_fill(start, fill(-side * held, price, "0.01"))
    opened = apply_fill(closed.after, fill(-side * beyond, price, "0.01"))
    assert flipped.effect is Effect.FLIPPED
    assert structs.replace(flipped.after, trip=D(0)) == structs.replace(opened.after, trip=D(0))
    assert flipped.after.entry_price == price


@given(events)
def test_the_sum_of_fills_is_the_position_and_a_flat_position_costs_nothing(rows: list[tuple[D, D, D]]) -> None:
    tally = Tally(P)
    for n, row in enumerate(rows):
        change = apply_fill(tally, fill(*row, n))
        tally = change.after
        if tally.size == 0:
            assert (tally.cost, tally.entry_price) == (0, None)
        else:
            assert tally.entry_price is not None
            assert tally.entry_price > 0
    assert tally.size == sum((row[0] for row in rows), D(0))


@given(events, prices)
def test_explained_trips_and_realised_add_up(rows: list[tuple[D, D, D]], mark: D) -> None:
    changes = explain([fill(*row, n) for n, row in enumerate(rows)])
    end = changes[-1].after if changes else Tally(P)
    assert abs(sum((change.realized for change in changes), D(0)) - end.realized) < D("1e-10")
    trips = sum((change.trip for change in changes if change.trip is not None), D(0)) + end.trip
    assert abs(trips - (end.realized - end.fees)) < D("1e-10")
