"""Where the venue knows no reduce-only, an exit of the strategy's goes beside nothing that could turn the position."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpctl.engine import events as e
from perpctl.engine.state.grounds import grounds_of
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.sight import Permission, look
from perpctl.engine.state.working import Stage
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.order import OrderRequest, OrderStatus, Purpose, Side, TimeInForce
from tests.engine.bench import Bench, as_order, bid, of, offer, only, placed

OUT = offer("0.1", "84095", take=True)


@pytest.fixture
def bench() -> Bench:
    return Bench(venue="us")


def covered(bench: Bench, size: str = "0.1") -> OrderRequest:
    stop: OrderRequest = bench.hold(size).request
    bench.accept(stop, status=OrderStatus.UNTRIGGERED)
    return stop


def stopped_twice(bench: Bench) -> tuple[OrderRequest, OrderRequest]:
    """0.1 and 0.05, each under a stop of its own."""
    first = covered(bench)
    entry = placed(bench.wish(bid("0.05")))[0].request
    bench.accept(entry)
    second = only(bench.tell(bench.fill(entry)), e.PlaceStop).request
    bench.accept(second, status=OrderStatus.UNTRIGGERED)
    return first, second


def test_the_stop_is_read_gone_before_the_exit_leaves(bench: Bench) -> None:
    stop = covered(bench)
    effects = bench.wish(OUT)
    assert not placed(effects)
    assert not of(effects, e.CloseNow)
    order = only(effects, e.CancelStop).order
    assert order.identity == stop.identity
    assert not of(bench.tell(e.CancelAnswered(stop.identity, port.Unknown("timed out"))), e.CloseNow)
    over = replace(order, status=OrderStatus.CANCELLED, updated_ms=order.updated_ms + 1)
    exit_ = only(bench.tell(e.Settled(stop.identity, port.Confirmed(over))), e.CloseNow).request
    assert (exit_.size, exit_.side, exit_.price) == (D("0.1"), Side.SELL, D("84095"))
    assert (exit_.purpose, exit_.time_in_force, exit_.reduce_only) == (Purpose.CLOSE, TimeInForce.IOC, True)
    assert not of(bench.tell(bench.fill(exit_)), e.PlaceStop)


def test_what_is_left_after_it_has_its_stop_again_at_once(bench: Bench) -> None:
    covered(bench)
    [exit_] = bench.exits(replace(OUT, size=D("0.04")))
    assert (exit_.size, exit_.purpose) == (D("0.04"), Purpose.REDUCE)
    assert only(bench.tell(bench.fill(exit_)), e.PlaceStop).request.size == D("0.06")


def test_of_several_stops_only_what_would_be_too_much_goes(bench: Bench) -> None:
    _, second = stopped_twice(bench)
    effects = bench.wish(replace(OUT, size=D("0.05")))
    assert only(effects, e.CancelStop).order.identity == second.identity
    exit_ = only(bench.gone(only(effects, e.CancelStop).order), e.CloseNow).request
    assert exit_.size == D("0.05")
    assert not of(bench.tell(bench.fill(exit_)), e.PlaceStop)  # the first covers what is left


@pytest.mark.parametrize("refused", [True, False])
def test_after_a_refused_or_unknown_exit_the_stop_goes_back(bench: Bench, *, refused: bool) -> None:
    covered(bench)
    [exit_] = bench.exits(OUT)
    answer: port.Outcome = port.Refused(None, "nothing stands within it") if refused else port.Unknown("timed out")
    effects = bench.tell(e.Placed(exit_.identity, answer)) + bench.later(0.1)
    assert only(effects, e.PlaceStop).request.size == D("0.1")


def test_an_exit_that_was_held_up_for_long_is_forgotten_and_the_stop_is_back(bench: Bench) -> None:
    stop = covered(bench)
    order = only(bench.wish(OUT), e.CancelStop).order
    bench.tell(e.CancelAnswered(stop.identity, port.Unknown("timed out")))
    bench.later(5.1)
    over = replace(order, status=OrderStatus.CANCELLED, updated_ms=order.updated_ms + 1)
    effects = bench.tell(e.Settled(stop.identity, port.Confirmed(over)))
    assert not of(effects, e.CloseNow)
    assert only(effects, e.PlaceStop).request.size == D("0.1")


def test_a_stop_that_fired_meanwhile_leaves_nothing_to_exit(bench: Bench) -> None:
    stop = covered(bench)
    order = only(bench.wish(OUT), e.CancelStop).order
    effects = bench.tell(bench.fill(stop)) + bench.gone(order, filled=D("0.1")) + bench.later(0.1)
    assert (bench.product.position, of(effects, e.CloseNow)) == (D(0), [])


def test_a_stop_that_filled_in_part_leaves_less(bench: Bench) -> None:
    stop = covered(bench)
    order = only(bench.wish(OUT), e.CancelStop).order
    bench.tell(bench.fill(stop, "0.04"))
    assert only(bench.gone(order, filled=D("0.04")), e.CloseNow).request.size == D("0.06")


def test_a_close_for_safety_does_not_wait_behind_it(bench: Bench) -> None:
    covered(bench)
    order = only(bench.wish(replace(OUT, size=D("0.02"))), e.CancelStop).order
    bench.core.close_all("the day's loss", bench.now)
    assert only(bench.gone(order), e.CloseNow).request.size == D("0.1")


def test_nobody_asks_the_strategy_while_it_is_under_way(bench: Bench) -> None:
    covered(bench)
    bench.wish(OUT)
    assert not [one for one in bench.wish(OUT) if isinstance(one, e.CloseNow | e.CancelStop | e.PlaceEntry)]


def test_the_journal_says_that_the_strategy_decided_it(bench: Bench) -> None:
    covered(bench)
    [exit_] = bench.exits(OUT)
    view = look(bench.core, exit_, Permission(Mode.NORMAL, False, 5_000), Meter(), bench.now)
    assert grounds_of(bench.core, exit_, "test", view).strategy == "scripted"


def test_where_the_venue_enforces_reduce_only_it_leaves_at_once_beside_the_stop() -> None:
    native = Bench()
    native.accept(native.hold("0.1").request)
    effects = native.wish(OUT)
    assert placed(effects)[0].request.reduce_only
    assert not of(effects, e.CancelStop)


@given(
    exits=st.lists(st.decimals("0.01", "0.2", places=2), min_size=1, max_size=4),
    answers=st.lists(st.sampled_from(["filled", "half", "refused", "unknown", "late"]), min_size=8, max_size=8),
)
def test_whatever_happens_nothing_on_its_way_together_could_turn_the_position(
    exits: list[D], answers: list[str]
) -> None:
    bench = Bench(venue="us")
    stopped_twice(bench)
    told = iter(answers)
    for size in exits:
        if not bench.product.position:
            return
        effects = bench.wish(replace(OUT, size=size))
        for _ in range(4):
            effects = _answered(bench, effects, next(told, "filled")) + bench.later(1.1)
            selling = (one for one in bench.core.orders.ours.values() if one.request.side is Side.SELL)
            closing = sum((one.remaining for one in selling), D(0))
            close = bench.core.orders.ours.get(bench.product.closing or "")
            lost = close is not None and close.stage is Stage.UNKNOWN  # it may never come: the stop stands again
            assert lost or closing <= bench.product.position
            assert bench.product.position >= 0


def _answered(bench: Bench, effects: list[e.Effect], how: str) -> list[e.Effect]:
    """The venue's answers: cancels and stops as asked for, the exit as `how` says."""
    found: list[e.Effect] = []
    for one in effects:
        match one:
            case e.CancelStop(order, _):
                found += bench.gone(order)
            case e.PlaceStop(request, _):
                found += bench.accept(request, status=OrderStatus.UNTRIGGERED)
            case e.CloseNow(request, _):
                found += _closed(bench, request, how)
    return found


def _closed(bench: Bench, request: OrderRequest, how: str) -> list[e.Effect]:
    if how == "refused":
        return bench.tell(e.Placed(request.identity, port.Refused(None, "test")))
    if how in ("unknown", "late"):
        lost = bench.tell(e.Placed(request.identity, port.Unknown("timed out")))
        if how == "unknown":
            return lost + bench.tell(e.Settled(request.identity, port.Absent("two empty readings")))
        return lost + bench.tell(bench.fill(request))
    filled = request.size if how == "filled" else max(D("0.0001"), request.size / 2)
    effects = bench.tell(bench.fill(request, str(filled)))
    status = OrderStatus.FILLED if filled == request.size else OrderStatus.CANCELLED
    return effects + bench.tell(e.Placed(request.identity, port.Confirmed(as_order(request, status, filled=filled))))
