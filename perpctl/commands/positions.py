"""`perpctl positions`: what is held, and how to close or reduce it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from perpctl.commands.surface import Ask, CarryOut, Commands
from perpctl.errors import UsageError

app = Commands("What is held, and how to close or reduce it.", default="list")

Symbol = Annotated[str, typer.Argument(metavar="SYMBOL", help="BTC-PERP, or the venue's product id.")]
Slot = Annotated[int | None, typer.Option(metavar="N", help="Only this isolated slot.")]
Market = Annotated[bool, typer.Option("--market", help="Start at market instead of climbing the ladder.")]
Slippage = Annotated[str | None, typer.Option(metavar="PERCENT", help="Stop there (0.30%) and say what is left.")]


@app.ask("list")
def list_(
    source: Annotated[str, typer.Option(metavar="WHERE", help="venue, or local (our journal).")] = "venue",
) -> Ask:
    """Size, entry, mark, profit, stop, limit and funding of every position, each with its age.

    Exit 0: read; 3: the venue could not be read, and what was last proven is shown with the worst it can have become.
    """
    from perpctl.questions.held import positions

    return lambda desk: positions.held(desk, source)


@app.ask("explain")
def explain(symbol: Symbol) -> Ask:
    """Fill by fill to today's number, and where we and the venue part ways. Exit 0 when both agree, else 1."""
    from perpctl.questions.held import explain

    return lambda desk: explain.position(desk, symbol)


@app.carry_out("close", lowers_risk=True, closes=True)
def close(symbol: Symbol, slot: Slot = None, market: Market = False, max_slippage: Slippage = None) -> CarryOut:
    """Close one product, reduce-only, by the same ladder as the kill; its stop goes last.

    Exit 0: read back closed; 6: something is left, and why; 3: unknown.
    """
    from perpctl.procedures import closing

    manner = closing.Manner.named(market=market, max_slippage=_fraction(max_slippage))
    return lambda desk: closing.close(desk, symbol, slot, manner)


@app.carry_out("reduce", lowers_risk=True, closes=True)
def reduce(
    symbol: Symbol,
    by: Annotated[
        str | None, typer.Option(metavar="AMOUNT", help='50%, base coin (0.1, "0.1 BTC") or "12 contracts".')
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="SIZE", help="The size to keep, in the same units.")] = None,
    slot: Slot = None,
    market: Market = False,
    max_slippage: Slippage = None,
) -> CarryOut:
    """Shrink one product, reduce-only; what is left keeps its stop, in its size. Exit codes as of `close`."""
    from perpctl.procedures import closing

    manner = closing.Manner.named(market=market, max_slippage=_fraction(max_slippage))
    amount = closing.Amount.given(by, to)
    return lambda desk: closing.reduce(desk, symbol, slot, amount, manner)


@app.carry_out("close-all", lowers_risk=True, closes=True)
def close_all(market: Market = False, max_slippage: Slippage = None) -> CarryOut:
    """Close every position of every slot, the remaining size each round, until read back flat.

    Exit 0: flat by agreeing reads; 6: something is left, and why; 3: unknown.
    """
    from perpctl.procedures import closing

    manner = closing.Manner.named(market=market, max_slippage=_fraction(max_slippage))
    return lambda desk: closing.close_all(desk, manner)


def _fraction(percent: str | None) -> Decimal | None:
    if percent is None:
        return None
    try:
        value = Decimal(percent.removesuffix("%").strip()) / 100
    except InvalidOperation:
        value = Decimal("NaN")
    if not percent.endswith("%") or not value.is_finite() or not 0 < value < 1:
        raise UsageError(f"{percent!r} is no slippage: write 0.30%", not_done="nothing was sent")
    return value
