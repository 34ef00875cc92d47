"""This file turns what a strategy wishes for into orders: cancel what serves no wish, place what no order serves."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.state.product import Product
from perpctl.engine.state.working import Stage, Working
from perpctl.engine.strategy import Desired, View
from perpctl.model.order import Side
from perpctl.risk.bounds import Market, effective
from perpctl.risk.conduct import CANCEL_SHARE, bucket_load

if TYPE_CHECKING:
    from perpctl.engine.core import Core

HUNDRED = Decimal(100)
NEARLY = Decimal("0.99")  # an order is judged at its own price where that is dearer than the reference
WISH_S = 2.0  # a wish that could not be sent for so long is forgotten
_GOING = frozenset({Stage.SENDING, Stage.CANCELLING, Stage.UNKNOWN})
_MESSAGES = (e.PlaceEntry, e.PlaceStop, e.CloseNow, e.CancelEntry, e.CancelStop)


def view_of(core: Core, product: Product) -> View:
    """What the strategy sees; asked only while there is a two-sided quote and a read account."""
    quote, account = product.quote, core.day.account
    assert quote is not None
    assert quote.bid is not None
    assert quote.ask is not None
    assert account is not None
    limits = core.rules.limits
    bounds = effective(limits, account.equity, Market(product.mark or quote.bid, quote.open_interest), core.ramp)
    orders_a_day = int(limits.max_orders_day)
    return View(
        instrument=product.instrument,
        quote=quote,
        bid=quote.bid,
        ask=quote.ask,
        market_ms=quote.at_ms,
        position=product.position,
        entry_price=product.held.entry_price,
        target_max=bounds.position_size * limits.strategy_target_pct / HUNDRED / len(core.products),
        max_order=bounds.order_size * NEARLY,
        closed=_closed(quote.funding_8h, limits.max_funding_against_pct),
        may_increase=core.may_increase,
        orders_left=max(0, orders_a_day - core.activity.recent(core.market_ms).orders_today),
        orders_a_day=orders_a_day,
        day_left=core.rules.calendar.day_left(quote.at_ms),
    )


def _closed(rate_8h: Decimal | None, limit_pct: Decimal) -> frozenset[Side]:
    """The side that would pay more funding than is allowed; both while the rate is unknown."""
    if rate_8h is None:
        return frozenset(Side)
    return frozenset(side for side in Side if rate_8h * side.sign * HUNDRED >= limit_pct)


def cancel_unwanted(core: Core, product: Product) -> None:
    """Orders that serve a wish stay, and the wish is fulfilled; the others go."""
    unserved = list(product.waiting)
    ended = [old for old in core.orders.ended if old.request.product_id == product.product_id]
    for working in (*core.orders.of(product.product_id, stops=False), *ended):
        served = next((wish for wish in unserved if _serves(working, wish)), None)
        if served is not None:
            unserved.remove(served)
        elif working.stage is Stage.RESTING and fits(core, Decimal(1)):
            core.cancel(working, "no longer wanted")
        else:
            working.renews = False
    core.orders.ended = [old for old in core.orders.ended if old.renews]
    product.waiting = tuple(unserved)


def place_waiting(core: Core, product: Product) -> None:
    """Send the wishes whose side is free: an old order goes first, so that two never fill for one."""
    if not product.waiting:
        return
    if core.now - product.waiting_since > WISH_S:
        product.waiting = ()
        return
    entries = core.orders.of(product.product_id, stops=False)
    busy = {working.request.side for working in entries if working.stage in _GOING}
    still = []
    for wish in product.waiting:
        if wish.side in busy or not fits(core, 1 - CANCEL_SHARE):
            still.append(wish)
        else:
            _place(core, product, wish)
    product.waiting = tuple(still)


def messages_in(effects: Iterable[e.Effect]) -> int:
    """How many of these are messages to the venue."""
    return sum(isinstance(effect, _MESSAGES) for effect in effects)


def fits(core: Core, share: Decimal) -> bool:
    """Whether one more message keeps the rate, of which entries use only their share."""
    limits = core.rules.limits
    coming = core.on_their_way + messages_in(core.asked)
    messages = core.activity.recent(core.market_ms).messages_ms + (core.market_ms,) * coming
    return bucket_load(messages, core.market_ms, limits) <= int(limits.messages_burst * share)


def _place(core: Core, product: Product, wish: Desired) -> None:
    request = product.entry(wish, core.new_identity(), core.may_increase, core.rules.terms)
    if request is not None and request.reduce_only and wish.take:
        core.exit(product, request, wish.why)
    elif request is not None:
        core.follow(request, wish.why, wish.tolerance)
        core.ask_for(e.PlaceEntry(request, wish.why))


def _serves(working: Working, wish: Desired) -> bool:
    """Whether this order is what the strategy wants to have: the side, and near enough in price."""
    request = working.request
    live = working.renews or working.stage in {Stage.SENDING, Stage.RESTING}
    if not live or wish.take or request.side is not wish.side or request.price is None:
        return False
    return abs(request.price - wish.price) <= wish.tolerance and working.remaining <= wish.size
