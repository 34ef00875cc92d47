"""This file keeps our own orders from the intent to their end: in flight, resting, being cancelled, unknown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum

from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderRequest, OrderStatus, Purpose


class Stage(StrEnum):
    SENDING = "sending"
    RESTING = "resting"
    CANCELLING = "cancelling"
    UNKNOWN = "unknown"  # counts in full until reads settle it
    FILLING = "filling"  # at its end at the venue, with fills that we have not seen yet


@dataclass(slots=True)
class Working:
    """One order of ours; `since` is our monotonic counter at the start of its stage."""

    request: OrderRequest
    reason: str
    stage: Stage
    since: float
    since_ms: int  # market time of the intent
    tolerance: Decimal = ZERO
    order: Order | None = None
    booked: Decimal = ZERO  # base coin, from fills
    cover: Decimal = ZERO  # of a stop: what it still protects; the venue shrinks it, and never grows it
    asked_at: float = 0.0  # when its outcome was last asked for
    asking: bool = False
    fired_at: float | None = None  # of a stop: when it was first seen triggered
    nearer: int = 0  # how often its price was halved towards the last one, because of the venue's band
    renews: bool = False  # its end makes room for a successor

    @property
    def is_stop(self) -> bool:
        return self.request.purpose is Purpose.STOP

    @property
    def remaining(self) -> Decimal:
        """What can still fill, at worst."""
        if self.stage is Stage.FILLING and self.order is not None:
            return self.order.filled - self.booked
        return self.request.size - self.booked

    def enter(self, stage: Stage, now: float) -> None:
        if stage is not self.stage:
            self.stage, self.since = stage, now


@dataclass(slots=True)
class Orders:
    """Every order of ours that may still do something, and every other order that the venue told us of."""

    ours: dict[str, Working] = field(default_factory=dict)
    foreign: dict[str, Order] = field(default_factory=dict)  # by order id
    ended: list[Working] = field(default_factory=list)  # read back ended in order to be renewed
    watched: dict[str, int] = field(default_factory=dict)  # identity -> until which market ms it may still arrive
    finished: dict[str, bool] = field(default_factory=dict)  # identity -> seen to end; False: only thought gone

    def of(self, product_id: str, *, stops: bool) -> list[Working]:
        return [w for w in self.ours.values() if w.request.product_id == product_id and w.is_stop is stops]

    def entries(self) -> list[Working]:
        return [w for w in self.ours.values() if not w.is_stop]

    def renew_none(self) -> None:
        """Whatever is being renewed ends for good."""
        self.ended.clear()
        for working in self.ours.values():
            working.renews = False

    def unknown(self) -> Iterator[Working]:
        return (w for w in self.ours.values() if w.stage is Stage.UNKNOWN)

    def has_unknown(self, product_id: str) -> bool:
        return any(w.request.product_id == product_id for w in self.unknown())

    def told(self, order: Order, now: float) -> Working | None:
        """Take the venue's word for an order of ours; returns it, or None when we do not follow it (any more).

        A state that has filled less than we booked is old and changes nothing.
        """
        found = self.ours.get(order.identity or "")
        if found is None or (found.order is not None and order.order_id != found.order.order_id and not found.is_stop):
            return None
        if found.order is not None and order.updated_ms < found.order.updated_ms:
            return found
        found.order = replace(order, reduce_only=found.request.reduce_only)  # a venue without it does not say
        if order.status.is_terminal:
            self._end(found, order, now)
        elif found.stage in {Stage.SENDING, Stage.UNKNOWN} and order.status is not OrderStatus.UNKNOWN:
            found.enter(Stage.RESTING, now)
        return found

    def count(self, identity: str | None, size: Decimal, now: float) -> Working | None:
        """A fill of an order of ours was booked."""
        found = self.ours.get(identity or "")
        if found is None:
            return None
        found.booked += size
        ended = found.stage is Stage.FILLING and found.order is not None and found.booked >= found.order.filled
        if ended or found.booked >= found.request.size:
            self.drop(found.request.identity, ended=True)
        return found

    def drop(self, identity: str, *, ended: bool = False) -> Working | None:
        """Follow it no more. `ended`: the venue showed its end, so that what is still said of it is old news."""
        found = self.ours.pop(identity, None)
        if found is not None:
            self.finished[identity] = ended
            if ended and found.renews:
                self.ended.append(found)
            while len(self.finished) > 1000:
                del self.finished[next(iter(self.finished))]
        return found

    def _end(self, found: Working, order: Order, now: float) -> None:
        if order.filled > found.booked and not (found.is_stop and order.status is OrderStatus.CANCELLED):
            found.enter(Stage.FILLING, now)
        else:
            self.drop(found.request.identity, ended=True)
