"""Our books against the venue's: every difference gets its cause, and corrections bring the books together."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as changed

from perpctl.model.books.funding import FundingPayment
from perpctl.model.books.ledger import Ledger
from perpctl.model.books.reconcile import (
    BookFill,
    BookFunding,
    Cause,
    Comparison,
    MoveMoney,
    MovePosition,
    Ours,
    SeeOrder,
    SettleAbsent,
    Theirs,
    apply,
    compare,
    positions_agree,
)
from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
from perpctl.model.position import Position

P, Q = "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"
START = D(100_000)


def is_ours(identity: str | None) -> bool:
    return identity is not None and identity.startswith("ours")


def fill(n: int, signed: str | D, price: str | D = "84000", **change: Any) -> Fill:
    size = D(signed)
    side = Side.BUY if size > 0 else Side.SELL
    made = Fill(f"t{n}", f"o{n}", f"ours-{n}", P, side, abs(size), D(price), D("0.5"), "USDC", "M", n)
    return replace(made, **change)


def order(n: int, side: Side = Side.BUY, status: OrderStatus = OrderStatus.OPEN, **change: Any) -> Order:
    made = Order(
        order_id=f"o{n}",
        identity=f"ours-{n}",
        product_id=P,
        side=side,
        type=OrderType.LIMIT,
        status=status,
        size=D("0.5"),
        filled=D(0),
        price=D(84000),
        average_price=None,
        reduce_only=False,
        post_only=True,
        trigger_price=None,
        trigger=None,
        created_ms=0,
        updated_ms=0,
    )
    return replace(made, **change)


def asked(n: int) -> OrderRequest:
    return OrderRequest(f"ours-{n}", P, Side.BUY, D("0.5"), OrderType.LIMIT, D(84000))


def position(size: str | D, product: str = P, mark: str = "84100", **change: Any) -> Position:
    held = Position(
        product, None, D(size), D(84000), D(mark), *[None] * 4, D(0), *[None] * 3, True, 0, 0.0, underlying="BTC"
    )
    return replace(held, **change)


def books(*fills: Fill, **change: Any) -> Ours:
    ledger = Ledger(START)
    for one in fills:
        ledger = ledger.with_fill(one)
    return changed(Ours(ledger, frozenset(one.trade_id for one in fills)), **change)


def causes(found: Comparison) -> list[tuple[str, Cause]]:
    return [(row.subject, row.cause) for row in found.differences]


HELD = books(fill(1, "1"))
SAME = Theirs((position("1"),), (), (fill(1, "1"),), equity=START - D("0.5") + 100)


def test_books_that_agree_are_clean() -> None:
    found = compare(HELD, SAME, is_ours)
    assert found.is_clean
    assert found.unexplained_money == 0


CASES: list[tuple[str, Ours, Theirs, list[tuple[str, Cause]], list[Any]]] = [
    (
        "a fill of ours was missed",
        books(),
        SAME,
        [("fill", Cause.MISSING_FILL)],
        [BookFill(fill(1, "1"), Cause.MISSING_FILL)],
    ),
    (
        "somebody else traded",
        books(),
        changed(SAME, fills=(fill(1, "1", identity=None),)),
        [("fill", Cause.FOREIGN_FILL)],
        [BookFill(fill(1, "1", identity=None), Cause.FOREIGN_FILL)],
    ),
    (
        "the venue liquidated",
        books(),
        changed(SAME, fills=(fill(1, "1", liquidation=True),)),
        [("fill", Cause.LIQUIDATION)],
        [BookFill(fill(1, "1", liquidation=True), Cause.LIQUIDATION)],
    ),
    (
        "the venue deleveraged",
        books(),
        changed(SAME, forced=frozenset({"t1"})),
        [("fill", Cause.ADL)],
        [BookFill(fill(1, "1"), Cause.ADL)],
    ),
    (
        "funding was paid",
        HELD,
        changed(
            SAME,
            payments=(FundingPayment(P, D(-3), "USDC", 0, "row-1", True),),
            equity=START - D("0.5") + 97,
        ),
        [("funding", Cause.FUNDING)],
        [BookFunding(FundingPayment(P, D(-3), "USDC", 0, "row-1", True))],
    ),
    (
        "an order of ours was not known",
        HELD,
        changed(SAME, orders=(order(7),)),
        [("order", Cause.ORDER_MISSED)],
        [SeeOrder(order(7))],
    ),
    (
        "an order of somebody else",
        HELD,
        changed(SAME, orders=(order(7, identity="hand"),)),
        [("order", Cause.FOREIGN_ORDER)],
        [SeeOrder(order(7, identity="hand"))],
    ),
    (
        "an order of the venue's liquidation",
        HELD,
        changed(SAME, orders=(order(7, origin="liquidation"),)),
        [("order", Cause.LIQUIDATION)],
        [SeeOrder(order(7, origin="liquidation"))],
    ),
    (
        "an order is filled further than we know",
        changed(HELD, working={"o7": order(7)}),
        changed(SAME, orders=(order(7, filled=D("0.1")),)),
        [("order", Cause.ORDER_MISSED)],
        [SeeOrder(order(7, filled=D("0.1")))],
    ),
    (
        "an order ended and we did not see it",
        changed(HELD, working={"o7": order(7)}),
        changed(SAME, ended=(order(7, status=OrderStatus.CANCELLED),)),
        [("order", Cause.ORDER_MISSED)],
        [SeeOrder(order(7, status=OrderStatus.CANCELLED))],
    ),
    (
        "an order of somebody else, which we had seen, ended",
        changed(HELD, working={"o7": order(7, identity="hand")}),
        changed(SAME, ended=(order(7, identity="hand", status=OrderStatus.CANCELLED),)),
        [("order", Cause.FOREIGN_ORDER)],
        [SeeOrder(order(7, identity="hand", status=OrderStatus.CANCELLED))],
    ),
    (
        "a liquidation took an order away",
        changed(HELD, working={"o7": order(7)}),
        changed(SAME, ended=(order(7, status=OrderStatus.CANCELLED, cancel_reason="autoliquidation"),)),
        [("order", Cause.LIQUIDATION)],
        [SeeOrder(order(7, status=OrderStatus.CANCELLED, cancel_reason="autoliquidation"))],
    ),
    (
        "an unknown order rests",
        changed(HELD, unknown={"ours-7": asked(7)}),
        changed(SAME, orders=(order(7),)),
        [("order", Cause.UNKNOWN_SETTLED)],
        [SeeOrder(order(7))],
    ),
    (
        "an unknown order ended",
        changed(HELD, unknown={"ours-7": asked(7)}),
        changed(SAME, ended=(order(7, status=OrderStatus.REJECTED),)),
        [("unknown order", Cause.UNKNOWN_SETTLED)],
        [SeeOrder(order(7, status=OrderStatus.REJECTED))],
    ),
    (
        "an unknown order never arrived",
        changed(HELD, unknown={"ours-7": asked(7)}),
        changed(SAME, absent=frozenset({"ours-7"})),
        [("unknown order", Cause.UNKNOWN_SETTLED)],
        [SettleAbsent("ours-7")],
    ),
]


@pytest.mark.parametrize(("name", "ours", "theirs", "rows", "corrections"), CASES, ids=[row[0] for row in CASES])
def test_a_difference_has_its_cause_and_its_correction_brings_the_books_together(
    name: str, ours: Ours, theirs: Theirs, rows: list[tuple[str, Cause]], corrections: list[Any]
) -> None:
    found = compare(ours, theirs, is_ours)
    assert causes(found) == rows
    assert list(found.corrections) == corrections
    assert found.left_open == ()
    assert compare(apply(ours, found.corrections), theirs, is_ours).is_clean


OPEN_CASES: list[tuple[str, Ours, Theirs, tuple[str, Cause]]] = [
    (
        "an order is gone and nobody knows its end",
        changed(HELD, working={"o7": order(7)}),
        SAME,
        ("order", Cause.UNEXPLAINED),
    ),
    (
        "an unknown order is not found yet",
        changed(HELD, unknown={"ours-7": asked(7)}),
        SAME,
        ("unknown order", Cause.UNKNOWN_OPEN),
    ),
    (
        "sizes that contradict themselves",
        HELD,
        changed(SAME, positions=(position("1", units_agree=False),)),
        ("position", Cause.UNEXPLAINED),
    ),
]


@pytest.mark.parametrize(("name", "ours", "theirs", "row"), OPEN_CASES, ids=[row[0] for row in OPEN_CASES])
def test_what_cannot_be_explained_stays_open_and_nothing_is_journaled(
    name: str, ours: Ours, theirs: Theirs, row: tuple[str, Cause]
) -> None:
    found = compare(ours, theirs, is_ours)
    assert causes(found) == [row]
    assert found.corrections == ()
    assert found.adoptions == ()
    assert len(found.left_open) == 1


@pytest.mark.parametrize(
    ("positions", "movement"),
    [((position("1.25"),), D("0.25")), ((), D(-1)), ((position("1"), position("-2", Q, "3000")), D(-2))],
)
def test_a_position_that_no_fill_explains_is_moved_only_by_adoption(
    positions: tuple[Position, ...], movement: D
) -> None:
    theirs = changed(SAME, positions=positions, equity=None)
    found = compare(HELD, theirs, is_ours)
    assert causes(found) == [("position", Cause.UNEXPLAINED)]
    assert found.corrections == ()
    (adoption,) = found.adoptions
    assert isinstance(adoption, MovePosition)
    assert adoption.movement.side.sign * adoption.movement.size == movement
    assert adoption.movement.fee == 0
    assert compare(apply(HELD, found.adoptions), theirs, is_ours).is_clean


def test_money_that_nothing_explains_is_said_to_the_cent() -> None:
    assert SAME.equity is not None
    theirs = changed(SAME, equity=SAME.equity - 50)
    found = compare(HELD, theirs, is_ours)
    assert causes(found) == [("money", Cause.UNEXPLAINED)]
    assert found.unexplained_money == -50
    assert found.adoptions == (MoveMoney(D(-50)),)
    assert compare(apply(HELD, found.adoptions), theirs, is_ours).is_clean


@pytest.mark.parametrize(("off", "clean"), [("10", True), ("-10", True), ("10.06", False), ("-10.06", False)])
def test_money_may_be_off_by_a_basis_point(off: str, clean: bool) -> None:
    assert SAME.equity is not None
    assert compare(HELD, changed(SAME, equity=SAME.equity + D(off)), is_ours).is_clean is clean


@pytest.mark.parametrize(
    "theirs",
    [
        changed(SAME, equity=None),
        changed(SAME, positions=(position("1", funding=None),)),
        changed(SAME, positions=(replace(position("1"), mark=None),)),
    ],
)
def test_money_is_not_compared_when_something_it_needs_is_missing(theirs: Theirs) -> None:
    found = compare(HELD, theirs, is_ours)
    assert found.is_clean
    assert found.unexplained_money is None


def test_funding_of_the_running_session_is_not_yet_paid_and_not_unexplained() -> None:
    assert SAME.equity is not None
    theirs = changed(SAME, positions=(position("1", funding=D(-70)),), equity=SAME.equity - 70)
    assert compare(HELD, theirs, is_ours).unexplained_money == 0


def test_a_fill_that_the_venue_lists_twice_is_booked_once() -> None:
    found = compare(books(), changed(SAME, fills=(fill(1, "1"), fill(1, "1"))), is_ours)
    assert len(found.corrections) == 1


def test_the_fingerprint_changes_with_the_differences_and_not_with_their_order() -> None:
    one = compare(HELD, changed(SAME, orders=(order(7), order(8))), is_ours)
    two = compare(HELD, changed(SAME, orders=(order(8), order(7))), is_ours)
    other = compare(HELD, changed(SAME, orders=(order(7, filled=D("0.1")), order(8))), is_ours)
    assert one.fingerprint == two.fingerprint != other.fingerprint


def test_two_listings_agree_on_sizes_whatever_their_marks() -> None:
    assert positions_agree([position("1")], [position("1", mark="1"), position("0", Q)])
    assert not positions_agree([position("1")], [position("1"), position("1", Q)])
    assert not positions_agree([position("1")], [position("1", slot=3)])


# --- whatever went missing -------------------------------------------------------------------------------------------

events = st.lists(
    st.tuples(
        st.decimals("-2", "2", places=4).filter(bool),
        st.decimals("70000", "99000", places=1),
        st.sampled_from(["ours", "hand", "liquidation"]),
        st.booleans(),  # whether we saw it
    ),
    max_size=12,
)
statuses = st.sampled_from([OrderStatus.OPEN, OrderStatus.FILLED, OrderStatus.CANCELLED])


@given(
    events,
    st.lists(st.tuples(statuses, st.sampled_from(["working", "unknown", "not known"]), st.booleans()), max_size=6),
    st.lists(st.tuples(st.decimals("-9", "9", places=4), st.booleans()), max_size=4),
    st.decimals("-500", "500", places=2),
    st.decimals("-1", "1", places=4),
)
def test_whatever_went_missing_the_corrections_bring_the_books_together(
    trades: list[tuple[D, D, str, bool]],
    orders: list[tuple[OrderStatus, str, bool]],
    funding: list[tuple[D, bool]],
    stray_money: D,
    stray_size: D,
) -> None:
    """A venue's world is made, part of it hidden from our books; corrections show it, adoptions take up the strays."""
    fills = [
        fill(n, size, price, identity=f"{who}-{n}", liquidation=who == "liquidation")
        for n, (size, price, who, _) in enumerate(trades)
    ]
    payments = [FundingPayment(P, amount, "USDC", n, f"row-{n}", True) for n, (amount, _) in enumerate(funding)]
    truth = Ledger(START)
    ours = books(*[one for one, row in zip(fills, trades, strict=True) if row[3]])
    for one in fills:
        truth = truth.with_fill(one)
    for payment, (_, seen) in zip(payments, funding, strict=True):
        truth = truth.with_funding(payment)
        if seen:
            ours = apply(ours, [BookFunding(payment)])
    made = [order(n, status=status) for n, (status, _, _) in enumerate(orders)]
    known = {one.order_id: order(n) for n, one in enumerate(made) if orders[n][1] == "working"}
    unknown = {f"ours-{n}": asked(n) for n, row in enumerate(orders) if row[1] == "unknown"}
    arrived = [one for n, one in enumerate(made) if orders[n][1] != "unknown" or orders[n][2]]
    size = truth.tally(P).size + stray_size
    money = truth.equity({P: D(84100)})
    assert money is not None
    theirs = Theirs(
        positions=(position(size),) if size else (),
        orders=tuple(one for one in arrived if not one.status.is_terminal),
        fills=tuple(reversed(fills)),
        payments=tuple(payments),
        ended=tuple(one for one in arrived if one.status.is_terminal),
        absent=frozenset(one.identity or "" for one in made if one not in arrived),
        equity=money + stray_money,
    )
    ours = changed(ours, working=known, unknown=unknown)

    found = compare(ours, theirs, is_ours)
    corrected = apply(ours, found.corrections)
    again = compare(corrected, theirs, is_ours)
    assert again.differences == found.left_open
    subjects = {row.subject for row in again.differences}
    assert ("position" in subjects) is bool(stray_size)
    if not stray_size:
        assert again.unexplained_money == stray_money
    assert compare(apply(corrected, again.adoptions), theirs, is_ours).is_clean
    assert corrected.trade_ids == {one.trade_id for one in fills}
