"""This file decides each order on the send path: every control is evaluated, the first refusal is named."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

from perpctl.model.exposure import Holding, Key, Reach, reaches
from perpctl.model.instrument import Quote
from perpctl.model.money import ZERO
from perpctl.model.order import TRIGGER_TYPES, OrderRequest, Purpose, Side
from perpctl.risk import capital, conduct, pricing
from perpctl.risk.bounds import Bounds, Market, effective
from perpctl.risk.limits import Limits
from perpctl.risk.verdict import Control, Decision, Finding, Verdict
from perpctl.risk.view import Case, GateInput

_EXITS = frozenset({Purpose.REDUCE, Purpose.CLOSE, Purpose.STOP, Purpose.KILL})

# Looked up once: a member of an enumeration costs more to reach than a control to evaluate.
_PASS, _REFUSE, _EXEMPT, _UNMEASURED = Verdict.PASS, Verdict.REFUSE, Verdict.EXEMPT, Verdict.NOT_MEASURED


class _Rule(NamedTuple):
    """A control's number, name, unit and check; a firm one stops exits too."""

    number: int
    name: str
    unit: str
    check: Callable[[Case], Finding]
    firm: bool = False


RULES = (
    _Rule(1, "mode", "", conduct.mode, firm=True),
    _Rule(2, "lease left", "ms", conduct.lease),
    _Rule(3, "symbol", "", conduct.symbol),
    _Rule(3, "isolated margin", "", conduct.isolated),
    _Rule(4, "venue state", "ms", pricing.venue_state),
    _Rule(4, "book state", "", pricing.book_open),
    _Rule(4, "price age", "ms", pricing.fresh_price),
    _Rule(5, "price collar", "price", pricing.collar),
    _Rule(6, "limits unset", "count", pricing.limits_set),
    _Rule(6, "positive", "coin", pricing.positive, firm=True),
    _Rule(6, "minimum size", "coin", pricing.minimum),
    _Rule(6, "size step", "coin", pricing.step),
    _Rule(6, "price tick", "price", pricing.tick),
    _Rule(6, "order notional", "money", pricing.order_notional),
    _Rule(7, "specification", "", pricing.spec_unchanged),
    _Rule(8, "position proof", "ms", capital.position_proof),
    _Rule(8, "account proof", "ms", capital.account_proof),
    _Rule(8, "unknown outcome", "ms", capital.unknown_outcome),
    _Rule(8, "resting entries", "count", capital.resting_entries),
    _Rule(8, "position", "money", capital.position),
    _Rule(8, "net of underlying", "money", capital.net),
    _Rule(8, "gross", "money", capital.gross),
    _Rule(8, "margin used", "%", capital.margin_used),
    _Rule(8, "liquidation distance", "%", capital.liquidation),
    _Rule(9, "reduce-only truth", "coin", conduct.reduce_only_truth, firm=True),
    _Rule(10, "identity", "", conduct.identity, firm=True),
    _Rule(10, "duplicate", "ms", conduct.duplicate),
    _Rule(11, "self-match", "", conduct.self_match),
    _Rule(12, "message rate", "count", conduct.message_rate),
    _Rule(13, "same-side executions", "count", conduct.repeated_execution),
    _Rule(13, "losing round trips", "count", conduct.losing_streak),
    _Rule(14, "entered and left", "count", conduct.entered_and_left, firm=True),
    _Rule(14, "orders today", "count", conduct.orders_today),
    _Rule(15, "day PnL", "%", capital.day_loss),
    _Rule(15, "drawdown", "%", capital.drawdown),
    _Rule(16, "spread", "bp", pricing.spread),
    _Rule(16, "funding against", "% per 8 h", pricing.funding),
    _Rule(16, "one-minute move", "%", pricing.volatility),
    _Rule(16, "mark against index", "%", pricing.mark_index),
    _Rule(16, "planned stop", "", pricing.planned_stop),
    _Rule(17, "order success", "%", conduct.rejections),
    _Rule(17, "latency p95", "ms", conduct.latency),
    _Rule(18, "dead man", "", conduct.dead_man),
    _Rule(18, "without a stop", "ms", conduct.stop_present),
)


