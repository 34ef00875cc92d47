"""Migrations: forward only, each whole or not at all, and newer databases are left alone politely."""

from __future__ import annotations

import os
from pathlib import Path

import apsw
import pytest

from perpctl.errors import StateDamaged
from perpctl.store import folds, sqlite
from perpctl.store.projections import Projections, rebuild
from perpctl.store.state_file import verify_state
from tests.store.stock import fill, opened, order

MIGRATIONS = sqlite.migrations()
NEWEST = MIGRATIONS[-1][0]


def test_migrations_are_numbered_from_one_without_gaps() -> None:
    assert [number for number, _ in MIGRATIONS] == list(range(1, NEWEST + 1))


def test_a_new_journal_has_the_newest_schema(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        assert sqlite.version(journal.connection) == NEWEST


@pytest.mark.parametrize("start", range(NEWEST))
def test_every_older_schema_arrives_at_the_same_one(tmp_path: Path, start: int) -> None:
    old, new = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    if start:
        sqlite.migrate(old, tmp_path, MIGRATIONS[:start])
    assert sqlite.migrate(old, tmp_path)
    sqlite.migrate(new, tmp_path)
    schema = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    assert old.execute(schema).fetchall() == new.execute(schema).fetchall()
    assert not sqlite.migrate(old, tmp_path)


def test_a_migration_that_fails_half_way_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    connection = apsw.Connection(":memory:")
    sqlite.migrate(connection, tmp_path)
    before = connection.execute("SELECT name, sql FROM sqlite_schema").fetchall()
    broken = (*MIGRATIONS, (NEWEST + 1, "CREATE TABLE extra (x); CREATE TABLE extra (x);"))
    with pytest.raises(apsw.SQLError):
        sqlite.migrate(connection, tmp_path, broken)
    assert connection.execute("SELECT name, sql FROM sqlite_schema").fetchall() == before
    assert sqlite.version(connection) == NEWEST
    assert not connection.in_transaction


def test_a_process_killed_inside_a_migration_leaves_the_schema_as_it_was(tmp_path: Path) -> None:
    opened(tmp_path).close()
    path = tmp_path / "journal.db"
    child = os.fork()
    if child == 0:
        dying = apsw.Connection(str(path))
        dying.create_scalar_function("die", lambda: os._exit(9), 0)
        sqlite.migrate(dying, path, (*MIGRATIONS, (NEWEST + 1, "CREATE TABLE extra (x); SELECT die();")))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with opened(tmp_path) as journal:
        assert sqlite.version(journal.connection) == NEWEST
        assert journal.connection.execute("SELECT name FROM sqlite_schema WHERE name = 'extra'").fetchall() == []


def test_a_journal_of_a_newer_program_is_refused_politely_and_left_alone(tmp_path: Path) -> None:
    opened(tmp_path).close()
    path = tmp_path / "journal.db"
    connection = apsw.Connection(str(path))
    connection.pragma("user_version", NEWEST + 1)
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StateDamaged, match="newer perpctl") as refusal:
        opened(tmp_path)
    assert refusal.value.next_commands
    assert path.read_bytes() == before


def test_two_migrators_at_once_both_find_it_done(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = apsw.Connection(str(path))
    sqlite.migrate(first, path, MIGRATIONS[:1])
    first.close()
    child = os.fork()
    if child == 0:
        _migrate_and_leave(path)
    second = apsw.Connection(str(path))
    second.set_busy_timeout(5000)
    sqlite.migrate(second, path)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert sqlite.version(second) == NEWEST
    second.close()


def _migrate_and_leave(path: Path) -> None:
    status = 1
    try:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(5000)
        sqlite.migrate(connection, path)
        status = 0
    finally:
        os._exit(status)


def test_a_migration_folds_the_journal_again_and_keeps_a_copy_of_the_older_schema(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with opened(tmp_path) as journal:
        projections = Projections(journal)
        projections.see_order(order("v1", None), "listing")
        projections.book_fill(fill("t1", "v1"), "listing")
        before = projections.orders()
        for table in folds.PROJECTIONS:
            journal.connection.execute(f"DROP TABLE {table}")
        journal.connection.pragma("user_version", 1)
    with opened(tmp_path) as journal:
        assert Projections(journal).orders() == before
        assert Projections(journal).differences(rebuild(journal)) == ()
    kept = apsw.Connection(str(tmp_path / "journal.db.schema-1"))
    assert sqlite.version(kept) == 1
    assert kept.execute("SELECT count(*) FROM journal").get == 2
    kept.close()
    assert sorted(one.name for one in tmp_path.glob("journal.db*")) == [
        "journal.db",
        "journal.db.head",
        "journal.db.schema-1",
    ]
    assert verify_state(path).is_sound
