"""This file is a socket to an exchange in this process: what it says waits in memory until it is received."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from typing import Protocol

from perpctl.exchange.transport import WireClosed
from perpctl.paper.wire.reply import Close, Frame


class Session(Protocol):
    """The exchange's side of a connection."""

    def lost(self) -> None:
        """The connection is gone."""


class Lines:
    """Every line that is open, and so the way to an exchange in this process."""

    is_remote = False

    def __init__(self) -> None:
        self.lines: list[Line] = []

    def deliver(self) -> None:
        """Put on every line what its session has to say."""
        for line in tuple(self.lines):
            line.collect()

    async def start_over(self) -> None:
        return

    async def aclose(self) -> None:
        for line in tuple(self.lines):
            await line.close()


class Line(ABC):
    """One end of a memory pair; the exchange answers before `send` returns."""

    def __init__(self, session: Session, lines: Lines) -> None:
        self._lost, self._lines = session.lost, lines
        self._frames: deque[bytes] = deque()
        self._arrived = asyncio.Event()
        self._closed: str | None = None
        lines.lines.append(self)

    @abstractmethod
    def tell(self, frame: bytes) -> None:
        """Hand a frame to the session, and take what it says at once."""

    @abstractmethod
    def collect(self) -> None:
        """Take what the exchange has to say on this line by now."""

    async def send(self, frame: bytes) -> None:
        if self._closed is not None:
            raise WireClosed(self._closed)
        self.tell(frame)

    async def receive(self) -> bytes | str:
        while not self._frames:
            if self._closed is not None:
                raise WireClosed(self._closed)
            self._arrived.clear()
            await self._arrived.wait()
        return self._frames.popleft()

    async def close(self) -> None:
        if self._closed is None:
            self._closed = "we hung up"
            self._lines.lines.remove(self)
            self._lost()
            self._arrived.set()

    def take(self, said: Iterable[object]) -> None:
        """Keep what was said until it is received."""
        for out in said:
            if isinstance(out, Frame):
                self._frames.append(out.body)
            elif isinstance(out, Close):
                self._closed = out.reason or "closed"
            self._arrived.set()
