"""This file keeps the risk day: when it starts, its baseline, its profit and loss, and the peak of seven days.

The day starts with the venue's daily settlement at 08:00 UTC (Coinbase gateway docs, settlement), so that the venue's
own session figures can be compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from perpctl.model.money import ZERO
from perpctl.model.position import Position

DAY_MS = 86_400_000
SETTLEMENT_MS = 8 * 3_600_000  # after midnight UTC
QUIET_BEFORE_MS = QUIET_AFTER_MS = 30_000
UNPROVEN_BEFORE_MS, UNPROVEN_AFTER_MS = 5_000, 15_000
PEAK_DAYS = 7
HUNDRED = Decimal(100)


def day_start_ms(now_ms: int) -> int:
    """The start of the risk day that holds this market time."""
    return now_ms - (now_ms - SETTLEMENT_MS) % DAY_MS


def next_settlement_ms(now_ms: int) -> int:
    """The next settlement strictly after this market time."""
    return day_start_ms(now_ms) + DAY_MS


def near_settlement(now_ms: int) -> bool:
    """Whether no new entry should be sent: 30 s before to 30 s after the settlement."""
    return _within(now_ms, QUIET_BEFORE_MS, QUIET_AFTER_MS)


def reads_prove_nothing(now_ms: int) -> bool:
    """Whether the venue is settling, so that a read is no proof: 5 s before to 15 s after."""
    return _within(now_ms, UNPROVEN_BEFORE_MS, UNPROVEN_AFTER_MS)


def _within(now_ms: int, before_ms: int, after_ms: int) -> bool:
    since = now_ms - day_start_ms(now_ms)
    return since < after_ms or since >= DAY_MS - before_ms


@dataclass(frozen=True, slots=True)
class Transfer:
    """Money that came into the account (positive) or left it (negative): neither profit nor loss."""

    row_id: str
    amount: Decimal
    currency: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Moves:
    """What one look at the venue's ledger said of transfers, and until when (market time) it said it.

    `unread` says why it could not be told: then a loss may be a withdrawal, and a profit a deposit. `never`: it is
    not a failure, the venue keeps no such ledger.
    """

    found: tuple[Transfer, ...] = ()
    until_ms: int | None = None
    unread: str | None = None
    never: bool = False


NOTHING_MOVED = Moves()


@dataclass(frozen=True, slots=True)
class Baseline:
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


def baseline_at(stored: Baseline | None, now_ms: int, equity: Decimal) -> Baseline:
    """The stored baseline while its day lasts, else a new one from the equity now."""
    start = day_start_ms(now_ms)
    if stored is not None and stored.day_start_ms >= start:
        return stored
    return Baseline(start, equity)


def conservative_equity(equity: Decimal, positions: Iterable[Position]) -> Decimal:
    """Equity with every position valued at the worse of mark and index, given equity as the venue marks it."""
    total = equity
    for held in positions:
        if held.mark is not None and held.index is not None:
            total += min(held.size * (held.index - held.mark), ZERO)
    return total


@dataclass(frozen=True, slots=True)
class Peaks:
    """The highest equity of each risk day, oldest first; transfers move them along."""

    highs: tuple[tuple[int, Decimal], ...] = ()  # start of day, highest equity

    def seen(self, now_ms: int, equity: Decimal) -> Peaks:
        """With one more look at equity; days older than seven are forgotten."""
        today = day_start_ms(now_ms)
        kept = [(day, high) for day, high in self.highs if today - PEAK_DAYS * DAY_MS < day < today]
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
