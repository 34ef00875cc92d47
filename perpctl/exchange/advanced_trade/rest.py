"""This file is our line to Advanced Trade over HTTP: calls signed, within the budget, reads repeated, writes never."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar
from urllib.parse import urlencode, urlsplit

import msgspec

from perpctl.clock import Clock
from perpctl.exchange import trace
from perpctl.exchange.access import Access
from perpctl.exchange.advanced_trade.budget import Budget
from perpctl.exchange.advanced_trade.errors import HttpFailure, Kind, ProofRequired, typed, unreachable, words_of
from perpctl.exchange.auth import DATE_RESOLUTION, Signer, date_offset, no_key
from perpctl.exchange.both.document import Row, clamp_retry_after, decode
from perpctl.exchange.budget import Duty
from perpctl.exchange.http import HeldBack, HttpReply, NoAnswer, NotSent
from perpctl.exchange.keys import read_key
from perpctl.exchange.passing import Passing
from perpctl.exchange.repeats import SINGLE, Judgement, Policy, Repeats
from perpctl.exchange.transport import Web
from perpctl.model.passage import ClockReading, Connection, Papers

HOST = "api.coinbase.com"  # what every token names, whichever address the request goes to (Coinbase SDK)
CLOCK_EVERY, US = timedelta(minutes=1), timedelta(microseconds=1)
Gate = Callable[[], str | None]
Query = Mapping[str, str | int | Sequence[str]]
T = TypeVar("T")
_encode = msgspec.json.Encoder().encode
_working_for: ContextVar[Duty | None] = ContextVar("working_for", default=None)


@contextmanager
def working_for(duty: Duty) -> Iterator[None]:
    """What is read meanwhile, in this task and those it starts, is paid from this class's share."""
    token = _working_for.set(duty)
    try:
        yield
    finally:
        _working_for.reset(token)


@dataclass(frozen=True, slots=True)
class Write:
    """One request that acts. `gate` is asked right before its bytes leave and answers with a reason to hold it back."""

    path: str
    body: Mapping[str, object]
    deadline_s: float
    duty: Duty
    gate: Gate | None = None


@dataclass(frozen=True, slots=True)
class _Call:
    method: str
    path: str
    query: Query
    body: bytes
    deadline_s: float
    signed: bool
    gate: Gate | None = None
    duty: Duty | None = None  # of one that acts


