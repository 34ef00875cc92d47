"""What a run is refused for before anything is opened."""

from __future__ import annotations

from dataclasses import replace

import pytest

from perpctl import profile
from perpctl.engine.running import Options, check
from perpctl.errors import RefusedBySafety


def test_no_bot_of_live_money_runs_where_kill_cannot_reach() -> None:
    paper = profile.load("paper")
    for venue in ("global", "us"):
        check(replace(paper, env="live", venue=venue), Options())
    check(replace(paper, venue="elsewhere"), Options())
    with pytest.raises(RefusedBySafety, match="kill` cannot speak to venue elsewhere yet") as refused:
        check(replace(paper, env="live", venue="elsewhere"), Options())
    assert refused.value.not_done == "nothing was started"
