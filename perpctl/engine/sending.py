"""This file sends: gate first, then the intent on the disk, then the bytes, then the answer on the disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from perpctl.clock import Clock
from perpctl.engine import events as e
from perpctl.engine.core import Core
from perpctl.engine.state.grounds import GUARD, grounds_of, maker_of
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.sight import Permission, look
from perpctl.errors import PerpctlError
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.order import Order, OrderRequest, TimeInForce
from perpctl.risk.gate import decide, still_holds
from perpctl.risk.verdict import Decision
from perpctl.store.facts.grounds import decision_facts
from perpctl.store.intents import Attempt, Intents
from perpctl.store.latch import Latch

SOCKET, HTTP = "websocket", "http"
Told = Callable[[e.Event], None]


class Lease(Protocol):
    """The right to send what raises risk."""

    @property
    def epoch(self) -> int: ...

    def left_ms(self) -> int:
        """Milliseconds for which it still holds; 0 when lost."""

    def release(self) -> None: ...


@dataclass(slots=True)
class Permit:
    """Asked by the client right before the bytes of an entry leave, each time: a reason to hold it back, or None."""

    latch: Latch
    lease: Lease
    still_holds: Callable[[OrderRequest], str | None] = lambda request: None  # a bot's own word, once there is one

    def __call__(self, request: OrderRequest) -> str | None:
        state = self.latch.read()
        if state.mode.value != Mode.NORMAL.value:
            return f"the latch says {state.mode.value}: {state.why}"
        return self.still_holds(request) if self.lease.left_ms() > 0 else "the lease is lost"


@dataclass(slots=True)
class Sender:
    """The only way out of the bot. `session` is the live connection, None while there is none."""

    core: Core
    exchange: port.Exchange
    intents: Intents
    latch: Latch
    lease: Lease
    clock: Clock
    meter: Meter
    tell: Told
    session: port.Session | None = None
    fenced: str | None = None  # the kill after whose word nothing leaves any more

    def still_holds(self, request: OrderRequest) -> str | None:
        """Why an entry that was decided on must not leave any more, perhaps for the second time."""
        if self.fenced is not None:
            return f"fenced by kill {self.fenced}"
        view = look(self.core, request, self.permission(), self.meter, self.clock.monotonic())
        return still_holds(request, view, self.core.rules.limits)

    def permission(self) -> Permission:
        """Latch and lease, read from their files now."""
        state = self.latch.read()
        return Permission(state.mode, state.kill_id is not None, self.lease.left_ms() or None)

    async def order(self, request: OrderRequest, reason: str, over: str) -> None:
        """Send an order if the gate lets it through; what came of it is told to the core."""
        if self.fenced is not None:
            return
        self.core.on_their_way -= 1
        began = self.clock.monotonic()
        request = self._dated(request, began)
        permission = self.permission()
        view = look(self.core, request, permission, self.meter, began)
        decision = decide(request, view, self.core.rules.limits)
        evaluation_us = int((self.clock.monotonic() - began) * 1e6)
        decided = decision_facts(decision, self.core.entered, self.core.left, evaluation_us)
        grounds = grounds_of(self.core, request, reason, view)
        if not decision.allowed:
            self.intents.refused_by_gate(request, decided, grounds)
            self.tell(_held_back(request, decision))
            return
        if over == SOCKET and self.session is None:
            self.tell(e.HeldBack(request.identity, "no_session", "the socket is down"))
            return
        if (working := self.core.orders.ours.get(request.identity)) is not None:
            working.request = request
        attempt = self._attempt("place", over, permission)
        self.intents.intend(request, decided, grounds)
        self.intents.sent(request.identity, attempt)
        self.core.left += 1
        self.core.activity.order_sent(request, self.core.market_ms)
        written = self.clock.monotonic()
        self.meter.writes.append(written - began)
        self.meter.decisions.append(written - began)
        outcome = await self._place(request, over)
        attempt = replace(attempt, answered_at=self.clock.now(), tries=outcome.passages)
        self._measure(written, outcome)
        self._write_down(request.identity, outcome, attempt)
        self.tell(e.Placed(request.identity, outcome))

    def _dated(self, request: OrderRequest, now: float) -> OrderRequest:
        """The order with the times of its send: until when the venue may take it, and when it ends."""
        market, life_s = self.core.market, self.core.rules.terms.entries_end_s
        ends_ms = None
        if life_s is not None and request.time_in_force is TimeInForce.GTD:
            ends_ms = market.now_ms(now) + life_s * 1000
        return replace(request, valid_until_ms=market.valid_until_ms(now), ends_ms=ends_ms)

    async def _place(self, request: OrderRequest, over: str) -> port.Outcome:
        venue = self.session if over == SOCKET and self.session is not None else self.exchange
        try:
            return await venue.place(request)
        except PerpctlError as why:
            return port.Unknown(why.message)

    async def cancel(self, order: Order, reason: str, over: str) -> None:
        """Cancel an order; cancels pass every gate but the fence."""
        if self.fenced is not None:
            return
        self.core.on_their_way -= 1
        product = self.core.products.get(order.product_id)
        maker = maker_of(product) if product is not None and over == SOCKET else GUARD
        self.intents.intend_cancel(order, reason, maker)
        self.core.activity.cancel_sent(self.core.market_ms)
        began = self.clock.monotonic()
        attempt = self._attempt("cancel", over, self.permission())
        outcome = await self._cancel(order, over)
        attempt = replace(attempt, answered_at=self.clock.now(), tries=outcome.passages)
        self._measure(began, outcome)
        if isinstance(outcome, port.Confirmed):
            self.intents.cancel_confirmed(order, outcome.order, outcome.fills, attempt)
        elif isinstance(outcome, port.Refused):
            self.intents.cancel_refused(order, outcome.code, outcome.reason, attempt)
        else:
            self.intents.cancel_unknown(order, outcome.cause, attempt)
        self.tell(e.CancelAnswered(order.identity or "", outcome))

    async def _cancel(self, order: Order, over: str) -> port.Outcome:
        try:
            if over == SOCKET and self.session is not None:
                return await self.session.cancel(order)
            return (await self.exchange.cancel([order]))[0]
        except PerpctlError as why:
            return port.Unknown(why.message)

    def _write_down(self, identity: str, outcome: port.Outcome, attempt: Attempt) -> None:
        if isinstance(outcome, port.Confirmed):
            self.intents.confirmed(identity, outcome.order, outcome.fills, attempt)
        elif isinstance(outcome, port.Refused):
            self.intents.refused(identity, outcome.code, outcome.reason, attempt)
        else:
            self.intents.unknown(identity, outcome.cause, attempt)

    def _measure(self, began: float, outcome: port.Outcome) -> None:
        now = self.clock.monotonic()
        code = outcome.code if isinstance(outcome, port.Refused) else None
        self.meter.answered(now, answered_in_s(outcome, now - began), code, ok=isinstance(outcome, port.Confirmed))
        self.meter.counts[f"answer.{type(outcome).__name__.lower()}"] += 1

    def _attempt(self, method: str, over: str, permission: Permission) -> Attempt:
        return Attempt(
            method=method,
            path=over,
            sent_at=self.clock.now(),
            mode=self.core.mode.value,
            latch=permission.latch.value,
            lease_epoch=self.lease.epoch,
            lease_left_ms=permission.lease_left_ms,
        )


def answered_in_s(outcome: port.Outcome, in_all_s: float) -> float:
    """How long the venue took for the order or cancel itself: a read after it, of how a cancelled order ended, is none.

    The whole time where the tries were not noted, or one of them was not answered.
    """
    took_us = [passage.took_us for passage in outcome.passages]
    return sum(one or 0 for one in took_us) / 1e6 if took_us and None not in took_us else in_all_s


def _held_back(request: OrderRequest, decision: Decision) -> e.HeldBack:
    refusal = decision.first_refusal
    assert refusal is not None
    assert refusal.reason_code is not None
    return e.HeldBack(request.identity, refusal.reason_code, refusal.reason_code.meaning)
