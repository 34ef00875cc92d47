"""The second instance's terms as data: contracts, fees a contract, margin windows, sessions, hourly funding, ends."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from perpctl.paper.core import Exchange, Placed
from perpctl.paper.terms.calendar import HOUR_MS, local, utc_ms
from perpctl.paper.terms.us import BIP, HOLIDAYS, US_PRODUCTS, US_RULES, follow
from perpctl.paper.types import NewOrder, Order, Print, Rejected, Sweep, Tick

D = Decimal
CALENDAR = US_RULES.calendar
assert CALENDAR is not None


def at(text: str) -> int:
    """UTC as market ms."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


class Floor:
    """A US exchange with one account, BIP one tick wide at 84000, on a Wednesday morning in New York."""

    def __init__(self, start: str = "2026-09-30T14:30:00") -> None:
        self.exchange = Exchange(US_PRODUCTS, US_RULES, at(start))
        self.exchange.open_account(1, "paper", self.exchange.now)
        self.tick("84000")

    def tick(self, bid: str, *, index: str | None = None, prints: tuple[Print, ...] = (), after_ms: int = 1000) -> None:
        low = D(bid)
        seen = prints or (Print("sell", low, D("0.01")),)
        now = self.exchange.now + after_ms
        self.exchange.on_tick(Tick(BIP.name, now, low, low + 5, D(50), D(50), D(index or bid), low, seen))

    def place(self, direction: Any, contracts: int, price: str | None = None, **members: Any) -> Placed:
        amount = contracts * BIP.contract_size
        kind = members.pop("type", "limit" if price else "market")
        new = NewOrder(
            product=BIP.name,
            direction=direction,
            amount=amount,
            type=kind,
            price=D(price) if price else None,
            **members,
        )
        return self.exchange.place(1, new, self.exchange.now)

    def order(self, placed: Placed) -> Order:
        return self.exchange.order(1, placed.order.order_id)

    def until(self, text: str) -> None:
        self.exchange.advance(at(text))

    def check(self) -> None:
        self.exchange.check_identity(1)


def test_new_york_keeps_summer_time_from_march_to_november() -> None:
    for moment, hour in [
        ("2026-03-08T06:59:00", 1),
        ("2026-03-08T07:00:00", 3),
        ("2026-11-01T05:59:00", 1),
        ("2026-11-01T06:00:00", 1),
        ("2026-11-01T07:00:00", 2),
        ("2026-07-01T21:00:00", 17),
        ("2026-12-01T22:00:00", 17),
    ]:
        assert local(at(moment)).hour == hour, moment
    assert utc_ms(datetime(2026, 7, 1, tzinfo=UTC).date(), 17) == at("2026-07-01T21:00:00")
    assert utc_ms(datetime(2026, 12, 1, tzinfo=UTC).date(), 17) == at("2026-12-01T22:00:00")


def test_the_day_window_is_on_business_days_only() -> None:
    assert CALENDAR is not None
    for moment, window in [
        ("2026-09-30T11:59:00", "OVERNIGHT"),
        ("2026-09-30T12:00:00", "INTRADAY"),
        ("2026-09-30T19:59:00", "INTRADAY"),
        ("2026-09-30T20:00:00", "OVERNIGHT"),
        ("2026-10-02T20:00:00", "WEEKEND"),
        ("2026-10-03T15:00:00", "WEEKEND"),
        ("2026-11-26T15:00:00", "OVERNIGHT"),  # Thanksgiving
        ("2022-01-17T15:00:00", "OVERNIGHT"),  # in a replay: Martin Luther King's day
        ("2022-01-18T15:00:00", "INTRADAY"),
    ]:
        assert CALENDAR.window(at(moment)) == window, moment
    assert CALENDAR.window_end(at("2026-10-02T20:30:00")) == at("2026-10-05T12:00:00")
    assert CALENDAR.window_end(at("2026-09-30T15:00:00")) == at("2026-09-30T20:00:00")
    assert all(datetime.fromisoformat(day).weekday() < 5 for day in HOLIDAYS)
    assert len(set(HOLIDAYS)) == len(HOLIDAYS)


def test_a_fee_has_a_share_of_notional_and_a_part_for_each_contract() -> None:
    floor = Floor()
    (trade,) = floor.place("buy", 3).trades
    assert trade.price == 84005
    assert trade.fee == 3 * D("0.01") * 84005 * D("0.0008") + 3 * D("0.14")
    floor.check()


def test_only_whole_contracts_on_the_real_tick_are_accepted() -> None:
    floor = Floor()
    with pytest.raises(Rejected, match="invalid_amount"):
        floor.exchange.place(1, NewOrder(product=BIP.name, direction="buy", amount=D("0.015"), type="market"), 0)
    with pytest.raises(Rejected, match="price_wrong_tick"):
        floor.place("buy", 1, "83999")


