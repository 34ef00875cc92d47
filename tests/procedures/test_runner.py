"""A plan carried out: what is shown, asked, journaled, resumed, and what the exit code then is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from perpctl import profile
from perpctl.clock import ManualClock
from perpctl.desk import Desk
from perpctl.errors import (
    CredentialError,
    ExitCode,
    PerpctlError,
    RefusedBySafety,
    TimedOut,
    UnknownState,
    VenueRefused,
    WorldChanged,
)
from perpctl.procedures import runner
from perpctl.procedures.runner import Wish
from perpctl.results import Answer, Confirm, Done, OnFailure, Plan, Risk, Step, StepResult
from perpctl.store.records import Kind, Record


@dataclass
class World:
    """What the steps of a test look at and change."""

    done: list[str] = field(default_factory=list)
    previews: list[str] = field(default_factory=list)
    fingerprint: str = "one"

    def step(self, key: str, result: StepResult | PerpctlError | None = None, **more: OnFailure) -> Step:
        async def preview() -> str:
            self.previews.append(key)
            return f"would do {key}"

        async def perform() -> StepResult:
            self.done.append(key)
            if isinstance(result, PerpctlError):
                raise result
            return result or StepResult(Done.DONE, f"{key} read back")

        async def is_done() -> bool:
            return key in self.done

        return Step(key, f"step {key}", preview, perform, is_done, **more)

    def plan(
        self, *steps: Step, confirm: Confirm = Confirm.NONE, typed: str = "", reason: bool = False
    ) -> runner.Build:
        async def build(desk: Desk) -> Plan:
            scope = desk.known_scope()
            return Plan("test it", scope, Risk.LOWERS, confirm, self.fingerprint, steps, typed, reason)

        return build


@pytest.fixture
def world() -> World:
    return World()


Carry = Callable[[runner.Build, Wish], Answer]


@pytest.fixture
def carry(home: Path, clock: ManualClock) -> Carry:
    def carry(build: runner.Build, wish: Wish = Wish()) -> Answer:  # noqa: B008
        async def run() -> Answer:
            desk = Desk(profile.load("paper"), clock)
            try:
                return await runner.carry_out(build, desk, wish)
            finally:
                await desk.aclose()

        return asyncio.run(run())

    return carry


def journaled(clock: ManualClock) -> list[Record]:
    desk = Desk(profile.load("paper"), clock)
    records = list(desk.journal().records())
    desk.journal().close()
    return records


def results(answer: Answer) -> list[str]:
    return [step["result"] for step in answer.facts["steps"]]  # type: ignore[index,call-overload,union-attr]


def test_every_step_is_performed_in_order_and_journaled(world: World, carry: Carry, clock: ManualClock) -> None:
    answer = carry(world.plan(world.step("a"), world.step("b")), Wish(reason="drill"))
    assert (world.done, results(answer), answer.exit_code) == (["a", "b"], ["done", "done"], ExitCode.OK)
    kinds = [record.kind for record in journaled(clock)]
    assert kinds == [Kind.PLAN_STARTED, Kind.STEP_DONE, Kind.STEP_DONE, Kind.PLAN_ENDED]


def test_the_journal_says_who_why_and_how_it_ended(world: World, carry: Carry, clock: ManualClock) -> None:
    carry(world.plan(world.step("a", StepResult(Done.PARTIAL, "2 of 3", ("one order",)))), Wish(reason="drill"))
    started, step, ended = journaled(clock)
    assert started.body["reason"] == "drill"
    assert started.body["steps"] == ["a"]
    assert step.body["left"] == ["one order"]
    assert ended.body["exit_code"] == 6
    assert len({record.correlation.plan_id for record in (started, step, ended)}) == 1


def test_a_dry_run_performs_and_journals_nothing(world: World, carry: Carry) -> None:
    answer = carry(world.plan(world.step("a"), confirm=Confirm.TYPED, typed="x"), Wish(dry_run=True))
    assert (world.done, world.previews) == ([], ["a"])
    assert answer.banner == "DRY RUN: nothing is changed."
    assert not (profile.state_root() / "paper" / "journal.db").exists()


def test_a_step_that_reads_back_done_is_skipped(world: World, carry: Carry) -> None:
    world.done.append("a")
    answer = carry(world.plan(world.step("a"), world.step("b")))
    assert (world.done, results(answer)) == (["a", "b"], ["nothing_to_do", "done"])


@pytest.mark.parametrize("confirm", [Confirm.YES, Confirm.TYPED])
def test_without_a_terminal_a_confirmation_is_missing(world: World, carry: Carry, confirm: Confirm) -> None:
    with pytest.raises(RefusedBySafety, match="no terminal") as refused:
        carry(world.plan(world.step("a"), confirm=confirm, typed="flat"))
    assert refused.value.exit_code == 5
    assert "perpctl -p paper test it --yes" in refused.value.next_commands
    assert world.done == []


@pytest.mark.parametrize("confirm", [Confirm.YES, Confirm.TYPED])
def test_yes_asks_nothing(world: World, carry: Carry, confirm: Confirm) -> None:
    assert carry(world.plan(world.step("a"), confirm=confirm, typed="flat"), Wish(yes=True)).exit_code == 0


@pytest.mark.parametrize(
    ("confirm", "said", "goes_on"),
    [
        (Confirm.YES, "y", True),
        (Confirm.YES, "YES", True),
        (Confirm.YES, "", False),
        (Confirm.YES, "flat", False),
        (Confirm.TYPED, "flat", True),
        (Confirm.TYPED, "y", False),
        (Confirm.TYPED, "Flat", False),
    ],
)
def test_only_the_asked_word_confirms(world: World, carry: Carry, confirm: Confirm, said: str, goes_on: bool) -> None:
    build = world.plan(world.step("a"), confirm=confirm, typed="flat")
    wish = Wish(ask=lambda _: said)
    if goes_on:
        carry(build, wish)
    else:
        with pytest.raises(RefusedBySafety, match="not confirmed"):
            carry(build, wish)
    assert world.done == (["a"] if goes_on else [])


def test_a_world_that_changed_while_the_human_thought_is_exit_9(world: World, carry: Carry) -> None:
    def thinks(_: str) -> str:
        world.fingerprint = "two"
        return "y"

    with pytest.raises(WorldChanged) as changed:
        carry(world.plan(world.step("a"), confirm=Confirm.YES), Wish(ask=thinks))
    assert (changed.value.exit_code, world.done) == (9, [])


def test_what_was_refused_is_on_record_with_who_asked_where_there_is_a_journal(
    world: World, carry: Carry, clock: ManualClock
) -> None:
    held_back = world.plan(world.step("b"), reason=True)
    with pytest.raises(RefusedBySafety):
        carry(held_back)
    assert not (profile.load("paper").state_dir / "journal.db").exists(), "a refusal founds no profile"
    carry(world.plan(world.step("a")))
    with pytest.raises(RefusedBySafety):
        carry(held_back)
    last = journaled(clock)[-1]
    assert (last.kind, last.body["plan"], last.body["risk"]) == (Kind.PLAN_REFUSED, "test it", "lowers")
    assert last.body["why"] == "test it needs a reason"
    assert last.body["operator"]["real_uid"] == os.getuid()


def test_a_reason_that_is_required_and_missing_is_refused(world: World, carry: Carry) -> None:
    with pytest.raises(RefusedBySafety, match="needs a reason"):
        carry(world.plan(world.step("a"), reason=True), Wish(yes=True))
    assert carry(world.plan(world.step("a"), reason=True), Wish(reason="drill")).exit_code == 0


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (StepResult(Done.PARTIAL, ""), 6),
        (StepResult(Done.REFUSED, ""), 7),
        (StepResult(Done.UNKNOWN, ""), 3),
        (StepResult(Done.DONE, "", exit_code=ExitCode.TIMED_OUT), 8),
        (VenueRefused("no"), 7),
        (UnknownState("?"), 3),
        (TimedOut("late"), 8),
        (CredentialError("key"), 4),
    ],
)
def test_what_a_step_comes_to_is_the_exit_code(
    world: World, carry: Carry, outcome: StepResult | PerpctlError, code: int
) -> None:
    assert carry(world.plan(world.step("a", outcome))).exit_code == code


def test_a_failed_step_stops_the_plan_unless_it_says_go_on(world: World, carry: Carry) -> None:
    failed = StepResult(Done.REFUSED, "no")
    answer = carry(
        world.plan(world.step("a", failed, on_failure=OnFailure.GO_ON), world.step("b", failed), world.step("c"))
    )
    assert world.done == ["a", "b"]
    assert answer.facts["not_reached"] == ["c"]


def test_unknown_outweighs_every_known_failure(world: World, carry: Carry) -> None:
    go_on = OnFailure.GO_ON
    steps = (
        world.step("a", StepResult(Done.UNKNOWN, "?"), on_failure=go_on),
        world.step("b", StepResult(Done.REFUSED, "no"), on_failure=go_on),
        world.step("c", StepResult(Done.PARTIAL, "some"), on_failure=go_on),
    )
    assert carry(world.plan(*steps)).exit_code == 3


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([], 0),
        ([0, 0], 0),
        ([0, 6], 6),
        ([6, 7], 7),
        ([7, 3], 3),
        ([8, 3, 9], 3),
        ([3, 11], 11),
        ([70, 11], 70),
        ([1, 0], 1),
    ],
)
def test_the_gravest_code_is_the_worst(codes: list[int], code: int) -> None:
    assert runner.worst(ExitCode(one) for one in codes) == code


def test_a_plan_that_is_interrupted_says_where_and_journals_it(
    world: World, carry: Carry, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async def interrupted() -> StepResult:
        raise asyncio.CancelledError

    async def preview() -> str:
        return ""

    with pytest.raises(asyncio.CancelledError):
        carry(world.plan(world.step("a"), Step("b", "step b", preview, interrupted)))
    assert "at: step b (its outcome is unknown); ended before: step a" in capsys.readouterr().err
    ended = {"plan": "test it", "exit_code": 130, "verdict": "interrupted"}
    assert journaled(clock)[-1].body == {**ended, "not_reached": ["b"], "unknown_left": ["b"]}
