"""This file holds what the gate looks at when it decides on one order."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpctl.model.exposure import Holding, Key, Reach, UnknownOrder
from perpctl.model.instrument import Instrument, Quote
from perpctl.model.mode import Mode
from perpctl.model.order import Order, OrderRequest
from perpctl.model.position import Account
from perpctl.risk.activity import Recent
from perpctl.risk.ages import DEFAULT_AGES, Ages
from perpctl.risk.bounds import Bounds
from perpctl.risk.limits import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class GateInput:
    """The world at one decision. None means not known, and what is not known allows no entry.

    Ages in milliseconds since the value was last confirmed current; percentages as shown (1.5 is 1.5 %).
    """

    now_ms: int  # market time
    mode: Mode
    latch: Mode  # as read right now; the stricter of the two holds
    kill_in_progress: bool = False
    lease_left_ms: int | None  # None: not held
    allowed: frozenset[str]  # product ids
    isolated: frozenset[str] = frozenset()  # of these, where isolated margin may be used
    instrument: Instrument | None
    spec_unchanged: bool
    quote: Quote | None
    quote_age_ms: int | None
    depth_notional: Decimal | None = None  # to be taken, inside the collar; None: not looked at
    account: Account | None
    account_age_ms: int | None
    holdings: tuple[Holding, ...]  # every product and slot of the account, whoever made it
    working: tuple[Order, ...]  # every order that can still fill, triggers included, whoever made it
    unknown: tuple[UnknownOrder, ...]
    recent: Recent
    entered: int  # intents entered, the one decided on included
    left: int  # orders that left
    day_pnl_pct: Decimal | None  # signed, of the baseline, conservatively marked
    drawdown_pct: Decimal | None  # positive, from the 7-day peak; None: no peak yet
    move_1m_pct: Decimal | None  # absolute; None: no minute of prices yet
    liquidation_distance_pct: Decimal | None = None  # None: estimated with the order filled
    unprotected_ms: int | None = None  # how long the product's position has had no stop; None: protected or flat
    venue_age_ms: int | None  # of the venue's own state; None: never read
    dead_man: bool  # entries die with us: cancel-on-disconnect read back, or an end time on the order
    planned_stop: bool = False  # before, during and after a stop of the venue, until all was read anew
    venue_enforces_reduce_only: bool = True
    ramp: Decimal = Decimal(1)
    order_success_pct: Decimal | None = None  # of 15 min; None: fewer than 20 orders
    latency_p95_ms: int | None = None  # of 5 min; None: fewer than 20 calls
    ages: Ages = DEFAULT_AGES


@dataclass(slots=True)
class Case:
    """One order beside the world, with what several controls need worked out once."""

    request: OrderRequest
    view: GateInput
    limits: Limits
    quote: Quote | None  # of this very product, like `instrument`
    instrument: Instrument | None
    reference: Decimal | None  # mark, else mid
    bounds: Bounds | None  # None: no reference or no equity
    holding: Holding | None
    underlying: str
    before: dict[Key, Reach]
    after: dict[Key, Reach]  # with this order working
    claims: bool  # says that it is an exit
    shrinks: bool  # proven to shrink the position whatever else is out
    reduces: bool  # claims it, and it is true
