"""This file takes in what became of our orders: answers, refusals, silence, the venue's own word, fills."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.engine import events as e
from perpctl.engine.orders.bands import try_nearer
from perpctl.engine.orders.renewing import follow_ended
from perpctl.engine.orders.watching import came_after_all, filled_after_all, is_watched, watch_for
from perpctl.engine.state.wishes import place_waiting
from perpctl.engine.state.working import Stage, Working
from perpctl.engine.watch.alarms import Alarm, raise_alarm
from perpctl.engine.watch.pace import watch_executions
from perpctl.engine.watch.strangers import leave_order, meet_fill, meet_order
from perpctl.exchange import port
from perpctl.model.fill import Fill
from perpctl.model.mode import Mode
from perpctl.model.order import Order
from perpctl.risk.verdict import HALTING

if TYPE_CHECKING:
    from perpctl.engine.core import Core

FILLS_S = 2.0  # after so long without the fills of an ended order, the venue is read
SETTLE_SOON_S, SETTLE_LATER_S, SETTLE_SOON_FOR_S = 1.0, 5.0, 15.0
LOCKED = frozenset({10019, 10072, 11098})  # account or position locks, Deribit docs, error codes


def placed(core: Core, event: e.Placed) -> None:
    """The venue's answer to an order, or its absence."""
    working, outcome = core.orders.ours.get(event.identity), event.outcome
    if isinstance(outcome, port.Confirmed):
        _confirmed(core, outcome)
        return
    if working is None:
        return
    if isinstance(outcome, port.Unknown):
        lost_sight_of(core, working)
        return
    core.orders.drop(event.identity)
    core.note("VENUE NO", working.request.product_id, f"{outcome.reason} ({outcome.code})")
    if outcome.code in LOCKED:
        raise_alarm(core, Alarm("locked", 4, f"the venue locked the account: {outcome.reason}", Mode.HALTED))
    closes = core.products[working.request.product_id].closing == event.identity
    if not (outcome.outside_band and not closes and try_nearer(core, working)):
        _refused(core, working)


def _confirmed(core: Core, outcome: port.Confirmed) -> None:
    order_seen(core, outcome.order)
    for fill in outcome.fills:
        fill_seen(core, fill)
    working = core.orders.ours.get(outcome.order.identity or "")
    if working is None or working.is_stop or not core.is_closed_to_entries:
        return
    if working.stage is Stage.RESTING:
        core.cancel(working, f"mode is {core.mode.value}")


def _refused(core: Core, working: Working) -> None:
    product = core.products[working.request.product_id]
    if working.is_stop:
        stops = core.orders.of(product.product_id, stops=True)
        core.asked += core.guard.refused(product, stops, core.now)
    core.look_after(product)


def held_back(core: Core, event: e.HeldBack) -> None:
    """The gate let an order of ours not pass."""
    working = core.orders.drop(event.identity)
    if working is None:
        return
    core.note("REFUSED", working.request.product_id, f"{event.control}: {event.reason}")
    if event.control in HALTING:
        raise_alarm(core, Alarm(event.control, 3, f"gate: {event.reason}", Mode.HALTED))
    product = core.products[working.request.product_id]
    if working.is_stop and core.guard.is_outdated(product, working):
        core.look_after(product)  # the position moved on between wish and gate: at once, in its new size
    else:
        _refused(core, working)


def cancel_answered(core: Core, event: e.CancelAnswered) -> None:
    """The venue's answer to a cancel, or its absence."""
    if isinstance(event.outcome, port.Confirmed):
        _confirmed(core, event.outcome)
        return
    working = core.orders.ours.get(event.identity)
    if working is not None:
        lost_sight_of(core, working)


def lost_sight_of(core: Core, working: Working) -> None:
    """Nobody knows what became of it: it counts in full until reads settle it."""
    working.enter(Stage.UNKNOWN, core.now)
    settle(core, working)


def settle(core: Core, working: Working) -> None:
    """Ask for reads, unless they are under way."""
    if not working.asking:
        working.asking, working.asked_at = True, core.now
        core.ask_for(e.SettleUnknown(working.request))


def settled(core: Core, event: e.Settled) -> None:
    """What reads said about an order out of sight."""
    working = core.orders.ours.get(event.identity)
    if working is None:
        return
    working.asking = False
    if isinstance(event.settled, port.Confirmed):
        _confirmed(core, event.settled)
    elif isinstance(event.settled, port.Absent):
        core.orders.drop(event.identity)
        watch_for(core, event.identity, working.since_ms)
        core.look_after(core.products[working.request.product_id])


def chase(core: Core, working: Working) -> None:
    """Time passes: what is out of sight is asked for again, what ended without its fills is read."""
    waited = core.now - working.since
    if working.stage is Stage.UNKNOWN:
        pause = SETTLE_SOON_S if waited < SETTLE_SOON_FOR_S else SETTLE_LATER_S
        if core.now - working.asked_at >= pause:
            settle(core, working)
    elif working.stage is Stage.FILLING and waited > FILLS_S:
        working.since = core.now
        core.ask_for(e.Reconcile("fills of an order at its end are missing"))


def order_seen(core: Core, order: Order) -> None:
    """The venue's word for an order, whoever made it."""
    core.user_heard = core.now
    working = core.orders.told(order, core.now)
    if working is None:
        unexpected(core, order)
        return
    product = core.products.get(order.product_id)
    if product is not None:
        core.look_after(product)
        follow_ended(core)
        place_waiting(core, product)


def unexpected(core: Core, order: Order) -> None:
    """An order that we do not follow: over, thought gone, or not ours."""
    if order.status.is_terminal:
        leave_order(core, order)
    elif is_watched(core, order.identity) or core.orders.finished.get(order.identity or "") is False:
        came_after_all(core, order)
    elif order.identity in core.orders.finished:
        return  # it was seen to end: old news
    else:
        meet_order(core, order)


def fill_seen(core: Core, fill: Fill) -> None:
    """A fill, from whichever source told it first."""
    core.user_heard = core.now
    product = core.products.get(fill.product_id)
    if product is None or fill.slot is not None or (change := product.held.book(fill)) is None:
        return
    product.changed_at = core.now
    core.activity.executed(fill)
    if core.orders.count(fill.identity, fill.size, core.now) is None and not core.is_ours(fill.identity):
        meet_fill(core, fill)
    elif is_watched(core, fill.identity):
        filled_after_all(core, fill)
    if change.trip is not None and change.trip < 0:
        core.activity.round_trip_lost(fill.at_ms)
    watch_executions(core, fill.product_id)
    core.look_after(product)
    follow_ended(core)
