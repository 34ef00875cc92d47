"""The SQLite file under the journal: made whole or not at all, opened strictly, migrated forward, its errors named."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw

from perpctl.errors import StateDamaged, TimedOut

NEXT = ("perpctl positions", "perpctl kill --dry-run")  # what works without a journal
LOCK_WAIT_S = 5.0
WAL_WRITE_LOCK = 120  # byte of the -shm file
Migration = tuple[int, str]


def migrations() -> tuple[Migration, ...]:
    """Every migration of this program: number and SQL, in order."""
    found = [
        (int(match[1]), entry.read_text(encoding="utf-8"))
        for entry in Path(__file__).with_name("sql").iterdir()
        if (match := re.fullmatch(r"(\d{3})_\w+\.sql", entry.name))
    ]
    return tuple(sorted(found))


def connect(path: Path, *, durable: bool = True, wait_s: float = LOCK_WAIT_S) -> apsw.Connection:
    """An existing database, in WAL; every commit is on the disk when `durable`.

    Raises StateDamaged when it is absent, empty, a symlink, not a database or not writable, TimedOut while locked.
    """
    check_regular(path)
    with named_errors(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_NOFOLLOW)
        connection.set_busy_timeout(int(wait_s * 1000))
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
            if connection.readonly("main"):
                raise damaged(path, "it cannot be written")
        except BaseException:
            connection.close()
            raise
    return connection


def connect_to_read(path: Path, wait_s: float = LOCK_WAIT_S) -> apsw.Connection:
    """An existing database of exactly this program's schema, read-only. Raises StateDamaged as `connect`."""
    check_regular(path)
    with named_errors(path):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_NOFOLLOW)
        try:
            connection.set_busy_timeout(int(wait_s * 1000))
            found, newest = version(connection), migrations()[-1][0]
            if found != newest:
                raise damaged(path, f"its schema is {found}, this program's is {newest}")
        except BaseException:
            connection.close()
            raise
    return connection


def copy_database(source: apsw.Connection, target: Path) -> None:
    """A consistent copy as of one moment, while others go on writing; it stands alone, without a WAL."""
    with contextlib.closing(apsw.Connection(str(target))) as copy:
        with copy.backup("main", source, "main") as backup:
            backup.step()
        copy.execute("PRAGMA journal_mode=DELETE")


def create(path: Path, first_rows: str, values: tuple[str, ...]) -> None:
    """Make the database with every migration applied and `first_rows` executed, then put it in its place at once.

    A crash leaves either nothing at `path` or a whole database; a file that is there already stays.
    """
    building = path.with_name(f"{path.name}.new-{os.getpid()}")
    with named_errors(path):
        building.unlink(missing_ok=True)
        os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
        try:
            with contextlib.closing(apsw.Connection(str(building))) as connection:
                migrate(connection, path)
                connection.execute(first_rows, values)
                connection.execute("PRAGMA journal_mode=WAL")  # kept in the file: changing it later waits for no lock
            with contextlib.suppress(FileExistsError):
                os.link(building, path)
        finally:
            building.unlink(missing_ok=True)
        sync_directory(path.parent)


def migrate(
    connection: apsw.Connection,
    path: Path,
    known: tuple[Migration, ...] | None = None,
    then: Callable[[apsw.Connection], None] | None = None,
) -> bool:
    """Apply what is missing and call `then`, all in one transaction; True when anything was missing.

    Raises StateDamaged when the database is newer than this program. Two migrators at once: the second finds it done.
    """
    known = migrations() if known is None else known
    newest = known[-1][0]
    if version(connection) == newest:
        return False
    connection.execute("BEGIN IMMEDIATE")
    with rolled_back_on_error(connection):
        found = version(connection)
        if found > newest:
            raise StateDamaged(
                f"{path} was written by a newer perpctl (schema {found}, this program knows {newest}).",
                not_done="Nothing was read or changed.",
                next_commands=("perpctl --version",),
            )
        for number, sql in known:
            if number > found:
                connection.execute(sql)
        if then is not None and found < newest:
            then(connection)
        connection.pragma("user_version", newest)
        connection.execute("COMMIT")
    return found < newest


