"""`perpctl paper`: the paper exchange of a profile; serve it, make keys for it, move and break it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from perpctl.commands.surface import Ask, CarryOut, Commands, Serve

app = Commands("The paper exchange: a venue of our own, true to the real one on the wire.", default="status")


class Algorithm(StrEnum):
    es256 = "es256"
    ed25519 = "ed25519"


@app.ask("status")
def status() -> Ask:
    """Whether it runs, where, what the market time is, and which faults are in force."""
    from perpctl.paper import operating

    return operating.status


@app.serve("serve")
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 0,
    feed: Annotated[
        str,
        typer.Option(
            help="synthetic, replay:FILE (candles, or captured stream messages) or venue (the global market)."
        ),
    ] = "synthetic",
    speed: Annotated[str, typer.Option(help="Market seconds a second, or max.")] = "1",
    seed: Annotated[int, typer.Option(help="Of the synthetic market and of faults.")] = 0,
    tls: Annotated[bool, typer.Option("--tls", help="With a certificate of its own.")] = False,
    idle_exit: Annotated[float | None, typer.Option(metavar="SECONDS", help="Stop when unused for so long.")] = None,
    scenario: Annotated[str | None, typer.Option(help="An incident of the past to play, by name.")] = None,
) -> Serve:
    """Serve until stopped; prints one JSON line with every address when ready."""
    from perpctl.paper import operating

    return lambda desk: operating.serve(
        desk, port=port, feed=feed, speed=speed, seed=seed, tls=tls, idle_exit_s=idle_exit, scenario=scenario
    )


@app.carry_out("key")
def key(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Never an existing file.")],
    algorithm: Annotated[Algorithm, typer.Option(help="The kind of key.")] = Algorithm.es256,
    permissions: Annotated[str, typer.Option(help="Of view, trade, transfer.")] = "view,trade",
    account: Annotated[int, typer.Option(min=1, max=9999, help="Another number is another account and portfolio.")] = 1,
) -> CarryOut:
    """Write a CDP key file that the paper exchange accepts, also while it runs."""
    from perpctl.paper import operating

    return lambda desk: operating.make_key(desk, algorithm.value, out, permissions, account)


@app.carry_out("reset")
def reset(
    force: Annotated[
        bool, typer.Option("--force", help="Even under a running bot, whose orders are then gone.")
    ] = False,
) -> CarryOut:
    """Start anew: accounts, orders and fills are forgotten, keys stay. Exit 10 while a bot of the profile runs."""
    from perpctl.paper import operating

    return lambda desk: operating.reset(desk, force=force)


@app.carry_out("price")
def price(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="BTC-PERP, or the venue's product id.")],
    to: Annotated[str, typer.Argument(metavar="PRICE")],
) -> CarryOut:
    """Move a market to a price, and the path of its feed with it."""
    from perpctl.paper import operating

    return lambda desk: operating.set_price(desk, symbol, to)


@app.carry_out("fault")
def fault(
    kind: Annotated[str, typer.Argument(help="delay, drop_before, drop_after, http_status, outage ... or clear.")],
    method: Annotated[str, typer.Option(help="A pattern over methods or channels.")] = "*",
    count: Annotated[int | None, typer.Option(min=1, help="How often; left out: once.")] = None,
    seconds: Annotated[float | None, typer.Option(help="Of a delay.")] = None,
    status: Annotated[int | None, typer.Option(help="Of http_status.")] = None,
    body: Annotated[str | None, typer.Option(help="Of http_status.")] = None,
    number: Annotated[int | None, typer.Option("--id", help="Which one to clear; left out: all.")] = None,
) -> CarryOut:
    """Make the exchange misbehave by a rule, or end rules with `clear`."""
    from perpctl.paper import operating

    if kind == "clear":
        return lambda desk: operating.clear_faults(desk, number)
    given = {"kind": kind, "method": method, "count": count, "seconds": seconds, "status": status, "body": body}
    return lambda desk: operating.add_fault(desk, {name: value for name, value in given.items() if value is not None})
