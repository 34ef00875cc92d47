"""Fixtures for every room: a clean environment, a clock that only tests move, and perpctl inside and outside."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from perpctl import __main__ as front_door
from perpctl import profile
from perpctl.clock import ManualClock
from perpctl.desk import Desk
from perpctl.host.process import is_running, start_detached

START = datetime(2026, 11, 25, 3, 12, 7, tzinfo=UTC)
_FOREIGN = ("PERPCTL_", "COINBASE_", "XDG_", "DEBUG_", "LOG_LEVEL", "NO_COLOR", "SUDO_USER")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite golden and generated files instead of comparing")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether generated files are to be rewritten; review them in the diff."""
    return bool(request.config.getoption("--update"))


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own for each test, and nothing of the developer's environment."""
    for name in list(os.environ):
        if name.startswith(_FOREIGN) or name.lower() in _PROXIES:
            monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    ours = {
        "HOME": home,
        "PERPCTL_STATE_DIR": tmp_path / "state",
        "PERPCTL_CONFIG_DIR": tmp_path / "config",
        "PERPCTL_SYSTEM_CONFIG": tmp_path / "system.toml",
        "PERPCTL_TRADING_DISABLED_FILE": tmp_path / "TRADING_DISABLED",
        "COLUMNS": "110",
        "TZ": "UTC",
    }
    for name, value in ours.items():
        monkeypatch.setenv(name, str(value))
    return home


@pytest.fixture
def clock() -> ManualClock:
    """Time that passes only when the test moves it."""
    return ManualClock(START)


@dataclass(frozen=True)
class Ran:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Ran]


@pytest.fixture
def cli(clock: ManualClock) -> Cli:
    """Runs perpctl in this process, without a terminal: `cli("positions", "-o", "json")`. Not inside a running loop."""

    def run(*words: str) -> Ran:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = front_door.main(list(words), clock)
        return Ran(int(code), out.getvalue(), err.getvalue())

    return run


@pytest.fixture
def perpctl() -> Cli:
    """Runs perpctl as a process of its own, as a shell would."""

    def run(*words: str, stdin: str = "", timeout_s: float = 60) -> Ran:
        command = [sys.executable, "-m", "perpctl", *words]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout_s)
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def golden(request: pytest.FixtureRequest, update: bool) -> Callable[[str, str], None]:
    """Compares a text with `golden/NAME` beside the test; `pytest --update` rewrites it."""
    directory = Path(request.path).parent / "golden"

    def compare(name: str, text: str) -> None:
        path = directory / name
        if update:
            directory.mkdir(exist_ok=True)
            path.write_text(text)
        assert text == path.read_text(), f"{path} differs; if the new text is right: pytest --update"

    return compare


@pytest.fixture
def paper(home: Path) -> Iterator[dict[str, Any]]:
    """A running paper exchange of the built-in profile: what its ready line says. Commands find it by themselves."""
    settings = profile.load("paper")
    assert settings.exchange_command is not None
    assert settings.endpoints_file is not None
    log = settings.endpoints_file.parent / "server.log"
    ready = dict(start_detached(settings.exchange_command, log, ready_within_s=20))
    yield ready
    end(int(ready["pid"]))


def end(pid: int) -> None:
    """End a process that a test started, and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    for _ in range(200):
        if not is_running(pid):
            break
        time.sleep(0.01)
    else:
        os.kill(pid, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


@pytest.fixture
def desk(paper: dict[str, Any], clock: ManualClock) -> Desk:
    """A desk at the running paper exchange. Close it with `await desk.aclose()`."""
    return Desk(profile.load("paper"), clock)
