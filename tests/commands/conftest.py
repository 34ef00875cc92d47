"""The stage of the screens: a paper exchange that stands still, so that a view is the same to the last digit."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from perpctl.exchange.advanced_trade.budget import SHARES, Share
from perpctl.exchange.budget import Duty
from perpctl.host.process import start_detached
from perpctl.store.snapshot import PAPER_AT
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
def stage(venue: str, _still_server: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """The exchange as new; the commands find it by themselves, and trade at the venue of the test."""
    found = Stage(_still_server, venue)
    if found.venue != "global":
        monkeypatch.setenv("PERPCTL_PROFILE", PAPER_AT[found.venue])
        monkeypatch.setitem(SHARES, Duty.OPERATOR, Share(rate=10_000, burst=10_000, hourly=10_000))  # nor our own
    found.reset()
    found.found()
    return found
