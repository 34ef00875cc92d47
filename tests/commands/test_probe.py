"""`perpctl probe` on the running paper exchange: measured, kept, shown again with its age, judged by preflight."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from perpctl.checks.gates import own
from perpctl.clock import SystemClock, to_ms
from perpctl.desk import Desk
from perpctl.errors import ExitCode
from perpctl.model.venue.ability import Ability, Can, Section
from perpctl.profile import load
from perpctl.questions.venue import probe
from perpctl.store.facts.probe import Kept, keep_probe
from tests import trading
from tests.conftest import Cli, us_alone
from tests.trading import masked

Golden = Callable[[str, str], None]


class Shifted(SystemClock):
    """The machine's clock, set ahead: sockets keep their pace, and what was kept grows old."""

    def __init__(self) -> None:
        self._ahead = timedelta(0)

    def now(self) -> datetime:
        return super().now() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Shifted:
    """The clock of `cli`."""
    return Shifted()


def kept_file() -> Path:
    return load("paper").state_dir / "probe.json"


def test_it_measures_and_places_nothing(paper: dict[str, Any], cli: Cli, golden: Golden) -> None:
    ran = cli("probe")
    assert ran.code == 3, ran.err  # a new account has had no stop yet, and there is no preview of one
    head, key, _, titles, *rows = ran.out.splitlines()
    evidence = titles.index("EVIDENCE")  # where its words fold depends on the figures in it: JSON holds them all
    assert key.startswith("KEY  ES256 ..")
    cut = [line[:evidence].rstrip() for line in (titles, *rows) if line[:evidence].strip()]
    golden("probe.txt", masked("\n".join([head, *cut])) + "\n")
    orders = cli("orders", "list", "-o", "json").json
    assert orders["orders"] == []
    assert cli("positions", "-o", "json").json["positions"] == []


def test_json_holds_the_same(paper: dict[str, Any], cli: Cli, golden: Golden) -> None:
    told = cli("probe", "-o", "json").json
    golden("probe.json", masked(json.dumps(told | {"key": "KEY"}, indent=1)) + "\n")
    assert len(cli("probe", "-o", "csv").out.splitlines()) == len(told["abilities"]) + 1


