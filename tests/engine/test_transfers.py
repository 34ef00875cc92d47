"""Deposits and withdrawals, from the exchange to the day's figure: read once, cheaply, and known after a restart."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest

from perpctl.clock import from_ms, to_ms
from perpctl.engine.core import Rules
from perpctl.engine.loop import Bot, Gear
from perpctl.engine.opening import Setup, open_bot
from perpctl.engine.simulation.clock import VirtualClock, VirtualLoop, run_virtually
from perpctl.engine.simulation.memory import SoleHolder, Stage, set_up
from perpctl.engine.strategy import choose
from perpctl.model.mode import Mode
from perpctl.paper.faults import Rule
from perpctl.paper.feed.choice import feed_of
from perpctl.paper.keys import MAIN_ACCOUNT
from perpctl.paper.types import NewOrder
from perpctl.risk.limits import RiskLevel, level_limits
from perpctl.store.journal import Journal
from perpctl.store.latch import Latch, LatchState
from perpctl.store.projections import Projections
from perpctl.store.records import Kind, Writer

START_MS = 1_767_225_600_000  # 2026-01-01T00:00Z
LIMITS = level_limits(RiskLevel.CONSERVATIVE)
BTC = "BTC_USDC-PERPETUAL"
LEDGER = "private/get_transaction_log"
OWNERS = "private/get_subaccounts"


@dataclass
class Desk:
    """A paper exchange in memory, and bots that run on it one after the other, on one journal."""

    stage: Stage
    directory: Path
    clock: VirtualClock

    def counts(self, method: str) -> Callable[[], int]:
        """How often the exchange is asked this from now on: by a fault that does no harm."""
        faults = self.stage.venue.faults
        rule = faults.add(Rule("delay_answer", method, count=None))
        return lambda: faults.struck.get(rule, 0)

    @contextmanager
    def bot(self, exchange: Any = None) -> Iterator[Callable[[], Awaitable[Bot]]]:
        latch = Latch(self.directory / "latch", now_ms=lambda: to_ms(self.clock.now()))
        latch.write(LatchState(Mode.NORMAL, "t", "a test", to_ms(self.clock.now()), "human"))
        writer = Writer("t", "run", "t", 0, "0", "paper", "global", "t", bot_id="t")
        with Journal.open(self.directory / "journal.db", writer, self.clock, durable=False) as journal:
            gear = Gear(
                exchange or self.stage.client, Projections(journal), latch, SoleHolder(), self.clock, ("BTC-PERP",), "t"
            )
            rules = Rules(LIMITS, gear.exchange.calendar, gear.exchange.terms, user_silent_s=None)
            yield lambda: open_bot(gear, Setup(rules, choose("quoter"), b"k" * 32))

    def move(self, amount: str) -> None:
        exchange = self.stage.venue.exchange
        exchange.deposit(MAIN_ACCOUNT, D(amount), exchange.now)

    def pass_minutes(self, minutes: int) -> None:
        for _ in range(minutes):
            self.stage.venue.wait(60)


class Slipping:
    """The exchange, with what happens right after the account was read, or a ledger that never answers."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.after: list[str] = []
        self.hangs = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._desk.stage.client, name)

    async def account(self) -> Any:
        found = await self._desk.stage.client.account()
        while self.after:
            self._desk.move(self.after.pop())
        return found

    async def transfers(self, since_ms: int) -> Any:
        if self.hangs:
            await asyncio.sleep(3600)
        return await self._desk.stage.client.transfers(since_ms)


@pytest.fixture
def at(tmp_path: Path) -> Callable[[Callable[[Desk], Coroutine[Any, Any, None]]], None]:
    """Runs a story at a desk in virtual time."""

    def run(story: Callable[[Desk], Coroutine[Any, Any, None]]) -> None:
        loop = VirtualLoop()
        clock = VirtualClock(loop, from_ms(START_MS))
        ticks = (tick for tick in feed_of("synthetic", 7, START_MS).ticks(START_MS, {}) if tick is not None)
        stage = set_up((START_MS, itertools.islice(ticks, 50)), clock, tmp_path)
        for _ in range(10):
            stage.venue.step()
        run_virtually(loop, story(Desk(stage, tmp_path, clock)))

    return run


def result(bot: Bot) -> tuple[D | None, D | None]:
    """The day's result and the drawdown, in percent."""
    worth = bot.core.worth(worse=False)
    return bot.core.day.pnl_pct(worth, bot.core.market_ms), bot.core.day.drawdown_pct(worth)


Told = Callable[[Callable[[Desk], Coroutine[Any, Any, None]]], None]


