"""Kill beside a bot that trades: fenced or frozen, flat, proven, and the books agree afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.clock import SystemClock
from perpctl.desk import Desk
from perpctl.emergency.pending import Record
from perpctl.store.records import Correlation, Kind
from tests.conftest import Cli
from tests.drills.running import running
from tests.drills.test_run import get_filled

pytestmark = [pytest.mark.drill, pytest.mark.timeout(120)]


@pytest.fixture(autouse=True)
def hurried(home: Path, tmp_path: Path) -> None:
    """Play money need not hold out for a minute."""
    config = Path(os.environ["PERPCTL_CONFIG_DIR"])
    config.mkdir(parents=True, exist_ok=True)
    (config / "config.toml").write_text("[profiles.paper.kill]\nhold_s = 1\nhold_unproven_s = 3\nforeground_s = 20\n")


def kill() -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "perpctl", "kill", "-p", "paper", "--force", "-o", "json"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, json.loads(ran.stdout)


def step(receipt: dict[str, Any], name: str) -> dict[str, Any]:
    return dict(next(one for one in receipt["steps"] if one["step"] == name))


def books_agree(cli: Cli) -> None:
    """Reconcile explains everything, and what it journals leaves nothing; the kill is on record once."""
    found = cli("reconcile", "-o", "json").json
    causes = {row["cause"] for row in found["differences"]}
    assert causes <= {"missing fill", "our order, its state was missed", "funding"}, found["differences"]
    assert found["left_open"] == 0
    for _ in range(2):
        applied = cli("reconcile", "--apply", "--yes", "--reason", "after the drill", "-o", "json")
        assert applied.code == 0, applied.out + applied.err
    assert cli("reconcile").code == 0


def on_record(receipt: dict[str, Any]) -> list[Kind]:
    desk = Desk(profile.load("paper"), SystemClock())
    try:
        belongs = Correlation(kill_id=receipt["kill_id"])
        return [record.kind for record in desk.journal().records(correlation=belongs)]
    finally:
        desk.journal().close()


def test_a_bot_that_trades_is_fenced_over_its_socket(paper: dict[str, Any], cli: Cli) -> None:
    with running() as bot:
        get_filled(bot, paper)
        code, receipt = kill()
        assert code == 0, receipt
        assert "acknowledged" in step(receipt, "fence")["evidence"]
        assert receipt["closed"]
        assert bot.process.wait(timeout=20) == 0, bot.out.read_text()[-2000:]
    books_agree(cli)
    kinds = on_record(receipt)
    assert kinds[0] is Kind.PLAN_STARTED
    assert (kinds.count(Kind.PLAN_ENDED), kinds[-1]) == (1, Kind.PLAN_ENDED)
    assert kinds.count(Kind.ORDER_SEEN) == sum(row["orders"] for row in receipt["closed"])


def test_a_frozen_bot_is_killed_and_the_books_agree_afterwards(paper: dict[str, Any], cli: Cli) -> None:
    with running() as bot:
        get_filled(bot, paper)
        bot.process.send_signal(signal.SIGSTOP)
        code, receipt = kill()
        assert code == 0, receipt
        assert "SIGKILL" in step(receipt, "fence")["evidence"]
        assert bot.process.wait(timeout=5) == -signal.SIGKILL
    books_agree(cli)


def test_run_is_refused_while_a_kill_has_not_ended(paper: dict[str, Any], cli: Cli) -> None:
    directory = profile.load("paper").state_dir
    Record(directory, "K-20261123-101500", None).write("started", kill_id="K-20261123-101500", pid=1, started=0)
    refused = cli("run", "--mode", "paper", "--risk-level", "conservative", "--duration", "1")
    assert refused.code == 5, refused.out + refused.err
    assert "K-20261123-101500" in refused.err
    assert "perpctl kill -p paper --finish" in refused.err
