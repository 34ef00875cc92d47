"""This file counts how many round trips in sequence a kill needs, however slow the machine: a clock made of answers.

Each thread carries a count of the answers that it has waited for. A thread begins with the count of whoever started it,
and whoever waits for its end takes the higher of both counts: requests made side by side are one round.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from perpctl.emergency import steps
from perpctl.emergency.closer import Wish
from perpctl.emergency.pending import Record
from perpctl.emergency.target import find_targets
from perpctl.emergency.venue import wire
from perpctl.emergency.venue.wire import HttpAnswer, Wire
from tests.drills.killing import Desk

_here = threading.local()
_sleep = time.sleep


def rounds() -> int:
    """Answers waited for in sequence, seen from this thread."""
    return int(getattr(_here, "rounds", 0))


class CountingThread(threading.Thread):
    """A thread that begins at the count of its maker and hands its own on to whoever joins it."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._from = self._ended_at = 0

    def start(self) -> None:
        self._from = rounds()
        super().start()

    def run(self) -> None:
        _here.rounds = self._from
        super().run()
        self._ended_at = rounds()

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)
        _here.rounds = max(rounds(), self._ended_at)


class CountingWire(Wire):
    """The real wire; an answer is one round, a connection as well."""

    def dial(self, deadline: float) -> None:
        super().dial(deadline)
        _here.rounds = rounds() + 1

    def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        answer = super().post(path, body, headers, seconds)
        _here.rounds = rounds() + 1
        return answer


@dataclass(frozen=True)
class Reached:
    """How many rounds, and how many seconds of pauses that were meant, something took from the first connection."""

    rounds: int
    paused_s: float

    def at(self, round_trip_s: float) -> float:
        """Seconds on a line of that round trip, the machine's own work left out."""
        return self.rounds * round_trip_s + self.paused_s


@dataclass
class Counted:
    """When each thing was first written to the kill's record."""

    reached: dict[str, Reached] = field(default_factory=dict)
    paused_s: float = 0.0

    def note(self, what: str) -> None:
        self.reached.setdefault(what, Reached(rounds(), self.paused_s))


@contextmanager
def counting(desk: Desk, kill_id: str = "K-20261125-031402") -> Iterator[Callable[[], Counted]]:
    """A kill of the desk in this very process and thread, which counts as it goes."""
    counted = Counted()

    class CountingRecord(Record):
        def write(self, event: str, **facts: Any) -> None:
            counted.note(" ".join([event, *(str(facts[name]) for name in ("step", "state") if name in facts)]))
            super().write(event, **facts)

    def sleep(seconds: float) -> None:
        if threading.current_thread() is threading.main_thread():
            counted.paused_s += seconds
        _sleep(seconds)

    def run() -> Counted:
        _here.rounds = 0
        (target,) = find_targets("paper", desk.root)
        now = time.monotonic()
        wish = Wish(kill_id, "drill", "", "perpctl kill", now, now, "account")
        record = CountingRecord(target.directory, kill_id, None)
        pursuit = steps.Pursuit(target, wish, record, {})
        pursuit.run(lambda _: None, lambda _: None)
        assert pursuit.gateway is not None
        pursuit.gateway.wire.hang_up()
        return counted

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "Wire", CountingWire)
        patch.setattr(wire.threading, "Thread", CountingThread)
        patch.setattr(time, "sleep", sleep)
        yield run
