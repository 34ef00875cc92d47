"""This file asks every gate before a start, side by side: each with its evidence, its age and its fix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perpctl.checks import gate, own_gates, venue_gates
from perpctl.checks.gate import Outcome, Verdict
from perpctl.results import Answer, Block, Json, Line, Next, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk


async def preflight(desk: Desk, *, show_all: bool = True) -> Answer:
    """Exit 0: may start. 1: a gate failed. 3: a gate could not be answered."""
    outcomes = await look(desk)
    now = desk.clock.monotonic()
    code = gate.exit_code(outcomes)
    shown = outcomes if show_all else [one for one in outcomes if one.finding.verdict is not Verdict.PASS]
    view: list[Block] = [Line(_summary(outcomes), Tone.GOOD if code == 0 else Tone.BAD)]
    view.append(gate.table(shown, now))
    if code:
        view.append(Line("Not done: nothing was started."))
    if fixes := _fixes(outcomes):
        view.append(Next(fixes))
    facts: dict[str, Json] = {
        "may_start": code == 0,
        "counts": {verdict.value: _count(outcomes, verdict) for verdict in Verdict},
        "gates": [one.facts(now) for one in outcomes],
    }
    return Answer("perpctl.preflight/1", await desk.scope(), facts, tuple(view), code, "gates")


async def look(desk: Desk, *, resuming: bool = False) -> tuple[Outcome, ...]:
    """Every gate's outcome. A resume leaves out the gate of the latch itself."""
    await desk.scope()  # the exchange is opened once, before the gates use it side by side
    gates = [*venue_gates.gates(desk), *own_gates.gates(desk, resuming=resuming)]
    return await gate.run(gates, desk.clock)


async def objections(desk: Desk) -> tuple[str, ...]:
    """Why trading may not be resumed: every gate that failed or could not be answered, in words."""
    outcomes = await look(desk, resuming=True)
    bad = (one for one in outcomes if one.finding.verdict in (Verdict.FAIL, Verdict.UNKNOWN))
    return tuple(f"{one.gate.name} {one.finding.verdict}: {one.finding.evidence}" for one in bad)


def _summary(outcomes: Sequence[Outcome]) -> str:
    slowest = max(one.took_s for one in outcomes)
    counts = "   ".join(f"{_count(outcomes, verdict)} {verdict}" for verdict in Verdict)
    verdict = "MAY START" if gate.exit_code(outcomes) == 0 else "MAY NOT START"
    return f"preflight  {len(outcomes)} gates in {slowest:.1f} s:  {counts}   {verdict}"


def _count(outcomes: Sequence[Outcome], verdict: Verdict) -> int:
    return sum(one.finding.verdict is verdict for one in outcomes)


def _fixes(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    bad = (one.finding for one in outcomes if one.finding.verdict is not Verdict.PASS)
    return tuple(dict.fromkeys(finding.fix for finding in bad if finding.fix.startswith("perpctl")))
