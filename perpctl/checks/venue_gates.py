"""This file holds the gates that the venue answers: identity, state, instrument, limits, account, channels."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.checks import sockets
from perpctl.checks.clocks import judged_clock
from perpctl.checks.gate import Finding, Gate, failed, passed, warned
from perpctl.exchange.keys import read_key
from perpctl.exchange.port import Unsupported
from perpctl.model.instrument import BookState, Instrument
from perpctl.questions import figures
from perpctl.questions.held import positions, stops
from perpctl.questions.limits import bounds_of, limits_of
from perpctl.questions.orders import owner

if TYPE_CHECKING:
    from perpctl.desk import Desk

CHANNELS_S = 8.0
DAY_MS = 86_400_000


def gates(desk: Desk) -> Sequence[Gate]:
    """In the order of the screen."""
    asked = _Asked(desk)
    return (
        Gate("IDENTITY", "account", asked.account),
        Gate("IDENTITY", "key", asked.key),
        Gate("IDENTITY", "clock", asked.clock),
        Gate("VENUE", "state", asked.state),
        Gate("VENUE", "instrument", asked.instrument),
        Gate("VENUE", "price band", asked.price_band),
        Gate("VENUE", "request limits", asked.request_limits),
        Gate("VENUE", "cancel on disconnect", asked.dead_man, CHANNELS_S),
        Gate("VENUE", "channels", asked.channels, CHANNELS_S),
        Gate("ACCOUNT", "orders", asked.orders),
        Gate("ACCOUNT", "positions", asked.positions),
        Gate("ACCOUNT", "isolated slots", asked.slots),
        Gate("ACCOUNT", "foreign activity", asked.foreign),
        Gate("RISK", "funding", asked.funding),
        Gate("RISK", "stops", asked.stops),
    )


class _Asked:
    """The questions, each one bound to the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._name = desk.settings.profile

    async def account(self) -> Finding:
        scope = await self._desk.scope()
        if scope.pinned == "pinned":
            return passed(f"the venue reports account {scope.account} = pinned")
        if scope.pinned == "not pinned":
            words = f"the venue reports account {scope.account}; this profile pins none"
            return failed(words, f"perpctl account pin -p {self._name}")
        await self._desk.exchange()  # says why in its own words
        return failed(f"account {scope.account} is {scope.pinned}", f"perpctl auth test -p {self._name}")

    async def key(self) -> Finding:
        access = await self._desk.access()
        file = access.key_file
        if file is None:
            return failed("no key file is named", "perpctl config init")
        key = read_key(file, access.key_name)
        return passed(f"{key.algorithm} {key.short_id}; {file} is 0600, ours, no link; it signs in")

    async def clock(self) -> Finding:
        return judged_clock(await (await self._desk.exchange()).status())

    async def state(self) -> Finding:
        exchange = await self._desk.exchange()
        status = await exchange.status()
        shut = [one.product_id for one in await self._instruments() if one.state is not BookState.OPEN]
        words = f"locked {status.locked}; " + (f"not open: {', '.join(shut)}" if shut else "every product open")
        if status.locked != "false" or status.maintenance or shut:
            return failed(words, f"perpctl market status -p {self._name}")
        return passed(words)

    async def instrument(self) -> Finding:
        rows = [
            f"{one.product_id} tick {one.tick:f}, step {one.size_step:f} {one.base}, fees "
            f"{_fee(one.maker_fee)}/{_fee(one.taker_fee)} %"
            for one in await self._instruments()
        ]
        return passed("; ".join(rows))

    async def price_band(self) -> Finding:
        exchange = await self._desk.exchange()
        account, words = await exchange.account(), []
        for one in await self._instruments():
            quote = await exchange.quote(one.product_id)
            bounds = bounds_of(self._desk, account, quote)
            if quote.band_low is None or quote.band_high is None or bounds is None:
                return failed(
                    f"{one.product_id}: no band or no limits to compare", f"perpctl config show -p {self._name}"
                )
            inside = quote.band_low <= bounds.price_low and bounds.price_high <= quote.band_high
            words.append(f"{one.symbol} {quote.band_low:f} to {quote.band_high:f}, our collar {_in(inside)}")
            if not inside:
                return failed("; ".join(words))
        return passed("; ".join(words))

    async def request_limits(self) -> Finding:
        account, limits = await (await self._desk.exchange()).account(), limits_of(self._desk)
        if account.engine_rate is None:
            return warned("the venue tells no request limits; the slowest tier is assumed")
        words = f"engine {account.engine_rate}/s, burst {account.engine_burst} (read from the account)"
        if limits is not None and limits.messages_per_s > account.engine_rate:
            return failed(f"{words}; our {limits.messages_per_s:f}/s is more", "lower messages_per_s")
        return passed(words if limits is None else f"{words}; bot set to {limits.messages_per_s:f}/s")

    async def dead_man(self) -> Finding:
        armed = await sockets.arm_dead_man(self._desk)
        if armed:
            return passed("armed for a connection and read back; it was let go again")
        return failed("it reads back as not armed: entries would outlive the bot", f"perpctl ws test -p {self._name}")

    async def channels(self) -> Finding:
        heard = await sockets.listen(self._desk, ())
        words = (
            f"{len(heard.granted) + len(heard.refused)} asked, {len(heard.granted)} granted, {len(heard.first)} heard"
        )
        if heard.refused:
            return failed(f"{words}; refused: {', '.join(heard.refused)}", f"perpctl ws test -p {self._name}")
        if heard.silent:
            return failed(f"{words}; silent: {', '.join(heard.silent)}", f"perpctl ws test -p {self._name}")
        return passed(words)

    async def orders(self) -> Finding:
        orders = await (await self._desk.exchange()).open_orders()
        foreign = [one.order_id for one in orders if owner(self._desk, one.identity) == "NOT OURS"]
        if foreign:
            words = f"{len(foreign)} of {len(orders)} working orders are not ours: {', '.join(foreign[:3])}"
            return warned(words, f"perpctl orders list -p {self._name}")
        return passed(f"{len(orders)} working, isolated slots included; none foreign")

    async def positions(self) -> Finding:
        held = await (await self._desk.exchange()).positions()
        doubtful = [one.product_id for one in held if not one.units_agree]
        if doubtful:
            return failed(f"size fields contradict each other: {', '.join(doubtful)}", "perpctl positions")
        names = ", ".join(f"{one.product_id} {one.size:+f}" for one in held)
        return passed(names or "flat")

    async def slots(self) -> Finding:
        used = (await (await self._desk.exchange()).account()).slots_in_use
        words = f"{used} in use"
        return passed(words) if used == 0 else warned(f"{words}; the bot trades cross margin only", "perpctl positions")

    async def foreign(self) -> Finding:
        exchange = await self._desk.exchange()
        fills = await exchange.fills(await exchange.time_ms() - DAY_MS)
        foreign = [one for one in fills if owner(self._desk, one.identity) == "NOT OURS"]
        known = self._desk.projections()
        foreign = [one for one in foreign if not known.orders_of(one.order_id)]
        if not foreign:
            return passed(f"none in 24 h, {len(fills)} fills looked at")
        last = foreign[-1]
        words = f"{len(foreign)} fills not ours in 24 h, last {last.side} {last.size:f} {last.product_id}"
        return warned(words, f"perpctl fills list -p {self._name}")

    async def funding(self) -> Finding:
        exchange, limits, words = await self._desk.exchange(), limits_of(self._desk), []
        high = False
        for one in await self._instruments():
            rate = await exchange.funding_rate(one.product_id)
            if isinstance(rate, Unsupported):
                words.append(f"{one.symbol} n/a: {rate.reason}")
                continue
            words.append(f"{one.symbol} {figures.percent(rate.rate_8h, 4)} per 8 h")
            high = high or (limits is not None and abs(rate.rate_8h) * Decimal(100) > limits.max_funding_against_pct)
        return warned("; ".join(words), "perpctl funding rates") if high else passed("; ".join(words))

    async def stops(self) -> Finding:
        found = await positions.read(self._desk)
        bare = [one.instrument.symbol for one in found.holdings if stops.trouble(one) is not None]
        if bare:
            return failed(f"without a full stop: {', '.join(bare)}", f"perpctl stops place -p {self._name}")
        if not found.holdings:
            return passed("no position; stops go over HTTP, reduce-only, on mark, and outlive the socket")
        return passed(f"{len(found.holdings)} positions, each covered at the venue")

    async def _instruments(self) -> list[Instrument]:
        exchange = await self._desk.exchange()
        return [await exchange.instrument(symbol) for symbol in self._desk.settings.symbols]


def _in(inside: bool) -> str:
    return "lies inside" if inside else "REACHES BEYOND"


def _fee(fraction: Decimal | None) -> str:
    return "?" if fraction is None else f"{fraction * 100:f}"
