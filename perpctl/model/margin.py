"""This file estimates margin and where liquidation would be; the venue's own figures win wherever it gives them.

Published rates of the standard margin model: initial 2 %, maintenance 1 % of notional, and for BTC 0.005 % more for
each coin of position. They are older than the venue's last rework, so everything computed here is an estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpctl.model.money import ZERO

ONE = Decimal(1)
HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class MarginRates:
    """Fractions of notional; `per_coin` is added to both for each base coin of position."""

    initial: Decimal
    maintenance: Decimal
    per_coin: Decimal


def standard_rates(base: str) -> MarginRates:
    """The published rates for a base coin; only BTC grows with size."""
    return MarginRates(Decimal("0.02"), Decimal("0.01"), Decimal("0.00005") if base == "BTC" else ZERO)


def initial_margin(size: Decimal, price: Decimal, rates: MarginRates) -> Decimal:
    """Estimate in settlement currency of what a position of `size` base coin ties up."""
    return abs(size) * price * (rates.initial + rates.per_coin * abs(size))


def maintenance_margin(size: Decimal, price: Decimal, rates: MarginRates) -> Decimal:
    """Estimate in settlement currency of the least that keeps a position of `size` base coin alive."""
    return abs(size) * price * (rates.maintenance + rates.per_coin * abs(size))


def liquidation_price(
    size: Decimal, mark: Decimal, equity: Decimal, other_maintenance: Decimal, rates: MarginRates
) -> Decimal | None:
    """Estimate of the mark at which equity meets maintenance, every other price unchanged.

    `equity` is that of the cross account or of the isolated slot, at `mark`; `other_maintenance` is what its other
    positions need. None: not by this product alone, that is, not before the price falls to zero or doubles.
    Solves equity + size (P - mark) = other + |size| P rate for P.
    """
    if size == 0 or mark <= 0:
        return None
    rate = rates.maintenance + rates.per_coin * abs(size)
    slope = size - abs(size) * rate
    price = (size * mark - equity + other_maintenance) / slope
    if size > 0:
        if price <= 0:
            return None
        return min(price, mark)  # already past it: liquidation is here
    if price >= 2 * mark:
        return None
    return max(price, mark)


def liquidation_distance_pct(mark: Decimal, liquidation: Decimal | None) -> Decimal | None:
    """The adverse move from the mark to liquidation, in percent of the mark; None: not by this product alone."""
    return None if liquidation is None else abs(mark - liquidation) / mark * HUNDRED
