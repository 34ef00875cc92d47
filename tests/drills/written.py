"""A story for the journal, by real processes: a bot that trades and is asked things, and an operator who then acts."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from perpctl import profile
from perpctl.engine.strategy import Desired, View
from perpctl.model.money import price_up
from perpctl.model.order import Side
from perpctl.store.journal import JournalReader
from perpctl.store.records import Record
from tests.conftest import tell
from tests.drills.running import Running, running
from tests.drills.still import Holder

FROM = "203.0.113.7"
REASON = "drill"


class Trader(Holder):
    """Takes a position, then offers to sell as much far away; the offer is all that it leaves behind."""

    name = "trader"

    def on_market(self, view: View) -> Sequence[Desired] | None:
        if not view.position:
            return super().on_market(view)
        price = price_up(view.mid * (1 + self.params.away), view.instrument.tick)
        tolerance = view.mid * Decimal("0.01")
        return (Desired(Side.SELL, 3 * view.instrument.size_step, price, "offer", tolerance=tolerance),)


def story(paper: dict[str, Any]) -> list[dict[str, Any]]:
    """Every line of the journal afterwards, whole, in the order written; the chain was verified."""
    _settle_file(paper)
    with running("--strategy", "tests.drills.written:Trader", level="aggressive") as bot:
        bot.until(lambda: bot.position()["stop"] and len(bot.events("place")) >= 2, 20)
        _disturb(bot, paper)
        _ask(bot)
        bot.stop()
    _perpctl("positions")
    _at_a_terminal("positions", "reduce", "BTC-PERP", "--by", "50%", "--reason", REASON)
    _perpctl("cancel-all", "--include-stops", "--yes", "--reason", REASON)
    return [json.loads(record.canonical) for record in records()]


def _disturb(bot: Running, paper: dict[str, Any]) -> None:
    """Every line is cut; the bot comes back by itself."""
    before = len(bot.events("feed_back"))
    tell(f"{paper['control']}/disconnect")
    bot.until(lambda: len(bot.events("feed_lost")) >= 1, 20)
    bot.until(lambda: len(bot.events("feed_back")) >= 2 * before, 20)
    bot.until(lambda: bot.http("GET", "/api/status")[1]["dead_man_armed"], 20)


def _ask(bot: Running) -> None:
    """As a monitor, as somebody without the right, and as somebody with it, over both doors."""
    assert bot.http("GET", "/metrics")[0] == 200
    assert bot.http("GET", "/api/status", host="127.0.0.1", Host="elsewhere.example")[0] == 421
    assert bot.mode("normal")[0] == 401
    assert bot.control(do="status")["ok"] is True
    body = {"mode": "reduce_only", "who": "bob", "reason": REASON}
    assert bot.http("POST", "/api/mode", json.dumps(body).encode())[0] == 200


def records() -> list[Record]:
    with JournalReader.open_read(profile.load("paper").state_dir / "journal.db") as reader:
        assert reader.verify().is_whole
        return list(reader.records())


def _settle_file(paper: dict[str, Any]) -> None:
    """A file, so that its hash stands on every line."""
    path = profile.config_dir() / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'[profiles.paper]\nvenue = "{paper["venue"]}"\n')


def _environment() -> dict[str, str]:
    """Of somebody who came by ssh and became somebody else."""
    there = {"SSH_CONNECTION": f"{FROM} 51022 192.0.2.1 22", "SUDO_USER": "alice", "PERPCTL_PROFILE": "paper"}
    return os.environ | there


def _perpctl(*words: str) -> None:
    command = [sys.executable, "-m", "perpctl", *words]
    subprocess.run(command, env=_environment(), check=True, capture_output=True, stdin=subprocess.DEVNULL)


def _at_a_terminal(*words: str) -> None:
    """The same with a person at the keyboard, who reads the plan and says yes."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "perpctl", *words]
    process = subprocess.Popen(command, env=_environment(), stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    try:
        seen = _read_until(ours, r"\[y/N\]")
        os.write(ours, b"y\n")
        seen += _read_until(ours, r"\Z.")
        assert process.wait(timeout=30) == 0, seen
    finally:
        process.kill()
        process.wait(timeout=10)
        os.close(ours)


def _read_until(terminal: int, pattern: str) -> str:
    """What the terminal shows until it shows this, or the other end is gone."""
    text, until = "", time.monotonic() + 30
    while time.monotonic() < until and not re.search(pattern, text):
        if not select.select([terminal], [], [], 0.5)[0]:
            continue
        try:
            text += os.read(terminal, 1 << 16).decode(errors="replace")
        except OSError:  # nobody is left at the other end
            break
    return text
