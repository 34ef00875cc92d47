"""Orders: what is accepted, what is refused, how they live and end."""

from decimal import Decimal
from typing import Any

import pytest

from perpctl.paper.products import BTC, BTC_INVERSE
from perpctl.paper.types import Edit, NewOrder
from tests.paper.core.conftest import START_MS, Floor, refused

D = Decimal


@pytest.mark.parametrize(
    ("members", "code"),
    [
        ({"amount": "0.00015", "price": "84000"}, 10021),
        ({"amount": "0", "price": "84000"}, 10021),
        ({"amount": "-1", "price": "84000"}, 10021),
        ({"amount": "NaN", "price": "84000"}, 10021),
        ({"amount": "0.1", "price": "84000.05"}, 10043),
        ({"amount": "0.1", "price": "-1"}, 10023),
        ({"amount": "0.1", "price": "85260.1"}, 10007),
        ({"amount": "10000", "price": "84000"}, 10009),
        ({"amount": "0.1", "price": "84000", "product": "BTC-PERP"}, -32602),
        ({"amount": "0.1", "price": "84000", "product": BTC_INVERSE.name}, 10020),
        ({"amount": "0.1", "price": "84000", "label": "x" * 65}, -32602),
        ({"amount": "0.1", "price": "84000", "valid_until": START_MS}, 13888),
        ({"amount": "0.1", "price": "84000", "reject_post_only": True}, 11047),
        ({"amount": "0.1", "price": "84000", "post_only": True, "time_in_force": "fill_or_kill"}, 11055),
        ({"amount": "0.1", "price": "84001", "post_only": True, "reject_post_only": True}, 11054),
        ({"amount": "0.1", "price": "84000", "reduce_only": True}, 11030),
        ({"amount": "0.1", "type": "limit"}, -32602),
        ({"amount": "0.1", "type": "stop_market", "trigger": "mark_price"}, -32602),
        ({"amount": "0.1", "type": "stop_market", "trigger": "mark_price", "trigger_price": "84100.05"}, 10044),
        ({"amount": "0.1", "type": "stop_market", "trigger": "mark_price", "trigger_price": "83000"}, 11036),
    ],
)
def test_a_refused_order_leaves_nothing_behind(floor: Floor, members: dict[str, Any], code: int) -> None:
    before = floor.exchange.dump()
    assert refused(lambda: floor.buy(**members)) == code
    after = floor.exchange.dump()
    for counter in ("next_order", "orders", "next_row"):
        before.pop(counter), after.pop(counter)
    assert after["accounts"] == before["accounts"]
    assert floor.exchange.open_orders(7) == []


def test_a_sell_below_the_band_is_refused_and_a_buy_far_below_it_may_rest(floor: Floor) -> None:
    assert refused(lambda: floor.sell("0.1", "82739.9")) == 10005
    assert floor.buy("0.1", "50000").order.state == "open"


def test_a_market_order_is_reported_as_limit_at_the_end_of_the_band(floor: Floor) -> None:
    order = floor.buy("0.1").order
    assert (order.order_type, order.original_order_type, order.state) == ("limit", "market", "filled")
    assert order.price == D("85260.0")
    assert order.average_price == D("84000.1")


def test_market_limit_takes_the_best_price_and_rests_there(floor: Floor) -> None:
    order = floor.buy("2", type="market_limit").order
    assert (order.state, order.filled, order.price) == ("open", D("0.5"), D("84000.1"))


def test_fill_or_kill_takes_all_or_nothing(floor: Floor) -> None:
    kill = floor.buy("0.6", "84000.1", time_in_force="fill_or_kill")
    fill = floor.buy("0.5", "84000.1", time_in_force="fill_or_kill")
    assert (kill.order.state, kill.trades) == ("cancelled", ())
    assert fill.order.state == "filled"


def test_post_only_slides_one_tick_inside(floor: Floor) -> None:
    order = floor.buy("0.1", "84050", post_only=True).order
    assert (order.state, order.price) == ("open", D("84000.0"))


