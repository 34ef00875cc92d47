"""This file is the global venue as an Exchange: every read and write of the port, in the gateway's terms."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import Clock, to_ms
from perpctl.errors import PerpctlError, VenueRefused, VenueUnreachable
from perpctl.exchange.access import Access
from perpctl.exchange.both import symbols
from perpctl.exchange.both.market_time import MarketTime
from perpctl.exchange.budget import Budget, Duty
from perpctl.exchange.gateway import account as accounts
from perpctl.exchange.gateway import history, orders, wire
from perpctl.exchange.gateway.errors import ORDER_NOT_FOUND, RpcFailure
from perpctl.exchange.gateway.line import Line
from perpctl.exchange.gateway.rpc import Param
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.exchange.port import (
    Arrival,
    Candle,
    Grant,
    Identity,
    MaySend,
    Outcome,
    Refused,
    Unsupported,
    VenueStatus,
    VenueTerms,
)
from perpctl.exchange.repeats import PAGE, QUICK
from perpctl.exchange.transport import Network, Transport
from perpctl.model.books.funding import FundingPayment, FundingRate
from perpctl.model.day import Transfer
from perpctl.model.fill import Fill
from perpctl.model.instrument import Book, Instrument, Quote
from perpctl.model.order import Order, OrderRequest, OrderType
from perpctl.model.passage import ClockReading, Connection
from perpctl.model.position import Account, Position
from perpctl.model.venue import calendars
from perpctl.model.venue.ability import Ability
from perpctl.model.venue.protection import Protection

if TYPE_CHECKING:
    from perpctl.exchange.gateway.session import GatewaySession

CURRENCY = "USDC"  # linear perpetuals settle in it
SPECIFICATION_S = 3600.0  # contract sizes have changed tenfold between months: never trusted for longer
IN_FLIGHT = 4  # engine requests at once; the venue queues 8 for an account (Deribit docs, rate limits)
AHEAD_MS = 60_000  # lists end a little in the future, so that nothing falls behind a clock that runs fast
_DEPTHS = (1, 5, 10, 20, 50, 100, 1000, 10_000)

TERMS = VenueTerms(
    reduces_only=True,
    dead_man=None,
    entries_end_s=None,
    stop=Protection(OrderType.STOP_MARKET, "mark_price"),
    arrival=Arrival(apart_s=2.0),
    mark_absent=None,
    valued_by="mark",
    slots=True,
    continuous_funding=True,
    mass_cancel=True,
    listed="every currency and isolated slot, triggers included",
    limit_at_once=True,
    reads_lag_s=0.0,
    limits_untold=None,
)


def open_gateway(
    access: Access,
    clock: Clock,
    *,
    may_send: MaySend | None = None,
    budget: Budget | None = None,
    transport: Transport | None = None,
) -> Gateway:
    """The global venue through `access`; nothing is sent and no key is read until the first call.

    `may_send` is asked right before the bytes of every order that is not reduce-only leave. `transport` replaces the
    network: a simulation hands in memory pairs.
    """
    line = Line(access, clock, budget or Budget(clock), transport or Network(access.ca_file))
    return Gateway(line, may_send)


class Gateway:
    """The Coinbase derivatives gateway, implementing `port.Exchange`."""

    venue = "global"
    terms = TERMS
    calendar = calendars.GLOBAL

    def __init__(self, line: Line, may_send: MaySend | None) -> None:
        self._line = line
        self._clock = line.clock
        self._may_send = may_send
        self._market = MarketTime(self._ask_time, line.clock, always_ask=not line.transport.is_remote)
        self._moves = history.Moves(line, CURRENCY)
        self._instruments: tuple[Instrument, ...] = ()
        self._instruments_at = 0.0
        self._in_flight = asyncio.Semaphore(IN_FLIGHT)

    def tell_clock(self, told: Callable[[ClockReading], object]) -> None:
        self._line.on_clock = told

    def tell_connections(self, told: Callable[[Connection], object]) -> None:
        self._line.on_connection = told

    def work_for(self, duty: Duty) -> None:
        """Say whose credits the reads draw on from now on; operators' by default."""
        self._line.duty = duty

    # --- what is so, in public ---------------------------------------------------------------------------------------

    async def time_ms(self) -> int:
        return await self._market.measure()

    async def _ask_time(self) -> int:
        return await self._line.read("public/get_time", {}, lambda result: wire.whole({"time": result}, "time"), QUICK)

    async def grant(self) -> Grant:
        return await self._line.renew()

    async def status(self) -> VenueStatus:
        from perpctl.exchange.gateway import announced

        locked = await self._line.read("public/status", {}, accounts.locked_word)
        told = await self._line.read("public/get_announcements", {"count": 5}, _announcements)
        before = self._clock.monotonic()
        at_ms = await self._market.measure()
        round_trip_ms = int((self._clock.monotonic() - before) * 1000)
        offset_ms = at_ms + round_trip_ms // 2 - to_ms(self._clock.now())
        titles, planned = accounts.announcements(told), announced.planned(told, self.calendar, at_ms)
        return VenueStatus(locked, None, titles, offset_ms, round_trip_ms, self._line.wall_offset_ms, planned)

    async def instruments(self, *, fresh: bool = False) -> tuple[Instrument, ...]:
        age_s = self._clock.monotonic() - self._instruments_at
        if fresh or not self._instruments or age_s > SPECIFICATION_S:
            asked_at = self._clock.monotonic()
            self._instruments = await self._line.read(
                "public/get_instruments", {"currency": CURRENCY, "kind": "future"}, _perpetuals, PAGE
            )
            self._instruments_at = asked_at
        return self._instruments

    async def instrument(self, symbol: str) -> Instrument:
        return symbols.find(symbol, await self.instruments())

    async def quote(self, product_id: str) -> Quote:
        return await self._line.read(
            "public/ticker",
            {"instrument_name": product_id},
            lambda result: _about(product_id, wire.quote(wire.row_of(result, "the ticker"), self._clock.monotonic())),
        )

    async def book(self, product_id: str, depth: int = 20) -> Book:
        offered = next((size for size in _DEPTHS if size >= depth), _DEPTHS[-1])
        return await self._line.read(
            "public/get_order_book",
            {"instrument_name": product_id, "depth": offered},
            lambda result: wire.book(wire.row_of(result, "the book"), self._clock.monotonic(), depth),
        )

    async def candles(self, product_id: str, start_ms: int, end_ms: int, minutes: int) -> tuple[Candle, ...]:
        params: dict[str, Param] = {
            "instrument_name": product_id,
            "start_timestamp": start_ms,
            "end_timestamp": end_ms,
            "resolution": "1D" if minutes == 1440 else str(minutes),
        }
        return await self._line.read(
            "public/get_tradingview_chart_data", params, lambda result: wire.candles(wire.row_of(result, "the chart"))
        )

    async def funding_rate(self, product_id: str) -> FundingRate | Unsupported:
        quote = await self.quote(product_id)
        if quote.funding_8h is None:
            return Unsupported(f"the venue sends no funding rate for {product_id}")
        next_at = self.calendar.next_day_ms(quote.at_ms)  # funding reaches cash with the settlement
        return FundingRate(product_id, quote.funding_8h, quote.current_funding, next_at, quote.at_ms)

    # --- what is ours ------------------------------------------------------------------------------------------------

    async def identity(self) -> Identity:
        params: dict[str, Param] = {"currency": CURRENCY, "extended": True}
        return await self._line.read("private/get_account_summary", params, accounts.identity)

    async def account(self) -> Account:
        """Slots included; the request limits that it tells are taken over into the budget."""
        return (await self.holdings())[1]

    async def holdings(self) -> tuple[tuple[Position, ...], Account]:
        """The account's document does not tell its slots: they are those of the positions, read before it."""
        positions = await self.positions()
        moment = await self._moment()

        def parse(result: object) -> Account:
            self._line.budget.learn(accounts.limits(accounts.summary_of(result, CURRENCY)))
            return accounts.account(result, CURRENCY, positions, moment)

        params: dict[str, Param] = {"extended": True, "include_isolated": True}
        return positions, await self._line.read("private/get_account_summaries", params, parse)

    async def positions(self) -> tuple[Position, ...]:
        moment = await self._moment()

        def parse(result: object) -> tuple[Position, ...]:
            rows = wire.rows_of(result, "positions")
            seen = self._clock.monotonic()
            return tuple(wire.position(row, seen, moment.at_ms) for row in rows if not wire.is_flat(row))

        params: dict[str, Param] = {"currency": "any", "kind": "future", "include_isolated": True}
        return await self._line.read("private/get_positions", params, parse)

    async def open_orders(self) -> tuple[Order, ...]:
        params: dict[str, Param] = {"type": "all", "include_isolated": True}
        return await self._line.read("private/get_open_orders", params, _orders, PAGE)

    async def order(self, identity: str, order_id: str | None = None) -> tuple[Order, ...]:
        if order_id is not None:
            found = await self._by_id(order_id, isolated=False) or await self._by_id(order_id, isolated=True)
            return () if found is None else (found,)
        params: dict[str, Param] = {"currency": CURRENCY, "label": identity, "include_isolated": True}
        try:
            found_all = await self._line.read("private/get_order_state_by_label", params, _orders)
        except VenueRefused as why:
            if why.code in ORDER_NOT_FOUND:
                return ()
            raise
        return tuple({order.order_id: order for order in found_all if order.identity == identity}.values())

    async def _by_id(self, order_id: str, *, isolated: bool) -> Order | None:
        params: dict[str, Param] = {"order_id": order_id, **({"isolated": True} if isolated else {})}
        try:
            return await self._line.read(
                "private/get_order_state", params, lambda result: _same(order_id, wire.row_of(result, "the order"))
            )
        except VenueRefused as why:
            if why.code in ORDER_NOT_FOUND:
                return None
            raise

    async def order_history(self, since_ms: int) -> tuple[Order, ...]:
        found: dict[str, Order] = {}
        for slot in await self._owners():
            for order in await history.orders(self._line, CURRENCY, since_ms, _owner(slot)):
                found[order.order_id] = order
        return tuple(sorted(found.values(), key=lambda order: (order.created_ms, order.order_id)))

    async def fills(self, since_ms: int) -> tuple[Fill, ...]:
        until_ms = await self._market.measure() + AHEAD_MS
        found: dict[str, Fill] = {}
        for slot in await self._owners():
            for fill in await history.fills(self._line, CURRENCY, since_ms, until_ms, _owner(slot)):
                found.setdefault(fill.trade_id, fill)
        return tuple(sorted(found.values(), key=lambda fill: (fill.at_ms, fill.trade_seq or 0, fill.trade_id)))

    async def funding_payments(self, since_ms: int) -> tuple[FundingPayment, ...] | Unsupported:
        until_ms = await self._market.measure() + AHEAD_MS
        found: list[FundingPayment] = []
        for slot in await self._owners():
            window = (since_ms, until_ms)
            found += await history.settlements(self._line, CURRENCY, window, slot, _owner(slot))
        unique = {payment.row_id: payment for payment in found}
        return tuple(sorted(unique.values(), key=lambda payment: (payment.at_ms, payment.row_id)))

    async def transfers(self, since_ms: int) -> tuple[Transfer, ...] | Unsupported:
        """From the ledger of the account itself: a slot gets its cash from there, and gives it back to there."""
        until_ms = await self._market.measure() + AHEAD_MS
        found = await self._moves.between(since_ms, until_ms)
        slots = await self._owners() if any(one.other_id is not None for one in found) else ()
        outside = (one.transfer for one in found if one.other_id is None or one.other_id not in slots)
        return tuple(sorted(outside, key=lambda moved: (moved.at_ms, moved.row_id)))

    async def _owners(self) -> tuple[int | None, ...]:
        """The account itself (None), and its isolated slots: the subaccounts that show only when asked for."""
        shown = await self._line.read("private/get_subaccounts", {}, accounts.subaccount_ids)
        everything = await self._line.read(
            "private/get_subaccounts", {"include_isolated": True}, accounts.subaccount_ids
        )
        return (None, *sorted(everything - shown))

    async def _moment(self) -> accounts.Moment:
        return accounts.Moment(await self._market.about_ms(), self._clock.monotonic())

    # --- what acts ---------------------------------------------------------------------------------------------------

    async def place(self, request: OrderRequest) -> Outcome:
        try:
            valid_until_ms = await self.valid_until_ms(request)
        except VenueUnreachable as why:
            return Refused(None, f"not sent: {why}", sent=False)
        async with self._in_flight:
            return await orders.place(self._line.act, request, valid_until_ms, self._may_send)

    async def valid_until_ms(self, request: OrderRequest) -> int:
        """The market time after which the venue no longer takes the order: the request's own, else 3 s from now."""
        if request.valid_until_ms is not None:
            return request.valid_until_ms
        return await self._market.valid_until_ms()

    async def cancel(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        return tuple(await asyncio.gather(*(self._cancel(order) for order in orders)))

    async def _cancel(self, order: Order) -> Outcome:
        async with self._in_flight:
            return await orders.cancel(self._line.act, order, lambda: self.ended(order), self._clock)

    async def ended(self, order: Order) -> Order | None:
        """How an order ended, when the venue says that it is not open; None when that cannot be read."""
        try:
            return await self._by_id(order.order_id, isolated=order.slot is not None)
        except PerpctlError:
            return None

    async def cancel_entries(self, product_id: str | None = None) -> Outcome | Unsupported | int:
        params: dict[str, Param] = {"type": "limit", "include_isolated": True}
        if product_id is None:
            method, params = "private/cancel_all_by_currency", {"currency": CURRENCY, "kind": "future", **params}
        else:
            method, params = "private/cancel_all_by_instrument", {"instrument_name": product_id, **params}
        try:
            result = await self._line.act(method, params, orders.CANCEL_S, Duty.EXIT)
            return wire.whole({"count": result}, "count")
        except (NotSent, NoAnswer, RpcFailure) as why:
            return orders.failed(why)

    async def close(self, position: Position, limit_price: Decimal | None) -> Outcome:
        async with self._in_flight:
            return await orders.close(self._line.act, position.product_id, position.slot is not None, limit_price)

    async def capabilities(self, symbols: Sequence[str]) -> tuple[Ability, ...]:
        from perpctl.exchange.gateway.abilities import measure

        return await measure(self, self._line, symbols)

    # --- the live connection -----------------------------------------------------------------------------------------

    def session(self, symbols: Sequence[str]) -> AbstractAsyncContextManager[GatewaySession]:
        from perpctl.exchange.gateway.session import GatewaySession

        return GatewaySession(self, self._line, symbols, self._may_send)

    async def aclose(self) -> None:
        await self._line.transport.aclose()


def _owner(slot: int | None) -> dict[str, Param]:
    return {} if slot is None else {"subaccount_id": slot}


def _announcements(result: object) -> Sequence[wire.Row]:
    return wire.rows_of(result, "announcements")


def _perpetuals(result: object) -> tuple[Instrument, ...]:
    rows = wire.rows_of(result, "instruments")
    return tuple(wire.instrument(row) for row in rows if wire.is_linear_perpetual(row))


def _orders(result: object) -> tuple[Order, ...]:
    return tuple(wire.order(row) for row in wire.rows_of(result, "orders"))


def _about(product_id: str, quote: Quote) -> Quote:
    if quote.product_id != product_id:
        raise wire.Malformed(f"the answer speaks of {quote.product_id}")
    return quote


def _same(order_id: str, row: wire.Row) -> Order:
    order = wire.order(row)
    if order.order_id != order_id:
        raise wire.Malformed(f"the answer speaks of order {order.order_id}")
    return order
