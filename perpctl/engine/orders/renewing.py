"""This file keeps alive what ends by itself: where no dead-man switch takes entries with us, they are sent with an end.

Such an order cannot be edited. It is cancelled, read back ended, and only then followed by a new one of what is left,
with an intent and an identity of its own: never are two of them alive. While nothing may rest, nothing is renewed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.hours.state import closed_by_hours
from perpctl.engine.state.wishes import fits
from perpctl.engine.state.working import Stage, Working
from perpctl.model.order import Purpose
from perpctl.risk.conduct import CANCEL_SHARE

if TYPE_CHECKING:
    from perpctl.engine.core import Core

RENEW_LEFT_MS = 45_000


def renew_entries(core: Core) -> None:
    """Time passes: cancel what comes near its end, and send what follows on those that have ended."""
    for working in core.orders.entries():
        if _is_due(core, working) and fits(core, 1 - CANCEL_SHARE):
            working.renews = True
            core.cancel(working, "renewed: its end is near")
    follow_ended(core)


def follow_ended(core: Core) -> None:
    """Send the successor of each order that was read back ended in order to be renewed."""
    waiting, core.orders.ended = core.orders.ended, []
    for old in waiting:
        if not _may_rest(core, old):
            continue
        if fits(core, 1 - CANCEL_SHARE):
            _follow(core, old)
        else:
            core.orders.ended.append(old)


def _is_due(core: Core, working: Working) -> bool:
    ends_ms = working.request.ends_ms
    if ends_ms is None or working.stage is not Stage.RESTING or not _may_rest(core, working):
        return False
    return core.market.now_ms(core.now) >= ends_ms - RENEW_LEFT_MS


def _may_rest(core: Core, working: Working) -> bool:
    """Whether what is left of it may go on resting; else it is left to its end."""
    product = core.products[working.request.product_id]
    quiet = core.is_closed_to_entries or closed_by_hours(core) is not None
    leaves = product.closing is not None or product.leaving is not None
    left = working.request.size - working.booked
    return not quiet and not leaves and product.is_tradable and left >= product.instrument.min_size


def _follow(core: Core, old: Working) -> None:
    request = replace(
        old.request,
        identity=core.new_identity(),
        size=old.request.size - old.booked,
        ends_ms=None,
        purpose=Purpose.RENEW,
    )
    reason = f"renews {old.request.identity}"
    core.follow(request, reason, old.tolerance)
    core.ask_for(e.PlaceEntry(request, reason))
