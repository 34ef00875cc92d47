"""`perpctl cancel-all`: cancel every entry at the venue; protective stops stay."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import CarryOut, Commands

app = Commands()


@app.carry_out("cancel-all", lowers_risk=True)
def cancel_all(
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Try every path (mass cancel, each product, each id) even when orders cannot be listed; ask nothing.",
        ),
    ] = False,
    include_stops: Annotated[
        bool, typer.Option("--include-stops", help="Protective stops too; says which positions are then bare.")
    ] = False,
) -> CarryOut:
    """Cancel every entry at the venue, not only what we know, and re-read until none is left.

    Protective stops stay. Exit 0: two listings a second apart show none; 6: some are left and named; 3: unknown.
    """
    from perpctl.procedures import cancelling

    return lambda desk: cancelling.cancel_all(desk, include_stops=include_stops, every_path=force)
