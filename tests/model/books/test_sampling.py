"""Funding by our own samples: an estimate for each hour that has one, a gap for each that has none, never a zero."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from perpctl.model.books import sampling
from perpctl.model.books.sampling import HOUR_MS, Gap, Held, Sample

START = 1_795_600_800_000  # a full hour
RATE = Decimal("0.000013")


def sample(
    hour: int, size: str = "0.03", *, minute: int = 50, running: str | None = None, **more: Decimal | None
) -> Sample:
    held = Held("BIP", Decimal(size), more.get("price", Decimal(84000)), more.get("rate", RATE))
    told = None if running is None else Decimal(running)
    return Sample(START + hour * HOUR_MS + minute * 60_000, (held,), told, "USD")


def test_a_long_pays_a_positive_rate_and_a_short_receives_it() -> None:
    [paid], _ = sampling.estimated([sample(0)])
    assert paid.amount == -Decimal("0.03") * 84000 * RATE
    assert (paid.at_ms, paid.exact) == (START + HOUR_MS, False)
    [received], _ = sampling.estimated([sample(0, "-0.03")])
    assert received.amount == -paid.amount


def test_two_samples_of_one_hour_are_one_payment_by_the_later() -> None:
    [paid], _ = sampling.estimated([sample(0, "0.05", minute=55), sample(0, "0.03", minute=5)])
    assert paid.amount == -Decimal("0.05") * 84000 * RATE


def test_what_has_no_rate_or_price_is_named_and_flat_hours_pay_nothing() -> None:
    payments, lacking = sampling.estimated([sample(0, rate=None), sample(1, price=None), sample(2, "0")])
    assert payments == ()
    assert len(lacking) == 2


def test_every_hour_without_a_sample_is_a_gap_but_the_running_one() -> None:
    samples = [sample(2), sample(3), sample(6)]
    found = sampling.gaps(samples, START, START + 8 * HOUR_MS + 5)
    assert found == (
        Gap(START, START + 2 * HOUR_MS),
        Gap(START + 4 * HOUR_MS, START + 6 * HOUR_MS),
        Gap(START + 7 * HOUR_MS, START + 8 * HOUR_MS),
    )
    assert sampling.gaps([], START, START + 3 * HOUR_MS) == (Gap(START, START + 3 * HOUR_MS),)


@given(st.sets(st.integers(0, 47), max_size=48))
def test_gaps_and_samples_together_make_up_every_hour(hours: set[int]) -> None:
    found = sampling.gaps([sample(hour) for hour in hours], START, START + 48 * HOUR_MS)
    assert sum(gap.hours for gap in found) + len(hours) == 48


def test_the_venues_own_figure_is_compared_only_when_two_samples_have_it() -> None:
    assert sampling.moved([sample(0), sample(1, running="-1.5")]) is None
    assert sampling.moved([sample(1, running="-2.25"), sample(0, running="-1.5"), sample(2)]) == Decimal("-0.75")
