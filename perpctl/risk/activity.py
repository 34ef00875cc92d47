"""This file remembers what was sent and executed lately, on market time, for the controls that look back."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal

from perpctl.model.fill import Fill
from perpctl.model.order import OrderRequest, Purpose, Side

EXECUTION_WINDOW_MS = 5 * 60_000
LOSS_WINDOW_MS = 60 * 60_000
MESSAGE_WINDOW_MS = 60_000
SENT_WINDOW_MS = 60_000


@dataclass(frozen=True, slots=True)
class SentOrder:
    """An order that left, for telling duplicates."""

    product_id: str
    side: Side
    size: Decimal
    price: Decimal | None
    at_ms: int

    def is_like(self, request: OrderRequest) -> bool:
        """Same product, side, size and price."""
        return (
            self.product_id == request.product_id
            and self.side is request.side
            and self.size == request.size
            and self.price == request.price
        )


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


class Activity:
    """Gathers what happens and shows the last while of it; times are market time in milliseconds, never going back."""

    def __init__(self, identities: Iterable[str] = (), orders_today: int = 0) -> None:
        """`identities` and `orders_today` are what the journal remembers of earlier runs of this day."""
        self._messages: deque[int] = deque()
        self._sent: deque[SentOrder] = deque()
        self._executions: dict[str, Execution] = {}
        self._losses: deque[int] = deque()
        self._identities = set(identities)
        self._orders_today = orders_today

    def order_sent(self, request: OrderRequest, at_ms: int) -> None:
        """A creating call left."""
        self._messages.append(at_ms)
        self._sent.append(SentOrder(request.product_id, request.side, request.size, request.price, at_ms))
        self._identities.add(request.identity)
        if request.purpose is not Purpose.RENEW:  # no new decision, and an entry would spend 1,152 a day
            self._orders_today += 1

    def cancel_sent(self, at_ms: int) -> None:
        """A cancel or an edit left."""
        self._messages.append(at_ms)

    def executed(self, fill: Fill) -> None:
        """A fill was booked; the fills of one order are one execution, dated at the last."""
        self._executions.pop(fill.order_id, None)
        self._executions[fill.order_id] = Execution(fill.product_id, fill.side, fill.order_id, fill.at_ms)

    def round_trip_lost(self, at_ms: int) -> None:
        """A position came back to zero, or turned over, with a loss after fees."""
        self._losses.append(at_ms)

    def went_on(self) -> None:
        """A named human went on after a halt for executions or losses: they count anew from here."""
        self._executions.clear()
        self._losses.clear()

    def day_began(self) -> None:
        """A new risk day: orders count from zero again. Executions and losses run on."""
        self._orders_today = 0

    def recent(self, now_ms: int) -> Recent:
        """The look-back at this moment; what is too old for every control is forgotten."""
        _forget(self._messages, now_ms - MESSAGE_WINDOW_MS)
        _forget(self._losses, now_ms - LOSS_WINDOW_MS)
        while self._sent and self._sent[0].at_ms <= now_ms - SENT_WINDOW_MS:
            self._sent.popleft()
        for old in [key for key, one in self._executions.items() if one.at_ms <= now_ms - EXECUTION_WINDOW_MS]:
            del self._executions[old]
        return Recent(
            tuple(self._messages),
            tuple(self._sent),
            tuple(self._executions.values()),
            tuple(self._losses),
            self._identities,
            self._orders_today,
        )


def _forget(times: deque[int], until_ms: int) -> None:
    while times and times[0] <= until_ms:
        times.popleft()
