"""This file finds the exchange that a profile runs on this machine, and starts it when nobody has."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from perpctl.errors import ExitCode, HeldByAnother, PerpctlError, StateDamaged, UsageError, VenueUnreachable
from perpctl.host.process import NotStarted, is_running, start_detached

READY_WITHIN_S = 10.0
_KINDS: Mapping[int, type[PerpctlError]] = {
    ExitCode.USAGE: UsageError,
    ExitCode.HELD: HeldByAnother,
    ExitCode.STATE_DAMAGED: StateDamaged,
}


def served(record: Path, command: Sequence[str] | None, ready_within_s: float = READY_WITHIN_S) -> Mapping[str, Any]:
    """What the running exchange says of itself in `record`; started by `command` unless one answers there.

    Raises VenueUnreachable, or what the exchange itself ended with: UsageError, HeldByAnother, StateDamaged.
    """
    if found := answering(record):
        return found
    if command is None:
        raise VenueUnreachable(f"no exchange answers as {record} says", not_done="nothing was sent")
    log = record.parent / "server.log"
    try:
        return start_detached(command, log, ready_within_s)
    except NotStarted as failed:
        if failed.ended_with == ExitCode.HELD and (found := _awaited(record, ready_within_s)):
            return found
        kind = _KINDS.get(failed.ended_with, VenueUnreachable)
        raise kind(
            f"the exchange of this profile did not start: {failed.message}",
            not_done="nothing was sent",
            next_commands=(f"cat {log}",),
        ) from failed


def answering(record: Path) -> Mapping[str, Any] | None:
    """The record of an exchange that is alive and listens, else None."""
    try:
        found: Mapping[str, Any] = json.loads(record.read_text())
        address = urlsplit(str(found["gateway_http"]))
        if not is_running(int(found["pid"])):
            return None
        with socket.create_connection((address.hostname or "127.0.0.1", address.port or 0), 0.5):
            return found
    except (OSError, ValueError, KeyError):
        return None


def _awaited(record: Path, within_s: float) -> Mapping[str, Any] | None:
    """The exchange that another command is just starting, once it answers."""
    ends = time.monotonic() + within_s
    while time.monotonic() < ends:
        if found := answering(record):
            return found
        time.sleep(0.05)
    return None
