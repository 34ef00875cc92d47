"""The journal: what it keeps, what it refuses, and how it notices that it is no longer what it was."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import apsw
import pytest
from msgspec.structs import replace

from perpctl.clock import ManualClock
from perpctl.errors import ExitCode, StateDamaged, TimedOut, UsageError
from perpctl.hiding import SECRETS, SIGNS
from perpctl.model.passage import ClockReading
from perpctl.store.journal import Journal, anchor_path
from perpctl.store.records import Correlation, Kind, SecretRefused, link
from tests.store.stock import START, WRITER, opened

NOTED = Kind.OPERATOR_NOTED


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with opened(tmp_path) as journal:
        yield journal


def texts(journal: Journal) -> list[str]:
    return [record.body["text"] for record in journal.records()]


def note(journal: Journal, *words: object) -> None:
    for word in words:
        journal.append(NOTED, {"text": word})


def test_a_record_comes_back_as_it_was_appended(journal: Journal) -> None:
    written = journal.append(NOTED, {"text": "naïve", "size": Decimal("1E-7")}, Correlation(plan_id="8c21"), 1234)
    (read,) = journal.records()
    assert read == written
    assert read.body == {"text": "naïve", "size": "0.0000001"}
    assert (read.seq, read.kind, read.at, read.at_market_ms) == (1, NOTED, START, 1234)
    assert read.correlation == Correlation(plan_id="8c21")
    assert read.writer["who"] == "trend-2"


def test_canonical_bytes_are_sorted_without_spaces_and_hashed_as_stored(journal: Journal) -> None:
    record = journal.append(NOTED, {"b": 1, "a": [True, None]})
    again = json.dumps(json.loads(record.canonical), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again.encode() == record.canonical
    assert record.hash == link(record.prev_hash, record.canonical)


def test_canonical_bytes_are_what_any_json_library_would_write_for_every_character(journal: Journal) -> None:
    every = "".join(chr(code) for code in range(0x11000) if not 0xD800 <= code < 0xE000) + "\U0010ffff"
    names = ("a\U0001f600", "a\uffff", "a", "A", "é", "")
    record = journal.append(NOTED, {"text": every, **dict.fromkeys(names, 2**70)})
    again = json.dumps(json.loads(record.canonical), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert again.encode() == record.canonical
    (read,) = journal.records()
    assert read == record


def test_a_measured_clock_stands_on_each_record(journal: Journal) -> None:
    journal.clock_reading = ClockReading(120, 900, "http date", START)
    record = journal.append(NOTED, {})
    head = json.loads(record.canonical)
    assert head["clock"]["offset_us"] == 120
    assert "clock" not in head["absent_reason"]


def test_a_writer_that_learns_its_account_says_so_from_then_on(journal: Journal) -> None:
    note(journal, "before")
    journal.writer = replace(WRITER, account_id="104821", epoch=3)
    note(journal, "after")
    assert [record.writer["account_id"] for record in journal.records()] == [None, "104821"]
    assert "writer.account_id" not in json.loads(list(journal.records())[1].canonical)["absent_reason"]


def test_each_null_is_explained(journal: Journal) -> None:
    record = journal.append(NOTED, {"text": None, "deep": [{"er": None}]})
    reasons = json.loads(record.canonical)["absent_reason"]
    assert {"at_market_ms", "clock", "writer.account_id", "body.text", "body.deep.er"} <= set(reasons)
    assert all(reasons.values())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ({"price": 0.1}, "float"),
        ({"at": START.replace(tzinfo=None)}, "without a zone"),
        ({"x": Decimal("NaN")}, "not a finite number"),
        ({1: "x"}, "not a member name"),
    ],
)
def test_floats_naive_times_and_nan_are_refused(journal: Journal, body: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        journal.append(NOTED, body)
    assert journal.head().seq == 0


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIFakeFakeFake\n-----END EC PRIVATE KEY-----",
        "-----BEGIN PRIVATE KEY-----",
        "token eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvcmdhbml6YXRpb25zIn0.c2lnbmF0dXJlc2lnbmF0dXJl here",
        "A" * 86 + "==",
        "Authorization: Bearer abcdefghijklmnopqrstuvwxyz",
    ],
)
def test_what_looks_like_a_secret_is_refused_and_not_repeated(journal: Journal, secret: str) -> None:
    with pytest.raises(SecretRefused) as refusal:
        journal.append(NOTED, {"deep": [{"text": secret}]})
    assert secret[:20] not in str(refusal.value)
    assert journal.head().seq == 0


@pytest.mark.parametrize(
    "name",
    [
        "privateKey",
        "private_key",
        "api_secret",
        "apiSecret",
        "access_token",
        "accessToken",
        "refresh_token",
        "password",
    ],
)
def test_members_named_like_secrets_are_refused(journal: Journal, name: str) -> None:
    with pytest.raises(SecretRefused):
        journal.append(NOTED, {name: "s3cr3t"})


def test_each_pattern_of_a_secret_has_a_sign_that_is_looked_for_first() -> None:
    for secret in (
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJvcmdhbml6YXRpb25zIn0.c2lnbmF0dXJl",
        *("MHcCAQEE", "MHQCAQEE", "MIGHAgEA", "MC4CAQAwBQYDK2Vw", "B" * 86 + "=="),
        *(f'"{name}":"x' for name in ("privatekey", "private_key", "apisecret", "api_secret", "clientSecret")),
        *(f'"{name}":"x' for name in ("accesstoken", "access_token", "refreshtoken", "refresh_token")),
        *('"password":"x', '"passphrase":"x', "Bearer abcdefghijklmnop"),
    ):
        assert SECRETS.search(secret)
        assert any(sign in secret.lower() for sign in SIGNS)


def test_hashes_key_ids_and_identities_are_no_secrets(journal: Journal) -> None:
    journal.append(NOTED, {"hash": "a" * 64, "key_id": "organizations/1/apiKeys/2", "token_age_s": 3})
    assert journal.head().seq == 1


def test_rows_can_be_neither_changed_nor_removed_nor_replaced(journal: Journal) -> None:
    note(journal, "one", "two")
    for attack in (
        "UPDATE journal SET canonical = '{}' WHERE seq = 1",
        "DELETE FROM journal WHERE seq = 2",
        "INSERT OR REPLACE INTO journal (seq, canonical, prev_hash, hash) VALUES (1, '{}', x'00', x'00')",
        "INSERT INTO journal (seq, canonical, prev_hash, hash) VALUES (9, '{}', x'00', x'00')",
    ):
        with pytest.raises(apsw.ConstraintError, match="append-only"):
            journal.connection.execute(attack)
    assert texts(journal) == ["one", "two"]


def test_an_edit_past_the_triggers_is_found_at_its_line(journal: Journal) -> None:
    note(journal, *"abcde")
    journal.connection.execute("DROP TRIGGER journal_is_never_updated")
    journal.connection.execute("UPDATE journal SET canonical = replace(canonical, '\"c\"', '\"C\"') WHERE seq = 3")
    verdict = journal.verify()
    assert (verdict.is_whole, verdict.broken_at) == (False, 3)


def test_a_removed_line_and_a_removed_tail_are_found(journal: Journal) -> None:
    note(journal, *"abcde")
    journal.connection.execute("DROP TRIGGER journal_is_never_deleted")
    journal.connection.execute("DELETE FROM journal WHERE seq = 5")
    assert journal.verify().broken_at == 5
    journal.connection.execute("DELETE FROM journal WHERE seq = 2")
    assert journal.verify().broken_at == 2


def test_a_changed_founding_row_breaks_the_chain_at_its_first_line(journal: Journal, tmp_path: Path) -> None:
    note(journal, "one")
    journal.connection.execute("UPDATE chain SET created_at = '2020-01-01'")
    with opened(tmp_path) as again:
        assert again.verify().broken_at == 1


def test_records_are_found_by_kind_time_and_correlation(tmp_path: Path) -> None:
    clock = ManualClock(START)
    with Journal.open(tmp_path / "journal.db", WRITER, clock) as journal:
        for n in range(6):
            kind = NOTED if n % 2 else Kind.RUN_STARTED
            journal.append(kind, {"n": n}, Correlation(intent_id=f"i{n % 3}", kill_id="K1" if n == 4 else None))
            clock.advance(1)

        def found(**by: object) -> list[int]:
            return [record.body["n"] for record in journal.records(**by)]  # type: ignore[arg-type]

        assert found(kinds={NOTED}) == [1, 3, 5]
        assert found(since=START + timedelta(seconds=2), until=START + timedelta(seconds=4)) == [2, 3]
        assert found(correlation=Correlation(intent_id="i1")) == [1, 4]
        assert found(correlation=Correlation(intent_id="i1", kill_id="K1")) == [4]
        assert found(after_seq=4) == [4, 5]
        assert found(kinds=set()) == []


def test_reading_many_records_never_locks_the_reader_out_of_appending(journal: Journal, tmp_path: Path) -> None:
    with journal.batch():
        note(journal, *map(str, range(1200)))
    with opened(tmp_path) as other:
        for count, _ in enumerate(journal.records()):
            if count == 700:
                note(other, "from outside")
                note(journal, "from inside")
    assert journal.head().seq == 1202
    assert len(list(journal.records())) == 1202


def test_a_line_that_cannot_be_read_is_damage(journal: Journal) -> None:
    note(journal, "one")
    journal.connection.execute("DROP TRIGGER journal_is_never_updated")
    journal.connection.execute("UPDATE journal SET canonical = replace(canonical, 'operator.noted', 'operator.voted')")
    with pytest.raises(StateDamaged, match=r"operator\.voted"):
        list(journal.records())


def test_a_batch_is_written_whole_or_not_at_all(journal: Journal) -> None:
    with pytest.raises(ValueError, match="float"), journal.batch():
        note(journal, "one", 0.5)
    assert journal.head().seq == 0
    with journal.batch():
        note(journal, "three")
        with pytest.raises(ValueError, match="float"), journal.batch():
            note(journal, "four", 0.5)
        note(journal, "five")
    assert texts(journal) == ["three", "five"]
    assert journal.verify().is_whole


def test_a_line_that_its_fold_refuses_leaves_nothing_behind(journal: Journal) -> None:
    with pytest.raises(ValueError, match="lacks 'fill'"):
        journal.append(Kind.FILL_BOOKED, {})
    note(journal, "after")
    assert journal.head().seq == 1
    assert journal.verify().is_whole


def test_two_open_journals_share_one_chain(journal: Journal, tmp_path: Path) -> None:
    with opened(tmp_path, replace(WRITER, process="cancel-all", pid=8)) as other:
        for n in range(5):
            note(journal, f"a{n}")
            note(other, f"b{n}")
        assert other.head() == journal.head()
    assert journal.verify().is_whole
    assert [record.writer["process"] for record in journal.records()][:2] == ["run", "cancel-all"]


def test_a_locked_journal_is_waited_for_and_then_named(tmp_path: Path) -> None:
    opened(tmp_path).close()
    holder = apsw.Connection(str(tmp_path / "journal.db"))
    with Journal.open(tmp_path / "journal.db", WRITER, ManualClock(START), wait_s=0.05) as journal:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimedOut, match=r"journal\.db"):
            note(journal, "one")
        holder.execute("ROLLBACK")
        note(journal, "two")
        assert texts(journal) == ["two"]
    holder.close()


def test_paper_and_live_never_share_a_journal(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not of live global"):
        opened(tmp_path, replace(WRITER, env="live"))


def damaged(directory: Path) -> StateDamaged:
    with pytest.raises(StateDamaged) as damage:
        opened(directory).close()
    assert damage.value.exit_code is ExitCode.STATE_DAMAGED
    assert damage.value.next_commands
    return damage.value


@pytest.mark.parametrize("content", [b"", b"not a database at all" * 300, b"SQLite format 3\0" + b"\xff" * 8000])
def test_an_empty_or_foreign_file_is_damage_and_stays_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal.db"
    path.write_bytes(content)
    damaged(tmp_path)
    assert path.read_bytes() == content


def test_a_symlink_or_a_directory_in_its_place_is_damage(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    opened(tmp_path / "a").close()
    (tmp_path / "journal.db").symlink_to(tmp_path / "a" / "journal.db")
    assert "not a plain file" in damaged(tmp_path).message
    (tmp_path / "b" / "journal.db").mkdir(parents=True)
    damaged(tmp_path / "b")


def test_a_journal_that_was_deleted_is_not_silently_begun_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        note(journal, "one")
    (tmp_path / "journal.db").unlink()
    assert "gone" in damaged(tmp_path).message
    assert not (tmp_path / "journal.db").exists()


def test_a_journal_deleted_or_replaced_while_open_takes_no_more_records(journal: Journal, tmp_path: Path) -> None:
    note(journal, "one")
    (tmp_path / "journal.db").rename(tmp_path / "elsewhere")
    with pytest.raises(StateDamaged):
        note(journal, "two")
    shutil.copy(tmp_path / "elsewhere", tmp_path / "journal.db")
    with pytest.raises(StateDamaged, match="removed or replaced"):
        note(journal, "two")


def test_a_wal_removed_while_open_takes_no_more_records(journal: Journal, tmp_path: Path) -> None:
    note(journal, "one")
    (tmp_path / "journal.db-wal").unlink()
    with pytest.raises(StateDamaged, match="-wal"):
        note(journal, "two")


def test_an_older_copy_put_back_is_found(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        note(journal, "one")
    shutil.copy(tmp_path / "journal.db", tmp_path / "old")
    with opened(tmp_path) as journal:
        note(journal, "two")
    (tmp_path / "old").replace(tmp_path / "journal.db")
    assert "line 2" in damaged(tmp_path).message


def test_a_lost_wal_is_found(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    with opened(tmp_path) as journal:
        note(journal, "one")
        for path in (tmp_path / "journal.db", anchor_path(tmp_path / "journal.db")):
            shutil.copy(path, tmp_path / "copy")
    assert "line 1" in damaged(tmp_path / "copy").message


def test_a_garbled_anchor_is_damage_and_an_empty_one_is_none(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        note(journal, "one")
    anchor_path(tmp_path / "journal.db").write_text("what")
    damaged(tmp_path)
    anchor_path(tmp_path / "journal.db").write_bytes(b"")
    with opened(tmp_path) as journal:
        assert texts(journal) == ["one"]


def test_files_are_for_their_owner_only(journal: Journal, tmp_path: Path) -> None:
    note(journal, "one")
    assert {path.stat().st_mode & 0o777 for path in tmp_path.glob("journal*")} == {0o600}


def test_creating_leaves_no_half_made_file_behind(tmp_path: Path) -> None:
    opened(tmp_path).close()
    assert [path.name for path in tmp_path.glob("journal*")] == ["journal.db"]


READ_ONLY = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
exec "$2" -c "
import sys
from pathlib import Path
from tests.store.stock import opened
from perpctl.errors import StateDamaged
try:
    opened(Path(sys.argv[1]))
except StateDamaged as damage:
    print('DAMAGED', damage.message)
" "$1"
"""


