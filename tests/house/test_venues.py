"""No branch on a venue's name where venues are used: what differs is asked of the venue's terms."""

from __future__ import annotations

import ast

from tests.house import source

ROOMS = (
    "commands",
    "questions",
    "procedures",
    "checks",
    "engine",
    "risk",
    "model",
    "monitor",
    "render.py",
    "layout.py",
)
NAMES = {"us", "global"}


def _names_a_venue(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in NAMES


def _branches(node: ast.AST) -> bool:
    """A comparison with a venue's name, or a case of one."""
    if isinstance(node, ast.Compare):
        told = [*ast.walk(node.left), *(one for side in node.comparators for one in ast.walk(side))]
        return any(map(_names_a_venue, told))
    return isinstance(node, ast.MatchValue) and _names_a_venue(node.value)


def test_nothing_above_the_client_branches_on_a_venues_name() -> None:
    found = {
        f"{source.named(path)}:{node.lineno}"
        for path in source.files(*ROOMS)
        for node in ast.walk(source.tree(path))
        if _branches(node)
    }
    assert found == set()


def test_no_paper_or_live_is_asked_for_in_client_engine_and_risk() -> None:
    asked = {
        f"{source.named(path)}:{node.lineno}"
        for path in source.files("exchange", "engine/core.py", "engine/state", "risk")
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.Compare)
        and any(isinstance(one, ast.Constant) and one.value == "paper" for one in ast.walk(node))
    }
    assert asked == set()
