"""The journal: an append-only, hash-chained table of everything that happened, durable before `append` returns."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import apsw
from msgspec import Struct

from perpctl.clock import Clock
from perpctl.errors import StateDamaged, UsageError
from perpctl.model.passage import ClockReading
from perpctl.store import folds, sqlite
from perpctl.store.records import (
    ABSENT,
    ENCODER,
    NO_CORRELATION,
    SCHEMA,
    Correlation,
    Kind,
    Record,
    Writer,
    absent_reasons,
    checked,
    encode,
    iso,
    link,
    parse,
    plain_json,
)

PAGE = 500
_EMPTY = checked({})


class Head(Struct, frozen=True):
    """The end of the chain; seq 0 is an empty journal, whose hash is that of its founding row."""

    seq: int
    hash: bytes


class ChainVerdict(Struct, frozen=True):
    """What walking the chain found: `broken_at` is the first line that does not fit, None when all do."""

    records: int
    head: Head
    broken_at: int | None = None
    reason: str | None = None

    @property
    def is_whole(self) -> bool:
        return self.broken_at is None

    @property
    def trouble(self) -> str:
        return "" if self.is_whole else f"chain broken at line {self.broken_at}: {self.reason}"


class JournalReader:
    """The journal, read: a saved one, or the one that others write to."""

    def __init__(self, path: Path, connection: apsw.Connection) -> None:
        self.path = path
        self.connection = connection
        self._anchor = _Anchor(anchor_path(path))
        with sqlite.named_errors(path):
            self.founding = _founding(connection, path)
        self._genesis = link(b"perpctl.journal/1", encode(list(self.founding)))

    @classmethod
    def open_read(cls, path: Path) -> JournalReader:
        """Without the means to write. Raises StateDamaged when it is no journal, or one of another program version."""
        connection = sqlite.connect_to_read(path)
        try:
            return cls(path, connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        """Let go of the files; the last process to do so leaves no WAL behind."""
        self._anchor.close()
        self.connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def head(self) -> Head:
        """The last line and its hash."""
        with sqlite.named_errors(self.path):
            return self._read_head()

    def records(
        self,
        kinds: Collection[Kind] | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        correlation: Correlation | None = None,
        *,
        after_seq: int = 0,
    ) -> Iterator[Record]:
        """Lines in the order written: of these kinds, from `since` to before `until` (wall time), so correlated.

        The lines there are when the first is asked for. Raises StateDamaged at one that cannot be read.
        """
        where, values = _conditions(kinds, since, until, correlation)
        sql = f"SELECT seq FROM journal WHERE seq > ? {where}"  # noqa: S608 - parts are ours
        with sqlite.named_errors(self.path):
            found: list[tuple[Any, ...]] = self.connection.execute(sql, (after_seq, *values)).fetchall()
        seqs = sorted(seq for (seq,) in found)
        for start in range(0, len(seqs), PAGE):
            yield from self.lines(seqs[start : start + PAGE])

    def lines(self, seqs: Sequence[int]) -> list[Record]:
        """These lines, in order. Read whole: a cursor left open would lock this process out of appending."""
        sql = (
            "SELECT CAST(canonical AS BLOB), prev_hash, hash FROM journal "
            "WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq"
        )
        with sqlite.named_errors(self.path):
            rows: list[tuple[Any, ...]] = self.connection.execute(sql, (json.dumps(seqs),)).fetchall()
        try:
            return [parse(*row) for row in rows]
        except ValueError as damage:
            raise sqlite.damaged(self.path, f"a line between {seqs[0]} and {seqs[-1]} is {damage}") from None

    def anchored(self) -> Head | None:
        """The head as remembered outside the journal, None when it is not. Raises StateDamaged when garbled."""
        return self._anchor.read()

    def verify(self, anchored: Head | None = None) -> ChainVerdict:
        """Walk the whole chain from its founding row; reports the first line that does not fit.

        `anchored` must be read before the transaction, when there is one: others may write meanwhile.
        """
        anchored = anchored or (None if self.connection.in_transaction else self.anchored())
        last_seq, last_hash = 0, self._genesis
        reason: str | None = None
        try:
            for seq, canonical, prev_hash, own_hash in self.connection.execute(
                "SELECT seq, CAST(canonical AS BLOB), prev_hash, hash FROM journal ORDER BY seq"
            ):
                if seq != last_seq + 1 or prev_hash != last_hash or link(prev_hash, canonical) != own_hash:
                    reason = _misfit(last_seq, last_hash, seq, prev_hash)
                    break
                last_seq, last_hash = seq, own_hash
        except apsw.Error as damage:
            reason = f"unreadable: {damage}"
        if reason is None and anchored is not None and anchored.seq > last_seq:
            reason = f"missing: line {anchored.seq} was written"
        last = Head(last_seq, last_hash)
        return ChainVerdict(last_seq, last, None if reason is None else last_seq + 1, reason)

    def _read_head(self) -> Head:
        row = self.connection.execute("SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1").get
        return Head(0, self._genesis) if row is None else Head(*row)


class Journal(JournalReader):
    """One connection to the journal of a profile; any number of processes may have theirs.

    `writer` and `clock_reading` may be replaced while it is open. Nothing may be awaited inside a batch.
    """

    def __init__(self, path: Path, connection: apsw.Connection, writer: Writer, clock: Clock, *, durable: bool) -> None:
        super().__init__(path, connection)
        _check_owner(path, self.founding, writer)
        self._boot_id = _boot_id()
        self._writer = writer
        self._clock_reading: ClockReading | None = None
        self._settle_constants()
        self._clock = clock
        self._durable = durable
        self._files = sqlite.files(path)
        self._open_head: Head | None = None  # inside a batch: where the next line goes
        self._seen = Head(0, self._genesis)
        self._failure: StateDamaged | None = None

    @classmethod
    def open(
        cls, path: Path, writer: Writer, clock: Clock, *, durable: bool = True, wait_s: float = sqlite.LOCK_WAIT_S
    ) -> Journal:
        """The journal at `path`, made when there never was one, its schema brought up to date.

        `durable=False` gives up safety from power loss for speed: for simulations only.
        Raises StateDamaged when the file is damaged, gone, older than it was, not writable, newer than this program,
        or another profile's; TimedOut while another process keeps it locked longer than `wait_s`.
        """
        if not os.path.lexists(path):
            if _Anchor(anchor_path(path)).read() is not None:
                raise sqlite.damaged(path, "it is gone, but its anchor says that it held records")
            founding = (writer.env, writer.venue, writer.profile, iso(clock.now()))
            sqlite.create(path, "INSERT INTO chain VALUES (?, ?, ?, ?)", founding)
        connection = sqlite.connect(path, durable=durable, wait_s=wait_s)
        try:
            with sqlite.named_errors(path):
                sqlite.keep_old_schema(connection, path)
                sqlite.migrate(connection, path, then=_fold_again)
                journal = cls(path, connection, writer, clock, durable=durable)
                journal._check_anchor()
        except BaseException:
            connection.close()
            raise
        return journal

    def _check_anchor(self) -> None:
        """Raise StateDamaged when the file lacks a line that is known to have been in it."""
        anchored = self._anchor.read()
        if anchored is None or anchored.seq == 0:
            return
        found = self.connection.execute("SELECT hash FROM journal WHERE seq = ?", (anchored.seq,)).get
        if found != anchored.hash:
            raise sqlite.damaged(
                self.path, f"it lacks line {anchored.seq} that was written to it: an older copy, or its -wal is missing"
            )

    def append(
        self,
        kind: Kind,
        body: Mapping[str, object],
        correlation: Correlation | None = None,
        market_ms: int | None = None,
    ) -> Record:
        """Write one line; on return it is on the disk, unless inside `batch`.

        Raises SecretRefused or ValueError for a body that cannot be recorded, StateDamaged and TimedOut as `open`.
        """
        plain_body = plain_json(body)
        if self._open_head is not None and not folds.moves(kind):
            return self._write(
                kind, plain_body, correlation or NO_CORRELATION, market_ms
            )  # one statement: whole or not
        with self.batch():
            return self._write(kind, plain_body, correlation or NO_CORRELATION, market_ms)

    def _write(self, kind: Kind, body: Mapping[str, Any], correlation: Correlation, market_ms: int | None) -> Record:
        record = self._compose(kind, body, correlation, market_ms)
        with sqlite.named_errors(self.path):
            self.connection.execute(
                "INSERT INTO journal (seq, canonical, prev_hash, hash) VALUES (?, ?, ?, ?)",
                (record.seq, record.canonical.decode(), record.prev_hash, record.hash),
            )
            folds.fold(self.connection, record)
        self._open_head = Head(record.seq, record.hash)
        return record

    @contextlib.contextmanager
    def batch(self) -> Iterator[None]:
        """One commit for every line written inside; all of them, or none when the body raises."""
        if self._open_head is not None:
            with self._savepoint():
                yield
            return
        self._begin()
        try:
            with sqlite.rolled_back_on_error(self.connection):
                yield
                self._commit()
        finally:
            self._open_head = None

    @property
    def in_batch(self) -> bool:
        """Whether lines are being held back for a common commit."""
        return self._open_head is not None

    def _begin(self) -> None:
        if self._failure is not None:
            raise self._failure
        if sqlite.files(self.path) != self._files:
            raise sqlite.damaged(self.path, "it or its -wal was removed or replaced while open")
        with sqlite.named_errors(self.path):
            self.connection.execute("BEGIN IMMEDIATE")
            with sqlite.rolled_back_on_error(self.connection):
                head = self._read_head()
                if head.seq < self._seen.seq or (head.seq == self._seen.seq and head.hash != self._seen.hash):
                    raise sqlite.damaged(self.path, f"it ends at line {head.seq}, and had line {self._seen.seq}")
        self._open_head = head

    def _commit(self) -> None:
        assert self._open_head is not None
        try:
            with sqlite.named_errors(self.path):
                self.connection.execute("COMMIT")
        except StateDamaged as failure:
            if not isinstance(failure.__cause__, apsw.FullError):
                self._failure = failure  # after a failed sync nobody knows what is on the disk: never try again
            raise
        self._seen = self._open_head
        if self._durable:
            self._anchor.write(self._seen)

    @contextlib.contextmanager
    def _savepoint(self) -> Iterator[None]:
        before = self._open_head
        try:
            with self.connection:
                yield
        except BaseException:
            self._open_head = before
            raise

    def _compose(self, kind: Kind, body: Mapping[str, Any], correlation: Correlation, market_ms: int | None) -> Record:
        assert self._open_head is not None
        seq, prev_hash = self._open_head.seq + 1, self._open_head.hash
        at, mono_ns = self._clock.now(), int(self._clock.monotonic() * 1e9)
        absent = dict(self._always_absent)
        if market_ms is None:
            absent["at_market_ms"] = ABSENT["at_market_ms"]
        absent.update(absent_reasons(body, "body"))
        head = {
            **self._constant,
            "seq": seq,
            "kind": kind.value,
            "at_utc": iso(at),
            "at_market_ms": market_ms,
            "at_mono_ns": mono_ns,
            "correlation": _EMPTY if correlation is NO_CORRELATION else checked(correlation.as_json()),
            "body": checked(body),
            "absent_reason": absent,
        }
        canonical = ENCODER.encode(head)
        own_hash = link(prev_hash, canonical)
        facts = self._writer_facts
        return Record(
            seq, kind, at, market_ms, mono_ns, self._boot_id, facts, correlation, body, prev_hash, own_hash, canonical
        )

    def _settle_constants(self) -> None:
        """What every line repeats until writer or clock reading changes, encoded once."""
        self._writer_facts = plain_json(self._writer)
        clock = plain_json(self._clock_reading)
        self._constant = {
            "schema": SCHEMA,
            "chain": self._genesis.hex()[:16],
            "boot_id": self._boot_id,
            "clock": checked(clock),
            "writer": checked(self._writer_facts),
        }
        missing = {"boot_id": self._boot_id, "clock": clock}
        self._always_absent = absent_reasons(self._writer_facts, "writer") | {
            name: ABSENT[name] for name, value in missing.items() if value is None
        }

    @property
    def writer(self) -> Writer:
        """Who writes: replaced when more is known, as the account after the first read."""
        return self._writer

    @writer.setter
    def writer(self, writer: Writer) -> None:
        self._writer = writer
        self._settle_constants()

    @property
    def clock_reading(self) -> ClockReading | None:
        """How far the machine's clock was off when last measured."""
        return self._clock_reading

    @clock_reading.setter
    def clock_reading(self, reading: ClockReading | None) -> None:
        self._clock_reading = reading
        self._settle_constants()


