"""The stage of the screens: a paper exchange that stands still, so that a view is the same to the last digit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perpctl.host.process import start_detached
from tests.commands.stage import Stage
from tests.conftest import end


@pytest.fixture(scope="session")
def _still_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    directory = tmp_path_factory.mktemp("stage") / "exchange"
    command = [
        sys.executable,
        "-m",
        "tests.commands.stage",
        "--port",
        "0",
        "--state-dir",
        str(directory),
        "--seed",
        "7",
    ]
    ready = dict(start_detached(command, directory.parent / "server.log", ready_within_s=20))
    yield ready
    end(int(ready["pid"]))


@pytest.fixture
def stage(_still_server: dict[str, Any], home: Path) -> Stage:
    """The exchange as new; the commands of the profile `paper` find it by themselves."""
    found = Stage(_still_server)
    found.reset()
    found.found()
    return found
