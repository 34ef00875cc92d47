"""The lease has one holder; a second taker hears who, and a frozen holder finds it lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from perpctl.errors import HeldByAnother, StateDamaged
from perpctl.store import lease as room
from perpctl.store.block import BlockFile
from perpctl.store.lease import LEASE_S, Lease, process_started

HOLD = """if True:
    import sys, time
    from pathlib import Path
    from perpctl.store.lease import Lease
    held = Lease.take(Path(sys.argv[1]), "quoter-1")
    print(held.epoch, flush=True)
    for line in sys.stdin:
        print(held.renew() if line == "renew\\n" else held.valid(), flush=True)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path / "lease"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "1\n"
    yield process
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def ask(holder: subprocess.Popen[str], word: str) -> str:
    assert holder.stdin is not None
    assert holder.stdout is not None
    holder.stdin.write(f"{word}\n")
    holder.stdin.flush()
    return holder.stdout.readline().strip()


def age(path: Path, seconds: float, **changes: object) -> None:
    """Make the record as old as if it had not been renewed for so long."""
    found = Lease.read(path)
    assert found is not None
    older = found._replace(renewed_boot_ms=found.renewed_boot_ms - int(seconds * 1000), **changes)  # type: ignore[arg-type]
    with BlockFile(path, room._SIZE).locked() as block:
        block.write(room._encode(older))


def test_the_epoch_rises_with_each_take(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        held = Lease.take(tmp_path / "lease", "trend-2")
        assert held.valid()
        epochs.append(held.epoch)
        held.release()
        assert not held.valid()
    assert epochs == [1, 2, 3]


def test_the_epoch_rises_above_the_journals(tmp_path: Path) -> None:
    assert Lease.take(tmp_path / "lease", "trend-2", after_epoch=41).epoch == 42


def test_a_second_taker_hears_who_holds_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(HeldByAnother, match=rf"quoter-1, pid {holder.pid} on {os.uname().nodename}, since 20"):
        Lease.take(tmp_path / "lease", "quoter-2")


def test_a_dead_holder_is_replaced_at_once(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert Lease.take(tmp_path / "lease", "quoter-2").epoch == 2


def test_a_corpse_that_nobody_collected_is_dead(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert process_started(holder.pid) is None
    assert Lease.take(tmp_path / "lease", "quoter-2").epoch == 2


def test_a_holder_frozen_past_its_term_sees_the_lease_lost_when_thawed(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    assert ask(holder, "valid") == "True"
    os.kill(holder.pid, signal.SIGSTOP)
    age(tmp_path / "lease", LEASE_S + 1)
    second = Lease.take(tmp_path / "lease", "quoter-2")
    os.kill(holder.pid, signal.SIGCONT)
    assert ask(holder, "valid") == "False"
    assert ask(holder, "renew") == "False"
    assert second.valid()


def test_a_lapsed_lease_cannot_be_renewed_even_if_nobody_took_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    age(tmp_path / "lease", LEASE_S + 1)
    assert ask(holder, "renew") == "False"
    assert ask(holder, "valid") == "False"


def test_renewing_extends_the_term(tmp_path: Path) -> None:
    held = Lease.take(tmp_path / "lease", "trend-2")
    age(tmp_path / "lease", LEASE_S - 1)
    assert 0 < held.left_ms() <= 1_000
    assert held.renew()
    assert held.left_ms() > 9_000


def test_the_same_pid_started_at_another_time_is_another_process(tmp_path: Path) -> None:
    held = Lease.take(tmp_path / "lease", "trend-2")
    age(tmp_path / "lease", 0, started=held.lease.started - 1)
    assert not held.valid()
    found = Lease.read(tmp_path / "lease")
    assert found is not None
    assert found.holder_lives is False
    assert not found.is_held


def test_another_host_cannot_be_seen_to_be_dead(tmp_path: Path) -> None:
    Lease.take(tmp_path / "lease", "trend-2")
    age(tmp_path / "lease", 0, host="bot-2", boot_id="another")
    found = Lease.read(tmp_path / "lease")
    assert found is not None
    assert found.holder_lives is None
    with pytest.raises(HeldByAnother, match="on bot-2"):
        Lease.take(tmp_path / "lease", "quoter-2")
    age(tmp_path / "lease", 0, renewed_wall_ms=found.renewed_wall_ms - 31_000)
    assert Lease.take(tmp_path / "lease", "quoter-2").epoch == 2


def test_a_reboot_ends_every_lease_of_this_host(tmp_path: Path) -> None:
    Lease.take(tmp_path / "lease", "trend-2")
    age(tmp_path / "lease", 0, boot_id="the boot before")
    assert Lease.take(tmp_path / "lease", "trend-2").epoch == 2


def test_a_damaged_lease_is_refused_and_invalid(tmp_path: Path) -> None:
    held = Lease.take(tmp_path / "lease", "trend-2")
    (tmp_path / "lease").write_text(json.dumps({"epoch": 1}))
    assert not held.valid()
    with pytest.raises(StateDamaged):
        Lease.take(tmp_path / "lease", "quoter-2")


def test_of_many_takers_at_once_one_succeeds(tmp_path: Path) -> None:
    program = "import sys, time\nfrom pathlib import Path\nfrom perpctl.store.lease import Lease\n"
    program += "Lease.take(Path(sys.argv[1]), 'x'); print('mine', flush=True); sys.stdin.read()"
    takers = [
        subprocess.Popen(
            [sys.executable, "-c", program, tmp_path / "lease"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        won = [taker.stdout.readline() == "mine\n" for taker in takers if taker.stdout]
        assert sum(won) == 1
    finally:
        for taker in takers:
            taker.communicate()
