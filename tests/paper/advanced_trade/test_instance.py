"""The second instance of the core: every tick of the feed, unless the market is hurried and nobody looks."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from perpctl.paper.advanced_trade.instance import PACE_MS, UsVenue
from perpctl.paper.faults import FaultPlane
from perpctl.paper.keys import MAIN_ACCOUNT, MemoryKeys
from perpctl.paper.state import Record
from perpctl.paper.terms.us import BIP
from perpctl.paper.types import NewOrder, Tick
from tests.paper.advanced_trade.trader import START, at

D = Decimal


@pytest.fixture
def us(tmp_path: Path) -> Iterator[UsVenue]:
    record = Record(tmp_path)
    yield UsVenue(record, MemoryKeys(), at(START), 0, FaultPlane(0))
    record.release()


def tick(after_ms: int, price: int = 84000) -> Tick:
    middle = D(price)
    return Tick("BTC_USDC-PERPETUAL", at(START) + after_ms, middle, middle + 1, D(1), D(1), middle, middle)


def bid(us: UsVenue) -> Decimal | None:
    return us.exchange.ticker(BIP.name).best_bid_price


def test_every_tick_of_the_feed_moves_the_market(us: UsVenue) -> None:
    for second, price in enumerate((84000, 84100, 84200), 1):
        us.on_tick(tick(second * 1000, price), "BTC")
        assert bid(us) == price


def test_a_hurried_market_that_nobody_uses_takes_a_tick_now_and_then(us: UsVenue) -> None:
    us.on_tick(tick(1000), "BTC", hurried=True)
    us.on_tick(tick(2000, 84100), "BTC", hurried=True)
    assert bid(us) == 84000
    us.on_tick(tick(1000 + PACE_MS, 84200), "BTC", hurried=True)
    assert bid(us) == 84200


@pytest.mark.parametrize("use", ["an order", "a position", "a listener"])
def test_a_hurried_market_that_somebody_uses_takes_every_tick(us: UsVenue, use: str) -> None:
    us.on_tick(tick(1000), "BTC", hurried=True)
    if use == "a listener":
        us.face.open_session(0.0)
    else:
        price = D(83000 if use == "an order" else 84100)
        new = NewOrder(product=BIP.name, direction="buy", amount=BIP.contract_size, price=price)
        us.exchange.place(MAIN_ACCOUNT, new, us.exchange.now)
    us.on_tick(tick(2000, 84100), "BTC", hurried=True)
    assert bid(us) == 84100
