"""Stops, takes, trailing stops and linked orders."""

from decimal import Decimal

from msgspec.structs import replace

from perpctl.paper.core import Exchange, Placed
from perpctl.paper.products import BTC, GATEWAY_PRODUCTS
from perpctl.paper.types import Edit, NewOrder, Order, Print
from tests.paper.core.conftest import Floor, refused

D = Decimal


def stop(floor: Floor, price: str, **members: object) -> Placed:
    return floor.sell("0.3", type="stop_market", trigger="mark_price", trigger_price=price, reduce_only=True, **members)


def child(type: str, price: str | None = None, trigger_price: str | None = None) -> NewOrder:
    return NewOrder(
        product=BTC.name,
        direction="sell",
        type=type,  # type: ignore[arg-type]
        price=D(price) if price else None,
        trigger="mark_price" if trigger_price else None,
        trigger_price=D(trigger_price) if trigger_price else None,
        reduce_only=True,
    )


def live(floor: Floor) -> dict[str, Order]:
    return {order.order_type: order for order in floor.exchange.open_orders(7)}


def test_a_stop_waits_then_makes_a_second_order_that_names_it(floor: Floor) -> None:
    floor.buy("0.3")
    placed = stop(floor, "83500")
    assert (placed.order.state, placed.order.price) == ("untriggered", None)
    assert "-SLMS-" in placed.order.order_id
    floor.tick("83600")
    assert floor.order(placed).state == "untriggered"
    floor.tick("83490")
    fired = floor.order(placed)
    assert (fired.state, fired.triggered) == ("triggered", True)
    (trade,) = floor.exchange.trades(7)[-1:]
    made = floor.exchange.order(7, trade.order_id)
    assert (made.trigger_order_id, made.order_type, made.original_order_type) == (fired.order_id, "limit", "market")
    assert floor.size() == 0
    (record,) = floor.exchange.trigger_history(7)
    assert (record.state, record.order_id, record.order.order_id) == ("triggered", made.order_id, fired.order_id)


def test_each_trigger_watches_its_own_price(floor: Floor) -> None:
    by_index = floor.buy("0.1", type="stop_market", trigger="index_price", trigger_price="84100")
    by_mark = floor.buy("0.1", type="stop_market", trigger="mark_price", trigger_price="84100")
    by_last = floor.buy("0.1", type="stop_market", trigger="last_price", trigger_price="84100.2")
    floor.tick("84000", index="84150")
    assert [floor.order(o).state for o in (by_index, by_mark, by_last)] == ["triggered", "untriggered", "untriggered"]
    floor.tick("84000", mark="84150", index="84000")
    assert [floor.order(o).state for o in (by_mark, by_last)] == ["triggered", "untriggered"]
    floor.tick("84100", mark="84000", prints=(Print("buy", D("84100.2"), D("0.1")),))
    assert floor.order(by_last).state == "triggered"


def test_a_take_fires_on_the_profitable_side_and_its_limit_may_rest(floor: Floor) -> None:
    floor.buy("0.3")
    take = floor.sell("0.3", "84300", type="take_limit", trigger="mark_price", trigger_price="84200")
    assert refused(lambda: floor.sell("0.3", type="take_market", trigger="mark_price", trigger_price="83000")) == 11036
    floor.tick("84250")
    assert floor.order(take).state == "triggered"
    (made,) = floor.exchange.open_orders(7)
    assert (made.order_type, made.price, made.trigger_order_id) == ("limit", D("84300"), take.order.order_id)


def test_a_fired_limit_beyond_the_band_is_moved_to_its_edge(floor: Floor) -> None:
    floor.buy("0.3")
    placed = floor.sell("0.3", "80000", type="stop_limit", trigger="mark_price", trigger_price="83500")
    floor.tick("83400")
    assert floor.order(placed).state == "triggered"
    assert floor.exchange.orders(7)[0].price == D("82149.0")
    assert floor.size() == 0


def test_a_trailing_stop_climbs_and_never_comes_back(floor: Floor) -> None:
    floor.buy("0.3")
    trail = floor.sell("0.3", type="trailing_stop", trigger="mark_price", trigger_offset="100", reduce_only=True)
    assert trail.order.trigger_price == D("83900")
    floor.tick("84200")
    assert floor.order(trail).trigger_price == D("84100")
    floor.tick("84120")
    assert floor.order(trail).trigger_price == D("84100")
    floor.tick("84090")
    assert floor.order(trail).state == "triggered"
    assert floor.size() == 0


