"""Kill at a terminal: one typed word before anything, Ctrl-C that asks, and a kill that goes on."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import subprocess
import sys
import time

import pytest

from perpctl.emergency import pending
from perpctl.model.mode import Mode
from perpctl.store.latch import Latch
from tests.drills.killing import BTC, Desk, wait_until

pytestmark = pytest.mark.drill


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, desk: Desk, *words: str) -> None:
        self.seen = ""
        self.desk = desk
        self.descriptor, far = pty.openpty()
        program = [sys.executable, "-m", "perpctl.emergency.kill", *words]
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" < {os.ttyname(far)}', "sh", *program],  # opening it makes it the session's own
            env=desk.environment,
            stdin=subprocess.DEVNULL,
            stdout=far,
            stderr=far,
            start_new_session=True,
        )
        os.close(far)
        os.set_blocking(self.descriptor, False)

    def read(self) -> str:
        with contextlib.suppress(OSError):  # nothing yet, or nobody left
            self.seen += os.read(self.descriptor, 1 << 16).decode(errors="replace")
        return self.seen

    def expect(self, pattern: str, seconds: float = 10) -> None:
        wait_until(lambda: re.search(pattern, self.read()), seconds)

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def end(self, seconds: float = 20) -> int:
        wait_until(lambda: self.read() is not None and self.process.poll() is not None, seconds)
        self.read()
        os.close(self.descriptor)
        return self.process.returncode


def test_another_word_than_the_one_asked_for_does_nothing(desk: Desk) -> None:
    terminal = Terminal(desk, "-p", "paper")
    terminal.expect("Type paper to go on")
    assert not (desk.directory / "latch").exists(), "nothing is done before the word"
    terminal.type("yes\n")
    assert terminal.end() == 5
    assert not (desk.directory / "latch").exists()


def test_the_typed_word_kills(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    terminal = Terminal(desk, "-p", "paper")
    terminal.expect("Type paper to go on")
    thinking_s = 6.0
    time.sleep(thinking_s)
    terminal.type("paper\n")
    assert terminal.end() == 0
    assert desk.exchange.is_flat
    assert "PROVEN FLAT" in terminal.seen
    latched = re.search(r"\n1 latch +done +([\d.]+) s ", terminal.seen)
    assert latched is not None
    assert float(latched[1]) < thinking_s, "the clock starts at Enter, not at the question"
    (story,) = pending.stories(desk.directory)
    confirmed = story.started["terms"]["confirmed"]
    assert confirmed["typed_confirmation"] == "paper"
    assert "every position closed" in confirmed["plan_shown"]
    assert confirmed["decided_in_s"] >= thinking_s - 1


def test_on_a_terminal_the_steps_are_redrawn_in_place(desk: Desk) -> None:
    terminal = Terminal(desk, "-p", "paper", "--force")
    assert terminal.end() == 0
    before, _, receipt = terminal.seen.partition("PROVEN FLAT")
    assert re.search(r"\x1b\[\d+F", before), "the cursor goes back up"
    assert before.count("1 latch") > 1
    last = before.rpartition("\x1b[")[0].rpartition("F")[2]
    assert len(re.findall(r"\d (?:latch|fence|entries|close|stops|prove|hold|stop) ", last)) == 8
    assert "\x1b" not in receipt


def test_ctrl_c_asks_once_and_no_goes_on_watching(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    terminal = Terminal(desk, "-p", "paper", "--force")
    terminal.expect("latch")
    terminal.type("\x03")
    terminal.expect(r"Stop watching\?")
    terminal.type("n\n")
    assert terminal.end() == 0
    assert desk.exchange.is_flat


def test_the_second_ctrl_c_leaves_and_the_kill_goes_on(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    desk.exchange.fault(kind="delay", method="private/sell", seconds=1.5, count=1)
    terminal = Terminal(desk, "-p", "paper", "--force")
    terminal.expect("latch")
    terminal.type("\x03")
    terminal.expect(r"Stop watching\?")
    terminal.type("\x03")
    assert terminal.end() == 3
    assert "The kill goes on" in terminal.seen
    assert Latch(desk.directory / "latch").read().mode is Mode.HALTED
    wait_until(lambda: desk.exchange.is_flat, 10)
    wait_until(lambda: desk.worker() is None, 15)
    time.sleep(0.2)
    assert desk.kill("-p", "paper", "--status").code == 0
