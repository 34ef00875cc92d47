"""Kill at the US venue, as a process against a paper exchange as a process, judged by the exchange's own books."""

from __future__ import annotations

import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from perpctl.model.mode import Mode
from perpctl.store.latch import Latch
from tests.drills.us_killing import BIP, ETP, SLP, UsDesk, us_desk

pytestmark = pytest.mark.drill


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[UsDesk]:
    with us_desk(tmp_path) as desk:
        yield desk


def hold_three_positions(desk: UsDesk) -> None:
    trader = desk.trader()
    trader.market("BUY", BIP, 10)
    trader.market("SELL", ETP, 8)
    trader.market("BUY", SLP, 3)


def test_flat_and_proven_with_the_bot_dead(desk: UsDesk) -> None:
    trader = desk.trader()
    trader.market("BUY", BIP, 10)
    entry = trader.bid_below(BIP, 1)
    stop = trader.stop("SELL", BIP, 10, "3")
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.is_flat
    assert done.receipt["verdict"] == "PROVEN FLAT"
    assert [trader.status(one) for one in (entry, stop)] == ["CANCELLED", "CANCELLED"]
    assert Latch(desk.directory / "latch").read().mode is Mode.HALTED
    closed = done.receipt["closed"][0]
    assert (closed["product"], Decimal(closed["size"])) == (BIP, Decimal("0.1"))


def test_a_hundred_orders_and_three_positions(desk: UsDesk) -> None:
    hold_three_positions(desk)
    trader = desk.trader()
    for index in range(97):
        trader.bid_below(BIP, 1, percent=str(Decimal("0.5") + Decimal(index) / 100))
    trader.stop("SELL", BIP, 10, "3")
    trader.stop("BUY", ETP, 8, "3")
    trader.stop("BUY", SLP, 1, "2")  # on the opening side: an entry
    assert desk.account["open_orders"] == 100
    began = time.monotonic()
    done = desk.kill()
    assert done.code == 0, done.talk
    assert desk.is_flat
    assert len(done.receipt["closed"]) == 3
    assert time.monotonic() - began < 25
