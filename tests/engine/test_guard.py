"""Every position has its stop within five seconds, in its size, where it belongs; what cannot have one is closed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

from perpctl.engine import events as e
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.money import price_up
from perpctl.model.order import OrderRequest, OrderStatus, Purpose, Side
from tests.conftest import both_venues
from tests.engine.bench import Bench, as_order, bid, of, offer, only, placed

pytestmark = both_venues


def answered(bench: Bench, effects: list[e.Effect]) -> list[e.Effect]:
    """The venue does what is asked about stops, and about what that leads to; everything that was asked."""
    asked, following = list(effects), list(effects)
    while following:
        match following.pop(0):
            case e.PlaceStop(request, _):
                bench.now += 0.1
                more = bench.accept(request)
            case e.CancelStop(order, _):
                over = replace(order, status=OrderStatus.CANCELLED, updated_ms=order.updated_ms + 1)
                more = bench.tell(e.CancelAnswered(order.identity or "", port.Confirmed(over)))
            case _:
                more = []
        asked += more
        following += more
    return asked


def rested(bench: Bench, size: str) -> OrderRequest:
    """An offer that rests: what is taken at once may have to wait for the stop, and is tried in test_exits.py."""
    out: OrderRequest = placed(bench.wish(offer(size)))[0].request
    bench.accept(out)
    return out


def covered(bench: Bench) -> D:
    return bench.core.guard.covered(bench.product, bench.core.orders)


def test_a_fill_asks_at_once_for_a_stop_of_its_size_two_percent_away(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    terms = bench.world.terms.stop
    assert (stop.side, stop.size, stop.type, stop.trigger) == (Side.SELL, D("0.1"), terms.type, terms.trigger)
    assert (stop.reduce_only, stop.trigger_price) == (True, price_up(D(82418), bench.world.tick))
    assert stop.purpose is Purpose.STOP


def test_only_one_stop_is_on_its_way_at_a_time(bench: Bench) -> None:
    bench.hold("0.1")
    assert not of(bench.later(1), e.PlaceStop)


def test_a_grown_position_is_covered_whole_and_what_was_there_is_not_taken_before(bench: Bench) -> None:
    """By one stop of its whole size, or where nothing keeps two from turning it, by one of the difference."""
    old = bench.hold("0.1").request
    bench.accept(old)
    entry = placed(bench.wish(bid("0.05")))[0].request
    bench.accept(entry)
    effects = bench.tell(bench.fill(entry))
    assert not of(effects, e.CancelStop)
    native = bench.world.terms.reduces_only
    assert only(effects, e.PlaceStop).request.size == (D("0.15") if native else D("0.05"))
    gone = [cancel.order.identity for cancel in of(answered(bench, effects), e.CancelStop)]
    assert gone == ([old.identity] if native else [])
    assert covered(bench) == D("0.15")


def test_a_shrunken_stop_is_not_counted_at_its_old_size_when_the_position_grows_again(bench: Bench) -> None:
    bench.accept(bench.hold("0.1").request)
    out = rested(bench, "0.06")
    answered(bench, bench.tell(bench.fill(out)))
    back = placed(bench.wish(bid("0.04")))[0].request
    effects = bench.tell(bench.fill(back))
    assert only(effects, e.PlaceStop).request.size == (D("0.08") if bench.world.terms.reduces_only else D("0.04"))
    answered(bench, effects)
    assert covered(bench) == D("0.08")


def test_flat_again_the_stop_is_taken_back(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    bench.accept(stop)
    out = rested(bench, "0.1")
    assert only(bench.tell(bench.fill(out)), e.CancelStop).order.identity == stop.identity


def test_a_refused_stop_is_tried_again_after_a_second(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    assert not of(bench.tell(e.Placed(stop.identity, port.Refused(11029, "invalid"))), e.PlaceStop)
    assert only(bench.later(1.1), e.PlaceStop).request.identity != stop.identity


def test_a_position_bare_for_five_seconds_is_closed_collared_and_reduce_only(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    bench.tell(e.Placed(stop.identity, port.Unknown("timed out")))
    assert not of(bench.later(4.9), e.CloseNow)
    close = only(bench.later(0.2), e.CloseNow).request
    assert (close.side, close.size, close.reduce_only, close.purpose) == (Side.SELL, D("0.1"), True, Purpose.CLOSE)
    assert close.price == price_up(D("83679.5"), bench.world.tick)  # half a percent under the mark
    assert not of(bench.later(1), e.CloseNow)


def test_the_close_is_tried_again_when_it_was_refused(bench: Bench) -> None:
    bench.tell(e.Placed(bench.hold("0.1").request.identity, port.Unknown("timed out")))
    close = only(bench.later(5.1), e.CloseNow).request
    bench.tell(e.Placed(close.identity, port.Refused(None, "no")))
    assert only(bench.later(1.1), e.CloseNow).request.identity != close.identity


def test_a_price_past_where_the_stop_belongs_closes_at_once(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    bench.quote("82000")
    bench.tell(e.Placed(stop.identity, port.Refused(11036, "invalid_trigger_price")))
    assert only(bench.later(1.1), e.CloseNow)


def test_stops_are_placed_while_trading_is_halted(bench: Bench) -> None:
    entry = placed(bench.wish(bid("0.1")))[0].request
    bench.accept(entry)
    bench.tell(e.ModeChanged(Mode.HALTED, "test"))
    assert only(bench.tell(bench.fill(entry)), e.PlaceStop)


def test_a_vanished_stop_is_noticed_and_placed_again(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    bench.accept(stop)
    gone = as_order(stop, OrderStatus.CANCELLED, updated_ms=2_000_000_000_000)
    assert only(bench.tell(port.OrderSeen(gone)), e.PlaceStop)


def test_a_stop_placed_by_hand_covers_too(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    by_hand = as_order(stop, order_id="x-1", identity="by-hand")
    bench.tell(port.OrderSeen(by_hand))
    bench.tell(e.Placed(stop.identity, port.Refused(None, "no")))
    assert not of(bench.later(1.1), e.PlaceStop)


def test_a_stop_follows_the_average_entry_when_it_moves_far_enough(bench: Bench) -> None:
    bench.accept(bench.hold("0.1").request)
    out = rested(bench, "0.09")
    answered(bench, bench.tell(bench.fill(out)))
    bench.quote("85500")
    back = placed(bench.wish(bid("0.05", "85480")))[0].request
    bench.accept(back)
    answered(bench, bench.tell(bench.fill(back, price="85500")))
    for _ in range(3):
        answered(bench, bench.later(0.1))
    stops = bench.core.orders.of(bench.product.product_id, stops=True)
    assert min(stop.request.trigger_price or D(0) for stop in stops) > D(82_900)
    assert covered(bench) == D("0.06")


def test_a_gate_that_held_a_stop_back_for_a_size_of_the_past_gets_the_new_size_at_once(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    entry = placed(bench.wish(bid("0.02")))[0].request
    bench.tell(bench.fill(entry))
    effects = bench.tell(e.HeldBack(stop.identity, "not_reducing", "larger than the position"))
    assert only(effects, e.PlaceStop).request.size == D("0.12")


def test_closing_everything_asks_once_for_each_position(bench: Bench) -> None:
    bench.accept(bench.hold("0.1").request)
    close = only(answered(bench, bench.core.close_all("test", bench.now)), e.CloseNow)
    assert close.request.product_id == bench.world.btc
    assert bench.core.close_all("test", bench.now + 1) == []


def test_an_unexplained_growth_is_covered_as_well(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    bench.accept(stop)
    news = bench.fill(replace(stop, identity="by-hand", side=Side.BUY), "0.05", identity="by-hand")
    answered(bench, bench.tell(news))
    assert covered(bench) == D("0.15")
