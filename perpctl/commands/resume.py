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
    """Leave reduce-only or a halt: no kill pending, reconciled within 5 min, preflight green, a name and a reason.

    `--yes` skips none of it. Exit 0: normal again, limits growing back over 30 min; 5: refused, and why;
    6: reduce-only at most, for the day's loss.
    """
    from perpctl.procedures import mode

    return lambda desk: mode.resume(desk, name, reason)
