"""A venue in memory, and a client of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpctl.clock import ManualClock
from perpctl.exchange.gateway.client import Gateway
from tests.exchange.gateway.venue import START, Venue, connect


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def venue(clock: ManualClock) -> Venue:
    return Venue(clock)


@pytest.fixture
def gateway(venue: Venue, tmp_path: Path) -> Gateway:
    return connect(venue, tmp_path)
