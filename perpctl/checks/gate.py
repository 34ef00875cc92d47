"""This file holds what one gate of a checklist comes to, and runs many of them side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from perpctl.errors import ExitCode, PerpctlError, UnknownState
from perpctl.results import Age, Column, Json, Line, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.clock import Clock

GATE_S = 3.0


class Verdict(StrEnum):
    PASS = "PASS"  # noqa: S105
    WARN = "WARN"
    FAIL = "FAIL"
    UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a gate found; `fix` is the complete command or the words that mend it."""

    verdict: Verdict
    evidence: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Gate:
    """One question of a checklist. `deadline_s` bounds it: no answer in time is UNKNOWN, never a pass."""

    section: str
    name: str
    look: Callable[[], Awaitable[Finding]]
    deadline_s: float = GATE_S
    asks_venue: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    gate: Gate
    finding: Finding
    took_s: float
    ended_at: float  # monotonic

    def facts(self, now: float) -> dict[str, Json]:
        """For JSON."""
        return {
            "section": self.gate.section,
            "gate": self.gate.name,
            "verdict": self.finding.verdict.value,
            "evidence": self.finding.evidence,
            "fix": self.finding.fix or None,
            "age_s": f"{now - self.ended_at:.3f}",
        }


def passed(evidence: str) -> Finding:
    """The gate is open."""
    return Finding(Verdict.PASS, evidence)


def warned(evidence: str, fix: str = "") -> Finding:
    """Open, with something a human should see."""
    return Finding(Verdict.WARN, evidence, fix)


def failed(evidence: str, fix: str = "") -> Finding:
    """Shut."""
    return Finding(Verdict.FAIL, evidence, fix)


async def run(gates: Sequence[Gate], clock: Clock) -> tuple[Outcome, ...]:
    """All of them side by side; what could not be told is UNKNOWN with the reason."""
    return tuple(await asyncio.gather(*(_run_one(gate, clock) for gate in gates)))


async def _run_one(gate: Gate, clock: Clock) -> Outcome:
    began = clock.monotonic()
    try:
        async with asyncio.timeout(gate.deadline_s):
            finding = await gate.look()
    except TimeoutError:
        finding = Finding(Verdict.UNKNOWN, f"no answer within {gate.deadline_s:g} s")
    except UnknownState as why:
        finding = Finding(Verdict.UNKNOWN, why.message, _first(why))
    except PerpctlError as why:
        finding = Finding(Verdict.FAIL, why.message, _first(why))
    return Outcome(gate, finding, clock.monotonic() - began, clock.monotonic())


def _first(why: PerpctlError) -> str:
    return why.next_commands[0] if why.next_commands else ""


def exit_code(outcomes: Sequence[Outcome]) -> ExitCode:
    """0 when nothing failed, 1 when something did, 3 when something could not be told."""
    verdicts = {outcome.finding.verdict for outcome in outcomes}
    if Verdict.FAIL in verdicts:
        return ExitCode.NEGATIVE
    return ExitCode.UNKNOWN if Verdict.UNKNOWN in verdicts else ExitCode.OK


def fixes(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """The commands that mend what did not pass, each once; fixes that are no command stand in the table."""
    bad = (one.finding for one in outcomes if one.finding.verdict is not Verdict.PASS)
    return tuple(dict.fromkeys(finding.fix for finding in bad if finding.fix.startswith("perpctl")))


def trouble(outcomes: Sequence[Outcome]) -> str:
    """What failed or could not be told, in a sentence."""
    bad = (one for one in outcomes if one.finding.verdict in (Verdict.FAIL, Verdict.UNKNOWN))
    return "; ".join(f"{one.gate.name} {one.finding.verdict}: {one.finding.evidence}" for one in bad)


_TONES = {Verdict.PASS: Tone.PLAIN, Verdict.WARN: Tone.WARN, Verdict.FAIL: Tone.BAD, Verdict.UNKNOWN: Tone.BAD}
_COLUMNS = (
    Column("result", "RESULT"),
    Column("gate", "GATE"),
    Column("evidence", "EVIDENCE", wraps=True),
    Column("age", "AGE", right=True),
)


def table(outcomes: Sequence[Outcome], now: float) -> Table:
    """The list by section, each gate with its evidence, its age and its fix."""
    rows: list[Row] = []
    section = None
    for outcome in outcomes:
        if outcome.gate.section != section:
            section = outcome.gate.section
            rows.append(Row({"gate": section}, tone=Tone.TITLE))
        rows.append(_row(outcome, now))
    return Table(_COLUMNS, tuple(rows))


def _row(outcome: Outcome, now: float) -> Row:
    finding = outcome.finding
    tone = _TONES[finding.verdict]
    cells = {
        "result": finding.verdict.value,
        "gate": outcome.gate.name,
        "evidence": finding.evidence,
        "age": Age(now - outcome.ended_at),
    }
    return Row(cells, (Line(f"         fix: {finding.fix}", tone),) if finding.fix else (), tone)
