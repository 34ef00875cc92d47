"""This file is the lease: which one process may send what raises risk, and from which epoch.

Standard library only: the emergency program reads it to find the bot. Time is CLOCK_BOOTTIME, which counts sleep, so
a holder that was frozen or suspended sees its lease gone when it wakes.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from perpctl.errors import HeldByAnother, StateDamaged
from perpctl.store.block import BlockFile, OpenBlock, Torn

SCHEMA = "perpctl.lease/1"
LEASE_S = 10.0
RENEW_S = 3.0
_SIZE = 512  # one sector: written whole or not at all
_FOREIGN_LEASE_S = 30.0  # another host's boot clock says nothing here; its wall clock may be off


class Lease(NamedTuple):
    """The record on file. Times in ms: `since_ms` and `renewed_wall_ms` wall, `renewed_boot_ms` on the boot clock."""

    epoch: int
    holder: str
    pid: int
    started: int  # process start in clock ticks after boot, from /proc: a pid that was used again differs
    host: str
    boot_id: str
    uid: int
    since_ms: int
    renewed_boot_ms: int
    renewed_wall_ms: int
    released: bool = False

    @classmethod
    def read(cls, path: Path) -> Lease | None:
        """The lease on file, held or not; None when there never was one. Raises StateDamaged."""
        try:
            record = BlockFile(path, _SIZE).read()
            return None if record is None else _decode(record)
        except (OSError, Torn, ValueError, KeyError, TypeError) as why:
            raise _damaged(path, why) from why

    @classmethod
    def take(cls, path: Path, holder: str, *, after_epoch: int = 0) -> Held:
        """Hold the lease, in an epoch above the last one on file and above `after_epoch` (the journal's last).

        Raises HeldByAnother naming pid, host and since; StateDamaged when the file is damaged or not writable.
        """
        try:
            with BlockFile(path, _SIZE).locked() as block:
                found = _read_locked(block)
                if found is not None and found.is_held:
                    raise _held(found)
                lease = _mine(max(found.epoch if found else 0, after_epoch) + 1, holder)
                block.write(_encode(lease))
                return Held(path, lease)
        except (OSError, Torn, ValueError, KeyError, TypeError) as why:
            raise _damaged(path, why) from why

    @classmethod
    def refuse_if_held(cls, path: Path) -> None:
        """Before anything is opened that `take` needs: raises HeldByAnother and StateDamaged as it does."""
        found = cls.read(path)
        if found is not None and found.is_held:
            raise _held(found)

    @property
    def is_held(self) -> bool:
        """Whether somebody may still be sending under it."""
        return not self.released and not self.has_lapsed and self.holder_lives is not False

    @property
    def has_lapsed(self) -> bool:
        """Whether it was not renewed in time."""
        if self.boot_id == boot_id():
            return _boot_ms() - self.renewed_boot_ms > LEASE_S * 1000
        if self.host == _host():
            return True  # the machine has been started anew since
        return _wall_ms() - self.renewed_wall_ms > _FOREIGN_LEASE_S * 1000

    @property
    def holder_lives(self) -> bool | None:
        """Whether the very process that took it still runs; None: on another host, cannot be seen from here."""
        if self.host != _host():
            return None
        return self.boot_id == boot_id() and self.started == process_started(self.pid)


class Held:
    """A lease in the hand of this process."""

    def __init__(self, path: Path, lease: Lease) -> None:
        self._block = BlockFile(path, _SIZE)
        self.path = path
        self.lease = lease

    @property
    def epoch(self) -> int:
        return self.lease.epoch

    def valid(self) -> bool:
        """Whether the file, read now, still says that this process holds it in time. Ask right before each send."""
        return self.left_ms() > 0

    def left_ms(self) -> int:
        """Milliseconds for which it still holds; 0 when lost."""
        try:
            record = self._block.read()
            found = None if record is None else _decode(record)
            if found is None or not self._is_mine(found):
                return 0
            return max(0, found.renewed_boot_ms + int(LEASE_S * 1000) - _boot_ms())
        except (OSError, Torn, ValueError, KeyError, TypeError):
            return 0

    def renew(self) -> bool:
        """Hold it for another term. False when lost: a lapsed lease must be taken anew, in a new epoch."""
        try:
            with self._block.locked() as block:
                found = _read_locked(block)
                if found is None or not self._is_mine(found) or found.has_lapsed or found.released:
                    return False
                block.write(
                    _encode(found._replace(renewed_boot_ms=_boot_ms(), renewed_wall_ms=_wall_ms())), durable=False
                )
                return True
        except (OSError, Torn, ValueError, KeyError, TypeError):
            return False

    def release(self) -> None:
        """Give it back; the epoch stays on file. Nothing happens when it is no longer ours. Raises StateDamaged."""
        try:
            with self._block.locked() as block:
                found = _read_locked(block)
                if found is not None and self._is_mine(found):
                    block.write(_encode(found._replace(released=True)))
        except (OSError, Torn, ValueError, KeyError, TypeError) as why:
            raise _damaged(self.path, why) from why

    def _is_mine(self, found: Lease) -> bool:
        mine = self.lease
        return (found.epoch, found.pid, found.started, found.boot_id, found.released) == (
            mine.epoch,
            mine.pid,
            mine.started,
            mine.boot_id,
            False,
        )


def process_started(pid: int) -> int | None:
    """Start of a running process in clock ticks after boot; None when there is none, or a corpse not yet collected."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def _mine(epoch: int, holder: str) -> Lease:
    pid = os.getpid()
    started = process_started(pid)
    if started is None:
        raise OSError("this process cannot find itself in /proc")
    return Lease(epoch, holder[:80], pid, started, _host(), boot_id(), os.getuid(), _wall_ms(), _boot_ms(), _wall_ms())


def _read_locked(block: OpenBlock) -> Lease | None:
    record = block.read()
    return None if record is None else _decode(record)


def _encode(lease: Lease) -> dict[str, Any]:
    return {"schema": SCHEMA, **lease._asdict()}


def _decode(record: dict[str, Any]) -> Lease:
    if record.pop("schema") != SCHEMA:
        raise ValueError("not a lease record")
    lease = Lease(**record)
    if not all(isinstance(number, int) for number in (lease.epoch, lease.pid, lease.renewed_boot_ms, lease.started)):
        raise ValueError("not a lease record")
    return lease


def _held(found: Lease) -> HeldByAnother:
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(found.since_ms / 1000))
    return HeldByAnother(
        f"the lease is held by {found.holder}, pid {found.pid} on {found.host}, since {since} (epoch {found.epoch})",
        not_done="Nothing was started and nothing was sent.",
    )


def _damaged(path: Path, why: BaseException) -> StateDamaged:
    reason = getattr(why, "strerror", None) or str(why)
    return StateDamaged(f"the lease {path} cannot be read or written: {reason}", not_done="The lease was not taken.")


def _boot_ms() -> int:
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # macOS has none
    return time.clock_gettime_ns(clock) // 1_000_000


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _host() -> str:
    return os.uname().nodename


def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except FileNotFoundError:
        return ""
