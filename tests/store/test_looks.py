"""Who only looked: noted beside the journal, taken in by whoever writes to it, never in a question's way."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from pathlib import Path

import pytest

from perpctl.store.facts.looks import FILE, LOCK, TAKEN, note_look, take_looks
from perpctl.store.records import Kind
from tests.store.stock import opened

AT = "2026-11-23T09:00:00.000000Z"


def look(directory: Path, *words: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["perpctl", *words])
        note_look(directory, AT, {"operator_id": "alice"})


def test_looks_are_taken_in_once_and_the_file_is_gone(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        look(tmp_path, "positions")
        look(tmp_path, "auth", "show", "eyJhbGciOiJFUzI1.eyJzdWIiOiJvcmdhbml6.c2lnbmF0dXJlLW9m")
        assert take_looks(journal, tmp_path) == 2
        assert take_looks(journal, tmp_path) == 0
        (line,) = journal.records(kinds=(Kind.LOOKS_TAKEN,))
        assert [one["argv"] for one in line.body["looks"]] == [["positions"], ["auth", "show", "[hidden]"]]
    assert not (tmp_path / FILE).exists()


def test_where_nothing_was_ever_done_nothing_is_made(tmp_path: Path) -> None:
    before = set(tmp_path.iterdir())
    look(tmp_path, "positions")
    assert set(tmp_path.iterdir()) == before


def test_after_a_crash_they_are_still_there_and_a_torn_line_is_kept_as_text(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        look(tmp_path, "positions")
        os.rename(tmp_path / FILE, tmp_path / TAKEN)  # and the process was killed here
        with (tmp_path / TAKEN).open("a") as file:
            file.write('{"at": "2026')
        look(tmp_path, "orders")
        assert take_looks(journal, tmp_path) == 2
        assert take_looks(journal, tmp_path) == 1
        taken = [one for line in journal.records(kinds=(Kind.LOOKS_TAKEN,)) for one in line.body["looks"]]
    assert [one.get("argv") for one in taken] == [["positions"], None, ["orders"]]
    assert taken[1] == {"unreadable": '{"at": "2026'}


def test_nobody_waits_for_one_who_holds_the_file_and_does_not_let_go(tmp_path: Path) -> None:
    with opened(tmp_path) as journal, (tmp_path / LOCK).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        look(tmp_path, "positions")
        assert take_looks(journal, tmp_path) == 0
        assert time.monotonic() - began < 1
        fcntl.flock(held, fcntl.LOCK_UN)
        assert take_looks(journal, tmp_path) == 1


def test_a_question_that_cannot_note_itself_is_answered_all_the_same(tmp_path: Path) -> None:
    opened(tmp_path).close()
    (tmp_path / FILE).mkdir()
    look(tmp_path, "positions")


def test_looks_that_cannot_be_taken_stay_and_stop_nobody(tmp_path: Path) -> None:
    """Somebody looked under `sudo`: the lock is not ours to open."""
    (tmp_path / LOCK).mkdir()
    (tmp_path / FILE).write_text("{}\n")
    with opened(tmp_path) as journal:
        assert take_looks(journal, tmp_path) == 0
    assert (tmp_path / FILE).read_text() == "{}\n"
