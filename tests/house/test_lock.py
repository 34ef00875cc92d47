"""The lock: every package that perpctl runs on, in one version, with hashes and without any address."""

from __future__ import annotations

import re
import tomllib
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
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


def needed(*, anywhere: bool) -> set[str]:
    """What the dependencies lead to: on this machine, or on any, as the installed packages say themselves."""
    waiting, found = dependencies(), set[str]()
    while waiting:
        name = canonicalize_name(waiting.pop().name)
        if name in found:
            continue
        found.add(name)
        try:
            lines = metadata.requires(name) or []
        except metadata.PackageNotFoundError:  # of another system
            continue
        for one in map(Requirement, lines):
            here = one.marker is None or one.marker.evaluate({"extra": ""})
            if here or (anywhere and "extra" not in str(one.marker)):
                waiting.append(one)
    return found


def test_the_lock_holds_all_that_is_needed_here_and_nothing_that_is_needed_nowhere() -> None:
    assert needed(anywhere=False) - LOCKED.keys() == set()
    assert LOCKED.keys() - needed(anywhere=True) == set()


def test_the_lock_is_entries_with_hashes_and_nothing_else() -> None:
    assert ENTRY.sub("", "\n".join(line for line in LOCK.splitlines() if not line.startswith("#")) + "\n") == ""
    assert LOCKED.keys() >= {one.name.lower() for one in dependencies()}


def test_the_lock_names_no_address() -> None:
    assert "://" not in LOCK
    assert not re.search(r"^\s*(-i|--index-url|--extra-index-url|--find-links|-f)\b", LOCK, re.MULTILINE)


def test_there_are_at_most_18_direct_dependencies() -> None:
    assert len(dependencies()) <= 18
