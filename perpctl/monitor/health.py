"""This file says how healthy the bot is, component by component, each with its age."""

from __future__ import annotations

from dataclasses import dataclass

from perpctl.engine.core import USER
from perpctl.engine.hours.off import entries_off, words_of
from perpctl.engine.hours.state import closed_by_hours
from perpctl.engine.loop import Bot
from perpctl.engine.state.meter import percentile
from perpctl.errors import PerpctlError
from perpctl.model.mode import Mode
from perpctl.results import Json
from perpctl.risk.ages import DEFAULT_AGES

QUOTE_S, USER_S, RECONCILE_S, ACCOUNT_S, LAG_S = 10.0, 5.0, 900.0, 60.0, 0.25


@dataclass(frozen=True, slots=True)
class Component:
    """`age_s` since it was last seen right; None: it has no age."""

    good: bool
    age_s: float | None
    detail: str

    def as_json(self) -> dict[str, Json]:
        """As `/health` shows it."""
        age = None if self.age_s is None else f"{max(0.0, self.age_s):.1f}"
        return {"status": "ok" if self.good else "bad", "age_s": age, "detail": self.detail}


def components(bot: Bot) -> dict[str, Component]:
    """Everything that must be right for the bot to be called healthy."""
    core, now = bot.core, bot.gear.clock.monotonic()
    lag = percentile(bot.meter.lags, 99)
    quotes = [now - p.quote.seen if p.quote is not None else float("inf") for p in core.products.values()]
    oldest = max(quotes, default=float("inf"))
    unknown = sum(1 for _ in core.orders.unknown())
    return {
        "loop": Component(lag <= LAG_S, None, f"lag p99 {lag * 1000:.1f} ms"),
        "venue": _venue(bot, now),
        "feeds": _feeds(bot, oldest),
        "dead_man": Component(core.dead_man, None, "read back on" if core.dead_man else "NOT armed: no entries"),
        "account": _aged(now, core.day.read_at if core.day.account is not None else None, ACCOUNT_S, "equity read"),
        "reconcile": _aged(now, core.reconciled_at, RECONCILE_S, "agrees with the venue"),
        "stops": _stops(bot, now),
        "orders": Component(unknown == 0, None, f"{unknown} of unknown outcome"),
        "lease": _lease(bot),
        "journal": _journal(bot),
        "hours": _hours(bot, now),
        "mode": Component(core.mode is not Mode.HALTED, None, _mode(bot)),
    }


def is_ready(bot: Bot) -> tuple[bool, str]:
    """Whether the bot may trade right now, and else why not."""
    core = bot.core
    if (closed := entries_off(core)) is not None:
        return False, words_of(closed)
    if not core.dead_man:
        return False, "cancel-on-disconnect is not read back"
    if bot.gear.lease.left_ms() <= 0:
        return False, "the lease is lost"
    return True, "trading"


def _feeds(bot: Bot, oldest: float) -> Component:
    """As old as the oldest quote of a product that we trade."""
    if oldest == float("inf"):
        return Component(False, None, "no quote yet")
    lost = bot.core.blocks.get(USER)
    words = "quotes of every product, orders and fills" if lost is None else f"no orders and fills: {lost}"
    return Component(oldest <= QUOTE_S and lost is None, oldest, words)


def _venue(bot: Bot, now: float) -> Component:
    """Since the venue last answered or told us anything of our own."""
    silent = now - bot.core.user_heard
    why = bot.core.blocks.get(USER)
    return Component(why is None and silent <= USER_S, silent, why or "answers")


def _hours(bot: Bot, now: float) -> Component:
    """Since the venue last said how it is. That it keeps hours is no illness of the bot."""
    age_ms, closed = bot.core.hours.age_ms(now), closed_by_hours(bot.core)
    words = "entries may go" if closed is None else f"ENTRIES OFF: {words_of(closed)}"
    good = age_ms is not None and age_ms <= DEFAULT_AGES.venue.stale_ms
    return Component(good, None if age_ms is None else age_ms / 1000, words)


def _aged(now: float, since: float | None, limit_s: float, good: str) -> Component:
    if since is None:
        return Component(False, None, "never")
    return Component(now - since <= limit_s, now - since, good)


def _stops(bot: Bot, now: float) -> Component:
    bare = {p.product_id: now - p.bare_since for p in bot.core.products.values() if p.bare_since is not None}
    if not bare:
        return Component(True, None, "every position is covered")
    return Component(False, max(bare.values()), f"without a stop: {', '.join(bare)}")


def _lease(bot: Bot) -> Component:
    left = bot.gear.lease.left_ms()
    return Component(left > 0, None, f"epoch {bot.gear.lease.epoch}, {left / 1000:.1f} s left")


def _journal(bot: Bot) -> Component:
    """Really asked: a database that cannot be read is not well."""
    try:
        return Component(True, None, f"{bot.gear.projections.journal.head().seq} records")
    except PerpctlError as why:
        return Component(False, None, why.message)


def _mode(bot: Bot) -> str:
    core = bot.core
    return core.mode.value if core.mode is Mode.NORMAL else f"{core.mode.value}: {core.mode_why}"
