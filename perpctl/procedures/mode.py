"""This file changes the mode: into reduce-only or a halt at once, out of one only with a name, a reason and proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from perpctl.clock import to_ms
from perpctl.errors import ExitCode, PerpctlError, RefusedBySafety, StateDamaged, UnknownState
from perpctl.host.login import operator
from perpctl.model.day import conservative_equity
from perpctl.model.mode import Mode
from perpctl.procedures import cancelling
from perpctl.questions.held.moved import since_baseline
from perpctl.questions.limits import limits_of
from perpctl.results import Confirm, Done, Json, Objection, Plan, Risk, Step, StepResult
from perpctl.risk.breaches import mode_after_resume
from perpctl.risk.limits import Limits
from perpctl.store.latch import Latch, LatchState
from perpctl.store.records import Kind

if TYPE_CHECKING:
    from decimal import Decimal

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
        return f"{_own(desk).read().mode} -> {mode}{_others(desk)}, in {desk.latch().path}"

    async def latch_perform() -> StepResult:
        return _latched(desk, mode, reason)

    async def latch_done() -> bool:
        state = _own(desk).read()
        return state.mode is mode and state.cause not in ("absent", "unreadable")

    async def entries_preview() -> str:
        try:
            plan = await cancelling.cancel_all(desk)
            return await plan.steps[0].preview()
        except UnknownState as why:
            return f"cancel what rests; it cannot be listed now: {why.message}"

    async def entries_perform() -> StepResult:
        try:
            plan = await cancelling.cancel_all(desk)
            result = await plan.steps[0].perform()
        except PerpctlError as why:
            return _latched_only(desk, why)
        return replace(result, facts={**result.facts, "next": [*_after(desk, mode, result)]})

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


def _after(desk: Desk, mode: Mode, result: StepResult) -> tuple[str, ...]:
    """What to type next: the entries that are left, else what holds, and for a halt the way out."""
    name = desk.settings.profile
    if result.done not in (Done.DONE, Done.NOTHING_TO_DO):
        return (f"perpctl -p {name} cancel-all --force", f"perpctl kill -p {name} --dry-run")
    out = (f'perpctl -p {name} resume --as NAME --reason "..." --dry-run',) if mode is Mode.HALTED else ()
    return (f"perpctl -p {name} stops verify", f"perpctl -p {name} positions", *out)


def _latched_only(desk: Desk, why: PerpctlError) -> StepResult:
    """The latch stands, and what rests at the venue is not known to be gone."""
    held = _own(desk).read().mode
    words = f"LATCHED {held}, but the resting entries are unknown: {why.message}"
    name = desk.settings.profile
    again = [f"perpctl -p {name} cancel-all --force", f"perpctl kill -p {name} --dry-run"]
    code = None if isinstance(why, UnknownState) else why.exit_code
    return StepResult(Done.UNKNOWN, words, ("resting entries may still fill",), {"next": list(again)}, code)


def _own(desk: Desk) -> Latch:
    """The latch of this profile alone, without what else can halt it."""
    return Latch(desk.latch().path)


def _others(desk: Desk) -> str:
    """What halts it besides our own latch, named."""
    state = desk.latch().read()
    return f"; besides, {state.why}" if state != _own(desk).read() and state.mode is not Mode.NORMAL else ""


def _latched(desk: Desk, mode: Mode, reason: str) -> StepResult:
    latch, before = _own(desk), _own(desk).read()
    wanted = LatchState(mode, operator(), reason or "no reason given", to_ms(desk.clock.now()), "human")
    stands = latch.tighten(wanted)
    if (read_back := latch.read()).mode is not stands.mode:
        return StepResult(Done.UNKNOWN, f"NOT LATCHED: the latch reads back {read_back.mode}, not {stands.mode}")
    held = "" if stands == wanted else f" ({stands.why!r} by {stands.who} holds tighter and stays)"
    words = f"LATCHED: {before.mode} -> {read_back.mode}, durable, read back{held}{_others(desk)}"
    try:
        _journal(desk, before, read_back)
    except StateDamaged as why:
        return StepResult(Done.DONE, f"{words}; NOT JOURNALED ({why.message})", ("the journal lacks this change",))
    return StepResult(Done.DONE, words)


async def resume(desk: Desk, who: str, reason: str) -> Plan:
    """Leave a halt: refused while a kill is pending, while not reconciled within 5 min, or without a name and a reason.

    Into reduce-only at most while the day's loss stands at or past the reduce line. `--yes` skips nothing of it.
    """
    if not who.strip():
        raise RefusedBySafety(
            "resume takes the name of a human",
            not_done="the mode was left as it is",
            next_commands=(f'perpctl -p {desk.settings.profile} resume --as NAME --reason "..."',),
        )
    before = _own(desk).read()

    async def gates_preview() -> str:
        words, _ = await _objections(desk)
        return Objection("; ".join(words)) if words else "no kill pending, reconciled, preflight green"

    async def gates_perform() -> StepResult:
        words, cures = await _objections(desk)
        if words:
            return StepResult(Done.REFUSED, "; ".join(words), (), {"next": [*cures]}, ExitCode.REFUSED)
        return StepResult(Done.DONE, "no kill pending, reconciled, preflight green")

    async def leave_preview() -> str:
        mode, why = await _allowed(desk)
        return f"latch {before.mode} -> {mode}, by {who}{why}"

    async def leave_perform() -> StepResult:
        return await _left(desk, before, who.strip(), reason)

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
        command=f'resume --as "{who.strip()}"',
    )


async def _left(desk: Desk, before: LatchState, who: str, reason: str) -> StepResult:
    """Writes the latch, if it still says what it said when the plan was made. Raises WorldChanged."""
    mode, why = await _allowed(desk)
    wanted = LatchState(mode, who, reason, to_ms(desk.clock.now()), "resume")
    _own(desk).write(wanted, seen=before)
    read_back = _own(desk).read()
    _journal(desk, before, read_back)
    if others := _others(desk):
        return StepResult(Done.PARTIAL, f"our latch says {read_back.mode}{others}", (others.removeprefix("; "),))
    if mode is Mode.NORMAL:
        facts: dict[str, Json] = {"next": [f"perpctl -p {desk.settings.profile} status"]}
        words = f"{before.mode} -> normal, read back; limits grow back: a quarter for 10 min, half for 20 more"
        return StepResult(Done.DONE, words, (), facts)
    again = (f'perpctl -p {desk.settings.profile} resume --as NAME --reason "..."   (on the next risk day)',)
    words = f"{before.mode} -> {read_back.mode}, no further{why}"
    return StepResult(Done.PARTIAL, words, ("entries stay refused",), {"next": list(again)})


async def _allowed(desk: Desk) -> tuple[Mode, str]:
    """How far a resume may go, and why no further; the baseline of a day that has none is taken now."""
    pnl, why = await _day_pnl_pct(desk)
    mode = mode_after_resume(pnl, limits_of(desk) or Limits())
    if mode is Mode.NORMAL:
        return mode, ""
    if pnl is None:
        return mode, f": the result of the day is not known{why}"
    return mode, f": the result of the day is {pnl:+.2f} %, at or past the reduce line{why}"


async def _day_pnl_pct(desk: Desk) -> tuple[Decimal | None, str]:
    """The day's result in percent, every position at the worse of mark and index; zero on a day without a baseline.

    Transfers that could not be read now make it unknown; those that the venue tells nobody are in it, and said to be.
    """
    exchange = await desk.exchange()
    positions, account = await exchange.holdings()
    taken = desk.projections().baseline(exchange.calendar.day_name(account.at_ms))
    equity = conservative_equity(account.equity, positions)
    if taken is None:
        return equity * 0, ""
    moved = await since_baseline(exchange, desk.projections(), account.at_ms)
    if taken.equity <= 0 or (moved.net is None and not moved.never):
        return None, "" if moved.unread is None else f": {moved.unread}"
    pnl = equity - taken.equity - (moved.net or 0)
    return pnl / taken.equity * 100, "" if moved.unread is None else f"; deposits and withdrawals in it: {moved.unread}"


async def _objections(desk: Desk) -> tuple[list[str], list[str]]:
    """What stands against a return, in words, and the commands that mend it."""
    from perpctl.checks import preflight
    from perpctl.emergency import pending

    name = desk.settings.profile
    found = [
        (f"kill {one.kill_id} is pending", f"perpctl kill -p {name} --status")
        for one in pending.unfinished(desk.settings.state_dir)
    ]
    clean_at = desk.projections().last_clean_reconcile()
    if clean_at is None or (desk.clock.now() - clean_at).total_seconds() > RECONCILED_WITHIN_S:
        found.append(("not reconciled within 5 min", f'perpctl -p {name} reconcile --apply --reason "before resume"'))
    if others := _others(desk):
        found.append((others.removeprefix("; besides, "), f"rm {desk.settings.trading_disabled_file}"))
    found += [(f"preflight: {words}", fix) for words, fix in await preflight.objections(desk)]
    cures = [fix for _, fix in found if fix.startswith(("perpctl", "rm "))]
    return [words for words, _ in found], [*dict.fromkeys(cures)] or [f"perpctl -p {name} preflight"]


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
