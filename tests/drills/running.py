"""Starts `perpctl run` as a process of its own, and speaks to it as an operator would."""

from __future__ import annotations

import contextlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perpctl import profile

READY_S = 20.0


@dataclass
class Running:
    """One bot that runs; `lines` is what it wrote so far."""

    process: subprocess.Popen[bytes]
    directory: Path
    out: Path

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.read_text().splitlines() if line.startswith("{")]

    @property
    def card(self) -> dict[str, Any]:
        return dict(json.loads((self.directory / "local_api.json").read_text()))

    def events(self, word: str) -> list[dict[str, Any]]:
        return [line for line in self.lines if line.get("event") == word]

    def http(
        self, method: str, path: str, body: bytes = b"", host: str = "127.0.0.1", **headers: str
    ) -> tuple[int, Any]:
        """As the runbook's curl does it: JSON under the content type of a form."""
        port = int(self.card["url"].rpartition(":")[2])
        connection = http.client.HTTPConnection(host, port, timeout=10)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body:
            sent.setdefault("Content-Type", "application/x-www-form-urlencoded")
        with contextlib.closing(connection):
            connection.request(method, path, body or None, sent)
            answer = connection.getresponse()
            text = answer.read()
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(text) if "json" in kind else text.decode()

    def mode(self, word: str, **headers: str) -> tuple[int, Any]:
        return self.http("POST", "/api/mode", json.dumps({"mode": word}).encode(), **headers)

    def control(self, **words: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
            line.settimeout(10)
            line.connect(str(self.directory / "control.sock"))
            line.sendall(json.dumps(words).encode() + b"\n")
            return dict(json.loads(line.makefile().readline()))

    def position(self) -> dict[str, Any]:
        return dict(self.http("GET", "/api/status")[1]["products"][0])

    def until(self, what: Callable[[], Any], within_s: float = 10.0) -> Any:
        """Wait until `what` is true, or fail with what the bot wrote last."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            if found := what():
                return found
            assert self.process.poll() is None, self.out.read_text()[-2000:]
            time.sleep(0.02)
        raise AssertionError(f"not within {within_s} s; last:\n{self.out.read_text()[-2000:]}")

    def stop(self, name: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(name)
        return self.process.wait(timeout=20)


@contextlib.contextmanager
def running(*words: str, level: str = "conservative") -> Iterator[Running]:
    """A bot that is ready; gone when the context ends."""
    directory = profile.load("paper").state_dir
    directory.mkdir(parents=True, exist_ok=True)
    out = directory / f"run-{time.monotonic_ns()}.jsonl"
    (directory / "local_api.json").unlink(missing_ok=True)  # of a run that was killed
    command = [sys.executable, "-m", "perpctl", "run", "--mode", "paper", "--risk-level", level, *words]
    with out.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
    bot = Running(process, directory, out)
    try:
        bot.until((directory / "local_api.json").exists, READY_S)
        bot.until(lambda: bot.http("GET", "/api/status")[1]["dead_man_armed"], READY_S)
        yield bot
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=20)