def test_reduce_only_is_cut_to_the_position_and_shrinks_with_it_but_never_grows(floor: Floor) -> None:
    floor.buy("0.3")
    cut = floor.sell("1", "84500", reduce_only=True)
    assert cut.order.amount == D("0.3")
    floor.sell("0.2")
    assert floor.order(cut).remaining == D("0.1")
    floor.tick("84000")
    floor.buy("0.3")
    assert floor.order(cut).remaining == D("0.1")
    floor.sell("0.4")
    assert (floor.order(cut).state, floor.order(cut).cancel_reason) == ("cancelled", "risk_mitigation")


def test_two_reduce_only_orders_hit_in_one_tick_never_flip_the_position(floor: Floor) -> None:
    floor.buy("0.3")
    floor.sell("0.3", "84100", reduce_only=True)
    floor.sell("0.3", "84101", reduce_only=True)
    floor.tick("84200")
    assert floor.size() == 0
    assert floor.exchange.open_orders(7) == []


def test_labels_need_not_be_unique_and_ids_are(floor: Floor) -> None:
    one, two = floor.buy("0.1", "83000", label="a"), floor.buy("0.1", "83000", label="a")
    assert one.order.order_id != two.order.order_id
    assert one.order.order_id.startswith("USDC-")


def test_shrinking_keeps_the_queue_place_and_a_new_price_loses_it(floor: Floor) -> None:
    floor.tick("84000", ask="84002")
    first = floor.buy("0.2", "84001")
    second = floor.buy("0.2", "84001", account=8)
    floor.exchange.edit(7, first.order.order_id, Edit(amount=D("0.1")), floor.now)
    floor.sell("0.05", "84001", account=8, time_in_force="immediate_or_cancel")
    assert floor.order(first).filled == D("0.05")
    assert floor.order(second, account=8).state == "open"
    edited = floor.exchange.edit(7, first.order.order_id, Edit(amount=D("0.3")), floor.now)
    assert edited.order.replaced
    assert edited.order.remaining == D("0.25")
    book = floor.exchange.book(BTC.name, 1)
    assert book.bids[0] == (D("84001"), D("0.45"))
    floor.exchange.cancel(8, second.order.order_id, floor.now)


def test_a_refused_edit_leaves_the_order_where_it_stood(floor: Floor) -> None:
    placed = floor.buy("0.1", "83000")
    book = floor.exchange.book(BTC.name, 100).bids
    edit = floor.exchange.edit
    assert refused(lambda: edit(7, placed.order.order_id, Edit(amount=D(9000)), floor.now)) == 10009
    assert refused(lambda: edit(7, placed.order.order_id, Edit(price=D("83000.05")), floor.now)) == 10043
    assert floor.order(placed) == placed.order
    assert floor.exchange.book(BTC.name, 100).bids == book
    assert floor.exchange.open_orders(7) == [placed.order]


def test_an_edit_may_cross_and_fill(floor: Floor) -> None:
    placed = floor.buy("0.1", "83000")
    edited = floor.exchange.edit(7, placed.order.order_id, Edit(price=D("84000.1")), floor.now)
    assert (edited.order.state, len(edited.trades)) == ("filled", 1)


def test_cancelled_stays_cancelled(floor: Floor) -> None:
    placed = floor.buy("0.1", "83000")
    floor.exchange.cancel(7, placed.order.order_id, floor.now)
    floor.tick("82000")
    assert floor.order(placed).state == "cancelled"
    assert refused(lambda: floor.exchange.cancel(7, placed.order.order_id, floor.now)) == 11044
    assert refused(lambda: floor.exchange.edit(7, placed.order.order_id, Edit(amount=D(1)), floor.now)) == 11044
    assert refused(lambda: floor.exchange.cancel(7, "USDC-1", floor.now)) == 10004
    assert refused(lambda: floor.exchange.cancel(8, placed.order.order_id, floor.now)) == 10029


def test_mass_cancel_takes_what_is_wanted_and_nothing_else(floor: Floor) -> None:
    keep = floor.buy("0.1", "83000", label="keep")
    gone = floor.buy("0.1", "83000", label="gone")
    theirs = floor.buy("0.1", "83000", label="gone", account=8)
    ended = floor.exchange.cancel_where(7, lambda order: order.label == "gone", floor.now)
    assert [order.order_id for order in ended] == [gone.order.order_id]
    assert floor.exchange.open_orders(7) == [keep.order]
    assert floor.order(theirs, account=8).state == "open"


