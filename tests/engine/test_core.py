"""What the core does about each event: orders from wishes, outcomes in three kinds, modes, feeds, the venue's truth."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest
from msgspec import structs

from perpctl.engine import events as e
from perpctl.engine.state.working import Stage
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.money import floor_to
from perpctl.model.order import OrderStatus, Purpose, Side, TimeInForce
from perpctl.risk.verdict import Reason
from tests.conftest import both_venues
from tests.engine.bench import Bench, as_order, bid, of, offer, only, placed

pytestmark = both_venues  # whatever the terms, the core does about an event what these tests say


def test_a_wish_becomes_a_post_only_entry_on_the_socket(bench: Bench) -> None:
    entry = placed(bench.wish(bid("0.0123456", "84080")))[0].request
    on_the_step = floor_to(D("0.0123456"), bench.world.step)
    assert (entry.side, entry.size, entry.post_only, entry.reduce_only) == (Side.BUY, on_the_step, True, False)
    assert (entry.time_in_force is TimeInForce.GTD) is (bench.world.terms.entries_end_s is not None)
    assert entry.purpose is Purpose.OPEN


def test_a_wish_below_the_smallest_order_is_left_out(bench: Bench) -> None:
    assert not placed(bench.wish(bid("0.00009")))


def test_an_order_near_enough_to_the_wish_stays_where_it_is(bench: Bench) -> None:
    bench.accept(placed(bench.wish(bid(price="84080")))[0].request)
    assert bench.wish(bid(price="84083")) == []


def test_a_new_price_first_cancels_and_places_only_when_the_old_order_is_gone(bench: Bench) -> None:
    old = placed(bench.wish(bid(price="84080")))[0].request
    bench.accept(old)
    effects = bench.wish(bid(price="84040"))
    cancel = only(effects, e.CancelEntry)
    assert not placed(effects)
    gone = port.Confirmed(replace(cancel.order, status=OrderStatus.CANCELLED, updated_ms=cancel.order.updated_ms + 1))
    again = placed(bench.tell(e.CancelAnswered(old.identity, gone)))
    assert [effect.request.price for effect in again] == [D("84040")]


def test_a_filled_order_is_not_replaced_until_the_strategy_says_so(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    assert not placed(bench.tell(bench.fill(entry)))
    assert not placed(bench.quote())


def test_a_wish_that_could_not_be_sent_for_two_seconds_is_forgotten(bench: Bench) -> None:
    old = placed(bench.wish(bid()))[0].request
    bench.accept(old)
    cancel = only(bench.wish(bid(price="84040")), e.CancelEntry)
    bench.later(3)
    gone = port.Confirmed(replace(cancel.order, status=OrderStatus.CANCELLED, updated_ms=cancel.order.updated_ms + 1))
    assert not placed(bench.tell(e.CancelAnswered(old.identity, gone)))


def test_what_is_taken_against_the_position_never_turns_it_over(bench: Bench) -> None:
    bench.accept(bench.hold("0.1").request)
    [exit_] = bench.exits(offer("0.5", "84090", take=True))
    assert (exit_.size, exit_.reduce_only, exit_.purpose) == (D("0.1000"), True, Purpose.CLOSE)
    assert exit_.time_in_force is TimeInForce.IOC


def test_entries_keep_to_the_rate_and_leave_room_for_cancels(bench: Bench) -> None:
    wishes = [bid("0.01", f"{84000 - 10 * n}.0") for n in range(6)]
    assert len(placed(bench.wish(*wishes))) == 3  # of a burst of 5, two fifths belong to cancels


def test_an_unanswered_order_is_settled_by_reads_and_blocks_its_product(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    assert only(bench.tell(e.Placed(entry.identity, port.Unknown("timed out"))), e.SettleUnknown).request == entry
    asked = bench.strategy.asked
    assert not placed(bench.wish(offer()))
    assert bench.strategy.asked == asked


def test_an_unknown_order_is_asked_about_again_and_never_sent_again(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.tell(e.Placed(entry.identity, port.Unknown("timed out")))
    bench.tell(e.Settled(entry.identity, port.Unknown("still not listed")))
    effects = bench.later(1.5)
    assert only(effects, e.SettleUnknown).request == entry
    assert not placed(effects)


def test_an_unknown_order_found_at_the_venue_rests(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.tell(e.Placed(entry.identity, port.Unknown("timed out")))
    bench.tell(e.Settled(entry.identity, port.Confirmed(as_order(entry))))
    assert bench.core.orders.ours[entry.identity].stage is Stage.RESTING


def test_an_order_proven_absent_that_appears_after_all_is_cancelled_on_sight(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.tell(e.Placed(entry.identity, port.Unknown("timed out")))
    bench.tell(e.Settled(entry.identity, port.Absent("two empty readings")))
    effects = bench.tell(port.OrderSeen(as_order(entry)))
    assert only(effects, e.CancelEntry).order.identity == entry.identity
    assert only(effects, e.Alert).level == 3


def test_old_news_of_an_order_that_was_seen_to_end_is_only_old_news(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    bench.tell(port.OrderSeen(as_order(entry, OrderStatus.CANCELLED, updated_ms=2_000_000_000_000)))
    assert bench.tell(port.OrderSeen(as_order(entry))) == []


def test_a_fill_counts_once_however_often_and_wherever_it_is_told(bench: Bench) -> None:
    entry = placed(bench.wish(bid("0.02")))[0].request
    news = bench.fill(entry, "0.02")
    bench.tell(news)
    done = as_order(entry, OrderStatus.FILLED, filled=D("0.02"))
    bench.tell(e.Placed(entry.identity, port.Confirmed(done, (news.fill,))))
    bench.tell(news)
    bench.tell(e.Reconciled((bench.position("0.02"),), (), (news.fill,), bench.now))
    assert bench.product.position == D("0.02")
    assert bench.product.held.fills == 1


def test_a_fill_told_before_its_answer_is_matched_by_identity(bench: Bench) -> None:
    entry = placed(bench.wish(bid("0.02")))[0].request
    bench.tell(bench.fill(entry, "0.01"))
    bench.accept(entry, filled=D("0.01"))
    assert bench.core.orders.ours[entry.identity].remaining == D("0.01")


def test_an_ended_order_whose_fills_are_missing_still_counts_and_is_looked_for(bench: Bench) -> None:
    entry = placed(bench.wish(bid("0.02")))[0].request
    bench.accept(entry, status=OrderStatus.FILLED, filled=D("0.02"))
    assert bench.core.orders.ours[entry.identity].remaining == D("0.02")
    assert of(bench.later(3), e.Reconcile)


def test_halted_the_strategy_is_not_asked(bench: Bench) -> None:
    bench.tell(e.ModeChanged(Mode.HALTED, "test"))
    asked = bench.strategy.asked
    for _ in range(3):
        assert not placed(bench.wish(bid()))
    assert bench.strategy.asked == asked


@pytest.mark.parametrize("mode", [Mode.REDUCE_ONLY, Mode.HALTED])
def test_entering_a_stricter_mode_cancels_entries_keeps_stops_and_reads_back(bench: Bench, mode: Mode) -> None:
    bench.accept(bench.hold().request)
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    effects = bench.tell(e.ModeChanged(mode, "test"))
    assert [cancel.order.identity for cancel in of(effects, e.CancelEntry)] == [entry.identity]
    assert of(effects, e.ReadBackEntries)
    assert not of(effects, e.CancelStop)


def test_an_entry_that_was_on_its_way_when_the_mode_changed_is_cancelled_on_arrival(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.tell(e.ModeChanged(Mode.REDUCE_ONLY, "test"))
    assert only(bench.accept(entry), e.CancelEntry).order.identity == entry.identity


def test_in_reduce_only_only_what_takes_towards_zero_is_sent(bench: Bench) -> None:
    bench.accept(bench.hold("0.1").request)
    bench.tell(e.ModeChanged(Mode.REDUCE_ONLY, "test"))
    sent = bench.exits(bid(), offer("0.05"), offer("0.05", "84095", take=True))
    assert [(request.side, request.reduce_only) for request in sent] == [(Side.SELL, True)]


def test_a_refusal_of_the_halting_kind_halts_for_good(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    mode = only(bench.tell(e.HeldBack(entry.identity, Reason.LOSING_STREAK, "too many")), e.EnterMode)
    assert (mode.mode, mode.risk) == (Mode.HALTED, True)


@pytest.mark.parametrize("code", [10019, 10072, 11098])
def test_a_lock_at_the_venue_halts(bench: Bench, code: int) -> None:
    entry = placed(bench.wish(bid()))[0].request
    effects = bench.tell(e.Placed(entry.identity, port.Refused(code, "locked")))
    assert only(effects, e.EnterMode).mode is Mode.HALTED


def test_a_silent_user_channel_makes_reduce_only_after_five_seconds_and_its_return_ends_it(bench: Bench) -> None:
    bench.now += 4.9
    assert not of(bench.tell(e.Ticked()), e.EnterMode)
    bench.now += 0.2
    assert only(bench.tell(e.Ticked()), e.EnterMode).mode is Mode.REDUCE_ONLY
    assert not of(bench.tell(e.Ticked()), e.EnterMode)
    assert of(bench.later(0), e.LeaveMode)


def test_losing_the_user_channel_makes_its_entries_unknown_and_stops_the_strategy(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    bench.tell(port.FeedLost("user", "closed"))
    assert bench.core.orders.ours[entry.identity].stage is Stage.UNKNOWN
    assert not bench.core.dead_man
    assert not placed(bench.wish(offer()))
    effects = bench.tell(port.FeedResumed("user", orders=(), positions=(), fills=()))
    assert [settle.request.identity for settle in of(effects, e.SettleUnknown)] == [entry.identity]
    assert of(effects, e.Reconcile)


def test_losing_the_market_cancels_what_rests_in_the_dark(bench: Bench) -> None:
    bench.accept(placed(bench.wish(bid()))[0].request)
    assert only(bench.tell(port.FeedLost(f"ticker.{bench.world.btc}.100ms", "a gap")), e.CancelEntry)


def test_a_liquidation_halts(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    effects = bench.tell(bench.fill(entry, identity=None, liquidation=True))
    assert only(effects, e.EnterMode).mode is Mode.HALTED


def test_a_foreign_order_is_told_once_and_counts(bench: Bench) -> None:
    stranger = as_order(placed(bench.wish(bid()))[0].request, order_id="x-1", identity="by-hand")
    assert only(bench.tell(port.OrderSeen(stranger)), e.Alert).level == 3
    assert not of(bench.tell(port.OrderSeen(stranger)), e.Alert)
    assert "x-1" in bench.core.orders.foreign
    bench.tell(port.OrderSeen(replace(stranger, status=OrderStatus.CANCELLED)))
    assert not bench.core.orders.foreign


def test_a_position_that_nothing_explains_is_taken_over_told_and_stops_entries(bench: Bench) -> None:
    bench.now += 1
    effects = bench.tell(e.Reconciled((bench.position("0.3"),), (), (), bench.now))
    assert bench.product.position == D("0.3")
    assert only(effects, e.EnterMode).mode is Mode.REDUCE_ONLY
    assert only(effects, e.PlaceStop).request.size == D("0.3")


def test_a_listing_without_an_order_that_rests_makes_us_ask_what_became_of_it(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    bench.now += 1
    assert only(bench.tell(e.Reconciled((), (), (), bench.now)), e.SettleUnknown).request.identity == entry.identity


def test_a_listing_read_before_the_order_was_placed_says_nothing_about_it(bench: Bench) -> None:
    before = bench.now
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    bench.tell(e.Reconciled((), (), (), before))
    assert bench.core.orders.ours[entry.identity].stage is Stage.RESTING


def test_at_the_start_our_stop_is_kept_a_leftover_entry_is_cancelled_a_stranger_is_counted(bench: Bench) -> None:
    stop = bench.hold().request
    fresh = Bench(bench.world.venue)
    entry = placed(fresh.wish(bid()))[0].request
    orders = (as_order(stop), as_order(entry), as_order(entry, order_id="x-1", identity="by-hand"))
    second = Bench(bench.world.venue)
    effects = second.core.begin(e.Reconciled((bench.position("0.1"),), orders, (), second.now), second.now)
    assert [cancel.order.identity for cancel in of(effects, e.CancelEntry)] == [entry.identity]
    assert not of(effects, e.PlaceStop)
    assert list(second.core.orders.foreign) == ["x-1"]


def test_at_the_start_a_position_without_a_stop_gets_one(bench: Bench) -> None:
    effects = bench.core.begin(e.Reconciled((bench.position("-0.2"),), (), (), bench.now), bench.now)
    stop = only(effects, e.PlaceStop).request
    assert (stop.side, stop.size, stop.reduce_only) == (Side.BUY, D("0.2"), True)


def test_the_day_is_measured_from_its_first_read_and_the_reduce_line_acts_once(bench: Bench) -> None:
    loss = replace(bench.world.account, equity=D(97_900))
    effects = bench.tell(e.AccountRead(loss))
    assert only(effects, e.EnterMode).mode is Mode.REDUCE_ONLY
    assert only(effects, e.EnterMode).risk
    assert not of(bench.tell(e.AccountRead(loss)), e.EnterMode)


def test_a_drawdown_past_its_line_halts(bench: Bench) -> None:
    modes = of(bench.tell(e.AccountRead(replace(bench.world.account, equity=D(94_000)))), e.EnterMode)
    assert Mode.HALTED in [mode.mode for mode in modes]


def test_the_strategy_may_aim_at_sixty_percent_of_the_largest_position(bench: Bench) -> None:
    bench.wish()
    view = bench.strategy.seen
    assert view is not None
    assert view.target_max == D(50_000) / D(84_100) * D("0.6")


def test_a_changed_tick_ends_entries_in_that_product(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    assert bench.tell(e.SpecificationRead(bench.world.instrument)) == []
    effects = bench.tell(e.SpecificationRead(structs.replace(bench.world.instrument, tick=D(1))))
    assert only(effects, e.CancelEntry).order.identity == entry.identity
    assert not placed(bench.wish(offer()))
