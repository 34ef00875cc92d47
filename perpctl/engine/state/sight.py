"""This file shows the gate the world at one decision, out of what the core knows and what was read right now."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal

from perpctl.engine.core import Core
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.product import Product
from perpctl.engine.state.working import Stage, Working
from perpctl.model.exposure import Holding, UnknownOrder
from perpctl.model.mode import Mode
from perpctl.model.order import Order, OrderRequest
from perpctl.model.position import Position
from perpctl.risk.view import GateInput

_KNOWN = frozenset({Stage.RESTING, Stage.CANCELLING})


@dataclass(frozen=True, slots=True)
class Permission:
    """Latch and lease as read right before the send; `lease_left_ms` None: not held."""

    latch: Mode
    kill_in_progress: bool
    lease_left_ms: int | None


def look(core: Core, request: OrderRequest, permission: Permission, meter: Meter, now: float) -> GateInput:
    """Everything that the gate judges `request` by. Ages run on our monotonic counter, windows on market time."""
    product = core.products.get(request.product_id)
    quote = product.quote if product is not None else None
    account = core.day.account
    worth = core.worth(worse=True)
    return GateInput(
        now_ms=core.market_ms,
        mode=core.mode,
        latch=permission.latch,
        kill_in_progress=permission.kill_in_progress,
        lease_left_ms=permission.lease_left_ms,
        allowed=frozenset(core.products),
        isolated=core.rules.isolated,
        instrument=product.instrument if product is not None else None,
        spec_unchanged=product is not None and not product.spec_changed,
        quote=quote,
        quote_age_ms=_age_ms(now, quote.seen if quote is not None else None),
        account=account,
        account_age_ms=_age_ms(now, core.day.read_at if account is not None else None),
        holdings=_holdings(core, now),
        working=_working(core, request),
        unknown=_unknown(core, request),
        recent=core.activity.recent(core.market_ms),
        entered=core.entered,
        left=core.left,
        day_pnl_pct=core.day.pnl_pct(worth, core.market_ms),
        drawdown_pct=core.day.drawdown_pct(worth),
        move_1m_pct=product.move_1m_pct if product is not None else None,
        unprotected_ms=_age_ms(now, product.bare_since) if product is not None else None,
        dead_man=core.dead_man,
        venue_age_ms=core.hours.age_ms(now),
        planned_stop=core.hours.back is not None
        or core.rules.calendar.pauses_entries(core.market.now_ms(now), core.hours.stops),
        venue_enforces_reduce_only=core.rules.terms.reduces_only,
        ramp=core.ramp,
        order_success_pct=meter.order_success_pct(now),
        latency_p95_ms=meter.latency_p95_ms(now),
    )


def _age_ms(now: float, since: float | None) -> int | None:
    return None if since is None else max(0, int((now - since) * 1000))


def _holdings(core: Core, now: float) -> tuple[Holding, ...]:
    ours = (_held(product, now) for product in core.products.values())
    return (*ours, *(_other(position, now) for position in core.others))


def _held(product: Product, now: float) -> Holding:
    price = product.worse_price
    age = _age_ms(now, product.proven_at)
    return Holding(product.product_id, product.instrument.base, product.position, price, age)


def _other(position: Position, now: float) -> Holding:
    price: Decimal | None = position.mark or position.index
    return Holding(
        position.product_id, position.underlying, position.size, price, _age_ms(now, position.seen), position.slot
    )


def _working(core: Core, request: OrderRequest) -> tuple[Order, ...]:
    ours = tuple(
        w.order
        for w in core.orders.ours.values()
        if w.order is not None and w.stage in _KNOWN and w.request.identity != request.identity
    )
    return ours + tuple(core.orders.foreign.values())


def _unknown(core: Core, request: OrderRequest) -> tuple[UnknownOrder, ...]:
    """What is on its way, out of sight, or not yet counted: in full, at its worst."""
    return tuple(
        UnknownOrder(_rest(w), w.since_ms)
        for w in core.orders.ours.values()
        if w.stage not in _KNOWN and w.request.identity != request.identity and w.remaining > 0
    )


def _rest(working: Working) -> OrderRequest:
    request = working.request
    return request if working.remaining == request.size else replace(request, size=working.remaining)
