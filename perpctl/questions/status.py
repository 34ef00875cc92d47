"""This file answers what anybody types first: one screen of everything, whose worst level is the exit code."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.errors import ExitCode, PerpctlError
from perpctl.questions import figures, health
from perpctl.questions.held import positions, stops
from perpctl.questions.orders import kind, owner
from perpctl.results import Answer, Block, Json, Line, Next, Tone
from perpctl.store.latch import Mode

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.questions.held.positions import Held

DAY_MS = 86_400_000
SETTLEMENT_MS = 8 * 3_600_000


@dataclass(frozen=True, slots=True)
class Part:
    """One line of the screen; `level` WARN or BAD makes the screen's verdict."""

    name: str
    text: str
    facts: Json
    level: Tone = Tone.PLAIN
    command: str | None = None

    def line(self) -> Line:
        """On the screen."""
        return Line(f"{self.name:<8} {self.text}", self.level, mark=self.level is not Tone.PLAIN)


_FACT_NAMES = {"venue": "venue_state", "mode": "latch_state", "bot": "bot_state"}  # the heading has those names


async def status(desk: Desk) -> Answer:
    """Mode, bot, venue, risk, orders, what comes next. Exit 0 fine, 1 something warns, 3 something is unknown."""
    parts = [_mode(desk), _pending_kill(desk), await _bot(desk)]
    unknown = False
    try:
        parts += await _venue_parts(desk)
    except PerpctlError as why:
        unknown = True
        parts.append(Part("venue", f"UNKNOWN: {why.message}", why.message, Tone.BAD, "market status"))
    worst = _worst(parts, unknown)
    scope = await desk.scope()
    commands = tuple(f"perpctl -p {scope.profile} {one.command}" for one in parts if one.command)
    words = {ExitCode.OK: "worst: ok (exit 0)", ExitCode.NEGATIVE: "worst: WARN (exit 1)"}
    view: list[Block] = [one.line() for one in parts]
    view += [Next(commands)] if commands else []
    view.append(Line(words.get(worst, "worst: UNKNOWN (exit 3)"), Tone.GOOD if worst is ExitCode.OK else Tone.BAD))
    facts: dict[str, Json] = {_FACT_NAMES.get(one.name, one.name): one.facts for one in parts}
    return Answer("perpctl.status/1", scope, {**facts, "exit_code": int(worst)}, tuple(view), worst)


def _worst(parts: list[Part], unknown: bool) -> ExitCode:
    if unknown:
        return ExitCode.UNKNOWN
    return ExitCode.NEGATIVE if any(one.level is not Tone.PLAIN for one in parts) else ExitCode.OK


def _mode(desk: Desk) -> Part:
    state = desk.latch().read()
    facts: Json = {"mode": state.mode.value, "who": state.who, "why": state.why, "cause": state.cause}
    if state.mode is Mode.NORMAL:
        return Part("mode", "NORMAL, latch off", facts)
    since = f" since {from_ms(state.at_ms):%d %b %H:%M:%S} UTC" if state.at_ms else ""
    words = f'{state.mode.upper()}{since} ({state.who or state.cause}: "{state.why}")'
    return Part("mode", words, facts, Tone.WARN, "resume --dry-run")


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
    if code == 200:
        return Part("bot", f"{standing.bot}, healthy", standing.bot)
    return Part("bot", f"{standing.bot}, NOT HEALTHY: {', '.join(ill)}", standing.bot, Tone.WARN, "health")


async def _venue_parts(desk: Desk) -> list[Part]:
    exchange = await desk.exchange()
    venue, held, orders = await asyncio.gather(exchange.status(), positions.read(desk), exchange.open_orders())
    open_now = venue.locked == "false" and not venue.maintenance
    words = f"locked {venue.locked}, {venue.round_trip_ms} ms, clock {_clock(venue.wall_offset_ms)}"
    facts: Json = {"locked": venue.locked, "round_trip_ms": venue.round_trip_ms, "offset_ms": venue.wall_offset_ms}
    now_ms = await exchange.time_ms()
    next_ms = (now_ms - SETTLEMENT_MS) // DAY_MS * DAY_MS + DAY_MS + SETTLEMENT_MS
    held_positions = tuple(one.position for one in held.holdings)
    stop_count = sum(kind(order, held_positions) == "stop" for order in orders)
    foreign = sum(owner(desk, order.identity) == "NOT OURS" for order in orders)
    by_hand = f" ({foreign} not ours)" if foreign else ""
    return [
        Part("venue", f"{'open' if open_now else 'NOT OPEN'}, {words}", facts, Tone.PLAIN if open_now else Tone.BAD),
        _risk(held),
        _unknown_orders(desk),
        Part(
            "orders",
            f"{len(orders)} working: {len(orders) - stop_count} entries{by_hand}, {stop_count} stops",
            {"working": len(orders), "stops": stop_count, "not_ours": foreign},
            Tone.WARN if foreign else Tone.PLAIN,
            "orders list" if foreign else None,
        ),
        Part(
            "next",
            f"settlement {from_ms(next_ms):%d %b %H:%M} UTC, in {figures.span((next_ms - now_ms) / 1000)}",
            {"settlement_at": from_ms(next_ms).isoformat()},
        ),
    ]


def _clock(offset_ms: int | None) -> str:
    return figures.MISSING if offset_ms is None else "ok" if offset_ms == 0 else f"{offset_ms:+d} ms"


def _risk(held: Held) -> Part:
    bare = [one for one in held.holdings if stops.trouble(one) is not None]
    gross = figures.total(
        None if one.position.notional is None else abs(one.position.notional) for one in held.holdings
    )
    account = held.account
    used = None if account.equity <= 0 else account.initial_margin / account.equity
    times = "" if gross is None or account.equity <= 0 else f", gross {gross / account.equity:.2f} x equity"
    words = (
        f"{len(held.holdings)} positions{times}, equity {figures.money(account.equity)} {account.currency}, "
        f"margin used {figures.percent(used, 1, signed=False)}"
    )
    facts: Json = {"positions": len(held.holdings), "without_stop": len(bare), "equity": figures.text(account.equity)}
    if not bare:
        return Part("risk", words, facts)
    command = f"stops place {bare[0].words}"
    return Part("risk", f"{words}, {len(bare)} WITHOUT A STOP", facts, Tone.WARN, command)


def _unknown_orders(desk: Desk) -> Part:
    unknown = desk.projections().unknown_orders()
    names: list[Json] = [one.key for one in unknown]
    if not unknown:
        return Part("unknown", "0 orders of unknown outcome", names)
    return Part("unknown", f"{len(unknown)} ORDERS OF UNKNOWN OUTCOME", names, Tone.WARN, "reconcile")
