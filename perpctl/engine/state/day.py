"""This file keeps the money of the risk day: equity now, the day's baseline, the peak of seven days."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from perpctl.model.day import NOTHING_MOVED, Baseline, Moves, Peaks, Transfer
from perpctl.model.position import Account
from perpctl.model.venue.calendar import VenueCalendar

OVERLAP_MS = 300_000  # of each look at the ledger with the one before: a row may show later than its time


@dataclass(slots=True)
class RiskDay:
    """Between two reads of the account, equity is the last read plus what our holdings have gained since."""

    calendar: VenueCalendar
    baseline: Baseline | None = None
    peaks: Peaks = field(default_factory=Peaks)
    account: Account | None = None
    read_at: float = 0.0
    unread: str | None = None  # why the last read could not say what came and went; None: it said
    came: tuple[Transfer, ...] = ()  # what the last read was the first to tell
    _counted: dict[str, int] = field(default_factory=dict)  # ledger rows, with their time, that a look may meet again
    _looked_ms: int | None = None  # until when the ledger was read
    _taken: dict[int, int] = field(default_factory=dict)  # by start of day: equity first seen then, transfers in it
    _offset: Decimal | None = None  # equity as read, less the worth of our holdings at that moment

    def remember(self, baselines: Mapping[int, tuple[Decimal, int]], today_ms: int) -> None:
        """Baselines by start of day, and when they were taken, by earlier runs: a restart never re-bases the day."""
        for start_ms, (equity, taken_ms) in sorted(baselines.items()):
            self.peaks = self.peaks.seen(start_ms, equity)
            self._taken[start_ms] = taken_ms
        today = self.calendar.day_start_ms(today_ms)
        if today in baselines:
            self.baseline = Baseline(today, baselines[today][0])

    def read(self, account: Account, worth: Decimal | None, now: float, moves: Moves = NOTHING_MOVED) -> bool:
        """Take a fresh read, with the worth of our holdings then; True: it is the baseline of a new day.

        Without a price for what is held (`worth` None) equity stays unknown until the next read: a position counted
        at nothing looks like a loss, or a peak, of its whole notional.
        """
        self.account, self.read_at = account, now
        self._offset = None if worth is None else account.equity - worth
        self._count(moves)
        start_ms = self.calendar.day_start_ms(account.at_ms)
        is_known = self.unread is None
        if is_known or moves.never or not self.peaks.highs:  # else a deposit that could not be read looks like a peak
            self.peaks = self.peaks.seen(start_ms, account.equity)
        if self.baseline is not None and self.baseline.day_start_ms >= start_ms:
            return False
        self.baseline = Baseline(start_ms, account.equity)
        if not is_known:
            self._taken[start_ms] = account.at_ms
        return True

    def looks_since_ms(self, market_ms: int) -> int:
        """From when on the ledger is to be read: what is new, or since the oldest money that an earlier run saw."""
        if self._looked_ms is None:
            return min(self._taken.values(), default=market_ms) - OVERLAP_MS
        return self._looked_ms - OVERLAP_MS

    def is_news(self, one: Transfer) -> bool:
        """Whether no earlier read took this row into account; those from before the overlap did."""
        return one.row_id not in self._counted and (
            self._looked_ms is None or one.at_ms >= self._looked_ms - OVERLAP_MS
        )

    def _count(self, moves: Moves) -> None:
        """Each ledger row once, into the money that was seen before it."""
        self.unread = moves.unread
        news = [one for one in moves.found if self.is_news(one)]
        for one in news:
            self._counted[one.row_id] = one.at_ms
            self.peaks = self.peaks.with_transfer(one.amount, one.at_ms, self._taken)
            if self.baseline is not None and one.at_ms > self._taken.get(self.baseline.day_start_ms, 0):
                self.baseline = self.baseline.with_transfer(one.amount)
        self.came = () if self._looked_ms is None else tuple(news)
        if moves.unread is None and moves.until_ms is not None:
            self._looked_ms = max(moves.until_ms, self._looked_ms or 0)
            oldest = self._looked_ms - OVERLAP_MS
            self._counted = {row_id: at_ms for row_id, at_ms in self._counted.items() if at_ms >= oldest}

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
        today = self.baseline is not None and self.baseline.day_start_ms >= self.calendar.day_start_ms(market_ms)
        return self.baseline if today else None
