"""This file is JSON-RPC as the gateway speaks it: frames out, answers in, over HTTP and over a two-way wire."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from perpctl.clock import Clock
from perpctl.exchange import trace
from perpctl.exchange.both.document import clamp_retry_after as clamp_retry_after
from perpctl.exchange.both.document import decode as decode
from perpctl.exchange.both.document import refuse_doubles
from perpctl.exchange.gateway.errors import RpcFailure
from perpctl.exchange.http import HeldBack as HeldBack
from perpctl.exchange.http import HttpReply, NoAnswer, NotSent
from perpctl.exchange.passing import Passing
from perpctl.exchange.transport import Transport, Wire, WireClosed
from perpctl.model.money import plain
from perpctl.model.passage import NO_PAPERS, Papers, Passage

Param = None | bool | int | str | Decimal | Sequence[str]
Gate = Callable[[], str | None]
Notify = Callable[[dict[str, Any]], None]

_Answer = tuple[dict[str, Any], bytes | str]  # as read, and as it came
_encode_json = msgspec.json.Encoder().encode


class Call(Struct, frozen=True):
    """One request. `gate` is asked right before its bytes leave and answers with a reason to hold them back."""

    method: str
    params: Mapping[str, Param]
    deadline_s: float
    gate: Gate | None = None


class AnotherAnswer(NoAnswer):
    """The answer belongs to another call: whatever else comes over that connection may be off by one as well."""


def encode(call_id: int, call: Call) -> bytes:
    """The frame of a call: named parameters, absent ones left out, decimals as plain JSON numbers."""
    params = {name: _exact(value) for name, value in call.params.items()}
    return _encode_json({"jsonrpc": "2.0", "id": call_id, "method": call.method, "params": params})


def _exact(value: Param) -> object:
    return msgspec.Raw(plain(value).encode()) if isinstance(value, Decimal) else value


def unwrap(answer: Mapping[str, Any], call_id: int) -> Any:
    """The result of an answer to `call_id`. Raises RpcFailure for an error, NoAnswer when it answers another call."""
    error = answer.get("error")
    if isinstance(error, dict) and isinstance(error.get("code"), int):
        if answer.get("id", call_id) != call_id:
            raise AnotherAnswer("the answer belongs to another call")
        detail = error.get("data")
        raise RpcFailure(error["code"], str(error.get("message", "")), detail, _wish(detail))
    if "result" not in answer:
        raise NoAnswer("the answer has neither result nor error")
    if answer.get("id") != call_id:
        raise AnotherAnswer("the answer belongs to another call")
    return answer["result"]


class HttpRpc:
    """Calls over HTTP, one request each."""

    def __init__(self, transport: Transport, url: str, clock: Clock) -> None:
        self._transport = transport
        self._url = url
        self._host = urlsplit(url).netloc
        self._clock = clock
        self._ids = itertools.count(1)
        self.on_date: Callable[[str | None], object] = lambda date: None
        self.on_answer: Callable[[Passage], object] = lambda passage: None

    async def call(self, call: Call, bearer: str | None = None, papers: Papers = NO_PAPERS) -> Any:
        """The result. Raises NotSent, NoAnswer, RpcFailure."""
        call_id = next(self._ids)
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        body = encode(call_id, call)
        if call.gate is not None and (reason := call.gate()) is not None:
            raise HeldBack(reason)
        passing = Passing(self._clock, "http", call.method, self._host)
        passing.leaves(body, papers)
        trace.asked("http", call.method, body)
        reply = await self._transport.post(f"{self._url}/{call.method}", body, headers, call.deadline_s)
        passing.came_back(reply.body, reply.status, reply.headers.get("date"))
        trace.answered("http", call.method, reply.body, reply.status)
        self.on_date(reply.headers.get("date"))
        try:
            return _read_reply(reply, call_id, passing)
        except AnotherAnswer:
            await self._transport.start_over()
            raise
        finally:
            self.on_answer(passing.passage)


def _read_reply(reply: HttpReply, call_id: int, passing: Passing) -> Any:
    """The body speaks first, the status only when the body does not."""
    try:
        check_kind(reply)
        answer = decode(reply.body)
        refuse_doubles(reply.body)
        passing.told(answer)
        result = unwrap(answer, call_id)
    except AnotherAnswer:
        raise
    except NoAnswer as why:
        if reply.status == 429:
            wish = clamp_retry_after(reply.headers.get("retry-after"))
            raise RpcFailure(429, "too many requests", None, wish) from None
        raise NoAnswer(f"HTTP {reply.status}: {why}") from None
    except RpcFailure as why:
        why.retry_after_s = why.retry_after_s or clamp_retry_after(reply.headers.get("retry-after"))
        raise
    if not 200 <= reply.status < 300:
        raise NoAnswer(f"HTTP {reply.status} around a result")
    return result


def check_kind(reply: HttpReply) -> None:
    """Raises NoAnswer for a body that says of itself that it is no JSON, whatever it looks like."""
    kind = reply.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if "json" not in kind and not reply.body.lstrip().startswith(b"<"):  # a web page is named as one below
        raise NoAnswer(f"the answer is {kind}, not the API")


def _wish(detail: object) -> float | None:
    if not isinstance(detail, dict):
        return None
    if "retry_after_ms" in detail:
        asked = clamp_retry_after(detail["retry_after_ms"])
        return None if asked is None else clamp_retry_after(float(detail["retry_after_ms"]) / 1000)
    return clamp_retry_after(detail.get("retry_after"))


class SocketRpc:
    """Calls over a wire: many at once, answered in any order. `run` must be running while calls are made."""

    def __init__(self, wire: Wire, notify: Notify, clock: Clock, place: tuple[str, str]) -> None:
        """`place`: to which host, and as which connection of this process."""
        self._wire = wire
        self._notify = notify
        self._clock = clock
        self._host, self._connection_id = place
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[_Answer]] = {}
        self._closed: str | None = None
        self.close_code: int | None = None

    @property
    def closed(self) -> str | None:
        """Why the wire is gone; None while it is there."""
        return self._closed

    async def run(self) -> str:
        """Take frames off the wire until it closes; the answer is why it closed. Never waits for anything else."""
        try:
            while True:
                self._take(await self._wire.receive())
        except WireClosed as why:
            self.close_code = why.code
            self._shut(str(why))
            return str(why)
        except asyncio.CancelledError:
            self._shut("we hung up")
            raise

    async def call(self, call: Call, papers: Papers = NO_PAPERS) -> Any:
        """The result. Raises NotSent, NoAnswer, RpcFailure."""
        if self._closed is not None:
            raise NotSent(f"the socket is down: {self._closed}")
        call_id = next(self._ids)
        frame = encode(call_id, call)
        if call.gate is not None and (reason := call.gate()) is not None:
            raise HeldBack(reason)
        future: asyncio.Future[_Answer] = asyncio.get_running_loop().create_future()
        self._waiting[call_id] = future
        passing = Passing(self._clock, "websocket", call.method, self._host)
        passing.leaves(frame, papers, self._connection_id)
        try:
            async with asyncio.timeout(call.deadline_s):
                trace.asked("websocket", call.method, frame)
                trace.frame("->", frame)
                await self._wire.send(frame)
                answer, came = await future
                passing.came_back(came)
                passing.told(answer)
                trace.answered("websocket", call.method, answer)
                return unwrap(answer, call_id)
        except TimeoutError:
            raise NoAnswer(f"no answer within {call.deadline_s:g} s") from None
        except WireClosed as why:
            raise NoAnswer(f"the socket closed: {why}") from why
        finally:
            del self._waiting[call_id]
            if not future.cancel() and not future.cancelled():
                future.exception()  # looked at: what it says is in the exception that is on its way already

    async def close(self) -> None:
        """Hang up. Calls still waiting get NoAnswer."""
        self._shut("we hung up")
        await self._wire.close()

    def _take(self, frame: bytes | str) -> None:
        trace.frame("<-", frame)
        try:
            message = decode(frame)
            if "method" not in message:
                refuse_doubles(frame)
        except NoAnswer as why:
            # A frame that cannot be read may have been anything, an order of ours included: start over.
            raise WireClosed(f"unreadable frame: {why}") from None
        call_id = message.get("id")
        if "method" in message:
            self._notify(message)
        elif call_id is None and "error" in message:
            raise WireClosed(f"the venue says {message['error']}")
        elif isinstance(call_id, int) and (future := self._waiting.get(call_id)) is not None and not future.done():
            future.set_result((message, frame))

    def _shut(self, why: str) -> None:
        self._closed = self._closed or why
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(NoAnswer(f"the socket closed: {why}"))
