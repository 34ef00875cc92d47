"""The local service of a real bot on the paper exchange, asked as an operator and as an attacker would."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from perpctl.questions.health import fetch
from tests.trading import at_the_desk, control, working

RUN = ("run", "--mode", "paper", "--symbols", "BTC-PERP", "--risk-level", "conservative", "--duration", "60")


@contextlib.contextmanager
def _running(tmp_path: Path) -> Iterator[str]:
    """A bot of its own process; the address of its service once that answers."""
    card = Path(os.environ["PERPCTL_STATE_DIR"]) / "paper" / "local_api.json"
    with (tmp_path / "run.txt").open("ab") as out:
        bot = subprocess.Popen([sys.executable, "-m", "perpctl", *RUN], stdout=out, stderr=out)
    try:
        _until(lambda: card.exists() and json.loads(card.read_text())["pid"] == bot.pid)
        assert card.stat().st_mode & 0o777 == 0o600
        yield str(json.loads(card.read_text())["url"])
        bot.send_signal(signal.SIGINT)
        bot.wait(15)
        assert not card.exists()
    finally:
        if bot.poll() is None:
            bot.kill()
            bot.wait(5)


def _until(so: Callable[[], object], seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.1)


def _healthy(url: str) -> bool:
    return fetch(url, "/health")[0] == 200


def _resting(url: str) -> list[dict[str, Any]]:
    orders = fetch(url, "/api/orders")[1]["orders"]
    return [one for one in orders if one["stage"] == "resting" and one["purpose"] != "stop"]


async def _at_the_venue() -> set[str]:
    async with at_the_desk() as desk:
        return await working(desk)


def _curl(url: str, *words: str) -> tuple[int, dict[str, Any]]:
    command = ["curl", "-s", "-m", "5", "-w", "\n%{http_code}", *words, url]
    out = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    text, _, status = out.rpartition("\n")
    return int(status), json.loads(text)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is absent")
def test_the_literal_curl_takes_real_entries_away_and_outlives_a_restart(paper: dict[str, Any], tmp_path: Path) -> None:
    with _running(tmp_path) as url:
        _until(lambda: _resting(url))
        assert len(asyncio.run(_at_the_venue())) >= 1
        asked = ("-X", "POST", "-d", '{"mode": "reduce_only"}')
        mode = url.replace("127.0.0.1", "localhost") + "/api/mode"
        began = time.monotonic()
        status, said = _curl(mode, *asked)
        assert (status, said["mode"], said["read_back"]) == (200, "reduce_only", True), said
        assert said["entries_cancelled"] >= 1
        assert time.monotonic() - began < 3
        assert asyncio.run(_at_the_venue()) == set()
        assert _resting(url) == []
        assert _curl(mode, *asked, "-H", "Sec-Fetch-Mode: cors")[0] == 401
        assert _curl(mode, "-X", "POST", "-d", '{"mode": "normal", "reason": "r"}')[0] == 401
    with _running(tmp_path) as url:
        assert fetch(url, "/api/mode")[1]["mode"] == "reduce_only"
        families = {one.name for one in _metrics(url)}
        assert {"perpctl_sends", "perpctl_gate_refusals", "perpctl_journal_appends", "perpctl_equity"} <= families


def _metrics(url: str) -> list[Any]:
    done = subprocess.run(["curl", "-s", "-m", "5", f"{url}/metrics"], capture_output=True, text=True, check=True)
    return list(text_string_to_metric_families(done.stdout))


def test_idle_and_slow_connections_neither_delay_the_bot_nor_keep_an_operator_out(
    paper: dict[str, Any], tmp_path: Path
) -> None:
    with _running(tmp_path) as url, contextlib.ExitStack() as held:
        _until(lambda: _healthy(url))
        port = urlsplit(url).port
        idle = [held.enter_context(socket.create_connection(("127.0.0.1", port or 0), 5)) for _ in range(200)]
        for one in idle[::2]:
            with contextlib.suppress(ConnectionError):
                one.send(b"GET /health HTTP/1.1\r\nHo")
        began = time.monotonic()
        status, said = fetch(url, "/api/status")
        assert status == 200
        assert time.monotonic() - began < 1
        assert float(said["loop_lag_p99_ms"]) < 250
        assert sum(not _is_closed(one) for one in idle) <= 32
        _until(lambda: all(_is_closed(one) for one in idle), 8)


def _is_closed(one: socket.socket) -> bool:
    one.setblocking(False)
    try:
        return one.recv(100) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def test_a_venue_that_is_gone_makes_health_bad_and_a_mode_change_not_confirmed(
    paper: dict[str, Any], tmp_path: Path
) -> None:
    with _running(tmp_path) as url:
        _until(lambda: _resting(url))
        control(paper, "/fault", {"kind": "outage"})
        try:
            _until(lambda: fetch(url, "/health")[0] == 503)
            parts = fetch(url, "/health")[1]["components"]
            assert parts["venue"]["status"] == "bad"
            assert parts["feeds"]["status"] == "bad"
            status, said = _curl(f"{url}/api/mode", "-X", "POST", "-d", '{"mode": "reduce_only"}')
            assert (status, said["read_back"]) == (503, False), said
            assert "NOT CONFIRMED" in said["error"]
        finally:
            control(paper, "/fault", method="DELETE")
