"""A bot that trades without rest while the exchange fails: what its ledger says afterwards, by name of the incident.

The long form, drawn by seed: `python -m tests.drills.storm 600 1`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

import apsw
import pytest

from perpctl import profile
from tests.conftest import Cli
from tests.drills.arena import STRATEGY, Arena
from tests.drills.storm import WIRE, WORLD, struck

pytestmark = [pytest.mark.drill, pytest.mark.timeout(120)]


@pytest.mark.parametrize("name", WIRE)
def test_no_order_is_doubled_and_no_fill_lost_when_the_wire_fails(place: Arena, name: str) -> None:
    struck(place, WIRE[name])
    assert place.heal() == []
    assert place.positions_agree() == []


@pytest.mark.parametrize("name", WORLD)
def test_the_books_agree_again_when_the_world_fails(place: Arena, name: str) -> None:
    WORLD[name](place)
    assert place.heal() == []
    assert place.positions_agree() == []


def test_entries_are_gone_two_seconds_after_reduce_only_though_cancels_are_lost(place: Arena) -> None:
    bot = place.trading()
    place.fault({"kind": "drop_after", "method": "private/cancel", "count": 1})
    began = time.monotonic()
    status, _ = bot.mode("reduce_only")
    bot.until(lambda: place.ledger().entries == [], 2.0 - min(1.9, time.monotonic() - began) + 0.1)
    assert status in (200, 503)
    assert place.heal() == []


def _freeze_between_writes(process: subprocess.Popen[bytes]) -> None:
    """A bot frozen inside a write holds the journal's lock, and a second one could not even open it (exit 8)."""
    journal = apsw.Connection(str(profile.load("paper").state_dir / "journal.db"))
    for _ in range(20):
        process.send_signal(signal.SIGSTOP)
        time.sleep(0.05)
        try:
            journal.execute("BEGIN IMMEDIATE; ROLLBACK")
        except apsw.BusyError:
            process.send_signal(signal.SIGCONT)
            time.sleep(0.05)
            continue
        journal.close()
        return
    raise AssertionError("the bot was always inside a write")


def test_a_thawed_bot_sends_nothing_after_another_took_its_lease(place: Arena, perpctl: Cli) -> None:
    frozen = place.trading()
    _freeze_between_writes(frozen.process)
    try:
        time.sleep(10.5)  # the lease is ten seconds long
        second = perpctl("run", "--strategy", STRATEGY, "--risk-level", "moderate", "--duration", "2")
        assert second.code == 0, second.err
        before = set(place.ledger().labels)
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    time.sleep(2)
    fresh = [one for one in place.ledger().orders.values() if one["label"] not in before]
    assert [one for one in fresh if not one.get("reduce_only")] == []
    frozen.process.kill()
    frozen.process.wait()


def _freeze_inside_a_write(process: subprocess.Popen[bytes]) -> None:
    journal = apsw.Connection(str(profile.load("paper").state_dir / "journal.db"))
    for _ in range(2000):
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        try:
            journal.execute("BEGIN IMMEDIATE; ROLLBACK")
        except apsw.BusyError:
            journal.close()
            return
        process.send_signal(signal.SIGCONT)
        time.sleep(0.003)
    raise AssertionError("the bot was never inside a write")


def test_a_bot_frozen_inside_a_write_is_named_with_the_command_that_frees_the_journal(
    place: Arena, perpctl: Cli
) -> None:
    frozen = place.trading()
    _freeze_inside_a_write(frozen.process)
    time.sleep(10.5)  # its lease is over, so the next bot gets as far as the journal
    words = ("run", "--strategy", STRATEGY, "--risk-level", "moderate", "--duration", "2")
    second = perpctl(*words, timeout_s=40)
    assert second.code == 8, second.err
    assert f"Process {frozen.process.pid} " in second.err
    assert "frozen inside a write" in second.err
    assert f"kill -KILL {frozen.process.pid}" in second.err
    frozen.process.kill()
    frozen.process.wait()
    assert perpctl(*words).code == 0


def test_a_second_bot_on_the_same_state_is_refused_within_a_second(place: Arena, perpctl: Cli) -> None:
    place.trading()
    began = time.monotonic()
    second = perpctl("run", "--strategy", STRATEGY, "--risk-level", "moderate")
    assert second.code == 10, second.err
    assert time.monotonic() - began < 1.0 + 0.5 * os.getloadavg()[0]
