"""This file keeps what a kill did, line by line, so that it can be watched, taken over and finished later.

A kill writes `kills/ID.jsonl` beside what it sends; a full or read-only disk stops the record, never the kill. Until
its file says `ended` or `abandoned` a kill is unfinished, across reboots.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from perpctl.store.lease import boot_id, process_started

STEPS = ("latch", "fence", "entries", "close", "stops", "prove", "hold", "stop")
_TAIL = 1 << 17
SILENT_S = 15.0  # a worker writes at least every 2 s


class Record:
    """Lines to the kill's file and to whoever watches through the pipe; neither can hold the kill up."""

    def __init__(self, directory: Path, kill_id: str, pipe: int | None) -> None:
        self.path = directory / "kills" / f"{kill_id}.jsonl"
        self.trouble: str | None = None
        self.lines = 0  # that the disk took
        self._pipe = pipe
        self._file: int | None = None
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self.path, flags, 0o600)
        except OSError as why:
            self.trouble = f"{self.path} cannot be written: {why.strerror}"

    def write(self, event: str, **facts: Any) -> None:
        """One line, best effort; `trouble` says what the disk answered."""
        line = json.dumps({"event": event, "at_ms": time.time_ns() // 1_000_000, **facts}, default=str).encode() + b"\n"
        if self._file is not None:
            try:
                os.write(self._file, line)
                self.lines += 1
            except OSError as why:
                self.trouble = f"{self.path} cannot be written: {why.strerror}"
        if self._pipe is not None:
            try:
                os.write(self._pipe, line)
            except BlockingIOError:
                pass  # a stopped terminal: the file has it
            except OSError:
                self._pipe = None  # nobody watches any more

    @property
    def is_watched(self) -> bool:
        """Whether the terminal that asked still listens, as far as the last line told."""
        return self._pipe is not None

    def make_durable(self) -> None:
        if self._file is not None:
            try:
                os.fsync(self._file)
            except OSError as why:
                self.trouble = f"{self.path} cannot be made durable: {why.strerror}"


class Story(NamedTuple):
    """A kill as its file tells it."""

    kill_id: str
    path: Path
    lines: tuple[Mapping[str, Any], ...]

    @property
    def started(self) -> Mapping[str, Any]:
        return next((line for line in self.lines if line["event"] == "started"), {})

    @property
    def is_over(self) -> bool:
        return any(line["event"] in ("ended", "abandoned") for line in self.lines)

    @property
    def worker(self) -> int | None:
        """The pid that carries it out now; None when nobody does."""
        last = next((line for line in reversed(self.lines) if line["event"] == "started"), None)
        if last is None or last.get("boot") != boot_id():
            return None  # another process may bear that number since the reboot
        return last["pid"] if process_started(last["pid"]) == last["started"] else None

    @property
    def receipt(self) -> Mapping[str, Any] | None:
        """The last receipt it wrote, provisional or final."""
        return next((line["receipt"] for line in reversed(self.lines) if "receipt" in line), None)


def read_story(path: Path) -> Story:
    """What the file tells; a line cut short by a crash is left out. Raises OSError."""
    lines = []
    for raw in path.read_bytes().splitlines():
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict) and "event" in line:
            lines.append(line)
    return Story(path.stem, path, tuple(lines))


def stories(directory: Path) -> list[Story]:
    """Every kill on record in this profile, oldest first."""
    return _told(sorted((directory / "kills").glob("K-*.jsonl")))


def _told(paths: Iterable[Path]) -> list[Story]:
    found = []
    for path in paths:
        try:
            found.append(read_story(path))
        except OSError:
            continue
    return found


def unfinished(directory: Path) -> list[Story]:
    """Kills that neither ended nor were given up; of the others only the end is read, for every command asks."""
    paths = [path for path in sorted((directory / "kills").glob("K-*.jsonl")) if not _ends(path)]
    return [story for story in _told(paths) if not story.is_over]


def _ends(path: Path) -> bool:
    """Whether the last lines say that it is over; False is no verdict yet."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            tail = file.read()
    except OSError:
        return False
    return b'\n{"event": "ended"' in tail or b'\n{"event": "abandoned"' in tail


def trade_ids(directory: Path) -> frozenset[str]:
    """The fills of closes that the kills of this profile were told of."""
    told = (line for story in stories(directory) for line in story.lines if line["event"] == "closed")
    return frozenset(str(fill["trade_id"]) for line in told for fill in line["fills"])


def take_closer(directory: Path) -> int | None:
    """The right to be this profile's one closer, held while the descriptor is open; None when another holds it.

    The lock is on a directory, so it needs no space. Raises OSError when there is none to lock.
    """
    folder = directory / "kills"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        folder = directory
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def follow(path: Path, poll_s: float = 0.1) -> Iterator[Mapping[str, Any] | None]:
    """Lines of another process's kill as they come; None at each silence of `poll_s`."""
    with path.open("rb") as file:
        rest = b""
        while True:
            part = file.readline()
            if not part:
                time.sleep(poll_s)
                yield None
                continue
            rest += part
            if rest.endswith(b"\n"):
                line, rest = rest, b""
                try:
                    yield json.loads(line)
                except ValueError:
                    continue


def abandon(story: Story, who: str, reason: str) -> None:
    """Give a kill up: its worker is ended, the latch stays. Raises OSError."""
    import signal

    if (pid := story.worker) is not None:
        os.kill(pid, signal.SIGTERM)
    line = {"event": "abandoned", "at_ms": time.time_ns() // 1_000_000, "who": who, "reason": reason}
    with story.path.open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