def test_a_reduce_only_stop_without_position_is_refused_when_it_fires(floor: Floor) -> None:
    floor.buy("0.3")
    placed = stop(floor, "83500")
    floor.exchange.close_position(7, BTC.name, "market", None, floor.now)
    assert floor.order(placed).state == "untriggered"  # stops outlive the position
    floor.tick("83400")
    assert floor.order(placed).state == "rejected"
    assert floor.size() == 0
    assert floor.exchange.trigger_history(7)[0].state.startswith("rejected:other_reject")


def test_a_trigger_can_be_edited_and_cancelled(floor: Floor) -> None:
    floor.buy("0.3")
    placed = stop(floor, "83500")
    edited = floor.exchange.edit(7, placed.order.order_id, Edit(trigger_price=D(83000)), floor.now)
    assert edited.order.trigger_price == D(83000)
    wrong = Edit(trigger_price=D(84500))
    assert refused(lambda: floor.exchange.edit(7, placed.order.order_id, wrong, floor.now)) == 11036
    floor.exchange.cancel(7, placed.order.order_id, floor.now)
    floor.tick("82000")
    assert floor.size() == D("0.3")
    assert floor.exchange.trigger_history(7)[0].state == "cancelled"


def test_one_cancels_other(floor: Floor) -> None:
    floor.buy("0.3")
    linked = {"linked_order_type": "one_cancels_other", "otoco": (child("stop_market", trigger_price="83500"),)}
    floor.sell("0.3", "84300", reduce_only=True, **linked)
    assert set(live(floor)) == {"limit", "stop_market"}
    assert len({order.oco_ref for order in live(floor).values()}) == 1
    floor.tick("83400")
    assert floor.size() == 0
    assert live(floor) == {}
    reasons = {order.order_type: order.cancel_reason for order in floor.exchange.orders(7) if order.oco_ref}
    assert reasons["limit"] == "oco_other_closed"


def test_cancelling_one_of_a_pair_ends_the_other(floor: Floor) -> None:
    other = NewOrder(product=BTC.name, direction="sell", price=D(86000))
    first = floor.sell("0.1", "85000", linked_order_type="one_cancels_other", otoco=(other,))
    floor.exchange.cancel(7, first.order.order_id, floor.now)
    assert live(floor) == {}
    reasons = {order.price: order.cancel_reason for order in floor.exchange.orders(7)}
    assert reasons == {D(85000): "user_request", D(86000): "oco_other_closed"}


def test_a_pair_whose_second_half_is_refused_is_not_placed_at_all(floor: Floor) -> None:
    other = NewOrder(product=BTC.name, direction="sell", amount=D(9000), price=D(86000))
    linked = {"linked_order_type": "one_cancels_other", "otoco": (other,)}
    assert refused(lambda: floor.sell("0.1", "85000", **linked)) == 10009
    assert live(floor) == {}


def bracket(floor: Floor, condition: str, amount: str = "0.8") -> Placed:
    return floor.buy(
        amount,
        "83990",
        linked_order_type="one_triggers_one_cancels_other",
        trigger_fill_condition=condition,
        otoco=(child("limit", "84500"), child("stop_market", trigger_price="83000")),
    )


def test_a_bracket_waits_for_its_primary_and_ends_with_it(floor: Floor) -> None:
    placed = bracket(floor, "first_hit")
    assert placed.order.is_primary_otoco
    waiting = [floor.exchange.order(7, order_id) for order_id in placed.order.oto_order_ids]
    assert [(w.state, w.is_secondary_oto, w.order_id[:4]) for w in waiting] == [("untriggered", True, "OTO-")] * 2
    floor.exchange.cancel(7, placed.order.order_id, floor.now)
    assert live(floor) == {}
    ended = floor.exchange.order(7, placed.order.oto_order_ids[0])
    assert ended.cancel_reason == "oto_primary_closed"


