"""This file plays a feed through bot and exchange as fast as it goes, and checks at the end that the money adds up."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

from perpctl import __version__
from perpctl.clock import from_ms, to_ms
from perpctl.engine import events as e
from perpctl.engine.closing import Ended
from perpctl.engine.core import Rules
from perpctl.engine.loop import Bot, Gear
from perpctl.engine.opening import Setup, open_bot
from perpctl.engine.sending import Permit
from perpctl.engine.simulation import advanced_trade, memory
from perpctl.engine.simulation.clock import VirtualClock, VirtualLoop, run_virtually
from perpctl.engine.simulation.memory import Feed, SoleHolder, Stage
from perpctl.engine.strategy import Strategy, algorithm_id
from perpctl.errors import UsageError
from perpctl.exchange.port import Unsupported
from perpctl.model import identity
from perpctl.model.books.ledger import Ledger
from perpctl.model.mode import Mode
from perpctl.model.money import ZERO
from perpctl.paper.feed.choice import feed_of
from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.types import Tick
from perpctl.risk.limits import Limits
from perpctl.store.journal import Journal
from perpctl.store.latch import Latch, LatchState
from perpctl.store.projections import Projections
from perpctl.store.records import Writer

NAME = "simulation"
STAGES = {"global": memory.set_up, "us": advanced_trade.set_up}
Told = Callable[[Bot, e.Note], None]


@dataclass(frozen=True, slots=True)
class Script:
    """What to play: the feed's name as for the paper exchange, `market_s` of it (None: to its end)."""

    feed: str
    seed: int
    market_s: float | None
    symbols: tuple[str, ...]
    limits: Limits
    strategy: type[Strategy]
    venue: str = "global"
    start_ms: int = 1_767_225_600_000  # of a synthetic market: a fixed day, so that a seed says it all


