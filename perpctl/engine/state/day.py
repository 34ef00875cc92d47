"""This file keeps the money of the risk day: equity now, the day's baseline, the peak of seven days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from perpctl.clock import from_ms
from perpctl.model.money import ZERO
from perpctl.model.position import Account

DAY_MS = 86_400_000
PEAK_DAYS = 7
HUNDRED = Decimal(100)


@dataclass(slots=True)
class RiskDay:
    """Money in settlement currency; `starts_ms` is where in the UTC day the risk day begins (the settlement).

    Between two reads of the account, equity is the last read plus what our holdings have gained since.
    """

    starts_ms: int = 8 * 3_600_000
    baselines: dict[int, Decimal] = field(default_factory=dict)  # day -> equity
    peaks: dict[int, Decimal] = field(default_factory=dict)  # day -> highest equity read
    account: Account | None = None
    read_at: float = 0.0
    _offset: Decimal = ZERO  # equity as read, less the worth of our holdings at that moment

    def day_of(self, market_ms: int) -> int:
        return (market_ms - self.starts_ms) // DAY_MS

    def name_of(self, day: int) -> str:
        """The UTC date on which the risk day begins."""
        return from_ms(day * DAY_MS + self.starts_ms).date().isoformat()

    def left(self, market_ms: int) -> Decimal:
        """Fraction of the risk day still to come."""
        return 1 - Decimal((market_ms - self.starts_ms) % DAY_MS) / DAY_MS

    def remember(self, baselines: Mapping[int, Decimal], peaks: Mapping[int, Decimal]) -> None:
        """What an earlier run wrote down: a restart never re-bases the day."""
        self.baselines.update(baselines)
        self.peaks.update(peaks)

    def read(self, account: Account, worth: Decimal, now: float) -> tuple[int, Decimal, Decimal] | None:
        """Take a fresh read; the day, baseline and peak when they are to be written down."""
        self.account, self.read_at, self._offset = account, now, account.equity - worth
        day = self.day_of(account.at_ms)
        peak = max(self.peaks.get(day, account.equity), account.equity)
        news = day not in self.baselines or peak > self.peaks.get(day, ZERO)
        self.baselines.setdefault(day, account.equity)
        self.peaks[day] = peak
        for old in [d for d in self.peaks if d <= day - PEAK_DAYS]:
            self.peaks.pop(old)
            self.baselines.pop(old, None)
        return (day, self.baselines[day], peak) if news else None

    def equity(self, worth: Decimal) -> Decimal | None:
        """Equity when our holdings are worth `worth` (cash of their fills and size times price); None: never read."""
        return self._offset + worth if self.account is not None else None

    def pnl(self, worth: Decimal, market_ms: int) -> Decimal | None:
        """The day's result; None when there is no baseline of this day."""
        baseline, equity = self.baselines.get(self.day_of(market_ms)), self.equity(worth)
        return None if baseline is None or equity is None else equity - baseline

    def pnl_pct(self, worth: Decimal, market_ms: int) -> Decimal | None:
        """The day's result in percent of the baseline."""
        result, baseline = self.pnl(worth, market_ms), self.baselines.get(self.day_of(market_ms))
        return None if result is None or not baseline else result / baseline * HUNDRED

    def drawdown_pct(self, worth: Decimal) -> Decimal | None:
        """Percent below the highest equity of seven days, never negative."""
        equity, peak = self.equity(worth), max(self.peaks.values(), default=None)
        return None if equity is None or not peak else max(ZERO, (peak - equity) / peak * HUNDRED)
