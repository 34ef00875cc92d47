"""The lazy command tree and the one error boundary: a first word is imported only when it is typed."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from itertools import pairwise

import typer

from perpctl import render
from perpctl.clock import Clock, SystemClock
from perpctl.commands import TABLE
from perpctl.commands.surface import load
from perpctl.errors import (
    TAKES_NEXT,
    ExitCode,
    PerpctlError,
    SettingError,
    UsageError,
    for_profile,
    names_profile,
)

_USUALLY = {
    ExitCode.UNKNOWN: ("status", "kill --dry-run"),
    ExitCode.CREDENTIAL: ("auth test",),
    ExitCode.HELD: ("status",),
    ExitCode.STATE_DAMAGED: ("status", "kill --dry-run"),
}


def main(words: list[str], clock: Clock | None = None) -> int:
    """Carry out `words` and return the exit code."""
    clock = clock or SystemClock()
    return bounded(lambda: _run(words, clock), words, clock)


def bounded(work: Callable[[], int], words: list[str], clock: Clock) -> int:
    """The exit code of `work`; any failure is told in the form that `words` ask for."""
    try:
        return work()
    except KeyboardInterrupt:
        error = PerpctlError("interrupted", not_done="what was not said above was not done")
        error.exit_code = ExitCode.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except typer.TyperException as wrong:
        error = UsageError(wrong.format_message(), not_done="nothing was read or sent", next_commands=(_help(words),))
    except Exception as problem:  # noqa: BLE001  the one boundary
        error = _cause(problem) or _bug(problem)
    then = error.next_commands or _usual_next(error, words)
    error.next_commands = tuple(for_profile(command, *_named(error, words)) for command in then)
    return render.failure(error, render.asked_format(words), clock.now())


def _run(words: list[str], clock: Clock) -> int:
    if words[0].startswith("-"):
        raise UsageError(f"no such option: {words[0]}", not_done="nothing was done", next_commands=("perpctl --help",))
    command = load(words[0])
    code = command.main(args=words[1:], prog_name=f"perpctl {words[0]}", standalone_mode=False, obj=clock)
    return int(code or 0)


def _help(words: list[str]) -> str:
    """The help of the command that was meant, as far as it exists."""
    if words[0] not in TABLE:
        return "perpctl --help"
    verbs = getattr(load(words[0]), "commands", {})
    return " ".join(["perpctl", words[0], *(word for word in words[1:2] if word in verbs), "--help"])


def _usual_next(error: PerpctlError, words: list[str]) -> tuple[str, ...]:
    """What to type next where the failure itself does not know."""
    if isinstance(error, SettingError):
        return ("perpctl config validate",)
    if error.exit_code is ExitCode.USAGE:
        return (_help(words),)
    return tuple(f"perpctl {then}" for then in _USUALLY.get(error.exit_code, ()) if then.split()[0] != words[0])


def _named(error: PerpctlError, words: list[str]) -> list[str]:
    """Whose money it was about: as typed, else the profile that was taken where it is not the built-in one."""
    typed = [word for word in words if names_profile(word) and word not in TAKES_NEXT]
    typed += [f"{word} {after}" for word, after in pairwise(words) if word in TAKES_NEXT]
    taken = error.scope.profile if error.scope is not None else "paper"
    return typed or ([] if taken == "paper" else [f"-p {taken}"])


def _cause(problem: BaseException) -> PerpctlError | None:
    """The failure that an operator can act on, also when a group of tasks wraps it."""
    if isinstance(problem, PerpctlError):
        return problem
    if isinstance(problem, BaseExceptionGroup):
        return next((error for inner in problem.exceptions if (error := _cause(inner))), None)
    return None


def _bug(problem: BaseException) -> PerpctlError:
    if os.environ.get("PERPCTL_TRACEBACK"):
        traceback.print_exception(problem, file=sys.stderr)
    place = traceback.extract_tb(problem.__traceback__)[-1]
    where = f"{os.path.basename(place.filename)}:{place.lineno}"
    return PerpctlError(
        f"a bug in perpctl: {type(problem).__name__}: {problem} ({where})",
        not_done="the command ended here; what was not said above was not done",
        next_commands=("PERPCTL_TRACEBACK=1 perpctl ...   shows where",),
    )