def _fold_again(connection: apsw.Connection) -> None:
    """Fold the whole journal anew: a migration may have changed what the projections are."""
    folds.clear(connection)
    for row in connection.execute("SELECT CAST(canonical AS BLOB), prev_hash, hash FROM journal ORDER BY seq"):
        folds.fold(connection, parse(*row))


def anchor_path(path: Path) -> Path:
    """Where the head of a journal is remembered outside of it."""
    return path.with_name(f"{path.name}.head")


class _Anchor:
    """The head, repeated in a small file of fixed length: a lost -wal or an older copy of the journal shows.

    It is written after the commit and never synced: it may lag behind the journal, it cannot be ahead of it.
    """

    LENGTH = 20 + 1 + 64 + 1

    def __init__(self, path: Path) -> None:
        self._path = path
        self._open: int | None = None

    def close(self) -> None:
        """Let go of the file."""
        if self._open is not None:
            os.close(self._open)
            self._open = None

    def read(self) -> Head | None:
        """None when there is none; StateDamaged when it holds something else."""
        try:
            text = self._read_settled()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise sqlite.damaged(self._path, error.strerror or "it cannot be read") from None
        if not text:  # made, and the power went before its first content
            return None
        try:
            seq, digest = text.decode("ascii").split()
            return Head(int(seq), bytes.fromhex(digest))
        except ValueError:
            raise sqlite.damaged(self._path, "it does not hold a journal's head") from None

    def _read_settled(self) -> bytes:
        """The content, read until it stays the same: another process may be in the middle of writing it."""
        text = self._path.read_bytes()
        for _ in range(10):
            before, text = text, self._path.read_bytes()
            if text == before:
                break
        return text

    def write(self, head: Head) -> None:
        with sqlite.named_errors(self._path):
            if self._open is None or os.fstat(self._open).st_nlink == 0:  # removed: it is made again
                self.close()
                self._open = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            os.pwrite(self._open, b"%020d %s\n" % (head.seq, head.hash.hex().encode()), 0)


