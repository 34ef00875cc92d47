"""This file measures what the core believes against what the venue says: at the start, and every half minute."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.orders import outcomes
from perpctl.engine.orders.watching import came_after_all, is_watched
from perpctl.engine.state.product import Product
from perpctl.engine.state.working import Stage
from perpctl.engine.watch.alarms import Alarm, raise_alarm
from perpctl.model.mode import Mode
from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderRequest, Purpose, is_protective
from perpctl.model.position import Position

if TYPE_CHECKING:
    from perpctl.engine.core import Core


def take_over(core: Core, truth: e.Reconciled) -> None:
    """Begin with the venue's positions and our stops there; entries left by an earlier run are cancelled."""
    for product in core.products.values():
        position = find(truth.positions, product.product_id)
        fills = tuple(fill for fill in truth.fills if fill.product_id == product.product_id)
        product.held.adopt(position.size if position else ZERO, position.entry_price if position else None, fills)
        product.proven_at = core.now
    core.others = _others(core, truth.positions)
    for order in truth.orders:
        _take_over_order(core, order)
    for product in core.products.values():
        core.look_after(product)


def _take_over_order(core: Core, order: Order) -> None:
    product = core.products.get(order.product_id)
    if product is None or not core.is_ours(order.identity) or order.slot is not None:
        outcomes.unexpected(core, order)
    elif is_protective(order, product.position):
        working = core.follow(_as_stop(order), "found at the start")
        core.entered -= 1  # its intent was entered by another run
        working.order = order
        working.enter(Stage.RESTING, core.now)
    elif is_watched(core, order.identity):
        came_after_all(core, order)
    else:
        core.ask_for(e.CancelEntry(order, "left by an earlier run"))


def compare(core: Core, truth: e.Reconciled) -> None:
    """Book missing fills, settle orders that the listing lacks, take over positions that nothing explains."""
    for fill in truth.fills:
        outcomes.fill_seen(core, fill)
    core.others = _others(core, truth.positions)
    for product in core.products.values():
        _compare_position(core, product, find(truth.positions, product.product_id), truth)
    listed = {order.order_id for order in truth.orders}
    core.orders.foreign = {key: order for key, order in core.orders.foreign.items() if key in listed}
    for order in truth.orders:
        outcomes.order_seen(core, order)
    seen = {order.identity for order in truth.orders}
    for working in tuple(core.orders.ours.values()):
        was_there = working.stage in {Stage.RESTING, Stage.FILLING} and working.since < truth.since
        if was_there and working.request.identity not in seen:
            outcomes.lost_sight_of(core, working)


def _compare_position(core: Core, product: Product, position: Position | None, truth: e.Reconciled) -> None:
    size = position.size if position is not None else ZERO
    if size != product.position:
        if product.changed_at >= truth.since:
            return  # a fill came in while the venue was read: the next look decides
        text = f"the venue holds {size}, our fills come to {product.position}: taken over, unexplained"
        core.note("DRIFT", product.product_id, text)
        product.held.adopt(size, position.entry_price if position is not None else None, ())
        reason = "gate: a position differs and nothing explains it"
        raise_alarm(core, Alarm(f"drift {product.product_id}", 3, reason, Mode.REDUCE_ONLY))
        core.look_after(product)
    else:
        product.held.proven()
    product.proven_at = core.now


def find(positions: Iterable[Position], product_id: str) -> Position | None:
    """The cross position of a product; None: flat."""
    return next((p for p in positions if p.product_id == product_id and p.slot is None), None)


def _others(core: Core, positions: Iterable[Position]) -> tuple[Position, ...]:
    """Whoever made them, they count, but for products that the profile leaves to others."""
    ignored = core.rules.foreign.ignored
    beside = (p for p in positions if p.slot is not None or p.product_id not in core.products)
    return tuple(p for p in beside if p.product_id not in ignored)


def _as_stop(order: Order) -> OrderRequest:
    return OrderRequest(
        identity=order.identity or "",
        product_id=order.product_id,
        side=order.side,
        size=order.size,
        type=order.type,
        price=order.price,
        reduce_only=order.reduce_only,
        trigger_price=order.trigger_price,
        trigger=order.trigger,
        purpose=Purpose.STOP,
    )
