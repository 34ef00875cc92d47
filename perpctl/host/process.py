"""This file starts a process that outlives us, and awaits the one line with which it says that it is ready."""

from __future__ import annotations

import json
import os
import selectors
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from perpctl.errors import StateDamaged, TimedOut

_LONGEST_LINE = 1 << 16


class NotStarted(Exception):
    """The process ended with `ended_with` before it was ready."""

    def __init__(self, message: str, ended_with: int) -> None:
        super().__init__(message)
        self.message = message
        self.ended_with = ended_with


def start_detached(command: Sequence[str], log: Path, ready_within_s: float) -> Mapping[str, Any]:
    """Start `command` in a session of its own and return the JSON object of its first line.

    What it says on stderr goes to `log`. Raises NotStarted or TimedOut; it is then no longer running; and StateDamaged
    when that file cannot be written.
    """
    errors = _opened(log)
    reading, writing = os.pipe()
    try:
        pid = _spawn(command, writing, errors)
    finally:
        os.close(writing)
        os.close(errors)
    try:
        line = _first_line(reading, ready_within_s)
    except TimeoutError:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        raise TimedOut(f"{command[0]} was not ready within {ready_within_s:g} s", not_done="it was ended") from None
    finally:
        os.close(reading)
    try:
        ready: Mapping[str, Any] = json.loads(line)
    except ValueError:
        raise _ended(pid, command, log) from None
    return ready


def start_and_leave(command: Sequence[str], log: Path) -> int:
    """Start `command` in a session of its own and await nothing. Its process id.

    All that it says goes to `log`, or nowhere: what cannot be written must keep nobody from starting a kill.
    """
    try:
        out = _opened(log)
    except StateDamaged:
        out = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    try:
        return _spawn(command, out, out)
    finally:
        os.close(out)


def is_running(pid: int) -> bool:
    """Whether a process of that id exists and has not ended."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1]
    except ProcessLookupError:
        return False
    except OSError:
        return True  # not ours, or no /proc: it exists as far as can be seen
    return state != [b"Z"]


def _opened(log: Path) -> int:
    try:
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as why:
        raise StateDamaged(f"{log} cannot be written: {why.strerror}", not_done="nothing was started") from why


def _spawn(command: Sequence[str], stdout: int, stderr: int) -> int:
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_DUP2, stdout, 1),
        (os.POSIX_SPAWN_DUP2, stderr, 2),
    ]
    return os.posix_spawnp(command[0], list(command), os.environ, file_actions=actions, setsid=True)


def _first_line(reading: int, within_s: float) -> bytes:
    """Raises TimeoutError; an end without a line is an empty one."""
    ends = time.monotonic() + within_s
    text = b""
    with selectors.DefaultSelector() as waiting:
        waiting.register(reading, selectors.EVENT_READ)
        while b"\n" not in text and len(text) < _LONGEST_LINE:
            if not waiting.select(max(0.0, ends - time.monotonic())):
                raise TimeoutError
            more = os.read(reading, 4096)
            if not more:
                break
            text += more
    return text.partition(b"\n")[0]


def _ended(pid: int, command: Sequence[str], log: Path) -> NotStarted:
    _, status = os.waitpid(pid, 0)
    said = log.read_text(errors="replace").strip().splitlines()[-1:]
    code = os.waitstatus_to_exitcode(status)
    return NotStarted(f"{' '.join(command[:3])} ended with {code} before it was ready: {' '.join(said)}", code)
