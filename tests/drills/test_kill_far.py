"""The targets of a kill at a round trip of 50 ms, in time made of answers alone: no loaded machine changes them."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.drills.far import Lines, first, kill_far_away
from tests.drills.killing import BTC, ETH, SOL, Desk, running_exchange

pytestmark = pytest.mark.drill
ROUND_TRIP_S = 0.05
LATCH_S, FIRST_CANCEL_S, CLOSED_S, PROVEN_S = 0.15, 0.4, 3.0, 6.0  # the targets, from Enter
CANCELS_AT_S = LATCH_S + 4 * ROUND_TRIP_S  # TCP, TLS, the sign-in, whose account it is: nothing may be left out
SIDE_BY_SIDE_S = 1.22  # it takes 1.2: closes one after the other take 1.25


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A hundred orders and five positions, two of them isolated."""
    with running_exchange(tmp_path / "exchange") as exchange:
        desk = Desk(tmp_path / "state", tmp_path / "config", exchange)
        desk.validate()
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
        for name, value in desk.environment.items():
            monkeypatch.setenv(name, value)
        yield desk


def test_a_hundred_orders_and_five_positions_within_the_targets(desk: Desk) -> None:
    assert desk.exchange.account["open_orders"] == 100
    assert len(desk.exchange.trader().gateway.positions()) == 5
    lines = kill_far_away(desk, ROUND_TRIP_S, LATCH_S)
    cancelled, closed, proven = first(lines, event="first_cancel"), _done(lines, "close"), _done(lines, "prove")
    assert desk.exchange.is_flat
    assert cancelled == pytest.approx(CANCELS_AT_S)
    assert cancelled <= FIRST_CANCEL_S
    assert closed <= SIDE_BY_SIDE_S <= CLOSED_S
    assert proven <= PROVEN_S


def _done(lines: Lines, step: str) -> float:
    return first(lines, event="step", step=step, state="done")
