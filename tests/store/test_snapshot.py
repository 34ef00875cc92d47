"""The settings snapshot is whole or not there, private, and keyed by what it was made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from perpctl.errors import CredentialError, StateDamaged
from perpctl.store.identity_key import load_identity_key, read_identity_key
from perpctl.store.snapshot import Snapshot, read_all, read_snapshot, snapshot_key, write_snapshot

SNAPSHOT = Snapshot("5b7f", 1_790_000_000_000, {"profile": "desk-a", "env": "live", "currencies": ["USDC"]})


def test_what_was_written_is_read_and_private(tmp_path: Path) -> None:
    path = tmp_path / "desk-a" / "snapshot.json"
    write_snapshot(path, SNAPSHOT)
    assert read_snapshot(path) == SNAPSHOT
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["snapshot.json"]


def test_absent_is_none_and_damaged_is_said(tmp_path: Path) -> None:
    assert read_snapshot(tmp_path / "snapshot.json") is None
    (tmp_path / "snapshot.json").write_text('{"schema": "perpctl.snapshot/1", "settings": [')
    with pytest.raises(StateDamaged):
        read_snapshot(tmp_path / "snapshot.json")


def test_all_profiles_are_found_and_a_damaged_one_does_not_hide_the_others(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "desk-a" / "snapshot.json", SNAPSHOT)
    (tmp_path / "desk-b").mkdir()
    (tmp_path / "desk-b" / "snapshot.json").write_text("half")
    assert read_all(tmp_path) == {"desk-a": SNAPSHOT}


def test_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "snapshot.json"
    write_snapshot(path, SNAPSHOT)
    (tmp_path / "in the way").write_text("")
    with pytest.raises(StateDamaged):
        write_snapshot(tmp_path / "in the way" / "snapshot.json", SNAPSHOT)
    assert read_snapshot(path) == SNAPSHOT


def test_the_key_changes_with_any_file_or_variable(tmp_path: Path) -> None:
    one, two = tmp_path / "one.toml", tmp_path / "two.toml"
    one.write_text("a = 1")
    keys = {snapshot_key([one, two], {})}
    keys.add(snapshot_key([one, two], {"PERPCTL_PROFILE": "x"}))
    two.write_text("")
    keys.add(snapshot_key([one, two], {}))
    one.write_text("a = 2")
    keys.add(snapshot_key([one, two], {}))
    assert len(keys) == 4
    assert snapshot_key([one, two], {}) in keys


def test_the_identity_key_is_made_once_and_private(tmp_path: Path) -> None:
    assert read_identity_key(tmp_path / "config") is None
    key = load_identity_key(tmp_path / "config")
    assert len(key) == 32
    assert load_identity_key(tmp_path / "config") == key == read_identity_key(tmp_path / "config")
    assert [path.name for path in (tmp_path / "config").iterdir()] == ["identity.key"]


def test_an_identity_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_identity_key(tmp_path)
    (tmp_path / "identity.key").chmod(0o644)
    with pytest.raises(CredentialError, match="read by others"):
        load_identity_key(tmp_path)
    (tmp_path / "identity.key").chmod(0o600)
    (tmp_path / "identity.key").write_bytes(b"short")
    with pytest.raises(CredentialError, match="5 bytes"):
        load_identity_key(tmp_path)