class Rest:
    """Calls with one key. Its file is read at the first call that needs it."""

    def __init__(self, access: Access, clock: Clock, budget: Budget, web: Web) -> None:
        self.access = access
        self.clock = clock
        self.budget = budget
        self.web = web
        self.duty = Duty.OPERATOR
        self.wall_offset_ms: int | None = None  # the venue's wall clock minus ours, by its last Date header
        self.on_clock: Callable[[ClockReading], object] = lambda reading: None
        self.on_connection: Callable[[Connection], object] = lambda connection: None
        self._clock_told: datetime | None = None
        self._root = access.http.rstrip("/")
        self._prefix, self._host = urlsplit(self._root).path, urlsplit(self._root).netloc
        self._signer: Signer | None = None
        self._repeats = Repeats(_JUDGEMENT, clock.sleep, access.first_pause_s)

    @property
    def has_key(self) -> bool:
        return self.access.key_file is not None

    async def read(
        self,
        path: str,
        query: Query,
        parse: Callable[[Row], T],
        policy: Policy = SINGLE,
        *,
        signed: bool = True,
    ) -> T:
        """What a call that changes nothing answers, repeated as `policy` says, with full jitter.

        `parse` raises NoAnswer for what cannot be trusted. Raises VenueUnreachable, CredentialError, VenueRefused,
        Throttled.
        """

        call = _Call("GET", path, query, b"", policy.deadline_s, signed)

        async def attempt() -> T:
            if signed:
                await self.budget.take(_working_for.get() or self.duty)
            return parse(await self._signed_in(call))

        try:
            return await self._repeats.of(attempt, policy)
        except (NotSent, NoAnswer) as why:
            raise unreachable(path, why) from why
        except HttpFailure as why:
            raise typed(why, path) from why

    async def act(self, write: Write) -> Row:
        """The answer to one attempt at something that acts. Raises NotSent, NoAnswer, HttpFailure, CredentialError.

        It is sent a second time only after the venue has refused our token.
        """
        await self.budget.take(write.duty)
        body = _encode(write.body)
        return await self._signed_in(
            _Call("POST", write.path, {}, body, write.deadline_s, True, write.gate, write.duty)
        )

    def jwt(self, uri: str | None = None) -> str:
        """A fresh token; a message of a WebSocket carries one without `uri`. Raises CredentialError."""
        token = self.signer.jwt(uri)
        trace.hide(token)
        return token

    @property
    def signer(self) -> Signer:
        """With the key of this profile. Raises CredentialError."""
        if self._signer is None:
            if self.access.key_file is None:
                raise no_key()
            self._signer = Signer(read_key(self.access.key_file, self.access.key_name), self.clock)
        return self._signer

    async def _signed_in(self, call: _Call) -> Row:
        try:
            return await self._send(call)
        except HttpFailure as why:
            if why.kind is Kind.THROTTLED:
                self.budget.slow_down()
            if why.kind is not Kind.UNAUTHORIZED or not call.signed:
                raise
        # Nothing was executed. The Date of that answer has corrected our clock if it was off: once more, signed anew.
        return await self._send(call)

    async def _send(self, call: _Call) -> Row:
        headers = {"cache-control": "no-cache"}
        if call.signed:
            headers["authorization"] = f"Bearer {self.jwt(f'{call.method} {HOST}{self._prefix}{call.path}')}"
        if call.gate is not None and (reason := call.gate()) is not None:
            raise HeldBack(reason)
        passing = Passing(self.clock, "http", f"{call.method} {call.path}", self._host)
        if call.duty is not None:  # what is read meanwhile is no part of an order or cancel
            passing.leaves(call.body, Papers(self.signer.key.id, 0, self.budget.left(call.duty)))
        trace.asked("http", f"{call.method} {call.path}", call.body or b"{}")
        url = f"{self._root}{call.path}" + (f"?{urlencode(call.query, doseq=True)}" if call.query else "")
        if call.method == "GET":
            reply = await self.web.get(url, headers, call.deadline_s)
        else:
            reply = await self.web.post(url, call.body, headers, call.deadline_s)
        passing.came_back(reply.body, reply.status, reply.headers.get("date"))
        trace.answered("http", f"{call.method} {call.path}", reply.body, reply.status)
        self._learn_the_time(reply.headers.get("date"))
        return _read(reply)

    def _learn_the_time(self, header: str | None) -> None:
        offset = date_offset(header, self.clock.now())
        if offset is not None:
            self.wall_offset_ms = int(offset.total_seconds() * 1000)
            self._tell_clock(offset)
        if self._signer is not None:
            self._signer.observe_date(header)

    def _tell_clock(self, offset: timedelta) -> None:
        now = self.clock.now()
        if self._clock_told is None or now - self._clock_told >= CLOCK_EVERY:
            self._clock_told = now
            self.on_clock(ClockReading(offset // US, DATE_RESOLUTION // US, "Date header of the venue", now))


def _read(reply: HttpReply) -> Row:
    """The object in an answer. Raises HttpFailure for a status that is no success, NoAnswer for what is no object."""
    if 200 <= reply.status < 300:
        return decode(reply.body)
    wish = clamp_retry_after(reply.headers.get("retry-after"))
    try:
        said = words_of(decode(reply.body))
    except NoAnswer:
        # A refused token is bare text, an overload a web page: neither is told on.
        said = "Unauthorized" if reply.status == 401 else ""
    raise HttpFailure(reply.status, said, wish)


def _worth_repeating(why: BaseException) -> bool:
    if isinstance(why, HttpFailure):
        return why.kind in (Kind.THROTTLED, Kind.UNCERTAIN)
    return isinstance(why, NotSent | NoAnswer) and not isinstance(why, ProofRequired)


def _throttle(why: BaseException | None) -> HttpFailure | None:
    return why if isinstance(why, HttpFailure) and why.kind is Kind.THROTTLED else None


_JUDGEMENT = Judgement((NotSent, NoAnswer, HttpFailure), _worth_repeating, _throttle)
