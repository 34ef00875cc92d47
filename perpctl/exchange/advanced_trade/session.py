"""This file is a live session with this venue: what both sockets tell as one stream; orders go over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpctl.errors import PerpctlError, VenueUnreachable
from perpctl.exchange.advanced_trade.errors import unreachable
from perpctl.exchange.advanced_trade.feed.line import Line
from perpctl.exchange.advanced_trade.feed.market import MarketEnd
from perpctl.exchange.advanced_trade.feed.user import UserEnd
from perpctl.exchange.advanced_trade.listing import Listing
from perpctl.exchange.advanced_trade.lists import Lists
from perpctl.exchange.advanced_trade.rest import Rest, working_for
from perpctl.exchange.both.inbox import Inbox
from perpctl.exchange.both.life import Life
from perpctl.exchange.both.tasks import Tasks
from perpctl.exchange.budget import Duty
from perpctl.exchange.port import Outcome, SessionEvent
from perpctl.model.order import Order, OrderRequest

if TYPE_CHECKING:
    from perpctl.exchange.advanced_trade.client import AdvancedTrade

FIRST_CONNECTION_S = 30.0


@dataclass(frozen=True, slots=True)
class Parts:
    """What a session shares with its client."""

    rest: Rest
    listing: Listing
    lists: Lists


class UsSession:
    """The two sockets of one client. Leaving closes them; resting orders stay, and entries end by themselves."""

    def __init__(self, venue: AdvancedTrade, parts: Parts, symbols: Sequence[str]) -> None:
        self._venue = venue
        self._parts = parts
        self._symbols = tuple(symbols)
        self._inbox = Inbox()
        clock = parts.rest.clock
        self._user = UserEnd(self._inbox, clock, venue, parts.lists, parts.listing)
        self._market = MarketEnd((), self._inbox, clock, parts.listing)
        self._private = self._line(self._user, private=True)
        self._public: Line | None = None
        self._tasks = Tasks(self._inbox)

    def _line(self, ends: UserEnd | MarketEnd, *, private: bool) -> Line:
        rest = self._parts.rest
        hosts = (rest.access.ws, rest.access.streams)
        life = Life("user" if private else "market", rest.clock, rest.on_connection)
        return Line(hosts if private else hosts[::-1], rest.web, rest.clock, self._jwt, ends, life)

    def _jwt(self) -> str | None:
        """The market may be listened to without a key."""
        return self._parts.rest.jwt() if self._parts.rest.has_key else None

    async def __aenter__(self) -> UsSession:
        """Both sockets are kept up from here on; the user's has been up once.

        Raises what kept the first connection from coming up: CredentialError, VenueUnreachable, VenueRefused.
        """
        named = [(await self._venue.instrument(symbol)).product_id for symbol in self._symbols]
        units = [await self._parts.listing.unit(product_id) for product_id in named]
        with working_for(Duty.STRATEGY):
            self._tasks.start(self._private.run())
            if units:
                self._market = MarketEnd(units, self._inbox, self._parts.rest.clock, self._parts.listing)
                self._public = self._line(self._market, private=False)
                self._tasks.start(self._public.run())
                self._tasks.start(self._market.keep_listed())
        try:
            async with asyncio.timeout(FIRST_CONNECTION_S):
                await self._private.tried.wait()
        except TimeoutError:
            await self._stop()
            raise VenueUnreachable(f"no live connection within {FIRST_CONNECTION_S:.0f} s") from None
        if not self._private.is_up and (failure := self._private.failure) is not None:
            await self._stop()
            raise failure if isinstance(failure, PerpctlError) else unreachable("the user socket", failure)
        return self

    async def __aexit__(self, *why: object) -> None:
        await self._stop()

    def __aiter__(self) -> UsSession:
        return self

    async def __anext__(self) -> SessionEvent:
        return await self._inbox.take()

    @property
    def granted(self) -> tuple[str, ...]:
        return self._private.granted + (() if self._public is None else self._public.granted)

    @property
    def refused(self) -> tuple[str, ...]:
        return self._market.refused

    async def arm_dead_man(self) -> bool:
        """False: this venue has none. Entries are sent with an end of their own instead (`terms.entries_end_s`)."""
        return False

    async def place(self, request: OrderRequest) -> Outcome:
        return await self._venue.place(request)

    async def cancel(self, order: Order) -> Outcome:
        return (await self._venue.cancel([order]))[0]

    async def leave_orders(self) -> None:
        """Orders do not hang on the connection here: it is simply ended. Nothing works afterwards."""
        await self._stop()

    async def _stop(self) -> None:
        await self._tasks.stop()
        await self._user.aclose()
        self._inbox.close()
