"""This file counts requests to Advanced Trade: each class has its own purse for a second and for the hour.

10,000 requests an hour and key are documented now, 30 a second and user were documented before; a quarter of the hour
and a third of the second belong to exits and are lent to nobody. What is public is counted by address, not by key.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from perpctl.clock import Clock
from perpctl.exchange.budget import SLOW_S, Duty

HOUR_S = 3600.0
_SECOND_S = 1.05  # a little more than the venue's, whose seconds begin when it likes


@dataclass(frozen=True, slots=True)
class Share:
    """What one class may ask: `rate` a second on average, `burst` at once, `hourly` in an hour."""

    rate: float
    burst: float
    hourly: float


SHARES: Mapping[Duty, Share] = {
    Duty.EXIT: Share(10, 30, 2500),
    Duty.STRATEGY: Share(8, 15, 4500),
    Duty.RECONCILE: Share(4, 15, 1500),
    Duty.WATCHDOG: Share(2, 8, 500),
    Duty.OPERATOR: Share(8, 24, 1000),  # a preflight asks some fifty times at once; the hour holds commands to a rate
}


class Budget:
    """The requests of one key, as far as this process makes them."""

    def __init__(self, clock: Clock, shares: Mapping[Duty, Share] = SHARES) -> None:
        self._clock = clock
        self._shares = shares
        self._seconds = {duty: share.burst for duty, share in shares.items()}
        self._hours = {duty: share.hourly for duty, share in shares.items()}
        # Bursts of several classes at once would take the exits' third: together they keep to the sum of their rates.
        self._most = int(sum(share.rate for duty, share in shares.items() if duty is not Duty.EXIT))
        self._sent: deque[float] = deque()  # of the last second
        self._at = clock.monotonic()
        self._slow_until = 0.0

    async def take(self, duty: Duty) -> None:
        """Wait until one request of this class fits. An exit never waits."""
        while not self._try(duty):
            await self._clock.sleep(self._next_in_s(duty))

    def slow_down(self) -> None:
        """The venue said "too many": half speed for a minute, exits excepted."""
        self._slow_until = self._clock.monotonic() + SLOW_S

    def used(self, duty: Duty) -> float:
        """The part of the class's hour that is spent, 0 to 1."""
        self._refill()
        return 1 - max(self._hours[duty], 0.0) / self._shares[duty].hourly

    def left(self, duty: Duty) -> int:
        """Requests that this class may still make at once."""
        self._refill()
        return max(0, int(min(self._seconds[duty], self._hours[duty])))

    def _try(self, duty: Duty) -> bool:
        self._refill()
        # A hair under one is one: sums of small refills must not make a waiter turn for ever.
        fits = min(self._seconds[duty], self._hours[duty]) >= 1 - 1e-9 and len(self._sent) < self._most
        if not fits and duty is not Duty.EXIT:
            return False
        self._sent.append(self._at)
        self._seconds[duty] = max(self._seconds[duty] - 1, 0.0)
        self._hours[duty] = max(self._hours[duty] - 1, 0.0)
        return True

    def _refill(self) -> None:
        now = self._clock.monotonic()
        gone, self._at = max(0.0, now - self._at), now
        while self._sent and self._sent[0] <= now - _SECOND_S:
            self._sent.popleft()
        for duty, share in self._shares.items():
            pace = 0.5 if now < self._slow_until and duty is not Duty.EXIT else 1.0
            self._seconds[duty] = min(share.burst, self._seconds[duty] + gone * share.rate * pace)
            self._hours[duty] = min(share.hourly, self._hours[duty] + gone * share.hourly / HOUR_S * pace)

    def _next_in_s(self, duty: Duty) -> float:
        share = self._shares[duty]
        lacks_s = (1 - self._seconds[duty]) / share.rate
        lacks_hour_s = (1 - self._hours[duty]) * HOUR_S / share.hourly
        lacks_room_s = self._sent[-self._most] + _SECOND_S - self._at if len(self._sent) >= self._most else 0.0
        return min(max(lacks_s, lacks_hour_s, lacks_room_s, 0.005), 5.0)
