"""What a kill at the US venue shows, whole: in contracts beside base coin, against golden files."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from perpctl.emergency.dry_run.preview import Sight, preview
from perpctl.emergency.receipt import make_receipt, sign
from perpctl.emergency.screen.preview import screen as preview_screen
from perpctl.emergency.screen.receipt import screen as receipt_screen
from perpctl.emergency.target import Timing
from perpctl.emergency.telling import Told
from perpctl.model.flatten import sort_standing
from perpctl.paper.terms.us import ETP
from tests.emergency.test_screens import same_each_time
from tests.emergency.test_us_kill import protect
from tests.emergency.virtual import Kill, depth, new_kill
from tests.paper.advanced_trade.trader import BIP_ID, Trader, new_trader

Golden = Callable[[str, str], None]


def _same(text: str) -> str:
    """Ids and keys are made anew each time."""
    text = same_each_time(text)
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "ID", text)
    return re.sub(r"\.\.[0-9a-f]{4}\b", "..KEY", text)


@pytest.fixture
def trader(home: Path, monkeypatch: pytest.MonkeyPatch) -> Trader:
    monkeypatch.chdir(home)
    Path("desk-us").mkdir()
    trader = new_trader()
    depth(trader, 50)
    trader.order("BUY", 10)
    trader.order("SELL", 12, product_id=ETP.name)
    protect(trader, 10)
    trader.limit("BUY", 1, "80000")
    return trader


def _drawn(kill: Kill, *, pending: bool) -> tuple[str, str]:
    told = Told(kill.directory / "no log")
    told.syslog("KILL")
    receipt = {**sign(make_receipt(kill.pursuit, told, pending=pending), bytes(32)), "file": "receipts/K.json"}
    return receipt_screen(receipt), json.dumps(receipt, indent=1) + "\n"


def test_the_dry_run(trader: Trader, golden: Golden) -> None:
    kill = new_kill(trader, Path("desk-us"))
    venue = kill.pursuit._entered()
    listing = venue.listing(quick=False)
    names = [position.product_id for position in listing.positions]
    sight = Sight(
        sort_standing(listing.orders, listing.positions),
        listing.spot_orders,
        {name: venue.book(name) for name in names},
        {name: venue.product(name) for name in names},
        venue.market_ms(),
        0.05,
    )
    wished = argparse.Namespace(max_slippage=None, market=False, scope=None, output="table")
    facts = preview(kill.pursuit.target, wished, venue, sight)
    golden("us_dry_run.txt", _same(preview_screen(facts)))
    golden("us_dry_run.json", _same(json.dumps(facts, indent=1) + "\n"))


def test_the_receipt_of_a_proven_kill(trader: Trader, golden: Golden) -> None:
    kill = new_kill(trader, Path("desk-us"))
    assert kill.run() == 0
    text, facts = _drawn(kill, pending=False)
    golden("us_proven.txt", _same(text))
    golden("us_proven.json", _same(facts))


def test_the_receipt_of_a_closed_session(trader: Trader, golden: Golden) -> None:
    trader.exchange.plan_stop(trader.exchange.now, trader.exchange.now + 3_600_000, trader.exchange.now)
    kill = new_kill(trader, Path("desk-us"), timing=Timing(180.0, 15.0, 60.0))
    drawn: list[tuple[str, str]] = []
    kill.world.plan(400, lambda: setattr(kill.pursuit, "over", True))
    kill.pursuit.run(
        at_deadline=lambda _: drawn.append(_drawn(kill, pending=True)),
        stop_service=lambda it: it.mark("stop", "none", ""),
    )
    ((text, facts),) = drawn
    assert json.loads(facts)["exit"] == 6
    assert BIP_ID in text
    golden("us_session_closed.txt", _same(text))
    golden("us_session_closed.json", _same(facts))