def keep_old_schema(connection: apsw.Connection, path: Path) -> None:
    """Before a migration: a copy of the database as the older program knew it, beside it, made once."""
    found = version(connection)
    kept = path.with_name(f"{path.name}.schema-{found}")
    if not 0 < found < migrations()[-1][0] or kept.exists():
        return
    building = kept.with_name(f"{kept.name}.new-{os.getpid()}")
    os.close(os.open(building, os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    copy_database(connection, building)
    sync_file(building)
    os.rename(building, kept)
    sync_directory(path.parent)


def version(connection: apsw.Connection) -> int:
    """The number of the last migration applied."""
    return int(connection.pragma("user_version"))


@contextlib.contextmanager
def rolled_back_on_error(connection: apsw.Connection) -> Iterator[None]:
    """Roll back the open transaction when the body raises, whatever it raises."""
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            with contextlib.suppress(apsw.Error):  # the first error is the one to tell
                connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors about this file into ours."""
    try:
        yield
    except (apsw.BusyError, apsw.LockedError):
        raise _locked(path) from None
    except apsw.ConstraintError:
        raise
    except (apsw.Error, OSError) as error:
        shut = isinstance(error, apsw.CantOpenError) and not os.access(path.parent, os.W_OK)
        why = f"{path.parent} cannot be written to (read-only, or not ours)" if shut else str(error)
        raise damaged(path, why or type(error).__name__) from error


def _locked(path: Path) -> TimedOut:
    """Who holds the write lock, and what to type: a frozen writer lets go only when it is thawed or killed."""
    pid = _writer_of(path)
    if pid is None:
        return TimedOut(
            f"Another process holds the write lock of {path} and did not let go in time.",
            not_done="Nothing was recorded.",
            next_commands=("perpctl status",),
        )
    frozen, words = _process(pid)
    doing = "is frozen inside a write and will not let go" if frozen else "did not let go in time"
    return TimedOut(
        f"Process {pid} ({words}) holds the write lock of {path} and {doing}.",
        not_done="Nothing was recorded.",
        next_commands=(f"kill -KILL {pid}", f"kill -CONT {pid}") if frozen else ("perpctl status",),
    )


def _writer_of(path: Path) -> int | None:
    """The process that holds the one writer's lock of the WAL index (sqlite.org/walformat.html)."""
    try:
        inode = path.with_name(f"{path.name}-shm").stat().st_ino
        rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    except OSError:
        return None
    for row in rows:
        if "->" not in row and len(row) == 8 and row[3] == "WRITE" and row[5].endswith(f":{inode}"):
            first, last = int(row[6]), int(row[7]) if row[7].isdigit() else WAL_WRITE_LOCK
            if first <= WAL_WRITE_LOCK <= last and row[4].isdigit():
                return int(row[4]) or None
    return None


def _process(pid: int) -> tuple[bool, str]:
    """Whether a process stands still by a signal, and its command line."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return False, "its command line cannot be read"
    return state in ("T", "t"), words[-120:]


def damaged(path: Path, why: str) -> StateDamaged:
    """The error for a file that cannot be trusted or written."""
    return StateDamaged(f"{path}: {why}.", not_done="Nothing was recorded.", next_commands=NEXT)


def check_regular(path: Path) -> tuple[int, int]:
    """Device and inode of a plain file with something in it; raises StateDamaged otherwise."""
    try:
        found = os.lstat(path)
    except OSError as error:
        raise damaged(path, error.strerror or "it cannot be read") from None
    if not stat.S_ISREG(found.st_mode):
        raise damaged(path, "it is not a plain file")
    if found.st_size == 0:
        raise damaged(path, "it is empty")
    return found.st_dev, found.st_ino


def files(path: Path) -> tuple[tuple[int, int], int | None]:
    """Which files these are: device and inode of the database, inode of its WAL."""
    try:
        wal = os.lstat(f"{path}-wal").st_ino
    except FileNotFoundError:
        wal = None
    return check_regular(path), wal


def sync_file(path: Path) -> None:
    """Put the file's content on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(directory: Path) -> None:
    """Make a rename or a new name in the directory survive a power loss."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
