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
import urllib.request
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

VENUES = ("global", "us")
both_venues = pytest.mark.parametrize("venue", VENUES, indirect=True)
us_alone = pytest.mark.parametrize("venue", ["us"], indirect=True)  # for what the other does not have
START = datetime(2026, 11, 25, 3, 12, 7, tzinfo=UTC)
_FOREIGN = ("PERPCTL_", "COINBASE_", "XDG_", "DEBUG_", "LOG_LEVEL", "NO_COLOR", "SUDO_USER")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ftp_proxy")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update", action="store_true", help="rewrite golden and generated files instead of comparing")


@pytest.fixture
def update(request: pytest.FixtureRequest) -> bool:
    """Whether generated files are to be rewritten; review them in the diff."""
    return bool(request.config.getoption("--update"))


@pytest.fixture(scope="module")
def venue(request: pytest.FixtureRequest) -> str:
    """Where the test trades. A test or module marked `both_venues` runs at each, with whatever it builds upon this."""
    return str(getattr(request, "param", "global"))


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


@pytest.fixture(scope="session")
def _paper_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """One paper exchange for the whole session; tests get it anew by a reset, which is a hundred times quicker."""
    directory = tmp_path_factory.mktemp("paper") / "exchange"
    server = [sys.executable, "-m", "perpctl.paper.server", "--port", "0", "--state-dir", str(directory), "--seed", "7"]
    ready = dict(start_detached(server, directory.parent / "server.log", ready_within_s=20))
    yield ready
    end(int(ready["pid"]))


@pytest.fixture
def paper(request: pytest.FixtureRequest, venue: str, _paper_server: dict[str, Any], home: Path) -> dict[str, Any]:
    """A running paper exchange, as new, with a book: what its ready line says. Commands find it by themselves, and
    the paper profile trades at the venue of the test.
    """
    assert not hasattr(request, "param"), "the venue is the parameter: mark the test both_venues or us_alone"
    if venue != "global":
        folder = profile.config_dir()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.toml").write_text(f'[profiles.paper]\nvenue = "{venue}"\n')
    control = _paper_server["control"]
    tell(f"{control}/fault", method="DELETE")
    tell(f"{control}/reset")
    tell(f"{control}/advance", seconds=2)
    settings = profile.load("paper")
    assert settings.endpoints_file is not None
    settings.endpoints_file.parent.mkdir(parents=True, exist_ok=True)
    settings.endpoints_file.write_text(json.dumps(_paper_server))
    return {**_paper_server, "venue": venue}


def tell(url: str, *, method: str = "POST", **words: Any) -> Any:
    """Speak to the control plane of a paper exchange, through no proxy."""
    request = urllib.request.Request(url, json.dumps(words).encode(), method=method)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        return json.load(answer)


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
