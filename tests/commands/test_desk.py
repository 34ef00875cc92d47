"""The desk at the paper exchange: started when needed, its account compared, whose money it is always said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.clock import ManualClock
from perpctl.desk import Desk
from perpctl.errors import AccountMismatch, HeldByAnother, PerpctlError, StateDamaged, UsageError, VenueUnreachable
from perpctl.host import own_exchange
from perpctl.model.mode import Mode
from perpctl.profile import Endpoints, Pin
from perpctl.store.latch import LatchState
from tests.conftest import Cli, both_venues, end

NOWHERE = Endpoints("http://127.0.0.1:1/api/v2", "ws://127.0.0.1:1/ws", "ws://127.0.0.1:1/streams")


@pytest.fixture
def started(home: Path) -> Iterator[Path]:
    """The record of whatever exchange a test makes perpctl start; it is ended afterwards."""
    record = profile.state_root() / "paper" / "exchange" / "server.json"
    yield record
    if record.exists():
        end(int(json.loads(record.read_text())["pid"]))


def test_a_command_starts_the_paper_exchange_and_the_next_one_finds_it(cli: Cli, started: Path) -> None:
    first = cli("whoami", "-o", "json")
    pid = json.loads(started.read_text())["pid"]
    second = cli("whoami", "-o", "json")
    assert (first.code, second.code) == (0, 0)
    assert first.json["address"] == second.json["address"]
    assert json.loads(started.read_text())["pid"] == pid


def test_one_that_died_is_started_anew(cli: Cli, started: Path) -> None:
    cli("whoami")
    pid = json.loads(started.read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert cli("whoami").code == 0
    assert json.loads(started.read_text())["pid"] != pid


async def test_the_account_of_the_paper_exchange_is_the_pinned_one(desk: Desk) -> None:
    scope = await desk.scope()
    await desk.aclose()
    assert (scope.env, scope.profile) == ("paper", "paper")
    assert scope.account is not None
    assert scope.pinned == "pinned"


async def test_another_account_than_the_pinned_one_is_never_answered_for(
    paper: dict[str, Any], clock: ManualClock
) -> None:
    desk = Desk(replace(profile.load("paper"), account=Pin("104821")), clock)
    with pytest.raises(AccountMismatch, match="pinned is 104821"):
        await desk.exchange()
    with pytest.raises(AccountMismatch):
        await desk.exchange()
    scope = await desk.scope()
    await desk.aclose()
    assert scope.pinned == "differs"


async def test_a_user_name_that_differs_is_another_account(paper: dict[str, Any], clock: ManualClock) -> None:
    right = Desk(profile.load("paper"), clock)
    account = (await right.scope()).account
    await right.aclose()
    desk = Desk(replace(profile.load("paper"), account=Pin(account or "", "somebody-else")), clock)
    with pytest.raises(AccountMismatch):
        await desk.exchange()
    await desk.aclose()


async def test_a_venue_that_cannot_be_reached_leaves_the_account_unknown(home: Path, clock: ManualClock) -> None:
    lost = replace(profile.load("paper"), endpoints=NOWHERE, endpoints_file=None, account=Pin("104821"))
    desk = Desk(lost, clock)
    scope = await desk.scope()
    await desk.aclose()
    assert (scope.account, scope.pinned, scope.last_seen_account) == (None, "unknown", "104821")


async def test_an_exchange_that_does_not_start_is_told_and_nothing_is_sent(home: Path, clock: ManualClock) -> None:
    desk = Desk(replace(profile.load("paper"), exchange_command=("/bin/sh", "-c", "echo no room >&2; exit 1")), clock)
    with pytest.raises(VenueUnreachable, match="no room"):
        await desk.exchange()


@pytest.mark.parametrize(("code", "kind"), [(2, UsageError), (10, HeldByAnother), (11, StateDamaged)])
def test_what_the_exchange_itself_ended_with_is_what_we_end_with(
    tmp_path: Path, code: int, kind: type[PerpctlError]
) -> None:
    ends = ("/bin/sh", "-c", f"echo what is wrong >&2; exit {code}")
    with pytest.raises(kind, match="what is wrong"):
        own_exchange.served(tmp_path / "exchange" / "server.json", ends, ready_within_s=0.2)


def test_two_commands_at_once_share_one_exchange(started: Path) -> None:
    command = [sys.executable, "-m", "perpctl", "whoami", "-o", "json"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(one.communicate(timeout=30)[0]) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert answers[0]["address"] == answers[1]["address"]


async def test_a_venue_that_is_not_spoken_is_a_usage_error(home: Path, clock: ManualClock) -> None:
    desk = Desk(replace(profile.load("paper"), venue="elsewhere"), clock)
    with pytest.raises(UsageError, match="venue elsewhere"):
        await desk.exchange()


def test_the_first_journal_finds_the_latch_off(home: Path, clock: ManualClock) -> None:
    desk = Desk(profile.load("paper"), clock)
    desk.journal().close()
    assert desk.latch().read().mode is Mode.NORMAL
    assert desk.standing().latch == "off"


def test_a_latch_lost_beside_a_journal_is_not_made_anew(home: Path, clock: ManualClock) -> None:
    Desk(profile.load("paper"), clock).journal().close()
    (profile.state_root() / "paper" / "latch").unlink()
    desk = Desk(profile.load("paper"), clock)
    desk.journal().close()
    assert desk.latch().read().mode is Mode.HALTED


def test_how_the_desk_stands_says_who_latched_it_and_why(home: Path, clock: ManualClock) -> None:
    desk = Desk(profile.load("paper"), clock)
    desk.latch().write(LatchState(Mode.REDUCE_ONLY, "ops1", "quotes run away", 1, "human"))
    standing = desk.standing(source="journal", age_s=0.0)
    assert (standing.mode, standing.latch, standing.bot) == ("reduce_only", "ON by ops1: quotes run away", "none")


def test_a_state_directory_that_cannot_be_written_is_exit_11(home: Path, clock: ManualClock) -> None:
    settings = profile.load("paper")
    (settings.state_dir / "journal.db").mkdir()
    with pytest.raises(StateDamaged):
        Desk(settings, clock).journal()


@both_venues
def test_a_new_live_profile_is_pinned_to_the_account_that_its_key_reaches(paper: dict[str, Any], cli: Cli) -> None:
    names = {
        "global": ("gateway_http", "gateway_ws", "gateway_streams"),
        "us": ("advanced_trade_rest", "advanced_trade_ws_user", "advanced_trade_ws"),
    }[paper["venue"]]
    where = [
        word for pair in zip(("--http", "--ws", "--streams"), names, strict=True) for word in (pair[0], paper[pair[1]])
    ]
    (profile.config_dir() / "config.toml").unlink(missing_ok=True)
    init = ("config", "init", "desk-a", "--venue", paper["venue"], "--key-file", paper["key_file"], *where)
    unsaid = cli(*init)
    assert (unsaid.code, "--kill-scope is not said" in unsaid.err) == (2, True)
    init = (*init, "--kill-scope", "ours")
    before = cli(*init, "--dry-run")
    assert before.code == 0
    assert not (profile.config_dir() / "config.toml").exists()
    assert cli(*init).code == 0
    made = profile.load("desk-a")
    assert (made.env, made.venue, made.kill_scope, made.risk_level) == ("live", paper["venue"], "ours", "conservative")
    account = json.loads(cli("-p", "desk-a", "whoami", "-o", "json").out)["account"]
    assert made.account is not None
    assert account == {"id": made.account.id, "pinned": True, "pin": "pinned"}
    assert made.account.id == (paper["us_account"] if paper["venue"] == "us" else paper["account"])["id"]
    assert cli("-p", "desk-a", "config", "validate").code == 0
    assert cli("-p", "desk-a", "--venue", paper["venue"], "whoami").code == 0
    again = cli(*init)
    assert (again.code, "exists already" in again.err) == (2, True)
