"""`perpctl wait`: wait until flat, proven by agreeing reads."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands

app = Commands("Wait until flat, proven by agreeing reads.", default="flat")


@app.ask("flat", watch=False)
def flat(
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="Exit 8 when it is up.")] = 300.0,
) -> Ask:
    """Wait until no position is held: 0 proven, 8 time is up, 3 cannot tell."""
    from perpctl.checks import flat

    return lambda desk: flat.wait(desk, timeout)
