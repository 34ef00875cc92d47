"""The bare application that reads requests and writes answers."""

from __future__ import annotations

from typing import Any

import pytest

from perpctl.paper.wire.http import Asked, Door
from perpctl.paper.wire.reply import HttpReply

SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/api/v2/private/buy",
    "query_string": b"a=1",
    "headers": [(b"content-type", b"application/json"), (b"authorization", b"Bearer x")],
    "client": ("127.0.0.1", 4711),
}


async def served(reply: HttpReply, *messages: dict[str, Any]) -> tuple[list[Asked], list[dict[str, Any]]]:
    """(what the face was asked, what went out)."""
    asked, sent, waiting = list[Asked](), list[dict[str, Any]](), list(messages)

    async def serve(request: Asked) -> HttpReply:
        asked.append(request)
        return reply

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(dict(message))

    await Door(serve)(SCOPE, receive, send)
    return asked, sent


async def test_a_request_that_comes_in_parts_is_served_whole_and_answered_with_its_length() -> None:
    parts = (
        {"type": "http.request", "body": b'{"amo', "more_body": True},
        {"type": "http.request", "body": b'unt":1}', "more_body": False},
    )
    asked, sent = await served(HttpReply(200, b"{}", {"date": "now"}), *parts)
    headers = {"content-type": "application/json", "authorization": "Bearer x"}
    target = "/api/v2/private/buy?a=1"
    assert asked == [Asked("POST", SCOPE["path"], target, headers, b'{"amount":1}', ("127.0.0.1", 4711))]
    assert asked[0].peer == "127.0.0.1"
    assert sent == [
        {"type": "http.response.start", "status": 200, "headers": [(b"date", b"now"), (b"content-length", b"2")]},
        {"type": "http.response.body", "body": b"{}"},
    ]


async def test_half_a_request_whose_caller_left_reaches_no_face_and_gets_no_answer() -> None:
    parts = ({"type": "http.request", "body": b'{"amo', "more_body": True}, {"type": "http.disconnect"})
    assert await served(HttpReply(200, b"{}"), *parts) == ([], [])


@pytest.mark.parametrize("status", [103, 204, 304])
async def test_an_answer_that_has_no_body_by_its_status_names_no_length(status: int) -> None:
    _, sent = await served(HttpReply(status, b""), {"type": "http.request"})
    assert sent[0] == {"type": "http.response.start", "status": status, "headers": []}
