"""`perpctl probe`: what our key can do at its venue."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands

app = Commands()

Fresh = Annotated[bool, typer.Option("--fresh", help="Measure again, however young the last answer is.")]


@app.ask("probe", watch=False)
def probe(fresh: Fresh = False) -> Ask:
    """Measure what this key can do here: permissions, products, order types, channels, limits. Nothing is placed."""
    from perpctl.questions.venue import probe

    return lambda desk: probe.probe(desk, fresh=fresh)
