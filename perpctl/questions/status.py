"""This file answers what anybody types first: one screen of everything, whose worst level is the exit code."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from msgspec import Struct

from perpctl.clock import from_ms, to_ms
from perpctl.errors import ExitCode, PerpctlError, StateDamaged
from perpctl.model.mode import Mode
from perpctl.model.venue.calendar import DAY_MS, Happening, Kind, VenueCalendar, merged
from perpctl.questions import figures, health
from perpctl.questions.held import positions, screen, stops
from perpctl.questions.orders import kind, owner
from perpctl.questions.venue import watched
from perpctl.results import Answer, Block, Json, Line, Next, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.questions.held.positions import Held

AHEAD_MS = 8 * DAY_MS  # holds every weekly stop once


class Part(Struct, frozen=True):
    """One line of the screen; `level` WARN or BAD makes the screen's verdict."""

    name: str
    text: str
    facts: Json
    level: Tone = Tone.PLAIN
    command: str | None = None

    def line(self) -> Line:
        """On the screen; what is wrong stands in it in capitals, and its command stands last."""
        return Line(f"{self.name:<8} {self.text}", self.level)


_FACT_NAMES = {"venue": "venue_state", "mode": "latch_state", "bot": "bot_state"}  # the heading has those names


_ORDER = ("mode", "kill", "bot", "venue", "journal", "risk", "orders", "unknown", "watched", "next")


async def status(desk: Desk) -> Answer:
    """Mode, bot, venue, risk, orders, what comes next.

    Exit 0 fine, 1 something warns, 3 something is unknown, 11 our own state is damaged.
    """
    parts = [_mode(desk), _pending_kill(desk), await _bot(desk)]
    failures = list[PerpctlError]()
    for ask in (_venue_parts, _own_parts):
        try:
            parts += await ask(desk)
        except PerpctlError as why:
            failures.append(why)
            name, command = (
                ("journal", "preflight --all") if isinstance(why, StateDamaged) else ("venue", "market status")
            )
            parts.append(Part(name, f"UNKNOWN: {why.message}", why.message, Tone.BAD, command))
    parts.sort(key=lambda one: _ORDER.index(one.name))
    worst = _worst(parts, failures)
    scope = desk.known_scope()
    commands = tuple(f"perpctl -p {scope.profile} {one.command}" for one in parts if one.command)
    words = {ExitCode.OK: "ok", ExitCode.NEGATIVE: "WARN", ExitCode.STATE_DAMAGED: "OUR STATE IS DAMAGED"}
    view: list[Block] = [one.line() for one in parts]
    view.append(Next(commands, urgent=True))
    word = words.get(worst, "UNKNOWN")
    view.append(Line(f"worst: {word} (exit {int(worst)})", Tone.GOOD if worst is ExitCode.OK else Tone.BAD))
    facts: dict[str, Json] = {_FACT_NAMES.get(one.name, one.name): one.facts for one in parts}
    facts |= {"exit_code": int(worst), "commands": list(commands)}
    trouble = "; ".join(why.message for why in failures)
    return Answer("perpctl.status/1", scope, facts, tuple(view), worst, trouble=trouble)


def _worst(parts: list[Part], failures: list[PerpctlError]) -> ExitCode:
    """A damaged state of ours outweighs a venue that cannot be read: the one does not heal by itself."""
    codes = {why.exit_code for why in failures}
    if ExitCode.STATE_DAMAGED in codes:
        return ExitCode.STATE_DAMAGED
    if codes:
        return ExitCode.UNKNOWN
    return ExitCode.NEGATIVE if any(one.level is not Tone.PLAIN for one in parts) else ExitCode.OK


def _mode(desk: Desk) -> Part:
    state = desk.latch().read()
    facts: Json = {"mode": state.mode.value, "who": state.who, "why": state.why, "cause": state.cause}
    if state.mode is Mode.NORMAL:
        return Part("mode", "NORMAL, latch off", facts)
    since = f" since {from_ms(state.at_ms):%d %b %H:%M:%S} UTC" if state.at_ms else ""
    words = f'{state.mode.upper()}{since} ({state.who or state.cause}: "{state.why}")'
    return Part("mode", words, facts, Tone.WARN, 'resume --as NAME --reason "..." --dry-run')


