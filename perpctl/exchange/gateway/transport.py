"""This file is the seam under the client: how a request reaches the venue, over a network or in memory."""

from __future__ import annotations

from typing import Protocol

from perpctl.exchange.http import HttpReply


class WireClosed(Exception):
    """The other side is gone; the text says why."""


class Wire(Protocol):
    """A two-way line of frames: a WebSocket, or one end of a memory pair."""

    async def send(self, frame: bytes) -> None:
        """Hand over one frame; raises WireClosed."""

    async def receive(self) -> bytes | str:
        """The next frame; raises WireClosed when there is none any more."""

    async def close(self) -> None:
        """Hang up; harmless when closed already."""


class Transport(Protocol):
    """Both ways to the venue. `is_remote` False: nothing to keep alive, and time moves only when told to."""

    is_remote: bool

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_s: float) -> HttpReply:
        """One HTTP exchange within `deadline_s`; raises NotSent or NoAnswer."""

    async def connect(self, url: str, deadline_s: float) -> Wire:
        """A new line to `url`; raises NotSent."""

    async def aclose(self) -> None:
        """Let go of every connection."""
