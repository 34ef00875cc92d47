"""A saved state is one moment's consistent copy with its hash, and says what is wrong with it when something is."""

from __future__ import annotations

import hashlib
import os
import subprocess
import threading
from pathlib import Path

import apsw
import pytest

from perpctl.errors import StateDamaged, UsageError
from perpctl.store.intents import Intents
from perpctl.store.journal import Journal, JournalReader
from perpctl.store.projections import Projections, Views
from perpctl.store.records import Kind
from perpctl.store.state_file import save_state, verify_state
from tests.store.stock import ALLOWED, GROUNDS, fill, opened, order, request


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    journal = opened(tmp_path)
    projections = Projections(journal)
    intents = Intents(projections)
    intents.intend(request("o1"), ALLOWED, GROUNDS)
    intents.confirmed("o1", order("v1", "o1"), [fill("t1", "v1", "o1")])
    return journal


def test_a_saved_state_is_whole_and_carries_its_hash(journal: Journal, tmp_path: Path) -> None:
    saved = save_state(journal, tmp_path / "saved.db")
    assert saved.sha256 == hashlib.sha256(saved.path.read_bytes()).hexdigest()
    assert saved.head == journal.head()
    assert subprocess.run(["sha256sum", "-c", "saved.db.sha256"], cwd=tmp_path, capture_output=True).returncode == 0
    assert verify_state(saved.path).is_sound
    with JournalReader.open_read(saved.path) as reader:
        assert [record.hash for record in reader.records()] == [record.hash for record in journal.records()]
        assert Views(reader.connection, saved.path).order("o1") == Projections(journal).order("o1")
    assert sorted(path.name for path in tmp_path.glob("saved*")) == ["saved.db", "saved.db.sha256"]
    assert saved.path.stat().st_mode & 0o777 == 0o600


def test_saving_never_overwrites(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "saved.db").write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        save_state(journal, tmp_path / "saved.db")
    assert (tmp_path / "saved.db").read_text() == "mine"


def test_saving_where_nothing_can_be_written_is_said(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(StateDamaged):
        save_state(journal, tmp_path / "absent" / "saved.db")


def test_states_saved_while_another_process_writes_are_each_consistent(journal: Journal, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        _write_until_closed(tmp_path, reading, writing)
    os.close(reading)
    seqs = [save_state(journal, tmp_path / f"saved{n}.db").head.seq for n in range(10)]
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert seqs == sorted(seqs)
    assert seqs[-1] > seqs[0]


def _write_until_closed(directory: Path, reading: int, writing: int) -> None:
    """Book fills until the parent closes its end of the pipe."""
    status, closed = 1, threading.Event()
    os.close(writing)
    try:
        threading.Thread(target=lambda: (os.read(reading, 1), closed.set()), daemon=True).start()
        with opened(directory) as journal:
            projections = Projections(journal)
            n = 0
            while not closed.is_set():
                n += 1
                projections.book_fill(fill(f"w{n}", f"x{n}"), "reply")
        status = 0
    finally:
        os._exit(status)


def test_a_flipped_byte_in_a_saved_state_is_found_by_its_hash(journal: Journal, tmp_path: Path) -> None:
    path = save_state(journal, tmp_path / "saved.db").path
    spoiled = bytearray(path.read_bytes())
    spoiled[-1] ^= 1  # where it matters to nobody
    path.write_bytes(spoiled)
    verdict = verify_state(path)
    assert [problem for problem in verdict.problems if "SHA-256" in problem]


def test_a_projection_that_says_something_else_than_the_journal_is_named(journal: Journal, tmp_path: Path) -> None:
    journal.connection.execute("UPDATE orders SET state = 'absent'")
    verdict = verify_state(journal.path)
    assert verdict.chain.is_whole
    assert [problem.split(":")[0] for problem in verdict.problems] == ["projection orders"]
    with pytest.raises(StateDamaged, match="projection orders"):
        save_state(journal, tmp_path / "saved.db")
    assert not (tmp_path / "saved.db").exists()


def test_a_broken_chain_is_named_with_its_line(journal: Journal) -> None:
    journal.append(Kind.OPERATOR_NOTED, {"text": "a"})
    journal.connection.execute("DROP TRIGGER journal_is_never_updated")
    journal.connection.execute("UPDATE journal SET hash = zeroblob(32) WHERE seq = 2")
    (problem,) = verify_state(journal.path).problems
    assert problem.startswith("chain broken at line 2")


def test_cash_that_does_not_add_up_is_a_problem(journal: Journal) -> None:
    assert verify_state(journal.path, cash=lambda views: None).is_sound
    verdict = verify_state(journal.path, cash=lambda views: f"{len(views.fills())} fills do not pay for it")
    assert verdict.problems == ("cash: 1 fills do not pay for it",)


def test_a_state_of_another_schema_cannot_be_verified(journal: Journal, tmp_path: Path) -> None:
    path = save_state(journal, tmp_path / "saved.db").path
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", 1)
    connection.close()
    with pytest.raises(StateDamaged, match="schema is 1"):
        verify_state(path)


def test_verifying_changes_nothing(journal: Journal, tmp_path: Path) -> None:
    path = save_state(journal, tmp_path / "saved.db").path
    before = path.read_bytes()
    verify_state(path)
    assert path.read_bytes() == before
