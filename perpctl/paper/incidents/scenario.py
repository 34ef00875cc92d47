"""This file plays incidents of the past at the exchange, by name: what failed, and when it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from difflib import get_close_matches

from perpctl.errors import UsageError
from perpctl.paper.faults import Rule
from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.types import BookState
from perpctl.paper.venue import Venue

DAY_MS = 86_400_000
READS = ("private/get_positions", "private/get_open_orders")
ORDERS = ("private/buy", "private/sell")


def _nothing(venue: Venue) -> None:
    """Most incidents are a matter of rules alone."""


def _never(venue: Venue) -> bool:
    """Nothing is waited for."""
    return True


@dataclass(frozen=True, slots=True)
class Scenario:
    """One incident. `rules` hold from the beginning, `begin` is done once, `strike` is tried until it says True."""

    what: str
    rules: tuple[Rule, ...] = ()
    begin: Callable[[Venue], None] = _nothing
    strike: Callable[[Venue], bool] = _never


@dataclass(slots=True)
class Playing:
    """A scenario under way."""

    scenario: Scenario
    struck: bool = field(default=False)

    def begin(self, venue: Venue) -> None:
        """Put the rules in force and do what comes first."""
        for rule in self.scenario.rules:
            venue.faults.add(replace(rule))
        self.scenario.begin(venue)

    def beat(self, venue: Venue) -> None:
        """See whether its moment has come."""
        if not self.struck:
            self.struck = self.scenario.strike(venue)


def scenario_of(name: str) -> Scenario:
    """The scenario of that name. Raises UsageError."""
    if name not in SCENARIOS:
        near = get_close_matches(name, SCENARIOS, 3) or sorted(SCENARIOS)
        raise UsageError(
            f"no such scenario: {name}; there is {', '.join(near)}",
            not_done="nothing was started",
            next_commands=tuple(f"perpctl paper serve --scenario {one}" for one in near[:3]),
        )
    return SCENARIOS[name]


# -- what rules alone cannot do


def _to_just_before_settlement(venue: Venue) -> None:
    minute = venue.exchange.rules.settlement_minute * 60_000
    until_ms = (minute - venue.exchange.now % DAY_MS) % DAY_MS
    venue.skip((until_ms - 2_000) / 1000, quiet=True)


def _books(state: BookState) -> Callable[[Venue], None]:
    def turn(venue: Venue) -> None:
        for product in venue.exchange.products.values():
            if product.tradable:
                venue.exchange.set_book_state(product.name, state, venue.exchange.now)
        venue.gateway.publish()

    return turn


def _cut_off_whoever_has_a_stop(venue: Venue) -> bool:
    """As soon as a socket has placed a trigger order, it dies."""
    waiting = [o for o in venue.exchange.open_orders(MAIN_ACCOUNT, include_isolated=True) if o.trigger is not None]
    origins = {order.origin for order in waiting if order.origin is not None}
    doomed = [session for session in venue.gateway.sessions if session.origin in origins]
    for session in doomed:
        session.cut()
    return bool(doomed)


def _take_the_money_of_whoever_holds(venue: Venue) -> bool:
    """As soon as there is a position, its margin is gone, and the venue closes it."""
    exchange = venue.exchange
    if not any(held.size for held in exchange.positions(MAIN_ACCOUNT)):
        return False
    exchange.deposit(MAIN_ACCOUNT, 1 - exchange.account(MAIN_ACCOUNT).equity, exchange.now)
    venue.gateway.publish()
    return True


def _deleverage_whoever_holds(venue: Venue) -> bool:
    """As soon as there is a position, half of it goes to somebody who was closed by force."""
    exchange = venue.exchange
    for held in exchange.positions(MAIN_ACCOUNT):
        step = exchange.product(held.product).contract_size
        half = abs(held.size) / 2 // step * step
        if half:
            exchange.deleverage(MAIN_ACCOUNT, held.product, half, exchange.now)
            venue.gateway.publish()
            return True
    return False


SCENARIOS: dict[str, Scenario] = {
    "timeout-after-accept": Scenario(
        "an order is taken and its answer never comes", tuple(Rule("drop_after", name) for name in ORDERS)
    ),
    "false-flat-on-error": Scenario(
        "positions and orders cannot be read", tuple(Rule("error", name, count=None) for name in READS)
    ),
    "batch-cancel-502": Scenario(
        "a mass cancel and the first cancel are carried out, their answers are lost",
        (Rule("drop_after", "private/cancel_all*"), Rule("drop_after", "private/cancel")),
    ),
    "cancel-then-403": Scenario(
        "cancels pass, and every order to close is forbidden",
        tuple(
            Rule("error", name, count=None, code=13021, message="forbidden")
            for name in (*ORDERS, "private/close_position")
        ),
    ),
    "feed-silent": Scenario(
        "sockets live and heartbeats come, but no market data",
        tuple(Rule("gap", f"{name}.*", count=None) for name in ("ticker", "book", "trades", "quote")),
    ),
    "cancel-at-0800": Scenario(
        "the daily settlement, which refuses cancels, is two seconds away", (), _to_just_before_settlement
    ),
    "halt-traps-exit": Scenario("every book is halted", (), _books("halted")),
    "locked-books": Scenario("every book takes cancels only", (), _books("locked")),
    "cod-takes-the-stop": Scenario(
        "a socket dies as soon as it has placed a stop", (), strike=_cut_off_whoever_has_a_stop
    ),
    "broker-liquidation": Scenario(
        "the venue liquidates the first position that is opened", (), strike=_take_the_money_of_whoever_holds
    ),
    "forced-transfer": Scenario(
        "half of the first position goes by auto-deleveraging", (), strike=_deleverage_whoever_holds
    ),
}
