"""This file is a peer that answers HTTP as a test says, byte by byte if need be."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Peer:
    """A listening socket; `answer` gets the connection and the request's bytes, and does what it likes."""

    def __init__(self, answer: Callable[[socket.socket, bytes], None]) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.connections = 0
        self._current = socket.socket()
        self._current.close()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/api/v2"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._current = connection
            with connection:
                try:
                    while request := self._read(connection):
                        self.requests.append(request)
                        self.answer(connection, request)
                except OSError:
                    continue

    def _read(self, connection: socket.socket) -> bytes:
        seen = b""
        while b"\r\n\r\n" not in seen:
            if not (part := connection.recv(65_536)):
                return b""
            seen += part
        head, _, body = seen.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += connection.recv(65_536)
        return head + b"\r\n\r\n" + body

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with suppress(OSError):  # closed already
            self._current.shutdown(socket.SHUT_RDWR)
        self._thread.join(timeout=5)


@contextmanager
def peer(answer: Callable[[socket.socket, bytes], None]) -> Iterator[Peer]:
    standing = Peer(answer)
    try:
        yield standing
    finally:
        standing.close()


def whole(body: bytes, status: int = 200, *headers: str) -> bytes:
    """A complete answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
