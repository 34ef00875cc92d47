"""This file is the latch: the one place that says whether trading is normal, reduce-only or halted.

Standard library only: the emergency program imports it before anything else.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from perpctl.errors import StateDamaged, WorldChanged
from perpctl.model.mode import Mode
from perpctl.store.block import BlockFile, Torn

SCHEMA = "perpctl.latch/1"
SIZE = 4096
_WHO_LENGTH = 200
_WHY_LENGTH = 400


_STRICTNESS = {Mode.NORMAL: 0, Mode.REDUCE_ONLY: 1, Mode.HALTED: 2}


@dataclass(frozen=True, slots=True)
class LatchState:
    """What the latch says, and who said so why.

    `cause` is human, resume (a human left a halt), gate, alert, watchdog, kill, file, unreadable or absent. A `risk`
    halt never expires; an operational one may, at `until_ms` (wall, ms). `kill_id` names the kill that holds it.
    """

    mode: Mode
    who: str
    why: str
    at_ms: int
    cause: str
    risk: bool = False
    until_ms: int | None = None
    kill_id: str | None = None

    def __post_init__(self) -> None:
        if self.risk and self.until_ms is not None:
            raise ValueError("a risk halt never expires")

    @property
    def grip(self) -> tuple[int, bool, bool, float]:
        """How tightly it holds: a looser state never overwrites a tighter one except through `Latch.write`."""
        lasting = float("inf") if self.until_ms is None else float(self.until_ms)
        return (_STRICTNESS[self.mode], self.risk, self.kill_id is not None, lasting)


class Latch:
    """One latch file, with the other places that can halt the same bot.

    `trading_disabled_file` halts by existing; `extra_latches` are further latch files that are read as well.
    """

    def __init__(
        self,
        path: Path,
        *,
        trading_disabled_file: Path | None = None,
        extra_latches: Sequence[Path] = (),
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.path = path
        self._block = BlockFile(path, SIZE)
        self._trading_disabled_file = trading_disabled_file
        self._extra_latches = tuple(extra_latches)
        self._now_ms = now_ms

    def read(self) -> LatchState:
        """The tightest of everything that can halt this bot, from the files as they are now. Never raises OSError."""
        states = [self._read_own(), *(Latch(extra, now_ms=self._now_ms)._read_own() for extra in self._extra_latches)]
        return max([*states, *self._read_trigger()], key=lambda state: state.grip)

    def write(self, state: LatchState, *, seen: LatchState | None = None) -> None:
        """Put `state` in force, looser or tighter. Durable on return.

        With `seen`, only if the file still says that: what `resume` needs so that it never undoes a halt it did not
        see. Raises WorldChanged, or StateDamaged when it could not be written.
        """
        with _damage_named(self.path), self._block.locked() as block:
            if seen is not None and (found := self._decode_open(block.read)) != seen:
                raise WorldChanged(
                    f"the latch changed meanwhile: {found.mode} by {found.who}, {found.why!r}",
                    not_done="The latch was left as it is.",
                )
            block.write(_encode(state))

    def tighten(self, state: LatchState) -> LatchState:
        """Put `state` in force unless what stands holds tighter; returns what stands. Durable on return.

        Raises StateDamaged when it could not be written.
        """
        with _damage_named(self.path), self._block.locked() as block:
            found = self._decode_open(block.read)
            if found.cause not in _NOT_WRITTEN and found.grip > state.grip:
                return found
            block.write(_encode(state))
            return state

    def _read_own(self) -> LatchState:
        return self._decode_open(self._block.read)

    def _decode_open(self, read: Callable[[], Mapping[str, Any] | None]) -> LatchState:
        try:
            record = read()
            state = None if record is None else _decode(record)
        except (OSError, Torn, ValueError, KeyError, TypeError) as why:
            return self._halted("unreadable", f"{self.path}: {why}")
        if state is None:
            if _exists(self.path.parent / "journal.db"):
                return self._halted("absent", f"{self.path} is absent beside an existing journal")
            return LatchState(Mode.NORMAL, "", "never set", 0, "absent")
        if state.mode is not Mode.NORMAL and _passed(state.until_ms, self._now_ms()):
            return LatchState(Mode.NORMAL, state.who, f"ended in time: {state.why}", state.until_ms or 0, state.cause)
        return state

    def _read_trigger(self) -> list[LatchState]:
        path = self._trading_disabled_file
        if path is None or not _exists(path):
            return []
        return [self._halted("file", f"{path} exists")]

    def _halted(self, cause: str, why: str) -> LatchState:
        return LatchState(Mode.HALTED, "", why, 0, cause, risk=True)


_NOT_WRITTEN = ("absent", "unreadable")


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Turns what the disk says into StateDamaged."""
    try:
        yield
    except (OSError, ValueError) as why:
        reason = getattr(why, "strerror", None) or str(why) or type(why).__name__
        raise StateDamaged(f"{path} could not be written: {reason}", not_done="NOT LATCHED there.") from why


def _encode(state: LatchState) -> dict[str, Any]:
    shown = replace(state, who=_shown(state.who, _WHO_LENGTH), why=_shown(state.why, _WHY_LENGTH))
    return {"schema": SCHEMA, **asdict(shown)}


def _decode(record: Mapping[str, Any]) -> LatchState:
    members: dict[str, Any] = {name: record.get(name) for name in LatchState.__dataclass_fields__}
    if record["schema"] != SCHEMA or not isinstance(record["at_ms"], int) or not isinstance(record["risk"], bool):
        raise ValueError("not a latch record")
    if not isinstance(record["until_ms"], int | None) or not isinstance(record["why"], str):
        raise ValueError("not a latch record")
    return LatchState(**{**members, "mode": Mode(record["mode"])})


def _shown(text: str, length: int) -> str:
    """On one line and short enough for the fixed length, whatever was typed."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:length])


def _passed(until_ms: int | None, now_ms: int) -> bool:
    return until_ms is not None and now_ms >= until_ms


def _exists(path: Path) -> bool:
    """Anything but a plain "no such file" counts as existing: a trigger we cannot see must not be taken for absent."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True
