"""The latch survives torn writes, full disks and concurrent writers, and reads as halted whenever in doubt."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpctl.errors import StateDamaged, WorldChanged
from perpctl.model.mode import Mode
from perpctl.store.latch import SIZE, Latch, LatchState

HALT = LatchState(Mode.HALTED, "ops1", "quotes run away from mark", 1_000, "human", risk=True)
PAUSE = LatchState(Mode.HALTED, "ops1", "lunch", 1_000, "human", until_ms=5_000)
REDUCE = LatchState(Mode.REDUCE_ONLY, "alerts", "day loss", 1_000, "alert", risk=True)
NORMAL = LatchState(Mode.NORMAL, "ops1", "all well", 2_000, "human")


def latch(folder: Path, now_ms: int = 2_000, **places: object) -> Latch:
    return Latch(folder / "latch", now_ms=lambda: now_ms, **places)  # type: ignore[arg-type]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    for state in (HALT, PAUSE, REDUCE, NORMAL):
        latch(tmp_path).write(state)
        assert latch(tmp_path).read() == state


def test_the_file_keeps_its_length_and_its_inode(tmp_path: Path) -> None:
    held = latch(tmp_path)
    held.write(HALT)
    before = (tmp_path / "latch").stat()
    held.write(NORMAL)
    after = (tmp_path / "latch").stat()
    assert (before.st_ino, before.st_size) == (after.st_ino, after.st_size) == (before.st_ino, SIZE)


def test_a_fresh_profile_is_normal_but_one_with_a_journal_is_halted(tmp_path: Path) -> None:
    assert latch(tmp_path).read().mode is Mode.NORMAL
    (tmp_path / "journal.db").touch()
    state = latch(tmp_path).read()
    assert (state.mode, state.cause) == (Mode.HALTED, "absent")


@pytest.mark.parametrize("damage", [b"", b"x", b"{}" * 2048, b"\0" * SIZE])
def test_an_unreadable_latch_is_halted(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "latch").write_bytes(damage)
    state = latch(tmp_path).read()
    assert (state.mode, state.cause, state.risk) == (Mode.HALTED, "unreadable", True)


@given(at=st.integers(0, SIZE - 1), bit=st.integers(0, 7))
def test_no_flipped_bit_reads_as_another_state(tmp_path_factory: pytest.TempPathFactory, at: int, bit: int) -> None:
    folder = tmp_path_factory.mktemp("latch")
    latch(folder).write(NORMAL)
    raw = bytearray((folder / "latch").read_bytes())
    raw[at] ^= 1 << bit
    (folder / "latch").write_bytes(raw)
    assert latch(folder).read().mode is Mode.HALTED


@given(torn=st.integers(1, SIZE - 1))
def test_a_write_torn_at_any_byte_reads_as_halted_or_as_one_of_both(
    tmp_path_factory: pytest.TempPathFactory, torn: int
) -> None:
    folder = tmp_path_factory.mktemp("latch")
    latch(folder).write(NORMAL)
    old = (folder / "latch").read_bytes()
    latch(folder).write(REDUCE)
    new = (folder / "latch").read_bytes()
    (folder / "latch").write_bytes(new[:torn] + old[torn:])
    assert latch(folder).read() in (NORMAL, REDUCE) or latch(folder).read().mode is Mode.HALTED


def test_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    latch(tmp_path / "elsewhere").write(NORMAL)
    (tmp_path / "latch").symlink_to(tmp_path / "elsewhere" / "latch")
    assert latch(tmp_path).read().mode is Mode.HALTED
    with pytest.raises(StateDamaged):
        latch(tmp_path).write(HALT)


def test_the_trading_disabled_file_halts_by_existing(tmp_path: Path) -> None:
    trigger = tmp_path / "TRADING_DISABLED"
    held = latch(tmp_path, trading_disabled_file=trigger)
    held.write(NORMAL)
    assert held.read().mode is Mode.NORMAL
    trigger.touch()
    assert (held.read().mode, held.read().cause) == (Mode.HALTED, "file")


def test_the_tightest_of_several_latches_counts(tmp_path: Path) -> None:
    held = latch(tmp_path / "a", extra_latches=[tmp_path / "b" / "latch"])
    held.write(REDUCE)
    latch(tmp_path / "b").write(HALT)
    assert held.read() == HALT


def test_an_operational_halt_ends_in_time_and_a_risk_halt_never(tmp_path: Path) -> None:
    latch(tmp_path).write(PAUSE)
    assert latch(tmp_path, now_ms=4_999).read().mode is Mode.HALTED
    assert latch(tmp_path, now_ms=5_000).read().mode is Mode.NORMAL
    with pytest.raises(ValueError, match="never expires"):
        LatchState(Mode.HALTED, "ops1", "loss", 0, "gate", risk=True, until_ms=5_000)


def test_tightening_never_loosens(tmp_path: Path) -> None:
    held = latch(tmp_path)
    assert held.tighten(REDUCE) == REDUCE
    assert held.tighten(HALT) == HALT
    for looser in (REDUCE, NORMAL, PAUSE):
        assert held.tighten(looser) == HALT
    assert held.read() == HALT


def test_a_kill_takes_hold_of_a_halt(tmp_path: Path) -> None:
    held = latch(tmp_path)
    held.tighten(HALT)
    killed = LatchState(Mode.HALTED, "ops1", "kill", 3_000, "kill", risk=True, kill_id="K-1")
    assert held.tighten(killed) == killed
    assert held.tighten(HALT) == killed


def test_resume_undoes_only_the_halt_that_it_saw(tmp_path: Path) -> None:
    held = latch(tmp_path)
    held.write(HALT)
    held.write(NORMAL, seen=HALT)
    held.write(REDUCE)
    with pytest.raises(WorldChanged):
        held.write(NORMAL, seen=HALT)
    assert held.read() == REDUCE


def test_long_and_hostile_words_fit(tmp_path: Path) -> None:
    said = "\x1b[31m\n\0\u2028\ud800" + "\U0001f525" * 5_000
    latch(tmp_path).write(LatchState(Mode.HALTED, said, said, 1, "human", risk=True))
    state = latch(tmp_path).read()
    assert state.mode is Mode.HALTED
    assert state.cause == "human"
    assert state.why.isprintable()


def test_a_group_of_operators_can_latch_where_the_directory_says_so(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2770)
    latch(shared).write(HALT)
    latch(tmp_path / "own").write(HALT)
    assert (shared / "latch").stat().st_mode & 0o777 == 0o660
    assert (tmp_path / "own" / "latch").stat().st_mode & 0o777 == 0o600


def test_a_directory_in_its_place_is_said_to_be_unwritable(tmp_path: Path) -> None:
    (tmp_path / "latch").mkdir()
    with pytest.raises(StateDamaged, match="could not be written"):
        latch(tmp_path).tighten(HALT)
    assert latch(tmp_path).read().mode is Mode.HALTED


def test_a_stopped_writer_with_the_lock_does_not_hold_up_a_reader(tmp_path: Path) -> None:
    latch(tmp_path).write(NORMAL)
    with (tmp_path / "latch").open("r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert latch(tmp_path).read() == NORMAL
        began = time.monotonic()
        with pytest.raises(StateDamaged):
            latch(tmp_path).write(HALT)
        assert time.monotonic() - began < 5


def test_writers_of_several_processes_leave_one_whole_record(tmp_path: Path) -> None:
    program = """if True:
        import sys
        from pathlib import Path
        from perpctl.model.mode import Mode
        from perpctl.store.latch import Latch, LatchState
        for number in range(60):
            mode = Mode.REDUCE_ONLY if number % 2 else Mode.HALTED
            Latch(Path(sys.argv[1])).write(LatchState(mode, sys.argv[2] * number, "x" * number, number, "human"))
    """
    latch(tmp_path).write(REDUCE)
    writers = [subprocess.Popen([sys.executable, "-c", program, tmp_path / "latch", name]) for name in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        seen.add(latch(tmp_path).read().cause)
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen <= {"human", "alert"}, "a reader beside writers never sees a torn record"


def test_readers_in_threads_never_see_a_torn_record(tmp_path: Path) -> None:
    held = latch(tmp_path)
    held.write(NORMAL)
    stop, causes = threading.Event(), set()

    def look() -> None:
        while not stop.is_set():
            causes.add(held.read().cause)

    readers = [threading.Thread(target=look) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(100):
        held.write(REDUCE if number % 2 else NORMAL)
    stop.set()
    for reader in readers:
        reader.join()
    assert causes <= {"human", "alert"}


def test_a_full_disk_does_not_stop_a_latch_that_exists(tmp_path: Path) -> None:
    latch(tmp_path).write(NORMAL)
    program = """if True:
        import resource, signal, sys
        from pathlib import Path
        from perpctl.model.mode import Mode
        from perpctl.store.latch import Latch, LatchState
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        Latch(Path(sys.argv[1])).write(LatchState(Mode.HALTED, "ops1", "full", 1, "human", risk=True))
    """
    assert subprocess.run([sys.executable, "-c", program, tmp_path / "latch"], check=False).returncode == 0
    assert latch(tmp_path).read().why == "full"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root to mount a small file system")
def test_the_space_is_taken_when_the_file_is_made(tmp_path: Path) -> None:
    latch(tmp_path).write(NORMAL)
    assert (tmp_path / "latch").stat().st_blocks * 512 >= SIZE
