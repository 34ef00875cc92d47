"""Positions, fees, margin, leverage, deposits: the figures, by hand."""

from decimal import Decimal

from perpctl.paper.products import BTC, ETH
from tests.paper.core.conftest import Floor, refused

D = Decimal


def test_average_entry_realised_profit_and_fees_are_exact(floor: Floor) -> None:
    floor.buy("0.5")  # at 84000.1
    floor.tick("84100")
    floor.buy("0.25")  # at 84100.1
    floor.tick("84200")
    closed = floor.sell("0.3")  # at 84200
    position = floor.exchange.position(7, BTC.name)
    average = (D("0.5") * D("84000.1") + D("0.25") * D("84100.1")) / D("0.75")
    assert position.size == D("0.45")
    assert abs((position.average_price or D(0)) - average) < D("1e-9")
    (trade,) = closed.trades
    assert abs(trade.profit_loss - D("0.3") * (D("84200") - average)) < D("1e-9")
    assert trade.fee == D("0.3") * 84200 * D("0.00035")
    account = floor.exchange.account(7)
    fees = (D("0.5") * D("84000.1") + D("0.25") * D("84100.1") + D("0.3") * 84200) * D("0.00035")
    assert account.balance == 100_000 - fees  # profit is not cash before the settlement
    assert account.equity == account.balance + account.session_rpl + account.session_upl
    floor.check()


def test_a_fill_through_zero_writes_a_closing_and_an_opening_row(floor: Floor) -> None:
    floor.buy("0.2")
    floor.sell("0.5")
    rows = floor.exchange.ledger(7)
    assert [(row.type, row.side, row.amount) for row in rows] == [
        ("deposit", None, None),
        ("trade", "open buy", D("0.2")),
        ("trade", "close sell", D("0.2")),
        ("trade", "open sell", D("0.3")),
    ]
    assert rows[2].trade_id == rows[3].trade_id
    assert [row.user_seq for row in rows] == list(range(rows[0].user_seq, rows[0].user_seq + 4))
    assert rows[3].position == D("-0.3")
    assert floor.exchange.position(7, BTC.name).average_price == D("84000")
    floor.check()


def test_makers_pay_the_maker_fee(floor: Floor) -> None:
    floor.buy("0.5", "83990")
    floor.tick("83900")
    (trade,) = floor.exchange.trades(7)
    assert trade.fee == D("0.5") * 83990 * D("0.00015")


def test_margin_is_two_percent_and_a_slope(floor: Floor) -> None:
    floor.buy("1")
    position = floor.exchange.position(7, BTC.name)
    assert position.initial_margin == 84000 * D("0.02005")
    assert position.maintenance_margin == 84000 * D("0.01005")
    assert position.leverage == 50


def test_resting_orders_bind_margin_on_the_dearer_side_only(floor: Floor) -> None:
    floor.buy("1", "83000")
    floor.sell("0.4", "85000")
    account = floor.exchange.account(7)
    assert account.initial_margin == 0
    assert account.projected_initial_margin == 84000 * D("0.02005")
    assert account.available_funds == account.equity - account.projected_initial_margin
    assert floor.exchange.position(7, BTC.name).open_orders_margin == account.projected_initial_margin


def test_set_leverage_raises_the_margin_and_refuses_what_no_longer_fits(floor: Floor) -> None:
    assert floor.exchange.leverage(7, BTC.name) is None
    assert floor.exchange.set_leverage(7, BTC.name, 2, floor.now) == 2
    assert refused(lambda: floor.buy("3", "83000")) == 10009
    floor.buy("2", "83000")
    assert floor.exchange.account(7).projected_initial_margin == 84000
    assert floor.exchange.set_leverage(7, BTC.name, None, floor.now) is None
    assert refused(lambda: floor.exchange.set_leverage(7, BTC.name, 51, floor.now)) == -32602


def test_without_funds_only_what_reduces_passes(floor: Floor) -> None:
    floor.exchange.set_leverage(7, BTC.name, 1, floor.now)
    floor.buy("1", "83995")
    floor.tick("83980")
    floor.exchange.deposit(7, D(-17000), floor.now)
    assert floor.exchange.account(7).available_funds == 0
    assert refused(lambda: floor.buy("0.1")) == 10009
    assert floor.sell("0.4").order.state == "filled"
    floor.check()


def test_a_preview_says_what_an_order_would_bind(floor: Floor) -> None:
    floor.buy("1")
    margins = floor.exchange.margins(7, BTC.name, D("0.5"), D(84000))
    assert margins.buy == 84000 * (D("1.5") * D("0.020075") - D("0.02005"))
    assert margins.sell == 0
    assert margins.taker_fee == D("14.7")
    assert (margins.min_price, margins.max_price) == (D("82740.0"), D("85260.0"))


def test_products_share_the_money_of_an_account(floor: Floor) -> None:
    floor.tick("2600", ask="2600.01", product=ETH.name)
    floor.buy("1")
    floor.sell("0.3", product=ETH.name)
    account = floor.exchange.account(7)
    assert account.delta_total == {"btc_usdc": D(1), "eth_usdc": D("-0.3")}
    assert [position.product for position in floor.exchange.positions(7)] == [BTC.name, ETH.name]
    floor.check()
