"""This file builds the live view: what an operator must see of a running bot, on one screen."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from perpctl.engine.core import USER
from perpctl.engine.hours.off import entries_off, words_of
from perpctl.engine.loop import Bot
from perpctl.engine.screen.diary import Diary, Entry, short
from perpctl.engine.screen.status import facts_of, stop_of
from perpctl.engine.state.meter import percentile
from perpctl.engine.state.product import Product
from perpctl.engine.state.working import Stage, Working
from perpctl.engine.strategy import waiting
from perpctl.layout import account_id
from perpctl.model.books.funding import percent_8h, percent_a_year
from perpctl.model.mode import Mode
from perpctl.model.money import ZERO, plain
from perpctl.model.venue.calendar import DAY_MS, Kind
from perpctl.questions import figures
from perpctl.questions.figures import age, money, price, size, span
from perpctl.results import Answer, Block, Line, Tone
from perpctl.risk.bounds import Market, effective

BP = Decimal(10_000)
STALE_S = 2.0
HOUR_MS = 3_600_000
USER_STALE_S = 5.0
SHOWN = 4
KEYS = "[r] reduce-only  [k] kill  [o] orders  [f] fills  [d] decisions  [space] freeze  [q] stop (stop order stays)"
FROZEN = "FROZEN: this picture stands still, the bot does not.  [space] goes on"


@dataclass(frozen=True, slots=True)
class Look:
    """How the operator looks at it: which panel, in a narrow window, at a picture that stands still."""

    panel: str = "decisions"
    narrow: bool = False
    frozen: bool = False


@dataclass(frozen=True, slots=True)
class Frame:
    """What does not change while the bot runs."""

    env: str
    venue: str
    account: str
    address: str
    feed: str
    level: str
    overridden: tuple[str, ...] = ()  # rows of the limits that were set by hand
    local_api: str = ""
    profile: str = "paper"


def screen(bot: Bot, diary: Diary, frame: Frame, look: Look) -> Answer:
    """The whole view; the panel (orders, fills or decisions) is what fills its last part."""
    core, now = bot.core, bot.gear.clock.monotonic()
    blocks: list[Block] = [*_head(bot, frame, now)]
    if look.frozen:
        blocks.append(Line(FROZEN, Tone.WARN, mark=True))
    if core.mode is Mode.NORMAL and (closed := entries_off(core)) is not None:
        blocks.append(Line(f"ENTRIES OFF  {words_of(closed)}", Tone.WARN, mark=True))
    blocks += [Line(""), *_session(bot)]
    for product in core.products.values():
        blocks += [_price(product, now), _position(bot, product, now)]
    blocks += [_day(bot), _equity(bot), *(_funding(bot, p) for p in core.products.values()), Line("")]
    blocks += [*_limits(bot, look.narrow), Line(""), *_working(bot, now, wide=look.panel == "orders"), Line("")]
    blocks += [*_feeds(bot, now), _loop(bot), Line("")]
    blocks += [*_diary(diary, look.panel), Line(""), Line(KEYS, Tone.DIM)]
    return Answer("perpctl.run/1", None, {"env": frame.env, "venue": frame.venue, **facts_of(bot)}, tuple(blocks))


def _head(bot: Bot, frame: Frame, now: float) -> tuple[Line, Line]:
    core, at = bot.core, bot.gear.clock.now()
    symbols = " ".join(bot.gear.symbols)
    first = f"{frame.env.upper()}   {frame.venue} face   feed {frame.feed}   {symbols}   {frame.level.upper()}"
    first += f" but for {', '.join(frame.overridden)}" if frame.overridden else ""
    first += f"   {at:%H:%M:%S} UTC   up {_clock(now - bot.began)}"
    latch = bot.gear.latch.read()
    held = "off" if latch.mode.value == Mode.NORMAL.value else f"ON ({latch.cause}: {latch.why})"
    mode = f"mode {core.mode.value.upper()}"
    if core.mode is not Mode.NORMAL:
        mode += f" since {at - timedelta(seconds=now - core.mode_since):%H:%M:%S} ({core.mode_why})"
    strategy = "/".join(sorted({product.strategy.name for product in core.products.values()}))
    second = (
        f"{mode}   latch {held}   strategy {strategy}   account {account_id(frame.account)}   venue {frame.address}"
    )
    second += f"   {_reconciled(bot, now)}" + (f"   {frame.local_api}" if frame.local_api else "")
    return Line(first, Tone.TITLE), Line(second, Tone.PLAIN if core.mode is Mode.NORMAL else Tone.WARN)


def _reconciled(bot: Bot, now: float) -> str:
    at = bot.core.reconciled_at
    if at is None or "reconcile" in bot.core.blocks or now - at > 60:
        return "NOT RECONCILED"
    return f"reconciled {now - at:.0f} s ago"


def _session(bot: Bot) -> list[Line]:
    """When the venue's day turns, its margin gets dearer and it shuts; nothing where margin knows no hours."""
    calendar, now_ms = bot.core.rules.calendar, bot.core.market_ms
    window = calendar.margin_window(now_ms)
    if window is None:
        return []
    text = f"SESSION    rolls {figures.day_start(calendar)} in {span((calendar.next_day_ms(now_ms) - now_ms) / 1000)}"
    ends_ms = calendar.cheap_margin_ends_ms(now_ms)
    text += f"   {window.upper()} margin" + ("" if ends_ms is None else f" for {span((ends_ms - now_ms) / 1000)}")
    stops = (one for one in calendar.upcoming(now_ms, now_ms + 8 * DAY_MS) if one.kind is Kind.STOP)
    if (stop := next(stops, None)) is not None:
        begins = stop.start_ms - now_ms
        text += "   SHUT NOW" if begins <= 0 else f"   shuts in {span(begins / 1000)}"
    return [Line(text)]


