"""What the gate is shown: everything that may still fill is in it, at its worst, whatever stage it is in."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal as D

import pytest

from perpctl.clock import to_ms
from perpctl.engine import events as e
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.sight import Permission, look
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.order import OrderRequest, OrderStatus
from perpctl.risk.gate import decide
from perpctl.risk.verdict import Reason
from perpctl.risk.view import GateInput
from tests.conftest import both_venues
from tests.engine.bench import Bench, as_order, bid, offer, placed

FREE = Permission(Mode.NORMAL, kill_in_progress=False, lease_left_ms=5_000)


def seen(bench: Bench, about: OrderRequest) -> GateInput:
    return look(bench.core, about, FREE, Meter(), bench.now)


@both_venues
def test_an_order_on_its_way_counts_in_full_for_the_next_one(bench: Bench) -> None:
    first, second = (one.request for one in placed(bench.wish(bid("0.05"), offer("0.05"))))
    assert [one.request.identity for one in seen(bench, second).unknown] == [first.identity]
    assert [one.request.identity for one in seen(bench, first).unknown] == [second.identity]


@both_venues
def test_orders_in_flight_cannot_pass_the_limit_together(bench: Bench) -> None:
    for number in range(5):
        bench.core.follow(bench.world.request(size="0.11", identity=f"mine-{number}"), "on its way")
    one_more = bench.world.request(size="0.11", identity="mine-5")
    decision = decide(one_more, seen(bench, one_more), bench.core.rules.limits)
    refused = {control.reason_code for control in decision.controls if control.reason_code is not None}
    assert Reason.POSITION_TOO_LARGE in refused


@both_venues
def test_an_unknown_order_and_one_whose_fills_are_missing_count_by_what_is_left(bench: Bench) -> None:
    lost, ended = (one.request for one in placed(bench.wish(bid("0.05"), offer("0.04"))))
    bench.tell(e.Placed(lost.identity, port.Unknown("no answer")))
    bench.tell(e.Placed(ended.identity, port.Confirmed(as_order(ended, OrderStatus.FILLED, filled=D("0.04")))))
    bench.tell(bench.fill(ended, "0.03"))
    unknown = [one.request for one in seen(bench, bench.world.request()).unknown if one.request.trigger_price is None]
    left = {asked.identity: asked.size for asked in unknown}
    assert left == {lost.identity: D("0.05"), ended.identity: D("0.01")}


@both_venues
def test_resting_orders_and_strangers_are_shown_as_the_venue_told_them(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    bench.tell(port.OrderSeen(as_order(entry, order_id="x-1", identity="by-hand")))
    assert [order.order_id for order in seen(bench, bench.world.request()).working] == [f"o-{entry.identity}", "x-1"]


@both_venues
def test_a_dated_future_held_beside_counts_in_the_net_of_its_coin(bench: Bench) -> None:
    one_more = bench.world.request(size=bench.world.largest_order)

    def too_large(size: str) -> bool:
        dated = bench.position(size, product_id=bench.world.dated, seen=bench.now)
        bench.tell(e.Reconciled((dated,), (), (), bench.now))
        decision = decide(one_more, seen(bench, one_more), bench.core.rules.limits)
        return Reason.NET_TOO_LARGE in {control.reason_code for control in decision.controls}

    assert [too_large(size) for size in ("0.45", "0.5", "0.45")] == [False, True, False]


@both_venues
def test_what_was_never_read_has_no_age(bench: Bench) -> None:
    bench.core.day.account = None
    bench.product.quote = None
    view = seen(bench, bench.world.request())
    assert (view.account, view.account_age_ms, view.quote_age_ms) == (None, None, None)


@pytest.mark.parametrize(
    ("venue", "at", "paused"),
    [
        ("global", "2026-11-27T07:59:31", True),
        ("global", "2026-11-27T21:50:00", False),
        ("us", "2026-11-27T07:59:31", False),
        ("us", "2026-11-27T21:50:00", True),  # ten minutes before the weekly stop of New York's Friday
    ],
    indirect=["venue"],
)
def test_the_gate_is_shown_the_planned_stops_of_the_venue_that_is_traded(bench: Bench, at: str, paused: bool) -> None:
    bench.at_ms = to_ms(datetime.fromisoformat(at).replace(tzinfo=UTC))
    bench.quote()
    asked = bench.world.request()
    decision = decide(asked, seen(bench, asked), bench.core.rules.limits)
    refused = {control.reason_code for control in decision.controls if control.reason_code is not None}
    assert (Reason.PLANNED_STOP in refused) is paused