@pytest.mark.parametrize("existing", [True, False])
def test_a_read_only_directory_is_damage(tmp_path: Path, existing: bool) -> None:
    if existing:
        opened(tmp_path).close()
    command = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh", str(tmp_path), sys.executable]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=30, cwd=Path(__file__).parents[2])
    except FileNotFoundError:
        pytest.skip("no unshare here")
    if "mount:" in ran.stderr or "unshare:" in ran.stderr:
        pytest.skip("no private mounts here")
    assert ran.stdout.startswith("DAMAGED"), ran.stderr


def test_a_full_disk_refuses_and_the_journal_goes_on_when_there_is_room_again(journal: Journal) -> None:
    note(journal, "one")
    journal.connection.pragma("max_page_count", journal.connection.pragma("page_count"))
    with pytest.raises(StateDamaged, match="full"):
        note(journal, "x" * 20_000)
    journal.connection.pragma("max_page_count", 1_000_000)
    note(journal, "two")
    assert texts(journal) == ["one", "two"]
    assert journal.verify().is_whole


def test_processes_that_all_come_first_make_one_journal(tmp_path: Path) -> None:
    children = []
    for name in "abcd":
        child = os.fork()
        if child == 0:
            _append_many(tmp_path, name, 3)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
    with opened(tmp_path) as journal:
        assert (journal.verify().is_whole, journal.verify().records) == (True, 12)
    assert sorted(path.name for path in tmp_path.glob("journal*")) == ["journal.db", "journal.db.head"]


