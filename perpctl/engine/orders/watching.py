"""This file looks out for orders that were settled as never arrived: for a day one may still come, and it is ours.

Where a venue takes an order whenever its bytes reach it, two empty readings are strong evidence and no proof for ever.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.watch.alarms import Alarm, raise_alarm
from perpctl.model.fill import Fill
from perpctl.model.order import Order

if TYPE_CHECKING:
    from perpctl.engine.core import Core


def watch_for(core: Core, identity: str, sent_ms: int) -> None:
    """Look out for it from its send (market time) on, for as long as the venue's terms say."""
    watched_s = core.rules.terms.arrival.watched_s
    if watched_s:
        core.orders.watched[identity] = sent_ms + int(watched_s * 1000)


def is_watched(core: Core, identity: str | None) -> bool:
    """Whether it was settled as never arrived and may still come."""
    until_ms = core.orders.watched.get(identity or "")
    if until_ms is not None and until_ms < core.market_ms:
        del core.orders.watched[identity or ""]
        return False
    return until_ms is not None


def came_after_all(core: Core, order: Order) -> None:
    """It is live although it was thought gone: ours, wanted no more, and counted until it is cancelled."""
    core.orders.foreign[order.order_id] = order
    text = f"order {order.order_id} of ours was thought gone and is live: cancelled"
    raise_alarm(core, Alarm(f"order returned {order.order_id}", 3, text))
    cancel = e.CancelStop if order.is_trigger else e.CancelEntry
    core.ask_for(cancel(order, "was thought gone"))


def filled_after_all(core: Core, fill: Fill) -> None:
    """It filled before it could be cancelled: the position holds it, and no stranger is looked for."""
    text = f"order {fill.order_id} of ours was thought never to have arrived and filled {fill.size}: counted"
    raise_alarm(core, Alarm(f"order returned {fill.order_id}", 3, text))
