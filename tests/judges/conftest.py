"""Judges: other people's clients, in environments of their own, unmodified but for address and credentials.

`pytest -m judge` makes each environment once, in a cache directory, from the package index.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import venv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from perpctl.host.process import start_detached
from tests import trading
from tests.conftest import end

Judge = Callable[[str, str, dict[str, Any]], dict[str, Any]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.judge)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture
def tls_paper(home: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A paper exchange behind TLS; what its ready line says."""
    state = tmp_path / "exchange"
    command = (sys.executable, "-m", "perpctl.paper.server", "--port", "0", "--tls", "--state-dir", str(state))
    ready = dict(start_detached(command, tmp_path / "server.log", ready_within_s=20))
    trading.control(ready, "/state", {"credits": False})  # a judge asks faster than any account may
    yield ready
    end(int(ready["pid"]))


@pytest.fixture
def judged() -> Judge:
    """Runs a judge's program in the judge's own environment and returns its verdicts by name."""

    def run(requirement: str, program: str, ready: dict[str, Any]) -> dict[str, Any]:
        python = _environment(requirement)
        trust = {"REQUESTS_CA_BUNDLE": ready["ca_file"], "SSL_CERT_FILE": ready["ca_file"]}
        environment = {**os.environ, **trust, "PYTHONPATH": ""}
        command = [str(python), str(Path(__file__).parent / "programs" / program), json.dumps(ready)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-4000:]
        verdicts: dict[str, Any] = json.loads(done.stdout)
        return verdicts

    return run


def _environment(requirement: str) -> Path:
    """The interpreter of an environment that holds this requirement and nothing of ours."""
    root = Path(__file__).parents[2] / ".judges"
    place = root / requirement.replace("=", "-")
    python = place / "bin" / "python"
    root.mkdir(exist_ok=True)
    with (root / f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side, and two of them want the same judge
        if not (place / "ready").exists():
            venv.create(place, with_pip=True, clear=True)
            subprocess.run([python, "-m", "pip", "install", "-q", requirement], check=True, timeout=500)
            (place / "ready").touch()
    return python
