"""This file waits until nothing is held, and believes agreeing fresh reads only."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.checks import reading
from perpctl.errors import ExitCode, UnknownState
from perpctl.model import flatten
from perpctl.model.flatten import Read
from perpctl.questions import figures
from perpctl.questions.held.positions import named
from perpctl.results import Answer, Block, Json, Line, Next, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.model.position import Position

POLL_S = 2.0
PROOF_APART_S = 1.0
LAST_LOOK_S = 3.0  # the last look gets so long, however late it is


async def wait(desk: Desk, timeout_s: float) -> Answer:
    """Wait for flat: exit 0 proven, 8 when the time is up, 3 when the last reads could not tell."""
    start, reads, held, trouble = desk.clock.monotonic(), list[Read](), None, ""
    while True:
        try:
            async with asyncio.timeout(max(start + timeout_s - desk.clock.monotonic(), LAST_LOOK_S)):
                held = await _look(desk, reads)
            trouble = ""
        except (UnknownState, TimeoutError) as why:
            held, trouble = None, str(why) or "no answer in time"
        proof = flatten.prove_no_positions(reads, since_s=start)
        waited = desk.clock.monotonic() - start
        if proof.flat:
            return await _flat(desk, proof.reads, waited)
        if waited >= timeout_s:
            return await _late(desk, held, trouble or "; ".join(proof.lacking), waited)
        await desk.clock.sleep(min(PROOF_APART_S if held == () else POLL_S, max(timeout_s - waited, 0.05)))


async def _look(desk: Desk, reads: list[Read]) -> tuple[Position, ...]:
    read, held = await reading.positions(desk)
    reads.append(read)
    if not held:
        reads.append(await reading.margin(desk))
    return held


async def _flat(desk: Desk, reads: tuple[Read, ...], waited: float) -> Answer:
    view = (Line(f"FLAT, proven by {len(reads)} agreeing reads after {waited:.1f} s", Tone.GOOD),)
    facts: dict[str, Json] = {"flat": True, "waited_s": f"{waited:.1f}", "reads": len(reads), "positions": []}
    return Answer("perpctl.wait.flat/1", await desk.scope(), facts, view)


async def _late(desk: Desk, held: tuple[Position, ...] | None, lacking: str, waited: float) -> Answer:
    profile = desk.settings.profile
    plan_b = Next((f"perpctl -p {profile} positions close-all", f"perpctl kill -p {profile} --dry-run"))
    if not held:
        word = "the venue could not be read" if held is None else "not proven flat"
        words = f"UNKNOWN after {waited:.0f} s: {word} ({lacking})"
        look = Next((f"perpctl -p {profile} positions", f"perpctl -p {profile} market status"))
        view = (Line(words, Tone.BAD, mark=True), look)
        facts: dict[str, Json] = {"flat": None, "waited_s": f"{waited:.1f}", "lacking": lacking}
        return Answer("perpctl.wait.flat/1", desk.known_scope(), facts, view, ExitCode.UNKNOWN, trouble=words)
    lines = tuple(Line(f"    {named(one)}  {one.size:+f}", Tone.WARN) for one in held)
    late = f"NOT FLAT after {waited:.0f} s: {figures.count(len(held), 'position')} open"
    rows: list[Json] = [{"product_id": one.product_id, "slot": one.slot, "size": _text(one.size)} for one in held]
    body: dict[str, Json] = {"flat": False, "waited_s": f"{waited:.1f}", "positions": rows}
    view_late: tuple[Block, ...] = (Line(late, Tone.BAD, mark=True), *lines, plan_b)
    return Answer("perpctl.wait.flat/1", await desk.scope(), body, view_late, ExitCode.TIMED_OUT, trouble=late)


def _text(size: Decimal) -> str | None:
    return figures.text(size)