@dataclass(frozen=True, slots=True)
class Played:
    """What came of it. `difference` is the exchange's own equity less that of our own books, and less the funding that
    no book of ours can have: what runs, and what a venue books and tells nobody (`untold`). Zero: the money adds up."""

    ended: Ended
    ticks: int
    took_s: float
    market_from_ms: int
    market_to_ms: int
    currency: str
    start_equity: Decimal
    equity: Decimal
    difference: Decimal | None
    untold: Decimal
    records: int
    head: str
    is_whole: bool


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told what matters while it plays, and may say that it is enough."""

    told: Told = lambda bot, note: None
    is_enough: Callable[[Bot], bool] = lambda bot: False


def play(script: Script, directory: Path, audience: Audience | None = None) -> tuple[Bot, Played]:
    """Play the script in a directory that is emptied first. Raises UsageError, FeedFileError."""
    start_ms, ticks = _feed(script)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700, parents=True)
    loop = VirtualLoop()
    clock = VirtualClock(loop, from_ms(start_ms))
    return run_virtually(loop, _play(script, (start_ms, ticks), clock, directory, audience or Audience()))


def _feed(script: Script) -> Feed:
    feed = feed_of(script.feed, script.seed, script.start_ms)
    if feed.is_live:
        raise UsageError(
            "the venue's own market cannot be played faster than it runs", not_done="nothing was simulated"
        )
    ticks: Iterator[Tick] = (tick for tick in feed.ticks(feed.start_ms, {}) if tick is not None)
    if script.market_s is not None:
        ends_ms = feed.start_ms + int(script.market_s * 1000)
        ticks = itertools.takewhile(lambda tick: tick.at_ms <= ends_ms, ticks)
    elif script.feed.startswith("synthetic"):
        raise UsageError(
            "the synthetic feed has no end: say for how long it is to be simulated",
            not_done="nothing was simulated",
            next_commands=("perpctl run --speed max --duration 86400",),
        )
    return feed.start_ms, ticks


async def _play(
    script: Script, feed: Feed, clock: VirtualClock, directory: Path, audience: Audience
) -> tuple[Bot, Played]:
    key = hashlib.sha256(f"{NAME} {script.seed}".encode()).digest()
    with _gear(script, feed, clock, directory, key) as (stage, gear):
        stage.venue.step()
        rules = Rules(script.limits, gear.exchange.calendar, gear.exchange.terms, user_silent_s=None)
        bot = await open_bot(gear, Setup(rules, script.strategy, key))
        bot.watchers.append(partial(_tell, bot, audience.told))
        start = (await stage.client.account()).equity
        running = asyncio.create_task(bot.run())
        began, from_market = time.perf_counter(), bot.core.market_ms
        ticks = await stage.play(running, partial(audience.is_enough, bot))
        took = time.perf_counter() - began
        await bot.reconcile()
        await bot.book_funding()
        bot.stop()
        ended = await running
        return bot, await _result(stage, bot, ended, Sums(ticks, took, from_market, start))


@dataclass(frozen=True, slots=True)
class Sums:
    """What only the player knows."""

    ticks: int
    took_s: float
    from_ms: int
    start: Decimal


async def _result(stage: Stage, bot: Bot, ended: Ended, sums: Sums) -> Played:
    account = await stage.client.account()
    positions = await stage.client.positions()
    projections = bot.gear.projections
    ledger = Ledger(sums.start, account.currency)
    for fill in projections.fills():
        ledger = ledger.with_fill(fill)
    for payment in projections.funding():
        ledger = ledger.with_funding(payment)
    exchange = stage.venue.exchange
    exchange.check_identity(MAIN_ACCOUNT)  # its own books, before they are compared with ours
    untold = ZERO
    if isinstance(await stage.client.funding_payments(bot.core.market_ms), Unsupported):
        untold = sum((one.funding for one in exchange.settlements(MAIN_ACCOUNT)), ZERO)
    exact = exchange.account(MAIN_ACCOUNT)  # what a face tells of it is rounded
    ours = ledger.equity({one.product_id: one.mark for one in positions if one.mark is not None})
    verdict = projections.journal.verify()
    return Played(
        ended=ended,
        ticks=sums.ticks,
        took_s=sums.took_s,
        market_from_ms=sums.from_ms,
        market_to_ms=bot.core.market_ms,
        currency=account.currency,
        start_equity=sums.start,
        equity=account.equity,
        difference=None if ours is None else exact.equity - exact.session_funding - untold - ours,
        untold=untold,
        records=verdict.head.seq,
        head=verdict.head.hash.hex(),
        is_whole=verdict.is_whole,
    )


@contextlib.contextmanager
def _gear(script: Script, feed: Feed, clock: VirtualClock, directory: Path, key: bytes) -> Iterator[tuple[Stage, Gear]]:
    latch, lease = Latch(directory / "latch", now_ms=lambda: to_ms(clock.now())), SoleHolder()
    latch.write(LatchState(Mode.NORMAL, NAME, "a new simulation", to_ms(clock.now()), "human"))
    writer = Writer(
        NAME, "run", NAME, 0, __version__, "paper", script.venue, NAME, bot_id=algorithm_id(script.strategy())
    )
    with Journal.open(directory / "journal.db", writer, clock, durable=False) as journal:
        stage = STAGES[script.venue](feed, clock, directory, Permit(latch, lease), seed=script.seed)
        projections = Projections(journal, lambda label: label is not None and identity.is_ours(key, label))
        yield stage, Gear(stage.client, projections, latch, lease, clock, script.symbols, NAME)


def _tell(bot: Bot, told: Told, event: e.Event, effects: Iterable[e.Effect]) -> None:
    for effect in effects:
        if isinstance(effect, e.Note) and effect.kind in ("MODE", "DRIFT", "FOREIGN", "FEED LOST"):
            told(bot, effect)
        elif isinstance(effect, e.Alert):
            told(bot, e.Note("ALERT", effect.product_id, f"level {effect.level}: {effect.text}"))
