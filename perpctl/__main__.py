"""The front door: answers --version, the root help and kill with the standard library; all else goes to cli.py."""

from __future__ import annotations

import atexit
import gc
import os
import sys

from perpctl import __version__
from perpctl.commands import SECTIONS

TYPE_CHECKING = False  # importing typing would cost as much as everything else here
if TYPE_CHECKING:
    from perpctl.clock import Clock

VALUED = ("-p", "--profile", "--venue", "-o", "--output", "--format", "--watch", "--reason")
FLAGS = ("--dry-run", "--yes")
AT_ONCE = 20_000  # new objects between two looks for garbage: what imports make stays, and is not worth 150 looks


def run() -> None:
    """The program: carry out one command line, then end at once.

    The system frees a process's memory by itself; Python would first take a thousand classes apart. Registered first,
    `_leave` is called last: by then threads have been waited for and every other exit function has run.
    """
    gc.set_threshold(AT_ONCE)
    codes: list[int] = []
    atexit.register(_leave, codes)
    codes.append(main())
    sys.exit(codes[0])


def _leave(codes: list[int]) -> None:
    if not codes:
        return  # a failure that is no exit code of ours: Python's own end tells it
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        return  # closed or full: Python's own end tells it too
    os._exit(codes[0])


def main(argv: list[str] | None = None, clock: Clock | None = None) -> int:
    """Carry out one command line and return its exit code; without a clock it is the machine's."""
    words = word_first(list(sys.argv[1:] if argv is None else argv))
    if words[:1] == ["--version"]:
        return _say(f"perpctl {__version__}")
    if not words or words[0] in ("-h", "--help", "help"):
        return _say(root_help())
    if words[0] == "kill":
        from perpctl.emergency import kill

        return kill.main(words[1:])
    from perpctl import cli

    return cli.main(words, clock)


def word_first(argv: list[str]) -> list[str]:
    """Put the common options written before the first word behind it: `-p desk kill` is `kill -p desk`."""
    at = 0
    while at < len(argv) and (taken := _common(argv[at])):
        at += taken
    if at == 0 or at >= len(argv) or argv[at].startswith("-"):
        return argv
    return [argv[at], *argv[:at], *argv[at + 1 :]]


def _common(word: str) -> int:
    if word in VALUED:
        return 2
    return int(word in FLAGS or word.startswith(("-p", "-o")) or word.partition("=")[0] in VALUED)


def root_help() -> str:
    """The text of `perpctl --help`, from the table of first words."""
    lines = [
        "Usage: perpctl COMMAND [VERB] [OPTIONS]",
        "",
        "The runbook of a Coinbase perpetual-futures desk.  Profile `paper` is built in and needs no key.",
    ]
    for section, words in SECTIONS.items():
        lines += ["", f"{section}:"]
        lines += [f"  {word:<12} {line}" for word, line in words.items()]
    return "\n".join([*lines, "", *_FOOT])


_FOOT = (
    "Everywhere:",
    "  -p, --profile NAME           whose money; `paper` unless named (what lowers risk looks for live money first)",
    "  --venue us|global            which paper; of a live profile it is asserted",
    "  -o, --output FORMAT          table, json, jsonl or csv, of what is read; --watch SECONDS redraws",
    "  --dry-run, --yes, --reason   of what changes something",
    "  --help                       of each command; --version here",
    "",
    "First steps:  perpctl run --mode paper --symbols BTC-PERP --risk-level conservative",
)


def _say(text: str) -> int:
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    run()
