"""The targets of a kill at 50 ms, as round trips in sequence: the same on any machine, however loaded."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.drills.killing import BTC, ETH, SOL, Desk, running_exchange
from tests.drills.rounds import Reached, counting

pytestmark = pytest.mark.drill
ROUND_TRIP_S = 0.05
TLS_ROUNDS = 1  # of a real venue, on top of the connection (TLS 1.3); the exchange of the drill speaks in the clear
SIDE_BY_SIDE = 17  # it takes 14; five closes one after the other, or five books, would be more
LATCH_S, FIRST_CANCEL_S, CLOSED_S, PROVEN_S = 0.15, 0.4, 3.0, 6.0  # the targets, from Enter


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A hundred orders and five positions, two of them isolated."""
    with running_exchange(tmp_path / "exchange") as exchange:
        desk = Desk(tmp_path / "state", tmp_path / "config", exchange)
        desk.validate()
        for name, value in desk.environment.items():
            monkeypatch.setenv(name, value)
        trader = exchange.trader()
        trader.market("buy", BTC, "0.1")
        trader.market("sell", ETH, "1")
        trader.market("buy", SOL, "10")
        trader.market("buy", BTC, "0.01", isolated=True, allocated_margin=Decimal(300))
        trader.market("buy", SOL, "10", isolated=True, allocated_margin=Decimal(300))
        for index in range(97):
            trader.bid_below(BTC, "0.001", percent=str(Decimal("0.5") + Decimal(index) / 1000))
        trader.stop("sell", BTC, "0.1", "-3", reduce_only=True)
        trader.stop("buy", ETH, "1", "3", reduce_only=True)
        trader.stop("sell", SOL, "10", "-3", reduce_only=True)
        yield desk


def test_the_targets_at_fifty_milliseconds_are_kept_in_round_trips(desk: Desk) -> None:
    assert desk.exchange.account["open_orders"] == 100
    assert len(desk.exchange.trader().gateway.positions()) == 5
    with counting(desk) as kill:
        reached = kill().reached
    assert desk.exchange.is_flat
    first, closed, proven = (reached[name] for name in ("first_cancel", "step close done", "step prove done"))
    assert first == Reached(3, 0.0), "a connection, a sign-in, whose account it is"
    assert _after_latch(first) <= FIRST_CANCEL_S - LATCH_S, first
    assert closed.rounds <= SIDE_BY_SIDE
    assert _after_latch(closed) <= CLOSED_S - LATCH_S, closed
    assert _after_latch(proven) <= PROVEN_S - LATCH_S, proven


def _after_latch(reached: Reached) -> float:
    return reached.at(ROUND_TRIP_S) + TLS_ROUNDS * ROUND_TRIP_S
