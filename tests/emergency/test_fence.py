"""A bot is fenced when it says so, or is provably gone; in all other cases that is said."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perpctl.emergency.fence import fence_bot, stop_unit
from perpctl.store import lease as leases
from perpctl.store.block import BlockFile
from perpctl.store.lease import Lease


@contextmanager
def bot_answering(directory: Path, answer: bytes, delay_s: float = 0) -> Iterator[list[bytes]]:
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "control.sock"))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65_536))
                time.sleep(delay_s)
                try:
                    connection.sendall(answer)
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield heard
        thread.join(timeout=5)


@contextmanager
def holder(directory: Path) -> Iterator[subprocess.Popen[bytes]]:
    program = "import sys, time; from pathlib import Path; from perpctl.store.lease import Lease\n"
    program += "Lease.take(Path(sys.argv[1]), 'quoter-1'); print('held', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", program, directory / "lease"], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def rewrite(directory: Path, **changes: object) -> None:
    found = Lease.read(directory / "lease")
    assert found is not None
    with BlockFile(directory / "lease", leases._SIZE).locked() as block:
        block.write(leases._encode(found._replace(**changes)))  # type: ignore[arg-type]


def test_no_lease_means_no_bot(tmp_path: Path) -> None:
    assert fence_bot(tmp_path, "K-1", "test").proven


def test_a_bot_that_acknowledges_is_fenced_and_told_why(tmp_path: Path) -> None:
    with holder(tmp_path) as bot:
        answer = json.dumps({"ok": True, "pid": bot.pid, "fenced": True}).encode() + b"\n"
        with bot_answering(tmp_path, answer) as heard:
            fence = fence_bot(tmp_path, "K-1", "quotes run away")
        assert fence.proven
        assert json.loads(heard[0]) == {"do": "fence", "kill_id": "K-1", "reason": "quotes run away"}
        assert bot.poll() is None


def test_a_bot_that_does_not_answer_in_time_is_killed(tmp_path: Path) -> None:
    with holder(tmp_path) as bot:
        began = time.monotonic()
        with bot_answering(tmp_path, b'{"ok": true}\n', delay_s=1):
            fence = fence_bot(tmp_path, "K-1", "")
            assert time.monotonic() - began < 0.9
        assert fence.proven
        assert bot.wait(timeout=5) == -9


def test_what_another_process_says_does_not_fence_the_holder(tmp_path: Path) -> None:
    with holder(tmp_path) as bot:
        answer = json.dumps({"ok": True, "pid": os.getpid(), "fenced": True}).encode() + b"\n"
        with bot_answering(tmp_path, answer):
            assert fence_bot(tmp_path, "K-1", "").proven
        assert bot.wait(timeout=5) == -9


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path: Path) -> None:
    with holder(tmp_path) as bot:
        rewrite(tmp_path, started=1)
        assert fence_bot(tmp_path, "K-1", "").proven
        assert bot.poll() is None


def test_a_bot_on_another_host_is_not_proven(tmp_path: Path) -> None:
    with holder(tmp_path):
        rewrite(tmp_path, host="bot-2", boot_id="another")
        fence = fence_bot(tmp_path, "K-1", "")
    assert not fence.proven
    assert "bot-2" in fence.evidence


def test_a_damaged_lease_is_not_proven(tmp_path: Path) -> None:
    (tmp_path / "lease").write_text("?")
    assert not fence_bot(tmp_path, "K-1", "").proven


def test_a_service_that_cannot_be_stopped_is_said(tmp_path: Path) -> None:
    assert stop_unit(None)[0] == "none"
    assert stop_unit("no-such-unit.service")[0] != "done" or "inactive" in stop_unit("no-such-unit.service")[1]
