"""This file carries out a plan: previews, confirms, journals, performs step by step, and answers with what was done."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct, structs

from perpctl import render
from perpctl.errors import (
    ExitCode,
    PerpctlError,
    RefusedBySafety,
    StateDamaged,
    UnknownState,
    VenueRefused,
    WorldChanged,
    for_profile,
)
from perpctl.hiding import without_secrets
from perpctl.host.login import login
from perpctl.results import (
    Answer,
    Block,
    Column,
    Confirm,
    Done,
    Json,
    Line,
    Next,
    Objection,
    OnFailure,
    Plan,
    Risk,
    Row,
    Scope,
    Step,
    StepResult,
    Table,
    Tone,
)
from perpctl.store.facts.looks import take_looks

if TYPE_CHECKING:
    from perpctl.desk import Desk

SCHEMA = "perpctl.plan/1"
Build = Callable[["Desk"], Awaitable[Plan | Answer]]

_CODES = {Done.PARTIAL: ExitCode.PARTIAL, Done.REFUSED: ExitCode.VENUE_REFUSED, Done.UNKNOWN: ExitCode.UNKNOWN}
_TONES = {Done.DONE: Tone.GOOD, Done.PARTIAL: Tone.WARN, Done.REFUSED: Tone.BAD, Done.UNKNOWN: Tone.BAD}
_GRAVITY = (ExitCode.BUG, ExitCode.INTERRUPTED, ExitCode.STATE_DAMAGED, ExitCode.UNKNOWN, ExitCode.CREDENTIAL)


class Wish(Struct, frozen=True):
    """What the operator asked for beside the plan itself; `ask` is None without a terminal."""

    dry_run: bool = False
    yes: bool = False
    reason: str = ""
    ask: Callable[[str], str] | None = None


class Asked(Struct):
    """What the operator was shown and how long he thought about it; None: nobody was asked."""

    plan_shown: str | None = None  # the page, word for word
    decided_in_s: str | None = None


class Carried(Struct, frozen=True):
    """One step and what it came to; `after_s` from the start of the plan."""

    step: Step
    result: StepResult
    after_s: float


async def carry_out(build: Build, desk: Desk, wish: Wish) -> Answer:
    """Carry out the plan that `build` makes, or only preview it. The worst step is the exit code.

    Raises RefusedBySafety without a confirmation or a reason, WorldChanged when the plan is no longer true.
    """
    plan = await build(desk)
    if isinstance(plan, Answer):  # asked so that it only looks: `reconcile` without `--apply`
        return plan
    if wish.dry_run:
        return await _preview(plan, desk, "DRY RUN: nothing is changed.", wished=True)
    asked = Asked()
    try:
        _check_reason(plan, wish)
        if plan.confirm is not Confirm.NONE and not wish.yes:
            await _confirmed(plan, desk, wish, asked)
            plan = await _still_true(plan, build, desk)
    except (RefusedBySafety, WorldChanged) as why:
        _note_refused(plan, desk, wish, asked, why)
        raise
    return await _Carrying(plan, desk, wish, asked).run()


def worst(codes: Iterable[ExitCode]) -> ExitCode:
    """The gravest of several exit codes: unknown outweighs known failures, any failure outweighs success."""
    ranked = sorted(codes, key=lambda code: (code in _GRAVITY and -_GRAVITY.index(code) + 100) or int(code))
    return ranked[-1] if ranked else ExitCode.OK


async def _preview(plan: Plan, desk: Desk, banner: str, *, wished: bool) -> Answer:
    """What each step would do; steps that are done already say so."""
    rows: list[Row] = []
    facts: list[Json] = []
    objections: list[str] = []
    for step in plan.steps:
        text = "already so" if await _is_done(step) else await step.preview()
        objections += [text] if isinstance(text, Objection) else []
        rows.append(Row({"step": step.title, "would": text}))
        facts.append({"key": step.key, "title": step.title, "would": text})
    table = Table((Column("step", "STEP"), Column("would", "WHAT WOULD BE DONE")), tuple(rows), "nothing to do")
    body = {"plan": plan.name, "risk": plan.risk.value, "dry_run": True, "fingerprint": plan.fingerprint}
    code = ExitCode.REFUSED if objections else ExitCode.OK
    view: list[Block] = [table]
    if objections:
        view.append(Line(f"{plan.name} would be REFUSED", Tone.BAD, mark=True))
    elif wished and plan.risk is Risk.LOWERS:
        view.append(Next((_again(plan, "--yes"),)))
    return Answer(
        SCHEMA,
        _scope_now(plan, desk),
        {**body, "steps": facts},
        tuple(view),
        code,
        "steps",
        banner=banner,
        trouble="; ".join(objections),
    )


def _check_reason(plan: Plan, wish: Wish) -> None:
    if plan.reason_required and not wish.reason:
        raise RefusedBySafety(f"{plan.name} needs a reason", not_done="nothing was done", next_commands=(_again(plan),))


def _wished(plan: Plan, desk: Desk, wish: Wish, asked: Asked) -> dict[str, object]:
    """What was asked for, by whom, from where, and what the screen said of it."""
    return {
        "plan": plan.name,
        "risk": plan.risk.value,
        "reason": wish.reason or None,
        "fingerprint": plan.fingerprint,
        "operator": login(),
        "argv": _argv(),
        "environment_named": _environment_named(),
        "profile_variable": os.environ.get("PERPCTL_PROFILE"),
        **structs.asdict(asked),
    }


def _note_refused(plan: Plan, desk: Desk, wish: Wish, asked: Asked, why: PerpctlError) -> None:
    """What was asked for and not done, where there is a journal; that it cannot be written changes nothing."""
    if (desk.settings.state_dir / "journal.db").exists():
        with contextlib.suppress(PerpctlError):
            _append(desk, "plan.refused", {**_wished(plan, desk, wish, asked), "why": why.message}, None)


def _append(desk: Desk, kind: str, body: dict[str, object], plan_id: str | None) -> None:
    from perpctl.store.records import Correlation, Kind

    desk.journal().append(Kind(kind), body, Correlation(plan_id=plan_id))


def _scope_now(plan: Plan, desk: Desk) -> Scope:
    """Whose money it was: the plan may have been made before the venue was asked."""
    return plan.scope if plan.scope is not None and plan.scope.account else desk.known_scope()


async def _confirmed(plan: Plan, desk: Desk, wish: Wish, asked: Asked) -> None:
    if wish.ask is None:
        raise RefusedBySafety(
            f"{plan.name} asks before it acts, and there is no terminal to ask at",
            not_done="nothing was done",
            next_commands=(_again(plan, "--dry-run"), _again(plan, "--yes")),
        )
    page = render.tell_page(await _preview(plan, desk, f"{plan.name} would do this:", wished=False))
    asked.plan_shown, asked_at = without_secrets(page), desk.clock.monotonic()
    if plan.confirm is Confirm.TYPED:
        given = wish.ask(f"Type {plan.typed} to go on:") == plan.typed
    else:
        given = wish.ask("Do it? [y/N]").lower() in ("y", "yes")
    asked.decided_in_s = f"{desk.clock.monotonic() - asked_at:.1f}"
    if not given:
        raise RefusedBySafety("not confirmed", not_done="nothing was done")


async def _still_true(plan: Plan, build: Build, desk: Desk) -> Plan:
    """The plan made anew after the human's thinking time. Raises WorldChanged when it is another one."""
    fresh = await build(desk)
    if isinstance(fresh, Answer) or fresh.fingerprint != plan.fingerprint:
        raise WorldChanged(
            f"the world changed while you were asked: {plan.name} is no longer the plan that was shown",
            not_done="nothing was done",
            next_commands=(_again(plan, "--dry-run"),),
        )
    return fresh


