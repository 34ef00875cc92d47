"""This file writes the log of a process: to stderr, or to a file while the live view has the screen."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from pathlib import Path
from typing import IO

from msgspec import Struct

from perpctl.clock import Clock

DEBUG_FOR_S = 1800.0  # debugging is chatty, and forgotten: after so long it ends by itself
LARGEST = 16 << 20  # bytes of a log file; one more is kept beside it
_OURS = logging.getLogger("perpctl")
# The second belt: whatever a message holds, nothing shaped like a JWT, a bearer token or a PEM leaves this process.
_SHAPES = re.compile(
    r"eyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?|(?i:bearer)\s+[^\s\"',]+|-----BEGIN[^-]*-----.*?(?:-----END[^-]*-----|\Z)",
    re.DOTALL,
)


class Wish(Struct, frozen=True):
    """How much to write; the two switches turn their own lines on whatever the level."""

    level: str = "INFO"
    api_calls: bool = False
    websocket: bool = False


def listen(wish: Wish, clock: Clock, file: Path | None = None) -> None:
    """Write what this process logs from here on, in place of what was asked for before."""
    for old in tuple(_OURS.handlers):
        _OURS.removeHandler(old)
        old.close()
    handler: logging.Handler = _Stderr() if file is None else _File(file)
    handler.setFormatter(_Words(clock))
    handler.addFilter(_Until(clock))
    _OURS.addHandler(handler)
    _OURS.propagate = False
    _OURS.setLevel(wish.level)
    for name, switched_on in (("api", wish.api_calls), ("websocket", wish.websocket)):
        _OURS.getChild(name).setLevel(logging.DEBUG if switched_on else logging.NOTSET)


class _Stderr(logging.Handler):
    """To what stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a closed pipe ends no bot: the journal has what matters
            sys.stderr.write(f"{self.format(record)}\n")
            sys.stderr.flush()


class _File(logging.Handler):
    """A file that its owner alone may read; when it is full it becomes the one before."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path, self._file = path, self._opened(path)

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # nor does a full disk
            self._file.write(f"{self.format(record)}\n")
            self._file.flush()
            if self._file.tell() > LARGEST:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
                full, self._file = self._file, self._opened(self._path)
                full.close()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._file.close()
        super().close()

    @staticmethod
    def _opened(path: Path) -> IO[str]:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        return os.fdopen(os.open(path, flags, 0o600), "a", encoding="utf-8")


class _Until(logging.Filter):
    """Debugging ends after a while, and says so once."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock, self._ends, self._told = clock, clock.monotonic() + DEBUG_FOR_S, False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno > logging.DEBUG or self._clock.monotonic() < self._ends:
            return True
        if self._told:
            return False
        self._told = True
        record.msg, record.args = f"debugging ended after {DEBUG_FOR_S / 60:.0f} min; a new start begins it anew", ()
        return True


class _Words(logging.Formatter):
    """One line a record: when, how grave, from which part, what."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def format(self, record: logging.LogRecord) -> str:
        at = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        words = _SHAPES.sub("[hidden]", record.getMessage())
        words = "".join(one if one.isprintable() else "?" for one in words)  # a venue's text moves no cursor
        return f"{at} {record.levelname} {record.name.removeprefix('perpctl.')} {words}"
