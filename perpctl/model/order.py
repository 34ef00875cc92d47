"""Orders, as asked for and as the venue reports them, with sizes in base coin.

Standard library only: the emergency program imports this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        """+1 for BUY, -1 for SELL."""
        return 1 if self is Side.BUY else -1

    @property
    def opposite(self) -> Side:
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(StrEnum):
    LIMIT = "limit"
    MARKET = "market"
    STOP_MARKET = "stop_market"
    STOP_LIMIT = "stop_limit"
    TAKE_MARKET = "take_market"
    TAKE_LIMIT = "take_limit"
    TRAILING_STOP = "trailing_stop"
    OTHER = "other"  # the venue sent a type we do not know


TRIGGER_TYPES = frozenset(
    {
        OrderType.STOP_MARKET,
        OrderType.STOP_LIMIT,
        OrderType.TAKE_MARKET,
        OrderType.TAKE_LIMIT,
        OrderType.TRAILING_STOP,
    }
)


class TimeInForce(StrEnum):
    GTC = "good_til_cancelled"
    GTD = "good_til_date"
    DAY = "good_til_day"
    IOC = "immediate_or_cancel"
    FOK = "fill_or_kill"


class OrderStatus(StrEnum):
    """Only FILLED, CANCELLED and REJECTED are terminal; a word we do not know is UNKNOWN and still counts."""

    OPEN = "open"
    UNTRIGGERED = "untriggered"
    TRIGGERED = "triggered"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    UNKNOWN = "unknown"

    @property
    def is_terminal(self) -> bool:
        return self in {OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.REJECTED}


class Purpose(StrEnum):
    """Why an order of ours was sent."""

    OPEN = "open"
    INCREASE = "increase"
    REDUCE = "reduce"
    CLOSE = "close"
    STOP = "stop"
    RENEW = "renew"
    KILL = "kill"
    TEST = "test"


NEW_SLOT = 0  # isolated, in whichever slot the venue keeps for the product


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What we mean to send. `identity` goes out as `label` (global) or `client_order_id` (us)."""

    identity: str
    product_id: str
    side: Side
    size: Decimal  # base coin, positive
    type: OrderType
    price: Decimal | None  # None for market
    time_in_force: TimeInForce = TimeInForce.GTC
    post_only: bool = False
    reduce_only: bool = False
    trigger_price: Decimal | None = None
    trigger: str | None = None  # mark_price | index_price | last_price
    valid_until_ms: int | None = None  # market time
    slot: int | None = None  # isolated slot, None: cross; NEW_SLOT: the venue assigns one
    purpose: Purpose = Purpose.OPEN
    ends_ms: int | None = None  # market time; with GTD: from then on the venue has it no more
    allocated_margin: Decimal | None = None  # settlement currency that goes into the slot with an opening order


@dataclass(frozen=True, slots=True)
class Order:
    """An order as the venue reported it."""

    order_id: str
    identity: str | None
    product_id: str
    side: Side
    type: OrderType
    status: OrderStatus
    size: Decimal  # base coin, positive, total
    filled: Decimal
    price: Decimal | None
    average_price: Decimal | None
    reduce_only: bool
    post_only: bool
    trigger_price: Decimal | None
    trigger: str | None
    created_ms: int
    updated_ms: int
    time_in_force: TimeInForce | None = None
    slot: int | None = None
    cancel_reason: str | None = None
    ends_ms: int | None = None  # market time at which the venue ends it; None: it has no end
    origin: str | None = None  # api | web | mobile | liquidation

    @property
    def remaining(self) -> Decimal:
        return self.size - self.filled

    @property
    def is_trigger(self) -> bool:
        return self.type in TRIGGER_TYPES


def is_protective(order: Order, position_size: Decimal) -> bool:
    """Whether the order is a protective stop of a position (signed base coin) in its product and slot.

    A stop on the closing side of an open position, reduce-only. Everything else is an entry, take-profits included.
    """
    closing = Side.SELL if position_size > 0 else Side.BUY
    stops = {OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP}
    return position_size != 0 and order.type in stops and order.side is closing and order.reduce_only
