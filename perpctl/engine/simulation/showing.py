"""This file is `perpctl run --speed max`: plays the feed in a thread of its own, and says what came of it."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from perpctl import render
from perpctl.clock import from_ms
from perpctl.engine import events as e
from perpctl.engine.loop import Bot
from perpctl.engine.screen.summary import summary
from perpctl.engine.screen.view import Frame
from perpctl.engine.simulation.play import Audience, Played, Script, play
from perpctl.errors import ExitCode
from perpctl.model.money import plain
from perpctl.questions.figures import money
from perpctl.results import Answer, Block, Json, Line, Tone
from perpctl.store.lease import Lease

HALF_A_CENT = Decimal("0.005")


@dataclass(frozen=True, slots=True)
class Showing:
    """How to show it: on a screen, or one JSON object a line."""

    frame: Frame
    form: render.Form


async def simulate(script: Script, directory: Path, showing: Showing) -> int:
    """Play the script; 0 when the money adds up to the cent, 1 when not.

    Raises UsageError, FeedFileError, HeldByAnother.
    """
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lease = Lease.take(directory.with_suffix(".lease"), "simulation")
    enough = threading.Event()
    audience = Audience(lambda bot, note: _note(bot, note, showing), lambda bot: enough.is_set())
    playing = asyncio.create_task(asyncio.to_thread(play, script, directory, audience))
    try:
        bot, played = await asyncio.shield(playing)
    except asyncio.CancelledError:
        enough.set()
        await playing
        raise
    finally:
        lease.release()
    answer = _answer(bot, played, showing, directory)
    render.show(answer, showing.form)
    return int(answer.exit_code)


def _note(bot: Bot, note: e.Note, showing: Showing) -> None:
    at = from_ms(bot.core.market_ms).isoformat(timespec="seconds").replace("+00:00", "Z")
    facts: dict[str, Json] = {"env": "paper", "market_at": at, "event": note.kind.lower(), "note": note.text}
    line = Line(f"{at}  {note.kind:<8} {note.text}", Tone.WARN)
    render.show(Answer("perpctl.run/1", None, facts, (line,)), showing.form)


def _answer(bot: Bot, played: Played, showing: Showing, directory: Path) -> Answer:
    told = summary(bot, played.ended, showing.frame)
    adds_up = played.difference is not None and abs(played.difference) < HALF_A_CENT
    days = (played.market_to_ms - played.market_from_ms) / 86_400_000
    blocks: list[Block] = [
        Line(f"simulated {days:.1f} days of market, {played.ticks:,} ticks in {played.took_s:.1f} s", Tone.TITLE),
        *told.view[1:-1],
        Line(
            f"orders    {played.ended.fills} fills, {played.ended.refused_by_venue} refusals by the venue, "
            f"{played.ended.refused_by_gate} by the gate"
        ),
        Line(f"equity    {money(played.start_equity)} -> {money(played.equity)} {played.currency}"),
        *_untold(played),
        Line(
            f"ledger    the venue's equity and that of our own journal differ by {money(played.difference)}",
            Tone.GOOD if adds_up else Tone.BAD,
            mark=not adds_up,
        ),
        Line(f"journal   {played.records:,} records, chain {'whole' if played.is_whole else 'BROKEN'}, in {directory}"),
        Line(f"          head {played.head}"),
    ]
    facts: dict[str, Json] = {
        **told.facts,
        "event": "simulated",
        "ticks": played.ticks,
        "market_from_ms": played.market_from_ms,
        "market_to_ms": played.market_to_ms,
        "start_equity": plain(played.start_equity),
        "equity": plain(played.equity),
        "funding_untold": plain(played.untold),
        "ledger_difference": None if played.difference is None else plain(played.difference),
        "journal_records": played.records,
        "journal_head": played.head,
        "journal_whole": played.is_whole,
    }
    code = ExitCode.OK if adds_up and played.is_whole else ExitCode.NEGATIVE
    return Answer("perpctl.run/1", None, facts, tuple(blocks), code)


def _untold(played: Played) -> tuple[Line, ...]:
    """Funding that a venue books into its cash and lists nowhere: the exchange's own log has it, our journal cannot."""
    text = f"funding   {money(played.untold, signed=True)} {played.currency} booked by the venue and listed nowhere"
    return (Line(text),) if played.untold else ()
