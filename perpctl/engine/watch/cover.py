"""This file watches that stops cover what is held: not less and, where nothing but size keeps them honest, not more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.engine.state.product import Product
from perpctl.engine.watch.alarms import Alarm, clear_alarm, raise_alarm
from perpctl.model.money import plain
from perpctl.model.stops import LEAST_COVER

if TYPE_CHECKING:
    from perpctl.engine.core import Core

UNEVEN_S = 10.0


def watch_cover(core: Core) -> None:
    """An alarm for each position whose stops have been of the wrong size for ten seconds."""
    for product in core.products.values():
        name = f"stop cover {product.product_id}"
        if not _is_uneven(core, product):
            product.uneven_since = None
            clear_alarm(core, name)
        elif product.uneven_since is None:
            product.uneven_since = core.now
        elif core.now - product.uneven_since > UNEVEN_S:
            covered = plain(core.guard.covered(product, core.orders))
            raise_alarm(core, Alarm(name, 3, f"stops cover {covered} of {plain(abs(product.position))}"))


def _is_uneven(core: Core, product: Product) -> bool:
    held = abs(product.position)
    if not held:
        return False
    covered = core.guard.covered(product, core.orders)
    return covered < held * LEAST_COVER or (covered > held and not core.rules.terms.reduces_only)
