"""This file measures what a key can do at Advanced Trade, by reads and previews: nothing is placed.

A preview judges an order as its creation would, and makes none. What it complains of says something about the type of
order only where it names the configuration, the product or the venue; without money, or while the session is shut, the
type stays unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from msgspec.structs import replace

from perpctl.errors import CredentialError, UnknownState, UsageError, VenueRefused
from perpctl.exchange.advanced_trade import orders
from perpctl.exchange.advanced_trade.errors import HttpFailure, typed, unreachable
from perpctl.exchange.advanced_trade.rest import Rest, Write
from perpctl.exchange.advanced_trade.wire import money
from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.both.document import Row, row_of
from perpctl.exchange.both.looking import Seen, channel, hear, look_at, yes
from perpctl.exchange.http import NoAnswer, NotSent
from perpctl.model.money import price_down
from perpctl.model.order import OrderRequest, OrderType, Side
from perpctl.model.venue.ability import Ability, Can, Section

if TYPE_CHECKING:
    from perpctl.exchange.advanced_trade.client import AdvancedTrade

PREVIEW = "/orders/preview"
PREVIEW_S = 5.0
CAPPED = "the client caps every close at the position"
_OF_THE_USER = frozenset({"user", "futures_balance_summary"})  # channels of the private socket
_ABOUT_THE_TYPE = ("CONFIG", "UNSUPPORTED", "NOT_ALLOWED", "NOT_SUPPORTED", "DISABLED", "UNTRADABLE", "GEOFENCING")
NOT_OFFERED = (
    ("order.stop_market", Section.ORDERS, "there is no stop at market here; stop-limits are sent instead"),
    ("limits.requests", Section.LIMITS, "the venue tells none; 10,000 an hour are documented, and kept to"),
    ("limits.orders", Section.LIMITS, "the venue tells none"),
    ("safety.cancel_on_disconnect", Section.SAFETY, "entries end by themselves after 120 s instead"),
    ("safety.account_wide_dead_man", Section.SAFETY, "there is none"),
    ("safety.isolated_slots", Section.SAFETY, "margin is of the whole account here"),
)


async def measure(venue: AdvancedTrade, rest: Rest, symbols: Sequence[str]) -> tuple[Ability, ...]:
    """Every ability, in the order of the screen. What could not be asked is unknown, with the reason.

    Raises VenueUnreachable when the venue is not there, before or after: then unknown would only mean that.
    """
    looks = _Looks(venue, rest, symbols)
    await venue.time_ms()
    parts = await asyncio.gather(looks.permissions(), looks.products(), looks.orders(), looks.live())
    await venue.time_ms()
    absent = (Ability(key, section, Can.NOT_OFFERED, why) for key, section, why in NOT_OFFERED)
    order = list(Section)
    return tuple(sorted([*chain.from_iterable(parts), *absent], key=lambda one: order.index(one.section)))


class _Looks:
    def __init__(self, venue: AdvancedTrade, rest: Rest, symbols: Sequence[str]) -> None:
        self._venue, self._rest, self._symbols = venue, rest, tuple(symbols)

    async def permissions(self) -> list[Ability]:
        section = Section.PERMISSIONS
        return [
            await look_at("permission.view", section, partial(self._may, "view")),
            await look_at("permission.trade", section, partial(self._may, "trade")),
            await look_at("permission.transfer", section, partial(self._may, "transfer"), wanted=False),
        ]

    async def _may(self, scope: str) -> Seen:
        allowed = await self._rest.read("/key_permissions", {}, money.scopes)
        words = f"key_permissions: {', '.join(allowed) or 'nothing'}"
        return Seen(Can.YES if scope in allowed else Can.NO, words)

    async def products(self) -> list[Ability]:
        return [
            await look_at(f"product.{symbol}", Section.PRODUCTS, partial(self._product, symbol))
            for symbol in self._symbols
        ]

    async def _product(self, symbol: str) -> Seen:
        every, one = await self._venue.instruments(), await self._venue.instrument(symbol)
        words = (
            f"{one.product_id}, one of {len(every)} perpetuals; tick {one.tick:f}, step {one.size_step:f} {one.base}"
        )
        return yes(f"{words}; its book is {one.state.value}")

    # --- orders

    async def orders(self) -> list[Ability]:
        section = Section.ORDERS
        limit = await look_at("order.limit", section, partial(self._previewed, OrderType.LIMIT))
        told = limit.can in (Can.YES, Can.NO)
        preview = Seen(Can.YES if told else limit.can, "orders/preview answers" if told else limit.evidence)
        return [
            limit,
            await look_at("order.market", section, partial(self._previewed, OrderType.MARKET)),
            await look_at("order.stop_limit", section, partial(self._previewed, OrderType.STOP_LIMIT)),
            Ability("order.preview", section, preview.can, preview.evidence),
            # What rests is sent with an end, so the preview of a limit order was one of GTD.
            replace(limit, key="order.gtd"),
            await look_at("order.reduce_only", section, self._reduce_only),
        ]

    async def _reduce_only(self) -> Seen:
        """Documented nowhere for these products, so asked: the member that was taken for perpetuals in INTX's days."""
        try:
            seen = await self._previewed(OrderType.MARKET, reduce_only=True)
        except VenueRefused as why:
            if "reduce_only" not in why.message:
                raise
            return Seen(Can.NOT_OFFERED, f"the venue knows no such member of an order; {CAPPED}")
        if "REDUCE_ONLY_INCREASED" in seen.evidence:
            seen = Seen(Can.YES, seen.evidence)
        return Seen(Can.NOT_OFFERED if seen.can is Can.NO else seen.can, f"{seen.evidence}; {CAPPED}")

    async def _previewed(self, kind: OrderType, *, reduce_only: bool = False) -> Seen:
        one = await self._venue.instrument(self._symbols[0])
        book = await self._venue.book(one.product_id, 1)
        if not book.bids:
            return Seen(Can.UNKNOWN, f"{one.product_id} has no price to ask with")
        bid, stops = book.bids[0][0], kind is OrderType.STOP_LIMIT
        request = OrderRequest(
            identity="probe",
            product_id=one.product_id,
            side=Side.SELL if stops else Side.BUY,
            size=one.min_size,
            type=kind,
            price=bid if kind is OrderType.LIMIT else None,
            trigger_price=price_down(bid * 97 / 100, one.tick) if stops else None,
            reduce_only=stops,
        )
        unit = await self._venue.unit(one.product_id)
        return _judged(await self._preview(request, unit, reduce_only), one.product_id)

    async def _preview(self, request: OrderRequest, unit: Contract, reduce_only: bool) -> Row:
        draft = orders.draft(request, orders.contracts_in(request, unit), unit, await self._venue.time_ms())
        body = {name: value for name, value in draft.body.items() if name != "client_order_id"}
        if reduce_only:
            configuration = row_of(body["order_configuration"], "the configuration")
            body["order_configuration"] = {
                name: {**row_of(members, name), "reduce_only": True} for name, members in configuration.items()
            }
        try:
            return await self._rest.act(Write(PREVIEW, body, PREVIEW_S, self._rest.duty))
        except (NotSent, NoAnswer) as why:
            raise unreachable(PREVIEW, why) from why
        except HttpFailure as why:
            raise typed(why, PREVIEW) from why

    # --- sockets

    async def live(self) -> list[Ability]:
        """The channels of both sockets, on connections of their own."""
        try:
            async with self._venue.session(self._symbols) as session:
                await hear(session)
                granted, refused = session.granted, session.refused
        except (UnknownState, VenueRefused, CredentialError, UsageError) as why:
            keys = ("channel.private", "channel.market")
            return [Ability(key, Section.CHANNELS, Can.UNKNOWN, why.message) for key in keys]
        ours = [name for name in granted if _first(name) in _OF_THE_USER]
        return [
            channel("channel.private", ours, [name for name in refused if _first(name) in _OF_THE_USER]),
            channel(
                "channel.market",
                [name for name in granted if name not in ours],
                [name for name in refused if _first(name) not in _OF_THE_USER],
            ),
        ]


def _first(name: str) -> str:
    return name.partition(":")[0].partition(".")[0].partition(" ")[0]


def _judged(answer: Row, product_id: str) -> Seen:
    """What a preview says of the type of order."""
    errors = answer.get("errs")
    names = [str(one) for one in errors] if isinstance(errors, list) else []
    if not names:
        total, currency = answer.get("order_margin_total"), "USD"
        return yes(f"preview of 1 contract of {product_id}: no objection; margin {total or '?'} {currency}")
    words = f"preview of 1 contract of {product_id}: {', '.join(names)}"
    about = any(part in name for name in names for part in _ABOUT_THE_TYPE)
    return Seen(Can.NO if about else Can.UNKNOWN, words)
