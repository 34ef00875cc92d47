"""This file answers what our key can do at its venue: measured now, or lately, with the age of the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpctl.clock import from_ms, to_ms
from perpctl.errors import CredentialError, ExitCode, StateDamaged
from perpctl.exchange.keys import read_key
from perpctl.model.venue.ability import Ability, named
from perpctl.questions import figures
from perpctl.results import Age, Answer, Block, Column, Json, Line, Next, Row, Table, Tone
from perpctl.store.facts.probe import Kept, Subject, keep_probe, read_probe

if TYPE_CHECKING:
    from perpctl.desk import Desk

WARN_S, STALE_S = 86_400.0, 7 * 86_400.0
VERDICTS = ("PASS", "FAIL", "UNKNOWN", "n/a")
_TONES = {"FAIL": Tone.BAD, "UNKNOWN": Tone.WARN, "n/a": Tone.DIM}


async def probe(desk: Desk, *, fresh: bool) -> Answer:
    """Exit 1 when the key cannot do what trading needs, 3 when something could not be told.

    An answer of the last day about the same key, account and products is shown again, with its age.
    """
    exchange = await desk.exchange()
    subject = await subject_of(desk)
    kept, not_kept = None if fresh else _young(desk, subject), None
    measured = kept is None
    if kept is None:
        abilities = await exchange.capabilities(desk.settings.symbols)
        kept = Kept(subject, to_ms(desk.clock.now()), abilities)
        try:
            keep_probe(desk.settings.state_dir, kept)
        except StateDamaged as why:
            not_kept = why.message
    return await _answer(desk, kept, measured, not_kept)


def _young(desk: Desk, subject: Subject) -> Kept | None:
    kept = read_probe(desk.settings.state_dir)
    if kept is None or kept.subject != subject or not 0 <= age_s(desk, kept) < WARN_S:
        return None
    return kept


async def subject_of(desk: Desk) -> Subject:
    """Whom an answer of now would be about. Raises CredentialError for a key file that cannot be used."""
    access, settings = await desk.access(), desk.settings
    if access.key_file is None:
        raise CredentialError("this profile names no key file", not_done="nothing was measured")
    key = read_key(access.key_file, access.key_name)
    account = (await desk.scope()).account
    return Subject(settings.venue, account, f"{key.algorithm} {key.short_id}", tuple(settings.symbols))


def age_s(desk: Desk, kept: Kept) -> float:
    """How old an answer is, by the wall clock: it is asked for by other processes, days later."""
    return (desk.clock.now() - from_ms(kept.measured_at_ms)).total_seconds()


@dataclass(frozen=True, slots=True)
class Standing:
    """How an answer that was kept stands today: `PASS WARN FAIL UNKNOWN`, and why."""

    verdict: str
    words: str


async def standing(desk: Desk) -> Standing:
    """For a start: what the last probe says, and whether it may still be believed. Asks the venue nothing."""
    kept = read_probe(desk.settings.state_dir)
    if kept is None:
        return Standing("UNKNOWN", "never measured")
    age = age_s(desk, kept)
    words = f"measured {figures.span(max(age, 0.0))} ago for {kept.subject.key}"
    subject = await subject_of(desk)
    if subject.account is None:
        return Standing("UNKNOWN", f"{words}; which account it reaches now is not told")
    if kept.subject != subject:
        return Standing("UNKNOWN", f"{words}, account {kept.subject.account}: another key, account or set of products")
    if age >= STALE_S or age < 0:
        return Standing("UNKNOWN", f"{words}: too old to be believed" if age > 0 else "measured in the future")
    failed, unknown = named(kept.abilities, "FAIL"), named(kept.abilities, "UNKNOWN")
    if failed:
        return Standing("FAIL", f"{words}; cannot: {', '.join(failed)}")
    words += f"; {len(named(kept.abilities, 'PASS'))} pass"
    words += f"; could not be told: {', '.join(unknown)}" if unknown else ""
    return Standing("WARN" if age >= WARN_S or unknown else "PASS", words)


async def _answer(desk: Desk, kept: Kept, measured: bool, not_kept: str | None) -> Answer:
    scope, age = await desk.scope(), age_s(desk, kept)
    counts = {verdict: len(named(kept.abilities, verdict)) for verdict in VERDICTS}
    when = "now" if measured else f"{figures.span(age)} ago"
    view: list[Block] = [
        Line(f"KEY  {kept.subject.key}   measured {when}; nothing was placed"),
        Line(""),
        _table(kept.abilities, age),
        Line("   ".join(f"{count} {verdict}" for verdict, count in counts.items())),
    ]
    if not_kept is not None:
        view.append(Line(f"NOT KEPT: {not_kept}", Tone.BAD, mark=True))
    if not measured:
        view.append(Next((f"perpctl -p {scope.profile} probe --fresh",)))
    facts: dict[str, Json] = {
        "key": kept.subject.key,
        "measured_at": from_ms(kept.measured_at_ms).isoformat(),
        "measured_now": measured,
        "age_s": f"{age:.0f}",
        "kept": not_kept is None,
        "counts": counts,
        "abilities": [{**_facts(one), "age_s": f"{age:.0f}"} for one in kept.abilities],
    }
    unknown = named(kept.abilities, "UNKNOWN")
    trouble = f"could not be told: {', '.join(unknown)}" if unknown else not_kept or ""
    code = _code(counts, not_kept)
    return Answer("perpctl.probe/1", scope, facts, tuple(view), code, "abilities", trouble=trouble)


def _code(counts: dict[str, int], not_kept: str | None) -> ExitCode:
    if counts["FAIL"]:
        return ExitCode.NEGATIVE
    if counts["UNKNOWN"]:
        return ExitCode.UNKNOWN
    return ExitCode.OK if not_kept is None else ExitCode.STATE_DAMAGED


def _table(abilities: tuple[Ability, ...], age: float) -> Table:
    columns = (
        Column("result", "RESULT"),
        Column("ability", "ABILITY"),
        Column("evidence", "EVIDENCE", wraps=True),
        Column("age", "AGE", True),
    )
    rows: list[Row] = []
    section = None
    for one in abilities:
        if one.section is not section:
            section = one.section
            rows.append(Row({"ability": section.value}, tone=Tone.TITLE))
        rows.append(_row(one, age))
    return Table(columns, tuple(rows))


def _row(one: Ability, age: float) -> Row:
    wanted = "" if one.wanted is not False else " (wanted: no)"
    name = one.key.partition(".")[2].replace("_", " ")
    cells: dict[str, str | Age] = {
        "result": one.verdict,
        "ability": f"{name}: {one.can.value}{wanted}",
        "evidence": one.evidence,
        "age": Age(age, STALE_S),
    }
    return Row(cells, tone=_TONES.get(one.verdict, Tone.PLAIN))


def _facts(one: Ability) -> dict[str, Json]:
    return {
        "key": one.key,
        "section": one.section.value,
        "can": one.can.value,
        "wanted": one.wanted,
        "verdict": one.verdict,
        "evidence": one.evidence,
    }
