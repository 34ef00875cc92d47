"""This file brings an order nearer whose price lies outside of the venue's band, which moves and is told by nobody.

The band lies around the last price (US venue: a number of ticks that its exchange sets). So the distance to it is
halved, three times at most, and each try is an order of its own: decided, journaled, with a new identity.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.state.product import Product
from perpctl.engine.state.wishes import fits
from perpctl.engine.state.working import Working
from perpctl.model.money import price_down, price_up
from perpctl.model.order import OrderRequest
from perpctl.risk.conduct import CANCEL_SHARE

if TYPE_CHECKING:
    from perpctl.engine.core import Core

MOST_TRIES = 3


def try_nearer(core: Core, refused: Working) -> bool:
    """Ask for the same order half as far away; False when it is not to be tried again."""
    request, product = refused.request, core.products[refused.request.product_id]
    price = _nearer(request, product)
    if price is None or refused.nearer >= MOST_TRIES or not _may_try(core, refused):
        return False
    again = replace(request, identity=core.new_identity(), price=price, ends_ms=None)
    reason = f"nearer than {request.identity}, which was outside the price band"
    core.follow(again, reason, refused.tolerance).nearer = refused.nearer + 1
    core.ask_for(e.PlaceStop(again, reason) if refused.is_stop else e.PlaceEntry(again, reason))
    return True


def _may_try(core: Core, refused: Working) -> bool:
    """A stop always may, an entry while entries may and the rate allows."""
    return refused.is_stop or (not core.is_closed_to_entries and fits(core, 1 - CANCEL_SHARE))


def _nearer(request: OrderRequest, product: Product) -> Decimal | None:
    """Half way to the last price, on the tick; of a stop's limit: to its trigger, which is where it belongs."""
    around, tick = request.trigger_price, product.instrument.tick
    if around is None and product.quote is not None:
        around = product.quote.last or product.mark
    if request.price is None or around is None:
        return None
    half = around + (request.price - around) / 2
    price = price_up(half, tick) if half < around else price_down(half, tick)
    return None if price == request.price else price
