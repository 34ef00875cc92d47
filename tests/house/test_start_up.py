"""What a command may load: operators type one after another, and each import is paid every time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

# What no hot command may load besides: drawing, schemas, servers, test tools.
NEVER = {"click", "rich", "pydantic", "pydantic_settings", "starlette", "uvicorn", "jinja2", "platformdirs", "psutil"}
FRONT_DOOR = NEVER | {"typer", "httpx", "asyncio", "msgspec", "apsw", "cryptography", "typing", "inspect", "tomllib"}

HELP = NEVER | {"httpx", "asyncio", "msgspec", "apsw", "cryptography", "perpctl.desk", "tomllib"}

_PROBE = """
import sys
from perpctl.__main__ import main
code = main({words!r})
sys.stdout.flush()
print("\\n" + " ".join(sorted(sys.modules)), file=sys.stderr)
raise SystemExit(code)
"""


def loaded(*words: str) -> set[str]:
    """The modules in a process that has just carried out `words`."""
    probe = [sys.executable, "-S", "-c", _PROBE.format(words=list(words))]
    path = os.pathsep.join(one for one in sys.path if one)
    done = subprocess.run(probe, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert "Traceback" not in done.stderr, done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_the_front_door_needs_the_standard_library_only(words: list[str]) -> None:
    assert loaded(*words) & FRONT_DOOR == set()


@pytest.mark.parametrize("words", [["positions", "--help"], ["config", "--help"], ["whoami", "--bogus"]])
def test_help_and_wrong_words_load_no_desk(words: list[str]) -> None:
    assert loaded(*words) & HELP == set()


def test_a_question_whose_settings_have_not_changed_loads_no_schema(paper: dict[str, object]) -> None:
    assert loaded("whoami") & NEVER == set()
