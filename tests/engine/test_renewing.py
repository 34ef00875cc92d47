"""Entries that end by themselves are renewed: cancelled, read ended, followed by what is left; never two alive."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from perpctl.engine import events as e
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.order import Order, OrderRequest, OrderStatus, Purpose, TimeInForce
from tests.engine.bench import Bench, as_order, bid, of, only, placed


@pytest.fixture
def bench() -> Bench:
    return Bench("us")


def rest(bench: Bench, size: str = "0.03") -> OrderRequest:
    """An entry that rests, as the sender dates it: it ends 120 s after its send."""
    asked = placed(bench.wish(bid(size)))[0].request
    ends_ms = bench.core.market.now_ms(bench.now) + 120_000
    bench.core.orders.ours[asked.identity].request = dated = replace(asked, ends_ms=ends_ms)
    bench.accept(dated, ends_ms=ends_ms)
    return dated


def ended(order: Order, **change: object) -> port.Confirmed:
    return port.Confirmed(replace(order, status=OrderStatus.CANCELLED, updated_ms=order.updated_ms + 1, **change))  # type: ignore[arg-type]


def pass_time(bench: Bench, seconds: float) -> list[e.Effect]:
    """The market's clock goes on with ours."""
    bench.now += seconds
    bench.at_ms += int(seconds * 1000)
    bench.venue_read()
    bench.quote()
    return bench.later(0)


def renewal(bench: Bench) -> Order:
    cancelled: Order = only(pass_time(bench, 75.2), e.CancelEntry).order
    return cancelled


def test_entries_are_good_till_date_only_where_the_venue_has_no_dead_man(bench: Bench) -> None:
    assert placed(bench.wish(bid()))[0].request.time_in_force is TimeInForce.GTD
    assert placed(Bench().wish(bid()))[0].request.time_in_force is TimeInForce.GTC


def test_with_more_than_forty_five_seconds_left_it_is_left_alone(bench: Bench) -> None:
    rest(bench)
    assert not of(pass_time(bench, 74), e.CancelEntry)
    assert only(pass_time(bench, 1.2), e.CancelEntry)


def test_the_successor_goes_only_when_the_old_one_is_read_ended(bench: Bench) -> None:
    old = rest(bench)
    effects = pass_time(bench, 75.2)
    assert not placed(effects)
    order = only(effects, e.CancelEntry).order
    new = placed(bench.tell(e.CancelAnswered(old.identity, ended(order))))[0].request
    assert (new.size, new.price, new.purpose, new.time_in_force) == (
        old.size,
        old.price,
        Purpose.RENEW,
        TimeInForce.GTD,
    )
    assert new.identity != old.identity
    assert new.ends_ms is None  # dated anew right before its send


def test_what_filled_meanwhile_is_not_asked_for_again(bench: Bench) -> None:
    old = rest(bench, "0.03")
    order = renewal(bench)
    effects = bench.tell(e.CancelAnswered(old.identity, ended(order, filled=D("0.01"))))
    assert not placed(effects), "it filled, and we have not seen the fill yet"
    assert placed(bench.tell(bench.fill(old, "0.01")))[0].request.size == D("0.02")


def test_an_order_that_filled_whole_has_no_successor(bench: Bench) -> None:
    old = rest(bench)
    order = renewal(bench)
    bench.tell(
        e.CancelAnswered(old.identity, port.Confirmed(replace(order, status=OrderStatus.FILLED, filled=old.size)))
    )
    assert not placed(bench.tell(bench.fill(old)))


def test_a_cancel_of_unknown_outcome_is_waited_for(bench: Bench) -> None:
    old = rest(bench)
    order = renewal(bench)
    assert not placed(bench.tell(e.CancelAnswered(old.identity, port.Unknown("timed out"))))
    assert not placed(pass_time(bench, 3))
    assert not placed(bench.tell(e.Settled(old.identity, port.Unknown("not listed yet"))))
    assert placed(bench.tell(e.Settled(old.identity, ended(order))))[0].request.size == old.size


def test_a_cancel_that_did_not_take_is_sent_again_and_nothing_else(bench: Bench) -> None:
    old = rest(bench)
    order = renewal(bench)
    bench.tell(e.CancelAnswered(old.identity, port.Unknown("timed out")))
    effects = bench.tell(e.Settled(old.identity, port.Confirmed(order))) + pass_time(bench, 0.3)
    assert only(effects, e.CancelEntry).order.order_id == order.order_id
    assert not placed(effects)


def test_a_strategy_that_still_wants_it_gets_one_and_not_two(bench: Bench) -> None:
    old = rest(bench)
    order = renewal(bench)
    assert not placed(bench.wish(bid("0.03")))
    assert len(placed(bench.tell(e.CancelAnswered(old.identity, ended(order))))) == 1
    assert not placed(bench.quote())


def test_a_strategy_that_wants_another_gets_that_one_alone(bench: Bench) -> None:
    old = rest(bench)
    order = renewal(bench)
    bench.wish(bid("0.03", "84040"))
    new = placed(bench.tell(e.CancelAnswered(old.identity, ended(order))))
    assert [one.request.price for one in new] == [D("84040")]


def test_a_strategy_that_wants_none_gets_none(bench: Bench) -> None:
    old = rest(bench)
    order = renewal(bench)
    bench.wish()
    assert not placed(bench.tell(e.CancelAnswered(old.identity, ended(order))))


def test_nothing_is_renewed_in_a_stricter_mode_or_on_a_lost_line(bench: Bench) -> None:
    old = rest(bench)
    order = renewal(bench)
    bench.tell(e.ModeChanged(Mode.REDUCE_ONLY, "test"))
    assert not placed(bench.tell(e.CancelAnswered(old.identity, ended(order))))
    other = Bench("us")
    rest(other)
    other.tell(port.FeedLost("user", "closed"))
    assert not of(pass_time(other, 80), e.CancelEntry)


def test_a_renewal_spends_nothing_of_the_orders_of_a_day(bench: Bench) -> None:
    old = rest(bench)
    order = renewal(bench)
    new = placed(bench.tell(e.CancelAnswered(old.identity, ended(order))))[0].request
    before = bench.core.activity.recent(bench.at_ms).orders_today
    bench.core.activity.order_sent(new, bench.at_ms)
    recent = bench.core.activity.recent(bench.at_ms)
    assert recent.orders_today == before
    assert recent.messages_ms[-1] == bench.at_ms


def test_where_orders_rest_until_cancelled_nothing_is_renewed() -> None:
    bench = Bench()
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(as_request(entry))
    assert not of(pass_time(bench, 300), e.CancelEntry)


def as_request(request: OrderRequest) -> OrderRequest:
    assert as_order(request).ends_ms is None
    return request
