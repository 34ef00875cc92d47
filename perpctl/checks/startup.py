"""This file ticks the five boxes after a start, each with its evidence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.checks import gate
from perpctl.checks.gate import Finding, Gate, failed, passed
from perpctl.questions import health
from perpctl.questions.limits import limits_of
from perpctl.results import Answer, Block, Json, Line, Next, Tone
from perpctl.store.lease import Lease

if TYPE_CHECKING:
    from perpctl.desk import Desk

SECTION = "AFTER THE START"


async def boxes(desk: Desk) -> Answer:
    """Authentication, channels, limits, positions, monitoring. Exit 0 when all five hold."""
    await desk.scope()
    asked = _Boxes(desk)
    named = (
        ("API authentication", asked.authenticated),
        ("WebSocket channels", asked.channels),
        ("risk limits", asked.limits),
        ("positions", asked.positions),
        ("monitoring", asked.monitoring),
    )
    outcomes = await gate.run([Gate(SECTION, name, look, 6.0) for name, look in named], desk.clock)
    now, code = desk.clock.monotonic(), gate.exit_code(outcomes)
    good = sum(one.finding.verdict is gate.Verdict.PASS for one in outcomes)
    view: list[Block] = [gate.table(outcomes, now)]
    view.append(Line(f"{good} of {len(outcomes)} boxes hold", Tone.GOOD if code == 0 else Tone.BAD, mark=code != 0))
    view.append(Next(gate.fixes(outcomes)))
    facts: dict[str, Json] = {"boxes": [one.facts(now) for one in outcomes]}
    scope, trouble = await desk.scope(), gate.trouble(outcomes)
    return Answer("perpctl.verify.startup/1", scope, facts, tuple(view), code, "boxes", trouble=trouble)


class _Boxes:
    """What the running bot says of itself, and what its files and the venue say beside it."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._name = desk.settings.profile

    async def authenticated(self) -> Finding:
        scope = await self._desk.scope()
        if scope.pinned == "pinned":
            return passed(f"a private call answers for account {scope.account} = pinned")
        return failed(f"account {scope.account or '?'} is {scope.pinned}", f"perpctl -p {self._name} auth test")

    async def channels(self) -> Finding:
        component = await self._component("feeds")
        words = f"the bot's own sockets: {component.get('detail') or component.get('status')}"
        return passed(words) if component.get("status") == "ok" else failed(words, f"perpctl -p {self._name} ws test")

    async def limits(self) -> Finding:
        limits = limits_of(self._desk)
        if limits is None or limits.unset:
            return failed("limits are missing", f"perpctl -p {self._name} config show --origin")
        return passed(f"{self._desk.settings.risk_level}, every row set")

    async def positions(self) -> Finding:
        component = await self._component("reconcile")
        words = f"reconciled with the venue: {component.get('detail') or component.get('status')}"
        return passed(words) if component.get("status") == "ok" else failed(words, f"perpctl -p {self._name} reconcile")

    async def monitoring(self) -> Finding:
        lease = Lease.read(self._desk.settings.state_dir / "lease")
        if lease is None or not lease.is_held:
            return failed("no bot of this profile holds the lease", f"perpctl -p {self._name} run")
        address, _ = health.card_of(self._desk)
        code, _ = await self._document()
        words = f"{address}/health answers {code}; {lease.holder} holds epoch {lease.epoch}"
        return passed(words) if code == 200 else failed(words, f"perpctl -p {self._name} health")

    async def _component(self, name: str) -> dict[str, Json]:
        _, document = await self._document()
        return dict(document.get("components", {}).get(name, {"status": "not told"}))

    async def _document(self) -> tuple[int, dict[str, dict[str, dict[str, Json]]]]:
        try:
            code, document = await health.ask(self._desk)
        except health.NobodyAnswers as why:
            return 0, {"components": {"service": {"status": "silent", "detail": str(why)}}}
        return code, dict(document)
