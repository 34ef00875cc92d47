"""This file carries a kill out on a line of a given round trip, in time that only answers and pauses make pass.

Every request goes to a real exchange; how long it took there does not count: a figure is the same on any machine. What
is done side by side is done one after the other, each from the same moment on; the latest end is when all is done.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from perpctl.emergency.closing.closer import Wish
from perpctl.emergency.pending import Record
from perpctl.emergency.steps import Pursuit
from perpctl.emergency.target import find_targets
from perpctl.emergency.venue.wire import HttpAnswer, Wire
from tests.drills.killing import Desk

Lines = Sequence[Mapping[str, Any]]
T = TypeVar("T")
OPENING = 2  # round trips before a new connection carries anything: TCP, and TLS 1.3


class FarAway:
    """A `World`: its clock is moved by pauses, and by a line to a venue so far away."""

    def __init__(self, round_trip_s: float) -> None:
        self.round_trip_s = round_trip_s
        self.now = 1000.0
        self._wall = time.time() - self.now

    def monotonic(self) -> float:
        return self.now

    def wall_s(self) -> float:
        return self._wall + self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def at_once(self, calls: Sequence[Callable[[], T]]) -> list[T | Exception]:
        began, ends, results = self.now, [self.now], list[T | Exception]()
        for call in calls:
            self.now = began
            try:
                results.append(call())
            except Exception as why:  # noqa: BLE001 - as the real one hands it on
                results.append(why)
            ends.append(self.now)
        self.now = max(ends)
        return results

    def beside(self, call: Callable[[], None]) -> Callable[[], None]:
        self.at_once([call])
        return lambda: None

    def dial(self, base_url: str, ca_file: str | None) -> FarWire:
        return FarWire(base_url, ca_file, self)


class FarWire(Wire):
    """The real wire to an exchange that seems far: a round trip an answer, and two more where a connection is new."""

    def __init__(self, base_url: str, ca_file: str | None, world: FarAway) -> None:
        super().__init__(base_url, ca_file)
        self._world = world
        self._free_at: list[float] = []  # when each connection has brought its last answer

    def dial(self, deadline: float) -> None:
        super().dial(time.monotonic() + 10)
        self._world.now += OPENING * self._world.round_trip_s
        self._free_at.append(self._world.now)

    def get(self, path: str, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        return self._far(lambda: super(FarWire, self).get(path, headers, 10))

    def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        return self._far(lambda: super(FarWire, self).post(path, body, headers, 10))

    def _far(self, ask: Callable[[], HttpAnswer]) -> HttpAnswer:
        world = self._world
        free = next((at for at in self._free_at if at <= world.now), None)
        if free is None:
            world.now += OPENING * world.round_trip_s
        else:
            self._free_at.remove(free)
        answer = ask()
        world.now += world.round_trip_s
        self._free_at.append(world.now)
        return answer


def kill_far_away(desk: Desk, round_trip_s: float, latch_s: float) -> Lines:
    """The lines of the record of one kill that began `latch_s` before its process does; `after_s` is from Enter."""
    world = FarAway(round_trip_s)
    (target,) = find_targets("paper", desk.root)
    wish = Wish("K-20261125-031402", "drill", "", "perpctl kill", world.now - latch_s, world.now, "account")
    record = Record(target.directory, wish.kill_id, None)
    pursuit = Pursuit(target, wish, record, {}, world, world.dial)
    pursuit.run(lambda _: None, lambda _: None)
    assert pursuit.proof is not None
    assert pursuit.venue is not None
    pursuit.venue.hang_up()
    return [json.loads(line) for line in record.path.read_text().splitlines()]


def first(lines: Lines, **facts: str) -> float:
    """Seconds from Enter to the first line that says this."""
    found = next(line for line in lines if facts.items() <= line.items())
    return float(found["after_s"])
