"""This file follows one supervised socket through its connections, and tells when each is up and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from urllib.parse import urlsplit

from msgspec.structs import replace

from perpctl.clock import Clock
from perpctl.exchange.transport import WireClosed
from perpctl.hiding import without_secrets
from perpctl.model.passage import Connection

LONGEST = 400  # characters of a venue's words
Told = Callable[[Connection], object]


class Life:
    """The connections of one line, one after another; `told` hears of each twice, or once when it never came up."""

    def __init__(self, line: str, clock: Clock, told: Told) -> None:
        self._clock, self._told = clock, told
        self._began = 0.0
        self._count = 0
        self.now = Connection(line, "")

    def begins(self, url: str) -> None:
        """A new one is being made."""
        self._began = self._clock.monotonic()
        self.now = Connection(self.now.line, urlsplit(url).netloc)

    def opened(self) -> str:
        """The socket is open; by what name it goes from here on."""
        self._count += 1
        self.now.connection_id, self.now.opened_at = str(self._count), self._clock.now()
        return str(self._count)

    def heard(self) -> None:
        """One message more."""
        self.now.messages += 1

    def is_up(self, granted: Sequence[str], refused: Sequence[str]) -> None:
        """Subscribed and caught up."""
        now = self.now
        now.granted, now.refused = tuple(granted), tuple(refused)
        now.resync_ms = int((self._clock.monotonic() - self._began) * 1000)
        self._told(replace(now))

    def ended(self, why: Exception) -> None:
        """It is over, or was never made; the first reason counts."""
        now = self.now
        if now.closed_at is not None:
            return
        now.closed_at, now.cause = self._clock.now(), without_secrets(str(why)[:LONGEST])
        now.code = why.code if isinstance(why, WireClosed) else None
        now.lasted_ms = int((self._clock.monotonic() - self._began) * 1000)
        self._told(replace(now))
