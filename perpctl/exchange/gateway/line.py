"""This file is our one line to the gateway over HTTP: signed in, within the credits, reads repeated, writes never."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from perpctl.clock import Clock
from perpctl.errors import VenueUnreachable
from perpctl.exchange.access import Access
from perpctl.exchange.auth import JWT_LIFE_S, Signer, Tokens, date_offset, no_key
from perpctl.exchange.budget import Budget, Duty, Pool
from perpctl.exchange.gateway.errors import Kind, RpcFailure, typed
from perpctl.exchange.gateway.rpc import Call, Gate, HttpRpc, Param
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.exchange.keys import read_key
from perpctl.exchange.port import Grant
from perpctl.exchange.repeats import QUICK, SINGLE, Judgement, Policy, Repeats
from perpctl.exchange.transport import Transport
from perpctl.model.passage import ClockReading, Connection, Papers, Passage

NEEDS_LOGIN = 11056  # the venue has switched unauthenticated public requests off for a while
CLOCK_EVERY = timedelta(minutes=1)
_WORTH_REPEATING = (Kind.THROTTLED, Kind.NOT_EXECUTED, Kind.UNCERTAIN)
_ENGINE = frozenset(
    f"private/{name}"
    for name in ("buy", "sell", "edit", "edit_by_label", "cancel", "cancel_by_label", "close_position")
)
_OWN_PURSE = {
    "public/get_instruments": Pool.INSTRUMENTS,
    "private/get_transaction_log": Pool.LEDGER,
    "public/subscribe": Pool.SUBSCRIBE,
    "private/subscribe": Pool.SUBSCRIBE,
    "public/unsubscribe": Pool.SUBSCRIBE,
    "private/unsubscribe": Pool.SUBSCRIBE,
}
T = TypeVar("T")


class NoAccess(NotSent):
    """Signing in failed, with repeats of its own: to ask again for what needed it would only multiply them."""


class Line:
    """Calls to one gateway with one key. The key file is read at the first private call."""

    def __init__(self, access: Access, clock: Clock, budget: Budget, transport: Transport) -> None:
        self.access = access
        self.clock = clock
        self.budget = budget
        self.transport = transport
        self.duty = Duty.OPERATOR
        self._rpc = HttpRpc(transport, access.http.rstrip("/"), clock)
        self._rpc.on_date = self._on_date
        self._rpc.on_answer = self._on_answer
        self._signer: Signer | None = None
        self._repeats = Repeats(_JUDGEMENT, clock.sleep, access.first_pause_s)
        self._tokens = Tokens(self._exchange, clock)
        self._clock_moved = False
        self.wall_offset_ms: int | None = None  # the venue's wall clock minus ours, by its last Date header
        self.on_clock: Callable[[ClockReading], object] = lambda reading: None
        self.on_connection: Callable[[Connection], object] = lambda connection: None
        self._clock_reading: ClockReading | None = None

    async def read(
        self, method: str, params: Mapping[str, Param], parse: Callable[[Any], T], policy: Policy = SINGLE
    ) -> T:
        """The parsed result of a call that changes nothing, repeated as `policy` says, with full jitter.

        `parse` raises NoAnswer for a result that cannot be trusted. Raises VenueUnreachable, CredentialError,
        VenueRefused, Throttled.
        """
        call = Call(method, params, policy.deadline_s)

        async def attempt() -> T:
            return parse(await self._once(call, self.duty))

        try:
            return await self._repeats.of(attempt, policy)
        except (NotSent, NoAnswer) as why:
            raise unreachable(method, why) from why
        except RpcFailure as why:
            raise typed(why, method) from why

    async def act(
        self, method: str, params: Mapping[str, Param], deadline_s: float, duty: Duty, gate: Gate | None = None
    ) -> Any:
        """The result of one attempt at something that acts. Raises NotSent, NoAnswer, RpcFailure, CredentialError.

        It is sent a second time only after the venue has said, by code, that our sign-in had lapsed.
        """
        return await self._once(Call(method, params, deadline_s, gate), duty)

    def sign(self) -> Mapping[str, Param]:
        """The parameters of `public/auth`, freshly signed. Raises CredentialError."""
        if self._signer is None:
            if self.access.key_file is None:
                raise no_key()
            self._signer = Signer(read_key(self.access.key_file, self.access.key_name), self.clock)
        return {"grant_type": "coinbase_cdp", "token": self._signer.jwt()}

    async def renew(self) -> Grant:
        """A new token, used from here on. Raises CredentialError, VenueUnreachable."""
        self.sign()
        assert self._signer is not None
        life_s, scope = await self._tokens.renew()
        key = self._signer.key
        return Grant(life_s, scope, f"{key.algorithm} {key.short_id}", JWT_LIFE_S)

    async def _once(self, call: Call, duty: Duty) -> Any:
        try:
            return await self._signed_in(call, duty)
        except RpcFailure as why:
            if why.kind is Kind.THROTTLED:
                self.budget.slow_down()
            if why.code == NEEDS_LOGIN and self.access.key_file is not None:
                return await self._send(call, duty, await self._bearer())
            raise

    async def _signed_in(self, call: Call, duty: Duty) -> Any:
        if not call.method.startswith("private/"):
            return await self._send(call, duty, None)
        bearer = await self._bearer()
        try:
            return await self._send(call, duty, bearer)
        except RpcFailure as why:
            if why.kind is not Kind.UNAUTHORIZED:
                raise
            # The venue did not execute it (Coinbase SDK): sign in again, and repeat once.
            self._tokens.drop(bearer)
        return await self._send(call, duty, await self._bearer())

    async def _send(self, call: Call, duty: Duty, bearer: str | None) -> Any:
        pool = pool_of(call.method, call.params)
        await self.budget.take(pool, duty)
        return await self._rpc.call(call, bearer, self.papers(pool, self._tokens.age_s() if bearer else None))

    def papers(self, pool: Pool, token_age_s: float | None) -> Papers:
        """What a call that leaves now carries along, for the record."""
        key_id = None if self._signer is None else self._signer.key.id
        return Papers(key_id, None if token_age_s is None else int(token_age_s), self.budget.left(pool))

    async def _bearer(self) -> str:
        try:
            return await self._tokens.bearer()
        except VenueUnreachable as why:
            raise NoAccess(f"no access: {why}") from why

    async def _exchange(self) -> Mapping[str, object]:
        """A token for a JWT; a refusal is tried once more if the answer's Date says that our clock was off."""
        self._clock_moved = False
        try:
            return await self._exchange_once()
        except RpcFailure as why:
            if why.kind is not Kind.UNAUTHORIZED or not self._clock_moved:
                raise typed(why, "public/auth") from why
        try:
            return await self._exchange_once()
        except RpcFailure as why:
            raise typed(why, "public/auth") from why

    async def _exchange_once(self) -> Mapping[str, object]:
        self.sign()  # a key that cannot be used is said before anything is tried
        try:
            grant: object = await self._repeats.of(self._auth, QUICK)
        except (NotSent, NoAnswer) as why:
            raise unreachable("public/auth", why) from why
        if not isinstance(grant, dict):
            raise VenueUnreachable("public/auth: the answer is no object", not_done="nothing was sent after it")
        return grant

    async def _auth(self) -> Any:
        await self.budget.take(pool_of("public/auth", {}), Duty.EXIT)
        return await self._rpc.call(Call("public/auth", self.sign(), QUICK.deadline_s))

    def _on_date(self, header: str | None) -> None:
        offset = date_offset(header, self.clock.now())
        if offset is not None:
            self.wall_offset_ms = int(offset.total_seconds() * 1000)
        if self._signer is not None and self._signer.observe_date(header):
            self._clock_moved = True

    def _on_answer(self, passage: Passage) -> None:
        """Tell how far our clock is off: each minute anew, and whenever it is known twice as well."""
        reading, last = passage.clock_reading(), self._clock_reading
        if reading is None:
            return
        if last is None or reading.checked_at - last.checked_at >= CLOCK_EVERY or reading.error_us * 2 < last.error_us:
            self._clock_reading = reading
            self.on_clock(reading)


def pool_of(method: str, params: Mapping[str, object]) -> Pool:
    """The purse a call draws on; a cancel by label without a currency is a mass cancel (Deribit docs, rate limits)."""
    if method.startswith("private/cancel_all") or (method == "private/cancel_by_label" and "currency" not in params):
        return Pool.CANCEL_ALL
    if method in _ENGINE:
        return Pool.MATCHING
    return _OWN_PURSE.get(method, Pool.NON_MATCHING)


def unreachable(method: str, why: Exception) -> VenueUnreachable:
    """What an operator is told when no trustworthy answer came."""
    return VenueUnreachable(f"{method}: {why}", not_done="nothing was learned; what was known before is not confirmed")


def _worth_repeating(why: BaseException) -> bool:
    if isinstance(why, RpcFailure):
        return why.kind in _WORTH_REPEATING
    return isinstance(why, NotSent | NoAnswer) and not isinstance(why, NoAccess)


def _throttle(why: BaseException | None) -> RpcFailure | None:
    return why if isinstance(why, RpcFailure) and why.kind is Kind.THROTTLED else None


_JUDGEMENT = Judgement((NotSent, NoAnswer, RpcFailure), _worth_repeating, _throttle)
