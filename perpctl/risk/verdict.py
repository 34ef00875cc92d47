"""This file holds the gate's words: reason codes, controls and the decision that is journaled."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple


class Verdict(StrEnum):
    """EXEMPT: an entry would be refused, but this order is a true exit. NOT_MEASURED: no sample yet."""

    PASS = "pass"  # noqa: S105
    REFUSE = "refuse"
    EXEMPT = "exempt"
    NOT_MEASURED = "not_measured"


class Reason(StrEnum):
    """Why an order was refused; `meaning` is the line that is shown."""

    meaning: str

    def __new__(cls, code: str, meaning: str) -> Reason:
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    KILL_IN_PROGRESS = "kill_in_progress", "a kill is in progress and nothing but the kill may send"
    HALTED = "halted", "trading is halted: only exits pass"
    REDUCE_ONLY_MODE = "reduce_only_mode", "in reduce_only an order may only shrink the position"
    NO_LEASE = "no_lease", "the lease is not held or ran out"
    SYMBOL_NOT_ALLOWED = "symbol_not_allowed", "the product is not on this profile's list"
    ISOLATED_OFF = "isolated_off", "isolated margin is off for this product: the profile does not name it"
    NO_INSTRUMENT = "no_instrument", "the product's specification was not read"
    BOOK_NOT_OPEN = "book_not_open", "the venue's book is not open for entries"
    VENUE_STALE = "venue_stale", "the venue's own state is unknown or too old"
    NO_PRICE = "no_price", "there is no reference price for this product"
    PRICE_STALE = "price_stale", "the product's own quote is too old"
    OUTSIDE_COLLAR = "outside_collar", "the price is outside the collar around the reference"
    LIMIT_UNSET = "limit_unset", "a limit is not set, and unset allows nothing"
    NOT_POSITIVE = "not_positive", "size and price must be positive"
    BELOW_MINIMUM = "below_minimum", "the size is below the product's minimum"
    OFF_STEP = "off_step", "the size is not a whole number of the product's steps"
    OFF_TICK = "off_tick", "the price is not on the product's tick"
    ORDER_TOO_LARGE = "order_too_large", "the order is larger than one order may be"
    SPEC_CHANGED = "spec_changed", "tick, size step or minimum changed since the start"
    POSITION_UNPROVEN = "position_unproven", "the position was not proven lately"
    ACCOUNT_STALE = "account_stale", "equity and margin are unknown or too old"
    UNKNOWN_OUTCOME = "unknown_outcome", "an order of this product has an unknown outcome for too long"
    TOO_MANY_RESTING = "too_many_resting", "too many entries rest in this product"
    POSITION_TOO_LARGE = "position_too_large", "the position could grow beyond its limit at worst"
    NET_TOO_LARGE = "net_too_large", "the net of the underlying could grow beyond its limit at worst"
    GROSS_TOO_LARGE = "gross_too_large", "gross notional could grow beyond its limit at worst"
    MARGIN_TOO_HIGH = "margin_too_high", "margin in use is beyond its share of equity"
    LIQUIDATION_NEAR = "liquidation_near", "liquidation is nearer than allowed"
    NOT_REDUCING = "not_reducing", "the order claims to reduce, and does not"
    DUPLICATE = "duplicate", "the same order was sent a moment ago"
    IDENTITY_REUSED = "identity_reused", "an order with this identity was sent before"
    SELF_MATCH = "self_match", "the order would trade with a resting order of this account"
    MESSAGE_RATE = "message_rate", "too many messages; the rest is kept for cancels"
    REPEATED_EXECUTION = "repeated_execution", "too many executions on the same side in 5 minutes"
    LOSING_STREAK = "losing_streak", "too many losing round trips in 60 minutes"
    INTENT_NOT_ENTERED = "intent_not_entered", "more orders would leave than intents were entered"
    TOO_MANY_ORDERS = "too_many_orders", "the day's number of orders is used up"
    DAY_LOSS = "day_loss", "the day's loss reached the reduce line"
    DAY_LOSS_UNKNOWN = "day_loss_unknown", "the day's profit and loss is unknown"
    DRAWDOWN = "drawdown", "the drawdown from the 7-day peak reached the halt line"
    SPREAD = "spread", "the spread is wider than may be taken"
    FUNDING = "funding", "funding is too high on the paying side"
    VOLATILITY = "volatility", "the price moved too far in one minute"
    MARK_INDEX = "mark_index", "mark and index are too far apart"
    PLANNED_STOP = "planned_stop", "a stop of the venue is near, or not yet proven over"
    REJECTIONS = "rejections", "the venue refuses too many orders"
    LATENCY = "latency", "the venue answers too slowly"
    NO_STOP = "no_stop", "the position has been without a protective stop for too long"
    NO_DEAD_MAN = "no_dead_man", "the entry would outlive a dead bot"


HALTING = frozenset({Reason.REPEATED_EXECUTION, Reason.LOSING_STREAK, Reason.INTENT_NOT_ENTERED, Reason.DRAWDOWN})
"""Refusals after which only a named human may go on."""

Value = Decimal | int | str | None
Finding = tuple[Value, Value, Reason | None]
"""What a control saw: the value, its limit, and why it is bad."""


class Control(NamedTuple):
    """One control as it was evaluated; `number` is its place in the list of controls."""

    number: int
    name: str
    value: Value
    limit: Value
    unit: str
    verdict: Verdict
    reason_code: Reason | None  # set when refused or exempt


@dataclass(frozen=True, slots=True)
class Decision:
    """What the gate said. `reduces`: the order is a true exit, which the guards of entries do not stop."""

    allowed: bool
    first_refusal: Control | None
    controls: tuple[Control, ...]
    reduces: bool
