"""`perpctl whoami`: which money, venue, profile and account this is."""

from __future__ import annotations

from perpctl.commands.surface import Ask, Commands

app = Commands()


@app.ask("whoami", watch=False)
def whoami() -> Ask:
    """Which money, venue, profile and account this is, as the venue itself says."""
    from perpctl.questions import whoami

    return whoami.whoami
