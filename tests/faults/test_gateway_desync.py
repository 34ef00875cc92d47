"""Answers that are not to be believed, over real sockets: of another call, led elsewhere, naming a member twice."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from perpctl.clock import SystemClock
from perpctl.errors import VenueUnreachable
from perpctl.exchange.access import Access
from perpctl.exchange.both.document import refuse_doubles
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.gateway.rpc import Call, HttpRpc
from perpctl.exchange.http import NoAnswer
from perpctl.exchange.port import Unknown
from perpctl.exchange.transport import Network
from tests.exchange.gateway.venue import order_row, request, write_key

Answer = Callable[[dict[str, Any]], bytes]
CALL = Call("public/test", {}, 5.0)


def said(content: dict[str, Any], result: Any) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": content["id"], "result": result}).encode()


class Peer:
    """An HTTP server that keeps its connections and says what a test makes it say."""

    def __init__(self, answer: Answer, status: str = "200 OK", headers: str = "content-type: application/json") -> None:
        self.answer, self.status, self.headers = answer, status, headers
        self.connections = 0
        self.requests: list[str] = []
        self._open: set[asyncio.StreamWriter] = set()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._open.add(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                length = int(re.findall(rb"content-length: (\d+)", head.lower())[0])
                self.requests.append(head.decode())
                body = self.answer(json.loads(await reader.readexactly(length)))
                start = f"HTTP/1.1 {self.status}\r\n{self.headers}\r\ncontent-length: {len(body)}\r\n\r\n"
                writer.write(start.encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._open.discard(writer)
            writer.close()


@asynccontextmanager
async def listening(peer: Peer) -> AsyncIterator[str]:
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()


async def asking(peer: Peer, use: Callable[[HttpRpc], Awaitable[None]]) -> None:
    network = Network()
    async with listening(peer) as address:
        await use(HttpRpc(network, address, SystemClock()))
        await network.aclose()


async def test_an_answer_of_an_earlier_call_is_not_believed_and_its_connection_not_used_again() -> None:
    waiting: list[bytes] = []

    def one_behind(content: dict[str, Any]) -> bytes:
        """The first connection answers each request with the answer to the one before."""
        if peer.connections > 1:
            return said(content, "fresh")
        waiting.append(said(content, "late"))
        return waiting[-2] if len(waiting) > 1 else said({"id": 0}, "of somebody else")

    async def use(rpc: HttpRpc) -> None:
        with pytest.raises(NoAnswer, match="another call"):
            await rpc.call(CALL)
        assert await rpc.call(CALL) == "fresh"
        assert await rpc.call(CALL) == "fresh"

    peer = Peer(one_behind)
    await asking(peer, use)
    assert peer.connections == 2


@asynccontextmanager
async def trading(peer: Peer, folder: Path) -> AsyncIterator[Gateway]:
    async with listening(peer) as address:
        gateway = open_gateway(Access(http=f"{address}/api/v2", key_file=write_key(folder)), SystemClock())
        yield gateway
        await gateway.aclose()


def _venue(content: dict[str, Any], order: Callable[[dict[str, Any]], bytes]) -> bytes:
    if content["method"] == "public/auth":
        return said(content, {"access_token": "T", "expires_in": 900})
    if content["method"] == "public/get_time":
        import time

        return said(content, int(time.time() * 1000))
    return order(content)


async def test_an_order_answered_with_another_calls_answer_is_unknown_and_went_once(tmp_path: Path) -> None:
    sent: list[str] = []

    def swapped(content: dict[str, Any]) -> bytes:
        sent.append(content["method"])
        return said({"id": content["id"] - 1}, {"order": order_row(), "trades": []})

    async with trading(Peer(lambda content: _venue(content, swapped)), tmp_path) as gateway:
        outcome = await gateway.place(request())
    assert isinstance(outcome, Unknown)
    assert "another call" in outcome.cause
    assert sent == ["private/buy"]


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
async def test_a_redirect_is_not_followed_and_the_token_goes_nowhere_else(tmp_path: Path, status: str) -> None:
    elsewhere = Peer(lambda content: said(content, []))
    async with listening(elsewhere) as other:
        peer = Peer(lambda content: b"")
        peer.answer = lambda content: _venue(content, lambda _: _lead(peer, other, status))
        async with trading(peer, tmp_path) as gateway:
            with pytest.raises(VenueUnreachable):
                await gateway.open_orders()
    assert elsewhere.connections == 0
    assert any("private/get_open_orders" in head for head in peer.requests)


def _lead(peer: Peer, other: str, status: str) -> bytes:
    peer.status, peer.headers = f"{status} Elsewhere", f"location: {other}/api/v2/private/get_open_orders"
    return b""


TWICE = b'{"jsonrpc":"2.0","id":1,"result":{"order":{"order_id":"A","amount":1,"amount":2}},"usIn":1}'


def test_a_member_that_is_there_twice_is_named_and_one_in_two_objects_is_none() -> None:
    with pytest.raises(NoAnswer, match="'amount' is there twice"):
        refuse_doubles(TWICE)
    refuse_doubles(b'{"id":1,"result":[{"amount":1e999},{"amount":2}]}')
    refuse_doubles(b'{"id":1,"result":"' + b"x" * 100_000 + b'"}')


async def test_an_order_whose_answer_names_a_member_twice_is_unknown(tmp_path: Path) -> None:
    def doubled(content: dict[str, Any]) -> bytes:
        answer = said(content, {"order": order_row(), "trades": []})
        return answer.replace(b'"order_id"', b'"order_id": "USDC-0", "order_id"', 1)

    async with trading(Peer(lambda content: _venue(content, doubled)), tmp_path) as gateway:
        outcome = await gateway.place(request())
    assert isinstance(outcome, Unknown)
    assert "twice" in outcome.cause


@pytest.mark.parametrize("kind", ["text/html", "text/plain; charset=utf-8", "application/octet-stream"])
async def test_a_body_that_calls_itself_something_else_is_not_the_api(tmp_path: Path, kind: str) -> None:
    def taken(content: dict[str, Any]) -> bytes:
        peer.headers = f"content-type: {kind}"
        return said(content, {"order": order_row(), "trades": []})

    peer = Peer(lambda content: _venue(content, taken))
    async with trading(peer, tmp_path) as gateway:
        outcome = await gateway.place(request())
    assert isinstance(outcome, Unknown)
    assert "not the API" in outcome.cause


async def test_pages_that_repeat_their_continuation_or_themselves_end_as_incomplete(tmp_path: Path) -> None:
    def again(content: dict[str, Any]) -> bytes:
        if content["method"] == "private/get_subaccounts":
            return said(content, [{"id": 1, "username": "x"}])
        return said(content, {"logs": [], "continuation": 7})

    asked = Peer(lambda content: _venue(content, again))
    async with trading(asked, tmp_path) as gateway:
        assert await gateway.funding_payments(0) == ()  # an empty page ends a list, whatever it says of a next one

    def row(content: dict[str, Any]) -> bytes:
        if content["method"] == "private/get_subaccounts":
            return said(content, [{"id": 1, "username": "x"}])
        return said(content, {"orders": [{**order_row(), "last_update_timestamp": 10**13}], "continuation": "same"})

    peer = Peer(lambda content: _venue(content, row))
    async with trading(peer, tmp_path) as gateway:
        with pytest.raises(VenueUnreachable, match="do not come to an end"):
            await gateway.order_history(0)
    assert sum("get_order_history" in head for head in peer.requests) == 2
