"""Whose orders and positions a kill takes: ours only, several live profiles, and a kill that died under way."""

from __future__ import annotations

import os
import signal

import pytest

from perpctl.model import identity
from perpctl.model.mode import Mode
from perpctl.store.identity_key import load_identity_key
from perpctl.store.latch import Latch
from tests.drills.killing import BTC, ETH, Desk, wait_until

pytestmark = pytest.mark.drill


def label(desk: Desk, intent: int) -> str:
    return identity.make(load_identity_key(desk.config), 7, intent)


def test_scope_ours_leaves_what_others_made(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1", label=label(desk, 1))
    trader.market("buy", BTC, "0.04", label="by hand")
    trader.market("buy", ETH, "1", label="by hand")
    ours = trader.bid_below(BTC, "0.01", label=label(desk, 2))
    theirs = trader.bid_below(BTC, "0.01", label="by hand")
    done = desk.kill("--force", "-p", "paper", "--scope", "ours")
    assert done.code == 0, done.talk
    positions = {name: str(size) for name, size in desk.exchange.account["positions"].items()}
    assert positions.keys() == {BTC, ETH}
    assert float(positions[BTC]) == 0.04
    assert trader.gateway.order(ours["order_id"], False).status == "cancelled"
    assert trader.gateway.order(theirs["order_id"], False).status == "open"


def test_scope_ours_at_market_never_uses_the_close_that_takes_all(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1", label=label(desk, 1))
    trader.market("buy", BTC, "0.04", label="by hand")
    done = desk.kill("--force", "-p", "paper", "--scope", "ours", "--market")
    assert done.code == 0, done.talk
    assert float(desk.exchange.account["positions"][BTC]) == 0.04


def test_a_scope_that_would_raise_the_net_delta_is_refused_with_the_numbers(desk: Desk) -> None:
    from decimal import Decimal

    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1", label=label(desk, 1))
    trader.market("sell", BTC, "0.08", label="by hand", isolated=True, allocated_margin=Decimal(1_000))
    done = desk.kill("--force", "-p", "paper", "--scope", "ours")
    assert done.code == 6, done.talk
    assert "scope ours is refused for BTC" in done.step("close")["evidence"]
    assert "-0.08" in done.step("close")["evidence"]
    assert desk.exchange.account["positions"]


def test_several_live_profiles_lose_their_entries_and_nothing_is_closed(desk: Desk) -> None:
    trader = desk.exchange.trader()
    trader.market("buy", BTC, "0.1")
    trader.bid_below(BTC, "0.01")
    trader.stop("sell", BTC, "0.1", "-3", reduce_only=True)
    for profile in ("desk-a", "desk-b"):
        desk.validate(profile, env="live")
    process = desk.start("--force")
    _, talk = process.communicate(timeout=40)
    assert process.returncode == 6, talk
    assert desk.exchange.account["positions"]
    assert desk.exchange.account["open_orders"] == 1, "the entry is gone, the stop stays"
    for profile in ("desk-a", "desk-b"):
        assert Latch(desk.root / profile / "latch").read().mode is Mode.HALTED
        assert f"perpctl kill -p {profile} --force" in talk


def test_a_kill_that_dies_under_way_is_taken_over_by_the_one_that_watches(desk: Desk) -> None:
    desk.exchange.trader().market("buy", BTC, "0.1")
    desk.exchange.fault(kind="outage")
    desk.validate(kill={"foreground_s": 20, "hold_s": 1, "hold_unproven_s": 1})
    first = desk.start("--force", "-p", "paper")
    wait_until(lambda: desk.worker() is not None, 5)
    second = desk.start("--force", "-p", "paper")
    assert second.stderr is not None
    for line in second.stderr:
        if "attached to" in line:
            break
    worker = desk.worker()
    assert worker is not None
    os.kill(worker, signal.SIGKILL)
    desk.exchange.heal()
    second.communicate(timeout=40)
    first.communicate(timeout=10)
    assert (first.returncode, second.returncode) == (3, 0)
    assert desk.exchange.is_flat
