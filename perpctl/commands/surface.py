"""The shared surface of the commands: options, confirmation and exit code are written here once.

How to write a command. The file is named after the first word; add the word to the table in `commands/__init__.py`.

    app = Commands("What is held.", default="list")          # a group; a file with one command: Commands()

    @app.ask("list")                                          # a question: -p, --venue, -o/--output/--format, --watch
    def list_(source: Annotated[str, typer.Option(help="...")] = "venue") -> Ask:
        \"\"\"One line of help.\"\"\"
        from perpctl.questions import positions               # imported when the command runs, not for --help
        return lambda desk: positions.held(desk, source)      # async (desk) -> Answer

    @app.carry_out("close", lowers_risk=True)                 # a procedure: those, --dry-run, --yes, --reason
    def close(symbol: str) -> CarryOut:
        \"\"\"One line of help.\"\"\"
        from perpctl.procedures import closing
        return lambda desk: closing.plan(desk, symbol)        # async (desk) -> Plan

    @app.serve("serve")                                       # a service: -p, --venue; until stopped
    def serve(port: int = 0) -> Serve:
        \"\"\"One line of help.\"\"\"
        from perpctl.paper import server
        return lambda desk: server.run(desk, port)            # async (desk) -> ExitCode

Raise `perpctl.errors` for everything an operator can act on. A function that needs no desk returns the Answer itself;
one that declares a parameter `profile: ProfileName` or `venue: VenueName` gets what was typed. At most 15 lines a body.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
from collections.abc import Awaitable, Callable
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

import typer
from msgspec import Struct
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from perpctl.commands import ALIASES, TABLE, module_of
from perpctl.errors import UsageError
from perpctl.results import Answer, Plan

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.profile import Profile


class Founding(Struct, frozen=True):
    """A procedure for a profile that no file names yet."""

    profile: Profile
    build: Callable[[Desk], Awaitable[Plan]]


Ask = Callable[["Desk"], Awaitable[Answer]] | Answer
CarryOut = Callable[["Desk"], Awaitable[Plan | Answer]] | Founding
Serve = Callable[["Desk"], Awaitable[int]]

ProfileName = Annotated[str | None, typer.Option("--profile", "-p", metavar="NAME", help="Whose money.")]
Venue = Literal["us", "global"]
VenueName = Annotated[
    Venue | None, typer.Option("--venue", metavar="us|global", help="Which paper; of other profiles it is asserted.")
]
_Output = Annotated[
    str, typer.Option("--output", "-o", "--format", metavar="FORMAT", help="table, json, jsonl or csv.")
]
_Watch = Annotated[float | None, typer.Option(metavar="SECONDS", min=0.1, help="Ask again and redraw.")]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done; change nothing.")]
_Yes = Annotated[bool, typer.Option("--yes", help="Ask nothing.")]
ReasonText = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the journal.")]

Option = tuple[Any, Any]  # annotation, default
_PROFILE: dict[str, Option] = {"profile": (ProfileName, None), "venue": (VenueName, None)}
_ASKING: dict[str, Option] = {**_PROFILE, "output": (_Output, "table")}
_ACTING: dict[str, Option] = {
    **_ASKING,
    "dry_run": (_DryRun, False),
    "yes": (_Yes, False),
    "reason": (ReasonText, ""),
}


def _conduct(kind: str, **fixed: Any) -> Callable[..., int]:
    """Conducts a command of that kind; what it takes is imported when the command runs, not for its help."""

    def conducted(*args: Any, **common: Any) -> int:
        from perpctl.commands import conduct

        return int(getattr(conduct, kind)(*args, **fixed, **common))

    return conducted


class Verbs(TyperGroup):
    """A group that hands options written before its verb to the verb, which takes or refuses them."""

    default: str | None = None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.verb_first(args))

    def verb_first(self, args: list[str]) -> list[str]:
        """`-o json list` is `list -o json`; without a verb the default one is meant."""
        if args[:1] and args[0] in ("--help", "-h"):
            return args
        at, arity = 0, self._arity()
        while at < len(args) and args[at].partition("=")[0] in arity:
            at += 1 if "=" in args[at] else 1 + arity[args[at]]
        word = args[at] if at < len(args) else None
        if word is not None and not word.startswith("-") and (word in self.commands or not self._default_takes_words()):
            return [word, *args[:at], *args[at + 1 :]]
        return [self.default, *args] if self.default else args

    def _arity(self) -> dict[str, int]:
        options = (p for verb in self.commands.values() for p in verb.params if p.param_type_name == "option")
        return {name: 0 if _is_flag(p) else p.nargs for p in options for name in (*p.opts, *p.secondary_opts)}

    def _default_takes_words(self) -> bool:
        verb = self.commands.get(self.default or "")
        return verb is not None and any(p.param_type_name == "argument" for p in verb.params)


def _is_flag(option: Any) -> bool:
    return bool(getattr(option, "is_flag", False) or getattr(option, "count", False))


class Commands(typer.Typer):
    """The commands of one file: a group of verbs when it has a help line, else a single command."""

    def __init__(self, help: str | None = None, *, default: str | None = None) -> None:
        names = {"help_option_names": ["-h", "--help"]}
        super().__init__(cls=Verbs, help=help, rich_markup_mode=None, add_completion=False, context_settings=names)
        self.grouped = help is not None
        self.default = default

    def build(self, word: str) -> TyperCommand | TyperGroup:
        """The runnable tree of this file under its first word."""
        built = get_group(self) if self.grouped else get_command(self)
        built.name = word
        if isinstance(built, Verbs):
            built.default = self.default
        assert isinstance(built, TyperCommand | TyperGroup)
        return built

    def ask(self, name: str, *, watch: bool = True) -> Callable[[Callable[..., Ask]], Callable[..., Ask]]:
        """Declare a question."""
        options = {**_ASKING, "watch": (_Watch, None)} if watch else _ASKING

        def declare(function: Callable[..., Ask]) -> Callable[..., Ask]:
            self._add(name, function, options, _conduct("answer"))
            return function

        return declare

    def carry_out(
        self, name: str, *, lowers_risk: bool = False, closes: bool = False
    ) -> Callable[[Callable[..., CarryOut]], Callable[..., CarryOut]]:
        """Declare a procedure; one that lowers risk looks for live money first when no profile is named."""

        def declare(function: Callable[..., CarryOut]) -> Callable[..., CarryOut]:
            self._add(name, function, _ACTING, _conduct("plan", lowers_risk=lowers_risk, closes=closes))
            return function

        return declare

    def serve(self, name: str) -> Callable[[Callable[..., Serve]], Callable[..., Serve]]:
        """Declare a service."""

        def declare(function: Callable[..., Serve]) -> Callable[..., Serve]:
            self._add(name, function, _PROFILE, _conduct("service"))
            return function

        return declare

    def _add(
        self,
        name: str,
        function: Callable[..., Any],
        options: dict[str, Option],
        carry: Callable[..., int],
    ) -> None:
        own = inspect.signature(function, eval_str=True).parameters
        for key, parameter in own.items():
            _name_value(key, parameter.annotation)

        def callback(ctx: typer.Context, **given: Any) -> int:
            common = {key: given[key] if key in own else given.pop(key) for key in options}
            return carry(function(**given), ctx.obj, **common)

        added = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
            for key, (annotation, default) in options.items()
            if key not in own
        ]
        context = inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
        named = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own.values()]
        signature = inspect.Signature([context, *named, *added])
        callback.__signature__ = signature  # type: ignore[attr-defined]
        callback.__annotations__ = {key: parameter.annotation for key, parameter in signature.parameters.items()}
        callback.__doc__ = function.__doc__
        self.command(name, help=inspect.getdoc(function))(callback)


def _name_value(key: str, annotation: Any) -> None:
    """Help shows what kind of value an option takes; without a word of its own, the option's name."""
    kind, *notes = get_args(annotation) or (annotation,)
    for note in notes:
        if isinstance(note, typer.models.OptionInfo) and note.metavar is None and kind is not bool:
            note.metavar = key.upper()


def load(word: str) -> TyperCommand | TyperGroup:
    """The command or group that a first word names; UsageError with suggestions when there is none."""
    module = module_of(word)
    if module is None or importlib.util.find_spec(module) is None:
        near = get_close_matches(word, [*TABLE, *ALIASES])
        raise UsageError(
            f"no such command: {word}",
            not_done="nothing was read or sent",
            next_commands=tuple(f"perpctl {name} --help" for name in near) or ("perpctl --help",),
        )
    app: Commands = importlib.import_module(module).app
    return app.build(word)
