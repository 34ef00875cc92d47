"""A kill's record can be read after any crash, and no disk can hold the kill up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from perpctl.emergency.pending import Record, Story, abandon, read_story, stories, take_closer, unfinished
from perpctl.emergency.watch import _from_file
from perpctl.store.lease import boot_id, process_started


def begin(directory: Path, kill_id: str = "K-1", pid: int | None = None) -> Record:
    record = Record(directory, kill_id, None)
    pid = os.getpid() if pid is None else pid
    record.write("started", kill_id=kill_id, pid=pid, started=process_started(pid), boot=boot_id(), terms={})
    return record


def test_a_kill_is_unfinished_until_its_file_says_so(tmp_path: Path) -> None:
    record = begin(tmp_path)
    assert [story.kill_id for story in unfinished(tmp_path)] == ["K-1"]
    assert unfinished(tmp_path)[0].worker == os.getpid()
    record.write("pending", receipt={"exit": 3})
    assert unfinished(tmp_path)
    record.write("ended", receipt={"exit": 0})
    assert unfinished(tmp_path) == []
    assert stories(tmp_path)[0].receipt == {"exit": 0}


def test_a_line_cut_short_hides_nothing_before_it(tmp_path: Path) -> None:
    begin(tmp_path)
    path = tmp_path / "kills" / "K-1.jsonl"
    with path.open("ab") as file:
        file.write(b'{"event": "ended", "rec')
    story = read_story(path)
    assert not story.is_over
    assert len(story.lines) == 1


def test_a_worker_whose_number_was_used_again_is_nobody(tmp_path: Path) -> None:
    record = Record(tmp_path, "K-1", None)
    record.write("started", kill_id="K-1", pid=os.getpid(), started=1, boot=boot_id(), terms={})
    assert unfinished(tmp_path)[0].worker is None


def test_a_worker_of_another_boot_is_nobody_though_number_and_start_agree(tmp_path: Path) -> None:
    begin(tmp_path)
    path = tmp_path / "kills" / "K-1.jsonl"
    assert unfinished(tmp_path)[0].worker == os.getpid()
    path.write_text(path.read_text().replace(boot_id(), "the boot before"))
    assert unfinished(tmp_path)[0].worker is None


def test_words_in_the_middle_of_a_record_do_not_end_a_kill(tmp_path: Path) -> None:
    record = begin(tmp_path)
    record.write("trouble", text='\n{"event": "ended"')
    assert [story.kill_id for story in unfinished(tmp_path)] == ["K-1"]


def test_a_disk_that_takes_nothing_is_said_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "kills").write_text("in the way")
    reading, writing = os.pipe()
    record = Record(tmp_path, "K-1", writing)
    record.write("beat")
    record.make_durable()
    assert record.trouble is not None
    assert b'"beat"' in os.read(reading, 1_000)
    os.close(reading)
    handler = signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    record.write("beat")
    record.write("beat")
    signal.signal(signal.SIGPIPE, handler)
    os.close(writing)


def test_a_full_disk_is_noticed_at_the_write(tmp_path: Path) -> None:
    record = begin(tmp_path)
    program = """if True:
        import resource, signal, sys
        from pathlib import Path
        from perpctl.emergency.pending import Record
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
        record = Record(Path(sys.argv[1]), "K-1", None)
        record.write("beat")
        sys.exit(0 if record.trouble else 1)
    """
    assert subprocess.run([sys.executable, "-c", program, tmp_path]).returncode == 0
    assert record.trouble is None


def test_there_is_one_closer_at_a_time(tmp_path: Path) -> None:
    first = take_closer(tmp_path)
    assert first is not None
    assert take_closer(tmp_path) is None
    os.close(first)
    second = take_closer(tmp_path)
    assert second is not None
    os.close(second)


def test_giving_up_ends_the_worker_and_says_who_and_why(tmp_path: Path) -> None:
    worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    begin(tmp_path, pid=worker.pid)
    abandon(stories(tmp_path)[0], "ops1", "hedged elsewhere")
    assert worker.wait(timeout=5) == -signal.SIGTERM
    last = stories(tmp_path)[0].lines[-1]
    assert (last["event"], last["who"], last["reason"]) == ("abandoned", "ops1", "hedged elsewhere")
    assert unfinished(tmp_path) == []


def test_what_a_worker_wrote_before_it_went_is_still_read(tmp_path: Path) -> None:
    """It may end between the last look at its file and the question whether it lives."""
    begin(tmp_path)

    class Leaving(Story):
        @property
        def worker(self) -> int | None:
            with self.path.open("a") as file:
                file.write('{"event": "ended", "receipt": {"exit": 0}}\n')
            return None

    path = tmp_path / "kills" / "K-1.jsonl"
    told = [line["event"] for line in _from_file(Leaving("K-1", path, ())) if line is not None]
    assert told == ["started", "ended"]
