"""This file answers whose money it is and how much of it there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.questions import figures
from perpctl.results import Answer, Block, Json, Line

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.exchange.port import VenueTerms
    from perpctl.model.position import Account


async def summary(desk: Desk) -> Answer:
    """Equity and margin of the pinned account, isolated slots included."""
    exchange = await desk.exchange()
    account = await exchange.account()
    age = desk.clock.monotonic() - account.seen
    currency = account.currency
    used = account.initial_margin / account.equity if account.equity > 0 else None
    share, slots = figures.percent(used, 1, signed=False), figures.count(account.slots_in_use, "isolated slot")
    slotted = exchange.terms.slots
    view: tuple[Block, ...] = (
        Line(""),
        Line(f"EQUITY       {figures.money(account.equity):>16} {currency}   {_included(exchange.terms, account)}"),
        Line(f"BALANCE      {figures.money(account.balance):>16} {currency}"),
        Line(f"FREE         {figures.money(account.available):>16} {currency}"),
        Line(f"INITIAL      {figures.money(account.initial_margin):>16} {currency}   margin in use, {share} of equity"),
        Line(f"MAINTENANCE  {figures.money(account.maintenance_margin):>16} {currency}   liquidation below this"),
        Line(
            f"SESSION      {figures.money(account.session_realized, signed=True):>16} {currency}   realised; "
            f"unrealised {figures.money(account.session_unrealized, signed=True)}; since "
            f"{figures.day_start(exchange.calendar)}"
        ),
        Line(f"MODEL        {account.margin_model or figures.MISSING}" + (f"   {slots} in use" if slotted else "")),
        Line(f"REQUESTS     {_requests(account, exchange.terms)}"),
    )
    facts: dict[str, Json] = {
        "username": account.username,
        "currency": currency,
        "margin_model": account.margin_model,
        "slots_in_use": account.slots_in_use,
        "engine_rate": account.engine_rate,
        "engine_burst": account.engine_burst,
        "age_s": f"{age:.3f}",
        **figures.texts(
            [
                ("equity", account.equity),
                ("balance", account.balance),
                ("available", account.available),
                ("initial_margin", account.initial_margin),
                ("maintenance_margin", account.maintenance_margin),
                ("session_realized", account.session_realized),
                ("session_unrealized", account.session_unrealized),
            ]
        ),
    }
    return Answer(
        "perpctl.account/1",
        await desk.scope(),
        facts,
        view,
        standing=desk.standing(source="venue over HTTP", age_s=age),
    )


def _included(terms: VenueTerms, account: Account) -> str:
    if terms.slots:
        return "every isolated slot included"
    beside = "" if account.spot_cash is None else f"; spot cash {figures.money(account.spot_cash)} is beside it"
    return f"cash and what is unrealised{beside}"


def _requests(account: Account, terms: VenueTerms) -> str:
    if terms.limits_untold is not None:
        return f"n/a ({terms.limits_untold})"
    return f"{_rate(account.engine_rate)}/s, burst {_rate(account.engine_burst)} (matching engine)"


def _rate(number: int | None) -> str:
    return figures.MISSING if number is None else str(number)
