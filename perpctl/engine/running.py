"""This file is `perpctl run`: from the profile to a bot that runs, and back to a terminal that knows how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from msgspec import structs

from perpctl import render
from perpctl.clock import Clock
from perpctl.desk import Desk
from perpctl.emergency.target import SPOKEN
from perpctl.engine.closing import Ended, Wish
from perpctl.engine.control import beat, listening
from perpctl.engine.core import Rules
from perpctl.engine.loop import Bot, Gear
from perpctl.engine.opening import Setup, open_bot
from perpctl.engine.own_exchange import OwnExchange
from perpctl.engine.recording import Recorder
from perpctl.engine.screen.diary import Diary, to_log
from perpctl.engine.screen.summary import summary
from perpctl.engine.screen.terminal import LiveView, Pipe, is_live
from perpctl.engine.screen.view import Frame
from perpctl.engine.sending import Permit
from perpctl.engine.strategy import algorithm_id, choose
from perpctl.engine.watch.strangers import Foreign, ForeignRule
from perpctl.errors import RefusedBySafety, StateDamaged, UsageError
from perpctl.host.login import login, operator
from perpctl.host.process import start_and_leave
from perpctl.monitor.listener import Place, serving
from perpctl.procedures.kills import refuse_beside_kill, remember_kills
from perpctl.profile import Profile
from perpctl.results import Answer, Json, Line, Tone
from perpctl.risk.limits import KEYS, Limits, RiskLevel, level_limits, unit_of, with_overrides
from perpctl.store.facts.grounds import limits_version
from perpctl.store.journal import Journal
from perpctl.store.lease import RENEW_S, Held, Lease
from perpctl.store.records import Kind

MAX = "max"


@dataclass(frozen=True, slots=True)
class Options:
    """What was typed; None: not said."""

    mode: str | None = None
    symbols: tuple[str, ...] = ()
    risk_level: str | None = None
    strategy: str = "quoter"
    duration_s: float | None = None
    feed: str | None = None
    speed: str | None = None
    seed: int | None = None
    flatten: bool = False
    leave_orders: bool = False

    @property
    def feed_words(self) -> tuple[str, ...]:
        """The options of the paper exchange that were given."""
        given = (("--feed", self.feed), ("--speed", self.speed), ("--seed", self.seed))
        return tuple(word for name, value in given if value is not None for word in (name, str(value)))


async def run(desk: Desk, options: Options) -> int:
    """Trade until stopped; the exit code of the end.

    Raises UsageError (mode, symbol, strategy, limits, feed), HeldByAnother (a second bot), and what the venue raises.
    """
    check(desk.settings, options)
    limits = limits_of(desk.settings, options)
    strategy = choose(options.strategy)
    if options.speed == MAX:
        return await _simulate(desk, options, limits)
    name = algorithm_id(strategy())
    Lease.refuse_if_held(desk.settings.state_dir / "lease")  # a second bot leaves the journal of the first alone
    _refuse_broken(desk.journal())
    with _lease(desk.settings.state_dir, name, desk.journal()) as lease:
        desk.listen(desk.settings.state_dir / "run.log" if is_live() else None)  # the live view has the screen
        async with _renewed(lease, desk.clock), OwnExchange(desk, options.feed_words) as exchange_of_ours:
            permit = Permit(desk.latch(), lease)
            gear = await _gear(desk, options, permit, name)
            _introduce(desk, lease, name, limits, options)
            try:
                remember_kills(desk.projections(), desk.settings.state_dir)
                rules = await _rules(desk, gear, limits)
                bot = await open_bot(gear, Setup(rules, strategy, desk.identity_key()))
                permit.still_holds = bot.sender.still_holds
                frame = await _frame(desk, options, limits)
                ended = await _keep_running(desk, bot, frame, options)
            finally:
                await gear.exchange.aclose()
            if ended.fenced is not None:
                exchange_of_ours.leave()
    render.show(summary(bot, ended, frame), render.Form.TABLE if is_live() else render.Form.JSONL)
    return int(ended.exit_code)


async def _simulate(desk: Desk, options: Options, limits: Limits) -> int:
    from perpctl.engine.simulation.play import Script
    from perpctl.engine.simulation.showing import Showing, simulate

    feed, symbols = options.feed or "synthetic", options.symbols or desk.settings.symbols
    seed = options.seed or 0
    level = options.risk_level or desk.settings.risk_level or "?"
    frame = Frame("paper", desk.settings.venue, "1", "in memory", f"{feed}, speed max, seed {seed}", level)
    script = Script(feed, seed, options.duration_s, symbols, limits, choose(options.strategy), desk.settings.venue)
    form = render.Form.TABLE if is_live() else render.Form.JSONL
    return await simulate(script, desk.settings.state_dir / "simulation", Showing(frame, form))


def check(settings: Profile, options: Options) -> None:
    """`--mode` asserts the kind of money; a feed belongs to the paper exchange only.

    Raises UsageError, and RefusedBySafety for live money where `kill` could not cancel or close.
    """
    if settings.env == "live" and settings.venue not in SPOKEN:
        raise RefusedBySafety(
            f"`perpctl kill` cannot speak to venue {settings.venue} yet, and no bot runs where it cannot reach",
            not_done="nothing was started",
            next_commands=("perpctl run --mode paper", f"perpctl -p {settings.profile} positions"),
        )
    if options.mode is not None and options.mode != settings.env:
        raise UsageError(
            f"--mode {options.mode}, but profile {settings.profile} is {settings.env}",
            not_done="nothing was started",
            next_commands=(f"perpctl run --profile {settings.profile} --mode {settings.env}",),
        )
    if settings.exchange_command is None and options.feed_words:
        raise UsageError(
            f"--feed, --speed and --seed are of the paper exchange; profile {settings.profile} has a venue of its own",
            not_done="nothing was started",
        )
    if options.duration_s is not None and options.duration_s <= 0:
        raise UsageError(f"--duration {options.duration_s:g} is not above 0", not_done="nothing was started")


def limits_of(settings: Profile, options: Options) -> Limits:
    """The rows of the level with the profile's overrides. Raises UsageError when no level is named anywhere."""
    level = options.risk_level or settings.risk_level
    if level not in tuple(RiskLevel):
        named = "no risk level" if level is None else f"there is no risk level {level!r}"
        raise UsageError(
            f"{named}: it is one of {', '.join(RiskLevel)}, and without limits nothing may be sent",
            not_done="nothing was started",
            next_commands=("perpctl run --risk-level conservative",),
        )
    return with_overrides(level_limits(RiskLevel(level)), settings.limits)


