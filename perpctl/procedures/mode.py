"""This file changes the mode: into reduce-only or a halt at once, out of one only with a name, a reason and proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.clock import to_ms
from perpctl.desk import operator
from perpctl.errors import ExitCode, RefusedBySafety
from perpctl.procedures import cancelling
from perpctl.results import Confirm, Done, Plan, Risk, Step, StepResult
from perpctl.store.latch import LatchState, Mode
from perpctl.store.records import Kind

if TYPE_CHECKING:
    from perpctl.desk import Desk

RECONCILED_WITHIN_S = 300


async def reduce_only(desk: Desk, reason: str) -> Plan:
    """Take no new risk: the latch first, then resting entries gone and read back; protective stops stay."""
    return await _tighten(desk, "reduce-only", Mode.REDUCE_ONLY, reason)


async def disable(desk: Desk, reason: str) -> Plan:
    """Halt: like reduce-only, and the strategy is not asked any more. Only `resume` leaves it."""
    return await _tighten(desk, "disable", Mode.HALTED, reason)


async def _tighten(desk: Desk, name: str, mode: Mode, reason: str) -> Plan:
    """The latch needs no venue, so it is step one, and a venue that is down does not keep it from being written."""

    async def latch_preview() -> str:
        return f"latch {desk.latch().path}: {desk.latch().read().mode} -> {mode}"

    async def latch_perform() -> StepResult:
        return _latched(desk, mode, reason)

    async def latch_done() -> bool:
        return desk.latch().read().mode is mode

    async def entries_preview() -> str:
        plan = await cancelling.cancel_all(desk)
        return await plan.steps[0].preview()

    async def entries_perform() -> StepResult:
        plan = await cancelling.cancel_all(desk)
        return await plan.steps[0].perform()

    return Plan(
        name=name,
        scope=desk.known_scope(),
        risk=Risk.LOWERS,
        confirm=Confirm.NONE,
        fingerprint=mode.value,
        steps=(
            Step("latch", "latch", latch_preview, latch_perform, latch_done),
            Step("entries", "cancel entries", entries_preview, entries_perform),
        ),
    )


def _latched(desk: Desk, mode: Mode, reason: str) -> StepResult:
    latch, before = desk.latch(), desk.latch().read()
    wanted = LatchState(mode, operator(), reason or "no reason given", to_ms(desk.clock.now()), "human")
    stands = latch.tighten(wanted)
    if (read_back := latch.read()).mode is not stands.mode:
        return StepResult(Done.UNKNOWN, f"the latch reads back {read_back.mode}, not {stands.mode}")
    _journal(desk, before, read_back)
    held = "" if stands == wanted else f" ({stands.why!r} by {stands.who} holds tighter and stays)"
    return StepResult(Done.DONE, f"{before.mode} -> {read_back.mode}, durable, read back{held}")


async def resume(desk: Desk, who: str, reason: str) -> Plan:
    """Leave a halt: refused while a kill is pending, while not reconciled within 5 min, or without a name and a reason.

    `--reason` and the name are asked for by the command; nothing here is skipped by `--yes`.
    """
    if not who:
        raise RefusedBySafety(
            "resume takes the name of a human",
            not_done="the mode was left as it is",
            next_commands=('perpctl resume --as NAME --reason "..."',),
        )
    before = desk.latch().read()

    async def gates_preview() -> str:
        return (
            "; ".join(await _objections(desk, before)) or "no objection: no kill pending, reconciled, preflight green"
        )

    async def gates_perform() -> StepResult:
        objections = await _objections(desk, before)
        if objections:
            return StepResult(Done.REFUSED, "; ".join(objections), (), {"next": list(_cures(desk))}, ExitCode.REFUSED)
        return StepResult(Done.DONE, "no kill pending, reconciled, preflight green")

    async def leave_preview() -> str:
        return f"latch {before.mode} -> normal, by {who}"

    async def leave_perform() -> StepResult:
        after = LatchState(Mode.NORMAL, who, reason, to_ms(desk.clock.now()), "human")
        desk.latch().write(after, seen=before)
        read_back = desk.latch().read()
        _journal(desk, before, read_back)
        if read_back.mode is not Mode.NORMAL:
            left = f"{read_back.cause}: {read_back.why}"
            return StepResult(Done.PARTIAL, f"our latch says normal, but {left} still halts", (left,))
        return StepResult(Done.DONE, f"{before.mode} -> normal, read back")

    async def left_already() -> bool:
        return desk.latch().read().mode is Mode.NORMAL

    return Plan(
        name="resume",
        scope=await desk.scope(),
        risk=Risk.RAISES,
        confirm=Confirm.YES,
        fingerprint=f"{before.mode}/{before.at_ms}/{before.who}",
        steps=(
            Step("gates", "look for objections", gates_preview, gates_perform),
            Step("leave", "leave the halt", leave_preview, leave_perform, left_already),
        ),
        reason_required=True,
    )


async def _objections(desk: Desk, state: LatchState) -> list[str]:
    from perpctl.checks import preflight
    from perpctl.emergency import pending

    found = [f"kill {one.kill_id} is pending" for one in pending.unfinished(desk.settings.state_dir)]
    clean_at = desk.projections().last_clean_reconcile()
    if clean_at is None or (desk.clock.now() - clean_at).total_seconds() > RECONCILED_WITHIN_S:
        found.append("not reconciled within 5 min")
    if state.cause == "file":
        found.append(state.why)
    return found + [f"preflight: {one}" for one in await preflight.objections(desk)]


def _cures(desk: Desk) -> tuple[str, ...]:
    name = desk.settings.profile
    return (
        f"perpctl kill -p {name} --status",
        f'perpctl reconcile -p {name} --apply --reason "before resume"',
        f"perpctl preflight -p {name}",
    )


def _journal(desk: Desk, before: LatchState, after: LatchState) -> None:
    body = {
        "from": before.mode,
        "to": after.mode,
        "cause": after.cause,
        "who": after.who,
        "why": after.why,
        "files_written": [str(desk.latch().path)],
    }
    desk.journal().append(Kind.MODE_CHANGED, body)
