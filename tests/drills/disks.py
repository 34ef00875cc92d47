"""This file breaks a disk for a test: a directory that is read-only, also for root, or that has no room left."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


@contextlib.contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Nothing in it can be written meanwhile. Root passes by permissions, so for root it is a mount of its own."""
    if os.getuid() != 0:
        mode = directory.stat().st_mode
        directory.chmod(0o500)
        yield
        directory.chmod(mode)
        return
    with mounted("--bind", str(directory), str(directory)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(directory)], check=True)
        yield


@contextlib.contextmanager
def small(directory: Path, kilobytes: int) -> Iterator[None]:
    """A file system of its own with that much room."""
    with mounted("-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(directory)):
        yield


@contextlib.contextmanager
def mounted(*words: str) -> Iterator[None]:
    """`mount` with these words, the last the place; the test is skipped where this system does not allow it."""
    try:
        done = subprocess.run(["mount", *words], capture_output=True, text=True)
        refused = done.stderr.strip() if done.returncode else ""
    except FileNotFoundError:
        refused = "no mount command"
    if refused:
        pytest.skip(f"no mount here: {refused}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", words[-1]], check=True)