async def _is_done(step: Step) -> bool:
    return step.is_done is not None and await step.is_done()


class _Carrying:
    """One plan being carried out, each step journaled when it ends."""

    def __init__(self, plan: Plan, desk: Desk, wish: Wish, asked: Asked) -> None:
        self._plan, self._desk, self._wish, self._asked = plan, desk, wish, asked
        self._plan_id = uuid.uuid4().hex[:12]
        self._began = desk.clock.monotonic()
        self._carried: list[Carried] = []
        self._in_hand: Step | None = None
        self._unjournaled: str | None = None

    async def run(self) -> Answer:
        self._started()
        try:
            for step in self._plan.steps:
                self._in_hand = step
                result = await self._perform(step)
                self._book(step, result)
                if _failed(result) and step.on_failure is OnFailure.STOP:
                    break
        except (asyncio.CancelledError, KeyboardInterrupt):
            self._interrupted()
            raise
        code = worst([_code(one.result) for one in self._carried])
        self._ended(code)
        if self._unjournaled is not None:
            code = worst([code, ExitCode.STATE_DAMAGED])
        return self._answer(code)

    async def _perform(self, step: Step) -> StepResult:
        try:
            if await _is_done(step):
                return StepResult(Done.NOTHING_TO_DO, "already so")
            return await step.perform()
        except PerpctlError as error:
            done = Done.UNKNOWN if isinstance(error, UnknownState) else Done.REFUSED
            code = None if isinstance(error, UnknownState | VenueRefused) else error.exit_code
            left = (error.not_done,) if error.not_done else ()
            profile = f"-p {self._desk.settings.profile}"
            then: list[Json] = [for_profile(command, profile) for command in error.next_commands]
            return StepResult(done, error.message, left, {"next": then}, code)

    def _book(self, step: Step, result: StepResult) -> None:
        self._carried.append(Carried(step, result, self._desk.clock.monotonic() - self._began))
        self._append("step.done", {"step": step.key, "title": step.title, **_facts(result)})

    def _started(self) -> None:
        plan = self._plan
        with contextlib.suppress(PerpctlError):  # what was only looked at keeps nobody from acting
            take_looks(self._desk.journal(), self._desk.settings.state_dir)
        self._append(
            "plan.started",
            {
                **_wished(plan, self._desk, self._wish, self._asked),
                "confirmed": "--yes" if self._wish.yes else plan.confirm.value,
                "typed_confirmation": None if self._wish.yes else plan.typed or None,
                "steps": [step.key for step in plan.steps],
            },
        )

    def _interrupted(self) -> None:
        ended = ", ".join(one.step.title for one in self._carried) or "nothing"
        at = self._in_hand.title if self._in_hand else "the start"
        render.tell(f"interrupted in {self._plan.name} at: {at} (its outcome is unknown); ended before: {ended}")
        self._ended(ExitCode.INTERRUPTED)

    def _ended(self, code: ExitCode) -> None:
        """Steps by how they ended; `unknown_left`: whose outcome nobody knows, the one in hand included."""
        left = [step.key for step in self._untouched()]
        unknown = [one.step.key for one in self._carried if one.result.done is Done.UNKNOWN]
        if code is ExitCode.INTERRUPTED and self._in_hand is not None and self._in_hand.key in left:
            unknown.append(self._in_hand.key)
        body = {"plan": self._plan.name, "exit_code": int(code), "verdict": code.name.lower(), "not_reached": left}
        self._append("plan.ended", {**body, "unknown_left": unknown})

    def _append(self, kind: str, body: dict[str, object]) -> None:
        try:
            _append(self._desk, kind, body, self._plan_id)
        except StateDamaged as why:
            if self._plan.risk is not Risk.LOWERS:
                raise
            self._unjournaled = why.message  # a broken disk must not keep anybody from lowering risk

    def _untouched(self) -> Sequence[Step]:
        return self._plan.steps[len(self._carried) :]

    def _answer(self, code: ExitCode) -> Answer:
        rows = [_row(one) for one in self._carried]
        rows += [Row({"step": step.title, "result": "NOT REACHED", "after": ""}) for step in self._untouched()]
        columns = (Column("step", "STEP"), Column("result", "RESULT"), Column("after", "AFTER", right=True))
        table = Table((*columns, Column("evidence", "EVIDENCE")), tuple(rows), "nothing to do")
        facts: dict[str, Json] = {
            "plan": self._plan.name,
            "plan_id": self._plan_id,
            "dry_run": False,
            "risk": self._plan.risk.value,
            "reason": self._wish.reason or None,
            "exit_code": int(code),
            "steps": [_step_facts(one) for one in self._carried],
            "not_reached": [step.key for step in self._untouched()],
        }
        commands = [str(each) for one in self._carried for each in _next_of(one.result)] or self._usual_next(code)
        end = Line(f"{self._plan.name}: {_verdict(code)}", Tone.GOOD if code is ExitCode.OK else Tone.BAD)
        facts["not_journaled"] = self._unjournaled
        trouble = [] if self._unjournaled is None else [f"NOT JOURNALED: {self._unjournaled}"]
        lines = [Line(words, Tone.BAD, mark=True) for words in trouble]
        view: tuple[Block, ...] = (table, *lines, end, Next(tuple(dict.fromkeys(commands))))
        scope = _scope_now(self._plan, self._desk)
        return Answer(SCHEMA, scope, facts, view, code, "steps", trouble=self._trouble(code))

    def _usual_next(self, code: ExitCode) -> list[str]:
        """What to type after a failure that does not know it itself."""
        if code is ExitCode.OK:
            return []
        named = f"-p {self._desk.settings.profile} "
        if code is ExitCode.STATE_DAMAGED and self._plan.risk is Risk.LOWERS:  # which needs nothing that it could write
            return [f"perpctl {named}status", f"perpctl kill {named}--dry-run"]
        return [f"perpctl {self._plan.name} --help"] if code is ExitCode.USAGE else [f"perpctl {named}status"]

    def _trouble(self, code: ExitCode) -> str:
        """The step that decided the exit code, in a sentence."""
        if code is ExitCode.OK:
            return ""
        to_blame = [one for one in self._carried if _code(one.result) is code]
        words = [f"{one.step.title}: {one.result.evidence}" for one in to_blame]
        return "; ".join(words) or self._unjournaled or _verdict(code)


