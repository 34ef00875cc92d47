"""Our orders from intent to outcome: what is written down before anything is sent, and after each answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderRequest
from perpctl.model.passage import Passage
from perpctl.store.folds import IntentState
from perpctl.store.projections import Projections
from perpctl.store.records import Correlation, Kind, Record

Facts = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Maker:
    """Who decided, or who executed: an algorithm with its version, or a person."""

    algorithm_id: str | None = None
    algorithm_version: str | None = None
    operator_id: str | None = None


@dataclass(frozen=True, slots=True)
class Grounds:
    """What an intent stands on: who decided it, on which numbers. Each price in `inputs` with its age and source."""

    decision_maker: Maker
    execution_maker: Maker
    risk_day: str
    market_ms: int | None
    inputs: Facts
    instrument: Facts | None = None  # tick, contract size, minimum, multiplier, band, fees, spec hash and age
    account_before: Facts | None = None
    exposure_before: Facts | None = None
    position_effect: Facts | None = None  # before, after, worst case
    signal: Facts | None = None  # value, horizon, ids of its inputs
    cost_expected: Facts | None = None
    strategy: str | None = None
    strategy_params_hash: str | None = None
    contracts: Decimal | None = None  # signed, where the venue counts in them
    currency: str | None = None
    usdc_usd: Decimal | None = None
    trading_capacity: str = "own account"
    client_id: str | None = None
    parent_id: str | None = None
    plan_id: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """What was sent under which fences, and what came back: each try at the venue as it was on the wire."""

    method: str
    path: str | None = None
    sent_at: datetime | None = None  # before the bytes
    answered_at: datetime | None = None
    tries: tuple[Passage, ...] = ()  # none where they are not noted, or nothing left
    mode: str | None = None
    latch: str | None = None
    lease_epoch: int | None = None
    lease_left_ms: int | None = None


class Intents:
    """Writes down orders and cancels. An intent is on the disk when its method returns: only then may it be sent."""

    def __init__(self, projections: Projections) -> None:
        self._projections = projections
        self._journal = projections.journal

    def intend(self, request: OrderRequest, decision: object, grounds: Grounds) -> Record:
        """Before sending. Raises ValueError when this identity was used already, and inside a batch."""
        if self._journal.in_batch:
            raise ValueError("an intent inside a batch would not be durable before its send")
        body = _order_body(request, decision, grounds)
        return self._journal.append(Kind.ORDER_INTENDED, body, _belonging(request, grounds), grounds.market_ms)

    def refused_by_gate(self, request: OrderRequest, decision: object, grounds: Grounds) -> Record:
        """An order that the gate did not let through; it never counts and is never sent."""
        body = _order_body(request, decision, grounds)
        return self._journal.append(Kind.GATE_REFUSED, body, _belonging(request, grounds), grounds.market_ms)

    def sent(self, identity: str, attempt: Attempt) -> Record:
        """Right before the bytes leave."""
        return self._told(Kind.ORDER_SENT, identity, {"attempt": attempt})

    def confirmed(
        self, identity: str, order: Order, fills: Sequence[Fill] = (), attempt: Attempt | None = None
    ) -> None:
        """The venue answered with the order and those of its fills that it told at once; one commit."""
        with self._journal.batch():
            self._sighted(Kind.ORDER_CONFIRMED, identity, order, {"outcome": "confirmed", "attempt": attempt})
            self._book(fills, "reply", identity)

    def refused(self, identity: str, code: int | None, reason: str, attempt: Attempt | None = None) -> Record:
        """The venue answered no; nothing was executed."""
        body = {"outcome": "refused", "venue_code": code, "cause": reason, "attempt": attempt}
        return self._told(Kind.ORDER_REFUSED, identity, body)

    def unknown(self, identity: str, cause: str, attempt: Attempt | None = None) -> Record:
        """No trustworthy answer: it counts at worst case until it is settled."""
        tracked = self._projections.order(identity)
        worst = None if tracked is None or tracked.request is None else tracked.request.size * tracked.request.side.sign
        body = {"outcome": "unknown", "cause": cause, "worst_case": worst, "size_unit": "base coin", "attempt": attempt}
        return self._told(Kind.ORDER_UNKNOWN, identity, body)

    def settled(self, identity: str, order: Order, settled_by: str, fills: Sequence[Fill] = ()) -> None:
        """An unknown outcome was found by reads: by id, label, listing or fills."""
        with self._journal.batch():
            self._sighted(Kind.ORDER_SETTLED, identity, order, {"outcome": "confirmed", "settled_by": settled_by})
            self._book(fills, settled_by, identity)

    def settled_absent(self, identity: str, evidence: str, settled_by: str) -> Record:
        """Reads proved that the venue never had it and can no longer take it."""
        body = {"outcome": IntentState.ABSENT, "cause": evidence, "settled_by": settled_by, "order": None}
        return self._told(Kind.ORDER_SETTLED, identity, body)

    def intend_cancel(self, order: Order, why: str, maker: Maker, plan_id: str | None = None) -> Record:
        """Before a cancel is sent. Raises ValueError inside a batch."""
        if self._journal.in_batch:
            raise ValueError("an intent inside a batch would not be durable before its send")
        body = {**self._cancel_body(order), "cause": why, "decision_maker": maker, "remaining": order.remaining}
        belongs = Correlation(intent_id=order.identity, plan_id=plan_id)
        return self._journal.append(Kind.CANCEL_INTENDED, body, belongs)

    def cancel_confirmed(
        self, order: Order, after: Order | None = None, fills: Sequence[Fill] = (), attempt: Attempt | None = None
    ) -> None:
        """The venue took the cancel; `after` is the order as it then was, when the answer told."""
        with self._journal.batch():
            body = {**self._cancel_body(order), "outcome": "confirmed", "order": after, "attempt": attempt}
            self._told(Kind.CANCEL_CONFIRMED, order.identity, body, None if after is None else after.updated_ms)
            self._book(fills, "reply", order.identity)

    def cancel_refused(self, order: Order, code: int | None, reason: str, attempt: Attempt | None = None) -> Record:
        """The venue did not cancel it: it may be over, or still stand."""
        body = {"outcome": "refused", "venue_code": code, "cause": reason, "attempt": attempt}
        return self._told(Kind.CANCEL_REFUSED, order.identity, {**self._cancel_body(order), **body})

    def cancel_unknown(self, order: Order, cause: str, attempt: Attempt | None = None) -> Record:
        """No trustworthy answer: the order counts as standing until it is seen over."""
        body = {"outcome": "unknown", "cause": cause, "worst_case": order.remaining, "attempt": attempt}
        return self._told(Kind.CANCEL_UNKNOWN, order.identity, {**self._cancel_body(order), **body})

    def _cancel_body(self, order: Order) -> dict[str, object]:
        return {"order_id": order.order_id, "product_id": order.product_id, "size_unit": "base coin"}

    def _sighted(self, kind: Kind, identity: str, order: Order, outcome: Facts) -> Record:
        before = self._projections.order(identity)
        body = {
            **self._projections.sighting(order),
            "state_before": None if before is None else before.state,
            **outcome,
        }
        return self._told(kind, identity, body, order.updated_ms)

    def _told(self, kind: Kind, identity: str | None, body: Facts, market_ms: int | None = None) -> Record:
        return self._journal.append(kind, body, Correlation(intent_id=identity), market_ms)

    def _book(self, fills: Sequence[Fill], seen_by: str, identity: str | None) -> None:
        for fill in fills:
            self._projections.book_fill(fill, seen_by, Correlation(intent_id=identity))


def _belonging(request: OrderRequest, grounds: Grounds) -> Correlation:
    return Correlation(intent_id=request.identity, parent_id=grounds.parent_id, plan_id=grounds.plan_id)


def _order_body(request: OrderRequest, decision: object, grounds: Grounds) -> dict[str, object]:
    """All instructions as they will be sent, defaults included, the gate's controls and what it all stands on."""
    automated = grounds.decision_maker.operator_id is None
    return {
        "intent_id": request.identity,
        "purpose": request.purpose,
        "product_id": request.product_id,
        "size": request.size * request.side.sign,
        "size_unit": "base coin",
        "price_unit": grounds.currency,
        "contracts": grounds.contracts,
        "request": request,
        "manual_or_automated": "automated" if automated else "manual",
        "decision_maker": grounds.decision_maker,
        "execution_maker": grounds.execution_maker,
        "trading_capacity": grounds.trading_capacity,
        "client_id": grounds.client_id,
        "strategy": grounds.strategy,
        "strategy_params_hash": grounds.strategy_params_hash,
        "signal": grounds.signal,
        "risk_day": grounds.risk_day,
        "inputs": grounds.inputs,
        "instrument": grounds.instrument,
        "account_before": grounds.account_before,
        "exposure_before": grounds.exposure_before,
        "position_effect_expected": grounds.position_effect,
        "currency": grounds.currency,
        "usdc_usd": grounds.usdc_usd,
        "cost_expected": grounds.cost_expected,
        "decision": decision,
    }
