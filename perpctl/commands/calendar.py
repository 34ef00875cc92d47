"""`perpctl calendar`: what comes next."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands

app = Commands()

Days = Annotated[int | None, typer.Option(metavar="N", min=1, max=366, help="All of N days, not the next of each.")]


@app.ask("calendar")
def calendar(days: Days = None) -> Ask:
    """Settlement, stops, margin windows, funding, routine: what comes next, in how long, and how old our facts are."""
    from perpctl.questions.venue import calendar

    return calendar.upcoming(days)
