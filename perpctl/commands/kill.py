"""`perpctl kill` in the command tree: its options only, for help and completion; the front door carries it out."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from perpctl.commands.surface import Commands, ProfileName, VenueName

app = Commands()


@app.command("kill")
def kill(
    profile: ProfileName = None,
    venue: VenueName = None,
    force: Annotated[bool, typer.Option("--force", "--yes", help="Ask nothing.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")] = False,
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, for latch and receipt.")] = "",
    scope: Annotated[Literal["account", "ours"] | None, typer.Option(help="Whose orders.")] = None,
    max_slippage: Annotated[str | None, typer.Option(metavar="P", help="Never worse than this, e.g. 0.30%.")] = None,
    market: Annotated[bool, typer.Option("--market", help="Close at market at once.")] = False,
    status: Annotated[str | None, typer.Option(metavar="[ID]", help="Show the last kill, or this one.")] = None,
    finish: Annotated[str | None, typer.Option(metavar="[ID]", help="Take up an unfinished kill.")] = None,
    abandon: Annotated[str | None, typer.Option(metavar="ID", help="Give an unfinished kill up.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="What it does, in which order.")] = False,
    output: Annotated[
        Literal["table", "json"], typer.Option("--output", "-o", "--format", help="Form of the receipt.")
    ] = "table",
) -> int:
    """Latch, cancel, close and prove flat. Needs nothing that can be broken."""
    raise NotImplementedError("the front door carries out kill, before this file is imported")