def _price(product: Product, now: float) -> Line:
    quote, places = product.quote, product.instrument.price_decimals
    if quote is None:
        return Line("PRICE      ? (no quote yet)", Tone.WARN)
    seen = now - quote.seen
    stale = f"  STALE {seen:.1f} s" if seen > STALE_S else ""
    spread = "?"
    if quote.mid and quote.bid is not None and quote.ask is not None:
        spread = f"{(quote.ask - quote.bid) / quote.mid * BP:.2f} bp"
    moved = product.move_1m_pct
    text = f"PRICE      {price(quote.bid, places)} / {price(quote.ask, places)}{stale}   spread {spread}"
    mark = "n/a" if product.instrument.mark_absent else f"{price(quote.mark, places + 1)}{stale}"
    text += f"   mark {mark}   index {price(quote.index, places + 1)}"
    text += f"   1 m {figures.percent(None if moved is None else moved / 100)}"
    return Line(text, Tone.WARN if stale else Tone.PLAIN)


def _position(bot: Bot, product: Product, now: float) -> Line:
    places, unit = product.instrument.size_decimals, product.instrument.base
    mark, held = product.mark, product.held
    contracts, coin = product.instrument.contracts(product.position), size(product.position, unit, places)
    if not product.position:
        return Line(f"POSITION   {coin}{'' if contracts is None else ' = 0 contracts'} (flat)")
    text = f"POSITION   {coin}"
    if contracts is not None:
        text = f"POSITION   {'LONG' if contracts > 0 else 'SHORT'} {plain(abs(contracts))} contracts = {coin}"
    text += f" = {money(None if mark is None else abs(product.position) * mark)} {product.instrument.currency}"
    text += f"   entry {price(held.entry_price, product.instrument.price_decimals)}"
    text += f"   uPnL {money(None if mark is None else held.tally.unrealized(mark), signed=True)}"
    unknown = sum((w.remaining for w in bot.core.orders.unknown()), ZERO)
    if unknown:
        worst = abs(product.position) + unknown
        text += f"   worst case {plain(worst)} ({sum(1 for _ in bot.core.orders.unknown())} UNKNOWN)"
    stop = stop_of(bot.core, product)
    if stop is None:
        bare = "" if product.bare_since is None else f" for {now - product.bare_since:.1f} s"
        return Line(f"{text}   NO STOP{bare}", Tone.BAD, mark=True)
    trigger = price(stop.request.trigger_price, product.instrument.price_decimals)
    limit = (
        "" if stop.request.price is None else f" limit {price(stop.request.price, product.instrument.price_decimals)}"
    )
    return Line(f"{text}   stop {stop.request.side.value} {plain(stop.cover)} at {trigger}{limit}")


