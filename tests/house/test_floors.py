"""What may know of what: a few floors that import contracts cannot say, and those that must hold without the linter."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house import source

PURE = ["model", "risk", "engine/core.py", "paper/core.py"]
IMPURE = {"asyncio", "httpx", "os", "time", "random", "socket", "subprocess", "secrets", "pathlib"}
WITHOUT_VENUES = ["commands", "procedures", "questions", "checks", "engine"]


def _top(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_click_is_never_imported() -> None:
    assert [source.named(path) for path in source.files() if "click" in _top(source.imports(path))] == []


def test_only_one_file_imports_httpx() -> None:
    users = {source.named(path) for path in source.files() if "httpx" in _top(source.imports(path))}
    assert users <= {"perpctl/exchange/http.py"}


def test_paper_is_a_second_reading_and_knows_none_of_ours() -> None:
    ours = ("perpctl.model", "perpctl.risk", "perpctl.exchange")
    seen = {
        source.named(path)
        for path in source.files("paper")
        if any(name.startswith(ours) for name in source.imports(path))
    }
    assert seen == set()


@pytest.mark.parametrize("room", [room for room in PURE if (source.PACKAGE / room).exists()])
def test_pure_rooms_do_no_input_or_output(room: str) -> None:
    seen = {source.named(p): found for p in source.files(room) if (found := _top(source.imports(p)) & IMPURE)}
    assert seen == {}


def _venue_branches(path: Path) -> list[str]:
    """Comparisons with the name of a venue or with paper and live."""
    return [
        f"{source.named(path)}:{node.lineno}"
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.Compare | ast.MatchValue)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value in ("us", "global", "advanced_trade", "gateway")
    ]


def test_no_branch_on_the_name_of_a_venue() -> None:
    assert [one for path in source.files(*WITHOUT_VENUES) for one in _venue_branches(path)] == []


def _paper_branches(path: Path) -> list[str]:
    return [
        f"{source.named(path)}:{node.lineno}"
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.Compare)
        for constant in ast.walk(node)
        if isinstance(constant, ast.Constant) and constant.value == "paper"
    ]


def test_paper_is_an_address_and_not_a_branch() -> None:
    assert [
        one for path in source.files("engine", "exchange", "risk", "emergency") for one in _paper_branches(path)
    ] == []


def _patches_of_ours(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        target = ast.unparse(node.args[0]) if node.args else ""
        patches = (
            called.endswith(("monkeypatch.setattr", "mock.patch", "mocker.patch", "patch.object")) or called == "patch"
        )
        if patches and ("perpctl" in target or not target.startswith(("os", "sys", "'", '"'))):
            found.append(f"{source.named(path)}:{node.lineno}")
    return found


def test_no_test_patches_anything_of_ours() -> None:
    assert [one for path in sorted((source.ROOT / "tests").rglob("*.py")) for one in _patches_of_ours(path)] == []


def test_the_project_speaks_of_itself_alone() -> None:
    foreign = ("/work/", "design.md", "GATEWAY.md", "command-map", "operator-views", "defaults.md", "issue #")
    places = [path for path in source.files() if path.read_text()]
    assert [(source.named(p), word) for p in places for word in foreign if word in p.read_text()] == []
