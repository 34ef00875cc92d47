"""Isolated positions in their hidden subaccounts."""

from decimal import Decimal

from perpctl.paper.products import BTC
from tests.paper.core.conftest import Floor, refused

D = Decimal


def test_an_isolated_position_is_hidden_from_whoever_does_not_ask(floor: Floor) -> None:
    placed = floor.buy("0.3", isolated=True, allocated_margin="2000")
    (slot,) = floor.exchange.slot_ids(7)
    assert placed.order.isolated
    assert placed.order.account_id == slot
    assert floor.size() == 0
    assert floor.exchange.positions(7) == []
    (position,) = floor.exchange.positions(7, include_isolated=True)
    assert (position.account_id, position.size, position.isolated) == (slot, D("0.3"), True)
    assert floor.exchange.account(7).balance == 98_000
    assert floor.exchange.trades(7) == []
    assert [trade.main_account_id for trade in floor.exchange.trades(slot)] == [7]
    floor.check()


def test_orders_of_a_slot_need_the_flag(floor: Floor) -> None:
    placed = floor.buy("0.3", "83000", isolated=True, allocated_margin="2000")
    order_id = placed.order.order_id
    assert floor.exchange.open_orders(7) == []
    assert refused(lambda: floor.exchange.cancel(7, order_id, floor.now)) == 10004
    assert refused(lambda: floor.exchange.order(7, order_id)) == 10004
    assert floor.exchange.cancel_where(7, lambda _: True, floor.now) == []
    assert len(floor.exchange.cancel_where(7, lambda _: True, floor.now, include_isolated=True)) == 1
    assert floor.exchange.order(7, order_id, isolated=True).state == "cancelled"


def test_too_little_margin_is_refused_with_a_suggestion(floor: Floor) -> None:
    assert refused(lambda: floor.buy("0.3", isolated=True)) == 14033
    assert refused(lambda: floor.buy("0.3", isolated=True, allocated_margin="200000")) == 14034
    assert floor.exchange.slot_ids(7) == []
    assert floor.exchange.account(7).balance == 100_000


def test_a_malformed_isolated_order_moves_no_money(floor: Floor) -> None:
    assert refused(lambda: floor.buy("0.3", "83000.05", isolated=True, allocated_margin="2000")) == 10043
    assert [row.type for row in floor.exchange.ledger(7)] == ["deposit"]


def test_a_closed_slot_hands_its_money_back_and_is_used_again(floor: Floor) -> None:
    floor.buy("0.3", isolated=True, allocated_margin="2000")
    floor.tick("84100")
    (slot,) = floor.exchange.slot_ids(7)
    floor.exchange.close_position(7, BTC.name, "market", None, floor.now, isolated=True)
    assert floor.exchange.account(slot).equity == 0
    fees = sum(trade.fee for trade in floor.exchange.trades(slot))
    assert floor.exchange.account(7).balance == 100_000 + D("0.3") * D("99.9") - fees
    floor.sell("0.1", isolated=True, allocated_margin="2000")
    assert floor.exchange.slot_ids(7) == [slot]
    floor.check()


def test_a_slot_is_liquidated_alone(floor: Floor) -> None:
    floor.buy("0.5", isolated=True, allocated_margin="1000")
    floor.buy("0.1")
    for _ in range(30):
        floor.tick("82000")
    assert [position.size for position in floor.exchange.positions(7, include_isolated=True)] == [D("0.1"), 0]
    (slot,) = floor.exchange.slot_ids(7)
    assert {"LSP transfer", "LSP commission", "trade"} <= {row.type for row in floor.exchange.ledger(slot)}
    assert not floor.exchange.account(7).liquidating
    floor.check()


def test_money_moves_only_between_an_account_and_its_own_slots(floor: Floor) -> None:
    floor.buy("0.3", isolated=True, allocated_margin="2000")
    (slot,) = floor.exchange.slot_ids(7)
    floor.exchange.transfer(7, slot, D(500), floor.now)
    assert refused(lambda: floor.exchange.transfer(8, slot, D(500), floor.now)) == 12100
    assert refused(lambda: floor.exchange.transfer(slot, 7, D(5000), floor.now)) == 14034
    floor.check()
