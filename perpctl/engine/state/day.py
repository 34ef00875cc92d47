"""This file keeps the money of the risk day: equity now, the day's baseline, the peak of seven days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from perpctl.clock import from_ms
from perpctl.model.day import DAY_MS, SETTLEMENT_MS, Baseline, Peaks, day_start_ms
from perpctl.model.position import Account


def day_name(market_ms: int) -> str:
    """The UTC date on which the risk day of this market time begins."""
    return from_ms(day_start_ms(market_ms)).date().isoformat()


def day_left(market_ms: int) -> Decimal:
    """Fraction of the risk day still to come."""
    return 1 - Decimal((market_ms - SETTLEMENT_MS) % DAY_MS) / DAY_MS


@dataclass(slots=True)
class RiskDay:
    """Between two reads of the account, equity is the last read plus what our holdings have gained since."""

    baseline: Baseline | None = None
    peaks: Peaks = field(default_factory=Peaks)
    account: Account | None = None
    read_at: float = 0.0
    _offset: Decimal | None = None  # equity as read, less the worth of our holdings at that moment

    def remember(self, baselines: Mapping[int, Decimal], today_ms: int) -> None:
        """Baselines by start of day, as earlier runs wrote them down: a restart never re-bases the day."""
        for start_ms, equity in sorted(baselines.items()):
            self.peaks = self.peaks.seen(start_ms, equity)
        today = day_start_ms(today_ms)
        if today in baselines:
            self.baseline = Baseline(today, baselines[today])

    def read(self, account: Account, worth: Decimal | None, now: float) -> bool:
        """Take a fresh read, with the worth of our holdings then; True: it is the baseline of a new day.

        Without a price for what is held (`worth` None) equity stays unknown until the next read: a position counted
        at nothing looks like a loss, or a peak, of its whole notional.
        """
        self.account, self.read_at = account, now
        self._offset = None if worth is None else account.equity - worth
        self.peaks = self.peaks.seen(account.at_ms, account.equity)
        start_ms = day_start_ms(account.at_ms)
        if self.baseline is not None and self.baseline.day_start_ms >= start_ms:
            return False
        self.baseline = Baseline(start_ms, account.equity)
        return True

    @property
    def is_blind(self) -> bool:
        """Whether the account was read while something held had no price."""
        return self.account is not None and self._offset is None

    def equity(self, worth: Decimal | None) -> Decimal | None:
        """Equity when our holdings are worth `worth` (cash of their fills and size times price); None: not known."""
        return None if self._offset is None or worth is None else self._offset + worth

    def pnl(self, worth: Decimal | None, market_ms: int) -> Decimal | None:
        """The day's result; None when there is no baseline of this day."""
        equity, baseline = self.equity(worth), self._todays(market_ms)
        return None if baseline is None or equity is None else baseline.pnl(equity)

    def pnl_pct(self, worth: Decimal | None, market_ms: int) -> Decimal | None:
        """The day's result in percent of the baseline."""
        equity, baseline = self.equity(worth), self._todays(market_ms)
        return None if baseline is None or equity is None else baseline.pnl_pct(equity)

    def drawdown_pct(self, worth: Decimal | None) -> Decimal | None:
        """Percent below the highest equity of seven days, never negative."""
        equity = self.equity(worth)
        return None if equity is None else self.peaks.drawdown_pct(equity)

    def _todays(self, market_ms: int) -> Baseline | None:
        today = self.baseline is not None and self.baseline.day_start_ms >= day_start_ms(market_ms)
        return self.baseline if today else None