def _day(bot: Bot) -> Line:
    core = bot.core
    tallies = [product.held.tally for product in core.products.values()]
    realized, fees = sum((t.realized for t in tallies), ZERO), sum((t.fees for t in tallies), ZERO)
    marks = [(p.held.tally, p.mark) for p in core.products.values() if p.mark is not None]
    open_pnl = sum((tally.unrealized(mark) for tally, mark in marks), ZERO)
    worth = core.worth(worse=True)
    result, percent = core.day.pnl(worth, core.market_ms), core.day.pnl_pct(worth, core.market_ms)
    share = figures.percent(None if percent is None else percent / 100)
    text = f"DAY        this run: realised {money(realized, signed=True)}   uPnL {money(open_pnl, signed=True)}"
    began = figures.day_start(core.rules.calendar)
    text += f"   fees {money(-fees, signed=True)}   since {began}: {money(result, signed=True)} ({share})"
    text += f"   warn -{core.rules.limits.day_loss_warn_pct} %"
    bad = percent is not None and percent <= -core.rules.limits.day_loss_warn_pct
    return Line(text, Tone.BAD if bad else Tone.PLAIN, mark=bad)


def _equity(bot: Bot) -> Line:
    account, core = bot.core.day.account, bot.core
    if account is None:
        return Line("EQUITY     ? (not read yet)", Tone.WARN)
    equity = core.day.equity(core.worth(worse=False))
    text = f"EQUITY     {money(equity)} {account.currency}   initial margin {money(account.initial_margin)}"
    return Line(f"{text}   maintenance {money(account.maintenance_margin)}   available {money(account.available)}")


def _funding(bot: Bot, product: Product) -> Line:
    rate = product.quote.funding_8h if product.quote is not None else None
    if rate is None:
        return Line("FUNDING    ? (the venue did not say)", Tone.WARN)
    now_ms, calendar = bot.core.market_ms, bot.core.rules.calendar
    a_year = figures.percent(percent_a_year(rate) / 100, 1)
    text = f"FUNDING    {figures.percent(percent_8h(rate) / 100, 4)} per 8 h ({a_year} a year)"
    if not bot.gear.exchange.terms.continuous_funding:
        return Line(f"{text}   accrues each hour, next in {span((HOUR_MS - now_ms % HOUR_MS) / 1000)}")
    left_s = (calendar.next_day_ms(now_ms) - now_ms) / 1000
    return Line(f"{text}   settles {figures.day_start(calendar)} in {span(left_s)}")


def _limits(bot: Bot, narrow: bool) -> list[Line]:
    core, limits, account = bot.core, bot.core.rules.limits, bot.core.day.account
    product = next(iter(core.products.values()))
    if account is None or product.mark is None:
        return [Line("LIMITS     ? (no account or price yet)", Tone.WARN)]
    bounds = effective(limits, account.equity, Market(product.mark), core.ramp)
    held = abs(product.position) * product.mark
    gross = sum((abs(p.position) * (p.mark or ZERO) for p in core.products.values()), ZERO)
    loss = max(ZERO, -(core.day.pnl(core.worth(worse=True), core.market_ms) or ZERO))
    line = account.equity * limits.day_loss_reduce_pct / 100
    entries = [w for w in core.orders.entries() if w.stage is not Stage.FILLING]
    recent = core.activity.recent(core.market_ms)
    a_minute = limits.messages_per_s * 60
    bars = [
        f"position  {_bar(held, bounds.position_notional)}",
        f"gross     {_bar(gross, bounds.gross_notional)}",
        f"messages  {_bar(Decimal(len(recent.messages_ms)), a_minute, 'a minute')}",
        f"day loss  {_bar(loss, line)}",
        f"today     {_bar(Decimal(recent.orders_today), limits.max_orders_day, 'orders')}",
        f"working   {_bar(Decimal(len(entries)), limits.max_resting_entries, 'orders')}",
    ]
    wide = max(map(len, bars)) + 3
    rows = bars if narrow else [f"{left:<{wide}}{right}" for left, right in zip(bars[::2], bars[1::2], strict=True)]
    return [Line(f"{'LIMITS' if number == 0 else '':<11}{row}") for number, row in enumerate(rows)]


def _bar(value: Decimal, limit: Decimal, what: str = "") -> str:
    share = min(Decimal(1), value / limit) if limit else Decimal(1)
    filled = int(share * 16)
    return f"[{'#' * filled}{'.' * (16 - filled)}] {share * 100:3.0f} % of {limit:,.0f} {what}".rstrip()


