"""This file tells the machine's log of a kill: the one channel that needs no settings, no network and no library."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from pathlib import Path

DEV_LOG = Path("/dev/log")
_CRITICAL_USER = 1 * 8 + 2  # facility user, severity critical: RFC 3164, section 4.1.1


def tell_syslog(text: str, log: Path = DEV_LOG) -> dict[str, str | None]:
    """Send one line and do not wait: when it was taken, or why it was not. Never raises."""
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    line = f"<{_CRITICAL_USER}>perpctl[{os.getpid()}]: {' '.join(text.split())}"
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.setblocking(False)
            channel.connect(str(log))
            channel.send(line.encode()[:1024])
    except OSError as why:
        return {"channel": "syslog", "at": at, "failed": f"{log}: {why.strerror}"}
    return {"channel": "syslog", "at": at, "failed": None}
