"""This file opens the bot: what we left unsettled, what the venue holds; only then may anything be sent."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from perpctl.engine import events as e
from perpctl.engine.core import USER, Core, Rules
from perpctl.engine.loop import OVERLAP_MS, Bot, Gear
from perpctl.engine.orders.watching import watch_for
from perpctl.engine.reading import differences, note_reconcile, read_truth, settle_intent
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.product import Product
from perpctl.engine.state.working import Stage
from perpctl.engine.strategy import Strategy
from perpctl.errors import PerpctlError, VenueUnreachable
from perpctl.exchange import port
from perpctl.model import identity
from perpctl.model.day import PEAK_DAYS
from perpctl.risk.activity import Activity

MINUTE_MS = 60_000
HISTORY_MINUTES = 720
ATTEMPTS = 10
PAUSE_S = 1.0
SETTLING_S = 70  # longer than any venue's settling, and bounded


@dataclass(frozen=True, slots=True)
class Setup:
    """What to run: one strategy object a product."""

    rules: Rules
    strategy: Callable[[], Strategy]
    identity_key: bytes


async def open_bot(gear: Gear, setup: Setup) -> Bot:
    """Reconciled with the venue and ready to run. Raises VenueUnreachable when that cannot be done, UsageError."""
    instruments = [await gear.exchange.instrument(symbol) for symbol in gear.symbols]
    products = [Product(instrument, setup.strategy()) for instrument in instruments]
    meter = Meter()
    core = _core(gear, setup, products)
    bot = Bot(core, gear, meter)
    core.market.saw(await gear.exchange.time_ms(), gear.clock.monotonic())
    _remember(core, gear)
    for product in products:
        await _warm_up(gear.exchange, product, core.market_ms)
    _choose_watermark(bot)
    await _settle_intents(bot)
    _watch_out(bot)
    await _settled(gear)
    truth = await _proven_truth(bot)
    bot.take_over(truth)
    for product in products:
        product.quoted(await gear.exchange.quote(product.product_id))  # what is held has a price before money is read
    await bot.read_account()
    await bot.read_venue()
    return bot


def _core(gear: Gear, setup: Setup, products: Sequence[Product]) -> Core:
    numbers = itertools.count(1)
    key, epoch = setup.identity_key, gear.lease.epoch
    core = Core(
        setup.rules,
        products,
        lambda: identity.make(key, epoch, next(numbers)),
        lambda label: label is not None and identity.is_ours(key, label) and not identity.is_kill(label),
    )
    state = gear.latch.read()
    core.mode, core.mode_why = state.mode, state.why
    core.mode_since = gear.clock.monotonic()
    core.blocks[USER] = "not connected yet"
    return core


def _remember(core: Core, gear: Gear) -> None:
    """The day's baseline and count of orders outlive a restart."""
    calendar = core.rules.calendar
    starts = calendar.last_days_ms(core.market_ms, PEAK_DAYS)
    known = {start: gear.projections.baseline(calendar.day_name(start)) for start in starts}
    core.day.remember(
        {
            start: (one.equity, gear.projections.baseline_taken_ms(one.risk_day) or start)
            for start, one in known.items()
            if one is not None
        },
        core.market_ms,
    )
    core.activity = Activity(orders_today=gear.projections.intents_today(calendar.day_name(core.market_ms)))


async def _warm_up(exchange: port.Exchange, product: Product, now_ms: int) -> None:
    start_ms = now_ms - HISTORY_MINUTES * MINUTE_MS
    try:
        candles = await exchange.candles(product.product_id, start_ms, now_ms, 1)
    except PerpctlError:
        return  # a strategy without history waits until it has seen enough
    product.strategy.warm_up([(candle.at_ms, candle.close) for candle in candles if candle.at_ms + MINUTE_MS <= now_ms])


