"""The live view on a real terminal: it fits the window, says when it is frozen, and lends its keyboard to the kill."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.drill
ROWS, COLUMNS = 24, 80


class Window:
    """`perpctl run` in a terminal window of the smallest size."""

    def __init__(self) -> None:
        self.seen = ""
        self.descriptor, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        words = ["run", "--mode", "paper", "--symbols", "BTC-PERP", "--risk-level", "conservative"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "perpctl", *words],
            env=environment | {"TERM": "xterm", "NO_COLOR": "1"},
            stdin=far,
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

    def expect(self, pattern: str, seconds: float = 20) -> None:
        """Seen from now on."""
        until = time.monotonic() + seconds
        while not (found := re.search(pattern, self.read())):
            assert time.monotonic() < until, f"{pattern!r} never came; seen: {self.seen[-2000:]}"
            time.sleep(0.02)
        self.seen = self.seen[found.end() :]

    def type(self, text: str) -> None:
        """As a human does: one key after another."""
        for key in text:
            os.write(self.descriptor, key.encode())
            time.sleep(0.15)
            self.read()

    def picture(self) -> list[str]:
        """The next whole picture, line by line."""
        self.expect(re.escape("\x1b[H"))
        until = time.monotonic() + 5
        while "\x1b[J" not in self.read() and time.monotonic() < until:
            time.sleep(0.02)
        return self.seen.partition("\x1b[J")[0].replace("\x1b[K", "").splitlines()

    def end(self, seconds: float = 30) -> int:
        until = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < until:
            self.read()
            time.sleep(0.02)
        self.read()
        return self.process.wait(0.1)


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Window]:
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.toml").write_text("[profiles.paper.kill]\nhold_s = 1\nhold_unproven_s = 1\n")
    window = Window()
    try:
        window.expect("DECISIONS|more in a taller window")
        yield window
    finally:
        if window.process.poll() is None:
            window.process.terminate()
            window.end()
        os.close(window.descriptor)


def test_a_small_window_shows_the_mode_and_the_keys_and_can_stand_still(window: Window) -> None:
    lines = window.picture()
    assert len(lines) < ROWS
    assert max(map(len, lines)) <= COLUMNS
    assert lines[0].startswith("PAPER")
    assert any(line.startswith("mode NORMAL") for line in lines)
    assert any(line.startswith("POSITION") for line in lines)
    assert "[k] kill" in "".join(lines[-2:])
    window.type(" ")
    window.expect("FROZEN")
    window.type(" q")
    window.expect(r"stopped in [0-9.]+ s")
    assert window.end() == 0


def test_the_kill_gets_every_key_that_is_typed_while_it_asks(window: Window) -> None:
    window.type("k")
    window.expect("Type paper to go on")
    window.type("paper\n")
    window.expect("PROVEN FLAT", 30)
    window.expect(r"left to kill K-")
    window.end()


def test_a_bot_goes_on_when_the_kill_is_not_confirmed(window: Window) -> None:
    window.type("k")
    window.expect("Type paper to go on")
    window.type("no\n")
    window.expect("Nothing was latched")
    window.expect("mode NORMAL")
    window.type("q")
    window.expect(r"stopped in [0-9.]+ s")
    assert window.end() == 0
