"""Watching: the venue is read no oftener than its floor, ages count on between, Ctrl-C ends it with the last code."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pty
import re
import select
import subprocess
import sys
import time
from typing import Any

from perpctl import profile, render
from perpctl.clock import ManualClock
from perpctl.commands import conduct
from perpctl.desk import Desk
from perpctl.errors import ExitCode
from perpctl.results import Answer, Line
from tests.conftest import START

AGE = re.compile(r"read (\d+\.\d) s ago")


async def test_the_venue_is_read_every_two_seconds_at_most_and_ages_count_on(home: object) -> None:
    clock, asked_at = ManualClock(START), list[float]()
    desk = Desk(profile.load("paper"), clock)

    async def ask(desk: Desk) -> Answer:
        if len(asked_at) == 3:
            raise asyncio.CancelledError  # Ctrl-C
        asked_at.append(clock.monotonic())
        standing = desk.standing(source="venue", age_s=0.0)
        return Answer("perpctl.test/1", None, {}, (Line("x"),), ExitCode.NEGATIVE, standing=standing)

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        code = await conduct._watch(ask, desk, render.Form.TABLE, 0.5)
    assert asked_at == [0.0, 2.0, 4.0]
    assert AGE.findall(out.getvalue()) == ["0.0", "0.5", "1.0", "1.5"] * 3
    assert code == ExitCode.NEGATIVE


def test_on_a_terminal_it_is_drawn_in_place_until_ctrl_c(paper: dict[str, Any]) -> None:
    ours, theirs = pty.openpty()
    program = [sys.executable, "-m", "perpctl", "positions", "--watch", "0.2"]
    watching = subprocess.Popen(
        ["sh", "-c", f'exec "$@" < {os.ttyname(theirs)}', "sh", *program],  # opening it makes it the session's own
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    try:
        seen = _read_until(ours, lambda text: len({*AGE.findall(text)}) >= 4)
        os.write(ours, b"\x03")
        seen += _read_until(ours, lambda text: False)
        assert watching.wait(timeout=10) == 0
    finally:
        watching.kill()
        os.close(ours)
    assert seen.count("\x1b[H") >= 4, "each picture begins in the upper left corner"
    assert "PAPER  global  profile paper" in seen
    assert "Traceback" not in seen


def _read_until(terminal: int, enough: Any) -> str:
    """What the terminal shows, until it is enough or the other end is gone."""
    text, until = "", time.monotonic() + 30
    while time.monotonic() < until and not enough(text):
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            text += os.read(terminal, 65_536).decode(errors="replace")
        except OSError:  # the other end is closed
            break
    return text
