"""This file is the US venue as an Exchange: every read and write of the port, in the terms of Advanced Trade v3."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal

from perpctl.clock import Clock, to_ms
from perpctl.errors import CredentialError, VenueRefused, VenueUnreachable
from perpctl.exchange.access import Access
from perpctl.exchange.advanced_trade.budget import Budget
from perpctl.exchange.advanced_trade.closing import LAGS_S
from perpctl.exchange.advanced_trade.listing import Listing
from perpctl.exchange.advanced_trade.lists import Lists
from perpctl.exchange.advanced_trade.orders import STOP_LIMIT_BEYOND
from perpctl.exchange.advanced_trade.rest import Query, Rest
from perpctl.exchange.advanced_trade.standing import marked
from perpctl.exchange.advanced_trade.wire import money, products
from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.advanced_trade.writes import Writes
from perpctl.exchange.auth import JWT_LIFE_S
from perpctl.exchange.both.document import Malformed, Row, row_of, rows_of, text, whole
from perpctl.exchange.both.market_time import MarketTime
from perpctl.exchange.budget import Duty
from perpctl.exchange.port import (
    Arrival,
    Candle,
    Grant,
    Identity,
    MaySend,
    Outcome,
    Session,
    Unsupported,
    VenueStatus,
    VenueTerms,
)
from perpctl.exchange.repeats import HISTORY, QUICK
from perpctl.exchange.transport import Network, Web
from perpctl.model.books.funding import FundingPayment, FundingRate
from perpctl.model.day import Transfer
from perpctl.model.fill import Fill
from perpctl.model.instrument import Book, BookState, Instrument, Quote
from perpctl.model.order import Order, OrderRequest, OrderType
from perpctl.model.passage import ClockReading, Connection
from perpctl.model.position import Account, Position
from perpctl.model.venue import calendars
from perpctl.model.venue.ability import Ability
from perpctl.model.venue.calendar import Happening
from perpctl.model.venue.protection import Protection

MOST_CANDLES = 300  # of one answer; 350 are documented, CDE products give so many (seen)
MINUTE_MS = 60_000
SWEEPS_S = 60.0  # one is made or cancelled by hand, and runs once a day
WINDOW_S = 30.0  # it changes twice a day; margin is counted in the dearest one anyway
_GRANULARITIES = {
    1: "ONE_MINUTE",
    5: "FIVE_MINUTE",
    15: "FIFTEEN_MINUTE",
    30: "THIRTY_MINUTE",
    60: "ONE_HOUR",
    120: "TWO_HOUR",
    360: "SIX_HOUR",
    1440: "ONE_DAY",
}
NO_TRANSFERS = "this venue lists no past transfers, and cash moves between spot and futures by itself"
NO_PAYMENTS = (
    "this venue keeps no record of funding payments that can be read; `perpctl funding record` samples the rate and "
    "the position each hour, and the history is estimated from those"
)
TERMS = VenueTerms(
    reduces_only=False,
    dead_man="this venue has no dead-man switch: entries end after 120 s, protective stops stay",
    entries_end_s=120,
    stop=Protection(OrderType.STOP_LIMIT, "last_price", STOP_LIMIT_BEYOND, fills_within_s=5.0),
    arrival=Arrival(apart_s=5.0, after_send_s=60.0, watched_s=86_400.0),
    mark_absent=products.NO_MARK,
    valued_by=products.VALUED_BY,
    slots=False,
    continuous_funding=False,
    mass_cancel=False,
    listed="both placement sources, every page, triggers included",
    limit_at_once=False,
    reads_lag_s=LAGS_S,
    limits_untold="this venue tells no limits of an account; 10,000 requests an hour are documented, and kept to",
)


def open_advanced_trade(
    access: Access,
    clock: Clock,
    *,
    may_send: MaySend | None = None,
    budget: Budget | None = None,
    web: Web | None = None,
) -> AdvancedTrade:
    """The US venue through `access`; nothing is sent and no key is read until the first call.

    `may_send` is asked right before the bytes of every order that is not reduce-only leave.
    """
    return AdvancedTrade(Rest(access, clock, budget or Budget(clock), web or Network(access.ca_file)), may_send)


class AdvancedTrade:
    """Advanced Trade v3, implementing `port.Exchange` for US perpetual-style futures."""

    venue = "us"
    terms = TERMS
    calendar = calendars.US

    def __init__(self, rest: Rest, may_send: MaySend | None) -> None:
        self._rest = rest
        self._clock = rest.clock
        self._market = MarketTime(self._ask_time, rest.clock, always_ask=not rest.web.is_remote)
        self._listing = Listing(rest)
        self._lists = Lists(rest, self._listing)
        self._writes = Writes(rest, self._listing, self._lists, self, may_send)
        self._identity: Identity | None = None
        self._asking = asyncio.Lock()
        self._window: str | None = None
        self._window_at = float("-inf")
        self._swept: tuple[tuple[Happening, ...], tuple[str, ...]] = (), ()
        self._swept_at = float("-inf")

    def tell_clock(self, told: Callable[[ClockReading], object]) -> None:
        self._rest.on_clock = told

    def tell_connections(self, told: Callable[[Connection], object]) -> None:
        self._rest.on_connection = told

    def work_for(self, duty: Duty) -> None:
        """Say whose share of the requests the reads draw on from now on; operators' by default."""
        self._rest.duty = duty

    # --- what is so, in public ---------------------------------------------------------------------------------------

    async def time_ms(self) -> int:
        return await self._market.measure()

    async def _ask_time(self) -> int:
        return await self._rest.read("/time", {}, lambda row: whole(row, "epochMillis"), QUICK, signed=False)

    async def grant(self) -> Grant | Unsupported:
        """The key's permissions, asked anew with a new token: there is no sign-in that could be renewed."""
        allowed = await self._rest.read("/key_permissions", {}, money.scopes, QUICK)
        key = self._rest.signer.key
        return Grant(JWT_LIFE_S, " ".join(allowed), f"{key.algorithm} {key.short_id}", JWT_LIFE_S, per_request=True)

    async def status(self) -> VenueStatus:
        rows = [row for row in await self._listing.rows() if products.is_perpetual(row)]
        states = [products.book_state(row) for row in rows]
        shut = [state for state in states if state is not BookState.OPEN]
        locked = "false" if not shut else "partial" if len(shut) < len(states) else "true"
        before = self._clock.monotonic()
        at_ms = await self._market.measure()
        round_trip_ms = int((self._clock.monotonic() - before) * 1000)
        offset_ms = at_ms + round_trip_ms // 2 - to_ms(self._clock.now())
        stops = {one.start_ms: one for one in map(products.planned_stop, rows) if one is not None}
        running = any(one.runs_at(at_ms) for one in stops.values())
        sweeps, notices = await self._sweeps(at_ms)
        ahead = tuple(sorted((*stops.values(), *sweeps), key=lambda one: one.start_ms))
        return VenueStatus(locked, running, notices, offset_ms, round_trip_ms, self._rest.wall_offset_ms, ahead)

    async def _sweeps(self, at_ms: int) -> tuple[tuple[Happening, ...], tuple[str, ...]]:
        """Cash that is to move to spot, and what could not be told about it; one that names no time moves at the roll.

        It is read apart from the venue's state, which a failure here must not hide.
        """
        if not self._rest.has_key:
            return (), ()
        async with self._asking:
            if self._clock.monotonic() - self._swept_at > SWEEPS_S:
                await self._read_sweeps(self.calendar.next_day_ms(at_ms))
            return self._swept

    async def _read_sweeps(self, roll_ms: int) -> None:
        try:
            found = await self._rest.read("/cfm/sweeps", {}, lambda row: money.sweeps(row, roll_ms), QUICK)
            self._swept = found, ()
        except (CredentialError, VenueRefused, VenueUnreachable) as why:
            self._swept = (), (f"pending sweeps are not known: {why.message}",)
        self._swept_at = self._clock.monotonic()

    async def instruments(self, *, fresh: bool = False) -> tuple[Instrument, ...]:
        return await self._listing.instruments(fresh=fresh)

    async def instrument(self, symbol: str) -> Instrument:
        return await self._listing.instrument(symbol)

    async def quote(self, product_id: str) -> Quote:
        row, touch = await asyncio.gather(self._listing.row(product_id), self.book(product_id, 1))
        return products.quote(row, touch, touch.seen)

    async def book(self, product_id: str, depth: int = 20) -> Book:
        unit = await self._listing.unit(product_id)
        path, signed = self._listing.twin("/product_book")

        def parse(answer: Row) -> Book:
            found = row_of(answer.get("pricebook"), "the book")
            if text(found, "product_id") != product_id:
                raise Malformed(f"the answer speaks of {found['product_id']}")
            return products.book(found, unit, self._clock.monotonic(), depth)

        return await self._rest.read(path, {"product_id": product_id, "limit": depth}, parse, signed=signed)

    async def candles(self, product_id: str, start_ms: int, end_ms: int, minutes: int) -> tuple[Candle, ...]:
        unit, granularity = await self._listing.unit(product_id), _GRANULARITIES.get(minutes)
        if granularity is None:
            raise VenueRefused(f"candles of {minutes} minutes are not offered", not_done="nothing was read")
        path, signed = self._listing.twin(f"/products/{product_id}/candles")
        found: dict[int, Candle] = {}
        span_ms = MOST_CANDLES * minutes * MINUTE_MS
        for first_ms in range(start_ms, end_ms, span_ms):
            last_ms = min(first_ms + span_ms, end_ms)
            query: Query = {"start": first_ms // 1000, "end": last_ms // 1000, "granularity": granularity}

            def parse(answer: Row) -> tuple[Candle, ...]:
                return products.candles(rows_of(answer.get("candles"), "candles"), unit)

            found |= {one.at_ms: one for one in await self._rest.read(path, query, parse, HISTORY, signed=signed)}
        return tuple(found[at_ms] for at_ms in sorted(found) if start_ms <= at_ms < end_ms)

    async def funding_rate(self, product_id: str) -> FundingRate | Unsupported:
        row, now_ms = await self._listing.row(product_id), await self._market.about_ms()
        found = products.funding_rate(row, now_ms)
        return found or Unsupported(f"the venue sends no funding rate for {product_id}")

    # --- what is ours ------------------------------------------------------------------------------------------------

    async def identity(self) -> Identity:
        self._identity = await self._rest.read("/key_permissions", {}, money.identity, QUICK)
        return self._identity

    async def account(self) -> Account:
        """Margin counts in the dearest window, whichever is open."""
        who = self._identity or await self.identity()
        window, moment = await asyncio.gather(self._margin_window(), self._moment())

        def parse(answer: Row) -> Account:
            return money.account(row_of(answer.get("balance_summary"), "balance_summary"), who, window, moment)

        return await self._rest.read("/cfm/balance_summary", {}, parse)

    async def _margin_window(self) -> str | None:
        """The window in force; None when the venue does not tell this account (seen: 403). It has its own times."""
        async with self._asking:  # questions asked side by side need one answer
            if self._clock.monotonic() - self._window_at >= WINDOW_S:
                await self._read_window()
            return self._window

    async def _read_window(self) -> None:
        query = {"margin_profile_type": "MARGIN_PROFILE_TYPE_RETAIL_REGULAR"}
        try:
            self._window = await self._rest.read(
                "/cfm/intraday/current_margin_window", query, money.margin_window, QUICK
            )
        except (CredentialError, VenueRefused, VenueUnreachable):
            self._window = None
        self._window_at = self._clock.monotonic()

    async def positions(self) -> tuple[Position, ...]:
        moment = await self._moment()
        rows = await self._rest.read("/cfm/positions", {}, lambda answer: rows_of(answer.get("positions"), "positions"))
        units = await self._listing.units([text(row, "product_id") for row in rows])
        return money.positions(rows, units, moment)

    async def holdings(self) -> tuple[tuple[Position, ...], Account]:
        return await asyncio.gather(self.positions(), self.account())

    async def open_orders(self) -> tuple[Order, ...]:
        """Both placement sources, every status that can still fill; what protects a position is marked so."""
        orders, positions = await asyncio.gather(self._lists.open_orders(), self.positions())
        return marked(orders, positions)

    async def order(self, identity: str, order_id: str | None = None) -> tuple[Order, ...]:
        if order_id is not None:
            found = await self._lists.by_id(order_id)
            return () if found is None else (found,)
        return await self._lists.by_identity(identity, await self._market.about_ms())

    async def order_history(self, since_ms: int) -> tuple[Order, ...]:
        return await self._lists.history(since_ms)

    async def fills(self, since_ms: int) -> tuple[Fill, ...]:
        return await self._lists.fills(since_ms)

    async def funding_payments(self, since_ms: int) -> tuple[FundingPayment, ...] | Unsupported:
        return Unsupported(NO_PAYMENTS)

    async def transfers(self, since_ms: int) -> tuple[Transfer, ...] | Unsupported:
        return Unsupported(NO_TRANSFERS)

    async def _moment(self) -> money.Moment:
        return money.Moment(await self._market.about_ms(), self._clock.monotonic())

    # --- what acts ---------------------------------------------------------------------------------------------------

    async def now_ms(self) -> int:
        """Market time, measured when what is known of it is old."""
        return await self._market.now_ms()

    async def place(self, request: OrderRequest) -> Outcome:
        return await self._writes.place(request)

    async def cancel(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        return await self._writes.cancel(orders)

    async def cancel_entries(self, product_id: str | None = None) -> Outcome | Unsupported | int:
        """There is no mass cancel here: list, then cancel by id in batches. The count is of those read back gone."""
        return await self._writes.cancel_entries(product_id)

    async def close(self, position: Position, limit_price: Decimal | None) -> Outcome:
        return await self._writes.close(position, limit_price)

    async def capabilities(self, symbols: Sequence[str]) -> tuple[Ability, ...]:
        from perpctl.exchange.advanced_trade.abilities import measure

        return await measure(self, self._rest, symbols)

    async def unit(self, product_id: str) -> Contract:
        """What one contract of a product is."""
        return await self._listing.unit(product_id)

    # --- the live connection -----------------------------------------------------------------------------------------

    def session(self, symbols: Sequence[str]) -> AbstractAsyncContextManager[Session]:
        from perpctl.exchange.advanced_trade.session import Parts, UsSession

        parts = Parts(self._rest, self._listing, self._lists)
        session: AbstractAsyncContextManager[UsSession] = UsSession(self, parts, symbols)
        return session

    async def aclose(self) -> None:
        await self._rest.web.aclose()