def test_a_filled_bracket_arms_both_exits_and_one_cancels_the_other(floor: Floor) -> None:
    placed = bracket(floor, "first_hit")
    floor.tick("83980")
    exits = live(floor)
    assert set(exits) == {"limit", "stop_market"}
    assert exits["limit"].amount == exits["stop_market"].amount == D("0.8")
    assert exits["limit"].oco_ref == exits["stop_market"].oco_ref
    assert {order.primary_order_id for order in exits.values()} == {placed.order.order_id}
    floor.tick("84600")
    assert floor.size() == 0
    assert live(floor) == {}


def test_first_hit_arms_a_full_size_stop_on_a_partial_fill(floor: Floor) -> None:
    bracket(floor, "first_hit")
    floor.tick("83989.9", amounts=("0.5", "0.1"))
    assert live(floor)["stop_market"].amount == D("0.8")


def test_complete_fill_waits_for_the_whole(floor: Floor) -> None:
    bracket(floor, "complete_fill")
    floor.tick("83989.9", amounts=("0.5", "0.1"))
    assert all(order.is_secondary_oto is False or order.order_id.startswith("OTO-") for order in live(floor).values())
    floor.tick("83980")
    assert live(floor)["stop_market"].order_id.startswith("USDC-")


def test_incremental_releases_as_much_as_was_filled(floor: Floor) -> None:
    bracket(floor, "incremental")
    floor.tick("83989.9", amounts=("0.5", "0.1"))
    released = [o for o in floor.exchange.open_orders(7) if o.is_secondary_oto and o.order_id.startswith("USDC-")]
    assert [order.amount for order in released] == [D("0.1"), D("0.1")]
    floor.tick("83980")
    stops = [o for o in floor.exchange.open_orders(7) if o.order_type == "stop_market"]
    assert sum(order.amount for order in stops) == D("0.8")
    assert all(not order.order_id.startswith("OTO-") for order in floor.exchange.open_orders(7))
    floor.check()


def stop_entry(floor: Floor, amount: str = "0.8") -> Placed:
    """A breakout with both exits: nothing happens before its own trigger fires."""
    return floor.buy(
        amount,
        type="stop_market",
        trigger="mark_price",
        trigger_price="84100",
        linked_order_type="one_triggers_one_cancels_other",
        otoco=(child("limit", "84900"), child("stop_market", trigger_price="83500")),
    )


def test_a_primary_that_is_a_trigger_hands_its_exits_to_the_order_it_makes(floor: Floor) -> None:
    placed = stop_entry(floor)
    assert placed.order.state == "untriggered"
    floor.tick("84110", amounts=("5", "5"))
    fired = floor.order(placed)
    assert (fired.state, floor.size()) == ("triggered", D("0.8"))
    exits = live(floor)
    assert set(exits) == {"limit", "stop_market"}
    (made,) = [o for o in floor.exchange.orders(7) if o.trigger_order_id == fired.order_id]
    assert {order.primary_order_id for order in exits.values()} == {made.order_id}
    floor.tick("83400", amounts=("5", "5"))
    assert floor.size() == 0
    assert live(floor) == {}
    floor.check()


def test_exits_of_a_trigger_primary_die_with_it_before_it_fires(floor: Floor) -> None:
    placed = stop_entry(floor)
    floor.exchange.cancel(7, placed.order.order_id, floor.now)
    assert live(floor) == {}
    ended = floor.exchange.order(7, placed.order.oto_order_ids[0])
    assert ended.cancel_reason == "oto_primary_closed"


def test_exits_of_a_trigger_primary_die_with_the_order_it_makes(floor: Floor) -> None:
    placed = stop_entry(floor, amount="0.1")
    floor.exchange.deposit(7, D(-99_990), floor.now)
    floor.tick("84110")
    assert floor.order(placed).state == "rejected"
    assert floor.size() == 0
    assert live(floor) == {}


def test_secondaries_have_a_limit(floor: Floor) -> None:
    rules = replace(floor.exchange.rules, max_secondaries=3)
    floor.exchange = Exchange(GATEWAY_PRODUCTS, rules, floor.now)
    floor.exchange.open_account(7, "desk", floor.now)
    floor.tick("84000")
    bracket(floor, "first_hit", "0.1")
    assert refused(lambda: bracket(floor, "first_hit", "0.1")) == 13901
    assert len(floor.exchange.open_orders(7)) == 3
