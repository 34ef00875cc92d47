"""`perpctl ws`: test the venue's sockets."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands

app = Commands("The venue's sockets.")


@app.ask("test", watch=False)
def try_channels(
    symbols: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="Default: the profile's.")] = None,
) -> Ask:
    """Connect, sign in, subscribe, and time the first message of each channel; a refused one is named."""
    from perpctl.checks import sockets

    return lambda desk: sockets.test(desk, tuple(symbols or ()))
