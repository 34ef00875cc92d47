"""Where the venue knows no reduce-only: stops of the size of the position, and no close beside anything that closes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

import pytest

from perpctl.engine import events as e
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.sight import Permission, look
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.order import OrderRequest, OrderStatus, OrderType, Purpose, Side
from perpctl.risk.gate import decide
from tests.engine.bench import Bench, as_order, bid, of, offer, only, placed

FREE = Permission(Mode.NORMAL, kill_in_progress=False, lease_left_ms=5_000)


@pytest.fixture
def bench() -> Bench:
    return Bench("us")


def covered(bench: Bench, size: str = "0.1") -> OrderRequest:
    """A long position under its stop."""
    stop: OrderRequest = bench.hold(size).request
    bench.accept(stop, status=OrderStatus.UNTRIGGERED)
    return stop


def grow(bench: Bench, size: str, price: str = "84100") -> list[e.Effect]:
    entry = placed(bench.wish(bid(size)))[0].request
    bench.accept(entry)
    return bench.tell(bench.fill(entry, price=price))


def shrink(bench: Bench, size: str) -> list[e.Effect]:
    """By an offer that rested: what the strategy takes at once goes another way, tests/engine/test_exits.py."""
    out = placed(bench.wish(offer(size)))[0].request
    bench.accept(out)
    return bench.tell(bench.fill(out))


def cancels(effects: Sequence[e.Effect]) -> list[str | None]:
    return [one.order.identity for one in of(effects, e.CancelStop)]


def test_the_stop_is_a_stop_limit_on_last_one_percent_beyond_and_without_an_end(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    assert (stop.type, stop.trigger, stop.purpose) == (OrderType.STOP_LIMIT, "last_price", Purpose.STOP)
    assert stop.trigger_price == D(82420)
    assert stop.price == D("81595")  # one percent under, on the tick
    assert stop.ends_ms is None


def test_a_grown_position_gets_another_stop_for_the_difference_alone(bench: Bench) -> None:
    covered(bench)
    more = grow(bench, "0.05")
    assert only(more, e.PlaceStop).request.size == D("0.05")
    assert not of(more, e.CancelStop)


def test_a_shrunken_position_loses_its_stop_before_it_gets_a_smaller_one(bench: Bench) -> None:
    stop = covered(bench)
    effects = shrink(bench, "0.04")
    assert cancels(effects) == [stop.identity]
    assert not of(effects, e.PlaceStop)
    assert only(bench.gone(only(effects, e.CancelStop).order), e.PlaceStop).request.size == D("0.06")


def test_of_several_stops_only_what_is_too_much_goes(bench: Bench) -> None:
    first = covered(bench)
    second = only(grow(bench, "0.05"), e.PlaceStop).request
    bench.accept(second, status=OrderStatus.UNTRIGGERED)
    assert cancels(shrink(bench, "0.05")) == [second.identity]
    assert bench.core.guard.covered(bench.product, bench.core.orders) == first.size


def test_a_fourth_stop_waits_until_the_two_smallest_have_made_room(bench: Bench) -> None:
    sizes = [covered(bench, "0.05").identity]
    for size in ("0.01", "0.02"):
        stop = only(grow(bench, size), e.PlaceStop).request
        bench.accept(stop, status=OrderStatus.UNTRIGGERED)
        sizes.append(stop.identity)
    effects = grow(bench, "0.01")
    assert cancels(effects) == sizes[1:]
    small = [one.order for one in of(effects, e.CancelStop)]
    assert not of(bench.gone(small[0]), e.PlaceStop)
    assert only(bench.gone(small[1]), e.PlaceStop).request.size == D("0.04")


def test_flat_again_the_stop_is_taken_back_at_once(bench: Bench) -> None:
    stop = covered(bench)
    assert cancels(shrink(bench, "0.1")) == [stop.identity]


# --- closing


def test_a_close_waits_until_the_stop_is_read_gone(bench: Bench) -> None:
    stop = covered(bench)
    effects = bench.core.close_all("test", bench.now)
    assert cancels(effects) == [stop.identity]
    assert not of(effects, e.CloseNow)
    order = only(effects, e.CancelStop).order
    assert not of(bench.tell(e.CancelAnswered(stop.identity, port.Unknown("timed out"))), e.CloseNow)
    assert not of(bench.later(1), e.CloseNow)
    over = replace(order, status=OrderStatus.CANCELLED, updated_ms=order.updated_ms + 1)
    close = only(bench.tell(e.Settled(stop.identity, port.Confirmed(over))), e.CloseNow).request
    assert (close.size, close.side, close.reduce_only) == (D("0.1"), Side.SELL, True)


def test_a_stop_that_filled_in_part_before_it_went_leaves_less_to_close(bench: Bench) -> None:
    stop = covered(bench)
    order = only(bench.core.close_all("test", bench.now), e.CancelStop).order
    bench.tell(bench.fill(stop, "0.04"))
    close = only(bench.gone(order, filled=D("0.04")), e.CloseNow).request
    assert close.size == D("0.06")


def test_an_offer_that_rests_goes_before_the_close_too(bench: Bench) -> None:
    stop = covered(bench)
    rests = placed(bench.wish(offer("0.05")))[0].request
    bench.accept(rests)
    effects = bench.core.close_all("test", bench.now)
    assert only(effects, e.CancelEntry).order.identity == rests.identity
    assert not of(bench.gone(only(effects, e.CancelStop).order), e.CloseNow)
    assert stop.identity not in bench.core.orders.ours
    assert only(bench.gone(only(effects, e.CancelEntry).order), e.CloseNow)


@pytest.mark.parametrize("refused", [True, False])
def test_after_a_refused_or_unknown_close_the_stop_goes_back_at_once(bench: Bench, *, refused: bool) -> None:
    covered(bench)
    order = only(bench.core.close_all("test", bench.now), e.CancelStop).order
    close = only(bench.gone(order), e.CloseNow).request
    answer: port.Outcome = port.Refused(None, "INVALID_FCM_TRADING_SESSION") if refused else port.Unknown("timed out")
    effects = bench.tell(e.Placed(close.identity, answer)) + bench.later(0.1)
    assert only(effects, e.PlaceStop).request.size == D("0.1")


def test_a_close_that_came_after_all_takes_the_stop_back(bench: Bench) -> None:
    covered(bench)
    order = only(bench.core.close_all("test", bench.now), e.CancelStop).order
    close = only(bench.gone(order), e.CloseNow).request
    bench.tell(e.Placed(close.identity, port.Unknown("timed out")))
    stop = only(bench.later(0.1), e.PlaceStop).request
    bench.accept(stop, status=OrderStatus.UNTRIGGERED)
    assert cancels(bench.tell(bench.fill(close))) == [stop.identity]


def test_what_another_may_close_is_not_closed_twice(bench: Bench) -> None:
    stop = covered(bench)
    by_hand = as_order(stop, OrderStatus.OPEN, order_id="x-1", identity="by-hand", size=D("0.03"), reduce_only=False)
    bench.tell(port.OrderSeen(replace(by_hand, type=OrderType.LIMIT, trigger_price=None)))
    order = only(bench.core.close_all("test", bench.now), e.CancelStop).order
    assert only(bench.gone(order), e.CloseNow).request.size == D("0.07")


def test_a_position_that_a_stranger_holds_whole_is_told_of_and_not_turned_over(bench: Bench) -> None:
    stop = covered(bench)
    bench.tell(port.OrderSeen(as_order(stop, OrderStatus.UNTRIGGERED, order_id="x-1", identity="by-hand")))
    effects = bench.core.close_all("test", bench.now)
    for one in of(effects, e.CancelStop):
        effects += bench.gone(one.order)
    assert not of(effects, e.CloseNow)
    assert 4 in [alert.level for alert in of(effects, e.Alert)]


def test_a_stop_that_fired_and_did_not_fill_in_five_seconds_is_closed_at_market(bench: Bench) -> None:
    stop = covered(bench)
    bench.tell(port.OrderSeen(as_order(stop, OrderStatus.TRIGGERED)))
    assert not of(bench.later(4.9), e.CancelStop)
    effects = bench.later(0.2)
    assert only(effects, e.Alert).level == 4
    assert cancels(effects) == [stop.identity]
    close = only(bench.gone(only(effects, e.CancelStop).order), e.CloseNow).request
    assert (close.type, close.price, close.size) == (OrderType.MARKET, None, D("0.1"))


def test_a_stop_that_fired_and_fills_is_left_to_it(bench: Bench) -> None:
    stop = covered(bench)
    bench.tell(port.OrderSeen(as_order(stop, OrderStatus.TRIGGERED)))
    bench.later(2)
    bench.tell(bench.fill(stop))
    assert not of(bench.later(4), e.Alert)


def test_bare_for_five_seconds_it_is_closed(bench: Bench) -> None:
    bench.tell(e.Placed(bench.hold("0.1").request.identity, port.Unknown("timed out")))
    assert not of(bench.later(4.9), e.CloseNow)
    assert only(bench.later(0.2), e.CloseNow).request.size == D("0.1")


def test_a_close_that_the_gate_holds_back_is_not_asked_for_in_a_circle(bench: Bench) -> None:
    bench.tell(e.Placed(bench.hold("0.1").request.identity, port.Unknown("timed out")))
    close = only(bench.later(5.1), e.CloseNow).request
    assert not of(bench.tell(e.HeldBack(close.identity, "not_reducing", "test")), e.CloseNow)
    assert only(bench.later(1.1), e.CloseNow)


def test_stops_of_the_wrong_size_are_alarmed_after_ten_seconds(bench: Bench) -> None:
    stop = covered(bench)
    order = only(shrink(bench, "0.04"), e.CancelStop).order
    bench.tell(e.CancelAnswered(stop.identity, port.Refused(None, "INVALID_CANCEL_FCM_TRADING_SESSION")))
    bench.tell(e.Settled(stop.identity, port.Confirmed(order)))
    bench.later(0.1)
    alerts = [alert for alert in of(bench.later(10.1), e.Alert) if alert.name.startswith("stop cover")]
    assert [alert.level for alert in alerts] == [3]


# --- what the gate is told


def test_the_gate_knows_that_nothing_here_is_reduce_only(bench: Bench) -> None:
    stop = covered(bench)
    assert look(bench.core, stop, FREE, Meter(), bench.now).venue_enforces_reduce_only is False
    assert look(Bench().core, stop, FREE, Meter(), bench.now).venue_enforces_reduce_only is True


def test_a_second_stop_of_the_whole_position_is_no_exit(bench: Bench) -> None:
    stop = covered(bench)
    bench.tell(e.Reconciled((bench.position("0.1"),), (as_order(stop, OrderStatus.UNTRIGGERED),), (), bench.now))
    twin = replace(stop, identity="mine-99")
    view = look(bench.core, twin, FREE, Meter(), bench.now)
    assert not decide(twin, view, bench.core.rules.limits).allowed


def test_what_rests_against_the_position_is_an_entry_because_it_may_turn_it(bench: Bench) -> None:
    covered(bench)
    rests = placed(bench.wish(offer("0.05")))[0].request
    assert (rests.reduce_only, rests.purpose) == (False, Purpose.OPEN)
    native = Bench()
    native.accept(native.hold("0.1").request)
    assert placed(native.wish(offer("0.05")))[0].request.reduce_only


def test_a_position_beside_a_resting_offer_still_gets_its_stop(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    rests = placed(bench.wish(offer("0.1")))[0].request
    bench.accept(rests)
    bench.tell(e.Reconciled((bench.position("0.1"),), (as_order(rests),), (), bench.now))
    assert decide(stop, look(bench.core, stop, FREE, Meter(), bench.now), bench.core.rules.limits).allowed
