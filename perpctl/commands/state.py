"""`perpctl state`: save a consistent snapshot, with its hash."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from perpctl.commands.surface import CarryOut, Commands

app = Commands("Save a consistent snapshot of what we remember.")


@app.carry_out("save")
def save(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Default: under saves/.")] = None,
) -> CarryOut:
    """Copy the journal as of one moment while others go on writing, verify the copy, and put its SHA-256 beside it.

    Exit 0: verified; 11: our own state is damaged, or cannot be written.
    """
    from perpctl.procedures import saving

    return lambda desk: saving.save(desk, file)
