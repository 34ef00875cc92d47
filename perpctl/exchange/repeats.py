"""This file repeats a read that failed for a moment; tenacity is loaded by the first failure, not by every command."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol, TypeVar

from msgspec import Struct

from perpctl.exchange import trace

if TYPE_CHECKING:
    from tenacity import RetryCallState

THROTTLED_RETRIES = 5
T = TypeVar("T")
_dice = random.SystemRandom()


class Policy(Struct, frozen=True):
    """How long one attempt may take in all, how many repeats, and the longest pause before the first of them."""

    deadline_s: float
    retries: int
    pause_s: float = 0.2


SINGLE = Policy(5, 3)
PAGE = Policy(10, 3)
HISTORY = Policy(30, 3, 1.0)
QUICK = Policy(3, 2)


class Throttle(Protocol):
    """The venue asks for a pause, and may say how long."""

    retry_after_s: float | None


class Judgement(Struct, frozen=True):
    """What a venue's failures mean: `kinds` are looked at; which are worth a repeat, and which are a throttle."""

    kinds: tuple[type[Exception], ...]
    is_worth_repeating: Callable[[BaseException], bool]
    throttle: Callable[[BaseException | None], Throttle | None]


class Repeats:
    """Asks again, with full jitter; `first_pause_s`: the longest first pause, whatever the policy says."""

    def __init__(
        self, judgement: Judgement, sleep: Callable[[float], Awaitable[None]], first_pause_s: float | None
    ) -> None:
        self._judgement = judgement
        self._sleep = sleep
        self._first_pause_s = first_pause_s

    async def of(self, attempt: Callable[[], Awaitable[T]], policy: Policy) -> T:
        """What the first attempt that succeeds returns; raises what the last one raised."""
        try:
            return await attempt()
        except self._judgement.kinds as why:
            if not self._judgement.is_worth_repeating(why):
                raise
            first = why
        return await self._after(first, attempt, policy)

    async def _after(self, first: Exception, attempt: Callable[[], Awaitable[T]], policy: Policy) -> T:
        from tenacity import AsyncRetrying, retry_if_exception

        failed = [first]

        async def again() -> T:
            if failed:
                raise failed.pop()  # the first attempt counts like any other
            return await attempt()

        repeating = AsyncRetrying(
            retry=retry_if_exception(self._judgement.is_worth_repeating),
            stop=self._enough(policy),
            wait=self._pause(policy.pause_s if self._first_pause_s is None else self._first_pause_s),
            before_sleep=_told,
            sleep=self._sleep,
            reraise=True,
        )
        return await repeating(again)

    def _enough(self, policy: Policy) -> Callable[[RetryCallState], bool]:
        def stop(state: RetryCallState) -> bool:
            throttled = self._judgement.throttle(_failure(state)) is not None
            limit = THROTTLED_RETRIES if throttled and policy.retries else policy.retries
            return state.attempt_number > limit

        return stop

    def _pause(self, first_s: float) -> Callable[[RetryCallState], float]:
        def wait(state: RetryCallState) -> float:
            throttle = self._judgement.throttle(_failure(state))
            if throttle is not None:
                return throttle.retry_after_s or _dice.uniform(0.5, 1.5)
            return _dice.uniform(0, first_s * 2 ** (state.attempt_number - 1))

        return wait


def _failure(state: RetryCallState) -> BaseException | None:
    return state.outcome.exception() if state.outcome is not None else None


def _told(state: RetryCallState) -> None:
    trace.repeats(_failure(state), state.next_action.sleep if state.next_action is not None else 0.0)
