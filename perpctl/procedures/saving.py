"""This file saves what we remember into one verified file with its hash."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from perpctl.errors import StateDamaged
from perpctl.results import Confirm, Done, Json, Plan, Risk, Step, StepResult
from perpctl.store.facts.heads import false_heads
from perpctl.store.state_file import save_state

if TYPE_CHECKING:
    from perpctl.desk import Desk


async def save(desk: Desk, file: Path | None) -> Plan:
    """One step: copy, verify, hash. It asks nothing of the venue."""
    target = file or _default(desk)

    async def preview() -> str:
        return f"save the journal to {target}"

    async def perform() -> StepResult:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_heads(desk)
        saved = save_state(desk.journal(), target)
        evidence = f"{saved.head.seq} records, {saved.size:,} bytes; the copy was verified"
        facts: dict[str, Json] = {"path": str(saved.path), "sha256": saved.sha256, "size": saved.size}
        notes = (f"file    {saved.path}", f"sha256  {saved.sha256}")
        return StepResult(Done.DONE, evidence, (), facts, notes=notes)

    return Plan(
        "state save",
        desk.known_scope(),
        Risk.NONE,
        Confirm.NONE,
        str(target),
        (Step("save", "save state", preview, perform),),
    )


def _check_heads(desk: Desk) -> None:
    """Raises StateDamaged when a head of the chain was signed with another key, or is not the chain's."""
    false = next(false_heads(desk.journal(), desk.identity_key()), None)
    if false is not None:
        raise StateDamaged(
            f"line {false.seq} of the journal says that it is a signed head of the chain, and is none of ours",
            not_done="nothing was saved",
            next_commands=(f"perpctl -p {desk.settings.profile} config show --origin",),
        )


def _default(desk: Desk) -> Path:
    return desk.settings.state_dir / "saves" / f"state-{desk.clock.now():%Y%m%d-%H%M%S-%f}.db"
