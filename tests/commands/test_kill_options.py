"""The command tree declares the options of kill that the emergency program takes, no more and no less."""

from __future__ import annotations

from perpctl.commands.surface import load
from perpctl.emergency.kill import parser


def test_the_tree_and_the_emergency_program_have_the_same_options() -> None:
    declared = {name for option in load("kill").params for name in option.opts}
    taken = {name for action in parser()._actions for name in action.option_strings}
    assert declared == taken - {"-h", "--help"}


def test_they_agree_on_which_options_take_a_word() -> None:
    declared = {name: not getattr(one, "is_flag", False) for one in load("kill").params for name in one.opts}
    taken = {name: action.nargs != 0 for action in parser()._actions for name in action.option_strings}
    assert declared == {name: valued for name, valued in taken.items() if name in declared}


def test_they_agree_on_the_words_that_an_option_takes() -> None:
    declared = {name: tuple(getattr(one.type, "choices", ())) for one in load("kill").params for name in one.opts}
    taken = {name: tuple(action.choices or ()) for action in parser()._actions for name in action.option_strings}
    assert {name: words for name, words in taken.items() if words} == {n: w for n, w in declared.items() if w}
