"""This file is the time and the threads that a kill uses, as one value: a simulation hands in its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar, cast

from perpctl.emergency.venue.wire import at_once

T = TypeVar("T")
S = TypeVar("S")


class World(Protocol):
    """Clocks, sleep, and what is done side by side."""

    def monotonic(self) -> float:
        """Seconds that never go back."""

    def wall_s(self) -> float:
        """Seconds since the epoch, as this machine has it."""

    def sleep(self, seconds: float) -> None:
        """Let so much time pass."""

    def at_once(self, calls: Sequence[Callable[[], T]]) -> list[T | Exception]:
        """Every call side by side; the results in order, an exception in place of the one that raised it."""

    def beside(self, call: Callable[[], None]) -> Callable[[], None]:
        """Start something beside what follows; call the result to wait for its end."""


class ThisMachine:
    """The real one."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall_s(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def at_once(self, calls: Sequence[Callable[[], T]]) -> list[T | Exception]:
        return at_once(calls)

    def beside(self, call: Callable[[], None]) -> Callable[[], None]:
        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        return thread.join


def few_at_a_time(world: World, calls: Sequence[Callable[[], T]], most: int = 4) -> list[T | Exception]:
    """As `at_once`, with at most `most` in flight: a venue queues few requests of an account."""
    answers: list[T | Exception] = []
    for index in range(0, len(calls), most):
        answers += world.at_once(calls[index : index + most])
    return answers


def side_by_side(world: World, one: Callable[[], T], other: Callable[[], S]) -> tuple[T, S]:
    """Both results of two calls made at the same time. Raises what the first of them to fail raised."""
    both: list[Callable[[], T | S]] = [one, other]
    mine, theirs = world.at_once(both)
    for answer in (mine, theirs):
        if isinstance(answer, Exception):
            raise answer
    return cast(T, mine), cast(S, theirs)
