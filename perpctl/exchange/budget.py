"""This file counts request credits: how much the venue lets us ask, and what is kept back for getting out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from enum import IntEnum

from msgspec import Struct

from perpctl.clock import Clock

RESERVED = 0.4  # of rate and burst: kill, cancel, reduce; never lent
SLOW_S = 60.0  # how long we go at half speed after the venue said "too many"


class Duty(IntEnum):
    """What a call is for, the most urgent first."""

    EXIT = 0  # kill, cancel, reduce, close: never waits
    STRATEGY = 1
    RECONCILE = 2
    WATCHDOG = 3
    OPERATOR = 4


class Pool(IntEnum):
    """The gateway's separate purses (Deribit docs, rate limits)."""

    NON_MATCHING = 0
    MATCHING = 1
    CANCEL_ALL = 2
    INSTRUMENTS = 3
    SUBSCRIBE = 4
    LEDGER = 5


class Limit(Struct, frozen=True):
    """`rate` requests a second on average, `burst` at once."""

    rate: float
    burst: float


# The lowest tier of each pool, until the account summary tells the real ones (Deribit docs, rate limits).
LOWEST: Mapping[Pool, Limit] = {
    Pool.NON_MATCHING: Limit(20, 100),
    Pool.MATCHING: Limit(5, 20),
    Pool.CANCEL_ALL: Limit(5, 20),
    Pool.INSTRUMENTS: Limit(1, 50),
    Pool.SUBSCRIBE: Limit(10 / 3, 10),
    Pool.LEDGER: Limit(1, 8),
}
_SHARED_WITH_EXITS = {Pool.NON_MATCHING: RESERVED, Pool.MATCHING: RESERVED, Pool.CANCEL_ALL: 1.0}


class Budget:
    """The credits of one key: every call takes one before it leaves."""

    def __init__(self, clock: Clock, limits: Mapping[Pool, Limit] = LOWEST) -> None:
        self._clock = clock
        self._purses = {pool: _Purse(limit, _SHARED_WITH_EXITS.get(pool, 0.0)) for pool, limit in limits.items()}
        self._waiting: Counter[tuple[Pool, Duty]] = Counter()
        self._slow_until = 0.0

    async def take(self, pool: Pool, duty: Duty) -> None:
        """Wait until one call fits. An exit never waits: it spends the reserve, then what is left, then goes anyway.

        Raises ValueError for a pool that is kept for exits whole.
        """
        if self._try(pool, duty):
            return
        if self._purses[pool].common_cap < 1:
            raise ValueError(f"{pool.name} belongs to exits; a call for {duty.name} may not draw on it")
        self._waiting[pool, duty] += 1
        try:
            while not self._try(pool, duty):
                await self._clock.sleep(self._purses[pool].next_in_s(self._pace()))
        finally:
            self._waiting[pool, duty] -= 1

    def learn(self, limits: Mapping[Pool, Limit]) -> None:
        """The real limits, as the venue reports them for this account."""
        for pool, limit in limits.items():
            self._purses[pool] = _Purse(limit, _SHARED_WITH_EXITS.get(pool, 0.0))

    def slow_down(self) -> None:
        """The venue said "too many": half speed for a minute, exits excepted."""
        self._slow_until = self._clock.monotonic() + SLOW_S

    def used(self, pool: Pool) -> float:
        """The part of the shared credits that is spent at the moment, 0 to 1."""
        purse = self._purses[pool]
        purse.refill(self._clock.monotonic(), self._pace())
        return 1 - max(purse.common, 0.0) / purse.common_cap if purse.common_cap else 1.0

    def left(self, pool: Pool) -> int:
        """Whole credits that are not spent at the moment, those kept for exits included."""
        purse = self._purses[pool]
        return int(max(purse.common, 0.0) + purse.reserve)

    def _try(self, pool: Pool, duty: Duty) -> bool:
        purse = self._purses[pool]
        purse.refill(self._clock.monotonic(), self._pace())
        if duty is Duty.EXIT:
            purse.spend_for_exit()
            return True
        if any(self._waiting[pool, more_urgent] for more_urgent in Duty if more_urgent < duty):
            return False
        return purse.spend_common()

    def _pace(self) -> float:
        return 0.5 if self._clock.monotonic() < self._slow_until else 1.0


class _Purse:
    """One pool, cut in two: the reserve of the exits, and what everybody else shares."""

    def __init__(self, limit: Limit, reserved: float) -> None:
        self._rate = limit.rate
        self._share = reserved
        self.reserve_cap = limit.burst * reserved
        self.common_cap = limit.burst - self.reserve_cap
        self.reserve = self.reserve_cap
        self.common = self.common_cap
        self._at: float | None = None

    def refill(self, now: float, pace: float) -> None:
        gone = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self.reserve = min(self.reserve_cap, self.reserve + gone * self._rate * self._share)
        self.common = min(self.common_cap, self.common + gone * self._rate * (1 - self._share) * pace)

    def spend_for_exit(self) -> None:
        if self.reserve >= 1:
            self.reserve -= 1
        else:
            self.common = max(0.0, self.common - 1)

    def spend_common(self) -> bool:
        # A hair under one is one: sums of small refills must not make a waiter turn for ever.
        if self.common < 1 - 1e-9:
            return False
        self.common -= 1
        return True

    def next_in_s(self, pace: float) -> float:
        rate = self._rate * (1 - self._share) * pace
        return max(0.001, (1 - self.common) / rate) if rate > 0 else 1.0
