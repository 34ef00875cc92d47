"""A saved state: one consistent copy of the journal in a file with its hash, and the proof that a journal is sound."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw

from perpctl.errors import StateDamaged, UsageError
from perpctl.store import sqlite
from perpctl.store.journal import ChainVerdict, Head, JournalReader
from perpctl.store.projections import Views, rebuild


@dataclass(frozen=True, slots=True)
class SavedState:
    """A state file: its SHA-256 also stands beside it in `PATH.sha256`, as `sha256sum -c` reads it."""

    path: Path
    sha256: str
    size: int
    head: Head


@dataclass(frozen=True, slots=True)
class StateVerdict:
    """What was found, part by part: no problem means sound."""

    chain: ChainVerdict
    schema: int
    problems: tuple[str, ...]

    @property
    def is_sound(self) -> bool:
        return not self.problems


def save_state(journal: JournalReader, path: Path) -> SavedState:
    """Copy the journal as of one moment to `path`, while others go on writing, with its hash beside it.

    Raises UsageError when `path` exists, StateDamaged when it cannot be written or the copy does not verify.
    """
    if os.path.lexists(path):
        raise UsageError(f"{path} exists.", not_done="Nothing was saved.", next_commands=("perpctl state save FILE",))
    building = path.with_name(f"{path.name}.new-{os.getpid()}")
    with sqlite.named_errors(path):
        os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        try:
            sqlite.copy_database(journal.connection, building)
            verdict = verify_state(building)
            if not verdict.is_sound:
                raise sqlite.damaged(journal.path, "; ".join(verdict.problems))
            digest = _sha256(building)
            sqlite.sync_file(building)
            os.rename(building, path)
        finally:
            building.unlink(missing_ok=True)
        beside = _beside(path)
        beside.write_text(f"{digest}  {path.name}\n", encoding="utf-8")
        sqlite.sync_file(beside)
        sqlite.sync_directory(path.parent)
    return SavedState(path, digest, path.stat().st_size, verdict.chain.head)


def verify_state(path: Path, cash: Callable[[Views], str | None] | None = None) -> StateVerdict:
    """Whether a journal, live or saved, is sound: hash beside it, pages, chain, and projections against a rebuild.

    `cash` is asked for what is wrong with the money, given the rebuilt projections; None: nothing.
    Raises StateDamaged when it cannot be opened at all.
    """
    problems = list(_hash_problems(path))
    with JournalReader.open_read(path) as journal:
        anchored = journal.anchored()
        journal.connection.execute("BEGIN")  # one moment for every read below
        schema = sqlite.version(journal.connection)
        chain = journal.verify(anchored)
        if not chain.is_whole:
            problems.append(chain.trouble)
        problems += _page_problems(journal.connection)
        if not problems:
            problems += _projection_problems(journal, chain.head.seq, cash)
    return StateVerdict(chain, schema, tuple(problems))


def _hash_problems(path: Path) -> Iterator[str]:
    try:
        recorded = _beside(path).read_text(encoding="utf-8").split()[0]
    except FileNotFoundError:
        return
    except (OSError, ValueError, IndexError) as error:
        yield f"{_beside(path).name}: unreadable ({error})"
        return
    if recorded != _sha256(path):
        yield f"the file is not the one that was saved: its SHA-256 differs from {_beside(path).name}"


def _page_problems(connection: apsw.Connection) -> Iterator[str]:
    try:
        found = [str(row[0]) for row in connection.execute("PRAGMA integrity_check(5)")]
    except apsw.Error as error:
        found = [str(error)]
    yield from (f"pages: {line}" for line in found if line != "ok")


def _projection_problems(
    journal: JournalReader, until_seq: int, cash: Callable[[Views], str | None] | None
) -> Iterator[str]:
    try:
        rebuilt = rebuild(journal, until_seq)
        for table in Views(journal.connection, journal.path).differences(rebuilt):
            yield f"projection {table}: differs from what the journal comes to"
    except (ValueError, StateDamaged) as error:
        yield f"projections: {error}"
        return
    wrong = None if cash is None else cash(rebuilt)
    if wrong is not None:
        yield f"cash: {wrong}"


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
