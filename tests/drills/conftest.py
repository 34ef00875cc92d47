"""An arena for the drills of a module, with a bot that trades there; a desk for those that kill."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drills.arena import STRATEGY, Arena, arena
from tests.drills.killing import Desk, running_exchange

VARIABLES = ("PERPCTL_STATE_DIR", "PERPCTL_CONFIG_DIR")


@pytest.fixture(scope="module")
def _arena(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Arena, dict[str, str]]]:
    directory = tmp_path_factory.mktemp("arena")
    places = {name: str(directory / name.split("_")[1].lower()) for name in VARIABLES}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in places.items():
            patch.setenv(name, value)
        opened = contextlib.ExitStack()
        place = opened.enter_context(arena(directory, seed=5))
    with opened:
        yield place, places


@pytest.fixture
def place(_arena: tuple[Arena, dict[str, str]], home: Path, monkeypatch: pytest.MonkeyPatch) -> Arena:
    """One exchange and, while it lives, one bot for all of a module."""
    for name, value in _arena[1].items():
        monkeypatch.setenv(name, value)
    _arena[0].trade_with(STRATEGY)
    return _arena[0]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """A desk beside an exchange of its own; kills that still work at the end are ended."""
    with running_exchange(tmp_path / "exchange") as exchange:
        desk = Desk(tmp_path / "state", tmp_path / "config", exchange)
        desk.validate()
        yield desk
        desk.end_workers()
