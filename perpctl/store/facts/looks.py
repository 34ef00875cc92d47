"""This file notes who looked at what, beside the journal, until whoever writes to the journal takes it in.

A question neither opens the journal nor waits for it: one line is appended to a file, and no failure of that is told.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from perpctl.hiding import without_secrets

if TYPE_CHECKING:
    from perpctl.store.journal import Journal

FILE, TAKEN, LOCK = "looks.jsonl", "looks.taken", "looks.lock"
PATIENCE_S = 0.02
A_LINE = 200  # looks on one line of the journal
_FLAGS = os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC


def note_look(directory: Path, at: str, operator: Mapping[str, object]) -> None:
    """Somebody asks with this command line; only where something was ever done, which the journal is the sign of."""
    if not (directory / "journal.db").exists():
        return
    words = [without_secrets(word) for word in sys.argv[1:]]
    line = json.dumps({"at": at, "argv": words, "operator": operator}, separators=(",", ":"))
    with contextlib.suppress(OSError), _locked(directory, PATIENCE_S):
        descriptor = os.open(directory / FILE, os.O_WRONLY | os.O_APPEND | _FLAGS, 0o600)
        try:
            os.write(descriptor, f"{line}\n".encode())
        finally:
            os.close(descriptor)


def take_looks(journal: Journal, directory: Path) -> int:
    """Journal what was noted since the last time, in one commit; how many looks.

    They are there until the commit: after a crash between it and the end they may be told twice, never lost. What
    cannot be read, as after a look under `sudo`, stays there and is logged: it keeps nobody from trading or acting.
    """
    try:
        return _take(journal, directory)
    except OSError as why:
        import logging  # here, because questions note looks and take none

        logging.getLogger("perpctl.journal").warning("looks are not taken in: %s", why)
        return 0


def _take(journal: Journal, directory: Path) -> int:
    from perpctl.store.records import Kind

    taken = directory / TAKEN
    if not (directory / FILE).exists() and not taken.exists():
        return 0
    with _locked(directory, PATIENCE_S) as is_ours:
        if not is_ours:
            return 0
        if not taken.exists():
            os.rename(directory / FILE, taken)
        looks = [_read(line) for line in taken.read_text(encoding="utf-8", errors="replace").splitlines()]
        with journal.batch():
            for start in range(0, len(looks), A_LINE):
                journal.append(Kind.LOOKS_TAKEN, {"looks": looks[start : start + A_LINE]})
        taken.unlink()
    return len(looks)


def _read(line: str) -> Mapping[str, object]:
    """A look as it was noted; a torn line as the text that it is."""
    try:
        look = json.loads(line, parse_float=str)
    except ValueError:
        look = None
    return look if isinstance(look, dict) else {"unreadable": without_secrets(line[:400])}


@contextlib.contextmanager
def _locked(directory: Path, patience_s: float) -> Iterator[bool]:
    """Alone with the file; False when another held it for so long, who may be stopped: nobody waits for that."""
    descriptor = os.open(directory / LOCK, os.O_RDWR | _FLAGS, 0o600)
    try:
        yield _got(descriptor, time.monotonic() + patience_s)
    finally:
        os.close(descriptor)


def _got(descriptor: int, until: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(0.002)
        else:
            return True
