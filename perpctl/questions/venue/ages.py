"""This file answers how old what we believe is: keys, token, probe, reconcile; each against its limits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.errors import CredentialError, StateDamaged
from perpctl.exchange.port import Grant, Unsupported
from perpctl.questions import figures
from perpctl.results import Column, Json, Row, Table, Tone
from perpctl.store.facts.probe import read_probe

if TYPE_CHECKING:
    from perpctl.desk import Desk

DAY_S = 86_400.0
KEY_DAYS = (60, 80, 90)
PROBE_S = (DAY_S, 7 * DAY_S)
RECONCILE_S = (300.0, 900.0)


@dataclass(frozen=True, slots=True)
class Fact:
    """Something believed: its age in seconds, where that stands against its limits, and why when there is no age."""

    name: str
    age_s: float | None
    verdict: str  # ok | WARN | STALE | UNKNOWN | n/a
    words: str

    def row(self) -> Row:
        tone = {"WARN": Tone.WARN, "STALE": Tone.BAD, "UNKNOWN": Tone.WARN}.get(self.verdict, Tone.PLAIN)
        shown = "n/a" if self.verdict == "n/a" else figures.MISSING
        age = shown if self.age_s is None else figures.span(self.age_s)
        return Row({"fact": self.name, "age": age, "verdict": self.verdict, "words": self.words}, tone=tone)

    def facts(self) -> dict[str, Json]:
        age = None if self.age_s is None else f"{self.age_s:.0f}"
        return {"fact": self.name, "age_s": age, "verdict": self.verdict, "words": self.words}


def table(facts: tuple[Fact, ...]) -> Table:
    """The facts on the screen."""
    columns = (
        Column("fact", "BELIEVED"),
        Column("age", "AGE", True),
        Column("verdict", "VERDICT"),
        Column("words", "LIMITS"),
    )
    return Table(columns, tuple(one.row() for one in facts))


async def ages(desk: Desk, grant: Grant | Unsupported) -> tuple[Fact, ...]:
    """Every age that an operator plans by."""
    settings = desk.settings
    trading = (await desk.access()).key_file
    files = (("key", trading), ("backup key", settings.backup_key_file), ("kill key", settings.kill_key_file))
    return (
        *(_key(desk, name, file) for name, file in files if file is not None),
        _token(grant),
        _probe(desk),
        _reconcile(desk),
        Fact("backup", None, "n/a", "this version keeps no backups"),
        Fact("handover", None, "n/a", "this version keeps no handovers"),
    )


def _key(desk: Desk, name: str, file: Path) -> Fact:
    from perpctl.exchange.keys import read_key

    try:
        key = read_key(file, desk.settings.key_name if name == "key" else None)
        created = key.created_at or datetime.fromtimestamp(file.stat().st_mtime, UTC)
    except (CredentialError, OSError) as why:
        return Fact(name, None, "UNKNOWN", str(why))
    days = (desk.clock.now() - created).total_seconds() / DAY_S
    soon, warn, due = KEY_DAYS
    verdict = "ok" if days < soon else "WARN" if days < due else "STALE"
    source = "" if key.created_at else "; ~ by the date of the file, which holds none"
    words = f"{key.short_id}: plan its rotation at {soon} d, rotate at {warn} d, {due} d at most{source}"
    return Fact(name, max(days, 0.0) * DAY_S, verdict, words)


def _token(grant: Grant | Unsupported) -> Fact:
    if isinstance(grant, Unsupported):
        return Fact("token", None, "n/a", grant.reason)
    if grant.per_request:
        return Fact("token", 0.0, "ok", f"made for each request, lives {grant.life_s:.0f} s: nothing to renew")
    return Fact("token", 0.0, "ok", f"lives {grant.life_s:.0f} s, renewed by itself after {grant.life_s * 0.6:.0f} s")


def _probe(desk: Desk) -> Fact:
    words = "stale after 7 d: perpctl probe --fresh"
    try:
        kept = read_probe(desk.settings.state_dir)
    except StateDamaged as why:
        return Fact("probe", None, "UNKNOWN", why.message)
    if kept is None:
        return Fact("probe", None, "UNKNOWN", "never measured: perpctl probe")
    age_s = (desk.clock.now() - from_ms(kept.measured_at_ms)).total_seconds()
    return Fact("probe", age_s, _judged(age_s, PROBE_S), words)


def _reconcile(desk: Desk) -> Fact:
    if not (desk.settings.state_dir / "journal.db").exists():
        return Fact("reconcile, clean", None, "UNKNOWN", "never: there is no journal yet")
    try:
        clean_at = desk.projections().last_clean_reconcile()
    except StateDamaged as why:
        return Fact("reconcile, clean", None, "UNKNOWN", why.message)
    if clean_at is None:
        return Fact("reconcile, clean", None, "UNKNOWN", "never: perpctl reconcile")
    age_s = (desk.clock.now() - clean_at).total_seconds()
    return Fact("reconcile, clean", age_s, _judged(age_s, RECONCILE_S), "stale after 15 min; a running bot does it")


def _judged(age_s: float, limits: tuple[float, float]) -> str:
    warn_s, stale_s = limits
    return "ok" if age_s < warn_s else "WARN" if age_s < stale_s else "STALE"