def _argv() -> list[str]:
    """The command line as it was typed; a word that looks like a key or a token is left out."""
    return [without_secrets(word) for word in sys.argv[1:]]


def _environment_named() -> str:
    """How the profile, and with it live or paper money, came to be chosen: by flag, variable or default."""
    if any(word.startswith(("-p", "--profile", "--venue")) for word in sys.argv[1:]):
        return "flag"
    return "variable" if os.environ.get("PERPCTL_PROFILE") else "default"


def _failed(result: StepResult) -> bool:
    return _code(result) is not ExitCode.OK


def _code(result: StepResult) -> ExitCode:
    return result.exit_code if result.exit_code is not None else _CODES.get(result.done, ExitCode.OK)


def _row(one: Carried) -> Row:
    result = one.result
    below = (*map(Line, result.notes), *(Line(f"left: {each}", mark=True) for each in result.left))
    shown = result.done.value.upper().replace("_", " ") if _failed(result) else result.done.value.replace("_", " ")
    cells = {"step": one.step.title, "result": shown, "after": f"{one.after_s:.2f} s", "evidence": result.evidence}
    return Row(cells, below, _TONES.get(result.done, Tone.PLAIN))


def _step_facts(one: Carried) -> dict[str, Json]:
    key_and_title: dict[str, Json] = {"key": one.step.key, "title": one.step.title}
    return {**key_and_title, **_facts(one.result), "after_s": f"{one.after_s:.3f}"}


def _facts(result: StepResult) -> dict[str, Json]:
    return {
        "result": result.done.value,
        "evidence": result.evidence,
        "left": list(result.left),
        "notes": list(result.notes),
        "facts": dict(result.facts),
    }


def _next_of(result: StepResult) -> Sequence[Json]:
    commands = result.facts.get("next", ())
    return commands if isinstance(commands, list | tuple) else ()


def _verdict(code: ExitCode) -> str:
    return "done" if code is ExitCode.OK else f"NOT DONE ({code.name.lower().replace('_', ' ')}, exit {int(code)})"


def _again(plan: Plan, option: str = '--reason "..."') -> str:
    named = f"-p {plan.scope.profile} " if plan.scope else ""
    return f"perpctl {named}{plan.command or plan.name} {option}"
