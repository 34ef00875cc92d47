"""A made-up evening at both venues, both strategies, and the recorded month: the money adds up in three books.

As a program, with its figures: `python -m tests.drills.month [FILE] [us]`.
"""

from __future__ import annotations

import gzip
import math
from pathlib import Path

import pytest

from tests.drills.month import MONTH, WIDE, Part, month, run

AT_BOTH = pytest.mark.parametrize("venue", ["global", "us"])
WITH_BOTH = pytest.mark.parametrize("strategy", ["quoter", "trend"])
FRIDAY_S = 1_642_184_400  # 14 January 2022, 18:20 UTC: at 22:00 the session ends, and the weekly stop is on for an hour
MINUTES = 290


@pytest.fixture
def evening(tmp_path: Path) -> Path:
    """Minutes of a market that swings, so that whoever follows a trend trades too."""
    rows, last = ["start_epoch_s,open,high,low,close,volume_usd"], 43_000
    for minute in range(MINUTES):
        price = 43_000 + round(600 * math.sin(minute / 60) + 60 * math.sin(minute * 1.7))
        high, low = max(last, price) + 10, min(last, price) - 10
        rows.append(f"{FRIDAY_S + 60 * minute},{last},{high},{low},{price},1000000")
        last = price
    file = tmp_path / "btc-evening.csv.gz"
    file.write_bytes(gzip.compress(("\n".join(rows) + "\n").encode()))
    return file


@AT_BOTH
@WITH_BOTH
def test_an_evening_adds_up_in_three_books_and_two_runs_write_the_same_bytes(
    strategy: str, venue: str, evening: Path, tmp_path: Path
) -> None:
    """Over the end of a session and the weekly stop, with positions held."""
    one, two = (run(Part(evening, venue), strategy, WIDE, tmp_path / name) for name in ("one", "two"))
    assert one["trouble"] == []
    assert one["fills"] > 0
    assert [one[name] for name in ("head", "journal_sha256")] == [two[name] for name in ("head", "journal_sha256")]


@AT_BOTH
@WITH_BOTH
@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_month_adds_up_in_three_books_and_two_runs_write_the_same_bytes(
    strategy: str, venue: str, tmp_path: Path
) -> None:
    if not MONTH.exists():
        pytest.skip("../shared is absent")
    found = month(strategy, Part(MONTH, venue), tmp_path)
    assert found["trouble"] == []
    assert found["wide"]["fills"] > 0
