"""This file folds fills, funding and transfers into positions and money, exactly.

Cash is kept as the exact sum of what was paid and received; what is realised is that cash plus the cost of what is
still held. So start + realised + unrealised - fees + funding + transfers = equity holds to the last digit, whatever
rounding an average entry needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from perpctl.model.books.funding import FundingPayment
from perpctl.model.fill import Fill
from perpctl.model.money import ZERO

Key = tuple[str, int | None]  # product and slot
COST_STEP = Decimal("1e-12")  # so that sums of costs stay exact


class Effect(StrEnum):
    """What a fill did to the position."""

    OPENED = "opened"
    ADDED = "added"
    REDUCED = "reduced"
    CLOSED = "closed"
    FLIPPED = "flipped"


class Tally(Struct, frozen=True):
    """One product in one slot, folded. Money in settlement currency, `size` signed base coin."""

    product_id: str
    slot: int | None = None
    size: Decimal = ZERO
    cost: Decimal = ZERO  # signed: what the held size cost at its average entry
    cash: Decimal = ZERO  # received less paid, without fees
    fees: Decimal = ZERO  # positive: paid
    funding: Decimal = ZERO  # negative: paid
    trip: Decimal = ZERO  # realised less fees since the position was last zero

    @property
    def entry_price(self) -> Decimal | None:
        """Average entry; None when flat."""
        return self.cost / self.size if self.size else None

    @property
    def realized(self) -> Decimal:
        """Price profit and loss of what was closed, before fees and funding."""
        return self.cash + self.cost

    def unrealized(self, price: Decimal) -> Decimal:
        """Price profit and loss of what is held, at this price."""
        return self.size * price - self.cost


class Change(Struct, frozen=True):
    """A fill's doing. `trip` is what the round trip that it ended made, fees included; None: none ended."""

    fill: Fill
    effect: Effect
    before: Tally
    after: Tally
    trip: Decimal | None

    @property
    def realized(self) -> Decimal:
        """What this fill realised, before fees."""
        return self.after.realized - self.before.realized


def apply_fill(tally: Tally, fill: Fill) -> Change:
    """One fill into a position; a fill through zero closes at its price and opens the rest at its price.

    Raises ValueError for a fill of another product or slot, or without size.
    """
    if (fill.product_id, fill.slot) != (tally.product_id, tally.slot):
        raise ValueError(f"fill {fill.trade_id} of {fill.product_id} does not belong to {tally.product_id}")
    if fill.size <= 0:
        raise ValueError(f"fill {fill.trade_id} has no size")
    signed = fill.side.sign * fill.size
    size = tally.size + signed
    effect = _effect(tally.size, size)
    cost, cash = _cost(tally, signed, fill.price, effect), tally.cash - signed * fill.price
    trip = tally.trip + cash + cost - tally.realized - fill.fee
    ended = effect is Effect.CLOSED or effect is Effect.FLIPPED
    kept = ZERO if ended else trip
    after = Tally(tally.product_id, tally.slot, size, cost, cash, tally.fees + fill.fee, tally.funding, kept)
    return Change(fill, effect, tally, after, trip if ended else None)


def _effect(before: Decimal, after: Decimal) -> Effect:
    if before == 0:
        return Effect.OPENED
    if after == 0:
        return Effect.CLOSED
    if (before > 0) != (after > 0):
        return Effect.FLIPPED
    return Effect.ADDED if abs(after) > abs(before) else Effect.REDUCED


def _cost(tally: Tally, signed: Decimal, price: Decimal, effect: Effect) -> Decimal:
    if effect in (Effect.OPENED, Effect.ADDED):
        return tally.cost + signed * price
    if effect is Effect.REDUCED:
        return tally.cost + (tally.cost * signed / tally.size).quantize(COST_STEP)
    return (tally.size + signed) * price


class Ledger(Struct, frozen=True):
    """Every position and the money, from a known start; `start` is equity when nothing was held."""

    start: Decimal
    currency: str = "USDC"
    transfers: Decimal = ZERO
    tallies: Mapping[Key, Tally] = field(default_factory=dict)

    def tally(self, product_id: str, slot: int | None = None) -> Tally:
        return self.tallies.get((product_id, slot)) or Tally(product_id, slot)

    def with_fill(self, fill: Fill) -> Ledger:
        """After a fill. Raises ValueError when its fee is in a currency that this ledger does not count in."""
        return self.with_fills((fill,))

    def with_fills(self, fills: Iterable[Fill]) -> Ledger:
        """After these fills, as they come. Raises ValueError as `with_fill`."""
        tallies = dict(self.tallies)
        for fill in fills:
            if fill.fee and fill.fee_currency != self.currency:
                raise ValueError(
                    f"fill {fill.trade_id} has a fee in {fill.fee_currency}; the ledger counts {self.currency}"
                )
            key = (fill.product_id, fill.slot)
            tallies[key] = apply_fill(tallies.get(key) or Tally(*key), fill).after
        return Ledger(self.start, self.currency, self.transfers, tallies)

    def with_funding(self, payment: FundingPayment) -> Ledger:
        """After a funding payment, exact or estimated."""
        tally = self.tally(payment.product_id, payment.slot)
        return self._with(replace(tally, funding=tally.funding + payment.amount))

    def with_transfer(self, amount: Decimal) -> Ledger:
        """After money came in (positive) or went out."""
        return replace(self, transfers=self.transfers + amount)

    def _with(self, tally: Tally) -> Ledger:
        tallies = {**self.tallies, (tally.product_id, tally.slot): tally}
        return Ledger(self.start, self.currency, self.transfers, tallies)

    @property
    def realized(self) -> Decimal:
        return sum((tally.realized for tally in self.tallies.values()), ZERO)

    @property
    def fees(self) -> Decimal:
        return sum((tally.fees for tally in self.tallies.values()), ZERO)

    @property
    def funding(self) -> Decimal:
        return sum((tally.funding for tally in self.tallies.values()), ZERO)

    def unrealized(self, prices: Mapping[str, Decimal]) -> Decimal | None:
        """At these prices by product; None when one that is held has none."""
        total = ZERO
        for tally in self.tallies.values():
            if tally.size == 0:
                continue
            price = prices.get(tally.product_id)
            if price is None:
                return None
            total += tally.unrealized(price)
        return total

    def equity(self, prices: Mapping[str, Decimal]) -> Decimal | None:
        """What the account must be worth; None when a price is missing."""
        open_pnl = self.unrealized(prices)
        if open_pnl is None:
            return None
        return self.start + self.transfers + self.realized + open_pnl - self.fees + self.funding


def in_order(fills: Iterable[Fill]) -> list[Fill]:
    """Fills as they happened: by time, then by the venue's sequence, then by id."""
    return sorted(fills, key=lambda fill: (fill.at_ms, fill.trade_seq or 0, fill.trade_id))


def explain(fills: Iterable[Fill], start: Mapping[Key, Tally] | None = None) -> tuple[Change, ...]:
    """Fill by fill, oldest first, from nothing or from known positions, to today's number."""
    tallies = dict(start or {})
    changes = []
    for fill in in_order(fills):
        key = (fill.product_id, fill.slot)
        change = apply_fill(tallies.get(key) or Tally(*key), fill)
        tallies[key] = change.after
        changes.append(change)
    return tuple(changes)
