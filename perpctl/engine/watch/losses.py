"""This file watches the day's loss, the drawdown and what came and went, and says what they call for."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.watch.alarms import UNREAD, Alarm, clear_alarm, raise_alarm
from perpctl.model.mode import Mode
from perpctl.model.money import ZERO
from perpctl.risk.breaches import Action, Breach, drawdown

if TYPE_CHECKING:
    from perpctl.engine.core import Core

REDUCES = frozenset({Action.REDUCE_ONLY, Action.PAGE, Action.KILL})


def watch_losses(core: Core) -> None:
    """Evaluate the lines with every product conservatively marked, and act on what is crossed."""
    limits, worth = core.rules.limits, core.worth(worse=True)
    pnl_pct = core.day.pnl_pct(worth, core.market_ms)
    apart_pct, unread = _apart_pct(core), core.day.unread
    core.losses, breach = core.losses.evaluate(core.market_ms, pnl_pct, apart_pct, limits, unread=unread)
    for found in (breach, drawdown(core.day.drawdown_pct(worth), limits)):
        if found is not None:
            _act_on(core, found)


def watch_transfers(core: Core) -> None:
    """Put on the record what came and went; say when that cannot be told, for then the day's figure may be it."""
    for one in core.day.came:
        way = "came in" if one.amount > 0 else "left"
        text = f"{abs(one.amount):f} {one.currency} {way} (ledger row {one.row_id}): neither profit nor loss of the day"
        core.ask_for(e.Alert(1, "transfer", text))
    if core.day.unread is None:
        clear_alarm(core, UNREAD)
    else:
        text = f"deposits and withdrawals count as profit and loss, and the bot kills on none of it: {core.day.unread}"
        raise_alarm(core, Alarm(UNREAD, 2, text))


def _act_on(core: Core, breach: Breach) -> None:
    """Past the kill line somebody is called in any case; the kill only where the profile allows it unattended."""
    reason = f"gate: {breach.name} {breach.value:.2f} %, line {breach.limit:.2f} %: {breach.why}"
    if breach.action is Action.WARN:
        raise_alarm(core, Alarm(f"{breach.name} warn", 2, reason))
    elif breach.action is Action.HALT:
        raise_alarm(core, Alarm(breach.name, 4, reason, Mode.HALTED))
    if breach.action in REDUCES:
        raise_alarm(core, Alarm(breach.name, 3, reason, Mode.REDUCE_ONLY))
    if breach.action is Action.PAGE:
        raise_alarm(core, Alarm(f"{breach.name} kill line", 4, reason))
    elif breach.action is Action.KILL:
        _kill(core, breach, reason)


def _kill(core: Core, breach: Breach, reason: str) -> None:
    if core.rules.unattended_kill:
        if raise_alarm(core, Alarm(f"{breach.name} kill", 4, f"{reason}: killing, as the profile allows unattended")):
            core.ask_for(e.StartKill(reason))
    else:
        raise_alarm(
            core, Alarm(f"{breach.name} kill", 4, f"{reason}: NOT killed, the profile does not allow it unattended")
        )


def _apart_pct(core: Core) -> Decimal | None:
    """How far price and index are apart at most, over what is held; None when one of them is missing."""
    apart = [product.apart_pct for product in core.products.values() if product.position]
    return None if None in apart else max((one for one in apart if one is not None), default=ZERO)
