"""This file watches the margin of the night: dearer, and known before it begins."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.engine.watch.alarms import Alarm, clear_alarm, raise_alarm

if TYPE_CHECKING:
    from perpctl.engine.core import Core

HUNDRED = Decimal(100)


def used_pct(core: Core) -> Decimal | None:
    """Margin in the dearest window, of equity, in percent; None: not known."""
    account = core.day.account
    if account is None or account.equity <= 0:
        return None
    return account.initial_margin / account.equity * HUNDRED


def over_limit(core: Core) -> str | None:
    """In words, when the dearest window asks for more than its share of equity; None: it does not."""
    used, limit = used_pct(core), core.rules.limits.max_margin_used_pct
    if used is None or used <= limit:
        return None
    return f"margin at the dearest rates is {used:.1f} % of equity, limit {limit:.1f} %"


def watch_margin(core: Core) -> None:
    """Told once at each time that the calendar names, more gravely each time, while it is too much for the night."""
    hours, now_ms = core.rules.calendar.margin, core.market.now_ms(core.now)
    ends_ms = core.rules.calendar.cheap_margin_ends_ms(now_ms)
    if hours is None:
        return
    due = 0 if ends_ms is None else sum(ends_ms - now_ms <= before_s * 1000 for before_s in hours.warn_s)
    words = over_limit(core)
    for step in range(1, len(hours.warn_s) + 1):
        if step != due or words is None:
            clear_alarm(core, f"{hours.outside} margin {step}")
    if due and words is not None and ends_ms is not None:
        left = (ends_ms - now_ms) // 60_000
        text = f"{words}; {hours.outside} rates in {left} min: reduce, or the venue may"
        raise_alarm(core, Alarm(f"{hours.outside} margin {due}", 1 + due, text))
