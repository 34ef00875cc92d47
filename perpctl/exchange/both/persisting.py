"""This file repeats a cancel that got no answer: unlike an order it does nothing the second time."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from perpctl.clock import Clock
from perpctl.exchange.http import NoAnswer, NotSent

REPEATS = 5
FIRST_PAUSE_S = 0.25  # doubled with each repeat, with full jitter
T = TypeVar("T")
_dice = random.SystemRandom()


async def persist(attempt: Callable[[], Awaitable[T]], may_pass: Callable[[BaseException], bool], clock: Clock) -> T:
    """The first answer of up to six attempts; what the last one raised when there is none.

    Without an answer it is asked again, and so is a refusal that `may_pass`.
    """
    repeating = AsyncRetrying(
        retry=retry_if_exception(lambda why: isinstance(why, NotSent | NoAnswer) or may_pass(why)),
        stop=stop_after_attempt(1 + REPEATS),
        wait=_pause,
        sleep=clock.sleep,
        reraise=True,
    )

    async def once() -> T:  # a plain callable would not be awaited
        return await attempt()

    return await repeating(once)


def _pause(state: RetryCallState) -> float:
    return _dice.uniform(0, FIRST_PAUSE_S * 2 ** (state.attempt_number - 1))
