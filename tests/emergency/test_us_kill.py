"""A kill at the US venue in virtual time: what is sent, in which order, how large, and what counts as proof."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from perpctl.model import identity
from tests.emergency.virtual import Kill, depth, held, new_kill
from tests.paper.advanced_trade.trader import BIP_ID, Trader, new_trader


@pytest.fixture
def trader() -> Trader:
    trader = new_trader()
    depth(trader, 50)
    return trader


def sizes(kill: Kill) -> list[str]:
    return [body["size"] for body in kill.closes]


def protect(trader: Trader, contracts: int, stop: str = "80000") -> str:
    """A stop under a long position in BIP."""
    limit = str(Decimal(stop) - 800)
    return trader.placed(
        "SELL",
        contracts,
        "stop_limit_stop_limit_gtc",
        stop_price=stop,
        limit_price=limit,
        stop_direction="STOP_DIRECTION_STOP_DOWN",
    )


def test_one_contract_then_its_stop_then_the_rest(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    stop = protect(trader, 10)
    entries = [trader.limit("BUY", 1, str(83_000 + 5 * number)) for number in range(20)]
    kill = new_kill(trader, tmp_path)
    assert kill.run() == 0
    assert held(trader) == {}
    assert trader.exchange.open_orders(1) == []
    assert sizes(kill) == ["1", "9"]
    assert all(identity.is_kill(body["client_order_id"]) for body in kill.closes)
    asked = [path for _, path, _ in kill.line.sent]
    first, rest = (index for index, path in enumerate(asked) if path == "orders/close_position")
    cancels = [index for index, path in enumerate(asked) if path == "orders/batch_cancel"]
    batches = kill.line.bodies("orders/batch_cancel")
    assert sorted(batches[0]["order_ids"]) == sorted(entries)
    assert batches[1] == {"order_ids": [stop]}
    assert cancels[0] < first < cancels[1] < rest
    assert kill.pursuit.canceller.cancelled == set(entries)


def test_a_stop_that_one_contract_made_too_large_is_no_entry(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    stop = protect(trader, 10)
    kill = new_kill(trader, tmp_path)
    kill.run()
    assert stop not in kill.pursuit.canceller.cancelled
    assert kill.pursuit.closer.stops_dropped == 1


def test_two_kills_that_see_the_same_make_one_order(trader: Trader, tmp_path: Path) -> None:
    trader.order("BUY", 10)
    kills = [new_kill(trader, tmp_path, kill_id=f"K-{number}") for number in (1, 2)]
    looks = [(kill.pursuit, venue, kill.pursuit._look(venue)) for kill in kills for venue in [kill.pursuit._entered()]]
    for pursuit, venue, standing in looks:
        pursuit.closer.meet(standing.positions)
        pursuit.closer._allowed(venue, standing.positions[0])  # what it counts with is read before either sends
    for pursuit, venue, standing in looks:
        assert pursuit.closer.close_some(venue, standing).filled
    one, other = (kill.closes[0]["client_order_id"] for kill in kills)
    assert one == other
    assert held(trader)[BIP_ID] == 9
