"""Funding, its hourly rows, the settlement at 08:00 UTC."""

from decimal import Decimal

from perpctl.paper.core import Exchange
from perpctl.paper.events import StateChanged
from perpctl.paper.floor.market import funding_rate
from perpctl.paper.products import BTC, GATEWAY_RULES
from tests.paper.core.conftest import START_MS, Floor, refused

D = Decimal
HOUR = 3_600_000
NEXT_SETTLEMENT = START_MS + 21 * HOUR  # from 11:00 to 08:00


def test_a_premium_inside_the_damper_costs_nothing_and_beyond_it_the_rest() -> None:
    assert funding_rate(D("84020"), D("84000"), GATEWAY_RULES) == 0
    assert funding_rate(D("84084"), D("84000"), GATEWAY_RULES) == D("0.00075")
    assert funding_rate(D("83916"), D("84000"), GATEWAY_RULES) == D("-0.00075")
    assert funding_rate(D("90000"), D("84000"), GATEWAY_RULES) == D("0.005")


def test_funding_accrues_between_events_and_longs_pay_a_premium(floor: Floor) -> None:
    floor.buy("0.5")
    floor.sell("0.5", account=8)
    floor.tick("84084", mark="84084", index="84000")  # 0.00075 in 8 hours
    floor.exchange.advance(floor.now + 4 * HOUR)
    paid = floor.exchange.position(7, BTC.name).realized_funding
    assert abs(paid + D("0.5") * 84084 * D("0.00075") / 2) < D("1e-8")
    assert floor.exchange.position(8, BTC.name).realized_funding == -paid
    assert floor.exchange.account(7).session_rpl == paid
    floor.check()


def test_each_hour_has_a_row_and_windows_add_up(floor: Floor) -> None:
    floor.tick("84084", mark="84084", index="84000")
    floor.exchange.advance(START_MS + 10 * HOUR + 30 * 60_000)
    rows = floor.exchange.funding_hours(BTC.name, START_MS, START_MS + 11 * HOUR)
    assert [row.at_ms for row in rows] == [START_MS + hour * HOUR for hour in range(1, 11)]
    assert rows[5].interest_1h == D("0.00075") / 8
    assert rows[9].interest_8h == D("0.00075")
    assert rows[9].prev_index_price == rows[9].index_price == 84000
    whole = floor.exchange.funding_between(BTC.name, rows[1].at_ms, rows[9].at_ms)
    assert whole == sum(row.interest_1h for row in rows[2:])
    half = floor.exchange.funding_between(BTC.name, rows[1].at_ms, rows[1].at_ms + HOUR // 2)
    assert half == rows[2].interest_1h / 2
    assert floor.exchange.ticker(BTC.name).current_funding == D("0.00075")
    assert floor.exchange.ticker(BTC.name).funding_8h == D("0.00075") / 8 * D("7.5")


def test_the_settlement_turns_the_session_into_cash(floor: Floor) -> None:
    floor.buy("0.5")
    floor.tick("84084", mark="84084", index="84000")
    floor.sell("0.2")
    before = floor.exchange.account(7).equity
    floor.exchange.advance(NEXT_SETTLEMENT)
    account, position = floor.exchange.account(7), floor.exchange.position(7, BTC.name)
    assert account.balance == account.equity < before  # funding was paid meanwhile
    assert (account.session_rpl, account.session_upl, position.realized_funding) == (0, 0, 0)
    assert position.average_price == D("84000.1")
    assert position.total_profit_loss == D("0.3") * D("83.9")
    assert position.settlement_price == 84084
    row = floor.exchange.ledger(7)[-1]
    assert (row.type, row.side, row.position, row.balance) == ("settlement", "long", D("0.3"), account.balance)
    assert row.total_interest_pl is not None
    assert row.change == row.total_interest_pl + D("0.5") * D("83.9")
    (settled,) = floor.exchange.settlements(7)
    assert (settled.funding, settled.session_profit_loss) == (row.total_interest_pl, row.change)
    floor.check()


def test_trade_rows_carry_funding_since_the_change_before_and_sum_to_the_session(floor: Floor) -> None:
    floor.buy("0.5")
    floor.tick("84084", mark="84084", index="84000")
    floor.tick("84084", mark="84084", index="84000", after_ms=HOUR)
    floor.sell("0.2")
    floor.exchange.advance(NEXT_SETTLEMENT)
    rows = floor.exchange.ledger(7)
    assert rows[1].interest_pl == 0
    assert rows[2].interest_pl is not None
    assert rows[3].total_interest_pl is not None
    assert rows[3].total_interest_pl < rows[2].interest_pl < 0
    account = floor.exchange.account(7)
    assert sum(row.change for row in rows) == account.balance


def test_what_is_closed_after_a_settlement_counts_from_the_settlement_price(floor: Floor) -> None:
    floor.buy("0.4")  # at 84000.1
    floor.exchange.advance(NEXT_SETTLEMENT)  # at 84000
    floor.tick("84100", after_ms=5000)
    (trade,) = floor.sell("0.1").trades
    assert trade.profit_loss == D("0.1") * D("99.9")  # against the entry
    position = floor.exchange.position(7, BTC.name)
    assert position.realized_profit_loss == D("0.1") * 100  # of this session
    assert position.floating_profit_loss == D("0.3") * 100
    floor.check()


def test_during_the_settlement_orders_and_cancels_are_refused_and_nothing_matches(floor: Floor) -> None:
    resting = floor.buy("0.1", "83900")
    day = floor.buy("0.1", "83900", time_in_force="good_til_day")
    floor.exchange.advance(NEXT_SETTLEMENT)
    assert floor.order(day).cancel_reason == "settlement"
    assert floor.exchange.ticker(BTC.name).state == "settlement"
    assert refused(lambda: floor.buy("0.1", "83900")) == 10041
    assert refused(lambda: floor.exchange.cancel(7, resting.order.order_id, floor.now)) == 10041
    floor.tick("83000")
    assert floor.order(resting).state == "open"
    floor.exchange.take_events()
    floor.exchange.advance(NEXT_SETTLEMENT + GATEWAY_RULES.settlement_ms)
    assert StateChanged(BTC.name, "open") in floor.exchange.take_events()
    floor.tick("83000")
    assert floor.order(resting).state == "filled"


def test_a_long_pause_settles_every_day_of_it(floor: Floor) -> None:
    floor.buy("0.5")
    floor.exchange.advance(START_MS + 3 * 24 * HOUR)
    assert len(floor.exchange.settlements(7)) == 3
    assert floor.exchange.ticker(BTC.name).state == "open"
    floor.check()


def test_state_survives_dump_and_load_in_the_middle_of_everything(floor: Floor) -> None:
    floor.buy("0.5")
    floor.buy("0.1", "83000")
    floor.sell("0.5", type="stop_market", trigger="mark_price", trigger_price="83500", reduce_only=True)
    floor.exchange.advance(NEXT_SETTLEMENT)
    floor.exchange.take_events()
    again = Exchange.load(floor.exchange.dump())
    assert again.dump() == floor.exchange.dump()
    for exchange in (again, floor.exchange):
        exchange.advance(NEXT_SETTLEMENT + 5000)
    assert again.take_events() == floor.exchange.take_events()
    assert again.account(7) == floor.exchange.account(7)
