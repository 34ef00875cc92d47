"""States of the desk to look at, each made anew on the stage: what is held, what rests, what is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

from perpctl import __main__ as front_door
from perpctl import profile
from perpctl.clock import ManualClock, to_ms
from perpctl.desk import Desk
from perpctl.model.order import OrderRequest, OrderType, Side
from perpctl.store.intents import Intents
from tests import trading
from tests.commands.stage import PRODUCTS, Stage, StillClock
from tests.conftest import START, Cli
from tests.store.stock import ALLOWED, GROUNDS

ABSENT = "00010000-0000-8000-8000-0000000000aa"  # an identity of ours by its form
RISK_DAY = "2026-11-24"  # 03:12 UTC belongs to the day that began at 08:00 UTC
Scene = Callable[[Stage, Cli], None]


def at_the_desk(trade: Callable[[Desk], object]) -> None:
    """Trade at the venue as ourselves, on the stage's clock."""

    async def work() -> None:
        desk = Desk(profile.load(None), ManualClock(START))
        try:
            made = trade(desk)
            if asyncio.iscoroutine(made):
                await made
        finally:
            await desk.aclose()

    asyncio.run(work())


def booked(cli: Cli) -> None:
    """Our books learn what the venue has."""
    ran = cli("reconcile", "--apply", "--yes", "--reason", "the scene is set")
    assert ran.code == 0, ran.out + ran.err


def flat(stage: Stage, cli: Cli) -> None:
    """Nothing is held, nothing rests."""


def probed(stage: Stage, cli: Cli) -> None:
    """Nothing is held, and what the key can do was measured."""
    with contextlib.redirect_stdout(io.StringIO()):
        assert front_door.main(["probe"], StillClock(START)) in (0, 3)  # on the clock that preflight then reads


async def _two_products(desk: Desk) -> None:
    eth = PRODUCTS[desk.settings.venue]["ETH"]
    await trading.place(desk, size="0.35")
    await trading.place(desk, size="0.35", side="SELL", trigger_price="82500", reduce_only=True)
    await trading.place(desk, size="6", side="SELL", product_id=eth)
    await trading.place(desk, size="6", trigger_price="2660", reduce_only=True, product_id=eth)


def held(stage: Stage, cli: Cli) -> None:
    """Two products with their stops, the day's baseline taken, the books in step."""
    at_the_desk(_two_products)
    booked(cli)
    currency = {"global": "USDC", "us": "USD"}[stage.venue]
    at_the_desk(lambda desk: desk.projections().set_baseline(RISK_DAY, Decimal(100_000), currency, to_ms(START)))
    stage.tell("/advance", seconds=600)


def bare(stage: Stage, cli: Cli) -> None:
    """As `held`; beside them somebody else's position without a stop, in a slot if there are any, and an order."""
    held(stage, cli)
    stage.buy_elsewhere()
    stage.order_by_hand()


async def _entries(desk: Desk) -> None:
    await trading.entry(desk, size="0.02")
    await trading.entry(desk, "SELL", size="0.03")


def working(stage: Stage, cli: Cli) -> None:
    """As `bare`, and two entries of our own rest."""
    bare(stage, cli)
    at_the_desk(_entries)


def absent(stage: Stage, cli: Cli) -> None:
    """An order of ours got no answer half an hour ago, and two empty readings since."""
    at_the_desk(_never_arrived)


async def _never_arrived(desk: Desk) -> None:
    request = OrderRequest(
        ABSENT, PRODUCTS[desk.settings.venue]["BTC"], Side.BUY, Decimal("0.02"), OrderType.LIMIT, Decimal(80_000)
    )
    intents = Intents(desk.projections())
    intents.intend(request, ALLOWED, replace(GROUNDS, market_ms=to_ms(START) - 1_800_000))
    intents.unknown(ABSENT, "timed out")
    intents.settled_absent(ABSENT, "two empty readings", "listing")


def unreadable(stage: Stage, cli: Cli) -> None:
    """As `held`, with an entry out, known to our books; then the venue is gone."""
    held(stage, cli)
    at_the_desk(lambda desk: trading.entry(desk, size="0.02"))
    booked(cli)
    stage.tell("/fault", kind="outage")


def halted(stage: Stage, cli: Cli) -> None:
    """As `held`, latched by hand."""
    held(stage, cli)
    assert cli("disable", "--reason", "quotes run away from mark").code == 0


def paid(stage: Stage, cli: Cli) -> None:
    """As `held`, past a settlement: funding was paid."""
    held(stage, cli)
    stage.tell("/advance", seconds=5 * 3600, quiet=True)


def halted_bare(stage: Stage, cli: Cli) -> None:
    """As `bare`, latched by hand: there is something against a return."""
    bare(stage, cli)
    booked(cli)
    assert cli("disable", "--reason", "quotes run away from mark").code == 0


def protected(stage: Stage, cli: Cli) -> None:
    """As `bare`, with the missing stop placed by an operator."""
    bare(stage, cli)
    booked(cli)
    assert cli("stops", "place", "--yes", "--reason", "the slot was bare").code == 0
