"""Kill against a venue that is far away, encrypted, settling or throttling."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.drills.delaying import delayed
from tests.drills.killing import BTC, ETH, SOL, Desk, running_exchange

pytestmark = pytest.mark.drill


def fill_account(desk: Desk) -> None:
    """Five positions, two of them isolated, and 100 orders."""
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1")
    trader.market("sell", ETH, "1")
    trader.market("buy", SOL, "10")
    trader.market("sell", BTC, "0.02", isolated=True, allocated_margin=Decimal(300))
    trader.market("buy", ETH, "0.5", isolated=True, allocated_margin=Decimal(300))
    trader.stop("sell", BTC, "0.1", "-3", reduce_only=True)
    for _ in range(99):
        trader.bid_below(BTC, "0.001")
    account = desk.exchange.account
    assert (account["open_orders"], len(account["positions"])) >= (100, 3)


def test_a_hundred_orders_and_five_positions_are_gone_at_once_at_50_ms(desk: Desk) -> None:
    fill_account(desk)
    port = urlsplit(desk.exchange.server["gateway_http"]).port
    assert port is not None
    with delayed(port) as far:
        desk.validate(endpoints={"http": f"http://127.0.0.1:{far}/api/v2"}, endpoints_file=None)
        done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat
    story = (desk.directory / "kills" / f"{done.receipt['kill_id']}.jsonl").read_text().splitlines()
    first = next(line for line in map(json.loads, story) if line["event"] == "first_cancel")
    assert 0.05 < first["after_s"] < 5, "benchmarks/kill.py measures it; this only tells a wait from none"
    assert done.step("stops")["after_s"] < 15, "one by one at the pace of ids it would be half a minute"
    assert len(done.receipt["closed"]) == 5


def test_over_tls_and_never_to_a_stranger(tmp_path: Path) -> None:
    with running_exchange(tmp_path / "exchange", "--tls") as exchange:
        desk = Desk(tmp_path / "state", tmp_path / "config", exchange)
        desk.validate(kill={"foreground_s": 3, "hold_s": 1, "hold_unproven_s": 1})
        exchange.trader().market("buy", BTC, "0.1")
        desk.validate(
            endpoints={"http": exchange.server["gateway_http"]},
            endpoints_file=None,
            kill={"foreground_s": 3, "hold_s": 1, "hold_unproven_s": 1},
        )
        distrusting = desk.kill()
        assert distrusting.code == 3
        assert exchange.account["positions"], "nothing is sent to a venue whose certificate nobody vouches for"
        desk.end_workers()
        desk.validate()
        done = desk.kill("-p", "paper", "--finish")
        assert done.code == 0, done.talk
        assert exchange.is_flat


def test_a_venue_that_settles_is_asked_again(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1")
    trader.bid_below(BTC, "0.01")
    for method in ("private/cancel_all_by_currency", "private/sell"):
        settling = {"code": 10041, "message": "settlement_in_progress"}
        desk.exchange.fault(kind="error", method=method, count=2, **settling)
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat
    assert "10041" in str(done.receipt["refused"])


def test_credits_that_run_out_do_not_keep_it_from_ending(desk: Desk) -> None:
    fill_account(desk)
    desk.exchange.control("state", "POST", credits=True)
    desk.validate(kill={"foreground_s": 30, "hold_s": 1, "hold_unproven_s": 3})
    desk.exchange.fault(kind="error", method="private/cancel_all_by_currency", count=2, code=10028)
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.exchange.is_flat
