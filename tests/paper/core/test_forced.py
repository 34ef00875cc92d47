"""Positions that change without an order: liquidity providers and auto-deleveraging come before the book."""

from decimal import Decimal

import pytest

from perpctl.paper.core import Exchange
from perpctl.paper.events import Filled, ForcedTransfer, OrderChanged
from perpctl.paper.products import BTC, GATEWAY_RULES
from tests.paper.core.conftest import Floor, refused

D = Decimal


@pytest.fixture
def floor() -> Floor:
    """Account 8 is short 1 BTC from 84,000; account 7 is about to be long 1 BTC on little money."""
    made = Floor()
    made.tick("84000", amounts=("5", "5"))
    made.sell("1", account=8)
    return made


def squeeze(floor: Floor, to: str = "83000") -> list[object]:
    """Take account 7's money down to less than it needs; what happened meanwhile."""
    floor.buy("1")
    floor.exchange.deposit(7, D(1_700) - floor.exchange.account(7).equity, floor.now)
    floor.exchange.take_events()
    floor.tick(to, amounts=("5", "5"))
    return list(floor.exchange.take_events())


def forced(events: list[object]) -> list[tuple[int, str, str, bool]]:
    return [(e.account_id, e.kind, e.direction, e.taken) for e in events if isinstance(e, ForcedTransfer)]


def test_a_liquidation_goes_to_providers_first_then_to_who_profits_then_to_the_book(floor: Floor) -> None:
    floor.exchange = _with(floor, provider_notional=D(5_000))
    events = squeeze(floor)
    assert forced(events)[:3] == [(7, "LSP", "sell", False), (7, "ADL", "sell", False), (8, "ADL", "buy", True)]
    assert not any(isinstance(event, Filled) for event in events)
    floor.check()


def test_without_providers_and_winners_the_book_takes_it(floor: Floor) -> None:
    floor.exchange = _with(floor, provider_notional=D(0))
    floor.exchange.close_position(8, BTC.name, "market", None, floor.now)
    events = squeeze(floor)
    assert forced(events) == []
    assert any(isinstance(event, Filled) for event in events)


def test_providers_take_no_more_than_they_have_left_for_one_liquidation(floor: Floor) -> None:
    floor.exchange = _with(floor, provider_notional=D(5_000))
    floor.exchange.close_position(8, BTC.name, "market", None, floor.now)
    taken = [e for e in squeeze(floor, "82500") if isinstance(e, ForcedTransfer)]
    for _ in range(10):
        floor.tick("82400", amounts=("5", "5"))
        taken += [e for e in floor.exchange.take_events() if isinstance(e, ForcedTransfer)]
    assert 0 < sum(one.amount * one.price for one in taken) <= 5_000
    floor.check()


def test_a_transfer_is_no_order_and_no_trade_but_has_its_rows(floor: Floor) -> None:
    floor.exchange = _with(floor, provider_notional=D(1_000_000))
    trades = len(floor.exchange.trades(7))
    events = squeeze(floor)
    assert not any(isinstance(event, OrderChanged | Filled) for event in events)
    assert len(floor.exchange.trades(7)) == trades + 1  # the purchase itself
    (act,) = [event for event in events if isinstance(event, ForcedTransfer)]
    moved, paid = floor.exchange.ledger(7)[-2:]
    assert (moved.type, moved.role, moved.side, moved.change) == ("LSP transfer", "source", "close sell", 0)
    assert (moved.trade_id, moved.order_id, moved.amount, moved.price) == (None, None, act.amount, act.price)
    assert act.price == (D(83000) * (1 - GATEWAY_RULES.provider_spread)).quantize(D("0.01"))
    assert (paid.type, paid.change, paid.commission) == ("LSP commission", -act.commission, act.commission)
    assert act.commission == (act.amount * act.price * GATEWAY_RULES.transfer_fee).quantize(D("1e-12"))
    assert moved.position == floor.size()


def test_a_healthy_account_can_be_made_to_take_part(floor: Floor) -> None:
    close = floor.buy("1", "80000", account=8, reduce_only=True)
    floor.exchange.take_events()
    floor.exchange.deleverage(8, BTC.name, D("0.4"), floor.now)
    assert forced(floor.exchange.take_events()) == [(8, "ADL", "buy", True)]
    assert floor.size(8) == D("-0.6")
    assert floor.order(close, 8).amount == D("0.6")  # what may only reduce shrinks with the position
    assert [row.type for row in floor.exchange.ledger(8)[-2:]] == ["ADL transfer", "ADL commission"]
    assert floor.exchange.ledger(8)[-1].role == "destination"
    assert refused(lambda: floor.exchange.deleverage(8, BTC.name, D("0.7"), floor.now)) == 10021
    floor.check()


def _with(floor: Floor, **rules: Decimal) -> Exchange:
    """The same floor under other rules."""
    state = floor.exchange.dump()
    state["rules"] |= {name: str(value) for name, value in rules.items()}
    return Exchange.load(state)
