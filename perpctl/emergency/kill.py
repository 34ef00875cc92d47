"""This file is `perpctl kill`: latch, fence, cancel, close, prove, hold; with nothing but the standard library.

The latch is written by the process that was typed. The rest is carried out by a child in a session of its own, so that
neither Ctrl-C nor a lost terminal can stop it; what was typed stays in front and watches.
"""

from __future__ import annotations

import time

BEGAN = time.monotonic()  # before anything else is loaded: the first figure of the receipt

import argparse  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from collections.abc import Mapping, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import TYPE_CHECKING, NoReturn  # noqa: E402

from perpctl.errors import ExitCode, PerpctlError, RefusedBySafety, StateDamaged, UsageError  # noqa: E402
from perpctl.model.mode import Mode  # noqa: E402
from perpctl.store.latch import Latch, LatchState  # noqa: E402

if TYPE_CHECKING:
    from perpctl.emergency import target

EXPLAIN = """\
perpctl kill takes everything off, in this order, and says what it could not prove.

 1 latch    every latch of the profile says HALTED, durably: nothing of ours may send any more. It stays so until
            perpctl resume, which asks for a name and a reason.
 2 fence    the bot is asked to stop; no answer in 0.5 s and provably the same process: SIGKILL.
 3 entries  one mass cancel of limit orders, isolated slots included; triggers that protect nothing, by id.
            Protective stops stay.
 4 close    every position, reduce-only: limit orders 0.10, 0.30, 0.75 % through the touch, then at market inside the
            venue's price band. --market starts at market; --max-slippage ends there, keeps the stops, exit 6.
 5 stops    cancelled once their position reads zero.
 6 prove    two empty listings of orders, two of positions, a second apart, and no margin in use; from the pinned
            account, each with our own last order in it.
            At the US venue nothing is reduce-only and nothing cancels by mass: orders go by id, 100 a request, each
            read ended; one contract is closed first, then its stop goes, then what stands within 0.15, 0.40 and 1.00 %,
            then all, never more than our own fills leave; a stop returns when its close is refused or unknown. Proof
            takes 3 s there, and while the session is closed the kill is pending: exit 6, finished when it opens.
 7 hold     15 s (60 s when the bot could not be fenced): whatever appears is cancelled, closed and reported.
 8 stop     the profile's service.

Scope `account` is every derivative order and position that the key reaches, whoever made it; `ours` only orders that
carry our identity. Spot is never touched, and named. Positions are closed at a loss if that is what the market gives.
With no profile named, live money is meant, never paper.

Exit 0: proven flat in scope.  3: unknown.  6: something is left, and it is known what.  5: not confirmed, nothing done.
What cannot be finished goes on in a process of its own: --status shows it, --finish takes it up, --abandon ends it.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out `perpctl kill`; returns the exit code. `argv` is what follows the word kill."""
    output = "json" if argv and "json" in argv else "table"  # until the words are understood
    try:
        wished = parser().parse_args(argv)
        output = wished.output
        return _carry_out(wished)
    except PerpctlError as why:
        return _tell_failure(why, output)
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted before anything was done.\n")
        return ExitCode.INTERRUPTED


