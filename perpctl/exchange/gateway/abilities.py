"""This file measures what a key can do at the gateway, by reads and by acts that are documented to change nothing.

Nothing is placed: sizes are asked with the margin query, the trade permission with a dry run of the margin model that
is in force already, cancel-on-disconnect on a socket that has no orders. The gateway has no order preview, so a type of
order that none of the account's own orders has shown to work stays unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.errors import CredentialError, UnknownState, UsageError, VenueRefused
from perpctl.exchange.both.looking import Seen, channel, hear, look_at, yes
from perpctl.exchange.budget import Pool
from perpctl.exchange.gateway import account as accounts
from perpctl.exchange.gateway import wire
from perpctl.exchange.gateway.feed.channels import USER_CHANNELS
from perpctl.exchange.gateway.line import Line
from perpctl.exchange.gateway.rpc import Param
from perpctl.model.instrument import BookState, Instrument
from perpctl.model.order import Order, OrderStatus, OrderType
from perpctl.model.venue.ability import Ability, Can, Section

if TYPE_CHECKING:
    from perpctl.exchange.gateway.client import Gateway
    from perpctl.exchange.gateway.session import GatewaySession

HISTORY_MS = 30 * 86_400_000
_SCOPE = "rat#"  # how the scopes of CDP keys begin; others are not ours to read
_LATER = "seen once an order of ours is one"


async def measure(gateway: Gateway, line: Line, symbols: Sequence[str]) -> tuple[Ability, ...]:
    """Every ability, in the order of the screen. What could not be asked is unknown, with the reason.

    Raises VenueUnreachable when the venue is not there, before or after: then unknown would only mean that.
    """
    looks = _Looks(gateway, line, symbols)
    await gateway.time_ms()
    parts = await asyncio.gather(looks.permissions(), looks.products(), looks.orders(), looks.live(), looks.limits())
    await gateway.time_ms()
    order = list(Section)
    return tuple(sorted(chain.from_iterable(parts), key=lambda one: order.index(one.section)))


class _Looks:
    def __init__(self, gateway: Gateway, line: Line, symbols: Sequence[str]) -> None:
        self._gateway, self._line, self._symbols = gateway, line, tuple(symbols)

    # --- permissions

    async def permissions(self) -> list[Ability]:
        section = Section.PERMISSIONS
        return [
            await look_at("permission.view", section, self._view),
            await look_at("permission.trade", section, self._trade),
            await look_at("permission.transfer", section, self._transfer, wanted=False),
        ]

    async def _view(self) -> Seen:
        identity = await self._gateway.identity()
        return yes(f"private/get_account_summary answers for account {identity.account_id}")

    async def _trade(self) -> Seen:
        scope, model = (await self._gateway.grant()).scope, (await self._gateway.account()).margin_model
        if _SCOPE in scope and f"{_SCOPE}trade" not in scope:
            return Seen(Can.NO, f"scope {scope}")
        if model is None:
            return Seen(Can.UNKNOWN, f"scope {scope or 'not told'}; the account tells no margin model for a dry run")
        params: dict[str, Param] = {"margin_model": model, "dry_run": True}
        await self._line.read("private/change_margin_model", params, lambda result: result)
        return yes(f"a dry run of margin model {model}, which is in force, was let through; scope {scope}")

    async def _transfer(self) -> Seen:
        scope = (await self._gateway.grant()).scope
        if _SCOPE not in scope:
            return Seen(Can.UNKNOWN, f"scope {scope or 'not told'} does not say")
        return Seen(Can.YES if f"{_SCOPE}transfer" in scope else Can.NO, f"scope {scope}")

    # --- products and orders

    async def products(self) -> list[Ability]:
        return [
            await look_at(f"product.{symbol}", Section.PRODUCTS, partial(self._product, symbol))
            for symbol in self._symbols
        ]

    async def _product(self, symbol: str) -> Seen:
        every = await self._gateway.instruments()
        one = await self._gateway.instrument(symbol)
        words = (
            f"{one.product_id}, one of {len(every)} perpetuals; tick {one.tick:f}, step {one.size_step:f} {one.base}"
        )
        return yes(f"{words}; its book is {one.state.value}" + ("" if one.state is BookState.OPEN else " NOW"))

    async def orders(self) -> list[Ability]:
        section = Section.ORDERS
        return [
            await look_at("order.limit", section, self._limit),
            await look_at("order.market", section, lambda: self._size("max_tradable_amount", "at market")),
            await look_at("order.stop_market", section, self._stop),
            await look_at(
                "order.reduce_only", section, lambda: self._size("max_tradable_amount_reduce_only", "reduce-only")
            ),
            Ability("order.preview", section, Can.NOT_OFFERED, "the gateway has none; get_margins is asked instead"),
            Ability("order.gtd", section, Can.NOT_OFFERED, "no end by time; good-til-day ends at the settlement"),
        ]

    async def _limit(self) -> Seen:
        one = await self._first()
        quote = await self._gateway.quote(one.product_id)
        price = quote.reference
        if price is None:
            return Seen(Can.UNKNOWN, f"{one.product_id} has no price to ask with")
        price = price // one.tick * one.tick
        params: dict[str, Param] = {"instrument_name": one.product_id, "amount": one.min_size, "price": price}
        row = await self._line.read("private/get_margins", params, lambda result: wire.row_of(result, "the margins"))
        buy, low, high = (wire.number(row, name) for name in ("buy", "min_price", "max_price"))
        words = (
            f"get_margins: {one.min_size:f} {one.base} of {one.product_id} would tie up {_money(buy)} {one.currency}"
        )
        return yes(f"{words}; prices {_text(low)} to {_text(high)}")

    async def _size(self, member: str, how: str) -> Seen:
        one = await self._first()
        params: dict[str, Param] = {"instrument_name": one.product_id}
        row = await self._line.read("private/get_max_order_size", params, lambda result: wire.row_of(result, "sizes"))
        sizes = row.get(member)
        if not isinstance(sizes, dict):
            return Seen(Can.UNKNOWN, f"get_max_order_size tells no {member}")
        buy, sell = (wire.number(sizes, name) for name in ("buy_notional", "sell_notional"))
        return yes(f"get_max_order_size {how}: buy {_money(buy)}, sell {_money(sell)} {one.currency}")

    async def _stop(self) -> Seen:
        since_ms = await self._gateway.time_ms() - HISTORY_MS
        orders = [*await self._gateway.open_orders(), *await self._gateway.order_history(since_ms)]
        taken = [one for one in orders if one.type is OrderType.STOP_MARKET and one.status is not OrderStatus.REJECTED]
        if not taken:
            return Seen(Can.UNKNOWN, f"no preview of triggers here, and none of 30 days' orders was one; {_LATER}")
        return yes(f"the venue took {_named(max(taken, key=lambda one: one.created_ms))}")

    async def _first(self) -> Instrument:
        return await self._gateway.instrument(self._symbols[0])

    # --- sockets

    async def live(self) -> list[Ability]:
        """The channels of both sockets, and the dead man of the private one, on a connection of its own."""
        try:
            async with self._gateway.session(self._symbols) as session:
                armed = await look_at("safety.cancel_on_disconnect", Section.SAFETY, lambda: _armed(session))
                wide = session.account_wide_dead_man if armed.can is Can.YES else None
                await hear(session)
                user, market = _channels(session)
        except (UnknownState, VenueRefused, CredentialError, UsageError) as why:
            keys = ("channel.private", "channel.market", "safety.cancel_on_disconnect")
            sections = (Section.CHANNELS, Section.CHANNELS, Section.SAFETY)
            return [Ability(key, part, Can.UNKNOWN, why.message) for key, part in zip(keys, sections, strict=True)]
        return [user, market, armed, _account_wide(wide)]

    # --- limits and slots

    async def limits(self) -> list[Ability]:
        return [
            await look_at("limits.requests", Section.LIMITS, self._requests),
            await look_at("limits.orders", Section.LIMITS, self._open_orders),
            await look_at("safety.isolated_slots", Section.SAFETY, self._slots, wanted=None),
        ]

    async def _requests(self) -> Seen:
        params: dict[str, Param] = {"currency": "USDC", "extended": True}
        limits = await self._line.read(
            "private/get_account_summary", params, lambda result: accounts.limits(wire.row_of(result, "the summary"))
        )
        if Pool.MATCHING not in limits:
            return Seen(Can.UNKNOWN, "the account tells no limits; the slowest tier is assumed")
        words = (f"{pool.name.lower()} {one.rate:g}/s, burst {one.burst:g}" for pool, one in sorted(limits.items()))
        return yes(f"read from the account: {'; '.join(words)}")

    async def _open_orders(self) -> Seen:
        params: dict[str, Param] = {"currency": "USDC"}
        row = await self._line.read("private/get_trading_limits", params, lambda result: wire.row_of(result, "limits"))
        names = ("max_total_open_orders", "max_open_orders_in_instrument", "max_future_open_orders")
        told = [f"{name} {row[name]}" for name in names if row.get(name) is not None]
        return yes("; ".join(told)) if told else Seen(Can.UNKNOWN, "get_trading_limits tells no number of orders")

    async def _slots(self) -> Seen:
        used = (await self._gateway.account()).slots_in_use
        return yes(f"get_subaccounts and positions answer with isolated slots; {used} in use")


async def _armed(session: GatewaySession) -> Seen:
    if await session.arm_dead_man():
        return yes("armed for a connection of its own and read back; it was let go again")
    return Seen(Can.NO, "it reads back as not armed: entries would outlive the bot")


def _account_wide(wide: bool | None) -> Ability:
    key, section = "safety.account_wide_dead_man", Section.SAFETY
    if wide is None:
        return Ability(key, section, Can.UNKNOWN, "the scope of the account could not be read", wanted=False)
    words = "every new socket starts armed: stops sent over one die with it" if wide else "account scope reads off"
    return Ability(key, section, Can.YES if wide else Can.NO, words, wanted=False)


def _channels(session: GatewaySession) -> tuple[Ability, Ability]:
    granted = session.granted
    market = [name for name in granted if name not in USER_CHANNELS]
    left_out = [name for name in USER_CHANNELS if name not in granted]
    return (
        channel("channel.private", [name for name in granted if name in USER_CHANNELS], left_out),
        channel("channel.market", market, list(session.refused)),
    )


def _named(order: Order) -> str:
    reduce = ", reduce-only" if order.reduce_only else ""
    return f"{order.order_id} ({order.product_id}{reduce}) of {from_ms(order.created_ms):%d %b %H:%M} UTC"


def _money(number: Decimal | None) -> str:
    return "?" if number is None else f"{number:,.2f}"


def _text(number: Decimal | None) -> str:
    return "?" if number is None else f"{number:f}"
