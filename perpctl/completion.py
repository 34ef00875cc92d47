"""This file writes the shell completions: static scripts from the tree, so that a Tab starts no Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from perpctl.commands import ALIASES, SECTIONS
from perpctl.commands.surface import Verbs, load

SHELLS = ("bash", "zsh", "fish")
_FORMS = ("table", "json", "jsonl", "csv")


@dataclass(frozen=True, slots=True)
class Flag:
    """An option as typed; `choices` are the words it takes, when those are known."""

    names: tuple[str, ...]
    help: str
    valued: bool
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """A point of the tree: what can be typed after `path`."""

    path: str
    words: tuple[tuple[str, str], ...] = ()
    flags: tuple[Flag, ...] = field(default_factory=tuple)


def script(shell: str) -> str:
    """The completion script of a shell."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](list(places()))


def places() -> Iterator[Place]:
    """The whole tree: the root, each first word, each verb."""
    lines = {word: line for section in SECTIONS.values() for word, line in section.items()}
    aliases = [(alias, f"the same as {word}") for alias, word in ALIASES.items()]
    root = (Flag(("--help",), "what there is", False), Flag(("--version",), "which version this is", False))
    yield Place("", (*lines.items(), *aliases), root)
    for word in [*lines, *ALIASES]:
        yield from _of_word(word)


def _of_word(word: str) -> Iterator[Place]:
    command = load(word)
    if not isinstance(command, Verbs):
        yield Place(word, (), _flags(command))
        return
    default = command.commands.get(command.default or "")
    verbs = tuple((name, _short(verb.help)) for name, verb in command.commands.items())
    yield Place(word, verbs, _flags(default) if default else ())
    for name, verb in command.commands.items():
        yield Place(f"{word} {name}", (), _flags(verb))


def _flags(command: Any) -> tuple[Flag, ...]:
    return tuple(_flag(one) for one in command.params if one.param_type_name == "option" and not one.hidden)


def _flag(option: Any) -> Flag:
    choices = _FORMS if "--output" in option.opts else tuple(getattr(option.type, "choices", ()))
    return Flag((*option.opts, *option.secondary_opts), _short(option.help), not option.is_flag, choices)


def _short(text: str | None) -> str:
    return (text or "").partition("\n")[0].rstrip(".")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _head(shell: str) -> str:
    return f"# perpctl for {shell}: made from the command tree by `pytest --update`; not to be edited."


def _valued(tree: Sequence[Place]) -> list[str]:
    return sorted({name for place in tree for flag in place.flags if flag.valued for name in flag.names})


def _choices(tree: Sequence[Place]) -> dict[tuple[str, ...], str]:
    """Options whose words are known, by those words."""
    found: dict[tuple[str, ...], set[str]] = {}
    for place in tree:
        for flag in place.flags:
            if flag.choices:
                found.setdefault(flag.choices, set()).update(flag.names)
    return {choices: "|".join(sorted(names)) for choices, names in found.items()}


def _bash(tree: Sequence[Place]) -> str:
    cases = [
        f"        {_quoted(place.path)}) echo "
        + _quoted(" ".join([word for word, _ in place.words] + [name for flag in place.flags for name in flag.names]))
        + " ;;"
        for place in tree
    ]
    verbs = "|".join(_quoted(place.path) for place in tree if place.path)
    known = [
        f'        {names}) mapfile -t COMPREPLY < <(compgen -W "{" ".join(choices)}" -- "$cur"); return ;;'
        for choices, names in _choices(tree).items()
    ]
    return "\n".join(
        [
            _head("bash"),
            "_perpctl_after() {",
            '    case "$1" in',
            *cases,
            "    esac",
            "}",
            "_perpctl() {",
            '    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} at="" word i',
            "    for ((i = 1; i < COMP_CWORD; i++)); do",
            "        word=${COMP_WORDS[i]}",
            '        case "$word" in',
            f"            {'|'.join(_valued(tree))}) ((i++)) ;;",
            "            -*) ;;",
            f'            *) case "${{at:+$at }}$word" in {verbs}) at="${{at:+$at }}$word" ;; esac ;;',
            "        esac",
            "    done",
            '    case "$prev" in',
            *known,
            f'        {"|".join(_valued(tree))}) mapfile -t COMPREPLY < <(compgen -f -- "$cur"); return ;;',
            "    esac",
            '    mapfile -t COMPREPLY < <(compgen -W "$(_perpctl_after "$at")" -- "$cur")',
            "}",
            "complete -o filenames -F _perpctl perpctl",
            "",
        ]
    )


def _zsh(tree: Sequence[Place]) -> str:
    cases = []
    for place in tree:
        choices = [f"{word}:{line}" for word, line in place.words]
        choices += [f"{name}:{flag.help}" for flag in place.flags for name in flag.names]
        cases.append(f"        {_quoted(place.path)}) choices=({' '.join(map(_quoted, choices))}) ;;")
    paths = "|".join(_quoted(place.path) for place in tree if place.path)
    known = [f"        {names}) compadd -- {' '.join(choices)}; return ;;" for choices, names in _choices(tree).items()]
    return "\n".join(
        [
            "#compdef perpctl",
            _head("zsh"),
            "_perpctl() {",
            '    local at="" word',
            "    local -a choices",
            "    local -i i",
            "    for ((i = 2; i < CURRENT; i++)); do",
            "        word=${words[i]}",
            '        case "$word" in',
            f"            {'|'.join(_valued(tree))}) ((i++)) ;;",
            "            -*) ;;",
            f'            *) case "${{at:+$at }}$word" in {paths}) at="${{at:+$at }}$word" ;; esac ;;',
            "        esac",
            "    done",
            '    case "${words[CURRENT-1]}" in',
            *known,
            f"        {'|'.join(_valued(tree))}) _files; return ;;",
            "    esac",
            '    case "$at" in',
            *cases,
            "    esac",
            "    _describe perpctl choices",
            "}",
            'if [ "$funcstack[1]" = "_perpctl" ]; then _perpctl "$@"; else compdef _perpctl perpctl; fi',
            "",
        ]
    )


def _fish(tree: Sequence[Place]) -> str:
    lines = [_head("fish"), "complete -c perpctl -f"]
    for place in tree:
        here = _fish_condition(place, tree)
        lines += [f"complete -c perpctl -n {here} -a {word} -d {_quoted(line)}" for word, line in place.words]
        for flag in place.flags:
            names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in flag.names)
            takes = f" -x -a {_quoted(' '.join(flag.choices))}" if flag.choices else " -r -F" if flag.valued else ""
            lines.append(f"complete -c perpctl -n {here} {names}{takes} -d {_quoted(flag.help)}")
    return "\n".join([*lines, ""])


def _fish_condition(place: Place, tree: Sequence[Place]) -> str:
    word, _, verb = place.path.partition(" ")
    if not word:
        return "__fish_use_subcommand"
    seen = f"__fish_seen_subcommand_from {word}"
    if verb:
        return _quoted(f"{seen}; and __fish_seen_subcommand_from {verb}")
    verbs = " ".join(one.path.partition(" ")[2] for one in tree if one.path.startswith(f"{word} "))
    return _quoted(f"{seen}; and not __fish_seen_subcommand_from {verbs}") if verbs else _quoted(seen)
