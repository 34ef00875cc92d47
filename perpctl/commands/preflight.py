"""`perpctl preflight`: every gate before a start, with evidence and a fix."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands

app = Commands()


@app.ask("preflight")
def preflight(
    show_all: Annotated[
        bool | None,
        typer.Option("--all/--only-trouble", help="The gates that passed too, or never; else when all passed."),
    ] = None,
) -> Ask:
    """Every gate side by side, each with evidence, age and fix, within 10 s.

    Exit 0: may start; 1: a gate failed; 3: a gate could not be answered.
    """
    from perpctl.checks import preflight

    return lambda desk: preflight.preflight(desk, show_all=show_all)
