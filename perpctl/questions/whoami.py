"""Who is asking: the profile, the account that the venue reports, and where both come from."""

from __future__ import annotations

from perpctl.desk import Desk, operator
from perpctl.errors import ExitCode
from perpctl.results import Answer, Json, Line


async def whoami(desk: Desk) -> Answer:
    """The profile's money, venue and account; UNKNOWN (3) when the venue cannot tell or tells another account."""
    scope = await desk.scope()
    access = await desk.access()
    settings = desk.settings
    facts: dict[str, Json] = {
        "operator": operator(),
        "state_dir": str(settings.state_dir),
        "address": access.http,
        "key_file": str(access.key_file) if access.key_file else None,
    }
    view = (
        Line(f"operator  {facts['operator']}"),
        Line(f"venue     {access.http}"),
        Line(f"key       {facts['key_file'] or 'none: public answers only'}"),
        Line(f"state     {settings.state_dir}"),
    )
    certain = scope.pinned in ("pinned", "not pinned")
    return Answer("perpctl.whoami/1", scope, facts, view, ExitCode.OK if certain else ExitCode.UNKNOWN)
