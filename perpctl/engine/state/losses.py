"""This file watches the day's loss and the drawdown, and says what they call for."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.model.mode import Mode
from perpctl.model.money import ZERO
from perpctl.risk.breaches import Action, Breach, drawdown

if TYPE_CHECKING:
    from perpctl.engine.core import Core


def watch_losses(core: Core) -> None:
    """Evaluate the lines with every product conservatively marked, and act on what is crossed."""
    limits, worth = core.rules.limits, core.worth(worse=True)
    pnl_pct = core.day.pnl_pct(worth, core.market_ms)
    core.losses, breach = core.losses.evaluate(core.market_ms, pnl_pct, _apart_pct(core), limits)
    for found in (breach, drawdown(core.day.drawdown_pct(worth), limits)):
        if found is not None:
            _act_on(core, found)


def _act_on(core: Core, breach: Breach) -> None:
    """The kill itself is an operator's to switch on; short of it, reduce-only and the page."""
    reason = f"gate: {breach.name} {breach.value:.2f} %, line {breach.limit:.2f} %: {breach.why}"
    if breach.action is Action.WARN:
        core.breach(f"{breach.name} warn", None, reason, risk=True)
    elif breach.action is Action.HALT:
        core.breach(breach.name, Mode.HALTED, reason, risk=True)
    else:
        core.breach(breach.name, Mode.REDUCE_ONLY, reason, risk=True)
        if breach.action is Action.KILL:
            core.breach("kill line", None, reason, risk=True)


def _apart_pct(core: Core) -> Decimal | None:
    """How far mark and index are apart at most, over what is held; None when one of them is missing."""
    apart = [product.apart_pct for product in core.products.values() if product.position]
    return None if None in apart else max((one for one in apart if one is not None), default=ZERO)
