"""This file estimates the venue's clock from the stamps of its quotes: a replayed market runs faster than ours."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

VALID_FOR_MS = 3000  # of our time
SPAN_S, LEAST_S = 5.0, 0.2
ABOUT_ONE = 1.5  # jitter of a market that runs as we do stays below this


@dataclass(slots=True)
class MarketClock:
    """`at_ms` is the latest stamp; `pace` is market seconds in a second of ours, never below one."""

    at_ms: int = 0
    _seen: float = 0.0
    _stamps: deque[tuple[float, int]] = field(default_factory=deque)

    def saw(self, at_ms: int, seen: float) -> None:
        """A quote with this stamp arrived."""
        if at_ms < self.at_ms:
            return
        self.at_ms, self._seen = at_ms, seen
        self._stamps.append((seen, at_ms))
        while self._stamps[0][0] < seen - SPAN_S:
            self._stamps.popleft()

    @property
    def pace(self) -> float:
        """Measured over the last seconds."""
        if not self._stamps:
            return 1.0
        first_seen, first_ms = self._stamps[0]
        if self._seen - first_seen < LEAST_S:
            return 1.0
        pace = (self.at_ms - first_ms) / 1000 / (self._seen - first_seen)
        return pace if pace > ABOUT_ONE else 1.0

    def now_ms(self, now: float) -> int:
        """The venue's time at this moment of our counter."""
        return self.at_ms + int((now - self._seen) * 1000 * self.pace)

    def valid_until_ms(self, now: float) -> int:
        """Until when the venue may take an order that leaves now: three seconds of our time."""
        return self.now_ms(now) + int(VALID_FOR_MS * self.pace)
