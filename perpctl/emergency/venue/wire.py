"""This file is a small HTTP/1.1 client on sockets: keep-alive, total deadlines, verified TLS, no redirects.

Plaintext goes to loopback only. A hashed directory of authorities is used where the system has one, because loading a
bundle costs more than the rest of the start.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import ssl

_LARGEST_BODY = 32 << 20
_LARGEST_HEAD = 64 << 10
_CHUNK = 64 << 10
_LOOPBACK = ("127.0.0.1", "::1", "localhost")

T = TypeVar("T")


class NoAnswer(Exception):
    """No trustworthy answer came: refused connection, time-out, cut-off body, not HTTP, not the API.

    `sent` tells whether the request may have reached the venue; a write is then of unknown outcome.
    """

    def __init__(self, cause: str, *, sent: bool) -> None:
        super().__init__(cause)
        self.cause = cause
        self.sent = sent


class HttpAnswer(NamedTuple):
    """One whole answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Line(Protocol):
    """What a client sends through; a simulation hands in its own."""

    def dial(self, deadline: float) -> None:
        """Open a connection for later. Raises NoAnswer."""

    def get(self, path: str, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        """The answer to a GET below the base URL. Raises NoAnswer."""

    def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        """The answer to a POST below the base URL. Raises NoAnswer."""

    def hang_up(self) -> None:
        """Drop idle connections."""


class Wire:
    """Connections to one base URL, opened when needed and kept for the next call; any thread may call."""

    def __init__(self, base_url: str, ca_file: str | None = None) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise NoAnswer(f"{base_url} is no address of a venue", sent=False)
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise NoAnswer(f"{base_url}: plaintext is spoken to loopback only", sent=False)
        self.host, self._tls = parts.hostname, parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._path = parts.path.rstrip("/")
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._idle: list[socket.socket] = []
        self._lock = threading.Lock()

    def dial(self, deadline: float) -> None:
        """Open a connection for later; `deadline` on the monotonic clock. Raises NoAnswer."""
        self._give_back(self._open(deadline))

    def get(self, path: str, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        """GET and read the whole answer within `seconds`, connecting included. Raises NoAnswer."""
        return self._exchange(self._request("GET", path, headers), seconds)

    def post(self, path: str, body: bytes, headers: Mapping[str, str], seconds: float) -> HttpAnswer:
        """POST and read the whole answer within `seconds`, connecting included. Raises NoAnswer."""
        described = {"Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
        return self._exchange(self._request("POST", path, described) + body, seconds)

    def _exchange(self, request: bytes, seconds: float) -> HttpAnswer:
        deadline = time.monotonic() + seconds
        connection = self._take() or self._open(deadline)
        try:
            connection.settimeout(_left(deadline))
            connection.sendall(request)
            answer, keep = _read_answer(connection, deadline)
        except (OSError, ValueError, zlib.error) as why:
            connection.close()
            raise NoAnswer(_said(why), sent=True) from why
        except BaseException:
            connection.close()
            raise
        if keep:
            self._give_back(connection)
        else:
            connection.close()
        return answer

    def hang_up(self) -> None:
        """Drop every idle connection: the venue ended the session, or the address moved."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _request(self, method: str, path: str, headers: Mapping[str, str]) -> bytes:
        name = f"[{self.host}]" if ":" in self.host else self.host
        lines = [
            f"{method} {self._path}/{path} HTTP/1.1",
            f"Host: {name}:{self._port}",
            "Accept-Encoding: gzip",
            *(f"{key}: {value}" for key, value in headers.items()),
        ]
        return "\r\n".join(lines).encode("ascii") + b"\r\n\r\n"

    def _take(self) -> socket.socket | None:
        """A connection that is still open: one with something to read was closed by the other side."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                connection = self._idle.pop()
            if not select.select([connection], [], [], 0)[0]:
                return connection
            connection.close()

    def _give_back(self, connection: socket.socket) -> None:
        with self._lock:
            self._idle.append(connection)

    def _open(self, deadline: float) -> socket.socket:
        try:
            connection = socket.create_connection((self.host, self._port), _left(deadline))
        except OSError as why:
            raise NoAnswer(_said(why), sent=False) from why
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._tls:
                return connection
            connection.settimeout(_left(deadline))
            return self._trust().wrap_socket(connection, server_hostname=self.host)
        except (OSError, ValueError) as why:
            connection.close()
            raise NoAnswer(_said(why), sent=False) from why

    def _trust(self) -> ssl.SSLContext:
        with self._lock:
            if self._context is None:
                self._context = _trusted(self._ca_file)
            return self._context


def at_once(calls: Sequence[Callable[[], T]]) -> list[T | Exception]:
    """Every call in a thread of its own; the results in order, an exception in place of the one that raised it."""
    results: list[T | Exception] = [NoAnswer("never started", sent=False) for _ in calls]

    def carry_out(index: int, call: Callable[[], T]) -> None:
        try:
            results[index] = call()
        except Exception as why:  # noqa: BLE001 - handed to the caller, who must look at it
            results[index] = why

    threads = [
        threading.Thread(target=carry_out, args=(index, call), daemon=True) for index, call in enumerate(calls[1:], 1)
    ]
    for thread in threads:
        thread.start()
    if calls:
        carry_out(0, calls[0])
    for thread in threads:
        thread.join()
    return results


def _trusted(ca_file: str | None) -> ssl.SSLContext:
    import ssl

    paths = ssl.get_default_verify_paths()
    if ca_file is not None:
        context = ssl.create_default_context(cafile=ca_file)
    elif paths.capath and "SSL_CERT_FILE" not in os.environ and _is_hashed(paths.capath):
        context = ssl.create_default_context(capath=paths.capath)
    else:
        context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _is_hashed(directory: str) -> bool:
    try:
        with os.scandir(directory) as entries:
            return any(entry.name.endswith(".0") for entry in entries)
    except OSError:
        return False


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return left


def _said(why: BaseException) -> str:
    return str(why) or type(why).__name__


def _read_answer(connection: socket.socket, deadline: float) -> tuple[HttpAnswer, bool]:
    """The answer, and whether the connection can be used again. Raises OSError, ValueError for anything cut short."""
    stream = _Stream(connection, deadline)
    head = stream.until(b"\r\n\r\n", _LARGEST_HEAD).decode("latin-1").split("\r\n")
    words = head[0].split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise ValueError("the answer is not HTTP")
    headers = {}
    for line in head[1:-2]:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    body, framed = _read_body(stream, headers)
    if headers.get("content-encoding", "").lower() == "gzip":
        body = _inflate(body)
    keep = framed and words[0] == "HTTP/1.1" and headers.get("connection", "").lower() != "close"
    return HttpAnswer(int(words[1]), headers, body), keep and not stream.has_rest


def _read_body(stream: _Stream, headers: Mapping[str, str]) -> tuple[bytes, bool]:
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = b""
        while size := int(stream.until(b"\r\n", 100).split(b";")[0], 16):
            if len(body) + size > _LARGEST_BODY:
                raise ValueError("the answer is too large")
            body += stream.exactly(size)
            stream.exactly(2)
        while stream.until(b"\r\n", _LARGEST_HEAD) != b"\r\n":
            pass
        return body, True
    if "content-length" in headers:
        size = int(headers["content-length"])
        if not 0 <= size <= _LARGEST_BODY:
            raise ValueError("the answer is too large")
        return stream.exactly(size), True
    return stream.everything(), False


def _inflate(body: bytes) -> bytes:
    inflater = zlib.decompressobj(zlib.MAX_WBITS | 16)
    whole = inflater.decompress(body, _LARGEST_BODY)
    if not inflater.eof:
        raise ValueError("the answer is cut short or too large")
    return whole


class _Stream:
    """Bytes of one connection until a deadline, whatever the pace at which they drip."""

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline
        self._seen = b""

    @property
    def has_rest(self) -> bool:
        return bool(self._seen)

    def until(self, mark: bytes, most: int) -> bytes:
        while mark not in self._seen:
            if len(self._seen) > most:
                raise ValueError("the answer's head is too large")
            self._more()
        cut = self._seen.index(mark) + len(mark)
        taken, self._seen = self._seen[:cut], self._seen[cut:]
        return taken

    def exactly(self, size: int) -> bytes:
        parts, have = [self._seen], len(self._seen)
        while have < size:
            self._seen = b""
            self._more()
            parts.append(self._seen)
            have += len(self._seen)
        whole = b"".join(parts)
        self._seen = whole[size:]
        return whole[:size]

    def everything(self) -> bytes:
        while len(self._seen) <= _LARGEST_BODY:
            self._connection.settimeout(_left(self._deadline))
            received = self._connection.recv(_CHUNK)
            if not received:
                whole, self._seen = self._seen, b""
                return whole
            self._seen += received
        raise ValueError("the answer is too large")

    def _more(self) -> None:
        self._connection.settimeout(_left(self._deadline))
        received = self._connection.recv(_CHUNK)
        if not received:
            raise ConnectionError("the connection was closed in the middle of the answer")
        self._seen += received
