"""A venue in memory, and clients of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from perpctl.clock import ManualClock
from perpctl.exchange.advanced_trade.client import AdvancedTrade
from tests.exchange.advanced_trade.venue import FakeWeb, make_key, open_client


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(datetime(2026, 11, 25, 13, 0, tzinfo=UTC))


@pytest.fixture
def web() -> FakeWeb:
    return FakeWeb()


@pytest.fixture
def key_file(tmp_path: Path, clock: ManualClock) -> Path:
    return make_key(tmp_path, clock)


@pytest.fixture
def client(web: FakeWeb, key_file: Path, clock: ManualClock) -> AdvancedTrade:
    return open_client(web, key_file, clock)
