"""What anybody meets first: version, help, words that do not exist, and options in odd places."""

from __future__ import annotations

import subprocess
import sys

import pytest

from perpctl import __version__
from perpctl.__main__ import word_first
from perpctl.commands import TABLE
from tests.conftest import Cli


def test_version_is_the_packages(cli: Cli) -> None:
    assert cli("--version").out == f"perpctl {__version__}\n"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"]])
def test_root_help_names_every_first_word(cli: Cli, words: list[str]) -> None:
    ran = cli(*words)
    assert ran.code == 0
    assert all(f"  {word} " in ran.out for word in TABLE)


def test_no_line_of_the_root_help_is_wider_than_a_terminal_of_110(cli: Cli) -> None:
    assert max(len(line) for line in cli("--help").out.splitlines()) <= 110


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (["-p", "desk", "kill", "--status"], ["kill", "-p", "desk", "--status"]),
        (["--profile=desk", "-o", "json", "positions"], ["positions", "--profile=desk", "-o", "json"]),
        (["-pdesk", "--dry-run", "stop"], ["stop", "-pdesk", "--dry-run"]),
        (["positions", "-p", "desk"], ["positions", "-p", "desk"]),
        (["--bogus", "kill"], ["--bogus", "kill"]),
        (["-p"], ["-p"]),
        (["-p", "desk"], ["-p", "desk"]),
    ],
)
def test_common_options_before_the_first_word_belong_to_it(given: list[str], meant: list[str]) -> None:
    assert word_first(given) == meant


def test_an_unknown_word_is_answered_with_the_nearest(cli: Cli) -> None:
    ran = cli("possitions")
    assert ran.code == 2
    assert "no such command: possitions" in ran.err
    assert "perpctl positions --help" in ran.err
    assert ran.out == ""


def test_an_unknown_root_option_is_a_usage_error(cli: Cli) -> None:
    ran = cli("--bogus")
    assert (ran.code, ran.out) == (2, "")
    assert "no such option: --bogus" in ran.err


@pytest.mark.parametrize("words", [["-o", "json", "whoami", "--bogus"], ["whoami", "--bogus", "--format=jsonl"]])
def test_a_failure_is_one_json_object_on_stdout_when_json_was_asked_for(cli: Cli, words: list[str]) -> None:
    ran = cli(*words)
    assert ran.code == 2
    assert ran.json["schema"] == "perpctl.error/1"
    assert ran.json["error"]["code"] == 2
    assert "--bogus" in ran.json["error"]["message"]
    assert "perpctl:" in ran.err


def test_a_form_that_is_not_offered_is_a_usage_error(cli: Cli) -> None:
    ran = cli("whoami", "-o", "xml")
    assert ran.code == 2
    assert "table, json, jsonl or csv" in ran.err


_ENDING = """
import atexit, sys, threading, time
from perpctl import __main__

class Remains:
    def __del__(self):
        print("taken apart")

def work():
    time.sleep(0.05)
    print("thread ended")

def main():
    sys.modules["remains"].of_it = remains = Remains()
    remains.itself = remains
    atexit.register(print, "exit function called")
    threading.Thread(target=work).start()
    print("said", end="")  # in a buffer still
    {end}

sys.modules["remains"] = type(sys)("remains")
__main__.main = main
__main__.run()
"""


@pytest.mark.parametrize(
    ("end", "code", "last"),
    [("return 6", 6, []), ("raise SystemExit(3)", 3, ["taken apart"]), ("raise OSError", 1, ["taken apart"])],
)
def test_the_program_ends_at_once_when_all_is_said_and_done(end: str, code: int, last: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", _ENDING.format(end=end)], capture_output=True, text=True, timeout=30)
    assert done.returncode == code
    assert done.stdout.splitlines() == ["saidthread ended", "exit function called", *last]
