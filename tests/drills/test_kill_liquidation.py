"""Kill while the venue itself liquidates: entries go, no close is sent, exit 3 until it ends, and then it goes on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.drills.killing import BTC, ETH, Desk, running_exchange, wait_until

pytestmark = pytest.mark.drill


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with running_exchange(tmp_path / "exchange") as exchange:
        desk = Desk(tmp_path / "state", tmp_path / "config", exchange)
        desk.validate(kill={"foreground_s": 4, "hold_s": 1, "hold_unproven_s": 1})
        yield desk
        desk.end_workers()


def story(desk: Desk, kill_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (desk.directory / "kills" / f"{kill_id}.jsonl").read_text().splitlines()]


def begin_liquidation(desk: Desk) -> None:
    """Short of margin, and lasting: the book of the largest position is shut, so the venue cannot get on with it."""
    exchange, trader = desk.exchange, desk.exchange.trader()
    trader.market("buy", BTC, "1")
    trader.market("buy", ETH, "1")
    exchange.control("state", "POST", instrument_name=BTC, state="locked")
    price, owner = trader.ticker(BTC).mark, trader.gateway.account()
    assert price is not None
    spare = owner.margin_balance - owner.maintenance_margin
    exchange.control("deposit", "POST", amount=str(100 - spare))
    exchange.control("price", "POST", instrument_name=BTC, price=str(price * Decimal("0.99")))
    wait_until(lambda: _buffer(desk) < 0, 5)


def _buffer(desk: Desk) -> Decimal:
    owner = desk.exchange.trader().gateway.account()
    return owner.margin_balance - owner.maintenance_margin


def test_no_close_is_sent_until_the_venue_has_done_and_then_it_is_finished(desk: Desk) -> None:
    begin_liquidation(desk)
    done = desk.kill()
    assert done.code == 3, done.talk
    assert done.receipt["pending"] is True
    assert "liquidation" in done.step("close")["evidence"]
    assert done.receipt["margin_buffer"]["liquidated_now"] is True
    told = story(desk, done.receipt["kill_id"])
    assert not [line for line in told if line["event"] == "close"], "the venue closes; ours would be refused"
    assert desk.exchange.account["positions"].keys() == {BTC, ETH}

    desk.exchange.control("deposit", "POST", amount="50000")
    desk.exchange.control("state", "POST", instrument_name=BTC, state="open")
    wait_until(lambda: desk.exchange.is_flat, 15)
    wait_until(lambda: desk.worker() is None, 15)
    assert desk.kill("-p", "paper", "--status").code == 0
    assert [line for line in story(desk, done.receipt["kill_id"]) if line["event"] == "close"], "by us, in the end"
