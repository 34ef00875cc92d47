"""This file raises alarms once, when a line is crossed, and lets go of them when it is crossed back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.model.mode import Mode

if TYPE_CHECKING:
    from perpctl.engine.core import Core

USER_SILENT, LATENCY, ORDER_SUCCESS = "user silent", "latency", "order success"
UNREAD = "transfers unread"
HEALING = frozenset({USER_SILENT, LATENCY, ORDER_SUCCESS})  # operational: over when their cause is over


@dataclass(frozen=True, slots=True)
class Alarm:
    """What crossed a line, how grave it is (1 to 4), and the mode it calls for; a `risk` mode never ends by itself."""

    name: str
    level: int
    reason: str
    mode: Mode | None = None
    risk: bool = True


def raise_alarm(core: Core, alarm: Alarm) -> bool:
    """Act once, not at every look; whether it was new."""
    if alarm.name in core.alarms:
        return False
    core.alarms[alarm.name] = alarm
    core.ask_for(e.Alert(alarm.level, alarm.name, alarm.reason))
    if alarm.mode is not None:
        core.enter_mode(alarm.mode, alarm.reason, risk=alarm.risk)
    return True


def clear_alarm(core: Core, name: str) -> None:
    """It is over. The mode is left only when nothing else holds it."""
    if core.alarms.pop(name, None) is None or name not in HEALING:
        return
    if all(other.mode is None for other in core.alarms.values()):
        core.ask_for(e.LeaveMode(name))