def test_close_position_takes_no_size_and_leaves_none(floor: Floor) -> None:
    floor.sell("0.4")
    placed = floor.exchange.close_position(7, BTC.name, "market", None, floor.now)
    assert (placed.order.direction, placed.order.amount, placed.order.reduce_only) == ("buy", D("0.4"), True)
    assert floor.size() == 0
    assert refused(lambda: floor.exchange.close_position(7, BTC.name, "market", None, floor.now)) == 10010


def test_a_locked_book_takes_cancels_only_and_a_halted_one_nothing(floor: Floor) -> None:
    first, second = floor.buy("0.1", "83000"), floor.buy("0.1", "83000")
    floor.exchange.set_book_state(BTC.name, "locked", floor.now)
    assert refused(lambda: floor.buy("0.1", "83000")) == 10012
    floor.exchange.cancel(7, first.order.order_id, floor.now)
    floor.exchange.set_book_state(BTC.name, "halted", floor.now)
    assert refused(lambda: floor.exchange.cancel(7, second.order.order_id, floor.now)) == 10012
    assert floor.exchange.cancel_where(7, lambda _: True, floor.now) == []
    floor.tick("82000")
    assert floor.order(second).state == "open"  # nothing matches
    floor.exchange.set_book_state(BTC.name, "open", floor.now)
    floor.tick("82000")
    assert floor.order(second).state == "filled"


def test_maintenance_and_locks_have_their_own_codes(floor: Floor) -> None:
    floor.buy("0.3")
    floor.exchange.lock_account(7, floor.now, locked=False, position_locked=True)
    assert refused(lambda: floor.buy("0.1", "83000")) == 10072
    assert refused(lambda: floor.sell("0.4", "84500")) == 10072
    assert floor.sell("0.1", "84500").order.state == "open"
    floor.exchange.lock_account(7, floor.now, locked=True)
    assert refused(lambda: floor.buy("0.1", "83000")) == 11098
    assert floor.buy("0.1", "83000", account=8).order.state == "open"
    floor.exchange.set_maintenance(True, floor.now)
    assert refused(lambda: floor.buy("0.1", "83000", account=8)) == 11051


def test_recent_and_archive_overlap_and_neither_is_complete(floor: Floor) -> None:
    old = floor.buy("0.1", "83000")
    floor.exchange.cancel(7, old.order.order_id, floor.now)
    floor.tick("84000", after_ms=31 * 60_000)
    new = floor.buy("0.1").order
    assert [order.order_id for order in floor.exchange.orders(7)] == [new.order_id]
    assert [order.order_id for order in floor.exchange.orders(7, historical=True)] == [old.order.order_id]
    assert refused(lambda: floor.order(old)) == 10004  # aged out unfilled
    assert [trade.order_id for trade in floor.exchange.trades(7)] == [new.order_id]
    assert floor.exchange.trades(7, historical=True) == []


def test_a_position_lock_cancels_what_grows_and_keeps_what_reduces(floor: Floor) -> None:
    floor.buy("0.3")
    growing, exit_order = floor.buy("0.1", "83000"), floor.sell("0.3", "85000", reduce_only=True)
    floor.exchange.lock_account(7, floor.now, locked=False, position_locked=True)
    assert floor.order(growing).cancel_reason == "position_locked"
    assert floor.exchange.open_orders(7) == [exit_order.order]


def test_orders_that_ended_unfilled_are_forgotten_after_a_week(floor: Floor) -> None:
    gone, traded = floor.buy("0.1", "83000"), floor.buy("0.1")
    floor.exchange.cancel(7, gone.order.order_id, floor.now)
    floor.tick("84000", after_ms=8 * 86_400_000)
    assert [order.order_id for order in floor.exchange.orders(7, historical=True)] == [traded.order.order_id]


def test_valid_until_is_market_time(floor: Floor) -> None:
    until = floor.now + 5
    new = NewOrder(product=BTC.name, direction="buy", amount=D("0.1"), price=D(83000), valid_until=until)
    assert floor.exchange.place(7, new, until).order.state == "open"
    assert refused(lambda: floor.exchange.place(7, new, until + 1)) == 13888
    assert refused(lambda: floor.exchange.place(7, new, until)) == 13888  # time never runs backwards
