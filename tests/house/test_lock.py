"""The lock: every package that perpctl runs on, in one version, with hashes and without any address."""

from __future__ import annotations

import re
import tomllib

from packaging.requirements import Requirement
from packaging.version import Version

from tests.house import source

LOCK = (source.ROOT / "requirements.lock").read_text()
ENTRY = re.compile(r"^([a-z0-9.-]+)==(\S+) \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.MULTILINE)
LOCKED = {name: Version(version) for name, version, _ in ENTRY.findall(LOCK)}


def dependencies() -> list[Requirement]:
    project = tomllib.loads((source.ROOT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in project["dependencies"]]


def test_every_dependency_is_locked_in_a_version_that_the_project_allows() -> None:
    unmet = [
        str(one) for one in dependencies() if not one.specifier.contains(LOCKED.get(one.name.lower(), Version("0")))
    ]
    assert unmet == []


def test_the_lock_is_entries_with_hashes_and_nothing_else() -> None:
    assert ENTRY.sub("", "\n".join(line for line in LOCK.splitlines() if not line.startswith("#")) + "\n") == ""
    assert LOCKED.keys() >= {one.name.lower() for one in dependencies()}


def test_the_lock_names_no_address() -> None:
    assert "://" not in LOCK
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links|-f)\b", LOCK, re.MULTILINE)


def test_there_are_at_most_18_direct_dependencies() -> None:
    assert len(dependencies()) <= 18
