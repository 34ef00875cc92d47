"""`perpctl config`: what the settings are, where each came from, whether they hold, and a new profile."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from perpctl.commands.surface import Ask, CarryOut, Commands, Founding, ProfileName, Venue, VenueName

app = Commands("Settings: show, validate, init.", default="show")

_File = Annotated[Path | None, typer.Option(metavar="FILE")]
_Url = Annotated[str | None, typer.Option(metavar="URL")]


@app.ask("show", watch=False)
def show(origin: Annotated[bool, typer.Option("--origin", help="Say where each value came from.")] = False) -> Ask:
    """Every setting in force."""
    from perpctl.checks import configuration

    return lambda desk: configuration.shown(desk, origin)


@app.ask("validate", watch=False)
def validate(profile: ProfileName = None, venue: VenueName = None) -> Ask:
    """Check the settings of one profile, or of all, without asking the venue. Exit 2 when they do not hold."""
    from perpctl.checks import configuration

    return lambda desk: configuration.validated(desk, every=not (profile or venue))


@app.carry_out("init")
def init(
    name: Annotated[str, typer.Argument(help="Name of the new profile.")],
    key_file: Annotated[Path, typer.Option(metavar="FILE", help="CDP key file, mode 0600.")],
    kill_key_file: _File = None,
    backup_key_file: _File = None,
    ca_file: _File = None,
    risk_level: Literal["conservative", "moderate", "aggressive"] = "conservative",
    kill_scope: Annotated[
        Literal["account", "ours"] | None, typer.Option(help="Whose orders a kill takes; asked when left out.")
    ] = None,
    venue: Annotated[
        Venue, typer.Option(metavar="us|global", help="Which of Coinbase's two the key is for.")
    ] = "global",
    http: _Url = None,
    ws: _Url = None,
    streams: _Url = None,
) -> CarryOut:
    """Add a live profile to the user's configuration, pinned to the account that the key reaches."""
    from perpctl import render
    from perpctl.procedures import founding

    scope = kill_scope or founding.scope_asked(render.prompt())
    keys = {"key_file": key_file, "kill_key_file": kill_key_file, "backup_key_file": backup_key_file}
    words = {**keys, "ca_file": ca_file, "risk_level": risk_level, "kill_scope": scope}
    new = founding.NewProfile.of(name, venue, words, {"http": http, "ws": ws, "streams": streams})
    return Founding(new.profile, new.plan)
