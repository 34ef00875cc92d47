"""This file holds the gates that we answer ourselves: limits, day, latch, kill, lease, journal, books, version."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING

from perpctl import __version__
from perpctl.checks.gate import GATE_S, Finding, Gate, Verdict, failed, passed, warned
from perpctl.emergency import pending
from perpctl.model.mode import Mode
from perpctl.questions import figures
from perpctl.questions.held.moved import LEDGER_S, since_baseline
from perpctl.questions.limits import limits_of
from perpctl.questions.venue import probe
from perpctl.risk.limits import Limits
from perpctl.store.lease import Lease

if TYPE_CHECKING:
    from perpctl.desk import Desk

TALK_S = 1.0  # a bot that takes longer to say its mode will not be fenced in time either
DISK_FAIL, DISK_WARN = 1 << 30, 5 << 30  # bytes free
CLEAN_WARN_S = 300
PROBE = "capability probe"
JUDGED_BY_RESUME = frozenset({"latch", "daily loss", "kill", "reconcile", PROBE})  # no halt changes what a key can do


def gates(desk: Desk, *, resuming: bool) -> Sequence[Gate]:
    """In the order of the screen; a resume judges latch, kill, reconcile and the day's loss itself."""
    asked = _Asked(desk)
    found = (
        Gate("RISK", "limits", asked.limits),
        Gate("RISK", "daily loss", asked.day, asks_venue=True, deadline_s=GATE_S + LEDGER_S),
        Gate("OURSELVES", "latch", asked.latch),
        Gate("OURSELVES", "kill", asked.kill),
        Gate("OURSELVES", "kill reaches the bot", asked.bot),
        Gate("OURSELVES", "lease", asked.lease),
        Gate("OURSELVES", "journal", asked.journal),
        Gate("OURSELVES", "unknown orders", asked.unknown),
        Gate("OURSELVES", "reconcile", asked.reconcile),
        Gate("OURSELVES", PROBE, asked.probe, asks_venue=True),
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
            return failed("no risk level: nothing may be sent", f"perpctl -p {self._name} config show --origin")
        if limits.unset:
            fix = f"perpctl -p {self._name} config show --origin"
            return failed(f"unset, so nothing is allowed: {', '.join(limits.unset)}", fix)
        words = (
            f"{self._desk.settings.risk_level}: order {limits.max_order_notional_usd:,f}, position "
            f"{limits.max_position_notional_usd:,f}, gross {limits.max_gross_notional_equity:f} x equity; none unset"
        )
        changed = sorted(self._desk.settings.limits)
        return passed(words if not changed else f"{words}; set by hand: {', '.join(changed)}")

    async def day(self) -> Finding:
        exchange, limits = await self._desk.exchange(), limits_of(self._desk)
        account = await exchange.account()
        at_ms = await exchange.time_ms()
        name = exchange.calendar.day_name(at_ms)
        baseline = self._desk.projections().baseline(name)
        if baseline is None or baseline.equity <= 0:
            return passed(f"no baseline of {name} yet; the bot takes it at its start")
        moved = await since_baseline(exchange, self._desk.projections(), at_ms)
        pnl = (account.equity - baseline.equity - (moved.net or 0)) / baseline.equity * 100
        lines = "" if limits is None else _day_lines(limits)
        began = figures.day_start(exchange.calendar)
        words = f"{pnl:+.2f} %{lines}; baseline {figures.money(baseline.equity)} {baseline.currency} of {began}, kept"
        if moved.unread is not None:
            words += f"; deposits and withdrawals in it: {moved.unread}"
        if limits is not None and pnl <= -limits.day_loss_reduce_pct:
            return failed(f"{words}; at or past the reduce line", f"wait for the next risk day, {began}")
        bad = limits is not None and pnl <= -limits.day_loss_warn_pct
        return warned(words) if bad or (moved.unread is not None and not moved.never) else passed(words)

    async def latch(self) -> Finding:
        state = self._desk.latch().read()
        if state.mode is Mode.NORMAL:
            return passed("off; this user reads and writes the file that the bot reads")
        words = f"{state.mode.upper()} by {state.who or state.cause}: {state.why!r}"
        return failed(words, f'perpctl -p {self._name} resume --as NAME --reason "..."')

    async def kill(self) -> Finding:
        unfinished = [one.kill_id for one in pending.unfinished(self._desk.settings.state_dir)]
        if unfinished:
            return failed(f"pending: {', '.join(unfinished)}", f"perpctl kill -p {self._name} --status")
        scope = self._desk.settings.kill_scope
        if scope is None and self._desk.settings.env == "live":
            return failed("kill_scope is not set", "set kill_scope to account or ours")
        return passed(f"none pending; scope {scope or 'account'}")

    async def bot(self) -> Finding:
        lease = Lease.read(self._desk.settings.state_dir / "lease")
        if lease is None or not lease.is_held:
            return passed("no bot runs: there is nothing to fence")
        try:
            async with asyncio.timeout(TALK_S):
                answer = await self._asked_of_the_bot()
        except (OSError, ValueError, TimeoutError) as why:
            words = f"{lease.holder} (pid {lease.pid}) does not answer on its socket: {why or 'no answer'}"
            return failed(words, f"perpctl kill -p {self._name} --dry-run")
        if answer.get("pid") != lease.pid:
            return failed(f"its socket is answered by pid {answer.get('pid')}, the lease is of {lease.pid}")
        return passed(f"{lease.holder} answers on its socket, pid {lease.pid}")

    async def _asked_of_the_bot(self) -> dict[str, object]:
        reader, writer = await asyncio.open_unix_connection(self._desk.settings.state_dir / "control.sock")
        try:
            writer.write(b'{"do": "mode"}\n')
            answer = json.loads(await reader.readline())
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
        if not isinstance(answer, dict):
            raise ValueError("no answer of a bot")
        return answer

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
            file = self._desk.journal().path
            return failed(verdict.trouble, f"look at line {verdict.broken_at} of {file}; no bot starts on it")
        if free < DISK_FAIL:
            return failed(words, "free some disk")
        return warned(words, "free some disk") if free < DISK_WARN else passed(words)

    async def unknown(self) -> Finding:
        unknown = self._desk.projections().unknown_orders()
        if unknown:
            names = ", ".join(one.key for one in unknown[:3])
            words = f"{figures.count(len(unknown), 'order')} of unknown outcome: {names}"
            return failed(words, f"perpctl -p {self._name} reconcile")
        return passed("none: each order of ours is confirmed, refused or proven absent")

    async def reconcile(self) -> Finding:
        clean_at = self._desk.projections().last_clean_reconcile()
        fix = f'perpctl -p {self._name} reconcile --apply --reason "before the start"'
        if clean_at is None:
            projections = self._desk.projections()
            if projections.newest_fill() is None and not projections.orders():
                return passed("nothing of ours to compare yet; the bot reconciles before its first order")
            return warned("never clean; the bot reconciles before its first order", fix)
        age_s = (self._desk.clock.now() - clean_at).total_seconds()
        words = f"clean {figures.span(age_s)} ago"
        return passed(words) if age_s <= CLEAN_WARN_S else warned(f"{words}; the bot does it again at its start", fix)

    async def probe(self) -> Finding:
        """Reads what was kept: a gate has 3 s, and a probe takes longer."""
        found = await probe.standing(self._desk)
        fix = f"perpctl -p {self._name} probe --fresh"
        return Finding(Verdict(found.verdict), found.words, "" if found.verdict == "PASS" else fix)

    async def version(self) -> Finding:
        return passed(f"perpctl {__version__}; settings hold; profile {self._name}")


def _day_lines(limits: Limits) -> str:
    lines = (limits.day_loss_warn_pct, limits.day_loss_reduce_pct, limits.day_loss_kill_pct)
    return " of " + "/".join(f"-{line:.2f}" for line in lines) + " %"
