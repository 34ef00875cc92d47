"""This file opens feed files, packed or not, and words what is wrong with them."""

import gzip
from pathlib import Path
from typing import IO

from perpctl.errors import FeedFileError


def opened(path: Path) -> IO[str]:
    """The file as text, unpacked when it is a gzip. Raises OSError."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8")


def broken(path: Path, line: int, what: str) -> FeedFileError:
    """What is wrong with a line of a feed file."""
    return FeedFileError(f"feed file {path}, line {line} {what}", not_done="nothing was replayed")
