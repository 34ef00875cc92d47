"""What the tests of the gateway face share."""

from __future__ import annotations

import pytest

from tests.paper.gateway.trader import Trader, new_trader


@pytest.fixture
def trader() -> Trader:
    return new_trader()
