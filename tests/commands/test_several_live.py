"""With several live profiles and none named, closing closes none: each is latched and its entries are cancelled."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl import profile
from perpctl.model.mode import Mode
from perpctl.store.latch import Latch
from tests import trading
from tests.conftest import Cli


def two_live_profiles(paper: dict[str, Any]) -> None:
    """Two profiles of live money, both at the running exchange: the address is all that differs."""
    account = paper["account"]
    tables = [
        f"""[profiles.{name}]
env = "live"
venue = "global"
key_file = {json.dumps(paper["key_file"])}
risk_level = "conservative"
kill_scope = "account"
[profiles.{name}.account]
id = "{account["id"]}"
username = "{account["username"]}"
[profiles.{name}.endpoints]
http = "{paper["gateway_http"]}"
ws = "{paper["gateway_ws"]}"
streams = "{paper["gateway_streams"]}"
"""
        for name in ("desk-a", "desk-b")
    ]
    file = profile.config_dir() / "config.toml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(tables))


async def open_a_position_and_an_entry() -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        await trading.entry(desk)


async def what_stands() -> tuple[dict[str, Decimal], set[str]]:
    async with trading.at_the_desk() as desk:
        return await trading.held(desk), await trading.working(desk)


def test_closing_latches_each_cancels_entries_and_closes_none(paper: dict[str, Any], perpctl: Cli) -> None:
    asyncio.run(open_a_position_and_an_entry())
    two_live_profiles(paper)
    ran = perpctl("positions", "close-all", "--market", "--yes")
    assert ran.code == 6
    assert "2 live profiles are meant" in ran.err
    assert "NONE IS CLOSED" in ran.err
    for name in ("desk-a", "desk-b"):
        assert f"\nNext:  perpctl positions close-all --market --yes -p {name}\n" in ran.err
    held, working = asyncio.run(what_stands())
    assert held == {trading.BTC: Decimal("0.05")}
    assert working == set()
    for name in ("desk-a", "desk-b"):
        assert Latch(Path(profile.state_root()) / name / "latch").read().mode is Mode.REDUCE_ONLY


def test_naming_one_closes_that_one(paper: dict[str, Any], perpctl: Cli) -> None:
    asyncio.run(open_a_position_and_an_entry())
    two_live_profiles(paper)
    ran = perpctl("positions", "close-all", "--market", "--yes", "-p", "desk-a")
    assert ran.code == 0, ran.out + ran.err
    held, _ = asyncio.run(what_stands())
    assert held == {}
