"""This file holds what the sockets told until the loop takes it: all that concerns us, and the latest of the market."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from perpctl.exchange.port import SessionEvent


class Inbox:
    """Two shelves. What is ours is kept in order and never dropped; of each market channel only the latest is kept."""

    def __init__(self) -> None:
        self._ours: deque[SessionEvent] = deque()
        self._market: dict[str, Callable[[], SessionEvent]] = {}
        self._failure: BaseException | None = None
        self._closed = False
        self._something = asyncio.Event()
        self.overtaken = 0  # market events replaced before they were taken

    def put(self, event: SessionEvent) -> None:
        """Something of ours, or about a channel."""
        self._ours.append(event)
        self._something.set()

    def put_latest(self, channel: str, draw: Callable[[], SessionEvent]) -> None:
        """A market channel has news, drawn when taken; what it said before is worth nothing any more."""
        self.overtaken += channel in self._market
        self._market[channel] = draw
        self._something.set()

    def forget(self, channel: str) -> None:
        """Drop what a channel said last and nobody has taken."""
        self._market.pop(channel, None)

    def close(self, failure: BaseException | None = None) -> None:
        """No more will come; `failure` is raised to who takes next."""
        self._closed = True
        self._failure = self._failure or failure
        self._something.set()

    async def take(self) -> SessionEvent:
        """The next event, ours first. Raises StopAsyncIteration at the end, or the failure that ended it."""
        while True:
            if self._ours:
                return self._ours.popleft()
            if self._market:
                return self._market.pop(next(iter(self._market)))()
            if self._failure is not None:
                raise self._failure
            if self._closed:
                raise StopAsyncIteration
            self._something.clear()
            await self._something.wait()
