"""This file says how a run ended: what was cancelled and read back, what stays open, and who watches it."""

from __future__ import annotations

from decimal import Decimal

from perpctl.engine.closing import Ended, Kept
from perpctl.engine.loop import Bot
from perpctl.engine.screen.view import Frame
from perpctl.model.money import plain
from perpctl.questions.figures import day_start, money, price, size
from perpctl.results import Answer, Block, Json, Line, Tone


def summary(bot: Bot, ended: Ended, frame: Frame) -> Answer:
    """The last screen of a run."""
    symbols = " ".join(bot.gear.symbols)
    blocks: list[Block] = [
        Line(f"stopped in {ended.took_s:.1f} s.   {frame.env.upper()}  {frame.venue}  {symbols}", Tone.TITLE)
    ]
    blocks += [_entries(ended), *_positions(ended), *_watched(ended, frame)]
    currency = bot.core.day.account.currency if bot.core.day.account is not None else ""
    text = f"session   {_clock(ended.ran_s)}, {ended.fills} fills, {money(ended.result, signed=True)} {currency}"
    text += f" since {day_start(bot.core.rules.calendar)}, {ended.refused_by_venue} refusals by the venue"
    text += f", {ended.refused_by_gate} by the gate"
    blocks.append(Line(f"{text}; state saved {bot.gear.clock.now():%H:%M:%S}"))
    return Answer("perpctl.run/1", None, _facts(ended, frame), tuple(blocks), ended.exit_code)


def _entries(ended: Ended) -> Line:
    read = ended.read_back
    if ended.fenced is not None:
        return Line(f"entries   left to kill {ended.fenced}: nothing was sent after its fence", Tone.WARN, mark=True)
    if read is None:
        return Line("entries   left standing, as asked; nobody cancels them now", Tone.WARN, mark=True)
    if not read.proven:
        left = f"{len(read.left)} still there" if read.left else "the listing could not be read"
        left = f"{read.in_flight} without an answer yet" if read.in_flight and not read.left else left
        return Line(f"entries   NOT PROVEN GONE: {left}", Tone.BAD, mark=True)
    stops = len(read.stops)
    but = f" but for {stops} protective stop{'s' if stops > 1 else ''}" if stops else ""
    return Line(f"entries   {read.cancelled} cancelled; listing read back empty{but}")


def _positions(ended: Ended) -> list[Line]:
    if not ended.kept:
        return [Line("position  flat in what this bot trades")]
    return [_kept(kept) if ended.fenced is None else _taken_over(kept, ended.fenced) for kept in ended.kept]


def _taken_over(kept: Kept, kill: str) -> Line:
    """Open when this bot was fenced; what became of it is the kill's to say."""
    row = kept.product.instrument
    held = size(kept.product.position, row.base, row.size_decimals)
    return Line(f"position  {held} {row.symbol} when the kill took over: kill {kill} closes it", Tone.WARN)


def _kept(kept: Kept) -> Line:
    product = kept.product
    row, mark = product.instrument, product.mark
    worth = money(None if mark is None else abs(product.position) * mark)
    held = f"position  {size(product.position, row.base, row.size_decimals)} = {worth} {row.currency} STAYS OPEN"
    if kept.stop is None:
        return Line(f"{held}; NO STOP at the venue", Tone.BAD, mark=True)
    trigger = price(kept.stop.trigger_price, row.price_decimals)
    return Line(f"{held}; stop {kept.stop.side.value} {plain(kept.stop.remaining)} at {trigger} stands at the venue")


def _watched(ended: Ended, frame: Frame) -> list[Line]:
    if not ended.kept:
        return []
    if ended.fenced is not None:
        return [Line(f"watched   by the kill: perpctl kill -p {frame.profile} --status", Tone.WARN)]
    symbol = ended.kept[0].product.instrument.symbol
    then = f"perpctl -p {frame.profile} positions"
    return [Line(f"watched   by nobody.  {then}  |  {then} close {symbol}", Tone.WARN)]


def _facts(ended: Ended, frame: Frame) -> dict[str, Json]:
    read = ended.read_back
    return {
        "env": frame.env,
        "venue": frame.venue,
        "event": "stopped",
        "took_s": f"{ended.took_s:.2f}",
        "ran_s": f"{ended.ran_s:.1f}",
        "entries_proven_gone": None if read is None else read.proven,
        "entries_cancelled": None if read is None else read.cancelled,
        "kept": [_kept_facts(kept) for kept in ended.kept],
        "fills": ended.fills,
        "day_pnl": _text(ended.result),
        "refused_by_venue": ended.refused_by_venue,
        "refused_by_gate": ended.refused_by_gate,
        "fenced_by": ended.fenced,
    }


def _kept_facts(kept: Kept) -> dict[str, Json]:
    return {
        "product_id": kept.product.product_id,
        "position": plain(kept.product.position),
        "stop_order_id": None if kept.stop is None else kept.stop.order_id,
        "stop_trigger_price": None if kept.stop is None else _text(kept.stop.trigger_price),
    }


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"
