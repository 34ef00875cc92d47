"""The error tree: each says what happened, what was not done, and what to type next.

Standard library only: the emergency program imports this file.

    PerpctlError                 70  a bug, unless a subclass says otherwise
    ├── NegativeVerdict           1  drift, not flat, a check failed, nothing listening
    ├── UsageError                2  argument, setting, symbol, size, feed file, port held by a stranger
    │   ├── SettingError          2  names file, line and key
    │   └── FeedFileError         2  names file and line
    ├── UnknownState              3  could not prove either way
    │   ├── VenueUnreachable      3
    │   └── AccountMismatch       3  the account that answered is not the pinned one
    ├── CredentialError           4  authentication, permission, key file
    ├── RefusedBySafety           5  a safety rule, or a missing confirmation
    ├── PartiallyDone             6  some done, something left; safe to run again
    ├── VenueRefused              7  the venue said no
    │   └── Throttled             7
    ├── TimedOut                  8  timed out waiting
    ├── WorldChanged              9  since the plan was made
    ├── HeldByAnother            10  another perpctl holds the lease, port or directory
    └── StateDamaged             11  local state damaged or not writable
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perpctl.results import Scope


class ExitCode(IntEnum):
    """What a process of ours ends with."""

    OK = 0
    NEGATIVE = 1
    USAGE = 2
    UNKNOWN = 3
    CREDENTIAL = 4
    REFUSED = 5
    PARTIAL = 6
    VENUE_REFUSED = 7
    TIMED_OUT = 8
    WORLD_CHANGED = 9
    HELD = 10
    STATE_DAMAGED = 11
    BUG = 70
    INTERRUPTED = 130


class PerpctlError(Exception):
    """Any failure that an operator is told about.

    `message` is what happened; `not_done` what therefore did not happen; `next_commands` are complete commands.
    """

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, message: str, *, not_done: str = "", next_commands: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.not_done = not_done
        self.next_commands = next_commands
        self.scope: Scope | None = None  # whose money it was about, once that is known


TAKES_NEXT = ("-p", "--profile", "--venue")


def names_profile(word: str) -> bool:
    """Whether a word of a command line says whose money is meant."""
    return word in TAKES_NEXT or word.startswith(("--profile=", "--venue=")) or (word[:2] == "-p" and len(word) > 2)


def for_profile(command: str, *named: str) -> str:
    """A next command about the same money: without the profile it would speak of another one's.

    Unchanged when it names one itself, asks for help, or nothing is named.
    """
    said = command.split()
    if said[:1] != ["perpctl"] or len(said) < 2 or said[-1] == "--help" or said[1].startswith("-") or not named:
        return command
    return command if any(map(names_profile, said)) else " ".join(["perpctl", *named, *said[1:]])


class NegativeVerdict(PerpctlError):
    """The question was answered, and the answer is no."""

    exit_code = ExitCode.NEGATIVE


class UsageError(PerpctlError):
    """The operator's input cannot be acted on."""

    exit_code = ExitCode.USAGE


class SettingError(UsageError):
    """A setting is unknown, broken or missing; the message names file and key."""


class FeedFileError(UsageError):
    """A feed file is unreadable, truncated or of another shape; the message names file and line."""


class UnknownState(PerpctlError):
    """The truth could not be proven either way."""

    exit_code = ExitCode.UNKNOWN


class VenueUnreachable(UnknownState):
    """No trustworthy answer came from the venue."""


class AccountMismatch(UnknownState):
    """The account that answered is not the one pinned in the profile."""


class CredentialError(PerpctlError):
    """Key file, permission or authentication."""

    exit_code = ExitCode.CREDENTIAL


class RefusedBySafety(PerpctlError):
    """A safety rule forbids it, or a confirmation is missing."""

    exit_code = ExitCode.REFUSED


class PartiallyDone(PerpctlError):
    """Some was done and something is left; running it again is safe."""

    exit_code = ExitCode.PARTIAL


class VenueRefused(PerpctlError):
    """The venue said no; `code` and `reason` are its own words."""

    exit_code = ExitCode.VENUE_REFUSED

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        reason: str = "",
        not_done: str = "",
        next_commands: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, not_done=not_done, next_commands=next_commands)
        self.code = code
        self.reason = reason


class Throttled(VenueRefused):
    """The venue's request limit was hit; nothing was executed."""


class TimedOut(PerpctlError):
    """Waiting ended before the thing happened."""

    exit_code = ExitCode.TIMED_OUT


class WorldChanged(PerpctlError):
    """What the plan was made from is no longer so."""

    exit_code = ExitCode.WORLD_CHANGED


class HeldByAnother(PerpctlError):
    """Another perpctl holds the lease, port or directory; the message names it."""

    exit_code = ExitCode.HELD


class StateDamaged(PerpctlError):
    """Local state is damaged or cannot be written."""

    exit_code = ExitCode.STATE_DAMAGED
