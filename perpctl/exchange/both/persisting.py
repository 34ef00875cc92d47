"""This file repeats a cancel that got no answer: unlike an order it does nothing the second time."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from perpctl.clock import Clock
from perpctl.exchange.http import NoAnswer, NotSent

REPEATS = 5
FIRST_PAUSE_S = 0.25  # doubled with each repeat, with full jitter
T = TypeVar("T")
_dice = random.SystemRandom()


async def persist(attempt: Callable[[], Awaitable[T]], may_pass: Callable[[Exception], bool], clock: Clock) -> T:
    """The first answer of up to six attempts; what the last one raised when there is none.

    Without an answer it is asked again, and so is a refusal that `may_pass`.
    """
    for repeat in range(REPEATS):
        try:
            return await attempt()
        except Exception as why:
            if not (isinstance(why, NotSent | NoAnswer) or may_pass(why)):
                raise
        await clock.sleep(_dice.uniform(0, FIRST_PAUSE_S * 2**repeat))
    return await attempt()
