"""This file tells the machine's log that a kill began and how it ended, and remembers whom it really reached."""

from __future__ import annotations

import os
import socket
import time
from datetime import UTC, datetime
from pathlib import Path

SYSLOG = Path("/dev/log")
_CRITICAL = 8 * 3 + 2  # facility daemon, severity critical (RFC 3164)
_PATIENCE_S = 0.2


class Told:
    """Whom a kill told, and why nobody else: a name gets in only after the telling succeeded."""

    def __init__(self, log: Path = SYSLOG) -> None:
        self.reached: list[str] = []
        self.missed: list[str] = []
        self._log = log

    def syslog(self, text: str) -> None:
        """One line to the machine's log. Never raises and never waits long."""
        stamp = time.strftime("%b %d %H:%M:%S")
        line = f"<{_CRITICAL}>{stamp} perpctl[{os.getpid()}]: {text}".encode(errors="replace")[:1_024]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.settimeout(_PATIENCE_S)
                connection.connect(str(self._log))
                connection.send(line)
        except OSError as why:
            self.missed.append(f"syslog ({self._log}: {why.strerror or why})")
        else:
            self.reached.append(f"syslog {datetime.now(UTC):%H:%M:%S}")

    def facts(self, *, watched: bool) -> dict[str, list[str]]:
        """As the receipt has it; `watched`: whether the terminal that typed it still listens."""
        reached, missed = list(dict.fromkeys(self.reached)), list(dict.fromkeys(self.missed))
        (reached if watched else missed).append("the terminal that asked" + ("" if watched else " (it has left)"))
        return {"reached": reached, "missed": [*missed, "pager, chat (no channel is set up)"]}
