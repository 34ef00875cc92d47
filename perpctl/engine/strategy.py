"""This file says what a strategy is: what it sees at a market event, what it may wish for, and how one is chosen.

A strategy of your own is a class with a `name`, a `params` dataclass, `warm_up` and `on_market`, called without
arguments: `perpctl run --strategy package.module:Class`. It decides on market events only, never touches the venue,
keeps no clock, and is not asked while trading is halted. The limits hold whatever it wishes for.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Protocol

from perpctl.errors import UsageError
from perpctl.model.instrument import Instrument, Quote
from perpctl.model.order import Side

BUILT_IN = {
    "quoter": "perpctl.engine.strategies.quoter:Quoter",
    "trend": "perpctl.engine.strategies.trend:Trend",
}


@dataclass(frozen=True, slots=True)
class View:
    """One product at one market event: a two-sided quote, our position, and the room that the limits leave."""

    instrument: Instrument
    quote: Quote
    bid: Decimal
    ask: Decimal
    market_ms: int
    position: Decimal  # signed base coin
    entry_price: Decimal | None
    target_max: Decimal  # largest position to aim at, base coin: 60 % of the limit
    max_order: Decimal  # largest order, base coin
    closed: frozenset[Side]  # sides on which no position may grow: funding against it is too high
    may_increase: bool  # False in reduce_only: only immediate orders towards zero are carried out
    orders_left: int  # of the day's allowance
    orders_a_day: int
    day_left: Decimal  # fraction of the risk day still to come

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


@dataclass(frozen=True, slots=True)
class Desired:
    """An entry that the strategy wants to have: resting post-only at `price`, or taken at once up to `price`.

    A resting order of the same side within `tolerance` (quote currency) of `price` is left where it is.
    """

    side: Side
    size: Decimal  # base coin, positive
    price: Decimal
    why: str
    take: bool = False
    tolerance: Decimal = Decimal(0)


class Strategy(Protocol):
    """Decides what to have resting or to take in one product; one object a product."""

    name: str

    @property
    def params(self) -> Any:
        """A frozen dataclass; its values are hashed into every intent."""

    def warm_up(self, closes: Sequence[tuple[int, Decimal]]) -> None:
        """Minute closes (market ms of the minute's start, price) from before the start, oldest first; may be empty."""

    def on_market(self, view: View) -> Sequence[Desired] | None:
        """Every entry wanted from now on: what is not among them is cancelled. None leaves all as it is."""


def waiting(strategy: Strategy) -> str:
    """Why it wants nothing just now, for the screen: its `waits`, where it has one."""
    return str(getattr(strategy, "waits", ""))


def params_hash(strategy: Strategy) -> str:
    """SHA-256 over the parameters in canonical JSON."""
    return hashlib.sha256(json.dumps(asdict(strategy.params), sort_keys=True, default=str).encode()).hexdigest()


def algorithm_id(strategy: Strategy) -> str:
    """One name a strategy and parameter set, never reused."""
    return f"{strategy.name}-{params_hash(strategy)[:12]}"


def choose(name: str) -> type[Strategy]:
    """The strategy class of that name, or of `module:Class`. Raises UsageError."""
    address = BUILT_IN.get(name, name)
    module, _, attribute = address.partition(":")
    if not attribute:
        raise UsageError(
            f"there is no strategy {name!r}; built in are {', '.join(sorted(BUILT_IN))}, your own is module:Class",
            not_done="nothing was started",
            next_commands=("perpctl run --strategy quoter",),
        )
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as why:
        raise UsageError(f"the strategy {name!r} cannot be loaded: {why}", not_done="nothing was started") from why
    if not (isinstance(found, type) and hasattr(found, "on_market") and hasattr(found, "warm_up")):
        raise UsageError(f"{name!r} is not a strategy: it lacks on_market or warm_up", not_done="nothing was started")
    return found
