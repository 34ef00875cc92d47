"""`perpctl orders`: what works at the venue, and what became of an order."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, CarryOut, Commands

app = Commands("What works at the venue, and what became of an order.", default="list")


@app.ask("list")
def list_() -> Ask:
    """Every order at the venue that can still fill, whoever made it."""
    from perpctl.questions import orders

    return orders.working


@app.ask("trace")
def trace(order: Annotated[str, typer.Argument(metavar="ID", help="The venue's order id, or our label.")]) -> Ask:
    """Intent, decision, sends, answers, fills and cancels of one order, on one time line."""
    from perpctl.questions import trace

    return lambda desk: trace.order(desk, order)


@app.carry_out("adopt")
def adopt(order: Annotated[str, typer.Argument(metavar="ID", help="The venue's order id.")]) -> CarryOut:
    """Answer for an order, or its fills, that our journal does not know: the bot goes on, and it still counts."""
    from perpctl.procedures import reconciling

    return lambda desk: reconciling.adopted(desk, order)
