"""`perpctl account`: equity, margin and the pinned account."""

from __future__ import annotations

from perpctl.commands.surface import Ask, CarryOut, Commands

app = Commands("Equity, margin and the pinned account.", default="show")


@app.ask("show")
def show() -> Ask:
    """Equity and margin of the pinned account, isolated slots included."""
    from perpctl.questions import account

    return account.summary


@app.carry_out("pin")
def pin() -> CarryOut:
    """Bind the profile to the account that its key reaches now."""
    from perpctl.procedures import pinning

    return pinning.pin
