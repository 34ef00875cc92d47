"""`perpctl status`: the first thing to type."""

from __future__ import annotations

from perpctl.commands.surface import Ask, Commands

app = Commands()


@app.ask("status")
def status() -> Ask:
    """Mode, bot, venue, risk, orders and what comes next; the exit code is the worst level."""
    from perpctl.questions import status

    return status.status
