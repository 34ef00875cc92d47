"""This file asks every gate before a start, side by side: each with its evidence, its age and its fix."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from perpctl.checks import gate
from perpctl.checks.gate import GATE_S, Finding, Outcome, Verdict
from perpctl.checks.gates import account, identity, own, venue
from perpctl.errors import CredentialError, UnknownState, VenueUnreachable
from perpctl.questions import figures
from perpctl.results import Answer, Block, Json, Line, Next, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk


async def preflight(desk: Desk, *, show_all: bool | None = None) -> Answer:
    """Exit 0: may start. 1: a gate failed. 3: a gate could not be answered.

    Gates that passed are shown when all is well, or when asked for: in trouble they would hide it.
    """
    outcomes, gone = await _looked(desk, resuming=False)
    now = desk.clock.monotonic()
    code = gate.exit_code(outcomes)
    view: list[Block] = [Line(_summary(outcomes), Tone.GOOD if code == 0 else Tone.BAD), Line("")]
    if gone is not None:
        view.insert(1, Line(f"THE VENUE GIVES NO ANSWER: {gone}", Tone.BAD, mark=True))
    if show_all or (show_all is None and code == 0):
        view.append(gate.table(outcomes, now))
    else:
        view.append(gate.table([one for one in outcomes if one.finding.verdict is not Verdict.PASS], now))
        view.append(Line(f"PASS  {figures.count(_count(outcomes, Verdict.PASS), 'other gate')}; --all shows them"))
    if code:
        view.append(Line("Not done: nothing was started."))
    fixes = gate.fixes(outcomes)
    if code and not fixes:
        fixes = (f"perpctl -p {desk.settings.profile} market status", f"perpctl -p {desk.settings.profile} auth test")
    if fixes:
        view.append(Next(fixes))
    facts: dict[str, Json] = {
        "may_start": code == 0,
        "venue_silent": gone,
        "counts": {verdict.value: _count(outcomes, verdict) for verdict in Verdict},
        "gates": [one.facts(now) for one in outcomes],
    }
    trouble = gate.trouble(outcomes) if gone is None else f"the venue gives no answer: {gone}"
    return Answer("perpctl.preflight/1", desk.known_scope(), facts, tuple(view), code, "gates", trouble=trouble)


async def _looked(desk: Desk, *, resuming: bool) -> tuple[tuple[Outcome, ...], str | None]:
    """Every gate's outcome, and why the venue gives no answer at all. A resume judges some of them itself."""
    at_venue = [*identity.gates(desk), *venue.gates(desk), *account.gates(desk), *venue.risk_gates(desk)]
    ours = own.gates(desk, resuming=resuming)
    asked = [*(replace(one, asks_venue=True) for one in at_venue), *ours]
    gone = await _gone(desk)
    meant = [one if gone is None or not one.asks_venue else replace(one, look=_not_asked) for one in asked]
    return await gate.run(meant, desk.clock), gone


async def _gone(desk: Desk) -> str | None:
    """Why the venue gives no answer, asked once: then no gate waits for it in vain, and each says the cause."""
    try:
        async with asyncio.timeout(GATE_S):
            await desk.exchange()
    except TimeoutError:
        return f"the venue gave no answer within {GATE_S:g} s"
    except VenueUnreachable as why:
        return why.message
    except (UnknownState, CredentialError):
        pass  # it answers, and not as it should: the gates say what is wrong
    return None


async def _not_asked() -> Finding:
    return Finding(Verdict.UNKNOWN, "not asked: the venue gives no answer")


async def objections(desk: Desk) -> tuple[tuple[str, str], ...]:
    """Why trading may not be resumed: every gate that failed or could not be answered, in words, with its fix."""
    outcomes, _ = await _looked(desk, resuming=True)
    bad = (one for one in outcomes if one.finding.verdict in (Verdict.FAIL, Verdict.UNKNOWN))
    return tuple((f"{one.gate.name} {one.finding.verdict}: {one.finding.evidence}", one.finding.fix) for one in bad)


def _summary(outcomes: Sequence[Outcome]) -> str:
    slowest = max(one.took_s for one in outcomes)
    counts = "   ".join(f"{_count(outcomes, verdict)} {verdict}" for verdict in Verdict)
    verdict = "MAY START" if gate.exit_code(outcomes) == 0 else "MAY NOT START"
    return f"preflight  {len(outcomes)} gates in {slowest:.1f} s:  {counts}   {verdict}"


def _count(outcomes: Sequence[Outcome], verdict: Verdict) -> int:
    return sum(one.finding.verdict is verdict for one in outcomes)
