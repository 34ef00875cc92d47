"""`perpctl paper`: what an operator does with the paper exchange."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Cli, tell

BTC = "BTC_USDC-PERPETUAL"


def test_status_says_that_nothing_runs_and_how_to_start_it(cli: Cli) -> None:
    ran = cli("paper", "status", "-o", "json")
    assert ran.code == 1
    assert ran.json["running"] is False
    assert "perpctl paper serve" in cli("paper").out


def test_status_names_address_account_marks_and_faults(cli: Cli, paper: dict[str, Any]) -> None:
    assert cli("paper", "fault", "delay", "--method", "private/*", "--seconds", "0.1").code == 0
    ran = cli("paper", "status", "-o", "json")
    assert ran.code == 0
    assert ran.json["gateway_http"] == paper["gateway_http"]
    assert ran.json["faults"][0]["method"] == "private/*"
    shown = cli("paper", "status").out
    assert paper["gateway_http"] in shown
    assert "account 1 (paper): equity 100,000.00 USDC" in shown
    assert "USD," not in shown  # what the other venue has is none of this profile's
    assert cli("paper", "fault", "clear").code == 0
    assert cli("paper", "status", "-o", "json").json["faults"] == []


def test_a_wrong_fault_is_refused_with_the_known_ones(cli: Cli, paper: dict[str, Any]) -> None:
    ran = cli("paper", "fault", "fire", "-o", "json")
    assert ran.code == 2
    assert "drop_before" in ran.out


def test_a_price_can_be_moved_and_previewed(cli: Cli, paper: dict[str, Any]) -> None:
    assert cli("paper", "price", BTC, "91000", "--dry-run").code == 0
    before = tell(f"{paper['control']}/status", method="GET")["marks"][BTC]
    assert abs(float(before) - 91000) > 1000
    assert cli("paper", "price", BTC, "91000").code == 0
    after = tell(f"{paper['control']}/status", method="GET")["marks"][BTC]
    assert abs(float(after) - 91000) < 200


@pytest.mark.parametrize("algorithm", ["es256", "ed25519"])
def test_a_key_is_written_once_readable_to_its_owner_alone(
    cli: Cli, paper: dict[str, Any], tmp_path: Path, algorithm: str
) -> None:
    out = tmp_path / "key.json"
    command = ("paper", "key", "--algorithm", algorithm, "--out", str(out), "--permissions", "view")
    assert cli(*command, "--dry-run").code == 0
    assert not out.exists()
    assert cli(*command).code == 0
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert "privateKey" in json.loads(out.read_text())
    assert cli(*command).code == 2
    assert cli("paper", "key", "--out", str(tmp_path / "other"), "--permissions", "steal").code == 2


def test_a_reset_asks_and_works_running_or_not(cli: Cli, paper: dict[str, Any], tmp_path: Path) -> None:
    tell(f"{paper['control']}/deposit", amount="5")
    assert cli("paper", "reset").code == 5
    assert cli("paper", "reset", "--yes").code == 0
    assert tell(f"{paper['control']}/status", method="GET")["accounts"]["1"]["balance"] == "100000"


def test_a_reset_mends_a_damaged_state(cli: Cli, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "paper" / "exchange"
    folder.mkdir(parents=True)
    (folder / "checkpoint.json").write_text("rubbish")
    assert cli("paper", "reset", "--yes").code == 0
    assert not (folder / "checkpoint.json").exists()


@pytest.mark.drill
def test_serve_prints_its_ready_line_and_leaves_on_sigterm(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "perpctl", "paper", "serve", "--port", "0", "--speed", "max"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["state_dir"] == str(tmp_path / "state" / "paper" / "exchange")
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
