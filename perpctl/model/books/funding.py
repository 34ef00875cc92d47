"""Funding as the venue reports it, and its arithmetic: rates per 8 hours and a year, accrual, what was paid.

Funding accrues continuously and reaches cash at the settlement of 08:00 UTC (Coinbase gateway docs, funding). A
positive rate is paid by longs.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from msgspec import Struct

from perpctl.model.money import ZERO
from perpctl.model.position import Position

PERIOD_MS = 8 * 3_600_000
PERIODS_A_YEAR = Decimal(3 * 365)
HUNDRED = Decimal(100)


class FundingPayment(Struct, frozen=True):
    """Funding of one product over one session; negative: we paid. `exact` is False for our own estimates."""

    product_id: str
    amount: Decimal
    currency: str
    at_ms: int
    row_id: str
    exact: bool
    slot: int | None = None


class FundingRate(Struct, frozen=True):
    """The rate now: per 8 hours on both venues, a fraction of notional; positive: longs pay."""

    product_id: str
    rate_8h: Decimal
    current: Decimal | None
    next_at_ms: int
    at_ms: int


def percent_8h(rate_8h: Decimal) -> Decimal:
    """The rate as percent per 8 hours."""
    return rate_8h * HUNDRED


def percent_a_year(rate_8h: Decimal) -> Decimal:
    """The same, held for a year without compounding."""
    return rate_8h * PERIODS_A_YEAR * HUNDRED


def accrual(size: Decimal, price: Decimal, rate_8h: Decimal, held_ms: int) -> Decimal:
    """Estimated funding of a position held this long at this rate, in settlement currency; negative: we pay."""
    return -size * price * rate_8h * held_ms / PERIOD_MS


class FundingSum(Struct, frozen=True):
    """Funding of one product, or of all. `exact` is False when an estimate is in it; `running` None: not known."""

    paid: Decimal  # settled, in cash
    running: Decimal | None  # of the running session, not yet in cash
    exact: bool

    @property
    def total(self) -> Decimal | None:
        return None if self.running is None else self.paid + self.running


def sum_funding(
    payments: Iterable[FundingPayment], held: Iterable[Position], product_id: str | None = None
) -> FundingSum:
    """Settled payments plus the running session of what is held, of one product or of all.

    Rows of trades in the venue's log carry funding too, as part of the session: they must not be added to this.
    """
    settled = [payment for payment in payments if product_id in (None, payment.product_id)]
    accrued = [position.funding for position in held if product_id in (None, position.product_id)]
    known = [amount for amount in accrued if amount is not None]
    return FundingSum(
        paid=sum((payment.amount for payment in settled), ZERO),
        running=sum(known, ZERO) if len(known) == len(accrued) else None,
        exact=all(payment.exact for payment in settled),
    )
