"""This file speaks HTTP: total deadlines, verified TLS, no redirects, no proxies, bounded answers."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msgspec import Struct, field

from perpctl.errors import SettingError

if TYPE_CHECKING:
    import httpx

MAX_BODY = 4 * 1024 * 1024  # bytes; the longest listing is well under 1 MB
IDLE_S = 30.0  # a connection unused for longer is not used again

# httpx imports a command line of its own, and rich with it, when it can: half of the time that its import takes.
sys.modules.setdefault("httpx._main", None)  # type: ignore[arg-type]


class NotSent(Exception):
    """Not one byte of the request left this machine; the text says why."""


class NoAnswer(Exception):
    """The request may have arrived, and no whole answer came back; the text says why."""


class HeldBack(NotSent):
    """Our own rules held the call back; nothing left this machine."""


class HttpReply(Struct, frozen=True):
    """A whole answer; header names are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """Certificates and host names always checked, against `ca_file` or the system's authorities.

    The system's hashed directory is preferred: it is read on demand, a bundle costs tens of milliseconds.
    Raises SettingError when `ca_file` is not readable as certificates.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=str(ca_file))
        except (OSError, ssl.SSLError) as why:
            raise SettingError(f"{ca_file}: not a readable certificate file ({why})") from why
        return context
    folder = ssl.get_default_verify_paths().capath
    if folder is not None and any(Path(folder).glob("*.0")):
        context.load_verify_locations(capath=folder)
    else:
        context.load_default_certs()
    return context


def is_loopback(host: str) -> bool:
    """Whether the name is this machine and nothing else."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_address(url: str) -> None:
    """Raises SettingError for an address that would carry secrets in the clear beyond this machine."""
    parts = urlsplit(url)
    if parts.scheme in ("https", "wss") and parts.hostname:
        return
    if parts.scheme in ("http", "ws") and parts.hostname and is_loopback(parts.hostname):
        return
    raise SettingError(
        f"{url}: only https and wss may leave this machine; http and ws are for loopback addresses",
        not_done="nothing was sent",
    )


class Http:
    """A pool of verified connections, opened on first use."""

    def __init__(self, ca_file: Path | None = None) -> None:
        self._ca_file = ca_file
        self._client: httpx.AsyncClient | None = None

    async def post(self, url: str, body: bytes, headers: dict[str, str], deadline_s: float) -> HttpReply:
        """One exchange, connect to last byte, within `deadline_s`.

        Raises NotSent when no connection was made, NoAnswer when one was and the answer is not whole.
        """
        return await self._within("POST", url, body, headers, deadline_s)

    async def get(self, url: str, headers: dict[str, str], deadline_s: float) -> HttpReply:
        """The same without a body."""
        return await self._within("GET", url, None, headers, deadline_s)

    async def _within(
        self, method: str, url: str, body: bytes | None, headers: dict[str, str], deadline_s: float
    ) -> HttpReply:
        import httpx

        check_address(url)
        client = self._open(url)
        try:
            async with asyncio.timeout(deadline_s):
                return await _exchange(client, method, url, body, headers)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as why:
            raise NotSent(f"no connection to {urlsplit(url).hostname}: {_words(why)}") from why
        except TimeoutError:
            raise NoAnswer(f"no whole answer within {deadline_s:g} s") from None
        except httpx.HTTPError as why:
            raise NoAnswer(f"the connection broke: {_words(why)}") from why

    def _open(self, url: str) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            # A context that trusts nobody costs nothing, and a plaintext client can never turn into a gullible one.
            secure = url.startswith("https:")
            self._client = httpx.AsyncClient(
                trust_env=False,
                follow_redirects=False,
                verify=tls_context(self._ca_file) if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
                timeout=None,  # noqa: S113 - the whole call has a deadline, which the library's phases do not add up to
                limits=httpx.Limits(max_connections=16, keepalive_expiry=IDLE_S),
            )
        return self._client

    async def aclose(self) -> None:
        """Close every connection."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None


async def _exchange(
    client: httpx.AsyncClient, method: str, url: str, body: bytes | None, headers: dict[str, str]
) -> HttpReply:
    kind = {} if body is None else {"content-type": "application/json"}
    sent = {**kind, "accept-encoding": "identity", **headers}
    async with client.stream(method, url, content=body, headers=sent) as reply:
        if reply.headers.get("content-encoding", "identity") != "identity":
            raise NoAnswer("the answer is compressed, which was not asked for")
        chunks: list[bytes] = []
        size = 0
        async for chunk in reply.aiter_raw():
            size += len(chunk)
            if size > MAX_BODY:
                raise NoAnswer(f"the answer is longer than {MAX_BODY} bytes")
            chunks.append(chunk)
        return HttpReply(reply.status_code, b"".join(chunks), dict(reply.headers.items()))


def _words(why: Exception) -> str:
    return str(why) or type(why).__name__
