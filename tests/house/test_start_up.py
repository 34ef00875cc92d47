"""What a command may load: operators type one after another, and each import is paid every time."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from perpctl import profile

# What no hot command may load besides: drawing, schemas, servers, test tools.
NEVER = {"click", "rich", "pydantic", "pydantic_settings", "starlette", "uvicorn", "jinja2", "platformdirs", "psutil"}
FRONT_DOOR = NEVER | {"typer", "httpx", "asyncio", "msgspec", "apsw", "cryptography", "typing", "inspect", "tomllib"}

HELP = NEVER | {"httpx", "asyncio", "apsw", "cryptography", "perpctl.desk", "tomllib"}

_PROBE = """
import sys
from perpctl.__main__ import main
code = main({words!r})
sys.stdout.flush()
ours = [thing for name, module in sys.modules.items() if name.startswith("perpctl") for thing in vars(module).values()]
built = {{id(one) for one in ours if isinstance(one, type) and "__dataclass_fields__" in vars(one)}}
print("\\n" + " ".join(sorted(sys.modules)) + f"\\n{{len(built)}}", file=sys.stderr)
raise SystemExit(code)
"""


def loaded(*words: str, bare: bool = False) -> set[str]:
    """The modules in a process that has just carried out `words`; `bare` leaves out what `site` itself imports."""
    return carried_out(*words, bare=bare)[0]


def carried_out(*words: str, bare: bool = False) -> tuple[set[str], int]:
    """The modules in a process that has just carried out `words`, and how many dataclasses of ours were built."""
    probe = [sys.executable, *(["-S"] if bare else []), "-c", _PROBE.format(words=list(words))]
    path = os.pathsep.join(one for one in sys.path if one)
    done = subprocess.run(probe, capture_output=True, text=True, timeout=60, env={**os.environ, "PYTHONPATH": path})
    assert "Traceback" not in done.stderr, done.stderr
    *_, modules, built = done.stderr.splitlines()
    return set(modules.split()), int(built)


@pytest.mark.parametrize("words", [["--version"], ["--help"]])
def test_the_front_door_needs_the_standard_library_only(words: list[str]) -> None:
    assert loaded(*words, bare=True) & FRONT_DOOR == set()


@pytest.mark.parametrize("words", [["positions", "--help"], ["config", "--help"], ["whoami", "--bogus"]])
def test_help_and_wrong_words_load_no_desk(words: list[str]) -> None:
    assert loaded(*words) & HELP == set()


# What each hot command may load that is not of the standard library nor ours.
COMMAND_LINE = {"typer", "annotated_doc", "shellingham"}
SIGNING = {"cryptography"}
HTTP = {"httpx", "httpcore", "h11", "h2", "anyio", "idna", "certifi", "typing_extensions"}
READING = COMMAND_LINE | SIGNING | HTTP | {"msgspec"}
HOT = {
    "whoami": READING,
    "positions": READING,
    "orders": READING,
    "fills": READING,
    "account": READING,
    "stops": READING,
    "funding": READING,
    "market status": READING,
    "status": READING | {"apsw"},
    "verify no-orders": READING | {"apsw"},
    "cancel-all --dry-run": READING | {"apsw"},
    "reduce-only --dry-run": READING | {"apsw"},
    "kill --dry-run": SIGNING,
}


# Dataclasses of ours: each takes 0.35 ms to build, a struct 0.01, so the records that every question loads are structs.
# Kill has the standard library only: what it keeps in memory are named tuples, which take 0.04 ms.
QUESTION, PROCEDURE, KILL = 22, 42, 12
NOT_FOR_A_QUESTION = {"perpctl.procedures.runner", "perpctl.settings", "perpctl.engine", "perpctl.paper"}


@pytest.mark.parametrize("line", HOT)
def test_a_hot_command_loads_what_it_may_and_no_more(line: str, paper: dict[str, object]) -> None:
    profile.load("paper")
    modules, built = carried_out(*line.split())
    rooms = {name.partition(".")[0] for name in modules}
    foreign = {name for name in rooms if not name.startswith("_")} - set(sys.stdlib_module_names) - {"perpctl"}
    assert foreign - HOT[line] == set()
    if "--dry-run" in line:
        assert built <= (KILL if line.startswith("kill") else PROCEDURE)
    else:
        assert built <= QUESTION
        assert modules & NOT_FOR_A_QUESTION == set()