class Words(argparse.ArgumentParser):
    """What was typed; what cannot be understood is told as any other failure is."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(
            message,
            not_done="Nothing was latched, cancelled or closed.",
            next_commands=("perpctl kill --help", "perpctl kill --force"),
        )


def parser() -> argparse.ArgumentParser:
    """Every option of kill; the command tree declares the same ones for help and completion."""
    options = Words(
        prog="perpctl kill", description="Latch, cancel, close and prove flat. Needs nothing that can be broken."
    )
    add = options.add_argument
    add("-p", "--profile", help="whose money; without it live money is meant")
    add("--venue", choices=("us", "global"), help="which paper; of a live profile it is asserted")
    add("--force", "--yes", action="store_true", help="ask nothing")
    add("--dry-run", action="store_true", help="read the venue and show what would be done; change nothing")
    add("--reason", default="", help="why, for latch and receipt")
    add("--scope", choices=("account", "ours"), help="whose orders; default from the profile, else account")
    how = options.add_mutually_exclusive_group()
    how.add_argument("--max-slippage", metavar="P", help="never worse than this through the touch, e.g. 0.30%%")
    how.add_argument("--market", action="store_true", help="close at market at once")
    what = options.add_mutually_exclusive_group()
    what.add_argument("--status", nargs="?", const="", metavar="ID", help="show the last kill, or this one")
    what.add_argument("--finish", nargs="?", const="", metavar="ID", help="take up an unfinished kill")
    what.add_argument("--abandon", metavar="ID", help="give an unfinished kill up; the latch stays")
    what.add_argument("--explain", action="store_true", help="what it does, in which order, and what it costs")
    add("-o", "--output", "--format", choices=("table", "json"), default="table", help="form of the receipt")
    return options


def _carry_out(wished: argparse.Namespace) -> int:
    if wished.explain:
        sys.stdout.write(EXPLAIN)
        return ExitCode.OK
    from perpctl.emergency import target

    wished.began, wished.confirmed = BEGAN, None
    targets = target.find_targets(wished.profile, target.state_root(), wished.venue)
    if wished.max_slippage is not None:
        target.as_fraction(wished.max_slippage)  # refused before anything is done
    if wished.status is not None or wished.finish is not None or wished.abandon is not None:
        return _about_earlier(targets, wished)
    if wished.dry_run:
        return _preview(targets, wished)
    if not wished.force:
        wished.confirmed = _ask(targets)
        wished.began = time.monotonic()  # the reading of the question is no part of the kill
    return _kill(targets, wished)


def _preview(targets: Sequence[target.Target], wished: argparse.Namespace) -> int:
    from perpctl.emergency.dry_run import preview

    for each in targets:
        sys.stdout.write(preview.told(each, wished))
    if len(targets) > 1:
        sys.stderr.write("Several live profiles: each would be latched, its entries cancelled, none closed.\n")
    return ExitCode.OK


def _ask(targets: Sequence[target.Target]) -> Mapping[str, object]:
    """One typed word before anything happens; what was shown and typed. Raises RefusedBySafety without it."""
    word = targets[0].profile if len(targets) == 1 else "all"
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise RefusedBySafety(
            "kill asks for one typed word, and there is no terminal to ask on",
            not_done="Nothing was latched, cancelled or closed.",
            next_commands=tuple(f"perpctl kill -p {each.profile} --force" for each in targets),
        )
    what = "every order cancelled, every position closed, trading halted."
    shown = "".join([*(f"{each.heading}: {what}\n" for each in targets), f"Type {word} to go on: "])
    sys.stderr.write(shown)
    sys.stderr.flush()
    began = time.monotonic()
    if sys.stdin.readline().strip() != word:
        raise RefusedBySafety("another word was typed", not_done="Nothing was latched, cancelled or closed.")
    return {"plan_shown": shown, "typed_confirmation": word, "decided_in_s": round(time.monotonic() - began, 1)}


def _kill(targets: Sequence[target.Target], wished: argparse.Namespace) -> int:
    """Latch every target first, then pursue each. Several live profiles lose their entries only: exit 6."""
    from perpctl.emergency import watch

    kill_id = time.strftime("K-%Y%m%d-%H%M%S", time.gmtime())
    latched = [(each, latch_all(each, kill_id, wished.reason)) for each in targets]
    several = len(targets) > 1
    started = [watch.start(each, latches, kill_id, wished, entries_only=several) for each, latches in latched]
    codes = [watch_it() for watch_it in started]
    if not several:
        return codes[0]
    sys.stderr.write("Several live profiles: each is latched, its entries are cancelled, none was closed. Name one:\n")
    for each in targets:
        sys.stderr.write(f"    perpctl kill -p {each.profile} --force\n")
    return ExitCode.UNKNOWN if ExitCode.UNKNOWN in codes else ExitCode.PARTIAL


def latch_all(each: target.Target, kill_id: str, reason: str) -> Mapping[Path, str]:
    """Halt every latch that a bot of this profile may read; what became of each, by path."""
    state = LatchState(
        Mode.HALTED, who(), reason or "kill", time.time_ns() // 1_000_000, "kill", risk=True, kill_id=kill_id
    )
    outcomes = {}
    for path in each.latches:
        try:
            Latch(path).tighten(state)
            standing = Latch(path).read()
            outcomes[path] = "written" if standing.mode is Mode.HALTED else f"reads back {standing.mode}"
        except StateDamaged as why:
            outcomes[path] = f"refused ({why.message})"
    return outcomes


def who() -> str:
    """Who typed it: user, real user behind sudo, host, terminal, and where from."""
    import pwd

    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = "?"
    behind = f", sudo by {os.environ['SUDO_USER']}" if "SUDO_USER" in os.environ else ""
    try:
        tty = f", tty {os.ttyname(0).removeprefix('/dev/')}"
    except OSError:
        tty = ", no tty"
    origin = f" from {os.environ['SSH_CONNECTION'].split()[0]}" if os.environ.get("SSH_CONNECTION") else ""
    return f"{name} (uid {uid}{behind}) on {os.uname().nodename}{tty}{origin}"


def _about_earlier(targets: Sequence[target.Target], wished: argparse.Namespace) -> int:
    from perpctl.emergency import watch

    if len(targets) > 1:
        names = ", ".join(each.profile for each in targets)
        raise UsageError(f"several live profiles: {names}", next_commands=("perpctl kill -p PROFILE --status",))
    if wished.abandon is not None:
        return watch.give_up(targets[0], wished.abandon, wished.reason)
    if wished.finish is not None:
        return watch.finish(targets[0], wished)
    return watch.status(targets[0], wished.status, wished.output)


def _tell_failure(why: PerpctlError, output: str) -> int:
    sys.stderr.write(f"kill: {why.message}\n")
    if why.not_done:
        sys.stderr.write(f"{why.not_done}\n")
    for command in why.next_commands:
        sys.stderr.write(f"Next:  {command}\n")
    if output == "json":
        import json

        error = {"message": why.message, "not_done": why.not_done, "next": list(why.next_commands)}
        sys.stdout.write(json.dumps({"schema": "perpctl.error/1", "error": error, "exit": int(why.exit_code)}) + "\n")
    return why.exit_code


if __name__ == "__main__":
    sys.exit(main())
