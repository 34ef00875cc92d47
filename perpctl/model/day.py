"""This file keeps the money of risk days: a day's baseline, its profit and loss, and the peak of seven days.

When a day starts is the venue's to say (`VenueCalendar.day`): with its daily settlement or session roll, so that the
venue's own session figures can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from msgspec import Struct
from msgspec.structs import replace

from perpctl.model.money import ZERO
from perpctl.model.position import Position

DAY_MS = 86_400_000
PEAK_DAYS = 7
HUNDRED = Decimal(100)


class Transfer(Struct, frozen=True):
    """Money that came into the account (positive) or left it (negative): neither profit nor loss."""

    row_id: str
    amount: Decimal
    currency: str
    at_ms: int


class Moves(Struct, frozen=True):
    """What one look at the venue's ledger said of transfers, and until when (market time) it said it.

    `unread` says why it could not be told: then a loss may be a withdrawal, and a profit a deposit. `never`: it is
    not a failure, the venue keeps no such ledger.
    """

    found: tuple[Transfer, ...] = ()
    until_ms: int | None = None
    unread: str | None = None
    never: bool = False


NOTHING_MOVED = Moves()


class Baseline(Struct, frozen=True):
    """What the day's profit and loss is measured from; stored, and never taken anew within its day.

    A restart, a deposit, a return to normal or another risk level leave it alone. `transfers` is the net amount that
    came in since, and is not profit.
    """

    day_start_ms: int
    equity: Decimal
    transfers: Decimal = ZERO

    def with_transfer(self, amount: Decimal) -> Baseline:
        """After a deposit (positive) or withdrawal (negative)."""
        return replace(self, transfers=self.transfers + amount)

    def pnl(self, equity: Decimal) -> Decimal:
        """Profit and loss of the day in settlement currency, fees and funding included."""
        return equity - self.equity - self.transfers

    def pnl_pct(self, equity: Decimal) -> Decimal | None:
        """The same in percent of the baseline; None when there is nothing to measure against."""
        return self.pnl(equity) / self.equity * HUNDRED if self.equity > 0 else None


def conservative_equity(equity: Decimal, positions: Iterable[Position]) -> Decimal:
    """Equity with every position valued at the worse of mark and index, given equity as the venue marks it."""
    total = equity
    for held in positions:
        if held.mark is not None and held.index is not None:
            total += min(held.size * (held.index - held.mark), ZERO)
    return total


class Peaks(Struct, frozen=True):
    """The highest equity of each risk day, oldest first; transfers move them along."""

    highs: tuple[tuple[int, Decimal], ...] = ()  # start of day, highest equity

    def seen(self, today: int, equity: Decimal) -> Peaks:
        """With one more look at equity on the day that started then; days older than seven are forgotten."""
        oldest = today - PEAK_DAYS * DAY_MS + DAY_MS // 2  # a day has 23 or 25 hours where clocks change
        kept = [(day, high) for day, high in self.highs if oldest < day < today]
        before = next((high for day, high in self.highs if day == today), equity)
        return Peaks((*kept, (today, max(before, equity))))

    def with_transfer(self, amount: Decimal, at_ms: int = 0, taken: Mapping[int, int] | None = None) -> Peaks:
        """After a deposit or withdrawal: money that comes or goes is neither peak nor fall.

        `taken` says when a day's high was looked at: one from after `at_ms` has the transfer in it already.
        """
        known = taken or {}
        return Peaks(
            tuple((day, high if day in known and known[day] >= at_ms else high + amount) for day, high in self.highs)
        )

    def drawdown_pct(self, equity: Decimal) -> Decimal | None:
        """The fall from the highest of the days kept, in percent, never below zero; None before the first look."""
        peak = max((high for _, high in self.highs), default=ZERO)
        return max((peak - equity) / peak * HUNDRED, ZERO) if peak > 0 else None
