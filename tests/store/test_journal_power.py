"""The journal against lost power and a disk that fails: what was acknowledged is in every image that could be left."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import apsw
import pytest

from perpctl.clock import ManualClock
from perpctl.errors import StateDamaged
from perpctl.store.intents import Intents
from perpctl.store.journal import Journal, anchor_path
from perpctl.store.projections import Projections, rebuild
from perpctl.store.records import Kind
from tests.store.stock import ALLOWED, GROUNDS, START, WRITER, fill, opened, order, request

Write = tuple[int, bytes] | int  # offset and content, or a new length


@dataclass
class Disk:
    """What the platters hold of each file, and what was written since its last sync."""

    on_write: Callable[[], None] = lambda: None
    on_sync: Callable[[], None] = lambda: None
    synced: dict[str, bytes] = field(default_factory=dict)
    pending: dict[str, list[Write]] = field(default_factory=dict)

    def image(self, chance: random.Random) -> dict[str, bytes]:
        """One thing that a power loss could leave: of what was not synced some is there, some lost, some torn."""
        return {name: self._survivor(name, chance) for name in self.synced}

    def _survivor(self, name: str, chance: random.Random) -> bytes:
        content = bytearray(self.synced[name])
        for write in self.pending[name]:
            fate = chance.random()
            if fate < 0.4:
                continue
            if isinstance(write, int):
                del content[write:]
                continue
            offset, data = write
            if fate < 0.6:
                data = data[: chance.randrange(len(data) + 1)]
            _put(content, offset, data)
        return bytes(content)


def _put(content: bytearray, offset: int, data: bytes) -> None:
    if len(content) < offset:
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


class RecordingFile(apsw.VFSFile):
    def __init__(self, disk: Disk, name: Any, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk, self._name = disk, Path(name.filename() if hasattr(name, "filename") else name).name
        if self._name not in disk.synced:
            disk.synced[self._name] = self.xRead(self.xFileSize(), 0) if self.xFileSize() else b""
            disk.pending[self._name] = []

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._disk.pending[self._name].append((offset, bytes(data)))
        self._disk.on_write()

    def xTruncate(self, size: int) -> None:
        super().xTruncate(size)
        self._disk.pending[self._name].append(size)

    def xSync(self, flags: int) -> None:
        self._disk.on_sync()
        super().xSync(flags)
        content = bytearray(self._disk.synced[self._name])
        for write in self._disk.pending[self._name]:
            if isinstance(write, int):
                del content[write:]
            else:
                _put(content, *write)
        self._disk.synced[self._name], self._disk.pending[self._name] = bytes(content), []


class RecordingVFS(apsw.VFS):
    def __init__(self, disk: Disk) -> None:
        super().__init__("recording", "unix", makedefault=True)
        self._disk = disk

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:
        return RecordingFile(self._disk, name, flags)


@contextmanager
def recorded(disk: Disk) -> Iterator[None]:
    vfs = RecordingVFS(disk)
    try:
        yield
    finally:
        apsw.set_default_vfs("unix")
        vfs.unregister()


def images_of_a_trading_hour(directory: Path, *, durable: bool) -> list[tuple[dict[str, bytes], bytes, list[str]]]:
    """Images taken at random writes: the files, the anchor as last written, and what was acknowledged by then."""
    chance, acknowledged, images = random.Random(11), list[str](), []
    opened(directory).close()
    anchor = anchor_path(directory / "journal.db")

    def perhaps() -> None:
        if chance.random() < 0.12:
            held = anchor.read_bytes() if anchor.exists() else b""
            images.append((disk.image(chance), held, list(acknowledged)))

    disk = Disk(on_write=perhaps)
    with recorded(disk), Journal.open(directory / "journal.db", WRITER, ManualClock(START), durable=durable) as journal:
        journal.connection.pragma("wal_autocheckpoint", 20)
        intents = Intents(Projections(journal))
        for n in range(40):
            intents.intend(request(f"o{n}"), ALLOWED, GROUNDS)
            acknowledged.append(f"o{n}")
            intents.confirmed(f"o{n}", order(f"v{n}", f"o{n}"), [fill(f"t{n}", f"v{n}", f"o{n}")])
            acknowledged.append(f"t{n}")
            perhaps()
    return images


def lost(directory: Path, files: dict[str, bytes], anchor: bytes, acknowledged: list[str]) -> list[str]:
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    anchor_path(directory / "journal.db").write_bytes(anchor)
    with opened(directory) as journal:
        assert journal.verify().is_whole
        projections = Projections(journal)
        assert projections.differences(rebuild(journal)) == ()
        known = {one.trade_id for one in projections.fills()} | {one.key for one in projections.orders()}
    return [one for one in acknowledged if one not in known]


def test_a_power_loss_at_any_write_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    images = images_of_a_trading_hour(tmp_path, durable=True)
    assert len(images) > 60
    for n, (files, anchor, acknowledged) in enumerate(images):
        assert lost(tmp_path / f"image{n}", files, anchor, acknowledged) == []


def test_the_images_show_what_is_lost_without_syncs(tmp_path: Path) -> None:
    failures = 0
    for n, (files, _, acknowledged) in enumerate(images_of_a_trading_hour(tmp_path, durable=False)):
        try:
            failures += bool(lost(tmp_path / f"image{n}", files, b"", acknowledged))
        except (StateDamaged, AssertionError, ValueError):
            failures += 1
    assert failures > 50


def test_after_a_failed_sync_nothing_more_is_written_until_it_is_opened_again(tmp_path: Path) -> None:
    opened(tmp_path).close()
    failing: list[bool] = []

    def fail_once() -> None:
        if failing:
            failing.clear()
            raise apsw.IOError("sync failed")

    with recorded(Disk(on_sync=fail_once)):
        journal = opened(tmp_path)
        journal.append(Kind.OPERATOR_NOTED, {"text": "acknowledged"})
        failing.append(True)
        with pytest.raises(StateDamaged):
            journal.append(Kind.OPERATOR_NOTED, {"text": "failed"})
        with pytest.raises(StateDamaged):
            journal.append(Kind.OPERATOR_NOTED, {"text": "the disk works again, and who knows what is on it"})
        journal.close()
    with opened(tmp_path) as journal:
        assert journal.verify().is_whole
        assert next(journal.records()).body["text"] == "acknowledged"
        assert journal.head().seq <= 2
        journal.append(Kind.OPERATOR_NOTED, {"text": "after"})
