"""This file tells which code runs: one hash over all of it, so that two hosts with one version number can differ."""

from __future__ import annotations

import hashlib
import os
from functools import cache
from pathlib import Path

_KINDS = (".py", ".sql")  # what decides what the program does; compiled files and notes beside it do not


@cache
def build_hash() -> str:
    """Of the installed package as it lies on the disk now, by name and content. Raises OSError."""
    return hash_of_code(Path(__file__).parents[1])


def hash_of_code(package: Path) -> str:
    """Over every source file under `package`, folder by folder, in the order of their names."""
    digest, within = hashlib.sha256(), len(f"{package}/")
    for folder, folders, files in os.walk(package):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(name for name in files if name.endswith(_KINDS)):
            path = f"{folder}/{name}"  # a Path for each of 400 files is half of the time, and each command waits for it
            with open(path, "rb", buffering=0) as file:
                content = file.read()
            digest.update(f"{path[within:]} {len(content)}\n".encode())
            digest.update(content)
    return digest.hexdigest()[:16]
