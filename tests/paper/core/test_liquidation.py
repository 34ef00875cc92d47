"""What happens to an account below its maintenance margin."""

from decimal import Decimal

from perpctl.paper.events import LiquidationChanged
from perpctl.paper.products import BTC
from tests.paper.core.conftest import Floor, refused

D = Decimal


def overloaded(floor: Floor) -> None:
    """Account 7: 10 BTC long on 20,000."""
    for _ in range(8):
        floor.buy("1.25")
        floor.tick("84000")
    floor.exchange.deposit(7, D(-80_000) + (100_000 - floor.exchange.account(7).equity), floor.now)


def test_liquidation_cancels_orders_reduces_in_steps_and_says_so(floor: Floor) -> None:
    overloaded(floor)
    resting = floor.buy("0.1", "80000")
    stop = floor.sell("1", type="stop_market", trigger="mark_price", trigger_price="80000", reduce_only=True)
    floor.exchange.take_events()
    floor.tick("82800", amounts=("5", "5"))
    states = [event.state for event in floor.exchange.take_events() if isinstance(event, LiquidationChanged)]
    assert states[0] == "liquidation_started"
    for placed in (resting, stop):
        assert floor.order(placed).cancel_reason == "autoliquidation"
    forced = [trade for trade in floor.exchange.trades(7) if trade.liquidation]
    assert forced
    assert all(trade.fee == trade.price * trade.amount * BTC.liquidation_fee for trade in forced)
    assert 0 < floor.size() < 10
    floor.check()


def test_meanwhile_the_owner_cannot_trade_and_afterwards_can(floor: Floor) -> None:
    overloaded(floor)
    floor.tick("82800", amounts=("5", "5"))
    assert floor.exchange.account(7).liquidating
    assert refused(lambda: floor.sell("0.1")) == 11098
    for _ in range(40):
        floor.tick("82800", amounts=("5", "5"))
    account = floor.exchange.account(7)
    assert not account.liquidating
    assert account.margin_balance >= account.maintenance_margin
    assert floor.sell("0.1").order.state == "filled"
    floor.check()


def test_what_a_bankrupt_account_owes_is_made_good_and_booked(floor: Floor) -> None:
    overloaded(floor)
    for _ in range(60):
        floor.tick("80000", amounts=("5", "5"))
    account = floor.exchange.account(7)
    assert floor.size() == 0
    assert account.equity == 0
    assert floor.exchange.ledger(7)[-1].type == "correction"
    floor.check()


def test_a_healthy_account_beside_it_is_left_alone(floor: Floor) -> None:
    overloaded(floor)
    floor.buy("0.1", account=8)
    floor.tick("80000", amounts=("5", "5"))
    assert floor.size(8) == D("0.1")
    assert not floor.exchange.account(8).liquidating
