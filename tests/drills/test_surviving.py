"""SIGKILL of the bot at random moments: no fill lost, none double, no order sent twice, every position has its stop.

The long form, 200 lives: `python -m tests.drills.surviving 200 1 us`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import VENUES
from tests.drills.surviving import survive

pytestmark = [pytest.mark.drill, pytest.mark.timeout(240)]


@pytest.mark.parametrize("venue", VENUES)
def test_twenty_lives_end_at_random_and_nothing_is_lost_doubled_or_bare(venue: str, tmp_path: Path) -> None:
    toll = survive(tmp_path, lives=20, seed=11, venue=venue)
    assert toll.trouble == []
    assert toll.orders >= 20, "too little was traded to show anything"
    assert toll.fills >= 1
