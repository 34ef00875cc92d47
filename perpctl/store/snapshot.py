"""This file keeps the last settings that validated, for the commands that must not wait for, or need, a valid file.

Standard library only: the emergency program reads it. It holds no secrets, only paths of key files.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from perpctl.errors import StateDamaged

SCHEMA = "perpctl.snapshot/1"
FILE_NAME = "snapshot.json"
# The profiles that need no settings. Each has a directory of its own, so that no venue's play money, orders or latch
# are another's; `--venue` beside the first means one of the others, unless the settings of the first name that venue.
PAPER = "paper"
PAPER_AT = {"global": "paper-global", "us": "paper-us"}
BUILT_IN = {PAPER: "global"} | {name: venue for venue, name in PAPER_AT.items()}
KILL_HOLDS_LEAST_S = {"hold_s": 15.0, "hold_unproven_s": 60.0}  # with live money
KILL_FOREGROUND_S = {"global": 120, "us": 180}  # by venue, unless a profile says otherwise
_LARGEST = 1 << 20


class Snapshot(NamedTuple):
    """Settings of one profile as they last validated; `key` says from which files and variables."""

    key: str
    written_at_ms: int
    settings: Mapping[str, Any]


def read_snapshot(path: Path) -> Snapshot | None:
    """The snapshot; None when there is none. Raises StateDamaged when it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = json.loads(file.read(_LARGEST))
        if raw["schema"] != SCHEMA or not isinstance(raw["settings"], dict):
            raise ValueError("not a settings snapshot")
        return Snapshot(str(raw["key"]), int(raw["written_at_ms"]), raw["settings"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, TypeError) as why:
        raise StateDamaged(f"{path} cannot be read: {why}") from why


def write_snapshot(path: Path, snapshot: Snapshot) -> None:
    """Replace the snapshot, durable and readable by the owner only. Raises StateDamaged."""
    text = json.dumps(
        {
            "schema": SCHEMA,
            "key": snapshot.key,
            "written_at_ms": snapshot.written_at_ms,
            "settings": dict(snapshot.settings),
        },
        indent=1,
    )
    replace_file(path, text)


def replace_file(path: Path, text: str) -> None:
    """Write a file whole or not at all, durable and readable by the owner only. Raises StateDamaged."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        beside.replace(path)
        _sync_directory(path.parent)
    except OSError as why:
        with suppress(OSError):  # what stopped the write may stop this as well
            beside.unlink()
        raise StateDamaged(f"{path} could not be written: {why.strerror}") from why


def read_all(root: Path) -> dict[str, Snapshot]:
    """Every readable snapshot under a state root, by profile name; a damaged one is left out."""
    found = {}
    for path in sorted(root.glob(f"*/{FILE_NAME}")):
        try:
            snapshot = read_snapshot(path)
        except StateDamaged:
            continue
        if snapshot is not None:
            found[path.parent.name] = snapshot
    return found


def snapshot_key(files: Iterable[Path], variables: Mapping[str, str]) -> str:
    """The hash of what settings are made from: the contents of `files` (absent ones count as absent) and variables."""
    digest = hashlib.sha256()
    for path in files:
        try:
            content = path.read_bytes()
            digest.update(f"{path}\0{len(content)}\0".encode() + content)
        except OSError:
            digest.update(f"{path}\0absent\0".encode())
    digest.update(json.dumps(sorted(variables.items())).encode())
    return digest.hexdigest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
