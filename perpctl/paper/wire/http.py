"""This file reads HTTP requests and writes their answers as a bare ASGI application: a request served is mostly this.

Starlette's Request and Response, and the middlewares of its application, cost a request more than its order does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec import Struct
from starlette.types import Receive, Scope, Send

from perpctl.paper.wire.reply import HttpReply

BODILESS = (204, 304)  # these, and what is below 200, name no length (RFC 9110, 8.6)


class Asked(Struct, frozen=True):
    """One HTTP request: `target` is the path with its query, header names are in lower case."""

    method: str
    path: str
    target: str
    headers: dict[str, str]
    body: bytes
    client: tuple[str, int] | None

    @property
    def peer(self) -> str:
        """The address at the other end."""
        return self.client[0] if self.client else "unknown"


@dataclass(frozen=True, slots=True)
class Door:
    """An application that has `serve` answer every request."""

    serve: Callable[[Asked], Awaitable[HttpReply]]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; nobody is answered who left before it was whole."""
        body = await _body(receive)
        if body is None:
            return
        reply = await self.serve(_asked(scope, body))
        status = reply.status or 500
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers.items()]
        if status >= 200 and status not in BODILESS:
            headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})


def _asked(scope: Scope, body: bytes) -> Asked:
    path, query = scope["path"], scope["query_string"].decode("latin-1")
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    return Asked(scope["method"], path, f"{path}?{query}" if query else path, headers, body, scope["client"])


async def _body(receive: Receive) -> bytes | None:
    whole = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        whole += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return whole
