"""`perpctl verify`: one claim about the desk, proven or refuted."""

from __future__ import annotations

from perpctl.commands.surface import Ask, Commands

app = Commands("One claim about the desk: start-up, no orders, in step with the venue.")


@app.ask("startup")
def startup() -> Ask:
    """The five boxes after a start: authentication, channels, limits, positions, monitoring; with evidence."""
    from perpctl.checks import startup

    return startup.boxes


@app.ask("no-orders")
def no_orders() -> Ask:
    """Exit 0 only after two empty listings a second apart; an error is never "none"."""
    from perpctl.checks import orders

    return orders.none_working


@app.ask("sync")
def sync() -> Ask:
    """Whether our journal and the venue agree on positions, orders and fills."""
    from perpctl.questions import reconcile

    return reconcile.in_step
