"""Funding: rates, accrual and sums."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from perpctl.model.books.funding import FundingPayment, accrual, percent_8h, percent_a_year, sum_funding
from perpctl.model.position import Position

H = 3_600_000


def paid(product: str, amount: str, exact: bool = True) -> FundingPayment:
    return FundingPayment(product, D(amount), "USDC", 0, amount, exact)


def held(product: str, funding: str | None) -> Position:
    return Position(
        *(product, None, D(1), *[None] * 6, None if funding is None else D(funding), *[None] * 3, True, 0, 0.0),
        underlying="BTC",
    )


def test_the_rate_per_8_hours_and_a_year() -> None:
    assert percent_8h(D("0.000018")) == D("0.0018")
    assert round(percent_a_year(D("0.000018")), 1) == D("2.0")


@pytest.mark.parametrize(
    ("size", "rate", "ms", "want"),
    [
        ("1", "0.0001", 8 * H, "-10"),
        ("-1", "0.0001", 8 * H, "10"),
        ("1", "-0.0001", 8 * H, "10"),
        ("2", "0.0001", 2 * H, "-5"),
        ("0", "0.0001", 8 * H, "0"),
        ("1", "0.0001", 0, "0"),
    ],
)
def test_longs_pay_a_positive_rate_in_proportion_to_time(size: str, rate: str, ms: int, want: str) -> None:
    assert accrual(D(size), D(100_000), D(rate), ms) == D(want)


def test_the_sum_is_what_was_settled_and_what_runs() -> None:
    total = sum_funding([paid("A", "-1.5"), paid("B", "0.5")], [held("A", "-0.25"), held("B", "0")])
    assert (total.paid, total.running, total.total, total.exact) == (D(-1), D("-0.25"), D("-1.25"), True)


def test_the_sum_of_one_product_leaves_the_others_out() -> None:
    total = sum_funding([paid("A", "-1.5"), paid("B", "0.5", exact=False)], [held("A", "-0.25"), held("B", None)], "A")
    assert (total.total, total.exact) == (D("-1.75"), True)


def test_an_estimate_marks_the_sum_and_an_unknown_session_leaves_no_total() -> None:
    total = sum_funding([paid("A", "-1.5", exact=False)], [held("A", "-0.25"), held("B", None)])
    assert (total.exact, total.paid, total.running, total.total) == (False, D("-1.5"), None, None)