def _refuse_broken(journal: Journal) -> None:
    """A bot believes its journal: what was sent, what filled, which loss the day began with. Raises StateDamaged."""
    verdict = journal.verify()
    if not verdict.is_whole:
        raise StateDamaged(
            f"{journal.path}: {verdict.trouble}",
            not_done="nothing was started; orders and positions at the venue are as they were",
            next_commands=("perpctl preflight --all", "perpctl positions", "perpctl kill --dry-run"),
        )


@contextlib.contextmanager
def _lease(directory: Path, holder: str, journal: Journal) -> Iterator[Held]:
    """One bot a profile, told apart by epoch from every one before it."""
    taken = [int(record.body["epoch"]) for record in journal.records(kinds=(Kind.LEASE_TAKEN,))]
    lease = Lease.take(directory / "lease", holder, after_epoch=max(taken, default=0))
    try:
        refuse_beside_kill(directory)
        yield lease
    finally:
        lease.release()


@contextlib.asynccontextmanager
async def _renewed(lease: Held, clock: Clock) -> AsyncIterator[None]:
    """Hold on to the lease from when it was taken to the end: an exchange that starts, or orders that must be settled
    first, may take longer than it lasts. That one was lost is noticed by the bot.
    """

    async def renew() -> None:
        while lease.renew():
            await clock.sleep(RENEW_S)

    renewing = asyncio.create_task(renew())
    try:
        yield
    finally:
        renewing.cancel()


async def _gear(desk: Desk, options: Options, permit: Permit, name: str) -> Gear:
    exchange = await desk.open_exchange(permit)
    symbols = options.symbols or desk.settings.symbols
    kill = partial(_start_kill, desk.settings)
    return Gear(exchange, desk.projections(), permit.latch, permit.lease, desk.clock, symbols, name, kill)


async def _rules(desk: Desk, gear: Gear, limits: Limits) -> Rules:
    """Raises UsageError for a product that is traded and ignored at once."""
    settings, market = desk.settings, gear.exchange
    ignored = frozenset([(await market.instrument(name)).product_id for name in settings.foreign_products])
    for symbol in gear.symbols:
        if (await market.instrument(symbol)).product_id in ignored:
            raise UsageError(
                f"{symbol} is in foreign_products: what is ignored cannot be traded, one net position has no owner",
                not_done="nothing was started",
                next_commands=("perpctl config show --origin",),
            )
    isolated = frozenset([(await market.instrument(name)).product_id for name in settings.isolated_products])
    foreign = ForeignRule(Foreign(settings.foreign), ignored)
    kill = settings.unattended_kill
    return Rules(limits, market.calendar, market.terms, foreign=foreign, unattended_kill=kill, isolated=isolated)


