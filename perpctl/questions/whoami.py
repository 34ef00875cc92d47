"""Who is asking: the profile, the account that the venue reports, and where both come from."""

from __future__ import annotations

from perpctl.desk import Desk
from perpctl.errors import CredentialError, PerpctlError, UnknownState
from perpctl.host.login import operator
from perpctl.results import Answer, Block, Json, Line, Next, Tone


async def whoami(desk: Desk) -> Answer:
    """The profile's money, venue and account; UNKNOWN (3) when the venue cannot tell or tells another account."""
    why: PerpctlError | None = None
    try:
        await desk.exchange()
    except (UnknownState, CredentialError) as failed:
        why = failed
    access = await desk.access()
    settings = desk.settings
    facts: dict[str, Json] = {
        "operator": operator(),
        "state_dir": str(settings.state_dir),
        "address": access.http,
        "key_file": str(access.key_file) if access.key_file else None,
    }
    view: list[Block] = [
        Line(f"operator  {facts['operator']}"),
        Line(f"venue     {access.http}"),
        Line(f"key       {facts['key_file'] or 'none: public answers only'}"),
        Line(f"state     {settings.state_dir}"),
    ]
    if why is None:
        return Answer("perpctl.whoami/1", desk.known_scope(), facts, tuple(view))
    view.append(Line(f"account   UNKNOWN: {why.message}", Tone.BAD))
    view.append(Next((f"perpctl -p {settings.profile} auth test", f"perpctl -p {settings.profile} market status")))
    return Answer("perpctl.whoami/1", desk.known_scope(), facts, tuple(view), why.exit_code, trouble=why.message)