def decide(request: OrderRequest, view: GateInput, limits: Limits) -> Decision:
    """Whether this order may leave now. Evaluates every control, in the order of their numbers, for the journal.

    A true exit passes what only guards entries: halt, lease, list, prices, sizes, loss. It is stopped by a kill in
    progress, a size that is not positive, a false claim, a used identity, and an intent that was not entered.
    """
    case = _case(request, view, limits)
    controls: list[Control] = []
    first: Control | None = None
    for number, name, unit, check, firm in RULES:
        value, limit, bad = check(case)
        if bad is None:
            controls.append(Control(number, name, value, limit, unit, _UNMEASURED if value is None else _PASS, None))
            continue
        verdict = _EXEMPT if case.reduces and not firm else _REFUSE
        controls.append(Control(number, name, value, limit, unit, verdict, bad))
        if first is None and verdict is _REFUSE:
            first = controls[-1]
    return Decision(first is None, first, tuple(controls), case.reduces)


def still_holds(request: OrderRequest, view: GateInput, limits: Limits) -> str | None:
    """Asked of an entry that was decided on, right before its bytes leave, the first time or again: why it may not.

    Its price must lie inside the collar of a price that is fresh now.
    """
    case = _case(request, view, limits)
    for check in (pricing.fresh_price, pricing.collar):
        if (bad := check(case)[2]) is not None:
            return bad.meaning
    return None


def _case(request: OrderRequest, view: GateInput, limits: Limits) -> Case:
    key = (request.product_id, request.slot)
    quote = view.quote if view.quote is not None and view.quote.product_id == request.product_id else None
    instrument = view.instrument
    if instrument is not None and instrument.product_id != request.product_id:
        instrument = None  # a bound from another instrument must never judge this order
    reference = _reference(quote)
    holding = next((held for held in view.holdings if (held.product_id, held.slot) == key), None)
    underlying = instrument.base if instrument is not None else holding.underlying if holding else request.product_id
    before = reaches(view.holdings, view.working, view.unknown)
    here = before.get(key) or Reach(*key, underlying, ZERO, ZERO, ZERO, reference)
    claims = request.reduce_only or request.purpose in _EXITS
    shrinks = request.size <= _room(request, view, holding, here)
    return Case(
        request=request,
        view=view,
        limits=limits,
        quote=quote,
        instrument=instrument,
        reference=reference,
        bounds=_bounds(limits, view, quote, reference),
        holding=holding,
        underlying=underlying,
        before=before,
        after={**before, key: here.with_order(request)},
        claims=claims,
        shrinks=shrinks,
        reduces=claims and (shrinks or _venue_caps(request, view, holding, here)),
    )


def _reference(quote: Quote | None) -> Decimal | None:
    """Mark, else mid, of the order's own product."""
    if quote is None:
        return None
    price = quote.reference
    return price if price is not None and price > 0 else None


def _bounds(limits: Limits, view: GateInput, quote: Quote | None, reference: Decimal | None) -> Bounds | None:
    if quote is None or reference is None or view.account is None:
        return None
    market = Market(reference, quote.open_interest, quote.band_low, quote.band_high, view.depth_notional)
    return effective(limits, view.account.equity, market, view.ramp)


def _room(request: OrderRequest, view: GateInput, holding: Holding | None, reach: Reach) -> Decimal:
    """Base coin that an order on this side can take and be certain to shrink.

    The smallest position there may be, less the closing orders of the same kind that already wait for it. A stop covers
    what is held now: it is made smaller when something else has closed a part.
    """
    if not _is_proven(holding, view):
        return ZERO
    if request.type in TRIGGER_TYPES and not view.venue_enforces_reduce_only:
        left = -request.side.sign * reach.size
    else:
        left = reach.low if request.side is Side.SELL else -reach.high
    return left - _waiting(request, view) if left > 0 else ZERO


def _waiting(request: OrderRequest, view: GateInput) -> Decimal:
    kind = request.type in TRIGGER_TYPES
    place: tuple[Key, Side] = ((request.product_id, request.slot), request.side)
    total = ZERO
    for order in view.working:
        if order.reduce_only and order.is_trigger == kind and ((order.product_id, order.slot), order.side) == place:
            total += order.remaining
    for one in view.unknown:
        asked = one.request
        same = asked.reduce_only and (asked.type in TRIGGER_TYPES) == kind
        if same and ((asked.product_id, asked.slot), asked.side) == place:
            total += asked.size
    return total


def _venue_caps(request: OrderRequest, view: GateInput, holding: Holding | None, reach: Reach) -> bool:
    """Where the venue enforces reduce-only, a flagged order is a true exit unless it is proven to be on the wrong side
    or larger than the position can be."""
    if not (request.reduce_only and view.venue_enforces_reduce_only):
        return False
    if not _is_proven(holding, view):
        return True
    return request.size <= (reach.high if request.side is Side.SELL else -reach.low)


def _is_proven(holding: Holding | None, view: GateInput) -> bool:
    if holding is None or holding.proof_age_ms is None:
        return False
    return holding.proof_age_ms <= view.ages.position.stale_ms