def _pending_kill(desk: Desk) -> Part:
    from perpctl.emergency import pending

    unfinished = pending.unfinished(desk.settings.state_dir)
    if not unfinished:
        return Part("kill", "none pending", [])
    names = [one.kill_id for one in unfinished]
    return Part("kill", f"PENDING: {', '.join(names)}", list(names), Tone.BAD, "kill --status")


async def _bot(desk: Desk) -> Part:
    standing = desk.standing()
    if standing.bot in (None, "none"):
        return Part("bot", "none runs; what stands at the venue is watched by nobody", None)
    try:
        code, document = await health.ask(desk)
    except health.NobodyAnswers as why:
        return Part(
            "bot", f"{standing.bot}, but its service does not answer ({why})", standing.bot, Tone.WARN, "health"
        )
    ill = sorted(name for name, one in document.get("components", {}).items() if one.get("status") != "ok")
    hours = str(document.get("components", {}).get("hours", {}).get("detail") or "")
    off = f"; {hours}" if hours.startswith("ENTRIES OFF") else ""
    if code == 200:
        return Part("bot", f"{standing.bot}, healthy{off}", standing.bot)
    return Part("bot", f"{standing.bot}, NOT HEALTHY: {', '.join(ill)}{off}", standing.bot, Tone.WARN, "health")


async def _venue_parts(desk: Desk) -> list[Part]:
    exchange = await desk.exchange()
    venue, held = await asyncio.gather(exchange.status(), positions.read(desk, with_day=True))
    orders = held.orders
    open_now = venue.locked == "false" and not venue.maintenance
    words = f"locked {venue.locked}, {venue.round_trip_ms} ms, clock {_clock(venue.wall_offset_ms)}"
    facts: Json = {"locked": venue.locked, "round_trip_ms": venue.round_trip_ms, "offset_ms": venue.wall_offset_ms}
    held_positions = tuple(one.position for one in held.holdings)
    stop_count = sum(kind(order, held_positions) == "stop" for order in orders)
    foreign = sum(owner(desk, order.identity) == "NOT OURS" for order in orders)
    by_hand = f" ({foreign} NOT OURS)" if foreign else ""
    entries = figures.count(len(orders) - stop_count, "entry", "entries")
    return [
        Part("venue", f"{'open' if open_now else 'NOT OPEN'}, {words}", facts, Tone.PLAIN if open_now else Tone.BAD),
        _risk(held),
        Part(
            "orders",
            f"{len(orders)} working: {entries}{by_hand}, {figures.count(stop_count, 'stop')}",
            {"working": len(orders), "stops": stop_count, "not_ours": foreign},
            Tone.WARN if foreign else Tone.PLAIN,
            "orders list" if foreign else None,
        ),
        _next(exchange.calendar, venue.planned, held.at_ms),
    ]


def _next(calendar: VenueCalendar, planned: tuple[Happening, ...], now_ms: int) -> Part:
    """The stop of the venue that comes next, or the one that keeps entries off now, and until when."""
    standing = calendar.standing(now_ms, planned)
    ahead = merged(calendar.upcoming(now_ms, now_ms + AHEAD_MS), planned)
    stops = [one for one in ahead if one.kind is Kind.STOP and not one.uncertain and one.start_ms > now_ms]
    stop = standing.stop if standing is not None else min(stops, key=lambda one: one.start_ms, default=None)
    if stop is None:
        return Part("next", "no stop of the venue is known", None)
    facts: dict[str, Json] = {"stop": stop.key, "stop_at": from_ms(stop.start_ms).isoformat(), "entries_back_at": None}
    if standing is None or not standing.pauses:
        away = figures.span((stop.start_ms - now_ms) / 1000)
        words = f"{stop.name} {from_ms(stop.start_ms):%d %b %H:%M} UTC, in {away}"
        return Part("next", words, {**facts, "entries_pause": False})
    back_at = None if standing.until_ms is None else from_ms(standing.until_ms)
    until = "nobody says until when" if back_at is None else f"before {back_at:%d %b %H:%M:%S} UTC"
    facts |= {"entries_pause": True, "entries_back_at": None if back_at is None else back_at.isoformat()}
    level = Tone.PLAIN if stop.start_ms == stop.end_ms else Tone.WARN
    return Part(
        "next", f"NO NEW ENTRIES {until}: {stop.title}", facts, level, None if level is Tone.PLAIN else "calendar"
    )


