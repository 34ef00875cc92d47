"""This file is a live session with the gateway: two supervised sockets, one stream of events, orders on one of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from perpctl.errors import PerpctlError, VenueUnreachable
from perpctl.exchange.both.inbox import Inbox
from perpctl.exchange.both.life import Life
from perpctl.exchange.both.tasks import Tasks
from perpctl.exchange.budget import Duty
from perpctl.exchange.gateway import orders
from perpctl.exchange.gateway.errors import Kind, RpcFailure, typed
from perpctl.exchange.gateway.feed.link import Link
from perpctl.exchange.gateway.feed.market import MarketEnd
from perpctl.exchange.gateway.feed.user import UserEnd
from perpctl.exchange.gateway.line import Line, pool_of, unreachable
from perpctl.exchange.gateway.rpc import Call, Gate, Param, SocketRpc
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.exchange.port import MaySend, Outcome, Refused, SessionEvent
from perpctl.model.order import Order, OrderRequest

if TYPE_CHECKING:
    from perpctl.exchange.gateway.client import Gateway

FIRST_CONNECTION_S = 30.0
LOGOUT_S = 2.0


class GatewaySession:
    """The two sockets of one client. Leaving closes them, which takes the orders placed here if armed to."""

    def __init__(self, gateway: Gateway, line: Line, symbols: Sequence[str], may_send: MaySend | None) -> None:
        self._gateway = gateway
        self._line = line
        self._symbols = tuple(symbols)
        self._may_send = may_send
        self._inbox = Inbox()
        self._user = UserEnd(self._inbox, line.clock, line, gateway)
        self._private = self._link(line.access.ws, self._user, "user")
        self._market = MarketEnd((), self._inbox, line.clock, gateway.quote)
        self._tasks = Tasks(self._inbox)

    def _link(self, url: str, ends: UserEnd | MarketEnd, name: str) -> Link:
        line = self._line
        return Link(url, line.transport, line.clock, ends, Life(name, line.clock, line.on_connection))

    async def __aenter__(self) -> GatewaySession:
        """Both sockets are kept up from here on; the private one has been up once.

        Raises what kept the first connection from coming up: CredentialError, VenueUnreachable, VenueRefused.
        """
        products = [(await self._gateway.instrument(symbol)).product_id for symbol in self._symbols]
        self._market = MarketEnd(products, self._inbox, self._line.clock, self._gateway.quote)
        streams = self._link(self._line.access.streams, self._market, "market")
        self._tasks.start(self._private.run())
        if products:
            self._tasks.start(streams.run())
        try:
            async with asyncio.timeout(FIRST_CONNECTION_S):
                await self._first_connection()
        except TimeoutError:
            await self._stop()
            raise VenueUnreachable(f"no live connection within {FIRST_CONNECTION_S:.0f} s") from None
        except PerpctlError:
            await self._stop()
            raise
        return self

    async def __aexit__(self, *why: object) -> None:
        await self._stop()

    def __aiter__(self) -> GatewaySession:
        return self

    async def __anext__(self) -> SessionEvent:
        return await self._inbox.take()

    @property
    def granted(self) -> tuple[str, ...]:
        return self._user.granted + self._market.granted

    @property
    def refused(self) -> tuple[str, ...]:
        return self._market.refused

    @property
    def account_wide_dead_man(self) -> bool:
        """Whether every new socket of the account starts armed; it should read off."""
        return self._user.account_wide

    async def arm_dead_man(self) -> bool:
        """Arm cancel-on-disconnect for this connection, and again after each reconnect before an order can go.

        Raises VenueUnreachable when it cannot be read back, VenueRefused when the venue says no to being asked.
        """
        try:
            return await self._user.arm(self._need_rpc())
        except (NotSent, NoAnswer) as why:
            raise unreachable("private/enable_cancel_on_disconnect", why) from why
        except RpcFailure as why:
            raise typed(why, "private/enable_cancel_on_disconnect") from why

    async def place(self, request: OrderRequest) -> Outcome:
        try:
            valid_until_ms = await self._gateway.valid_until_ms(request)
        except VenueUnreachable as why:
            return Refused(None, f"not sent: {why}", sent=False)
        return await orders.place(self._act, request, valid_until_ms, self._may_send)

    async def cancel(self, order: Order) -> Outcome:
        return await orders.cancel(self._act, order, lambda: self._gateway.ended(order), self._line.clock)

    async def leave_orders(self) -> None:
        """End so that resting orders stay: a log-out does not fire cancel-on-disconnect. Nothing works afterwards.

        Raises VenueUnreachable and VenueRefused when the log-out did not go out; read the orders back either way.
        """
        try:
            with contextlib.suppress(NoAnswer):  # the venue answers by hanging up
                await self._need_rpc().call(Call("private/logout", {}, LOGOUT_S))
        except NotSent as why:
            raise unreachable("private/logout", why) from why
        except RpcFailure as why:
            raise typed(why, "private/logout") from why
        finally:
            await self._stop()

    async def _act(
        self, method: str, params: Mapping[str, Param], deadline_s: float, duty: Duty, gate: Gate | None = None
    ) -> Any:
        """One attempt on the private socket; a second only after the venue said that our sign-in had lapsed."""
        call = Call(method, params, deadline_s, gate)
        pool = pool_of(method, params)
        await self._line.budget.take(pool, duty)
        rpc = self._need_rpc()
        try:
            return await rpc.call(call, self._line.papers(pool, self._user.signed_in_s()))
        except RpcFailure as why:
            if why.kind is not Kind.UNAUTHORIZED:
                raise
        try:
            await self._user.sign_in(rpc)
        except (NotSent, NoAnswer, RpcFailure, PerpctlError) as why:
            raise NotSent(f"our sign-in lapsed and could not be renewed: {why}") from why
        return await rpc.call(call, self._line.papers(pool, self._user.signed_in_s()))

    def _need_rpc(self) -> SocketRpc:
        if self._private.rpc is None:
            raise NotSent(f"the private socket is down: {self._private.cause}")
        return self._private.rpc

    async def _first_connection(self) -> None:
        await self._private.tried.wait()
        failure = self._private.failure
        if self._private.rpc is not None or failure is None:
            return
        if isinstance(failure, PerpctlError):
            raise failure
        if isinstance(failure, RpcFailure):
            raise typed(failure, "public/auth")
        raise unreachable("the private socket", failure)

    async def _stop(self) -> None:
        await self._tasks.stop()
        await self._market.aclose()
        self._inbox.close()
