"""This file stops the bot from sending: asked on its control socket, else killed when it is provably the same process.

Proven means that no entry of this bot can be created any more; anything less is said, and held out longer.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from perpctl.errors import StateDamaged
from perpctl.store.lease import Lease, process_started

ASK_S = 0.5
ASK_FOREIGN_S = 2.0
_GONE_S = 1.0
_STOP_S = 5.0


class Fence(NamedTuple):
    """What became of the bot; `settled_at` on the monotonic clock."""

    proven: bool
    evidence: str
    settled_at: float


def fence_bot(directory: Path, kill_id: str, reason: str, now: Callable[[], float] = time.monotonic) -> Fence:
    """Stop whoever holds the lease of this profile. Never raises."""
    proven, evidence = _fence(directory, kill_id, reason)
    return Fence(proven, evidence, now())


def _fence(directory: Path, kill_id: str, reason: str) -> tuple[bool, str]:
    try:
        lease = Lease.read(directory / "lease")
    except StateDamaged as why:
        lease = None
        damage = f"; {why}"
    else:
        damage = ""
    answered = ask_bot(directory / "control.sock", kill_id, reason, ASK_S if _is_near(lease) else ASK_FOREIGN_S)
    if answered is not None and (lease is None or not lease.is_held or answered == lease.pid):
        return True, f"pid {answered} acknowledged: strategy stopped, sends nothing more"
    if damage:
        return False, f"the bot cannot be identified{damage}"
    if lease is None:
        return True, "no bot ever held the lease of this profile"
    name = f"{lease.holder} pid {lease.pid}"
    if lease.released:
        return True, f"no bot: {name} gave the lease back"
    if lease.holder_lives is False:
        return True, f"no bot: {name} is gone"
    if lease.holder_lives is None:
        if lease.has_lapsed:
            return False, f"{name} on {lease.host} let its lease lapse, but may still run there"
        return False, f"{name} on {lease.host} did not answer, and only that host can stop it"
    return _kill_process(lease, name)


def _is_near(lease: Lease | None) -> bool:
    return lease is None or (lease.holder_lives is not None and lease.uid in (os.getuid(), 0))


def _kill_process(lease: Lease, name: str) -> tuple[bool, str]:
    try:
        if process_started(lease.pid) == lease.started:  # the very process, not a later one of the same number
            os.kill(lease.pid, signal.SIGKILL)
    except ProcessLookupError:
        return True, f"no bot: {name} is gone"
    except PermissionError:
        return False, f"{name} did not answer, and belongs to another user (uid {lease.uid})"
    end = time.monotonic() + _GONE_S
    while time.monotonic() < end:
        if process_started(lease.pid) != lease.started:
            return True, f"{name} did not answer in {ASK_S * 1000:.0f} ms: SIGKILL, process gone"
        time.sleep(0.005)
    return False, f"{name} did not answer, and SIGKILL has not ended it yet"


def ask_bot(path: Path, kill_id: str, reason: str, seconds: float) -> int | None:
    """The pid of the bot that says it is fenced; None when nobody does within `seconds`."""
    answer = _ask(path, {"do": "fence", "kill_id": kill_id, "reason": reason}, seconds)
    try:
        return int(answer["pid"]) if answer["ok"] is True and answer["fenced"] is True else None
    except (KeyError, TypeError, ValueError):
        return None


def ask_mode(path: Path, pid: int) -> float | None:
    """How long that bot takes to answer a question that changes nothing; None: it does not, or another one does."""
    sent = time.monotonic()
    return time.monotonic() - sent if _ask(path, {"do": "mode"}, ASK_S).get("pid") == pid else None


def _ask(path: Path, question: dict[str, str], seconds: float) -> dict[str, Any]:
    """What whoever listens there answers; nothing when nobody does, or nothing that can be read."""
    end = time.monotonic() + seconds
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(str(path))
            connection.sendall(json.dumps(question).encode() + b"\n")
            heard = b""
            while b"\n" not in heard and len(heard) < 65_536:
                connection.settimeout(max(0.001, end - time.monotonic()))
                if not (part := connection.recv(65_536)):
                    return {}
                heard += part
        answer = json.loads(heard)
    except (OSError, ValueError):
        return {}
    return answer if isinstance(answer, dict) else {}


def stop_unit(unit: str | None) -> tuple[str, str]:
    """Stop the bot's service, asking no password, within 5 s: state and evidence for the receipt."""
    if unit is None:
        return "none", "the profile names no service"
    import subprocess

    command = ["systemctl", "--no-ask-password"]
    try:
        subprocess.run([*command, "stop", unit], capture_output=True, timeout=_STOP_S, check=False)
        state = subprocess.run([*command, "is-active", unit], capture_output=True, timeout=_STOP_S, check=False)
    except (OSError, subprocess.SubprocessError) as why:
        return "UNKNOWN", f"{unit}: {why}"
    word = state.stdout.decode(errors="replace").strip()
    if word in ("inactive", "failed"):
        return "done", f"{unit} {word}; stays off until perpctl resume"
    return "NOT STOPPED", f"{unit} is {word or 'in an unknown state'}"
