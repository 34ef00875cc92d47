"""This file is the operator's hand: every order and cancel it sends is decided, journaled first, and settled after."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import structs

from perpctl.emergency import pending
from perpctl.errors import PerpctlError, StateDamaged
from perpctl.exchange.budget import Duty
from perpctl.exchange.port import Absent, Confirmed, Exchange, Outcome, Refused, Settled, Unknown
from perpctl.exchange.settle import settle
from perpctl.model import identity
from perpctl.model.exposure import Holding, UnknownOrder
from perpctl.model.fill import Fill
from perpctl.model.instrument import Instrument
from perpctl.model.order import Order, OrderRequest, OrderType, Purpose, Side, TimeInForce
from perpctl.model.position import Position
from perpctl.questions.limits import limits_of
from perpctl.risk.activity import Recent
from perpctl.risk.gate import decide
from perpctl.risk.limits import Limits
from perpctl.risk.verdict import Decision
from perpctl.risk.view import GateInput
from perpctl.store.facts.grounds import Seen, decision_facts, limits_version, standing_on
from perpctl.store.folds import IntentState
from perpctl.store.intents import Attempt, Facts, Grounds, Intents, Maker
from perpctl.store.lease import Lease

if TYPE_CHECKING:
    from perpctl.desk import Desk


@dataclass(frozen=True, slots=True)
class Ends:
    """How orders ended, by id; and the ids of those that their own state calls open."""

    orders: Mapping[str, Order]
    open_still: tuple[str, ...]


class Hand:
    """What one operator sends to one venue, for one reason."""

    def __init__(self, desk: Desk, exchange: Exchange, operator: str, why: str) -> None:
        self._desk = desk
        self._exchange = exchange
        exchange.work_for(Duty.EXIT)  # whatever is sent by hand lowers risk, and must not queue behind other reads
        self._why = why
        self._maker = Maker(operator_id=operator)
        self._limits = limits_of(desk) or Limits()
        self._projections = desk.projections()
        journal = self._projections.journal
        journal.writer = structs.replace(journal.writer, limits_version=limits_version(self._limits))
        self._intents = Intents(self._projections)

    # --- cancels ------------------------------------------------------------------------------------------------------

    async def cancel(self, orders: Sequence[Order]) -> tuple[Outcome, ...]:
        """Cancel these by id; an outcome each. Nothing is claimed gone that a listing has not shown gone."""
        for order in orders:
            self._intents.intend_cancel(order, self._why, self._maker)
        attempt = self._attempt("cancel")
        outcomes = await self._exchange.cancel(orders)
        for order, outcome in zip(orders, outcomes, strict=True):
            self._book_cancel(order, outcome, self._answered(attempt, outcome))
        return outcomes

    async def cancel_by_one_request(self, entries: Sequence[Order], product_id: str | None = None) -> str:
        """The venue's own mass cancel, or what stands for it, intended for `entries`; says in words what came of it.

        What became of each order is not in the answer: `book_ends` reads and journals that.
        """
        for order in entries:
            self._intents.intend_cancel(order, self._why, self._maker)
        of = "" if product_id is None else f" of {product_id}"
        at_once = self._exchange.terms.mass_cancel
        name = f"mass cancel{of}" if at_once else f"every listed id{of}"
        attempt = self._attempt(name)
        outcome = await self._exchange.cancel_entries(product_id)
        match outcome:
            case int():
                return f"{name}: the venue counts {outcome}" if at_once else f"{name}: {outcome} read back gone"
            case Refused(code, reason):
                for order in entries:
                    self._intents.cancel_refused(order, code, reason, self._answered(attempt, outcome))
                return f"{name} refused ({code or 'not sent'} {reason})"
            case Unknown(cause):
                for order in entries:
                    self._intents.cancel_unknown(order, cause, self._answered(attempt, outcome))
                return f"{name} unanswered ({cause})"
            case _:
                return "no mass cancel at this venue"

    async def book_ends(self, orders: Sequence[Order]) -> Ends:
        """How orders ended that listings no longer show: each read by its id and journaled, with its last fills.

        One that cannot be read stays as it is in the journal, for reconcile.
        """
        read = [one for one in await asyncio.gather(*map(self._read_by_id, orders)) if one is not None]
        ended = {order.order_id: order for order in read if order.status.is_terminal}
        fills = await self._fills_of([order for order in ended.values() if order.filled > 0])
        for order in orders:
            after = ended.get(order.order_id)
            if after is not None and not self._is_told(after):
                mine = [fill for fill in fills if fill.order_id == order.order_id]
                self._intents.cancel_confirmed(order, after, mine)
        return Ends(ended, tuple(order.order_id for order in read if not order.status.is_terminal))

    def _is_told(self, ended: Order) -> bool:
        """Whether the journal has this end already, and every fill up to it."""
        known = [one for one in self._projections.orders_of(ended.order_id) if one.order_id == ended.order_id]
        return any(
            one.cancel_state == "confirmed" and one.state is IntentState.TERMINAL and one.booked >= ended.filled
            for one in known
        )

    async def _read_by_id(self, order: Order) -> Order | None:
        try:
            found = await self._exchange.order(order.identity or "", order.order_id)
        except PerpctlError:
            return None  # gone from the listings all the same; reconcile looks again
        return next((one for one in found if one.order_id == order.order_id), None)

    async def _fills_of(self, orders: Sequence[Order]) -> tuple[Fill, ...]:
        if not orders:
            return ()
        try:
            return await self._exchange.fills(min(order.created_ms for order in orders))
        except PerpctlError:
            return ()  # they are booked by the next reconcile: missing fills of ours

    def _book_cancel(self, order: Order, outcome: Outcome, attempt: Attempt) -> None:
        match outcome:
            case Confirmed(after, fills):
                self._intents.cancel_confirmed(order, after, fills, attempt)
            case Refused(code, reason):
                self._intents.cancel_refused(order, code, reason, attempt)
            case Unknown(cause):
                self._intents.cancel_unknown(order, cause, attempt)

    def _attempt(self, method: str) -> Attempt:
        latch = self._desk.latch().read()
        mode = latch.mode.value
        return Attempt(method, path="http", sent_at=self._desk.clock.now(), mode=mode, latch=mode)

    def _answered(self, attempt: Attempt, outcome: Outcome) -> Attempt:
        return replace(attempt, answered_at=self._desk.clock.now(), tries=outcome.passages)

    # --- orders -------------------------------------------------------------------------------------------------------

    async def place(self, request: OrderRequest, instrument: Instrument) -> Settled | Refused:
        """Send one order that lowers risk. Refused also when the gate says no; Unknown only when reads cannot tell."""
        decision, decided, grounds = await self._decided(request, instrument)
        if not decision.allowed:
            return self._held_back(request, decision, decided, grounds)
        self._intents.intend(request, decided, grounds)
        attempt = self._attempt("place")
        self._intents.sent(request.identity, attempt)
        outcome = await self._exchange.place(request)
        return await self._told(request, outcome, self._answered(attempt, outcome), grounds.market_ms or 0)

    async def close_whole(self, position: Position, instrument: Instrument) -> Settled | Refused:
        """The venue's own reduce-only close of a whole position at market: it takes no size of ours."""
        request = close_request(self.new_identity(), position, abs(position.size), None)
        decision, decided, grounds = await self._decided(request, instrument)
        if self._kill_runs():
            return self._held_back(request, decision, decided, grounds)
        self._intents.intend(request, decided, grounds)
        attempt = self._attempt("close position")
        self._intents.sent(request.identity, attempt)
        outcome = await self._exchange.close(position, None)
        attempt = self._answered(attempt, outcome)
        if isinstance(outcome, Unknown):  # it carries no identity of ours: the next read of the position tells
            self._intents.unknown(request.identity, outcome.cause, attempt)
            return outcome
        return await self._told(request, outcome, attempt, grounds.market_ms or 0)

    def _held_back(self, request: OrderRequest, decision: Decision, decided: Facts, grounds: Grounds) -> Refused:
        self._intents.refused_by_gate(request, decided, grounds)
        control = decision.first_refusal
        if control is None or control.reason_code is None:
            return Refused(None, "our gate held it back", sent=False)
        return Refused(None, f"our gate, {control.name}: {control.reason_code.meaning}", sent=False)

    def new_identity(self) -> str:
        """For one intent; never used twice."""
        try:
            lease = Lease.read(self._desk.settings.state_dir / "lease")
        except StateDamaged:
            lease = None
        return identity.make(self._desk.identity_key(), lease.epoch if lease else 0, secrets.randbits(64))

    async def _told(
        self, request: OrderRequest, outcome: Outcome, attempt: Attempt, since_ms: int
    ) -> Settled | Refused:
        match outcome:
            case Confirmed(order, fills):
                self._intents.confirmed(request.identity, order, fills, attempt)
                return outcome
            case Refused(code, reason):
                self._intents.refused(request.identity, code, reason, attempt)
                return outcome
            case Unknown(cause):
                self._intents.unknown(request.identity, cause, attempt)
                return await self._settled(request, outcome, since_ms)

    async def _settled(self, request: OrderRequest, unknown: Unknown, since_ms: int) -> Settled:
        settled = await settle(self._exchange, request, unknown, self._desk.clock, since_ms=since_ms)
        match settled:
            case Confirmed(order, fills):
                self._intents.settled(request.identity, order, "label", fills)
            case Absent(evidence):
                self._intents.settled_absent(request.identity, evidence, "label")
            case Unknown():
                pass  # it stays unknown in the journal, and counts at its worst
        return settled

    # --- the gate -----------------------------------------------------------------------------------------------------

    async def _decided(self, request: OrderRequest, instrument: Instrument) -> tuple[Decision, Facts, Grounds]:
        """The gate's word, as it is and as it is journaled, and what the order stands on."""
        view = await self._view(request, instrument)
        began = self._desk.clock.monotonic()
        decision = decide(request, view, self._limits)
        evaluation_us = int((self._desk.clock.monotonic() - began) * 1e6)
        grounds = Grounds(
            decision_maker=self._maker,
            execution_maker=self._maker,
            risk_day=self._exchange.calendar.day_name(view.now_ms),
            market_ms=view.now_ms,
            **standing_on(request, view, Seen("venue over HTTP")),
            contracts=instrument.contracts(request.size * request.side.sign),
            signal={"why": self._why},
            currency=instrument.currency,
        )
        return decision, decision_facts(decision, view.entered, view.left, evaluation_us), grounds

    def _kill_runs(self) -> bool:
        """Whether a kill of this profile is at work right now: then nobody else sends anything."""
        unfinished = pending.unfinished(self._desk.settings.state_dir)
        return any(story.worker is not None for story in unfinished)

    async def _view(self, request: OrderRequest, instrument: Instrument) -> GateInput:
        exchange, clock = self._exchange, self._desk.clock
        positions, working = await exchange.positions(), await exchange.open_orders()
        account, quote = await exchange.account(), await exchange.quote(request.product_id)
        now = clock.monotonic()
        latch = self._desk.latch().read()
        return GateInput(
            now_ms=await exchange.time_ms(),
            mode=latch.mode,
            latch=latch.mode,
            kill_in_progress=self._kill_runs(),
            lease_left_ms=None,
            allowed=frozenset({request.product_id}),
            instrument=instrument,
            spec_unchanged=True,
            quote=quote,
            quote_age_ms=_ms(now - quote.seen),
            account=account,
            account_age_ms=_ms(now - account.seen),
            holdings=tuple(
                Holding(one.product_id, one.underlying, one.size, one.mark, 0, one.slot) for one in positions
            ),
            working=working,
            unknown=tuple(
                UnknownOrder(one.request, one.since_ms or 0)
                for one in self._projections.unknown_orders()
                if one.request is not None
            ),
            recent=Recent(),
            entered=1,
            left=0,
            day_pnl_pct=None,
            drawdown_pct=None,
            move_1m_pct=None,
            venue_age_ms=None,  # no entry is sent by hand
            dead_man=False,
        )


def close_request(name: str, position: Position, size: Decimal, price: Decimal | None) -> OrderRequest:
    """A reduce-only order on the closing side: limit at once or not at all, or market."""
    return OrderRequest(
        identity=name,
        product_id=position.product_id,
        side=Side.SELL if position.size > 0 else Side.BUY,
        size=size,
        type=OrderType.MARKET if price is None else OrderType.LIMIT,
        price=price,
        time_in_force=TimeInForce.IOC,
        reduce_only=True,
        slot=position.slot,
        purpose=Purpose.CLOSE,
    )


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
