"""This file watches how the venue answers, and how often one side executes or a round trip loses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.watch.alarms import LATENCY, ORDER_SUCCESS, Alarm, clear_alarm, raise_alarm
from perpctl.model.mode import Mode
from perpctl.model.order import Side
from perpctl.risk.conduct import MAX_LATENCY_MS, MIN_SUCCESS_PCT, losing_trips, same_side_executions

if TYPE_CHECKING:
    from perpctl.engine.core import Core

WARN_SUCCESS_PCT, WARN_LATENCY_MS = 95, 500  # the runbook's own alarms


def watch_answers(core: Core, event: e.Ticked) -> None:
    """Refusals and slow answers: told at the runbook's line, reduce-only at the critical one until it is over."""
    success, latency = event.order_success_pct, event.latency_p95_ms
    words = "" if success is None else f"{success:.1f} % of orders succeed"
    _line(core, success is not None and success < WARN_SUCCESS_PCT, Alarm(f"{ORDER_SUCCESS} warn", 2, words))
    low = success is not None and success < MIN_SUCCESS_PCT
    _line(core, low, Alarm(ORDER_SUCCESS, 3, f"gate: {words}", Mode.REDUCE_ONLY, risk=False))
    words = f"answers to orders take {latency} ms (p95)"
    _line(core, latency is not None and latency > WARN_LATENCY_MS, Alarm(f"{LATENCY} warn", 2, words))
    slow = latency is not None and latency > MAX_LATENCY_MS
    _line(core, slow, Alarm(LATENCY, 3, f"gate: {words}", Mode.REDUCE_ONLY, risk=False))


def _line(core: Core, crossed: bool, alarm: Alarm) -> None:
    if crossed:
        raise_alarm(core, alarm)
    else:
        clear_alarm(core, alarm.name)


def watch_executions(core: Core, product_id: str) -> None:
    """At the fill that reaches the line, not at the next order: only a named human goes on."""
    limits, recent = core.rules.limits, core.activity.recent(core.market_ms)
    for side in Side:
        count = same_side_executions(recent, product_id, side, core.market_ms)
        if count >= limits.same_side_executions:
            reason = f"gate: {count} executions on side {side.value} in 5 min"
            raise_alarm(core, Alarm(f"executions {product_id} {side.value}", 3, reason, Mode.HALTED))
    lost = losing_trips(recent, core.market_ms)
    if lost >= limits.losing_round_trips:
        raise_alarm(core, Alarm("losing round trips", 3, f"gate: {lost} losing round trips in 60 min", Mode.HALTED))
