"""Every command of the tree, loaded as the operator would load it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from perpctl.commands import TABLE
from perpctl.commands.surface import Verbs, load
from tests.house import source


@dataclass(frozen=True)
class Verb:
    """One command as typed, with its parameters; `group` is None for a first word without verbs."""

    words: tuple[str, ...]
    command: Any
    group: Verbs | None

    @property
    def options(self) -> dict[str, Any]:
        return {
            name: one
            for one in self.command.params
            if one.param_type_name == "option"
            for name in (*one.opts, *one.secondary_opts)
        }

    def __str__(self) -> str:
        return " ".join(self.words)


def words() -> list[str]:
    """First words that have their file; another test says which have not."""
    return [word for word in TABLE if (source.PACKAGE / "commands" / f"{word.replace('-', '_')}.py").exists()]


def verbs() -> Iterator[Verb]:
    for word in words():
        command = load(word)
        if isinstance(command, Verbs):
            yield from (Verb((word, name), verb, command) for name, verb in command.commands.items())
        else:
            yield Verb((word,), command, None)
