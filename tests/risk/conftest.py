"""The healthy world of the venue that a test runs at."""

from __future__ import annotations

import pytest

from tests.risk.world import WORLDS, World


@pytest.fixture(scope="module")
def at(venue: str) -> World:
    return WORLDS[venue]
