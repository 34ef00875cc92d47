"""This file holds the gates of what the account holds before a start: orders, positions, slots, others' doings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from perpctl.checks.gate import Finding, Gate, failed, passed, warned
from perpctl.clock import from_ms
from perpctl.questions import figures
from perpctl.questions.held.positions import named
from perpctl.questions.orders import owner

if TYPE_CHECKING:
    from perpctl.desk import Desk

SECTION = "ACCOUNT"
DAY_MS = 86_400_000


def gates(desk: Desk) -> Sequence[Gate]:
    """In the order of the screen."""
    asked = _Asked(desk)
    return (
        Gate(SECTION, "orders", asked.orders),
        Gate(SECTION, "positions", asked.positions),
        Gate(SECTION, "isolated slots", asked.slots),
        Gate(SECTION, "liquidation", asked.liquidation),
        Gate(SECTION, "foreign activity", asked.foreign),
    )


class _Asked:
    """The questions, each one bound to the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._name = desk.settings.profile

    async def orders(self) -> Finding:
        exchange = await self._desk.exchange()
        orders = await exchange.open_orders()
        foreign = [one.order_id for one in orders if owner(self._desk, one.identity) == "NOT OURS"]
        if foreign:
            shown = ", ".join(foreign[:3]) + (" ..." if len(foreign) > 3 else "")
            words = f"{len(foreign)} of {figures.count(len(orders), 'working order')} not ours: {shown}"
            return warned(words, f"perpctl -p {self._name} orders list")
        words = figures.count(len(orders), "order") + " working, all ours" if orders else "none working"
        return passed(f"{words}; {exchange.terms.listed}")

    async def positions(self) -> Finding:
        exchange = await self._desk.exchange()
        held, account = await exchange.holdings()
        doubtful = [named(one) for one in held if not one.units_agree]
        if doubtful:
            words = f"size fields contradict each other: {', '.join(doubtful)}"
            return failed(words, f"perpctl -p {self._name} positions")
        if not held and account.initial_margin != 0:
            used = f"{figures.money(account.initial_margin)} {account.currency} of margin in use"
            if await exchange.open_orders():
                return passed(f"flat; {used}, by orders")
            return failed(f"no position is listed, yet there is {used}", f"perpctl -p {self._name} reconcile")
        names = ", ".join(f"{named(one)} {one.size:+f}" for one in held)
        return passed(names or "flat; margin in use 0.00; 2 endpoints agree")

    async def slots(self) -> Finding:
        exchange = await self._desk.exchange()
        if not exchange.terms.slots:
            return passed("n/a: this venue has none, margin is of the whole account")
        used = (await exchange.account()).slots_in_use
        words = f"{used} in use"
        if used == 0:
            return passed(words)
        return warned(f"{words}; the bot trades cross margin only", f"perpctl -p {self._name} positions")

    async def liquidation(self) -> Finding:
        exchange = await self._desk.exchange()
        fills = await exchange.fills(await exchange.time_ms() - DAY_MS)
        forced = [one for one in fills if one.liquidation]
        if not forced:
            return passed("none in 24 h")
        last = forced[-1]
        words = f"{len(forced)} in 24 h, last {last.side} {last.size:f} {last.product_id} {figures.clock(last.at_ms)}"
        return failed(words, f"perpctl -p {self._name} fills list")

    async def foreign(self) -> Finding:
        exchange = await self._desk.exchange()
        fills = await exchange.fills(await exchange.time_ms() - DAY_MS)
        foreign = [one for one in fills if owner(self._desk, one.identity) == "NOT OURS"]
        known = self._desk.projections()
        foreign = [one for one in foreign if not known.orders_of(one.order_id)]
        if not foreign:
            return passed(f"none in 24 h, {figures.count(len(fills), 'fill')} looked at")
        last = foreign[-1]
        words = (
            f"{figures.count(len(foreign), 'fill')} not ours in 24 h, last {last.side} {last.size:f} "
            f"{last.product_id}, {from_ms(last.at_ms):%d %b %H:%M}"
        )
        return warned(words, f"perpctl -p {self._name} fills list")
