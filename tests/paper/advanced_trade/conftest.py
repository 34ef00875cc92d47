"""What the tests of the Advanced Trade face share."""

from __future__ import annotations

import pytest

from tests.paper.advanced_trade.trader import Trader, new_trader


@pytest.fixture
def trader() -> Trader:
    return new_trader()
