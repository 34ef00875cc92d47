"""`perpctl reconcile`: compare our books with the venue's and explain each difference."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import CarryOut, Commands

app = Commands()


@app.carry_out("reconcile")
def reconcile(
    apply: Annotated[bool, typer.Option("--apply", help="Journal the corrections; no order is ever sent.")] = False,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Only if it is still the plan that was shown.")] = None,
    adopt: Annotated[bool, typer.Option("--adopt", help="Take over what nobody explains.")] = False,
) -> CarryOut:
    """Every difference with its cause. Exit 0: clean; 1: differences; 3: could not be compared; 9: not that plan."""
    from perpctl.procedures import reconciling

    return lambda desk: reconciling.reconciled(desk, apply=apply, adopt=adopt, plan=plan)
