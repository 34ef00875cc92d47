"""`perpctl funding`: rates, payments and schedule."""

from __future__ import annotations

from typing import Annotated

import typer

from perpctl.commands.surface import Ask, Commands

app = Commands("Funding: rates, payments and schedule.", default="overview")


@app.ask("overview")
def overview() -> Ask:
    """Rates, the next payment, and what today has paid."""
    from perpctl.questions import funding

    return funding.overview


@app.ask("rates")
def rates(
    symbols: Annotated[list[str] | None, typer.Argument(metavar="[SYMBOL]...", help="Default: the profile's.")] = None,
) -> Ask:
    """The rate of each product, per 8 hours and a year, and when it is paid or accrues next."""
    from perpctl.questions import funding

    return lambda desk: funding.rates(desk, tuple(symbols or ()))


@app.ask("history")
def history(
    days: Annotated[int, typer.Option(metavar="DAYS", min=1, max=365, help="How far back.")] = 7,
) -> Ask:
    """Payments, not rates: exact from the venue's ledger, or estimated from our own samples, with every gap named."""
    from perpctl.questions import funding

    return lambda desk: funding.history(desk, days)


@app.ask("schedule")
def schedule() -> Ask:
    """When funding is paid or accrues next, and about what each position would pay."""
    from perpctl.questions import funding

    return funding.schedule


@app.ask("record")
def record() -> Ask:
    """Write one sample of rate, position and price to the journal; from cron, each hour, where history is estimated."""
    from perpctl.questions import funding_samples

    return funding_samples.record