def test_two_processes_append_at_once_to_one_whole_chain(tmp_path: Path) -> None:
    opened(tmp_path).close()
    children = []
    for name in ("a", "b"):
        child = os.fork()
        if child == 0:
            _append_many(tmp_path, name)
        children.append(child)
    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0]
    with opened(tmp_path) as journal:
        assert journal.verify().records == 200
        assert journal.verify().is_whole
        for name in ("a", "b"):
            assert [text for text in texts(journal) if text[0] == name] == [f"{name}{n}" for n in range(100)]


def _append_many(directory: Path, name: str, count: int = 100) -> None:
    status = 1
    try:
        with opened(directory) as journal:
            note(journal, *(f"{name}{n}" for n in range(count)))
        status = 0
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stderr.flush()
        os._exit(status)


HOLDER = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("holding", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists who holds a lock")
@pytest.mark.parametrize("frozen", [True, False])
def test_a_lock_that_is_not_let_go_is_told_with_who_holds_it_and_what_to_type(tmp_path: Path, frozen: bool) -> None:
    opened(tmp_path).close()
    path = tmp_path / "journal.db"
    with Journal.open(path, WRITER, ManualClock(START), wait_s=0.05) as journal:
        words = [sys.executable, "-c", HOLDER, str(path)]
        holder = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"holding\n"
            if frozen:
                holder.send_signal(signal.SIGSTOP)
                os.waitpid(holder.pid, os.WUNTRACED)
            with pytest.raises(TimedOut, match=f"Process {holder.pid} ") as told:
                note(journal, "one")
            assert ("frozen" in told.value.message) is frozen
            wanted = f"kill -KILL {holder.pid}" if frozen else "perpctl status"
            assert told.value.next_commands[0] == wanted
        finally:
            holder.kill()
            holder.communicate()
        note(journal, "the lock went with its holder")
