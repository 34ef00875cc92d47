"""The clocks: the only file that asks the machine what time it is.

Wall time signs tokens and finds idle sockets; market time is the venue's own (funding, settlement, expiry, the risk
day). In a replay the two differ. Durations are always monotonic.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Wall time, a monotonic counter, and sleeping by that counter."""

    def now(self) -> datetime:
        """Aware UTC wall time."""

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Give way for `seconds` of monotonic time."""


class SystemClock:
    """The machine's clocks."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio  # here, because help and settings read clocks and never sleep

        await asyncio.sleep(seconds)


class ManualClock:
    """Time that passes only when told to: for tests and lock-step simulation."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._elapsed = 0.0

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        import asyncio

        self.advance(seconds)
        await asyncio.sleep(0)

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass on both counters."""
        self._elapsed += seconds
        self._now += timedelta(seconds=seconds)


def to_ms(at: datetime) -> int:
    """Milliseconds since the epoch of an aware time, exact."""
    delta = at - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * 1000 + delta.microseconds // 1000


def from_ms(ms: int) -> datetime:
    """Aware UTC time of `ms` milliseconds since the epoch, exact."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ms)
