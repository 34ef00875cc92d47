"""`perpctl completion`: the script that completes perpctl in your shell."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from perpctl.commands.surface import Ask, Commands
from perpctl.results import Answer, Verbatim

app = Commands("Shell completions.", default="show")


@app.ask("show", watch=False)
def show(shell: Annotated[Literal["bash", "zsh", "fish"], typer.Argument(help="bash, zsh or fish.")]) -> Ask:
    """The script for a shell; for bash put it into ~/.local/share/bash-completion/completions/perpctl."""
    from perpctl.completion import script

    text = script(shell)
    return Answer("perpctl.completion/1", None, {"shell": shell, "script": text}, (Verbatim(text),))
