"""This file tells who sits at the keyboard and from where: the login behind sudo, the terminal, the far end of ssh."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from msgspec import Struct

_NOBODY = "4294967295"  # what Linux calls a login or session that is none


class Login(Struct, frozen=True):
    """How the operator came to this process; missing: not so, or this system does not tell."""

    operator_id: str
    real_uid: int
    login_uid: int | None  # who logged in first, whatever was become since (Linux, audit)
    login_session: str | None
    sudo_user: str | None
    tty: str | None
    source_address: str | None  # the far end of ssh


def operator() -> str:
    """Who acts: the login behind sudo when there is one."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def login() -> Login:
    """Whoever runs this process, as far as the system tells."""
    uid = _audit("loginuid")
    return Login(
        operator_id=operator(),
        real_uid=os.getuid(),
        login_uid=int(uid) if uid is not None and uid.isdigit() else None,
        login_session=_audit("sessionid") or os.environ.get("XDG_SESSION_ID"),
        sudo_user=os.environ.get("SUDO_USER"),
        tty=_tty(),
        source_address=(os.environ.get("SSH_CONNECTION") or "").partition(" ")[0] or None,
    )


def _tty() -> str | None:
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        try:
            return os.ttyname(stream.fileno())
        except (OSError, ValueError, AttributeError):
            continue  # not a terminal, closed, or no file at all
    return None


def _audit(name: str) -> str | None:
    try:
        told = Path(f"/proc/self/{name}").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if told in ("", _NOBODY) else told