async def _settled(gear: Gear) -> None:
    """What is read while the venue settles proves nothing: wait until that is over."""
    for _ in range(SETTLING_S):
        if not gear.exchange.calendar.reads_prove_nothing(await gear.exchange.time_ms()):
            return
        await gear.clock.sleep(PAUSE_S)


def _choose_watermark(bot: Bot) -> None:
    """Look for fills from the last one on record, or from the first order of ours that may have filled unseen.

    The books of a new journal begin now.
    """
    now_ms, known = bot.core.market_ms, bot.gear.projections.newest_fill()
    unseen_ms = bot.gear.projections.unaccounted_since_ms()
    began = [at_ms for at_ms in (known.at_ms if known else None, unseen_ms) if at_ms is not None]
    bot.fills_since_ms = min([now_ms, *began]) - OVERLAP_MS
    bot.books_from_ms = 0 if began else now_ms


async def _settle_intents(bot: Bot) -> None:
    """Ask the venue about every order whose answer an earlier run never saw."""
    for tracked in bot.gear.projections.unknown_orders():
        if tracked.request is None:
            continue
        outcome = await settle_intent(bot.gear.exchange, tracked, bot.gear.clock)
        if isinstance(outcome, port.Unknown):
            product = bot.core.products.get(tracked.product_id)
            if product is not None:
                working = bot.core.follow(tracked.request, "unknown since an earlier run")
                bot.core.entered -= 1
                working.enter(Stage.UNKNOWN, bot.gear.clock.monotonic())
        else:
            bot.write_down(e.Settled(tracked.key, outcome))


def _watch_out(bot: Bot) -> None:
    """Orders that this run or an earlier one settled as never arrived, as long as the venue may still take them."""
    core = bot.core
    since_ms = core.market_ms - int(core.rules.terms.arrival.watched_s * 1000)
    for tracked in bot.gear.projections.absent_orders(since_ms):
        watch_for(core, tracked.key, tracked.since_ms or core.market_ms)


async def _catch_up(bot: Bot, truth: e.Reconciled) -> None:
    """Orders that were working when an earlier run ended, and are not listed any more: how they ended, asked by id."""
    listed = {order.order_id for order in truth.orders}
    for tracked in bot.gear.projections.working_orders():
        if tracked.order_id is None or tracked.order_id in listed:
            continue
        for order in await bot.gear.exchange.order(tracked.identity or "", tracked.order_id):
            bot.gear.projections.see_order(order, "by id")


async def _proven_truth(bot: Bot) -> e.Reconciled:
    """The venue's truth; read again while our books differ from it and it may be older than they are, or newer.

    A stop may have fired right before this start: then position, fill and order come to be seen one after the other,
    and a fill that is seen after its position was taken over would be counted twice. Books that begin now have nothing
    to differ by.
    """
    clock = bot.gear.clock
    until = clock.monotonic() + bot.core.rules.terms.reads_lag_s
    while True:
        truth = await _first_truth(bot)
        await _catch_up(bot, truth)
        projections = bot.gear.projections
        agree = not differences(projections, truth) and not projections.is_lacking_fills()
        if agree or bot.books_from_ms or clock.monotonic() >= until:
            return truth
        await clock.sleep(PAUSE_S)


async def _first_truth(bot: Bot) -> e.Reconciled:
    truth: e.Reconciled | e.ReconcileFailed = e.ReconcileFailed("not read")
    for attempt in range(ATTEMPTS):
        if attempt:
            await bot.gear.clock.sleep(PAUSE_S)
        began = bot.gear.clock.now()
        truth = await read_truth(bot.gear.exchange, bot.fills_since_ms, bot.gear.clock)
        if isinstance(truth, e.Reconciled):
            bot.write_down(truth)
            note_reconcile(bot.gear.projections, truth, began)
            return truth
    assert isinstance(truth, e.ReconcileFailed)
    raise VenueUnreachable(
        f"the venue could not be reconciled at the start: {truth.why}",
        not_done="no order was sent",
        next_commands=("perpctl preflight",),
    )
