"""This file holds the gates that we answer ourselves: limits, day, latch, kill, lease, journal, reconcile, version."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perpctl import __version__
from perpctl.checks.gate import Finding, Gate, failed, passed, warned
from perpctl.clock import from_ms
from perpctl.emergency import pending
from perpctl.model.day import day_start_ms
from perpctl.questions import figures
from perpctl.questions.limits import limits_of
from perpctl.store.latch import Mode
from perpctl.store.lease import Lease

if TYPE_CHECKING:
    from perpctl.desk import Desk

DISK_FAIL, DISK_WARN = 1 << 30, 5 << 30  # bytes free
CLEAN_WARN_S = 300
JUDGED_BY_RESUME = frozenset({"latch", "daily loss", "kill", "reconcile"})


def gates(desk: Desk, *, resuming: bool) -> Sequence[Gate]:
    """In the order of the screen; a resume judges latch, kill, reconcile and the day's loss itself."""
    asked = _Asked(desk)
    found = (
        Gate("RISK", "limits", asked.limits),
        Gate("RISK", "daily loss", asked.day),
        Gate("OURSELVES", "latch", asked.latch),
        Gate("OURSELVES", "kill", asked.kill),
        Gate("OURSELVES", "lease", asked.lease),
        Gate("OURSELVES", "journal", asked.journal),
        Gate("OURSELVES", "unknown orders", asked.unknown),
        Gate("OURSELVES", "reconcile", asked.reconcile),
        Gate("OURSELVES", "version, settings", asked.version),
    )
    return tuple(one for one in found if not (resuming and one.name in JUDGED_BY_RESUME))


class _Asked:
    """The questions, each one bound to the desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._name = desk.settings.profile

    async def limits(self) -> Finding:
        limits = limits_of(self._desk)
        if limits is None:
            return failed("no risk level: nothing may be sent", f"perpctl config show --origin -p {self._name}")
        if limits.unset:
            return failed(f"unset, so nothing is allowed: {', '.join(limits.unset)}", "perpctl config show --origin")
        words = f"{self._desk.settings.risk_level}; none unset"
        changed = sorted(self._desk.settings.limits)
        return passed(words if not changed else f"{words}; set by hand: {', '.join(changed)}")

    async def day(self) -> Finding:
        exchange, limits = await self._desk.exchange(), limits_of(self._desk)
        account = await exchange.account()
        name = f"{from_ms(day_start_ms(await exchange.time_ms())):%Y-%m-%d}"
        baseline = self._desk.projections().baseline(name)
        if baseline is None or baseline.equity <= 0:
            return passed(f"no baseline of {name} yet; the bot takes it at its start")
        pnl = (account.equity - baseline.equity) / baseline.equity * 100
        words = f"{pnl:+.2f} % since 08:00 UTC; baseline {figures.money(baseline.equity)} {baseline.currency}, kept"
        if limits is not None and pnl <= -limits.day_loss_reduce_pct:
            return failed(f"{words}; at or past the reduce line", "wait for the next risk day, 08:00 UTC")
        return warned(words) if limits is not None and pnl <= -limits.day_loss_warn_pct else passed(words)

    async def latch(self) -> Finding:
        state = self._desk.latch().read()
        if state.mode is Mode.NORMAL:
            return passed("off; readable and writable by this user")
        words = f"{state.mode.upper()} by {state.who or state.cause}: {state.why!r}"
        return failed(words, f'perpctl resume -p {self._name} --as NAME --reason "..."')

    async def kill(self) -> Finding:
        unfinished = [one.kill_id for one in pending.unfinished(self._desk.settings.state_dir)]
        if unfinished:
            return failed(f"pending: {', '.join(unfinished)}", f"perpctl kill -p {self._name} --status")
        scope = self._desk.settings.kill_scope
        if scope is None and self._desk.settings.env == "live":
            return failed("kill_scope is not set", "set kill_scope to account or ours")
        return passed(f"none pending; scope {scope or 'account'}; runs without bot, database and configuration")

    async def lease(self) -> Finding:
        lease = Lease.read(self._desk.settings.state_dir / "lease")
        if lease is None:
            return passed("free; never held")
        if lease.is_held:
            return warned(f"held by {lease.holder} (pid {lease.pid} on {lease.host}), epoch {lease.epoch}: a bot runs")
        return passed(f"free; last held by {lease.holder}, epoch {lease.epoch}")

    async def journal(self) -> Finding:
        directory = self._desk.settings.state_dir
        verdict = self._desk.journal().verify()
        free = shutil.disk_usage(directory).free
        words = f"chain whole, {verdict.records:,} records; {free / (1 << 30):.0f} GiB free"
        if not verdict.is_whole:
            return failed(f"chain BROKEN: {verdict}", f"perpctl state save -p {self._name}")
        if free < DISK_FAIL:
            return failed(words, "free some disk")
        return warned(words, "free some disk") if free < DISK_WARN else passed(words)

    async def unknown(self) -> Finding:
        unknown = self._desk.projections().unknown_orders()
        if unknown:
            names = ", ".join(one.key for one in unknown[:3])
            return failed(f"{len(unknown)} orders of unknown outcome: {names}", f"perpctl reconcile -p {self._name}")
        return passed("none: every order of ours is confirmed, refused or proven absent")

    async def reconcile(self) -> Finding:
        clean_at = self._desk.projections().last_clean_reconcile()
        fix = f'perpctl reconcile -p {self._name} --apply --reason "before the start"'
        if clean_at is None:
            projections = self._desk.projections()
            if projections.newest_fill() is None and not projections.orders():
                return passed("nothing of ours to compare yet; the bot reconciles before its first order")
            return warned("never clean; the bot reconciles before its first order", fix)
        age_s = (self._desk.clock.now() - clean_at).total_seconds()
        words = f"clean {figures.span(age_s)} ago"
        return passed(words) if age_s <= CLEAN_WARN_S else warned(f"{words}; the bot does it again at its start", fix)

    async def version(self) -> Finding:
        return passed(
            f"perpctl {__version__}, settings valid, state in {self._desk.settings.state_dir}, uid {os.getuid()}"
        )
