"""A core on the bench, at the venue that the test runs at."""

from __future__ import annotations

import pytest

from tests.engine.bench import Bench


@pytest.fixture
def bench(venue: str) -> Bench:
    return Bench(venue)
