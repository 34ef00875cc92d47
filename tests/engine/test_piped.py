"""The piped form of a run: of a seeded simulation the same bytes each time, and as they were before."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from tests.conftest import Cli

MINUTE = ("run", "--speed", "max", "--seed", "7", "--duration", "60", "--risk-level", "conservative")


def test_a_seeded_minute_is_the_same_bytes_on_two_runs_and_as_before(
    perpctl: Cli, golden: Callable[[str, str], None]
) -> None:
    first, second = perpctl(*MINUTE), perpctl(*MINUTE)
    assert first.code == 0, first.err
    assert first.out == second.out
    (told,) = (json.loads(line) for line in first.out.splitlines())
    assert (told["schema"], told["event"], told["journal_whole"]) == ("perpctl.run/1", "simulated", True)
    # The journal's head hashes who wrote it, this version and this machine too: the same twice, not everywhere.
    golden("seeded-minute.jsonl", re.sub(r'"journal_head":"[0-9a-f]{64}"', '"journal_head":"HEAD"', first.out))


def test_another_seed_is_another_minute(perpctl: Cli) -> None:
    heads = {json.loads(perpctl(*MINUTE[:4], seed, *MINUTE[5:]).out)["journal_head"] for seed in ("7", "8")}
    assert len(heads) == 2
