"""This file takes the steps around a stop of the venue: told, entries off, entries gone, stops verified, the way back.

Each is taken once for each stop. A bot that starts late, or a market that jumps, takes those that it missed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.engine import events as e
from perpctl.engine.hours.state import LOCK, Return
from perpctl.engine.state.product import Product
from perpctl.model.money import plain
from perpctl.model.venue.calendar import DAY_MS, Happening, Kind, merged
from perpctl.model.venue.stops import Stage, Standing

if TYPE_CHECKING:
    from perpctl.engine.core import Core

MINUTE_MS = 60_000
LOOK_MS = 250
JUST_OVER_MS = 600_000  # a stop that ended before is seen to be over by all that is read at a start anyway
TOWARDS = (Stage.AHEAD, Stage.PAUSED, Stage.CLEARED, Stage.VERIFIED, Stage.SHUT)
ACTS = (Stage.CLEARED, Stage.VERIFIED)  # which are made up for when they were missed; words are not
WORD = "HOURS"  # of these notes, on the screen


def venue_read(core: Core, event: e.VenueRead) -> None:
    """The venue said how it is; its time is known even when no quote comes."""
    core.hours.read(event.status, event.at_ms, core.now)
    core.time_seen(event.at_ms, core.now)
    watch_hours(core)


def specification_read(core: Core, product_id: str) -> None:
    """One of the things that are read anew after a stop."""
    if core.hours.back is not None:
        core.hours.back.specified.add(product_id)


def market_moved(core: Core) -> None:
    """Not at each of a hundred quotes a second: the gate itself looks at the clock before each order."""
    if core.market_ms - core.hours.looked_ms >= LOOK_MS:
        watch_hours(core)


def watch_hours(core: Core) -> None:
    """See which step is due."""
    hours, now_ms = core.hours, core.market.now_ms(core.now)
    if not hours.looked_ms:
        hours.inside = _just_over(core, now_ms)
    hours.looked_ms = now_ms
    standing = hours.standing = core.rules.calendar.standing(now_ms, hours.stops)
    if hours.inside is not None and (standing is None or standing.stage is not Stage.SHUT):
        _open(core, hours.inside, now_ms)
    if standing is None or standing.stage is Stage.AFTER:
        hours.reached = hours.towards_ms = None
    else:
        _go_towards(core, standing)
    was_shut, hours.was_shut = hours.was_shut, hours.is_shut
    if was_shut and not hours.was_shut:
        _send_again(core)
    if hours.was_shut:
        _tell_what_is_held(core, now_ms)
    if hours.back is not None:
        _go_back(core, hours.back, now_ms)


def _just_over(core: Core, now_ms: int) -> Happening | None:
    """The stop that ended shortly before the bot began: who was not there has still to see that it is over."""
    known = merged(core.rules.calendar.upcoming(now_ms - DAY_MS, now_ms), core.hours.stops)
    stops = (one for one in known if one.kind is Kind.STOP and not one.uncertain and not _is_short(one))
    ended = (one for one in stops if one.end_ms is not None and now_ms - JUST_OVER_MS < one.end_ms <= now_ms)
    return next(ended, None)


def _go_towards(core: Core, standing: Standing) -> None:
    hours = core.hours
    if hours.towards_ms != standing.stop.start_ms:
        hours.reached, hours.towards_ms = None, standing.stop.start_ms
    before = hours.reached or 0
    for stage in TOWARDS:
        missed = stage in ACTS and standing.stage is not Stage.SHUT
        if before < stage <= standing.stage and (stage is standing.stage or missed):
            hours.reached = stage
            _take(core, standing, stage)


def _take(core: Core, standing: Standing, stage: Stage) -> None:
    stop, what = standing.stop, f"{standing.stop.title}, {_span(standing.stop)}"
    match stage:
        case Stage.AHEAD:
            core.ask_for(e.Alert(1, "stop ahead", what if _is_short(stop) else f"{what}: {_decide(core)}"))
        case Stage.PAUSED:
            for product in core.products.values():
                product.waiting = ()
            if not _is_short(stop):
                core.ask_for(e.Alert(1, "no new entries", f"{what}: no new entries from now"))
        case Stage.CLEARED:
            reason = f"before {stop.name}"
            core.clear_entries(reason)
            core.ask_for(e.ReadBackEntries(reason))
            core.ask_for(e.Alert(1, "entries cancelled", f"{what}: entries are cancelled and read back"))
        case Stage.VERIFIED:
            core.hours.verifying = True
            core.ask_for(e.Reconcile("stops are verified before the venue stops"))
        case Stage.SHUT:
            core.hours.inside, core.hours.told_minute, core.hours.back = stop, 0, None
            core.ask_for(e.Alert(1, "shut", f"{what}: nothing can be placed, cancelled or closed"))
        case _:
            return


def _is_short(stop: Happening) -> bool:
    """It takes seconds: there is nothing to decide."""
    return stop.end_ms == stop.start_ms


def _decide(core: Core) -> str:
    """What whoever is on call has to decide, with the command for the other choice."""
    held = [product for product in core.products.values() if product.position]
    if not held:
        return "nothing is held"
    names = ", ".join(f"{plain(one.position)} {one.instrument.base}" for one in held)
    commands = ", ".join(f"perpctl positions close {one.instrument.symbol}" for one in held)
    return f"{names} is held through it with its stop, or flat before: {commands}"


def _span(stop: Happening) -> str:
    start = f"{from_ms(stop.start_ms):%a %H:%M}"
    if _is_short(stop):
        return f"{start} UTC"
    return (
        f"{start} UTC, nobody says until when"
        if stop.end_ms is None
        else f"{start} to {from_ms(stop.end_ms):%H:%M} UTC"
    )


def verified(core: Core) -> None:
    """The venue was read while a stop is near: does every position have its protective stop there?"""
    if not core.hours.verifying:
        return
    core.hours.verifying = False
    for product in core.products.values():
        if not product.position:
            continue
        size = f"{plain(product.position)} {product.instrument.base}"
        if core.guard.covers(product, core.orders):
            core.note(WORD, product.product_id, f"the stop of {size} was read back, before the venue stops")
        else:
            text = f"{size} has no full stop, and the venue stops soon"
            core.ask_for(e.Alert(3, "no stop before a stop", text, product.product_id))


# --- inside, and the way back


def _tell_what_is_held(core: Core, now_ms: int) -> None:
    hours = core.hours
    if now_ms // MINUTE_MS == hours.told_minute or hours.standing is None:
        return
    hours.told_minute = now_ms // MINUTE_MS
    for product in core.products.values():
        if product.position:
            core.note("SHUT", product.product_id, f"{_held(core, product)}; {_left(hours.standing.stop, now_ms)}")


def _held(core: Core, product: Product) -> str:
    words = f"{plain(product.position)} {product.instrument.base}"
    words += ", stop at the venue" if core.guard.covers(product, core.orders) else ", NO STOP"
    account = core.day.account
    if account is not None:
        buffer = account.equity - account.maintenance_margin
        words += f", buffer {buffer:,.2f} {account.currency} above maintenance"
    return f"{words}; nothing can be cancelled or closed"


def _left(stop: Happening, now_ms: int) -> str:
    return "nobody says until when" if stop.end_ms is None else f"{max(0, stop.end_ms - now_ms) // MINUTE_MS} min left"


def _send_again(core: Core) -> None:
    """The first seconds are the best: what waited for the venue goes out now, protection first."""
    for product in core.products.values():
        product.bare_since, product.retry_at = None, core.now
        core.look_after(product)


def _open(core: Core, stop: Happening, now_ms: int) -> None:
    """Over by the clock: what rests is cancelled, and everything is read anew before an entry may go."""
    core.hours.inside, core.hours.back = None, Return(stop, core.now, now_ms)
    reason = f"after {stop.name}"
    core.note(WORD, None, f"{stop.name} is over by the clock: all is read anew before entries go")
    core.clear_entries(reason)
    core.ask_for(e.ReadVenue())
    core.ask_for(e.ReadSpecifications())
    core.ask_for(e.Reconcile(reason))
    core.ask_for(e.ReadAccount(reason))


def _go_back(core: Core, back: Return, now_ms: int) -> None:
    for product in core.products.values():
        back.look(product, now_ms)
    paused = core.hours.standing is not None and core.hours.standing.pauses
    if not paused and not back.missing(core, now_ms):
        core.hours.back = None
        if back.stop.key == LOCK:
            core.hours.surprised_ms = now_ms
        core.ask_for(e.Alert(1, "entries back", f"after {back.stop.name}: all was read anew, entries may go again"))
