"""This file is the seam under the client: how a request reaches the venue, over a network or in memory."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perpctl.exchange.http import Http, HttpReply, NotSent, check_address, tls_context

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

MAX_FRAME = 16 * 1024 * 1024  # bytes; a snapshot of a deep book has some 2 MB
HALF_OPEN_MS = 3000  # unacknowledged bytes for longer mean that the other side is gone
CLOSE_S = 1.0


class WireClosed(Exception):
    """The other side is gone; the text says why, `code` is the close frame's when there was one."""

    def __init__(self, why: str, code: int | None = None) -> None:
        super().__init__(why)
        self.code = code


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

    async def start_over(self) -> None:
        """Use no HTTP connection again that is open now: answers on it have lost their calls."""

    async def connect(self, url: str, deadline_s: float) -> Wire:
        """A new line to `url` within `deadline_s`; raises NotSent."""

    async def aclose(self) -> None:
        """Let go of every connection."""


class Web(Transport, Protocol):
    """A transport that also reads by address."""

    async def get(self, url: str, headers: dict[str, str], deadline_s: float) -> HttpReply:
        """One HTTP read within `deadline_s`; raises NotSent or NoAnswer."""


class Network:
    """The real thing: HTTP and WebSockets, TLS verified against `ca_file` or the system's authorities."""

    is_remote = True

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._http = Http(ca_file)
        self._tls: ssl.SSLContext | None = None

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_s: float) -> HttpReply:
        return await self._http.post(url, body, headers, deadline_s)

    async def get(self, url: str, headers: dict[str, str], deadline_s: float) -> HttpReply:
        return await self._http.get(url, headers, deadline_s)

    async def start_over(self) -> None:
        await self._http.aclose()

    async def connect(self, url: str, deadline_s: float) -> Wire:
        check_address(url)
        if url.startswith("wss:") and self._tls is None:
            self._tls = tls_context(self._ca_file)
        return await _connect(url, self._tls if url.startswith("wss:") else None, deadline_s)

    async def aclose(self) -> None:
        await self._http.aclose()


async def _connect(url: str, tls: ssl.SSLContext | None, deadline_s: float) -> Wire:
    """A WebSocket without proxies, redirects, compression or protocol pings (the venue does not count those)."""
    from websockets.asyncio.client import connect
    from websockets.exceptions import ConnectionClosed, WebSocketException

    class Direct(connect):
        def process_redirect(self, exc: Exception) -> Exception | str:
            return exc

    try:
        async with asyncio.timeout(deadline_s):
            connection = await Direct(
                url,
                ssl=tls,
                proxy=None,
                compression=None,
                max_size=MAX_FRAME,
                ping_interval=None,
                open_timeout=None,
                close_timeout=CLOSE_S,
            )
    except TimeoutError:
        raise NotSent(f"no connection within {deadline_s:g} s") from None
    except (OSError, WebSocketException) as why:
        raise NotSent(f"no connection: {str(why) or type(why).__name__}") from why
    _notice_half_open(connection.transport.get_extra_info("socket"))
    return _Socket(connection, (ConnectionClosed, OSError))


def _notice_half_open(line: socket.socket | None) -> None:
    """A cut cable sends no goodbye: let the kernel give up on unacknowledged bytes (Linux only)."""
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if line is not None and option is not None:
        line.setsockopt(socket.IPPROTO_TCP, option, HALF_OPEN_MS)


def _told(code: int | None) -> int | None:
    """1005 and 1006 are never sent: they stand for a frame without a code, and for none at all (RFC 6455, 7.4.1)."""
    return None if code in (1005, 1006) else code


class _Socket:
    def __init__(self, connection: ClientConnection, ends: tuple[type[Exception], ...]) -> None:
        self._connection = connection
        self._ends = ends  # what it raises when it is over

    async def send(self, frame: bytes) -> None:
        try:
            await self._connection.send(frame, text=True)
        except self._ends as why:
            raise WireClosed(str(why)) from why

    async def receive(self) -> bytes | str:
        try:
            return await self._connection.recv(decode=False)
        except self._ends as why:
            raise WireClosed(str(why), _told(self._connection.close_code)) from why

    async def close(self) -> None:
        with contextlib.suppress(OSError):
            await self._connection.close()