def _working(bot: Bot, now: float, *, wide: bool) -> list[Block]:
    entries = bot.core.orders.entries()
    ending = any(working.request.ends_ms for working in entries)
    head = f"WORKING    {'SIDE':<5}{'SIZE':>9}{'PRICE':>12}{'FILLED':>8}{'AGE':>7}{'FROM MID':>10}"
    head += f"{'ENDS IN':>9}  ID" if ending else "  ID"
    if not entries:
        waits = next((why for product in bot.core.products.values() if (why := waiting(product.strategy))), "")
        return [Line(f"WORKING    no entries{': ' if waits else ''}{waits}")]
    shown = entries if wide else entries[:SHOWN]
    lines: list[Block] = [Line(head, Tone.TITLE), *(_order(bot, working, now) for working in shown)]
    if len(entries) > len(shown):
        lines.append(Line(f"           and {len(entries) - len(shown)} more"))
    return lines


def _order(bot: Bot, working: Working, now: float) -> Line:
    request, product = working.request, bot.core.products[working.request.product_id]
    mid = product.quote.mid if product.quote is not None else None
    away = "?" if not mid or request.price is None else f"{(request.price / mid - 1) * BP:+.1f} bp"
    at = "market" if request.price is None else price(request.price, product.instrument.price_decimals)
    stage = "" if working.stage is Stage.RESTING else f"  {working.stage.value.upper()}"
    text = f"           {request.side.value:<5}{plain(request.size):>9}{at:>12}{plain(working.booked):>8}"
    text += f"{age(now - working.since):>7}{away:>10}"
    if request.ends_ms is not None:
        text += f"{age(max(0, request.ends_ms - bot.core.market_ms) / 1000):>9}"
    text += f"  {short(request.identity)}{stage}"
    return Line(text, Tone.WARN if working.stage is Stage.UNKNOWN else Tone.PLAIN)


def _feeds(bot: Bot, now: float) -> list[Line]:
    heard, counts, parts, bad = bot.meter.heard, bot.meter.counts, [], False
    for name in ("book", "ticker", "heartbeat"):
        seen = now - heard[name] if name in heard else None
        stale = now - heard.get(name, bot.began) > (STALE_S if name != "heartbeat" else 3.0)
        bad = bad or stale
        parts.append(f"{name} {'none yet' if seen is None else age(seen)}{' STALE' if stale else ''}")
    silent = now - bot.core.user_heard
    parts.insert(2, f"user {age(silent)}{' STALE' if silent > USER_STALE_S else ''}")
    text = f"FEEDS      {'   '.join(parts)}   lost {counts['lost']}   resumed {counts['resumed']}"
    lines = [Line(text, Tone.WARN if bad else Tone.PLAIN)]
    if USER in bot.core.blocks:
        why = bot.core.blocks[USER]
        lines.append(Line(f"           user channel: {why}.  Entries of that socket are read by HTTP", Tone.WARN))
        lines.append(Line("           The stops were placed over HTTP and stand", Tone.WARN))
    return lines


def _loop(bot: Bot) -> Line:
    meter, core = bot.meter, bot.core
    lag, wire = percentile(meter.lags, 99) * 1000, percentile(meter.decisions, 99) * 1000
    written = percentile(meter.writes, 50) * 1000
    head = bot.gear.projections.journal.head().seq
    text = f"LOOP       lag p99 {lag:.1f} ms   decision to wire p99 {wire:.1f} ms   orders today "
    text += f"{core.activity.recent(core.market_ms).orders_today}   journal {head:,} rec, {written:.1f} ms"
    return Line(text)


def _diary(diary: Diary, panel: str) -> list[Line]:
    entries: Iterable[Entry] = reversed(diary.entries)
    title, shown = "DECISIONS ", SHOWN
    if panel == "fills":
        title, shown = "FILLS     ", 10
        entries = (entry for entry in entries if entry.word == "FILL")
    elif panel == "decisions":
        shown = 8
    lines = []
    for number, entry in enumerate(entries):
        if number == shown:
            break
        margin = title if number == 0 else " " * len(title)
        text = f"{margin} {entry.at:%H:%M:%S}.{entry.at.microsecond // 1000:03d}  {entry.word:<8} {entry.text:<44}"
        tone = Tone.WARN if entry.word in ("REFUSED", "UNKNOWN", "VENUE NO", "ALERT", "DRIFT") else Tone.PLAIN
        lines.append(Line(f"{text} {entry.reason}".rstrip(), tone))
    return lines or [Line(f"{title} none yet")]


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
