"""Ticker, candles and public trades."""

from decimal import Decimal

from perpctl.paper.products import BTC, BTC_INVERSE
from perpctl.paper.types import Candle, Print
from tests.paper.core.conftest import START_MS, Floor, refused

D = Decimal
MINUTE = 60_000


def traded(floor: Floor, price: str, amount: str, after_ms: int) -> None:
    floor.tick(price, prints=(Print("sell", D(price), D(amount)),), after_ms=after_ms)


def test_candles_hold_the_trades_and_quiet_minutes_repeat_the_close(floor: Floor) -> None:
    traded(floor, "84010", "1", 1000)
    traded(floor, "84030", "2", 10_000)
    traded(floor, "84020", "1", 10_000)
    traded(floor, "84000", "1", 2 * MINUTE)
    first, quiet, third = floor.exchange.candles(BTC.name, START_MS, START_MS + 2 * MINUTE, 1)
    assert first == Candle(START_MS, D(84010), D(84030), D(84010), D(84020), D(4), D(336090))
    assert (quiet.open, quiet.close, quiet.volume) == (D(84020), D(84020), 0)
    assert (third.open, third.close) == (D(84000), D(84000))
    (hour,) = floor.exchange.candles(BTC.name, START_MS, START_MS + 2 * MINUTE, 60)
    assert (hour.open, hour.high, hour.low, hour.close, hour.volume) == (84010, 84030, 84000, 84000, 5)


def test_the_ticker_shows_the_band_and_the_day(floor: Floor) -> None:
    traded(floor, "84010", "1", 1000)
    ticker = floor.exchange.ticker(BTC.name)
    assert (ticker.best_bid_price, ticker.best_ask_price) == (D("84010"), D("84010.1"))
    assert ticker.min_price == D("82749.8")  # 84010 - 1.5 %, on the tick
    assert ticker.max_price == D("85270.2")
    assert (ticker.last_price, ticker.volume, ticker.high) == (D(84010), D(1), D(84010))


def test_a_listed_product_without_a_feed_has_no_best_prices(floor: Floor) -> None:
    ticker = floor.exchange.ticker(BTC_INVERSE.name)
    assert ticker.best_bid_price is None
    assert ticker.volume == 0
    assert refused(lambda: floor.exchange.ticker("BTC-PERP-INTX")) == -32602


def test_trade_sequence_has_no_gap_and_ticks_have_a_direction(floor: Floor) -> None:
    for price in ("84210", "84220", "84220", "84000", "84000"):
        traded(floor, price, "1", 1000)
    trades = floor.exchange.public_trades(BTC.name)
    assert [t.trade_seq for t in trades] == list(range(trades[0].trade_seq, trades[0].trade_seq + 5))
    assert [t.tick_direction for t in trades] == [1, 0, 1, 2, 3]  # the first has none before it to compare with


def test_before_the_first_trade_the_last_price_is_the_market_s_not_the_list_s(floor: Floor) -> None:
    floor.tick("83000.5")
    assert floor.exchange.ticker(BTC.name).last_price == D("83000.5")


def test_the_day_s_figures_forget_what_is_older_than_24_hours(floor: Floor) -> None:
    traded(floor, "90000", "7", 1000)
    for _ in range(30):
        traded(floor, "84000", "1", 60 * MINUTE)
    ticker = floor.exchange.ticker(BTC.name)
    assert (ticker.high, ticker.volume, ticker.price_change) == (D(84000), D(24), 0)
    floor.exchange.advance(floor.now + 25 * 60 * MINUTE)
    assert floor.exchange.ticker(BTC.name).volume == 0
    assert floor.exchange.ticker(BTC.name).high is None
