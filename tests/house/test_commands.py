"""The tree as a whole: words name files, options are never dropped, and each kind of command has its own."""

from __future__ import annotations

from itertools import chain

import pytest

from perpctl.commands import ALIASES, TABLE, module_of
from perpctl.commands.surface import Verbs, load
from tests.conftest import Cli
from tests.house import source
from tests.house.tree import Verb, verbs, words

NOT_WORDS = {"__init__", "surface", "conduct"}
VERBS = list(verbs())
GROUPS = [group for word in words() if isinstance(group := load(word), Verbs)]


def test_the_first_word_names_the_file() -> None:
    files = {path.stem for path in (source.PACKAGE / "commands").glob("*.py")} - NOT_WORDS
    assert files == {word.replace("-", "_") for word in TABLE}


def test_an_alias_leads_to_the_file_of_its_word() -> None:
    assert all(module_of(alias) == module_of(word) for alias, word in ALIASES.items())


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_every_command_says_whose_money_it_means(verb: Verb) -> None:
    assert {"--profile", "-p"} <= verb.options.keys()


@pytest.mark.parametrize("verb", VERBS, ids=str)
def test_every_command_says_in_a_line_what_it_does(verb: Verb) -> None:
    assert verb.command.help
    assert len(verb.command.help.partition("\n")[0]) <= 110


@pytest.mark.parametrize("verb", [one for one in VERBS if "--dry-run" in one.options], ids=str)
def test_what_changes_something_can_be_previewed_confirmed_and_explained(verb: Verb) -> None:
    assert {"--dry-run", "--yes", "--reason"} <= verb.options.keys()


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_a_group_has_no_options_of_its_own(group: Verbs) -> None:
    assert group.params == []
    assert group.default is None or group.default in group.commands


def _spelled(option: str, group: Verbs) -> list[str]:
    found = next(p for verb in group.commands.values() for p in verb.params if option in (*p.opts, *p.secondary_opts))
    return [option] if getattr(found, "is_flag", False) else [option, *["x"] * found.nargs]


def _options_of(group: Verbs) -> list[str]:
    every = chain.from_iterable(verb.params for verb in group.commands.values())
    return sorted({name for p in every if p.param_type_name == "option" for name in (*p.opts, *p.secondary_opts)})


@pytest.mark.parametrize("verb", [one for one in VERBS if one.group], ids=str)
def test_a_groups_options_are_inherited_by_the_verb_or_refused_never_dropped(verb: Verb, cli: Cli) -> None:
    assert verb.group is not None
    name = verb.words[1]
    for option in _options_of(verb.group):
        spelled = _spelled(option, verb.group)
        ordered = verb.group.verb_first([*spelled, name])
        assert ordered == [name, *spelled], f"{verb}: {option} before the verb is not given to it"
        if option not in verb.options:
            ran = cli(verb.words[0], *spelled, name)
            assert ran.code == 2, f"{verb}: {option} is not an option of it and was not refused"


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_an_unknown_option_of_a_group_is_refused(group: Verbs, cli: Cli) -> None:
    for given in (["--bogus"], ["--bogus", next(iter(group.commands))]):
        assert cli(group.name or "", *given).code == 2


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_an_unknown_verb_is_refused(group: Verbs, cli: Cli) -> None:
    ran = cli(group.name or "", "no-such-verb")
    assert (ran.code, ran.out) == (2, "")


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_an_option_takes_as_many_words_in_every_verb_of_its_group(group: Verbs) -> None:
    for option in _options_of(group):
        found = [p for verb in group.commands.values() for p in verb.params if option in (*p.opts, *p.secondary_opts)]
        assert len({(getattr(p, "is_flag", False), p.nargs) for p in found}) == 1, option
