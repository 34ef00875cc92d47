"""`perpctl stops`: the protective stop of every position."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, CarryOut, Commands

app = Commands("The protective stop of every position.", default="list")


@app.ask("list")
def list_() -> Ask:
    """Every open position with its stop."""
    from perpctl.questions.held import stops

    return stops.listing


@app.ask("verify")
def verify() -> Ask:
    """Exit 0 only when every open position is covered at the venue, near enough to its entry; else 1."""
    from perpctl.questions.held import stops

    return stops.verify


@app.carry_out("place", lowers_risk=True)
def place(
    symbols: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="Default: every position.")] = None,
    slot: Annotated[int | None, typer.Option(metavar="N", help="Only this isolated slot.")] = None,
) -> CarryOut:
    """Place the missing stop of a position, or the missing part, over HTTP, so that it outlives every socket.

    Exit 0: read back covered; 6: a position is still bare, and named; 3: unknown.
    """
    from perpctl.procedures import protecting

    return lambda desk: protecting.place_stops(desk, tuple(symbols or ()), slot)
