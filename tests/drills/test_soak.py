"""Ten minutes of faults drawn by seed, with the whole audit after each; run with `-m soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills.arena import arena
from tests.drills.storm import soak

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]


def test_ten_minutes_of_faults_leave_books_limits_and_memory_as_they_must_be(tmp_path: Path) -> None:
    with arena(tmp_path, seed=3) as place:
        came_to = soak(place, 600, seed=3)
    assert came_to["trouble"] == []
    begin, end = came_to["longest"]["rss_mb"]
    assert end < begin * 1.5
    first, _, last = came_to["longest"]["descriptors"]
    assert last <= first + 8