def test_the_band_is_a_number_of_ticks_around_the_last_price() -> None:
    floor = Floor()
    top = 84000 + 5 * BIP.band_ticks
    floor.place("buy", 1, str(top))
    with pytest.raises(Rejected, match="price_too_high"):
        floor.place("buy", 1, str(top + 5 * 2))
    floor.tick("84500", prints=(Print("buy", D(84505), D(1)),))
    floor.place("buy", 1, str(top + 505))


def test_margin_is_the_nights_unless_the_day_was_chosen_and_is_on() -> None:
    floor = Floor()
    floor.place("buy", 10)
    notional = 10 * D("0.01") * 84000
    assert BIP.night_rates
    assert BIP.day_rates
    assert floor.exchange.account(1).initial_margin == notional * BIP.night_rates.long
    floor.exchange.choose_margin(1, True, floor.exchange.now)
    assert floor.exchange.account(1).initial_margin == notional * BIP.day_rates.long
    floor.until("2026-09-30T20:00:00")  # 16:00 New York
    assert floor.exchange.account(1).initial_margin == notional * BIP.night_rates.long
    assert floor.exchange.requirements(1, by_day=True).initial == notional * BIP.day_rates.long


def test_a_short_binds_the_short_rate() -> None:
    floor = Floor()
    floor.place("sell", 10)
    assert BIP.night_rates
    assert floor.exchange.account(1).initial_margin == 10 * D("0.01") * 84000 * BIP.night_rates.short


def test_who_carries_too_much_into_the_night_is_liquidated() -> None:
    floor = Floor()
    floor.exchange.choose_margin(1, True, floor.exchange.now)
    floor.place("buy", 900)
    floor.until("2026-09-30T19:59:59")
    assert floor.exchange.position(1, BIP.name).size == 9
    for _ in range(40):
        floor.tick("84000", after_ms=60_000)
    assert floor.exchange.position(1, BIP.name).size < 9
    assert any(order.is_liquidation for order in floor.exchange.orders(1))
    floor.check()


def test_what_an_order_lacks_in_margin_comes_from_the_wallet() -> None:
    floor = Floor()
    before = floor.exchange.account(1)
    floor.place("buy", 550)  # 113 k of margin
    after = floor.exchange.account(1)
    assert before.wallet == 25_000
    assert 0 < after.wallet < 25_000
    assert after.wallet == after.wallet.quantize(D("0.01"))
    with pytest.raises(Rejected, match="not_enough_funds"):
        floor.place("buy", 200)
    floor.check()


def test_a_sweep_moves_free_cash_to_the_wallet_when_the_session_ends() -> None:
    floor = Floor()
    floor.exchange.plan_sweep(1, Sweep("a", D(500), 0), floor.exchange.now)
    with pytest.raises(Rejected):
        floor.exchange.plan_sweep(1, Sweep("b", D(500), 0), floor.exchange.now)
    floor.until("2026-09-30T20:59:00")
    assert floor.exchange.account(1).wallet == 25_000
    floor.until("2026-09-30T21:00:00")
    assert floor.exchange.account(1).wallet == 25_500
    assert floor.exchange.account(1).sweep is None
    floor.exchange.plan_sweep(1, Sweep("c", None, 0), floor.exchange.now)
    floor.until("2026-10-01T21:00:00")
    assert floor.exchange.account(1).wallet == 125_000
    floor.check()


def test_nothing_is_traded_or_cancelled_in_the_weekly_stop() -> None:
    floor = Floor("2026-10-02T20:30:00")
    resting = floor.place("buy", 1, "83000")
    floor.until("2026-10-02T21:00:00")  # Friday 17:00 New York
    with pytest.raises(Rejected, match="book_closed"):
        floor.place("buy", 1, "83000")
    with pytest.raises(Rejected, match="book_closed"):
        floor.exchange.cancel(1, resting.order.order_id, floor.exchange.now)
    floor.until("2026-10-02T22:00:00")
    floor.exchange.cancel(1, resting.order.order_id, floor.exchange.now)


def test_an_exchange_that_begins_in_the_stop_is_shut() -> None:
    floor = Floor("2026-10-02T21:30:00")
    with pytest.raises(Rejected, match="book_closed"):
        floor.place("buy", 1, "83000")


def test_an_order_with_an_end_expires_then_even_in_the_stop() -> None:
    floor = Floor("2026-10-02T20:59:00")
    placed = floor.place("buy", 1, "83000", end_ms=at("2026-10-02T21:10:00"))
    floor.until("2026-10-02T21:09:59")
    assert floor.order(placed).is_live
    floor.until("2026-10-02T21:10:00")
    assert (floor.order(placed).state, floor.order(placed).cancel_reason) == ("cancelled", "expired")


