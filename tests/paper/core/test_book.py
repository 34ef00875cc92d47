"""Price-time matching among the outside ladder."""

from decimal import Decimal
from typing import Any

import pytest

from perpctl.paper.events import BookChanged, PublicTradePrinted
from perpctl.paper.floor.book import Book, delta
from perpctl.paper.products import BTC
from perpctl.paper.types import BookView, Ladder, Order, Print, Tick
from tests.paper.core.conftest import Floor

D = Decimal


def test_the_ladder_is_believable_and_equal_for_equal_ticks() -> None:
    one, two = Floor().exchange.book(BTC.name, 10), Floor().exchange.book(BTC.name, 10)
    assert one == two
    assert [price for price, _ in one.bids] == sorted((price for price, _ in one.bids), reverse=True)
    assert [price for price, _ in one.asks] == sorted(price for price, _ in one.asks)
    assert one.bids[0] == (D("84000"), D("0.5"))
    assert all(amount > 0 and amount % BTC.contract_size == 0 for _, amount in one.bids + one.asks)
    assert all(price % BTC.tick == 0 for price, _ in one.bids + one.asks)


def test_a_taker_consumes_the_outside_until_the_next_tick(floor: Floor) -> None:
    first = floor.buy("0.5", "84000.1", time_in_force="immediate_or_cancel")
    second = floor.buy("0.5", "84000.1", time_in_force="immediate_or_cancel")
    assert first.order.state == "filled"
    assert (second.order.state, second.order.filled) == ("cancelled", D(0))
    floor.tick("84000")
    assert floor.buy("0.5", "84000.1", time_in_force="immediate_or_cancel").order.state == "filled"


def test_a_large_taker_walks_up_the_ladder_at_ever_worse_prices(floor: Floor) -> None:
    placed = floor.buy("2")
    prices = [trade.price for trade in placed.trades]
    assert len(prices) > 1
    assert prices == sorted(prices)
    assert sum(trade.amount for trade in placed.trades) == 2


def test_a_resting_order_fills_whole_when_the_outside_trades_through_it(floor: Floor) -> None:
    placed = floor.buy("3", "83990")
    floor.tick("83985", amounts=("0.1", "0.1"))
    assert floor.order(placed).state == "filled"
    assert [trade.price for trade in floor.exchange.trades(7)] == [D("83990")]
    assert [trade.liquidity for trade in floor.exchange.trades(7)] == ["M"]


def test_an_ask_at_our_bid_fills_only_what_it_offers(floor: Floor) -> None:
    placed = floor.buy("3", "83990")
    floor.tick("83989.9", amounts=("0.1", "0.4"))
    assert floor.order(placed).filled == D("0.4")
    assert floor.exchange.book(BTC.name, 1).bids[0] == (D("83990"), D("2.6"))


def test_a_print_at_our_price_first_serves_those_who_came_before(floor: Floor) -> None:
    placed = floor.buy("0.2", "84000")  # behind 0.5 of the outside
    floor.tick("84000", prints=(Print("sell", D("84000"), D("0.4")),))
    assert floor.order(placed).filled == 0
    floor.tick("84000", prints=(Print("sell", D("84000"), D("0.2")),))
    assert floor.order(placed).filled == D("0.1")


@pytest.mark.parametrize(("price", "ahead"), [("99", 2), ("98.5", 0), ("98", 3), ("90", 3)])
def test_an_order_waits_for_what_is_seen_at_its_price_and_beyond_the_last_level_for_as_much(
    price: str, ahead: int
) -> None:
    book, seen = Book(D("0.5"), D(1), 2), Ladder(((D(99), D(2)), (D(98), D(3))), ((D(100), D(1)),))
    book.renew(Tick(BTC.name, 1, D(99), D(100), D(2), D(1), D(99), D(99), ladder=seen))
    members: dict[str, Any] = {
        "direction": "buy",
        "order_type": "limit",
        "time_in_force": "good_til_cancelled",
        "state": "open",
    }
    sizes: dict[str, Any] = {"price": D(price), "amount": D(1), "created_ms": 1, "updated_ms": 1}
    book.rest(Order(order_id="ours", account_id=7, product=BTC.name, **members, **sizes))
    assert book.printed(book.bids, D(price), D(ahead)) == []
    assert book.printed(book.bids, D(price), D(1)) == [("ours", D(1))]


def test_an_order_inside_the_spread_has_nobody_ahead(floor: Floor) -> None:
    floor.tick("84000", ask="84002")
    placed = floor.buy("0.2", "84001")
    floor.tick("84000", ask="84002", prints=(Print("sell", D("84001"), D("0.05")),))
    assert floor.order(placed).filled == D("0.05")


def test_two_of_ours_at_one_price_fill_in_the_order_of_arrival(floor: Floor) -> None:
    floor.tick("84000", ask="84002")
    early = floor.buy("0.2", "84001")
    late = floor.buy("0.2", "84001", account=8)
    floor.sell("0.3", "84001", account=7, time_in_force="immediate_or_cancel")
    assert floor.order(early).cancel_reason == "order_overlap"  # our own: cancelled, not traded with
    assert floor.order(late, account=8).filled == D("0.2")


def test_accounts_trade_with_each_other_and_money_is_conserved(floor: Floor) -> None:
    floor.tick("84000", ask="84010")
    floor.sell("0.3", "84005", account=8)
    placed = floor.buy("0.3", "84005")
    assert placed.order.state == "filled"
    assert floor.size(7) == -floor.size(8) == D("0.3")
    floor.check()


def test_change_ids_chain_without_a_gap_and_deltas_rebuild_the_book(floor: Floor) -> None:
    floor.exchange.take_events()
    before = floor.exchange.book(BTC.name, 30)
    placed = floor.buy("0.2", "83999.9")
    floor.buy("0.7")
    floor.tick("84003")
    floor.exchange.cancel(7, placed.order.order_id, floor.now)
    after = floor.exchange.book(BTC.name, 30)
    last = before.change_id
    for event in floor.exchange.take_events():
        if isinstance(event, BookChanged) and event.product == BTC.name:
            assert event.prev_change_id == last
            assert event.change_id > last
            last = event.change_id
    assert last == after.change_id
    assert _rebuilt(before, after) == (dict(after.bids), dict(after.asks))


def _rebuilt(before: BookView, after: BookView) -> tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]:
    rows = delta(before, after)
    assert (rows.prev_change_id, rows.change_id) == (before.change_id, after.change_id)
    sides = []
    for old, changes in ((before.bids, rows.bids), (before.asks, rows.asks)):
        side = dict(old)
        for action, price, amount in changes:
            assert (action == "new") == (price not in side)
            if action == "delete":
                del side[price]
            else:
                side[price] = amount
        sides.append(side)
    return sides[0], sides[1]


def test_a_print_that_we_share_is_not_counted_twice(floor: Floor) -> None:
    floor.tick("84000", ask="84002")
    floor.buy("0.2", "84001")
    floor.exchange.take_events()
    floor.tick("84000", ask="84002", prints=(Print("sell", D("84001"), D("0.5")),))
    printed = [event.trade for event in floor.exchange.take_events() if isinstance(event, PublicTradePrinted)]
    assert [trade.amount for trade in printed] == [D("0.2"), D("0.3")]
    assert printed[1].trade_seq == printed[0].trade_seq + 1
