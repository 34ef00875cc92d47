"""A state directory that cannot be written, or is full: nothing goes out unrecorded, and kill still kills."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.store.journal import JournalReader
from tests.conftest import Cli
from tests.drills.disks import read_only, small
from tests.drills.running import running
from tests.drills.test_run import get_filled

pytestmark = [pytest.mark.drill, pytest.mark.timeout(300)]
QUICK_KILL = "[profiles.paper.kill]\nhold_s = 1\nhold_unproven_s = 1\nforeground_s = 10\n"


def perpctl(*words: str) -> tuple[int, str]:
    """As a process; what it came to and all that it said. Nothing may end as a bug, whatever the disk does."""
    done = subprocess.run(
        [sys.executable, "-m", "perpctl", *words], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said, said
    assert "a bug" not in said, said
    return done.returncode, said


@pytest.fixture
def state(paper: dict[str, Any], cli: Cli) -> Path:
    """Of a bot that was filled and stopped: a position, its stop, and a journal that tells of both."""
    folder = profile.config_dir()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(QUICK_KILL)
    with running() as bot:
        get_filled(bot, paper)
        bot.stop()
    return bot.directory


@pytest.fixture
def frozen(state: Path) -> Iterator[Path]:
    with read_only(state):
        yield state


def test_a_read_only_state_directory_is_told_and_only_kill_acts(frozen: Path, cli: Cli) -> None:
    code, said = perpctl("positions")
    assert (code, "journal cannot be read" in said) == (0, True), said
    assert perpctl("status")[0] == 11
    before = cli("orders", "-o", "json").json["orders"]
    for words in (
        ("reconcile",),
        ("reconcile", "--apply", "--yes", "--reason", "drill"),
        ("run", "--mode", "paper", "--risk-level", "conservative", "--duration", "2"),
        ("cancel-all", "--include-stops", "--yes", "--reason", "drill"),
        ("reduce-only", "--reason", "drill"),
        ("disable", "--reason", "drill"),
    ):
        code, said = perpctl(*words)
        assert code == 11, said
        assert str(frozen) in said
        assert "perpctl kill" in said, "what still works is named"
    assert "NOT LATCHED" in said
    assert cli("orders", "-o", "json").json["orders"] == before
    code, said = perpctl("kill", "--force", "--reason", "drill")
    assert code == 3, said
    assert "NOT LATCHED" in said
    assert cli("positions", "-o", "json").json["positions"] == []
    assert cli("orders", "-o", "json").json["orders"] == []


def test_nothing_is_lost_once_it_can_be_written_again(state: Path) -> None:
    with JournalReader.open_read(state / "journal.db") as journal:
        head = journal.head()
    with read_only(state):
        assert perpctl("run", "--mode", "paper", "--risk-level", "conservative", "--duration", "2")[0] == 11
    with JournalReader.open_read(state / "journal.db") as journal:
        assert journal.verify(head).is_whole
        assert journal.head() == head
    code, said = perpctl("reconcile")
    assert code == 0, said


def test_an_exchange_of_our_own_that_has_no_place_to_write_is_told_by_its_file(home: Path) -> None:
    state = profile.load("paper").state_dir
    state.mkdir(parents=True, exist_ok=True)
    with read_only(state):
        code, said = perpctl("positions")
    assert code == 11, said
    assert f"{state}" in said
    assert "cannot be written" in said


def test_a_disk_that_fills_up_under_a_bot_ends_it_without_a_send_that_is_not_on_record(
    paper: dict[str, Any], cli: Cli
) -> None:
    state = profile.load("paper").state_dir
    card = (state / "exchange" / "server.json").read_text()
    with small(state, 4096):
        (state / "exchange").mkdir()
        (state / "exchange" / "server.json").write_text(card)
        with running() as bot:
            bot.until(lambda: len(bot.events("place")) >= 2)
            _fill_up(state / "filler")
            code = bot.process.wait(timeout=60)
            said = bot.out.read_bytes()
        assert code == 11, said[-2000:]
        assert b"Traceback" not in said
        sent = {order["order_id"] for order in cli("orders", "-o", "json").json["orders"]}
        assert sent == set(), "its socket took the entries along"
        code, said_by = perpctl("kill", "--force", "--reason", "drill")
        assert code in (0, 3), said_by
        (state / "filler").unlink()
        with JournalReader.open_read(state / "journal.db") as journal:
            assert journal.verify().is_whole


def _fill_up(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            return
