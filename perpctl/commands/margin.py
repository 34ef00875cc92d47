"""`perpctl margin`: what is used, how far liquidation is, and what a move would make of it."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands
from perpctl.errors import UsageError

app = Commands("Margin used, distance to liquidation, and both after a move.", default="show")

Move = Annotated[str, typer.Option(metavar="PERCENT", help="Every price moves by so much: -10% or +5%.")]
At = Annotated[str | None, typer.Option(metavar="TIME", help="In the margin window of then: 16:00ET; default: now.")]
Symbols = Annotated[list[str] | None, typer.Option("--symbol", metavar="SYMBOL", help="Only this one moves.")]


@app.ask("show")
def show() -> Ask:
    """Initial and maintenance margin, the share of equity and of the limit, and how far liquidation is."""
    from perpctl.questions.venue import margin

    return margin.show


@app.ask("what-if")
def what_if(move: Move, at: At = None, symbols: Symbols = None) -> Ask:
    """The same after a move of prices, in the margin window in force at a time. Nothing is sent."""
    from perpctl.model.venue import moment
    from perpctl.questions.venue import margin

    fraction = margin.parse_move(move)
    try:
        when = None if at is None else moment.parse(at)
    except ValueError as why:
        help_ = ("perpctl margin what-if --help",)
        raise UsageError(f"--at: {why}", not_done="nothing was read", next_commands=help_) from why
    return lambda desk: margin.what_if(desk, fraction, when, tuple(symbols or ()))
