"""Every command of the runbook is real, and runs in the runbook's order against the paper exchange."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from perpctl import cli
from perpctl.commands import TABLE
from perpctl.errors import ExitCode
from perpctl.profile import load

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
README = (ROOT / "README.md").read_text()
EXPECTED = re.compile(r"\s+# exit (?P<codes>[0-9, or]+)$")
READY_S = 20.0


@dataclass(frozen=True)
class Line:
    """One command line of the runbook with the exit codes that it may end with."""

    text: str
    codes: frozenset[int]
    in_background: bool


def lines_of(document: str) -> Iterator[Line]:
    for block in re.findall(r"^```console\n(.*?)^```", document, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                found = EXPECTED.search(line)
                codes = {int(code) for code in re.findall(r"\d+", found["codes"])} if found else {0}
                text = EXPECTED.sub("", line[2:]).strip()
                yield Line(text.removesuffix("&").strip(), frozenset(codes), text.endswith("&"))


LINES = tuple(lines_of(RUNBOOK))


def words_of(line: Line) -> list[str]:
    """The words of a perpctl line, without what the shell takes."""
    words = [*itertools.dropwhile(lambda word: re.match(r"[A-Z_]+=", word), shlex.split(line.text.partition(">")[0]))]
    return words[1:] if words[:1] == ["perpctl"] else []


@pytest.mark.parametrize("line", [line for line in LINES if words_of(line)], ids=lambda line: line.text)
def test_every_line_names_a_real_command_with_real_options(line: Line) -> None:
    words = words_of(line)
    command: Any = cli.load(words[0])
    if words[1:] == ["--help"]:
        return
    if hasattr(command, "verb_first"):
        verb, *words = command.verb_first(words[1:])
        command = command.commands[verb]
    else:
        words = words[1:]
    options = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    typed = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}  # -10% is a value
    assert typed <= options | {"--help"}


def test_every_command_of_the_tree_appears_in_the_runbook() -> None:
    shown = {words[0] for line in LINES if (words := words_of(line))}
    spoken = set(re.findall(r"`perpctl ([a-z-]+)", RUNBOOK))
    assert TABLE.keys() - shown - spoken == set()


def test_the_readme_lists_every_exit_code() -> None:
    for code in ExitCode:
        assert re.search(rf"\|\s*{int(code)}\s*\|", README), f"exit code {int(code)} is not in the README's table"


@pytest.mark.drill
@pytest.mark.timeout(280)
def test_the_runbook_runs_from_top_to_bottom(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    monkeypatch.setenv("PERPCTL_LOCAL_API_PORT", str(port))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    background: list[subprocess.Popen[bytes]] = []
    trouble: list[str] = []
    try:
        for line in LINES:
            command = line.text.replace("localhost:8080", f"localhost:{port}")
            if line.in_background:
                background.append(subprocess.Popen(["bash", "-c", f"exec {command}"], stderr=subprocess.DEVNULL))
                _await_bot()
                continue
            done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
            if done.returncode not in line.codes:
                trouble.append(f"{line.text}: exit {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-800:]}")
            assert "Traceback" not in done.stderr
    finally:
        for process in background:
            process.terminate()
            process.wait(timeout=20)
    assert not trouble, "\n\n".join(trouble)


def _await_bot() -> None:
    """Until the bot listens to other commands."""
    control = load(None).state_dir / "control.sock"
    until = time.monotonic() + READY_S
    while not control.exists():
        assert time.monotonic() < until, "the bot never came up"
        time.sleep(0.05)
    time.sleep(3)
