"""`perpctl resume` (alias `enable`): leave a halt; the risky one."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import CarryOut, Commands, ReasonText

app = Commands()


@app.carry_out("resume")
def resume(
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="The human who decides.")] = "",
    reason: ReasonText = "",
) -> CarryOut:
    """Leave reduce-only or a halt: no kill pending, reconciled, preflight green, a name and a reason."""
    from perpctl.procedures import mode

    return lambda desk: mode.resume(desk, name, reason)
