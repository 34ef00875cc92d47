"""This file works out margin: what is used, what is left, and what both become after a move of prices.

Margin grows in proportion to price at an unchanged size, so a venue's own figure moves exactly with its position's
price; what open orders tie up is left as it is. Everything after a move is an estimate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from perpctl.model.exposure import MarginRates, initial_margin, maintenance_margin, standard_rates
from perpctl.model.money import ZERO

HUNDRED = Decimal(100)


class WindowRates(Struct, frozen=True):
    """What one margin window asks of a product, long and short, as fractions of notional."""

    window: str
    long: MarginRates
    short: MarginRates

    def of(self, size: Decimal) -> MarginRates:
        """The rates for a signed size."""
        return self.short if size < 0 else self.long


class MarginMeasure(Struct, frozen=True):
    """What one margin window asks of the whole account. `window` None: the venue has only one.

    `maintenance` is where liquidation begins. `told`: the venue's own figures; else worked out by us.
    """

    window: str | None
    initial: Decimal
    maintenance: Decimal
    told: bool = True


class Part(Struct, frozen=True):
    """One position as margin sees it: signed size, its price, and what it ties up; a figure not known is None."""

    product_id: str
    size: Decimal
    price: Decimal | None
    initial: Decimal | None
    maintenance: Decimal | None

    @property
    def notional(self) -> Decimal | None:
        """Signed: positive gains when prices rise."""
        return None if self.price is None else self.size * self.price


class Balance(Struct, frozen=True):
    """Equity against what is asked of it."""

    equity: Decimal
    measure: MarginMeasure

    @property
    def used_pct(self) -> Decimal | None:
        """Initial margin in percent of equity; None without equity."""
        return self.measure.initial / self.equity * HUNDRED if self.equity > 0 else None

    @property
    def buffer(self) -> Decimal:
        """What may be lost before liquidation begins; negative: it has begun."""
        return self.equity - self.measure.maintenance

    @property
    def is_liquidated(self) -> bool:
        return self.measure.maintenance > 0 and self.buffer <= 0

    def cash_needed(self, limit_pct: Decimal) -> Decimal:
        """What has to be paid in so that the margin used comes down to `limit_pct` of equity; zero: nothing."""
        if limit_pct <= 0:
            raise ValueError("no share of equity is allowed")
        return max(self.measure.initial * HUNDRED / limit_pct - self.equity, ZERO)


def part_in(window: WindowRates | None, part: Part) -> Part:
    """The same position under another window's rates; without rates it keeps the venue's own figures."""
    if window is None or part.price is None:
        return part
    rates = window.of(part.size)
    return replace(
        part,
        initial=initial_margin(part.size, part.price, rates),
        maintenance=maintenance_margin(part.size, part.price, rates),
    )


def shared_out(parts: Sequence[Part], measure: MarginMeasure) -> tuple[Part, ...]:
    """Parts by published rates, their maintenance brought to what the venue asks of the account as a whole.

    Where liquidation begins is told for the account; what a product's rates say of it is only an upper bound.
    """
    total = sum((one.maintenance for one in parts if one.maintenance is not None), ZERO)
    if total <= measure.maintenance or not measure.told:
        return tuple(parts)
    share = measure.maintenance / total
    return tuple(one if one.maintenance is None else replace(one, maintenance=one.maintenance * share) for one in parts)


def dearest(measures: Iterable[MarginMeasure]) -> MarginMeasure:
    """The window that asks most."""
    return max(measures, key=lambda one: (one.initial, one.maintenance))


def after_move(balance: Balance, parts: Sequence[Part], moves: Sequence[Decimal]) -> Balance | None:
    """The balance when each part's price has moved by its fraction (-0.10: ten percent down).

    None as soon as something that moves has no price or no margin: a partial answer would look like a better one.
    """
    equity, initial, maintenance = balance.equity, balance.measure.initial, balance.measure.maintenance
    for part, move in zip(parts, moves, strict=True):
        if part.size == 0 or move == 0:
            continue
        notional = part.notional
        if notional is None or part.initial is None or part.maintenance is None:
            return None
        equity += notional * move
        initial += part.initial * move
        maintenance += part.maintenance * move
    return Balance(equity, replace(balance.measure, initial=initial, maintenance=maintenance, told=False))


def move_to_liquidation(balance: Balance, parts: Sequence[Part]) -> Decimal | None:
    """The fraction by which all prices together would have to move until equity meets maintenance.

    Negative: down. None: no move between -100 % and +100 % does it, or something has no price or margin. Zero: it is
    there already.
    """
    if balance.is_liquidated:
        return ZERO
    gain, growth = ZERO, ZERO
    for part in parts:
        if part.size == 0:
            continue
        if part.notional is None or part.maintenance is None:
            return None
        gain += part.notional
        growth += part.maintenance
    slope = gain - growth  # of the buffer, for a move of 1
    if slope == 0:
        return None
    move = -balance.buffer / slope
    return move if -1 < move <= 1 else None


def rates_for(published: Sequence[WindowRates], base: str, size: Decimal) -> MarginRates:
    """What a product asks for a signed size in its dearest window; where none are published, the standard model's."""
    if not published:
        return standard_rates(base)
    return max((one.of(size) for one in published), key=lambda rates: (rates.initial, rates.maintenance))
