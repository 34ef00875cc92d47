"""`perpctl cancel-all`: cancel every entry at the venue; protective stops stay."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import CarryOut, Commands

app = Commands()


@app.carry_out("cancel-all", lowers_risk=True)
def cancel_all(
    force: Annotated[bool, typer.Option("--force", help="Every path, and ask nothing.")] = False,
    include_stops: Annotated[bool, typer.Option("--include-stops", help="Protective stops too.")] = False,
) -> CarryOut:
    """Cancel every entry at the venue, not only what we know, and re-read until none is left."""
    from perpctl.procedures import cancelling

    return lambda desk: cancelling.cancel_all(desk, include_stops=include_stops, every_path=force)
