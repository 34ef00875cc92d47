"""This file says in a sentence why no entry goes out now, and until when by the clock: for every screen and answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.engine.hours.margin import over_limit
from perpctl.engine.hours.state import Closed, closed_by_hours
from perpctl.model.mode import Mode
from perpctl.results import Json

if TYPE_CHECKING:
    from perpctl.engine.core import Core


def entries_off(core: Core) -> Closed | None:
    """The first thing that stands in the way; None: nothing but each order's own gate does."""
    if core.blocks:
        return Closed("; ".join(core.blocks.values()), None)
    if core.mode is not Mode.NORMAL:
        return Closed(f"mode {core.mode.value}: {core.mode_why}", None)
    if (closed := closed_by_hours(core)) is not None:
        return closed
    return None if (words := over_limit(core)) is None else Closed(words, None)


def words_of(closed: Closed) -> str:
    """With the time at which the clock lets entries back."""
    until = "" if closed.until_ms is None else f", until {from_ms(closed.until_ms):%a %H:%M:%S} UTC at the earliest"
    return f"{closed.why}{until}"


def facts_of_off(core: Core) -> Json:
    """For watchers; null while entries may go."""
    closed = entries_off(core)
    if closed is None:
        return None
    return {"why": closed.why, "until": None if closed.until_ms is None else from_ms(closed.until_ms).isoformat()}
