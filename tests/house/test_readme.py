"""The README: its two lines are the ones that are run, and its exit codes are the program's."""

from __future__ import annotations

import re

import pytest

from perpctl.errors import ExitCode
from tests.house import source

README = (source.ROOT / "README.md").read_text()
TEST_LINE = "python3 -m venv .venv && .venv/bin/pip install -e '.[test]' && .venv/bin/pytest"


def test_every_exit_code_is_explained_once() -> None:
    rows = re.findall(r"\| (\d+) \| [^|]+", README)
    assert sorted(map(int, rows)) == sorted(ExitCode)


def test_the_test_line_is_what_ci_runs() -> None:
    steps = TEST_LINE.split(" && ")
    ran = (source.ROOT / ".ci" / "run").read_text().replace("pip install -q", "pip install")
    assert f"```console\n{TEST_LINE}\n```" in README
    assert all(step in ran for step in steps)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"\]\(([\w./-]+)\)|`((?:completions|\.ci)/[\w._]+)`", README))))
def test_every_file_that_the_readme_names_is_there(name: tuple[str, str]) -> None:
    assert (source.ROOT / (name[0] or name[1])).exists()
