"""This file keeps the last probe of a profile: what its key could do, at which account, measured when."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec

from perpctl.errors import StateDamaged
from perpctl.model.venue.ability import Ability, Can, Section
from perpctl.store.snapshot import replace_file

SCHEMA = "perpctl.probe.kept/1"
FILE_NAME = "probe.json"
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose abilities they are: an answer about another key, account or set of products is none."""

    venue: str
    account: str | None
    key: str
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """`measured_at_ms` is wall time: its age is asked for by other processes, days later."""

    subject: Subject
    measured_at_ms: int
    abilities: tuple[Ability, ...]


def read_probe(state_dir: Path) -> Kept | None:
    """The last probe; None when there is none, or it was kept in another form. Raises StateDamaged."""
    path = state_dir / FILE_NAME
    try:
        with path.open("rb") as file:
            raw = json.loads(file.read(_LARGEST))
        if raw["schema"] != SCHEMA:
            return None
        subject = Subject(**{**raw["subject"], "symbols": tuple(raw["subject"]["symbols"])})
        return Kept(subject, int(raw["measured_at_ms"]), tuple(_ability(one) for one in raw["abilities"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as why:
        raise StateDamaged(
            f"{path} cannot be read: {why}",
            not_done="nothing was measured",
            next_commands=("perpctl probe --fresh",),
        ) from why


def keep_probe(state_dir: Path, kept: Kept) -> None:
    """Replace the last probe, durable and readable by the owner only. Raises StateDamaged."""
    text = json.dumps({"schema": SCHEMA, **msgspec.to_builtins(kept)}, indent=1)
    replace_file(state_dir / FILE_NAME, text)


def _ability(raw: dict[str, str | bool | None]) -> Ability:
    wanted = raw["wanted"]
    if wanted not in (True, False, None):
        raise ValueError(f"wanted is {wanted!r}")
    key, evidence = str(raw["key"]), str(raw["evidence"])
    return Ability(key, Section(raw["section"]), Can(raw["can"]), evidence, wanted)  # type: ignore[arg-type]