async def test_a_stop_of_ours_is_evidence(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.01")
        await trading.stop(desk, size="0.01")
        answer = await probe.probe(desk, fresh=True)
        assert answer.exit_code is ExitCode.OK
        assert answer.facts["counts"]["UNKNOWN"] == 0  # type: ignore[index,call-overload]


def test_a_young_answer_is_shown_with_its_age_and_an_old_one_measured_again(
    paper: dict[str, Any], cli: Cli, clock: Shifted
) -> None:
    first = cli("probe", "-o", "json").json
    clock.advance(3600)
    second = cli("probe", "-o", "json").json
    assert (second["measured_now"], second["measured_at"]) == (False, first["measured_at"])
    assert 3600 <= int(second["age_s"]) <= 3700
    assert "probe --fresh" in cli("probe").out
    assert cli("probe", "--fresh", "-o", "json").json["measured_now"] is True
    clock.advance(24 * 3600)
    assert cli("probe", "-o", "json").json["measured_now"] is True


def test_an_answer_about_another_account_or_product_is_not_shown(
    paper: dict[str, Any], cli: Cli, tmp_path: Path
) -> None:
    cli("probe")
    raw = json.loads(kept_file().read_text())
    for change in ({"account": "104821"}, {"key": "ES256 ..beef"}, {"symbols": ["ETH-PERP"]}, {"venue": "us"}):
        kept_file().write_text(json.dumps({**raw, "subject": {**raw["subject"], **change}}))
        assert cli("probe", "-o", "json").json["measured_now"] is True


@pytest.mark.parametrize(
    "text",
    ["", "junk", "[]", "{}", '{"schema":"perpctl.probe.kept/1"}', '{"schema":"perpctl.probe.kept/1","subject":[]}'],
)
def test_a_damaged_file_is_told_and_measured_over_when_asked(paper: dict[str, Any], cli: Cli, text: str) -> None:
    kept_file().write_text(text)
    ran = cli("probe")
    assert (ran.code, "probe.json cannot be read" in ran.err) == (11, True)
    assert "perpctl probe --fresh" in ran.err
    assert cli("calendar").code == 0
    assert cli("probe", "--fresh", "-o", "json").json["kept"] is True
    assert cli("probe", "-o", "json").json["measured_now"] is False


def test_a_file_of_another_form_counts_as_none(paper: dict[str, Any], cli: Cli) -> None:
    kept_file().write_text('{"schema":"perpctl.probe.kept/0"}')
    assert cli("probe", "-o", "json").json["measured_now"] is True


def test_a_state_directory_that_cannot_keep_it_still_gets_the_answer(paper: dict[str, Any], cli: Cli) -> None:
    kept_file().mkdir()
    ran = cli("probe", "--fresh")
    assert "NOT KEPT" in ran.out
    assert "scope rat#view rat#trade" in ran.out


def test_a_venue_that_is_down_is_exit_3_and_what_was_kept_stays(paper: dict[str, Any], cli: Cli) -> None:
    cli("probe")
    before = kept_file().read_text()
    assert cli("paper", "fault", "outage", "--yes").code == 0
    for words in (("probe",), ("probe", "--fresh")):
        ran = cli(*words, "-o", "json")
        assert (ran.code, ran.json["error"]["code"]) == (3, 3)
    assert kept_file().read_text() == before


# --- the gate of preflight --------------------------------------------------------------------------------------------


async def keep(desk: Desk, can: Can, key: str | None = None) -> None:
    """A probe of now about this very key, or another, with one answer."""
    subject = await probe.subject_of(desk)
    only = Ability("permission.trade", Section.PERMISSIONS, can, "as the test says")
    kept = Kept(replace(subject, key=key or subject.key), to_ms(desk.clock.now()), (only,))
    keep_probe(desk.settings.state_dir, kept)


@asynccontextmanager
async def at_the_desk(clock: Shifted) -> AsyncIterator[Desk]:
    desk = Desk(load("paper"), clock)
    try:
        yield desk
    finally:
        await desk.aclose()


def test_the_gate_is_unknown_until_something_was_measured(paper: dict[str, Any], cli: Cli) -> None:
    def gate() -> dict[str, Any]:
        gates = cli("preflight", "-o", "json").json["gates"]
        return next(one for one in gates if one["gate"] == "capability probe")

    before = gate()
    assert (before["verdict"], before["evidence"]) == ("UNKNOWN", "never measured")
    assert before["fix"] == "perpctl -p paper probe --fresh"
    cli("probe")
    after = gate()
    assert (after["verdict"], "could not be told: order.stop_market" in after["evidence"]) == ("WARN", True)


@pytest.mark.parametrize(
    ("can", "hours", "verdict"),
    [
        (Can.YES, 0, "PASS"),
        (Can.YES, 23.9, "PASS"),
        (Can.YES, 24, "WARN"),
        (Can.YES, 167, "WARN"),
        (Can.YES, 168, "UNKNOWN"),
        (Can.UNKNOWN, 0, "WARN"),
        (Can.NO, 0, "FAIL"),
        (Can.NO, 168, "UNKNOWN"),
        (Can.NOT_OFFERED, 0, "PASS"),
        (Can.YES, -1, "UNKNOWN"),  # measured in the future: some clock was wrong
    ],
)
async def test_the_gate_judges_answer_and_age(
    paper: dict[str, Any], clock: Shifted, can: Can, hours: float, verdict: str
) -> None:
    async with at_the_desk(clock) as desk:
        await keep(desk, can)
        clock.advance(hours * 3600)
        assert (await probe.standing(desk)).verdict == verdict


async def test_a_probe_of_another_key_is_no_pass(paper: dict[str, Any], clock: Shifted) -> None:
    async with at_the_desk(clock) as desk:
        await keep(desk, Can.YES, key="ES256 ..beef")
        found = await probe.standing(desk)
        assert (found.verdict, "another key" in found.words) == ("UNKNOWN", True)


async def test_a_key_that_cannot_trade_fails_the_probe(paper: dict[str, Any], clock: Shifted) -> None:
    async with at_the_desk(clock) as desk:
        await keep(desk, Can.NO)
        answer = await probe.probe(desk, fresh=False)
        assert (answer.exit_code, answer.facts["measured_now"]) == (ExitCode.NEGATIVE, False)


def test_a_resume_does_not_wait_for_a_probe(paper: dict[str, Any], clock: Shifted) -> None:
    desk = Desk(load("paper"), clock)
    names = {resuming: {one.name for one in own.gates(desk, resuming=resuming)} for resuming in (True, False)}
    assert own.PROBE in names[False]
    assert own.PROBE not in names[True]


@us_alone
def test_at_the_us_venue_types_of_order_are_previewed_and_nothing_is_placed(
    paper: dict[str, Any], cli: Cli, golden: Golden
) -> None:
    ran = cli("probe", "-o", "json")
    assert ran.code == 0, ran.err
    shown = [f"{one['verdict']} {one['key']}" for one in ran.json["abilities"]]
    golden("probe-us.txt", "\n".join(shown) + "\n")
    evidence = {one["key"]: one["evidence"] for one in ran.json["abilities"]}
    assert "no objection" in evidence["order.stop_limit"]
    assert cli("orders", "list", "-o", "json").json["orders"] == []
    assert cli("positions", "-o", "json").json["positions"] == []
