"""This file keeps the venue's clock: what time it is there, and until when an order of ours may be taken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from perpctl.clock import Clock

VALID_FOR_MS = 3000  # of the sender's time
TRUSTED_S = 60.0  # a measured offset, while both clocks run alike
APART_S = 0.1  # between the two measurements that tell how fast the venue's time runs
NORMAL = 0.5  # a pace nearer to 1 than this is 1: jitter of the round trip looks like a pace


class MarketTime:
    """Market time from `public/get_time`, carried on by our monotonic counter between measurements.

    A replayed market runs faster than ours, and one in lock step only moves when told to: `always_ask` then.
    """

    def __init__(self, ask: Callable[[], Awaitable[int]], clock: Clock, always_ask: bool) -> None:
        self._ask = ask
        self._clock = clock
        self._always_ask = always_ask
        self._at_ms = 0
        self._measured: float | None = None
        self._pace = 1.0
        self._asking = asyncio.Lock()

    async def now_ms(self) -> int:
        """Market time. Raises what asking for it raises."""
        if self._always_ask:
            return await self._ask()
        if self._measured is None:
            await self.measure()
            await self._clock.sleep(APART_S)
            await self.measure()
        elif self._clock.monotonic() - self._measured > (TRUSTED_S if self._pace == 1.0 else 1.0):
            await self.measure()
        return self.estimate_ms()

    async def valid_until_ms(self) -> int:
        """Three seconds of our time from now, on the venue's clock."""
        return await self.now_ms() + int(VALID_FOR_MS * max(1.0, self._pace))

    async def about_ms(self) -> int:
        """Market time without a second question: exact enough to stamp what was read."""
        if self._measured is None or self._always_ask:
            return await self.measure()
        return self.estimate_ms()

    def estimate_ms(self) -> int:
        """Market time as far as measured; 0 when it never was."""
        if self._measured is None:
            return 0
        return self._at_ms + int((self._clock.monotonic() - self._measured) * 1000 * self._pace)

    async def measure(self) -> int:
        """Ask now, one question at a time; what was measured while this one waited is its answer too.

        The answer is taken for the middle of the round trip.
        """
        wanted = self._clock.monotonic()
        async with self._asking:
            if self._measured is None or self._measured <= wanted:
                await self._ask_now()
            return self._at_ms

    async def _ask_now(self) -> None:
        before = self._clock.monotonic()
        at_ms = await self._ask()
        middle = (before + self._clock.monotonic()) / 2
        if self._measured is not None and middle - self._measured >= APART_S:
            pace = (at_ms - self._at_ms) / (middle - self._measured) / 1000
            self._pace = pace if pace > 1 + NORMAL else 1.0
        self._at_ms, self._measured = at_ms, middle
