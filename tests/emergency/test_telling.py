"""The machine's log is told, and nobody is said to be told who was not."""

from __future__ import annotations

import socket
from pathlib import Path

from perpctl.emergency.telling import Told


def test_a_line_reaches_the_log_and_only_then_it_counts_as_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.settimeout(5)
        log.bind(str(tmp_path / "log"))
        told = Told(tmp_path / "log")
        told.syslog("KILL LIVE desk-a")
        assert log.recv(2_000).startswith(b"<26>")
    facts = told.facts(watched=True)
    assert [who.split()[0] for who in facts["reached"]] == ["syslog", "the"]
    assert facts["missed"] == ["pager, chat (no channel is set up)"]


def test_a_log_that_is_not_there_is_named_and_never_claimed(tmp_path: Path) -> None:
    told = Told(tmp_path / "none")
    told.syslog("KILL")
    told.syslog("KILL")
    facts = told.facts(watched=False)
    assert facts["reached"] == []
    assert facts["missed"][0].startswith("syslog (")
    assert len(facts["missed"]) == 3


def test_a_log_that_takes_nothing_holds_nothing_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        log.bind(str(tmp_path / "log"))
        told = Told(tmp_path / "log")
        for _ in range(30):
            told.syslog("x" * 1_000)
            if told.missed:
                break
        assert told.missed, "a full log is a log that was not told"
