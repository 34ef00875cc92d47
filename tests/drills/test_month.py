"""The recorded month, both strategies; days of it at the US venue: the money adds up three times, a seed says it all.

As a program, with its figures: `python -m tests.drills.month [FILE]`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drills.month import MONTH, Part, month

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.mark.parametrize(("venue", "days"), [("global", None), ("us", 3)])
@pytest.mark.parametrize("strategy", ["quoter", "trend"])
def test_a_month_adds_up_in_three_books_and_two_runs_write_the_same_bytes(
    strategy: str, venue: str, days: int | None, tmp_path: Path
) -> None:
    if not MONTH.exists():
        pytest.skip("../shared is absent")
    found = month(strategy, Part(MONTH, venue, days), tmp_path)
    assert found["trouble"] == []
    assert found["wide"]["fills"] > 0
