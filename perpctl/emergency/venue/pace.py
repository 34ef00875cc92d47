"""This file keeps cancels by id at a pace that leaves the session alive: a request flood ends it (10028)."""

from __future__ import annotations

import time

_A_SECOND, _AT_ONCE = 3.0, 12  # 60 % of the lowest engine tier
_IN_FLIGHT = 4


class Pace:
    """A bucket of cancels that fills with time."""

    def __init__(self) -> None:
        self._left, self._at = float(_AT_ONCE), time.monotonic()

    def grant(self, wanted: int) -> int:
        """How many of `wanted` may be sent now."""
        now = time.monotonic()
        self._left = min(float(_AT_ONCE), self._left + (now - self._at) * _A_SECOND)
        self._at = now
        granted = min(wanted, int(self._left))
        self._left -= granted
        return granted


def ids_seconds(count: int, round_trip_s: float) -> float:
    """How long so many cancels by id take: at once as far as the pace allows, the rest at its rate."""
    return -(-count // _IN_FLIGHT) * round_trip_s + max(0, count - _AT_ONCE) / _A_SECOND