def test_funding_is_paid_at_the_full_hour_for_what_is_held_then() -> None:
    floor = Floor("2026-09-30T14:00:00")
    floor.tick("84084", index="84000")  # 10 bps above spot all hour
    floor.place("buy", 10)
    floor.until("2026-09-30T14:59:59")
    assert floor.exchange.account(1).session_funding == 0
    floor.until("2026-09-30T15:00:00")
    (hour,) = floor.exchange.funding_hours(BIP.name, 0, 10**13)
    expected = (D("0.75") * D(84) / 84000 / 24).quantize(D("1e-6"))
    assert hour.interest_1h == expected
    assert floor.exchange.account(1).session_funding == -expected * D("0.1") * 84084
    assert all(not row.interest_1h for row in floor.exchange.funding_hours("BTC-USD", 0, 10**13))
    floor.check()


def test_funding_becomes_cash_at_noon_and_at_the_sessions_end_without_a_record_a_payment() -> None:
    floor = Floor("2026-09-30T14:00:00")
    floor.tick("84084", index="84000")
    floor.place("buy", 10)
    floor.until("2026-09-30T15:59:00")
    accrued = floor.exchange.account(1).session_funding
    assert accrued < 0
    floor.until("2026-09-30T16:00:00")  # noon in New York: the 16:00 UTC hour is paid and booked with the others
    assert floor.exchange.account(1).session_funding == 0
    booked = [row for row in floor.exchange.ledger(1) if row.total_interest_pl]
    assert len(booked) == 1
    assert booked[0].total_interest_pl is not None
    assert booked[0].total_interest_pl < accrued
    floor.check()


def test_a_stop_keeps_its_id_when_it_fires_and_a_jump_over_its_limit_leaves_it_resting() -> None:
    floor = Floor()
    floor.place("buy", 2)
    stop = floor.place("sell", 2, "83500", type="stop_limit", trigger="last_price", trigger_price=D(83600))
    assert floor.order(stop).state == "untriggered"
    floor.tick("83000")  # beyond trigger and limit at once
    fired = floor.order(stop)
    assert (fired.state, fired.triggered, fired.filled) == ("open", True, 0)
    floor.tick("83500")
    assert floor.order(stop).state == "filled"
    assert floor.exchange.position(1, BIP.name).size == 0
    floor.check()


def test_a_bracket_takes_its_profit_or_stops_under_one_id() -> None:
    for price, average in (("84500", D(84400)), ("83500", D(83500))):
        floor = Floor()
        floor.place("buy", 2)
        bracket = floor.place("sell", 2, "84400", bracket=True, trigger="last_price", trigger_price=D(83600))
        assert floor.order(bracket).state == "open"
        floor.tick(price)
        done = floor.order(bracket)
        assert done.state == "filled", done
        assert done.average_price == average
        assert floor.exchange.position(1, BIP.name).size == 0
        floor.check()


def test_a_cancelled_bracket_never_fires() -> None:
    floor = Floor()
    floor.place("buy", 2)
    bracket = floor.place("sell", 2, "84400", bracket=True, trigger="last_price", trigger_price=D(83600))
    floor.exchange.cancel(1, bracket.order.order_id, floor.exchange.now)
    floor.tick("83000")
    assert floor.exchange.position(1, BIP.name).size == D("0.02")
    assert floor.order(bracket).state == "cancelled"


def test_order_ids_are_uuids_that_grow() -> None:
    floor = Floor()
    ids = [floor.place("buy", 1, "83000").order.order_id for _ in range(3)]
    assert all(len(one) == 36 and one[14] == "4" for one in ids)
    assert sorted(ids, key=lambda one: one[-12:]) == ids
    assert [order.order_id for order in floor.exchange.open_orders(1)] == ids[::-1]


def test_one_tick_of_the_feed_moves_every_product_on_the_coin() -> None:
    tick = Tick("BTC_USDC-PERPETUAL", 1, D("84003.2"), D("84003.3"), D(1), D(1), D(84000), D("84003.25"))
    made = {one.product: one for one in follow(tick, "BTC")}
    assert made.keys() == {"BIP-20DEC30-CDE", "BIT-25JUN27-CDE", "BTC-USD"}
    assert (made["BIP-20DEC30-CDE"].bid, made["BIP-20DEC30-CDE"].ask) == (84000, 84005)
    assert made["BIP-20DEC30-CDE"].index == 84000
    assert made["BIT-25JUN27-CDE"].bid > 86000
    assert made["BTC-USD"].mark == 84000


def test_a_dump_carries_everything_over() -> None:
    floor = Floor()
    floor.exchange.choose_margin(1, True, floor.exchange.now)
    floor.exchange.plan_sweep(1, Sweep("a", None, 7), floor.exchange.now)
    end = floor.exchange.now + HOUR_MS
    placed = floor.place("buy", 1, "83000", end_ms=end)
    again = Exchange.load(floor.exchange.dump())
    assert again.account(1) == floor.exchange.account(1)
    again.advance(end)
    assert again.order(1, placed.order.order_id).cancel_reason == "expired"
