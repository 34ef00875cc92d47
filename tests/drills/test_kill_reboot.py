"""A kill that could not end survives a reboot: whoever types the next command sets a process on it again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpctl.emergency.pending import unfinished
from perpctl.store.lease import process_started
from tests.drills.killing import BTC, Desk, running_exchange, wait_until

pytestmark = pytest.mark.drill


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with running_exchange(tmp_path / "state" / "paper" / "exchange") as exchange:
        desk = Desk(tmp_path / "state", tmp_path / "config", exchange)
        desk.validate()
        yield desk
        desk.end_workers()


def perpctl(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "perpctl", *words]
    return subprocess.run(command, env=desk.environment, capture_output=True, text=True, timeout=60, check=False)


def leave_unfinished(desk: Desk) -> str:
    """A kill in vain, and then a reboot: its process is gone, another bears its number."""
    desk.exchange.trader().market("buy", BTC, "0.1")
    desk.exchange.fault(kind="outage")
    done = desk.kill()
    assert done.code == 3
    desk.end_workers()
    desk.exchange.heal()
    path = desk.directory / "kills" / f"{done.receipt['kill_id']}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    us = {"pid": os.getpid(), "started": process_started(os.getpid()), "boot": "the boot before"}
    lines = [{**line, **us} if line["event"] == "started" else line for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(done.receipt["kill_id"])


def test_another_process_with_the_number_of_ours_before_the_reboot_is_nobody(desk: Desk) -> None:
    leave_unfinished(desk)
    assert [story.worker for story in unfinished(desk.directory)] == [None]


def test_the_next_command_of_the_profile_finishes_it(desk: Desk) -> None:
    kill_id = leave_unfinished(desk)
    asked = perpctl(desk, "positions", "-p", "paper")
    assert f"kill {kill_id} of profile paper had not ended and nobody was at it" in asked.stderr
    assert f"perpctl kill -p paper --abandon {kill_id}" in asked.stderr
    wait_until(lambda: desk.exchange.is_flat and not unfinished(desk.directory), 30)
    assert desk.kill("-p", "paper", "--status").code == 0
    assert perpctl(desk, "positions", "-p", "paper").stderr == "", "once is enough"


def test_a_kill_given_up_is_not_taken_up_again(desk: Desk) -> None:
    kill_id = leave_unfinished(desk)
    assert desk.kill("-p", "paper", "--abandon", kill_id, "--reason", "hedged elsewhere").code == 6
    assert perpctl(desk, "positions", "-p", "paper").stderr == ""
    assert desk.exchange.account["positions"]


def test_run_names_the_way_out_and_does_not_start_beside_it(desk: Desk) -> None:
    kill_id = leave_unfinished(desk)
    desk.exchange.fault(kind="outage")
    refused = perpctl(desk, "run", "--mode", "paper", "--risk-level", "conservative", "--duration", "1")
    assert refused.returncode == 5, refused.stdout + refused.stderr
    assert kill_id in refused.stderr
    assert "perpctl kill -p paper --finish" in refused.stderr


def test_where_no_process_can_be_started_the_kill_stays_in_front_and_says_so(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    no_fork = (
        "import os, sys\ndef refuse():\n raise OSError(11, 'Resource temporarily unavailable')\nos.fork = refuse\n"
    )
    program = no_fork + "from perpctl.emergency import kill\nsys.exit(kill.main(sys.argv[1:]))"
    command = [sys.executable, "-c", program, "-p", "paper", "--force", "-o", "json"]
    done = subprocess.run(command, env=desk.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "this one does it; stay here" in done.stderr
    assert desk.exchange.is_flat
    assert json.loads(done.stdout)["worker"] not in (None, os.getpid())
