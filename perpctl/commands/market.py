"""`perpctl market`: venue state, products, books."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands

app = Commands("Venue state, products, books.", default="status")


@app.ask("status")
def status(
    symbols: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="Default: the profile's.")] = None,
) -> Ask:
    """Whether the venue is up and each product tradable, its spread, and the age of the quote. Exit 1 when not."""
    from perpctl.questions import market

    return lambda desk: market.status(desk, tuple(symbols or ()))


@app.ask("list")
def list_() -> Ask:
    """Every perpetual of the venue with its increments and fees."""
    from perpctl.questions import market

    return market.listing


@app.ask("book")
def book(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="BTC-PERP, or the venue's product id.")],
    depth: Annotated[int, typer.Option(metavar="LEVELS", min=1, max=1000, help="Levels a side.")] = 10,
) -> Ask:
    """The best levels of one product's book."""
    from perpctl.questions import market

    return lambda desk: market.book(desk, symbol, depth)
