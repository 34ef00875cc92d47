"""The completion scripts in completions/ are those of the tree as it is, and bash completes with its one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from perpctl.commands import TABLE
from perpctl.completion import SHELLS, script
from tests.conftest import Cli
from tests.house import source

FILES = {"bash": "perpctl.bash", "zsh": "_perpctl", "fish": "perpctl.fish"}


@pytest.mark.parametrize("shell", SHELLS)
def test_the_scripts_are_current(shell: str, update: bool) -> None:
    path = source.ROOT / "completions" / FILES[shell]
    if update:
        path.write_text(script(shell))
    assert path.read_text() == script(shell), "pytest --update rewrites completions/"


@pytest.mark.parametrize("shell", SHELLS)
def test_a_shell_that_is_here_finds_no_fault_in_its_script(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell))
    assert subprocess.run([shell, "-n", str(path)], capture_output=True, text=True).stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_every_first_word_is_completed(shell: str) -> None:
    text = script(shell)
    assert [word for word in TABLE if word not in text] == []


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (["posi"], ["positions"]),
        (["positions", "close-"], ["close-all"]),
        (["-p", "desk", "positions", "expl"], ["explain"]),
        (["positions", "-o", "js"], ["json", "jsonl"]),
        (["config", "init", "x", "--risk-level", "mod"], ["moderate"]),
        (["whoami", "--outp"], ["--output"]),
    ],
)
def test_bash_completes(typed: list[str], offered: list[str], tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text(script("bash"))
    words = " ".join(f"'{word}'" for word in ["perpctl", *typed])
    ask = f'source {path}; COMP_WORDS=({words}); COMP_CWORD={len(typed)}; _perpctl; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=10)
    assert done.stdout.split() == offered, done.stderr


def test_the_command_prints_the_script_of_a_shell(cli: Cli) -> None:
    ran = cli("completion", "bash")
    assert (ran.code, ran.out) == (0, script("bash"))
