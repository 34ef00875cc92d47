"""This file holds the gates of the venue: its state, what it trades within which bounds, its sockets, its prices."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.checks import sockets
from perpctl.checks.gate import Finding, Gate, failed, passed, warned
from perpctl.clock import to_ms
from perpctl.exchange.port import Unsupported
from perpctl.model.instrument import BookState, Instrument
from perpctl.questions import figures
from perpctl.questions.held import positions, stops
from perpctl.questions.limits import bounds_of, limits_of

if TYPE_CHECKING:
    from perpctl.desk import Desk

CHANNELS_S = 6.0  # to connect, sign in, subscribe and hear something of each takes longer than a read


def gates(desk: Desk) -> Sequence[Gate]:
    """In the order of the screen."""
    asked = _Asked(desk)
    return (
        Gate("VENUE", "state", asked.state),
        Gate("VENUE", "instrument", asked.instrument),
        Gate("VENUE", "price band", asked.price_band),
        Gate("VENUE", "request limits", asked.request_limits),
        Gate("VENUE", "cancel on disconnect", asked.dead_man, CHANNELS_S),
        Gate("VENUE", "channels", asked.channels, CHANNELS_S),
    )


def risk_gates(desk: Desk) -> Sequence[Gate]:
    """What the venue's prices and orders mean for the risk."""
    asked = _Asked(desk)
    return (Gate("RISK", "funding", asked.funding), Gate("RISK", "stops", asked.stops))


class _Asked:
    """The questions, each one bound to the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._name = desk.settings.profile

    async def state(self) -> Finding:
        exchange = await self._desk.exchange()
        status = await exchange.status()
        states = [(one.product_id, one.state) for one in await self._instruments()]
        products = ", ".join(f"{name} {state.value}" for name, state in states)
        told = "; ".join(status.announcements[:2]) or "nothing announced"
        words = f"locked {status.locked}; {products}; {told}"
        now_ms = to_ms(self._desk.clock.now()) + status.offset_ms
        near = exchange.calendar.standing(now_ms, status.planned)
        if near is not None:
            words += f"; {near.stop.name} {'keeps entries off' if near.pauses else 'is near'}"
        if status.locked != "false" or status.maintenance or any(state is not BookState.OPEN for _, state in states):
            return failed(words, f"perpctl -p {self._name} market status")
        if status.announcements or near is not None:
            return warned(words, f"perpctl -p {self._name} {'market status' if near is None else 'calendar'}")
        return passed(words)

    async def instrument(self) -> Finding:
        rows = [
            f"{one.product_id} tick {one.tick.normalize():f}, step {one.size_step:f} {one.base}, fees "
            f"{_fee(one.maker_fee)}/{_fee(one.taker_fee)} %"
            for one in await self._instruments()
        ]
        return passed("; ".join(rows))

    async def price_band(self) -> Finding:
        exchange, limits = await self._desk.exchange(), limits_of(self._desk)
        account, words = await exchange.account(), []
        for one in await self._instruments():
            quote = await exchange.quote(one.product_id)
            bounds = bounds_of(self._desk, account, quote)
            if bounds is None or limits is None:
                return failed(f"{one.symbol}: no limits, so no collar", f"perpctl -p {self._name} config show --origin")
            if quote.band_low is None or quote.band_high is None:
                words.append(f"{one.symbol} n/a at this venue; our collar of {limits.price_collar_pct:f} % alone")
                continue
            low, high = (figures.price(each, one.price_decimals) for each in (quote.band_low, quote.band_high))
            inside = quote.band_low <= bounds.price_low and bounds.price_high <= quote.band_high
            collar = f"our collar of {limits.price_collar_pct.normalize():f} % {_in(inside)}"
            words.append(f"{one.symbol} {low} to {high}; {collar}")
            if not inside:
                return failed("; ".join(words), f"perpctl -p {self._name} config show --origin")
        return passed("; ".join(words))

    async def request_limits(self) -> Finding:
        exchange = await self._desk.exchange()
        if exchange.terms.limits_untold is not None:
            return passed(f"n/a: {exchange.terms.limits_untold}")
        account, limits = await exchange.account(), limits_of(self._desk)
        if account.engine_rate is None:
            return warned("the venue tells no request limits; the slowest tier is assumed")
        words = f"engine {account.engine_rate}/s, burst {account.engine_burst} (read from the account)"
        if limits is None:
            return passed(words)
        words += f"; bot set to {limits.messages_per_s:f}/s, burst {limits.messages_burst:f}"
        if limits.messages_per_s > account.engine_rate:
            return failed(f"{words}: more than the venue takes", "lower messages_per_s in the profile's limits")
        return passed(words)

    async def dead_man(self) -> Finding:
        terms = (await self._desk.exchange()).terms
        if terms.dead_man is not None:
            return passed(f"n/a: {terms.dead_man}")
        armed = await sockets.arm_dead_man(self._desk)
        if armed:
            return passed("armed for a connection and read back; it was let go again")
        return failed("it reads back as not armed: entries would outlive the bot", f"perpctl -p {self._name} ws test")

    async def channels(self) -> Finding:
        heard = await sockets.listen(self._desk, (), CHANNELS_S / 2)
        asked, fix = len(heard.granted) + len(heard.refused), f"perpctl -p {self._name} ws test"
        words = f"{asked} asked, {len(heard.granted)} granted; heard {', '.join(sorted(heard.first)) or 'nothing'}"
        if heard.refused:
            return failed(f"{words}; refused: {', '.join(heard.refused)}", fix)
        return failed(f"{words}; silent: {', '.join(heard.silent)}", fix) if heard.silent else passed(words)

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
        if limits is not None:
            words.append(f"entries stop at {limits.max_funding_against_pct:.4f} %")
        told = "; ".join(words)
        return warned(told, f"perpctl -p {self._name} funding rates") if high else passed(told)

    async def stops(self) -> Finding:
        found = await positions.read(self._desk)
        bad = [
            f"{positions.named(one.position)}: {trouble}"
            for one in found.holdings
            if (trouble := stops.trouble(one)) is not None
        ]
        if bad:
            return failed("; ".join(bad), f"perpctl -p {self._name} stops place")
        if not found.holdings:
            return passed("no position; stops are placed over HTTP and outlive the socket")
        words = figures.count(len(found.holdings), "position")
        return passed(f"{words}, each covered at the venue, near enough to entry")

    async def _instruments(self) -> list[Instrument]:
        exchange = await self._desk.exchange()
        return list(await asyncio.gather(*map(exchange.instrument, self._desk.settings.symbols)))


def _fee(fraction: Decimal | None) -> str:
    return figures.MISSING if fraction is None else f"{(fraction * 100).normalize():f}"


def _in(inside: bool) -> str:
    return "lies inside" if inside else "REACHES BEYOND"