def _clock(offset_ms: int | None) -> str:
    return figures.MISSING if offset_ms is None else "ok" if offset_ms == 0 else f"{offset_ms:+d} ms"


def _risk(held: Held) -> Part:
    bare = [one for one in held.holdings if stops.is_bare(one)]
    far = [one for one in held.holdings if one not in bare and stops.trouble(one) is not None]
    gross = figures.total(
        None if one.position.notional is None else abs(one.position.notional) for one in held.holdings
    )
    account = held.account
    used = None if account.equity <= 0 else account.initial_margin / account.equity
    times = "" if gross is None or account.equity <= 0 else f", gross {gross / account.equity:.2f} x"
    share = None if gross is None or not held.gross_limit else gross / held.gross_limit
    of_limit = "" if share is None else f" ({share * 100:.0f} %{screen.near_limit(share)})"
    unread = held.day is not None and held.day.moved.unread is not None
    day = "" if held.day is None else f", day {held.day.percent:+.2f} %{', transfers in it' if unread else ''}"
    lost = held.day is not None and held.warn_pct is not None and held.day.percent <= -held.warn_pct
    words = [
        f"{figures.count(len(held.holdings), 'position')}{times}{of_limit}{day}{' WARN' if lost else ''}",
        f"margin used {figures.percent(used, 1, signed=False)}",
        *([f"{len(bare)} WITHOUT FULL STOP"] if bare else []),
        *([f"{figures.count(len(far), 'STOP', 'STOPS')} TOO FAR"] if far else []),
    ]
    facts: Json = {
        "positions": len(held.holdings),
        "without_stop": len(bare),
        "stop_too_far": len(far),
        "equity": figures.text(account.equity),
        "gross": figures.text(gross),
        "gross_of_limit": None if share is None else f"{share:.4f}",
        "margin_used": None if used is None else f"{used:.4f}",
        "day_pct": None if held.day is None else f"{held.day.percent:.4f}",
    }
    wrong = bare + far
    warns = bool(wrong) or lost or (share is not None and share >= screen.NEAR_LIMIT)
    command = f"stops place {wrong[0].words if len(wrong) == 1 else ''}".strip() if wrong else None
    return Part("risk", ", ".join(words), facts, Tone.WARN if warns else Tone.PLAIN, command)


async def _own_parts(desk: Desk) -> list[Part]:
    """What only our journal knows."""
    return [_unknown_orders(desk), *await _watched_orders(desk)]


async def _watched_orders(desk: Desk) -> list[Part]:
    """What may still come although it was settled; by our own clock, for the venue may not be there to ask."""
    found = watched.watched(desk, (await desk.market()).terms, to_ms(desk.clock.now()))
    if not found:
        return []
    told = f"{figures.count(len(found), 'order')} settled as never arrived, may still come; first {found[0].words}"
    return [Part("watched", told, [one.facts() for one in found])]


def _unknown_orders(desk: Desk) -> Part:
    unknown = desk.projections().unknown_orders()
    names: list[Json] = [one.key for one in unknown]
    if not unknown:
        return Part("unknown", "0 orders of unknown outcome", names)
    words = figures.count(len(unknown), "ORDER", "ORDERS")
    return Part("unknown", f"{words} OF UNKNOWN OUTCOME", names, Tone.WARN, "reconcile")
