"""This file estimates funding where a venue keeps no record of it: from hourly samples of rate, position and price.

A payment of an hour is -position x price x hourly rate (Coinbase help, perpetual-style futures, funding rate): a
positive rate is paid by longs. The sample nearest to the end of an hour stands for all of it, so every figure is an
estimate, and an hour without a sample is a gap, never a zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from perpctl.model.books.funding import FundingPayment
from perpctl.model.money import ZERO

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Held:
    """One product in a sample; a rate or price that could not be read is None."""

    product_id: str
    size: Decimal  # signed base coin
    price: Decimal | None
    rate_1h: Decimal | None


@dataclass(frozen=True, slots=True)
class Sample:
    """What stood at one moment. `running`: the venue's own moving figure of funding; None: it has none."""

    at_ms: int  # market time
    held: tuple[Held, ...]
    running: Decimal | None
    currency: str


@dataclass(frozen=True, slots=True)
class Gap:
    """Hours without a sample, from the start of the first to the end of the last."""

    from_ms: int
    to_ms: int

    @property
    def hours(self) -> int:
        return (self.to_ms - self.from_ms) // HOUR_MS


def hour_of(at_ms: int) -> int:
    """The start of the hour that holds this moment."""
    return at_ms // HOUR_MS * HOUR_MS


def by_hour(samples: Iterable[Sample]) -> dict[int, Sample]:
    """The last sample of each hour."""
    found: dict[int, Sample] = {}
    for sample in sorted(samples, key=lambda one: one.at_ms):
        found[hour_of(sample.at_ms)] = sample
    return found


def estimated(samples: Iterable[Sample]) -> tuple[tuple[FundingPayment, ...], tuple[str, ...]]:
    """(the payments, what could not be estimated): one payment a product and hour in which something was held."""
    payments: list[FundingPayment] = []
    lacking: list[str] = []
    for hour_ms, sample in sorted(by_hour(samples).items()):
        for held in sample.held:
            if held.size == 0:
                continue
            if held.price is None or held.rate_1h is None:
                lacking.append(f"{held.product_id}@{hour_ms}")
                continue
            amount = -held.size * held.price * held.rate_1h
            row = f"{held.product_id}@{hour_ms}"
            payments.append(
                FundingPayment(held.product_id, amount, sample.currency, hour_ms + HOUR_MS, row, exact=False)
            )
    return tuple(payments), tuple(lacking)


def gaps(samples: Iterable[Sample], since_ms: int, until_ms: int) -> tuple[Gap, ...]:
    """The hours from `since_ms` to `until_ms` without a sample; the hour that `until_ms` is in may still get one."""
    marks = [hour_of(since_ms) - HOUR_MS, *sorted(by_hour(samples)), hour_of(until_ms)]
    between = pairwise(marks)
    return tuple(Gap(before + HOUR_MS, after) for before, after in between if after - before > HOUR_MS)


def moved(samples: Sequence[Sample]) -> Decimal | None:
    """How far the venue's own figure moved from the first sample that has it to the last; None: fewer than two have."""
    told = [one.running for one in sorted(samples, key=lambda one: one.at_ms) if one.running is not None]
    return told[-1] - told[0] if len(told) > 1 else None


def total(payments: Iterable[FundingPayment]) -> Decimal:
    """The sum; negative: we paid."""
    return sum((one.amount for one in payments), ZERO)
