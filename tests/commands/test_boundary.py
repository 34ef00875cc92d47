"""The one error boundary: whatever happens inside becomes an exit code, a message, and never a traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from perpctl import cli as tree
from perpctl.clock import ManualClock
from perpctl.errors import ExitCode, PerpctlError, UnknownState
from perpctl.results import Scope


def raising(problem: BaseException) -> Callable[[], int]:
    def work() -> int:
        raise problem

    return work


def every_error(kind: type[PerpctlError] = PerpctlError) -> list[type[PerpctlError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in every_error(child))]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_each_error_ends_with_its_own_code(
    kind: type[PerpctlError], clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    assert tree.bounded(raising(kind("it broke")), ["whoami"], clock) == kind.exit_code
    told, *after = capsys.readouterr().err.splitlines()
    assert told == "perpctl: it broke"
    assert all(line.startswith(("Next:  perpctl ", "       perpctl ")) for line in after)


def test_an_interrupted_command_is_130(clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> None:
    assert tree.bounded(raising(KeyboardInterrupt()), ["whoami"], clock) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_bug_is_70_in_one_line(clock: ManualClock, capsys: pytest.CaptureFixture[str]) -> None:
    assert tree.bounded(raising(ZeroDivisionError("division by zero")), ["whoami"], clock) == 70
    told = capsys.readouterr().err
    assert "a bug in perpctl: ZeroDivisionError: division by zero (test_boundary.py:" in told
    assert "Traceback" not in told


def test_a_bugs_traceback_is_there_for_who_asks(
    clock: ManualClock, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PERPCTL_TRACEBACK", "1")
    tree.bounded(raising(ZeroDivisionError()), ["whoami"], clock)
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "then", "shown"),
    [
        (["market", "book", "X", "--venue", "us"], "perpctl market list", "perpctl --venue us market list"),
        (["positions", "close", "X", "-p", "desk-a"], "perpctl positions", "perpctl -p desk-a positions"),
        (["positions", "--venue=us"], "perpctl status", "perpctl --venue=us status"),
        (["positions", "-pdesk-a"], "perpctl status", "perpctl -pdesk-a status"),
        (["positions", "-p", "desk-a"], "perpctl -p desk-b status", "perpctl -p desk-b status"),
        (["positions", "-p", "desk-a"], "perpctl positions --help", "perpctl positions --help"),
        (["positions", "-p", "desk-a"], "perpctl --version", "perpctl --version"),
        (["positions"], "perpctl status", "perpctl status"),
    ],
)
def test_what_to_type_next_is_about_the_same_money(
    words: list[str], then: str, shown: str, clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.bounded(raising(UnknownState("?", next_commands=(then,))), words, clock)
    assert f"Next:  {shown}\n" in capsys.readouterr().err


def test_live_money_that_was_meant_without_a_name_is_named_in_what_to_type_next(
    clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    error = UnknownState("?", next_commands=("perpctl positions",))
    error.scope = Scope("live", "us", "desk-us", None, "unknown", clock.now())
    tree.bounded(raising(error), ["cancel-all"], clock)
    assert "Next:  perpctl -p desk-us positions\n" in capsys.readouterr().err


def test_a_failure_inside_a_group_of_tasks_is_the_failure(clock: ManualClock) -> None:
    group = BaseExceptionGroup("tasks", [ExceptionGroup("inner", [UnknownState("?")]), ValueError()])
    assert tree.bounded(raising(group), ["whoami"], clock) == ExitCode.UNKNOWN


@pytest.mark.parametrize("words", [["whoami", "-o", "json"], ["-o=jsonl"], ["-ojson"], ["x", "--format", "json"]])
def test_an_empty_pipe_never_looks_like_an_empty_list(
    words: list[str], clock: ManualClock, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.bounded(raising(UnknownState("?")), words, clock)
    assert '"error":{"code":3,"kind":"unknown","message":"?"' in capsys.readouterr().out


def test_a_reader_that_leaves_early_is_no_failure(home: object) -> None:
    line = f"set -o pipefail; {sys.executable} -m perpctl config show | head -c 1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_watch_ends_with_the_last_answers_code_and_no_traceback(paper: dict[str, Any]) -> None:
    command = [sys.executable, "-m", "perpctl", "positions", "--watch", "0.2", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        first, second = watching.stdout.readline(), watching.stdout.readline()
        watching.send_signal(signal.SIGINT)
        _, told = watching.communicate(timeout=10)
    assert first.startswith('{"schema":"perpctl.positions/1"')
    assert second.startswith('{"schema":"perpctl.positions/1"')
    assert (watching.returncode, told) == (0, "")
