"""`perpctl fills`: what was executed."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands

app = Commands("What was executed.", default="list")


@app.ask("list")
def list_(
    hours: Annotated[float, typer.Option(metavar="HOURS", min=0.01, max=24 * 90, help="How far back.")] = 24.0,
) -> Ask:
    """Every fill at the venue, oldest first, with its fee and who made it."""
    from perpctl.questions import orders

    return lambda desk: orders.filled(desk, hours)
