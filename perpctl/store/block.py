"""This file keeps one small record in a file of fixed length: in place, checksummed, durable, never renamed.

Standard library only: the emergency program imports it. A full disk cannot stop a write, because the space is
allocated when the file is made; a torn write cannot be taken for a record, because the checksum will not match.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_DIGEST = 66  # newline, 64 hexadecimal digits, newline
_LOCK_WAIT_S = 0.5
_LOCK_POLL_S = 0.005

_sync_data = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class Torn(Exception):
    """The bytes are not a record: wrong length, wrong checksum or not what was written."""


class BlockFile:
    """One JSON object in `size` bytes. Opened by path at each use, so a replaced file is noticed."""

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size

    def read(self) -> dict[str, Any] | None:
        """The record; None when there is no file. Raises OSError, or Torn.

        Readers take no lock unless the bytes do not check, which may only mean that a writer is at work.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            try:
                return self._load(descriptor)
            except Torn:
                _lock(descriptor, fcntl.LOCK_SH)
                return self._load(descriptor)
        finally:
            os.close(descriptor)

    @contextmanager
    def locked(self) -> Iterator[OpenBlock]:
        """The file opened for writing, made and pre-allocated when absent, under an exclusive lock.

        Raises OSError when it cannot be made, opened or locked within half a second.
        """
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, made = self._open_for_writing()
        try:
            _lock(descriptor, fcntl.LOCK_EX)
            if made or os.fstat(descriptor).st_size != self.size:
                self._allocate(descriptor)
            yield OpenBlock(self, descriptor)
        finally:
            os.close(descriptor)

    def _open_for_writing(self) -> tuple[int, bool]:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            return os.open(self.path, flags), False
        except FileNotFoundError:
            # A setgid directory belongs to an operator group: its members must all be able to latch.
            mode = 0o660 if os.stat(self.path.parent).st_mode & stat.S_ISGID else 0o600
            try:
                descriptor = os.open(self.path, flags | os.O_CREAT | os.O_EXCL, mode)
            except FileExistsError:
                return os.open(self.path, flags), False
            os.fchmod(descriptor, mode)  # whatever the umask says
            return descriptor, True

    def _allocate(self, descriptor: int) -> None:
        """Take the space now, and make the name durable."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, self.size)
        directory = os.open(self.path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def _load(self, descriptor: int) -> dict[str, Any]:
        raw = os.pread(descriptor, self.size + 1, 0)
        body = raw[:-_DIGEST]
        if len(raw) != self.size or raw[-_DIGEST:] != _digest(body):
            raise Torn(f"{self.path}: {len(raw)} bytes that do not check")
        record = json.loads(body)
        if not isinstance(record, dict):
            raise Torn(f"{self.path}: not an object")
        return record


class OpenBlock:
    """A block file while its lock is held."""

    def __init__(self, block: BlockFile, descriptor: int) -> None:
        self._block = block
        self._descriptor = descriptor

    def read(self) -> dict[str, Any] | None:
        """The record under the lock; None when nothing was ever written. Raises Torn."""
        if not os.pread(self._descriptor, self._block.size, 0).strip(b"\0"):
            return None
        return self._block._load(self._descriptor)

    def write(self, record: Mapping[str, Any], *, durable: bool = True) -> None:
        """Replace the record in place; `durable` returns only when the disk has it.

        Raises OSError, after which nobody may assume either record; ValueError when it does not fit.
        """
        body = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        room = self._block.size - _DIGEST
        if len(body) > room:
            raise ValueError(f"{self._block.path}: a record of {len(body)} bytes does not fit {room}")
        body = body.ljust(room)
        raw = body + _digest(body)
        if os.pwrite(self._descriptor, raw, 0) != self._block.size:
            raise OSError(f"{self._block.path}: short write")
        if durable:
            _sync_data(self._descriptor)


def _digest(body: bytes) -> bytes:
    return b"\n" + hashlib.sha256(body).hexdigest().encode() + b"\n"


def _lock(descriptor: int, kind: int) -> None:
    """Bounded: a process stopped with the lock in hand must not stop anybody else for ever."""
    end = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= end:
                raise
            time.sleep(_LOCK_POLL_S)
