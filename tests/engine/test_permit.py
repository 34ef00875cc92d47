"""Right before the bytes of an entry leave, and again before they leave once more: latch, lease, and the price now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D
from pathlib import Path

import pytest

from perpctl.clock import ManualClock, to_ms
from perpctl.engine.sending import Permit
from perpctl.engine.simulation.memory import SoleHolder
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.sight import Permission, look
from perpctl.model.mode import Mode
from perpctl.model.order import OrderRequest
from perpctl.risk.gate import still_holds
from perpctl.store.latch import Latch, LatchState
from tests.conftest import START
from tests.engine.bench import Bench, bid, placed


@pytest.fixture
def latch(tmp_path: Path) -> Latch:
    clock = ManualClock(START)
    made = Latch(tmp_path / "latch", now_ms=lambda: to_ms(clock.now()))
    made.write(LatchState(Mode.NORMAL, "t", "a test", to_ms(START), "human"))
    return made


def holds(bench: Bench) -> Callable[[OrderRequest], str | None]:
    free = Permission(Mode.NORMAL, kill_in_progress=False, lease_left_ms=5_000)

    def check(request: OrderRequest) -> str | None:
        return still_holds(request, look(bench.core, request, free, Meter(), bench.now), bench.core.rules.limits)

    return check


def test_an_order_whose_price_left_the_collar_meanwhile_does_not_leave_again(latch: Latch) -> None:
    bench = Bench("us")
    entry = placed(bench.wish(bid(price="84080")))[0].request
    permit = Permit(latch, SoleHolder(), holds(bench))
    assert permit(entry) is None
    bench.quote("84600")
    assert "collar" in str(permit(entry))
    bench.quote("84100")
    assert permit(entry) is None


def test_a_price_that_grew_old_meanwhile_holds_it_back(latch: Latch) -> None:
    bench = Bench("us")
    entry = placed(bench.wish(bid(price="84080")))[0].request
    bench.now += 2.5
    assert Permit(latch, SoleHolder(), holds(bench))(entry) is not None


def test_a_latch_set_meanwhile_holds_it_back_whatever_the_price(latch: Latch) -> None:
    bench = Bench("us")
    entry = placed(bench.wish(bid()))[0].request
    permit = Permit(latch, SoleHolder(), holds(bench))
    latch.write(LatchState(Mode.HALTED, "t", "stop", to_ms(START), "human"))
    assert "halted" in str(permit(entry))


def test_a_lost_lease_holds_it_back(latch: Latch) -> None:
    class Lost(SoleHolder):
        def left_ms(self) -> int:
            return 0

    bench = Bench("us")
    entry = replace(placed(bench.wish(bid()))[0].request, price=D("84080"))
    assert Permit(latch, Lost(), holds(bench))(entry) == "the lease is lost"
