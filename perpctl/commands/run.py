"""`perpctl run`: the trading loop, on paper or live."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Commands, Serve

app = Commands()


@app.serve("run")
def run(
    mode: Annotated[str | None, typer.Option(metavar="paper|live", help="Asserts whose money it is.")] = None,
    symbols: Annotated[str | None, typer.Option(metavar="A,B", help="BTC-PERP and others; else the profile's.")] = None,
    risk_level: Annotated[str | None, typer.Option(help="conservative, moderate or aggressive.")] = None,
    strategy: Annotated[str, typer.Option(help="quoter, trend, or module:Class of your own.")] = "quoter",
    duration: Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop after so long.")] = None,
    feed: Annotated[
        str | None, typer.Option(help="synthetic, replay:FILE or venue, the global market (paper).")
    ] = None,
    speed: Annotated[str | None, typer.Option(help="Market seconds a second; max: simulate (paper).")] = None,
    seed: Annotated[int | None, typer.Option(help="Of the synthetic market (paper).")] = None,
    flatten: Annotated[bool, typer.Option("--flatten", help="Close positions at the end.")] = False,
    leave_orders: Annotated[bool, typer.Option("--leave-orders", help="Let entries rest at the end.")] = False,
) -> Serve:
    """Trade until Ctrl-C or q; entries are then cancelled and read back, stops of open positions stay."""
    from perpctl.engine import running

    names = tuple(name.strip() for name in (symbols or "").split(",") if name.strip())
    options = running.Options(mode, names, risk_level, strategy, duration, feed, speed, seed, flatten, leave_orders)
    return lambda desk: running.run(desk, options)
