"""This file notes what passes over the wire for one order or cancel, so that whoever sent it can write it down."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from perpctl.clock import Clock
from perpctl.exchange import trace
from perpctl.model.passage import KEPT, NO_PAPERS, Papers, Passage, hash_of

_noted: ContextVar[list[Passage] | None] = ContextVar("noted", default=None)


@contextmanager
def noted() -> Iterator[list[Passage]]:
    """Every request that leaves meanwhile, in this task and those it starts; in order, the last try last."""
    passages: list[Passage] = []
    token = _noted.set(passages)
    try:
        yield passages
    finally:
        _noted.reset(token)


class Passing:
    """One request on its way."""

    def __init__(self, clock: Clock, way: str, method: str, host: str) -> None:
        self._clock = clock
        self._notes = _noted.get()
        self._is_noted = False
        self._began = clock.monotonic()
        self.passage = Passage(way, method, host, clock.now())

    def leaves(self, body: bytes, papers: Papers = NO_PAPERS, connection_id: str | None = None) -> None:
        """The bytes go out now."""
        passage = self.passage
        passage.connection_id = connection_id
        passage.key_id, passage.token_age_s = papers.key_id, papers.token_age_s
        passage.rate_budget_left = papers.rate_budget_left
        if self._notes is not None:
            passage.request_hash = hash_of(body)
            self._notes.append(passage)
            self._is_noted = True
            passage.attempt = len(self._notes)

    def came_back(self, body: bytes | str, http_status: int | None = None, date: str | None = None) -> None:
        """A whole answer is here; what it says is another matter."""
        passage = self.passage
        passage.answered_at, passage.http_status, passage.venue_date = self._clock.now(), http_status, date
        passage.took_us = int((self._clock.monotonic() - self._began) * 1e6)
        if self._is_noted:
            passage.response_hash = hash_of(body)
            passage.response_kept = trace.kept(body, KEPT)

    def told(self, answer: dict[str, Any]) -> None:
        """The venue's own times, when the answer has them (Deribit docs, JSON-RPC: usIn, usOut)."""
        self.passage.venue_in_us = _whole(answer.get("usIn"))
        self.passage.venue_out_us = _whole(answer.get("usOut"))


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
