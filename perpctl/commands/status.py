"""`perpctl status`: the first thing to type."""

from __future__ import annotations

from perpctl.commands.surface import Ask, Commands

app = Commands()


@app.ask("status")
def status() -> Ask:
    """Mode, bot, venue, risk, orders and what comes next.

    The exit code is the worst level: 0 fine, 1 something warns, 3 something is unknown, 11 our own state is damaged.
    """
    from perpctl.questions import status

    return status.status