def _conditions(
    kinds: Collection[Kind] | None, since: datetime | None, until: datetime | None, correlation: Correlation | None
) -> tuple[str, list[str]]:
    """SQL to put after a WHERE, and its values."""
    where, values = "", list[str]()
    if kinds is not None:
        where += f" AND kind IN ({', '.join('?' * len(kinds))})"
        values += [kind.value for kind in kinds]
    for comparison, at in ((" AND at >= ?", since), (" AND at < ?", until)):
        if at is not None:
            where += comparison
            values.append(iso(at))
    for name, value in (correlation or Correlation()).as_json().items():
        column = name if name in {"intent_id", "plan_id"} else f"canonical ->> '$.correlation.{name}'"
        where += f" AND {column} = ?"
        values.append(value)
    return where, values


def _misfit(last_seq: int, last_hash: bytes, seq: int, prev_hash: bytes) -> str:
    """Why a line cannot stand after the one with this number and hash."""
    if seq != last_seq + 1:
        return f"missing: the next line is {seq}"
    if prev_hash != last_hash:
        return "not chained to the line before"
    return "its content is not what was hashed"


def _founding(connection: apsw.Connection, path: Path) -> tuple[str, str, str, str]:
    """The row a chain begins with: env, venue, profile, when."""
    rows: list[tuple[Any, ...]] = connection.execute("SELECT env, venue, profile, created_at FROM chain").fetchall()
    if len(rows) != 1:
        raise sqlite.damaged(path, "its founding row is missing")
    env, venue, profile, created_at = rows[0]
    return env, venue, profile, created_at


def _check_owner(path: Path, founding: tuple[str, str, str, str], writer: Writer) -> None:
    """Raise UsageError when the journal is another profile's: paper and live never share a chain."""
    env, venue, profile, _ = founding
    if (env, venue, profile) != (writer.env, writer.venue, writer.profile):
        raise UsageError(
            f"{path} is the journal of {env} {venue} profile {profile}, not of {writer.env} {writer.venue} "
            f"profile {writer.profile}.",
            not_done="Nothing was recorded.",
            next_commands=("perpctl config show --origin",),
        )


def _boot_id() -> str | None:
    if sys.platform != "linux":
        return None
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
