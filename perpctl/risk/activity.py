"""This file remembers what was sent and executed lately, on market time, for the controls that look back."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from perpctl.model.order import Side


@dataclass(frozen=True, slots=True)
class SentOrder:
    """An order that left, for telling duplicates."""

    product_id: str
    side: Side
    size: Decimal
    price: Decimal | None
    at_ms: int


@dataclass(frozen=True, slots=True)
class Execution:
    """An order that executed, however many partial fills it took."""

    product_id: str
    side: Side
    order_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Recent:
    """The look-back of the gate, oldest first.

    `messages_ms`: new, edit and cancel, 60 s at least. `sent`: duplicate window. `executions`: 5 min, once an order.
    `losses_ms`: ends of losing round trips, 60 min. `identities`: every identity ever used by this run.
    """

    messages_ms: tuple[int, ...] = ()
    sent: tuple[SentOrder, ...] = ()
    executions: tuple[Execution, ...] = ()
    losses_ms: tuple[int, ...] = ()
    identities: Collection[str] = ()
    orders_today: int = 0
