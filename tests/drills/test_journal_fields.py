"""What a real journal holds years later: read line by line after a run and a cancel over real sockets."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import perpctl
from perpctl import profile
from perpctl.host.build import hash_of_code
from perpctl.store.journal import JournalReader
from perpctl.store.records import Kind, Record
from tests.drills.running import running
from tests.drills.test_run import get_filled

pytestmark = [pytest.mark.drill, pytest.mark.timeout(120)]
FROM = "203.0.113.7"
HEX = hashlib.sha256().digest_size * 2


@pytest.fixture
def journal(paper: dict[str, Any]) -> list[Record]:
    """Of one bot that quoted and was filled, and of an operator who then cancelled what was left, over ssh and sudo."""
    _config().parent.mkdir(exist_ok=True)
    _config().write_text("[profiles.paper]\n")
    with running() as bot:
        get_filled(bot, paper)
        bot.stop()
    words = [sys.executable, "-m", "perpctl", "cancel-all", "--include-stops", "--yes", "--reason", "drill"]
    there = {"SSH_CONNECTION": f"{FROM} 51022 192.0.2.1 22", "SUDO_USER": "alice", "PERPCTL_PROFILE": "paper"}
    subprocess.run(words, env=os.environ | there, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    with JournalReader.open_read(profile.load("paper").state_dir / "journal.db") as reader:
        assert reader.verify().is_whole
        return list(reader.records())


def of(journal: list[Record], *kinds: Kind) -> list[Record]:
    found = [record for record in journal if record.kind in kinds]
    assert found, f"no {kinds} in {sorted({str(record.kind) for record in journal})}"
    return found


def test_a_journal_says_what_cannot_be_had_later(journal: list[Record], paper: dict[str, Any]) -> None:
    every_record_names_its_build(journal)
    each_answer_is_on_record_as_it_was_on_the_wire(journal, paper)
    the_clocks_are_compared(journal)
    the_operator_is_on_record(journal)


def every_record_names_its_build(journal: list[Record]) -> None:
    build = hash_of_code(Path(perpctl.__file__).parent)
    assert {record.writer["build_hash"] for record in journal} == {build}
    settings = hashlib.sha256(_config().read_bytes()).hexdigest()[:16]
    assert {record.writer["config_hash"] for record in journal} == {settings}
    placed = of(journal, Kind.ORDER_INTENDED)[0]
    assert len(placed.writer["limits_version"]) == 16
    started = of(journal, Kind.RUN_STARTED)[0]
    assert placed.writer["limits_version"] == started.writer["limits_version"]


def each_answer_is_on_record_as_it_was_on_the_wire(journal: list[Record], paper: dict[str, Any]) -> None:
    for record in of(journal, Kind.ORDER_CONFIRMED, Kind.CANCEL_CONFIRMED):
        attempt = record.body["attempt"]
        (passed,) = attempt["tries"]
        on_a_socket = passed["way"] == "websocket"
        assert passed["host"] in paper["gateway_http" if not on_a_socket else "gateway_ws"]
        assert passed["method"].startswith("private/")
        assert passed["http_status"] == (None if on_a_socket else 200)
        assert (passed["connection_id"] is not None) is on_a_socket
        assert len(passed["request_hash"]) == len(passed["response_hash"]) == HEX
        assert passed["request_hash"] != passed["response_hash"]
        assert passed["key_id"]
        assert "/" not in passed["key_id"]
        assert passed["token_age_s"] >= 0
        assert passed["rate_budget_left"] >= 0
        times = [attempt["sent_at"], passed["sent_at"], passed["answered_at"], attempt["answered_at"]]
        assert times == sorted(times)
        assert 0 < passed["took_us"] < 5_000_000
        venue_in, venue_out = (_from_us(passed[name]) for name in ("venue_in_us", "venue_out_us"))
        assert _at(passed["sent_at"]) - timedelta(seconds=1) < venue_in < venue_out
    ways = {record.body["attempt"]["tries"][0]["way"] for record in of(journal, Kind.ORDER_CONFIRMED)}
    assert ways == {"websocket", "http"}, "entries over the socket, stops over HTTP"


def the_clocks_are_compared(journal: list[Record]) -> None:
    """On one machine both clocks are one: the offset lies within its own error, and every later line repeats it."""
    clocks = [_whole(record)["clock"] for record in of(journal, Kind.ORDER_INTENDED, Kind.CANCEL_INTENDED)]
    for clock in clocks:
        assert abs(clock["offset_us"]) <= clock["error_us"] + 1000, clock
        assert 0 < clock["error_us"] < 5_000_000
        assert clock["source"] == "usIn and usOut of the venue"


def the_operator_is_on_record(journal: list[Record]) -> None:
    plan = of(journal, Kind.PLAN_STARTED)[0]
    operator = plan.body["operator"]
    assert (operator["operator_id"], operator["sudo_user"], operator["source_address"]) == ("alice", "alice", FROM)
    assert operator["real_uid"] == os.getuid()
    assert operator["tty"] is None
    assert plan.body["argv"] == ["cancel-all", "--include-stops", "--yes", "--reason", "drill"]
    assert plan.body["profile_variable"] == "paper"
    assert (plan.body["reason"], plan.body["confirmed"]) == ("drill", "--yes")
    assert plan.writer["who"] == "alice"
    assert of(journal, Kind.RUN_STARTED)[0].body["operator"]["real_uid"] == os.getuid()


def _config() -> Path:
    return profile.config_dir() / "config.toml"


def _whole(record: Record) -> dict[str, Any]:
    return dict(json.loads(record.canonical))


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _from_us(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
