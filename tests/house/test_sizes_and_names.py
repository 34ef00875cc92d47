"""Files, functions and rooms stay small, and nothing is named after what it is not."""

from __future__ import annotations

import ast
import re

import pytest

from tests.house import source

FORBIDDEN = {"utils", "helpers", "common", "misc", "base", "manager", "service", "handler", "processor", "data", "info"}
FORBIDDEN |= {word.removesuffix("s") for word in FORBIDDEN} - {"mis", "bas"}
MOST_LINES, MOST_IN_A_FUNCTION, MOST_IN_A_COMMAND, MOST_FILES, MOST_PARAMETERS = 500, 50, 15, 12, 6


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)}


def test_no_file_is_longer_than_500_lines() -> None:
    long = {source.named(path): n for path in source.files() if (n := len(path.read_text().splitlines())) > MOST_LINES}
    assert long == {}


def test_no_function_is_longer_than_50_lines() -> None:
    long = {
        f"{source.named(path)}:{function.name}": source.body_lines(function)
        for path in source.files()
        for function in source.functions(path)
        if source.body_lines(function) > MOST_IN_A_FUNCTION
    }
    assert long == {}


def test_no_command_is_longer_than_15_lines() -> None:
    long = {
        f"{source.named(path)}:{function.name}": source.body_lines(function)
        for path in source.files("commands")
        if path.stem not in ("surface", "conduct")
        for function in source.functions(path)
        if source.body_lines(function) > MOST_IN_A_COMMAND
    }
    assert long == {}


def test_no_room_has_more_than_12_files() -> None:
    rooms = {path.parent for path in source.files()} - {source.PACKAGE, source.PACKAGE / "commands"}
    counts = {source.named(room): len([p for p in room.glob("*.py") if p.name != "__init__.py"]) for room in rooms}
    assert {room: count for room, count in counts.items() if count > MOST_FILES} == {}


def _is_option_list(function: source.Function) -> bool:
    """Options of commands, and what must be given by name, do not count."""
    return any(isinstance(one, ast.Call) for one in function.decorator_list)


def test_no_function_takes_more_than_6_parameters() -> None:
    many = {
        f"{source.named(path)}:{function.name}": len(function.args.args)
        for path in source.files()
        for function in source.functions(path)
        if not (path.parent.name == "commands" and _is_option_list(function))
        if len([one for one in function.args.args if one.arg not in ("self", "cls")]) > MOST_PARAMETERS
    }
    assert many == {}


@pytest.mark.parametrize("kind", ["files", "classes"])
def test_nothing_has_a_name_that_says_nothing(kind: str) -> None:
    if kind == "files":
        names = {path.stem for path in source.files()}
    else:
        names = {n.name for path in source.files() for n in ast.walk(source.tree(path)) if isinstance(n, ast.ClassDef)}
    assert {name for name in names if _words(name) & FORBIDDEN} == set()


def test_every_file_says_in_one_line_what_it_is() -> None:
    silent = [
        source.named(path)
        for path in source.files()
        if path.read_text().strip() and not (ast.get_docstring(source.tree(path)) or "").partition("\n")[0].strip()
    ]
    assert silent == []


def test_nothing_but_the_renderer_the_front_door_and_the_log_writes_to_the_terminal() -> None:
    drawing = {"render.py", "layout.py", "__main__.py", "cli.py", "log.py"}
    calls = {
        f"{source.named(path)}:{node.lineno}"
        for path in source.files()
        if path.name not in drawing and path.parent.name not in ("emergency", "paper")
        for node in ast.walk(source.tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "sys.stdout.write", "sys.stderr.write")
    }
    assert calls == set()
