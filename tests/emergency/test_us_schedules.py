"""Two kills at the US venue at once, over reads that may be a minute old, lost answers and a market that moves."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.emergency.schedules import play

SEEDS = range(1, 13)  # `python -m tests.emergency.schedules 1000` plays more


@pytest.mark.timeout(60)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_close_turns_a_position_and_zero_is_never_said_over_one(seed: int, tmp_path: Path) -> None:
    it = play(seed, tmp_path)
    assert it.trouble == []
    assert len(it.codes) == 2
