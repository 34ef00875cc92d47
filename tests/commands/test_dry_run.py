"""A dry run changes nothing: not a byte of our files, no order, no position; tried for every command that has one."""

from __future__ import annotations

import asyncio
import hashlib
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl import profile
from perpctl.clock import SystemClock
from perpctl.desk import Desk
from perpctl.exchange.port import Confirmed, Exchange
from perpctl.model.identity import make
from perpctl.model.order import OrderRequest, OrderType, Side
from tests.conftest import Cli, tell
from tests.house.tree import Verb, verbs

# What to type beside --dry-run where a command needs more.
WORDS: dict[str, list[str]] = {
    "positions close": ["BTC-PERP"],
    "positions reduce": ["BTC-PERP", "--by", "50%"],
    "stops place": ["BTC-PERP"],
    "orders adopt": ["{order}", "--reason", "drill"],
    "resume": ["--as", "ops1", "--reason", "drill"],
    "config init": [
        "desk-a",
        "--key-file",
        "{key_file}",
        "--kill-scope",
        "ours",
        "--http",
        "{http}",
        "--ws",
        "{ws}",
        "--streams",
        "{streams}",
    ],
    "paper key": ["--out", "{tmp}/key.json"],
    "paper price": ["BTC-PERP", "90000"],
    "paper fault": ["delay"],
}
COMMANDS = [verb for verb in verbs() if "--dry-run" in verb.options and verb.words[0] != "kill"]


def ours(root: Path) -> dict[str, str]:
    """Every file that perpctl itself keeps, by the hash of its content; the exchange's own directory left out."""
    files = [path for path in root.rglob("*") if path.is_file() and "exchange" not in path.relative_to(root).parts]
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def standing(paper: dict[str, Any]) -> dict[str, Any]:
    """Orders and positions as the exchange itself counts them."""
    accounts = tell(f"{paper['control']}/status", method="GET")["accounts"]
    return {name: (one["open_orders"], one["positions"]) for name, one in accounts.items()}


async def _trade() -> str:
    """A position, and an entry that rests a little below the market: its id."""
    desk = Desk(profile.load("paper"), SystemClock())
    try:
        await _buy(desk, await desk.exchange())
        desk.journal()
        (resting,) = await (await desk.exchange()).open_orders()
        return resting.order_id
    finally:
        await desk.aclose()


async def _buy(desk: Desk, exchange: Exchange) -> None:
    product = (await exchange.instrument("BTC-PERP")).product_id
    bid = (await exchange.quote(product)).bid
    assert bid is not None
    until, size, key = await exchange.time_ms() + 10_000, Decimal("0.01"), desk.identity_key()
    for intent, (kind, price) in enumerate([(OrderType.MARKET, None), (OrderType.LIMIT, bid // 1000 * 990)]):
        identity = make(key, 1, intent)
        request = OrderRequest(identity, product, Side.BUY, size, kind, price, valid_until_ms=until)
        assert isinstance(await exchange.place(request), Confirmed)


@pytest.fixture
def trading(paper: dict[str, Any]) -> dict[str, Any]:
    return {**paper, "order": asyncio.run(_trade())}


@pytest.mark.parametrize("verb", COMMANDS, ids=str)
def test_a_dry_run_changes_nothing(verb: Verb, trading: dict[str, Any], cli: Cli, tmp_path: Path) -> None:
    root = profile.state_root().parent
    where = {name: trading[f"gateway_{name}"] for name in ("http", "ws", "streams")}
    places = {**where, "key_file": trading["key_file"], "tmp": str(tmp_path), "order": trading["order"]}
    words = [word.format(**places) for word in WORDS.get(str(verb), [])]
    before, held = ours(root), standing(trading)
    ran = cli(*verb.words, *words, "--dry-run", "-o", "json")
    assert ran.code in (0, 1, 5, 6), ran.err
    assert ran.json.get("dry_run", True) is True
    assert ours(root) == before
    assert standing(trading) == held


def test_the_comparison_would_see_a_change(trading: dict[str, Any], tmp_path: Path) -> None:
    before = ours(tmp_path)
    latch = tmp_path / "state" / "paper" / "latch"
    latch.write_bytes(b"x" + latch.read_bytes()[1:])
    assert ours(tmp_path) != before
    assert all(orders == 1 and positions for orders, positions in standing(trading).values())
