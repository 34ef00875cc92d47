"""Processes that outlive the command that started them, and the line with which they say that they are ready."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from perpctl.errors import TimedOut
from perpctl.host.process import NotStarted, is_running, start_detached

READY = (
    "import json,os,sys,time; print(json.dumps({'pid': os.getpid(), 'sid': os.getsid(0)}), flush=True); time.sleep(60)"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_the_ready_line_comes_back_from_a_session_of_its_own(tmp_path: Path) -> None:
    ready = start_detached(python(READY), tmp_path / "log", 10)
    assert is_running(ready["pid"])
    assert ready["sid"] == ready["pid"]
    os.kill(ready["pid"], signal.SIGKILL)
    os.waitpid(ready["pid"], 0)
    assert not is_running(ready["pid"])


def test_one_that_ends_first_is_told_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(NotStarted, match=r"ended with 3 .*port taken"):
        start_detached(python("import sys; print('port taken', file=sys.stderr); sys.exit(3)"), tmp_path / "log", 10)


def test_one_that_never_gets_ready_is_ended(tmp_path: Path) -> None:
    wait = f"import os,time; open({str(tmp_path / 'pid')!r},'w').write(str(os.getpid())); time.sleep(60)"
    with pytest.raises(TimedOut):
        start_detached(python(wait), tmp_path / "log", 1)
    assert not is_running(int((tmp_path / "pid").read_text()))


def test_its_log_is_for_its_owner_only(tmp_path: Path) -> None:
    with pytest.raises(NotStarted):
        start_detached(python("pass"), tmp_path / "logs" / "log", 10)
    assert (tmp_path / "logs" / "log").stat().st_mode & 0o077 == 0


def test_a_zombie_is_not_running() -> None:
    pid = os.posix_spawn(sys.executable, python("pass"), os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(pid)
    os.waitpid(pid, 0)