def test_a_look_asks_the_ledger_once_however_long_the_bot_runs(at: Told) -> None:
    async def story(desk: Desk) -> None:
        with desk.bot() as opening:
            bot = await opening()
            ledger, owners = desk.counts(LEDGER), desk.counts(OWNERS)
            for looks in range(1, 31):
                desk.pass_minutes(1)
                await bot.read_account()
                assert (ledger(), owners()) == (looks, 0)

    at(story)


def test_a_withdrawal_is_no_loss_in_this_run_nor_in_the_next_one(at: Told) -> None:
    async def story(desk: Desk) -> None:
        desk.move("-1000")  # before the baseline
        with desk.bot() as opening:
            bot = await opening()
            desk.pass_minutes(30)
            desk.move("-49500")
            await bot.read_account()
            assert result(bot) == (0, 0)
            told = [one.body["text"] for one in bot.gear.projections.journal.records(kinds=(Kind.ALERT_RAISED,))]
            (text,) = [text for text in told if "USDC" in text]
            assert re.fullmatch(r"49500 USDC left \(ledger row \d+\): neither profit nor loss of the day", text)
        desk.pass_minutes(60)
        desk.move("200")  # while no bot runs
        desk.pass_minutes(60)
        with desk.bot() as opening:
            bot = await opening()
            assert bot.core.day.baseline is not None
            assert (bot.core.day.baseline.equity, bot.core.day.baseline.transfers) == (D(99000), D(-49300))
            assert result(bot) == (0, 0)
            await bot.read_account()
            assert result(bot) == (0, 0)

    at(story)


def test_margin_that_moves_into_an_isolated_slot_and_back_is_no_transfer(at: Told) -> None:
    async def story(desk: Desk) -> None:
        exchange = desk.stage.venue.exchange
        with desk.bot() as opening:
            bot = await opening()
            desk.pass_minutes(1)
            new = NewOrder(
                product=BTC,
                direction="buy",
                amount=D("0.01"),
                price=D(int(exchange.ticker(BTC).mark_price * D("0.995"))),
                isolated=True,
                allocated_margin=D(2000),
            )
            exchange.place(MAIN_ACCOUNT, new, exchange.now)
            (slot,) = exchange.slot_ids(MAIN_ACCOUNT)
            assert exchange.account(slot).balance == 2000
            owners = desk.counts(OWNERS)
            await bot.read_account()
            baseline = bot.core.day.baseline
            assert baseline is not None
            assert (baseline.transfers, result(bot)) == (0, (0, 0))
            assert owners() == 2

    at(story)


def test_a_transfer_during_the_read_of_the_account_belongs_to_neither_side_of_it(at: Told) -> None:
    """The ledger holds it, the equity read a moment before does not: that pair is thrown away and read again."""

    async def story(desk: Desk) -> None:
        exchange = Slipping(desk)
        with desk.bot(exchange) as opening:
            bot = await opening()
            exchange.after = ["5000"]
            await bot.read_account()
            assert result(bot) == (0, 0)
            assert bot.core.day.account is not None
            assert bot.core.day.account.equity == D(105000)

    at(story)


@pytest.mark.parametrize("silent", [True, False])
def test_a_ledger_that_fails_or_hangs_leaves_the_account_read_and_the_transfers_unknown(at: Told, silent: bool) -> None:
    async def story(desk: Desk) -> None:
        exchange = Slipping(desk)
        with desk.bot(exchange) as opening:
            bot = await opening()
            exchange.hangs = silent
            desk.stage.venue.faults.add(Rule("http_status", LEDGER, count=None))
            desk.move("-49500")
            began = desk.clock.monotonic()
            await bot.read_account()
            assert desk.clock.monotonic() - began < 20
            assert bot.core.day.unread is not None
            assert bot.core.day.account is not None
            assert bot.core.day.account.equity == D(50500)
            exchange.hangs = False
            desk.stage.venue.faults.clear()
            await bot.read_account()
            assert bot.core.day.unread is None
            assert result(bot) == (0, 0)

    at(story)


def test_a_bot_that_opens_past_a_line_of_the_day_opens_all_the_same(at: Told) -> None:
    async def story(desk: Desk) -> None:
        with desk.bot() as opening:
            await opening()
        desk.pass_minutes(1)
        desk.stage.venue.faults.add(Rule("http_status", LEDGER, count=None))
        desk.move("-49500")
        with desk.bot() as opening:
            bot = await opening()
            assert bot.core.mode is not Mode.NORMAL
            assert bot.core.day.unread is not None

    at(story)
