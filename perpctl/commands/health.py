"""`perpctl health`: ask the running bot how it is."""

from __future__ import annotations

from perpctl.commands.surface import Ask, Commands

app = Commands()


@app.ask("health")
def health() -> Ask:
    """Each component of the running bot with its age; exit 1 when it is ill or nothing answers."""
    from perpctl.questions import health

    return health.health
