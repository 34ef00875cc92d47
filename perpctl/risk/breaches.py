"""This file says what a loss calls for: a warning, reduce-only, a halt, or the kill when prices can be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from perpctl.model.mode import Mode
from perpctl.risk.limits import Limits

AGREE_PCT = Decimal("0.5")
KILL_AFTER_MS = 5_000
KILL_EVALUATIONS = 3


class Action(StrEnum):
    """From least to most; HALT leaves only by a named human."""

    WARN = "warn"
    REDUCE_ONLY = "reduce_only"
    PAGE = "page"  # reduce-only, and somebody is called: past the kill line, and the prices do not allow the kill
    HALT = "halt"
    KILL = "kill"


@dataclass(frozen=True, slots=True)
class Breach:
    """A limit that was reached; percentages, losses negative."""

    action: Action
    name: str
    value: Decimal
    limit: Decimal
    why: str


@dataclass(frozen=True, slots=True)
class LossWatch:
    """How long, and over how many evaluations, the day's loss has stood past the kill line with prices agreeing."""

    since_ms: int | None = None
    evaluations: int = 0

    def evaluate(
        self,
        now_ms: int,
        pnl_pct: Decimal | None,
        apart_pct: Decimal | None,
        limits: Limits,
        *,
        unread: str | None = None,
    ) -> tuple[LossWatch, Breach | None]:
        """The watch after this evaluation (market time) and the breach, if any.

        `pnl_pct` is the day's, conservatively marked; `apart_pct` is how far price and index are apart at most, over
        the products held. Past the kill line with prices apart or unknown, or not for long enough, it is reduce-only
        and a page. The same with `unread`, why transfers could not be read: the loss may be a withdrawal, and a kill
        cannot be taken back, while the lines above it only take risk away.
        An unknown day's figure is no breach here: the gate lets no entry pass without it.
        """
        if pnl_pct is None:
            return LossWatch(), None
        agree = apart_pct is not None and abs(apart_pct) <= AGREE_PCT
        if pnl_pct <= -limits.day_loss_kill_pct and agree and unread is None:
            watch = LossWatch(now_ms if self.since_ms is None else self.since_ms, self.evaluations + 1)
        else:
            watch = LossWatch()
        return watch, watch._breach(now_ms, pnl_pct, limits, unread)

    def _breach(self, now_ms: int, pnl_pct: Decimal, limits: Limits, unread: str | None) -> Breach | None:
        kill, reduce, warn = -limits.day_loss_kill_pct, -limits.day_loss_reduce_pct, -limits.day_loss_warn_pct
        if pnl_pct <= kill:
            long_enough = self.since_ms is not None and now_ms - self.since_ms >= KILL_AFTER_MS
            if long_enough and self.evaluations >= KILL_EVALUATIONS:
                return Breach(Action.KILL, "day PnL", pnl_pct, kill, "past the kill line, price and index agreeing")
            why = "past the kill line, price and index did not agree yet for 5 s and 3 evaluations"
            if unread is not None:
                why = f"past the kill line, but it may be a withdrawal, no unattended kill: {unread}"
            return Breach(Action.PAGE, "day PnL", pnl_pct, kill, why)
        if pnl_pct <= reduce:
            return Breach(Action.REDUCE_ONLY, "day PnL", pnl_pct, reduce, "past the reduce line")
        if pnl_pct <= warn:
            return Breach(Action.WARN, "day PnL", pnl_pct, warn, "past the warning line")
        return None


def drawdown(fall_pct: Decimal | None, limits: Limits) -> Breach | None:
    """A halt when equity fell too far from its peak of 7 days; `fall_pct` is positive."""
    if fall_pct is None or fall_pct < limits.drawdown_halt_pct:
        return None
    return Breach(Action.HALT, "drawdown", -fall_pct, -limits.drawdown_halt_pct, "fell too far from the peak of 7 days")


def mode_after_resume(pnl_pct: Decimal | None, limits: Limits) -> Mode:
    """What a resume may lead to: with the day's loss at or past the reduce line, or unknown, reduce-only at most."""
    if pnl_pct is None or pnl_pct <= -limits.day_loss_reduce_pct:
        return Mode.REDUCE_ONLY
    return Mode.NORMAL