def _introduce(desk: Desk, lease: Held, name: str, limits: Limits, options: Options) -> None:
    """Who runs, with which limits, is on the record before anything is sent."""
    journal = desk.journal()
    account = desk.known_scope().account
    journal.writer = structs.replace(
        journal.writer, bot_id=name, epoch=lease.epoch, account_id=account, limits_version=limits_version(limits)
    )
    rows: dict[str, Json] = {key: f"{getattr(limits, key)} {unit_of(key)}, {limits.origin(key)}" for key in KEYS}
    started = {"options": _plain(options), "operator": login(), "strategy": name, "limits": rows}
    with journal.batch():
        journal.append(Kind.LEASE_TAKEN, {"epoch": lease.epoch, "holder": name, "since_ms": lease.lease.since_ms})
        journal.append(Kind.RUN_STARTED, started)


def _plain(options: Options) -> dict[str, object]:
    duration = options.duration_s
    return {**asdict(options), "duration_s": None if duration is None else str(duration)}


async def _frame(desk: Desk, options: Options, limits: Limits) -> Frame:
    access = await desk.access()
    scope, paper = desk.known_scope(), desk.settings.exchange_command is not None
    feed = f"{options.feed or 'synthetic'}, speed {options.speed or '1'}" if paper else "the venue's own"
    return Frame(
        env=scope.env,
        venue=scope.venue,
        account=scope.account or "?",
        address=access.http.split("/")[2],
        feed=feed if options.seed is None else f"{feed}, seed {options.seed}",
        level=options.risk_level or desk.settings.risk_level or "?",
        overridden=tuple(key for key in KEYS if not limits.origin(key).startswith("risk level")),
        profile=desk.settings.profile,
    )


async def _keep_running(desk: Desk, bot: Bot, frame: Frame, options: Options) -> Ended:
    """The bot with all that runs beside it, until it is stopped."""
    directory, settings = desk.settings.state_dir, desk.settings
    bot.wish = Wish(options.flatten, options.leave_orders)
    place = Place(settings.local_api_port, takes_any=settings.takes_any_port)
    recorder = Recorder(desk.journal(), desk.clock, bot.core, desk.identity_key())
    bot.gear.exchange.tell_connections(recorder.connection)
    bot.watchers.append(recorder.watch)
    async with listening(bot, recorder, directory / "control.sock"), serving(bot, recorder, place, directory) as url:
        bot.companions += [beat(bot, directory / "bot.json"), recorder.keep_signing()]
        if options.duration_s is not None:
            bot.companions.append(_stop_after(bot, options.duration_s))
        _show(bot, replace(frame, local_api=url), settings.profile)
        with _signals(bot):
            ended = await bot.run()
        recorder.sign()
        return ended


def _show(bot: Bot, frame: Frame, profile: str) -> None:
    """The live view on a terminal, else one JSON object a line."""
    diary = Diary(bot.core, bot.gear.clock)
    bot.watchers.append(diary.watch)
    diary.listeners.append(to_log)
    if is_live():
        bot.companions.append(LiveView(bot, diary, frame, operator(), partial(_kill, profile)).show())
        return
    _tell_start(bot.core.rules.limits, frame)
    diary.listeners.append(Pipe(bot, frame).tell)


@contextlib.contextmanager
def _signals(bot: Bot) -> Iterator[None]:
    """Ctrl-C and SIGTERM end the bot in order."""
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, bot.stop)
    try:
        yield
    finally:
        for name in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(name)


def _tell_start(limits: Limits, frame: Frame) -> None:
    """The limits in force and where the local service is, said once at the start."""
    rows: dict[str, Json] = {key: f"{getattr(limits, key)} {unit_of(key)}" for key in KEYS}
    facts: dict[str, Json] = {"env": frame.env, "event": "started", "level": frame.level, "limits": rows}
    facts["local_api"] = frame.local_api
    render.show(Answer("perpctl.run/1", None, facts, (Line("started", Tone.DIM),)), render.Form.JSONL)


async def _stop_after(bot: Bot, seconds: float) -> None:
    await bot.gear.clock.sleep(seconds)
    bot.stop()


def _start_kill(settings: Profile, reason: str) -> None:
    """The emergency program, in a session of its own: it fences this bot, and outlives it."""
    words = ("kill", "--profile", settings.profile, "--force", "--reason", reason)
    start_and_leave([sys.executable, "-m", "perpctl", *words], settings.state_dir / "kill.log")


async def _kill(profile: str) -> None:
    """The emergency program, in a process of its own, on this terminal."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-m", "perpctl", "kill", "--profile", profile)
    await child.wait()
