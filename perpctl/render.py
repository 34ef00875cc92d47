"""This file draws: an answer becomes a table, json, jsonl or csv on stdout; a failure is told on stderr.

The layout of text is in `layout.py`; this file decides what goes where.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec.structs import replace

from perpctl import layout
from perpctl.errors import ExitCode, PerpctlError, UsageError
from perpctl.layout import Paper, clean
from perpctl.results import Answer, Next, Scope


class Form(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"
    CSV = "csv"

    @classmethod
    def named(cls, name: str) -> Form:
        """Raises UsageError for a form that is not offered."""
        try:
            return cls(name)
        except ValueError:
            raise UsageError(
                f"-o {name}: choose table, json, jsonl or csv", not_done="nothing was read or sent"
            ) from None


def show(answer: Answer, form: Form) -> ExitCode:
    """Write the answer to stdout; its exit code comes back."""
    _write(sys.stdout, _text(answer, form, Paper.of(sys.stdout), 0.0))
    return answer.exit_code


class Redraw:
    """Writes the same question's answers again and again: in place on a terminal, one after another elsewhere."""

    def __init__(self, form: Form) -> None:
        self._form = Form.JSONL if form is Form.JSON else form
        self._whole = form is Form.JSON
        self._in_place = form is Form.TABLE and sys.stdout.isatty()

    def draw(self, answer: Answer, older_by_s: float) -> ExitCode:
        """Ages on the screen are older by so much than when the answer was read."""
        if self._whole:
            text = _json(envelope(answer))
        else:
            text = _text(answer, self._form, Paper.of(sys.stdout), older_by_s)
        _write(sys.stdout, _in_place(text) if self._in_place else text)
        return answer.exit_code


def _in_place(text: str) -> str:
    """Drawn over what stood there; what a window cannot hold would push its first lines out of sight."""
    return f"\x1b[H{layout.to_line_ends(layout.fitted(text, shutil.get_terminal_size().lines))}\x1b[J"


def _text(answer: Answer, form: Form, paper: Paper, older_by_s: float) -> str:
    if form is Form.TABLE:
        return layout.page(answer, paper, older_by_s)
    if form is Form.JSON:
        return _json(envelope(answer), indent=2 if paper.is_terminal else None)
    records = _records(answer)
    if form is Form.JSONL:
        head = _heading(answer.scope)
        ends = [error] if (error := _error(answer)) and answer.records is not None else []
        return "".join(_json({"schema": answer.schema, **head, **one}) for one in [*records, *ends])
    return layout.csv_text([{**_flat(_heading(answer.scope)), **one} for one in records])


def _records(answer: Answer) -> list[Mapping[str, Any]]:
    if answer.records is None:
        return [{**answer.facts, **_error(answer)}]
    rows: Any = answer.facts[answer.records]
    return list(rows)


def envelope(answer: Answer) -> dict[str, Any]:
    """The JSON object of an answer: schema, whose money, how the desk stands, then the facts."""
    standing = answer.standing
    stands: dict[str, Any] = {}
    if standing is not None:
        stands = {key: value for key in ("mode", "latch", "bot", "source") if (value := getattr(standing, key))}
        if standing.venue_state is not None:
            stands["venue_state"] = standing.venue_state
        if standing.age_s is not None:
            stands["age_s"] = f"{standing.age_s:.1f}"
    return {"schema": answer.schema, **_heading(answer.scope), **stands, **answer.facts, **_error(answer)}


def _error(answer: Answer) -> dict[str, Any]:
    """What failed, for a reader that only looks for `error`: anything but done (0) and an answered no (1)."""
    if answer.exit_code in (ExitCode.OK, ExitCode.NEGATIVE):
        return {}
    commands = [command for block in answer.view if isinstance(block, Next) for command in block.commands]
    return {"error": _told(answer.exit_code, answer.trouble or f"exit {int(answer.exit_code)}", "", commands)}


def _told(code: ExitCode, message: str, not_done: str, commands: Sequence[str]) -> dict[str, Any]:
    return {
        "code": int(code),
        "kind": code.name.lower(),
        "message": message,
        "not_done": not_done or None,
        "next": list(commands),
    }


def _heading(scope: Scope | None) -> dict[str, Any]:
    if scope is None:
        return {}
    pinned = {"pinned": True, "unknown": None}.get(scope.pinned, False)
    account: dict[str, Any] = {"id": scope.account, "pinned": pinned, "pin": scope.pinned}
    if scope.last_seen_account is not None:
        account["last_seen"] = scope.last_seen_account
    return {
        "env": scope.env,
        "venue": scope.venue,
        "profile": scope.profile,
        "account": account,
        "at": _instant(scope.at),
    }


def _flat(heading: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value["id"] if key == "account" else value for key, value in heading.items()}


def _instant(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(value: Any, indent: int | None = None) -> str:
    separators = None if indent else (",", ":")
    return json.dumps(value, indent=indent, separators=separators, allow_nan=False) + "\n"


def asked_format(words: list[str]) -> Form:
    """The form that a command line asks for, also when the line itself is wrong."""
    for at, word in enumerate(words):
        name, _, value = word.partition("=")
        if name in ("-o", "--output", "--format"):
            value = value or "".join(words[at + 1 : at + 2])
        elif word.startswith("-o") and len(word) > 2:
            value = word[2:]
        else:
            continue
        return Form(value) if value in tuple(Form) else Form.TABLE
    return Form.TABLE


def failure(error: PerpctlError, form: Form, at: datetime) -> ExitCode:
    """Tell what happened, what was not done and what to type next; stdout holds it too when JSON was asked for."""
    if form in (Form.JSON, Form.JSONL):
        body = _told(error.exit_code, error.message, error.not_done, error.next_commands)
        _write(
            sys.stdout, _json({"schema": "perpctl.error/1", "at": _instant(at), **_heading(error.scope), "error": body})
        )
    sys.stdout.flush()
    lines = [f"perpctl: {error.message}"]
    if error.not_done:
        lines.append(f"Not done: {error.not_done}.".replace("..", "."))
    lines += [f"{'Next:' if n == 0 else '':<5}  {command}" for n, command in enumerate(error.next_commands)]
    _write(sys.stderr, "".join(f"{clean(line)}\n" for line in lines))
    return error.exit_code


def tell(text: str) -> None:
    """Talk to the operator: on stderr, so that stdout stays the answer."""
    _write(sys.stderr, clean(text) + "\n")


def tell_page(answer: Answer) -> str:
    """Show a view before a question is asked: on stderr. What it says, without colours."""
    paper = Paper.of(sys.stderr)
    _write(sys.stderr, layout.page(answer, paper, 0.0))
    return layout.page(answer, replace(paper, colour=False), 0.0)


def prompt() -> Callable[[str], str] | None:
    """A way to ask the human at the terminal; None without a terminal."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> str:
        sys.stderr.write(f"{clean(question)} ")
        sys.stderr.flush()
        return sys.stdin.readline().strip()

    return ask


def _write(stream: Any, text: str) -> None:
    stream.write(text)
    stream.flush()
