"""With live money the local service has the port that the profile names, or the bot does not start."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from tests.conftest import Cli
from tests.drills.live_profile import LIVE, write_live_profile
from tests.drills.running import running
from tests.drills.test_run import orders_at

pytestmark = [pytest.mark.drill, pytest.mark.timeout(120)]
RUN = ("run", "-p", LIVE, "--mode", "live", "--duration", "60")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def test_a_stranger_on_the_port_is_a_usage_error_and_no_other_port_is_taken(
    paper: dict[str, Any], perpctl: Cli, cli: Cli
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        write_live_profile(paper, key_file=paper["key_file"], local_api_port=port)
        ran = perpctl(*RUN)
    assert ran.code == 2, ran.err
    assert f"port {port}" in ran.err
    assert f"ss -ltnp 'sport = :{port}'" in ran.err
    assert not (profile.load(LIVE).state_dir / "local_api.json").exists()
    assert orders_at(cli) == []


def test_another_perpctl_on_the_port_is_told_as_one_and_no_other_port_is_taken(
    paper: dict[str, Any], perpctl: Cli
) -> None:
    with running() as other:
        write_live_profile(paper, key_file=paper["key_file"], local_api_port=int(other.card["url"].rpartition(":")[2]))
        ran = perpctl(*RUN)
        assert ran.code == 10, ran.err
        assert "another perpctl" in ran.err
        assert not (profile.load(LIVE).state_dir / "local_api.json").exists()
        assert other.http("GET", "/api/mode")[0] == 200


def test_a_free_port_is_taken_as_named_and_the_bot_trades(paper: dict[str, Any], tmp_path: Path) -> None:
    port = free_port()
    write_live_profile(paper, key_file=paper["key_file"], local_api_port=port)
    card = profile.load(LIVE).state_dir / "local_api.json"
    with (tmp_path / "out").open("wb") as out:
        bot = subprocess.Popen([sys.executable, "-m", "perpctl", *RUN], stdout=out, stderr=subprocess.STDOUT)
    try:
        ends = time.monotonic() + 30
        while b'"event":"place"' not in (tmp_path / "out").read_bytes():
            assert time.monotonic() < ends, (tmp_path / "out").read_text()[-2000:]
            assert bot.poll() is None, (tmp_path / "out").read_text()[-2000:]
            time.sleep(0.1)
        assert json.loads(card.read_text())["url"] == f"http://127.0.0.1:{port}"
        bot.send_signal(signal.SIGINT)
        assert bot.wait(20) == 0
    finally:
        if bot.poll() is None:
            bot.kill()
            bot.wait()
