"""This file joins kills and the bot: none starts beside an unfinished one, and what ended goes into the journal.

Fills are left to the reading of the venue that follows, which books each once in the order of the venue's times.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from perpctl.emergency import pending
from perpctl.emergency.pending import Story
from perpctl.errors import RefusedBySafety
from perpctl.host.process import start_and_leave
from perpctl.model.order import Order
from perpctl.store.projections import Projections
from perpctl.store.records import Correlation, Kind

if TYPE_CHECKING:
    from perpctl.profile import Profile

_TOLD = ("step", "first_cancel", "cancelled", "close", "refused", "unknown", "trouble", "account")


def refuse_beside_kill(directory: Path) -> None:
    """Raises RefusedBySafety while a kill of the profile whose state is in `directory` has not ended."""
    unfinished = pending.unfinished(directory)
    if not unfinished:
        return
    name, last = directory.name, unfinished[-1]
    at_it = f"process {last.worker} is at it" if last.worker else "nobody is at it"
    raise RefusedBySafety(
        f"kill {', '.join(story.kill_id for story in unfinished)} of profile {name} has not ended; {at_it}",
        not_done="Nothing was started and nothing was sent.",
        next_commands=(f"perpctl kill -p {name} --status", f"perpctl kill -p {name} --finish"),
    )


def take_up_kill(settings: Profile) -> str | None:
    """Start a process on a kill that nobody is at any more, after a reboot say; what to tell of it, None: nothing.

    A kill is a standing order of a human until it is proven or given up; whoever comes by first sees to it.
    """
    left = pending.unfinished(settings.state_dir)
    if not left or any(story.worker is not None for story in left):
        return None
    name, ids = settings.profile, ", ".join(story.kill_id for story in left)
    start_and_leave([sys.executable, "-m", "perpctl", "kill", "-p", name, "--finish"], settings.state_dir / "kill.log")
    return (
        f"kill {ids} of profile {name} had not ended and nobody was at it: taken up by a process of its own.\n"
        f"perpctl kill -p {name} --status   |   perpctl kill -p {name} --abandon {left[-1].kill_id} --reason ..."
    )


def remember_kills(projections: Projections, directory: Path) -> tuple[str, ...]:
    """Journal every kill that is over and was not journaled yet, each whole or not at all; their ids."""
    journal = projections.journal
    known = {record.correlation.kill_id for record in journal.records(kinds=(Kind.PLAN_ENDED,))}
    fresh = [story for story in pending.stories(directory) if story.is_over and story.kill_id not in known]
    for story in fresh:
        with journal.batch():
            _remember(projections, story)
    return tuple(story.kill_id for story in fresh)


def _remember(projections: Projections, story: Story) -> None:
    journal, belongs = projections.journal, Correlation(kill_id=story.kill_id)
    journal.append(Kind.PLAN_STARTED, {"plan": "kill", "file": str(story.path), **_exact(story.started)}, belongs)
    for line in story.lines:
        if line["event"] == "closed":
            _see_close(projections, line, story.kill_id)
        elif line["event"] in _TOLD:
            journal.append(Kind.STEP_DONE, {"plan": "kill", **_exact(line)}, belongs)
    ending = next(line for line in reversed(story.lines) if line["event"] in ("ended", "abandoned"))
    journal.append(Kind.PLAN_ENDED, {"plan": "kill", **_exact(ending)}, belongs)


def _see_close(projections: Projections, line: Mapping[str, Any], kill_id: str) -> None:
    """An order of the kill's own making, under the identity it was sent with, final as the venue told it."""
    order = msgspec.convert(line["order"], Order)
    body = {**projections.sighting(order), "seen_by": "kill", "state_before": None, "fills": _exact(line)["fills"]}
    projections.journal.append(Kind.ORDER_SEEN, body, Correlation(order.identity, kill_id=kill_id), order.updated_ms)


def _exact(line: Mapping[str, Any]) -> dict[str, Any]:
    """A record holds no floats."""
    exact: dict[str, Any] = json.loads(json.dumps(line), parse_float=Decimal)
    return exact
