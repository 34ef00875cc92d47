"""This file says how old a number may be before it warns and before it is stale."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Age:
    """Milliseconds since the value was last confirmed current."""

    warn_ms: int
    stale_ms: int


@dataclass(frozen=True, slots=True)
class Ages:
    """The ages of what the gate looks at; a quiet market is not a dead feed, so ages run from the last confirmation."""

    quote: Age = Age(1_000, 2_000)
    reference: Age = Age(2_000, 5_000)  # mark and index
    user_channel: Age = Age(3_000, 5_000)
    position: Age = Age(30_000, 60_000)
    account: Age = Age(30_000, 60_000)
    specification: Age = Age(1_800_000, 3_600_000)
    reconcile: Age = Age(300_000, 900_000)
    venue: Age = Age(30_000, 60_000)  # its state, session and announcements


DEFAULT_AGES = Ages()
