"""Captured stream messages as a market: what they show is what the exchange quotes and trades by."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.errors import FeedFileError
from perpctl.paper.feed.capture import CapturedFeed, is_capture
from perpctl.paper.feed.choice import feed_of, scaled
from perpctl.paper.products import GATEWAY_PRODUCTS
from perpctl.paper.types import NewOrder
from perpctl.paper.venue import MAIN_ACCOUNT, MemoryVenue
from tests.paper.feed.messages import (
    AT_MS,
    BOOK_OF,
    BTC,
    ETH,
    an_hour,
    best,
    change,
    notified,
    quote,
    snapshot,
    ticker,
    trade,
    written,
)

D = Decimal
BOOK, MARK = BOOK_OF


def venue_of(path: Path) -> MemoryVenue:
    """An exchange after the whole capture."""
    feed = CapturedFeed(path, GATEWAY_PRODUCTS)
    venue = MemoryVenue(feed, feed.start_ms - 1)
    while venue.step() is not None:
        pass
    return venue


def test_the_exchange_quotes_the_captured_book_and_prices(tmp_path: Path) -> None:
    venue = venue_of(written(tmp_path, BOOK, MARK))
    book, seen = venue.exchange.book(BTC, 10), venue.exchange.ticker(BTC)
    assert book.bids == ((D("84000.0"), D("2.0")), (D("83990.0"), D("3.0")))
    assert book.asks == ((D("84001.0"), D("1.0")), (D("84010.0"), D("4.0")))
    assert (seen.mark_price, seen.index_price, seen.at_ms) == (D("84000.5"), D("83990.25"), AT_MS + 5)


def test_a_market_order_trades_through_the_captured_levels(tmp_path: Path) -> None:
    venue = venue_of(written(tmp_path, BOOK, MARK))
    wanted = NewOrder(product=BTC, direction="buy", amount=D(3), type="market")
    placed = venue.exchange.place(MAIN_ACCOUNT, wanted, venue.exchange.now)
    assert [(fill.price, fill.amount) for fill in placed.trades] == [(84001, 1), (84010, 2)]
    assert venue.exchange.book(BTC, 1).asks == ((D("84010.0"), D("2.0")),)


def test_what_was_taken_stays_taken_until_the_book_itself_changes(tmp_path: Path) -> None:
    later = ticker(AT_MS + 100, 84000.6, 83990.25)
    renewed = change(AT_MS + 200, [], [["change", 84010.0, 9.0]], change_id=101, after=100)
    feed = CapturedFeed(written(tmp_path, BOOK, MARK, later, renewed), GATEWAY_PRODUCTS)
    venue = MemoryVenue(feed, feed.start_ms - 1)
    venue.step()
    venue.exchange.place(MAIN_ACCOUNT, NewOrder(product=BTC, direction="buy", amount=D(1), type="market"), AT_MS + 6)
    venue.step()
    assert venue.exchange.ticker(BTC).mark_price == D("84000.6")
    assert venue.exchange.book(BTC, 1).asks == ((D("84010.0"), D("4.0")),)
    venue.step()
    assert venue.exchange.book(BTC, 2).asks == ((D("84001.0"), D("1.0")), (D("84010.0"), D("9.0")))


def test_changes_apply_to_the_snapshot_and_a_new_snapshot_starts_over(tmp_path: Path) -> None:
    changed = change(
        AT_MS + 100,
        [["delete", 84000.0, 0], ["new", 83995.0, 7.0]],
        [["change", 84001.0, 0.5]],
        change_id=101,
        after=100,
    )
    venue = venue_of(written(tmp_path, BOOK, MARK, changed))
    assert venue.exchange.book(BTC, 5).bids == ((D("83995.0"), D("7.0")), (D("83990.0"), D("3.0")))
    assert venue.exchange.book(BTC, 1).asks == ((D("84001.0"), D("0.5")),)
    again = snapshot(AT_MS + 300, [(84100.0, 1.0)], [(84101.0, 1.0)], change_id=500)
    venue = venue_of(written(tmp_path, BOOK, MARK, changed, again))
    assert venue.exchange.book(BTC, 5).bids == ((D("84100.0"), D("1.0")),)


def test_a_captured_trade_fills_a_resting_order_after_those_ahead_of_it(tmp_path: Path) -> None:
    feed = CapturedFeed(
        written(tmp_path, BOOK, MARK, trade(AT_MS + 50, "sell", 84000.0, 1.5), trade(AT_MS + 60, "sell", 84000.0, 1.0)),
        GATEWAY_PRODUCTS,
    )
    venue = MemoryVenue(feed, feed.start_ms - 1)
    venue.step()
    resting = NewOrder(product=BTC, direction="buy", amount=D(1), price=D(84000))
    order = venue.exchange.place(MAIN_ACCOUNT, resting, venue.exchange.now).order
    venue.step()
    assert venue.exchange.order(MAIN_ACCOUNT, order.order_id).filled == 0  # 2.0 were there before
    venue.step()
    assert venue.exchange.order(MAIN_ACCOUNT, order.order_id).filled == D("0.5")


def test_the_richest_channel_makes_the_book_and_the_others_leave_it_alone(tmp_path: Path) -> None:
    grouped = notified(
        f"book.{BTC}.none.10.100ms",
        {"instrument_name": BTC, "timestamp": AT_MS + 20, "change_id": 9, "bids": [[83000, 1]], "asks": [[83001, 1]]},
    )
    both = written(tmp_path, quote(AT_MS, 82000.0, 82001.0), MARK, grouped, BOOK, grouped, quote(AT_MS + 90, 1.0, 2.0))
    assert venue_of(both).exchange.book(BTC, 1).bids == ((D("84000.0"), D("2.0")),)
    poorer = written(tmp_path, quote(AT_MS, 82000.0, 82001.0), MARK, grouped, quote(AT_MS + 90, 1.0, 2.0))
    assert venue_of(poorer).exchange.book(BTC, 5).bids == ((D(83000), D(1)),)


def test_quotes_alone_make_a_market_with_depth_of_our_own_behind_them(tmp_path: Path) -> None:
    venue = venue_of(written(tmp_path, MARK, quote(AT_MS + 10, 84000.0, 84000.1)))
    book = venue.exchange.book(BTC, 10)
    assert book.bids[0] == (D("84000.0"), D("1.0"))
    assert len(book.bids) == 10


def test_an_empty_side_is_empty(tmp_path: Path) -> None:
    gone = change(AT_MS + 90, [["delete", 84000.0, 0], ["delete", 83990.0, 0]], [], change_id=101, after=100)
    venue = venue_of(written(tmp_path, BOOK, MARK, gone))
    assert venue.exchange.ticker(BTC).best_bid_price is None
    assert venue.exchange.ticker(BTC).best_ask_price == D("84001.0")


def test_a_book_that_locks_in_the_capture_locks_here_and_opens_again(tmp_path: Path) -> None:
    locked = notified(
        "instrument.state.future.USDC", {"instrument_name": BTC, "state": "locked", "timestamp": AT_MS + 50}
    )
    assert venue_of(written(tmp_path, BOOK, MARK, locked)).exchange.ticker(BTC).state == "locked"
    opened = ticker(AT_MS + 90, 84000.5, 83990.25, state="open")
    assert venue_of(written(tmp_path, BOOK, MARK, locked, opened)).exchange.ticker(BTC).state == "open"
    platform = notified("platform_state", {"price_index": "btc_usdc", "locked": True})
    whole = written(tmp_path, BOOK, MARK, platform, ticker(AT_MS + 90, 84000.5, 83990.25))
    assert venue_of(whole).exchange.ticker(BTC).state == "locked"


def test_several_products_and_an_index_channel_play_together(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        BOOK,
        ticker(AT_MS, 2600.0, 2600.0, name=ETH, **best(2599.99, 2600.01)),
        MARK,
        notified("deribit_price_index.eth_usdc", {"index_name": "eth_usdc", "price": 2601.5, "timestamp": AT_MS + 9}),
    )
    exchange = venue_of(path).exchange
    assert (exchange.ticker(ETH).index_price, exchange.ticker(ETH).best_bid_price) == (D("2601.5"), D("2599.99"))
    assert exchange.ticker(BTC).best_bid_price == D("84000.0")


def test_what_is_no_market_is_passed_over(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        {"jsonrpc": "2.0", "id": 1, "result": [f"book.{BTC}.100ms"], "usIn": 1, "usOut": 2, "usDiff": 1},
        BOOK,
        {"jsonrpc": "2.0", "method": "heartbeat", "params": {"type": "test_request"}},
        MARK,
        notified("chart.trades.X.1", {"tick": 1}),
        notified("tomorrow.some.channel", {"new": True}),
        snapshot(AT_MS + 20, [(1.0, 5.0)], [(2.0, 5.0)], name="DOGE_USDC-PERPETUAL"),
    )
    assert len(CapturedFeed(path, GATEWAY_PRODUCTS)) == 1


def test_slightly_late_messages_do_not_turn_market_time_back(tmp_path: Path) -> None:
    path = written(tmp_path, BOOK, MARK, ticker(AT_MS + 2_000, 84010.0, 84000.0), ticker(AT_MS + 500, 84011.0, 84000.0))
    times = [tick.at_ms for tick in CapturedFeed(path, GATEWAY_PRODUCTS)]
    assert times == [AT_MS + 5, AT_MS + 2_000, AT_MS + 2_000]


LATE = change(AT_MS + 90, [], [["change", 84001.0, 2.0]], change_id=103, after=102)
BROKEN: list[tuple[tuple[Any, ...], str, int, str]] = [
    ((BOOK, MARK), "", 2, "cut off"),
    ((BOOK, json.dumps(MARK)[:40]), "\n", 2, "not a JSON object"),
    ((BOOK, "84000.1,84000.2"), "\n", 2, "not a JSON object"),
    ((BOOK, "[1, 2]"), "\n", 2, "streams socket"),
    ((BOOK, {"type": "l2update", "product_id": "BTC-USD"}), "\n", 2, "streams socket"),
    ((BOOK, MARK, LATE), "\n", 3, "misses a message"),
    ((MARK, LATE), "\n", 2, "no snapshot"),
    ((BOOK, notified(f"ticker.{BTC}.100ms", {"instrument_name": BTC})), "\n", 2, "KeyError"),
    ((BOOK, ticker(AT_MS, "84000", 1)), "\n", 2, "no number"),  # type: ignore[arg-type]
    ((BOOK, ticker(True, 84000.5, 1)), "\n", 2, "no timestamp"),
    ((snapshot(AT_MS, [(84000.05, 1.0)], [(84001.0, 1.0)]),), "\n", 1, "grid"),
    ((snapshot(AT_MS, [(84000.0, 0.00005)], [(84001.0, 1.0)]),), "\n", 1, "multiple"),
    ((snapshot(AT_MS, [(84000.0, 1.0)], [(84000.0, 1.0)]),), "\n", 1, "at or above the ask"),
    ((BOOK, MARK, ticker(AT_MS - 6_000, 84000.5, 84000.0)), "\n", 3, "older than a line before it"),
    ((BOOK, notified(f"trades.{BTC}.100ms", [{"timestamp": AT_MS, "instrument_name": BTC}])), "\n", 2, "KeyError"),
    ((BOOK,), "\n", 1, "ends without a market"),
    ((MARK,), "\n", 1, "ends without a market"),
]


@pytest.mark.parametrize(("messages", "end", "line", "word"), BROKEN)
def test_a_broken_capture_is_named_with_its_line(
    tmp_path: Path, messages: tuple[Any, ...], end: str, line: int, word: str
) -> None:
    path = written(tmp_path, *messages, end=end)
    with pytest.raises(FeedFileError, match=word) as caught:
        CapturedFeed(path, GATEWAY_PRODUCTS)
    assert f"{path}, line {line} " in str(caught.value)


def test_a_packed_capture_plays_and_a_cut_one_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, *an_hour(10_000), packed=True)
    assert is_capture(path)
    assert len(CapturedFeed(path, GATEWAY_PRODUCTS)) > 500
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(FeedFileError, match="cut off or damaged"):
        CapturedFeed(path, GATEWAY_PRODUCTS)


def test_replay_tells_captures_from_candles_by_their_content(tmp_path: Path) -> None:
    feed = feed_of(f"replay:{written(tmp_path, BOOK, MARK)}", 0, 0)
    assert feed.start_ms == AT_MS + 4
    for content in ("[1]\n", "hello\n", ""):
        (tmp_path / "other").write_text(content)
        with pytest.raises(FeedFileError, match="line 1"):
            feed_of(f"replay:{tmp_path / 'other'}", 0, 0)


def test_a_capture_plays_byte_for_byte_the_same_twice(tmp_path: Path) -> None:
    path = written(tmp_path, *an_hour())

    def play() -> str:
        feed = CapturedFeed(path, GATEWAY_PRODUCTS)
        venue = MemoryVenue(feed, feed.start_ms - 1)
        count = 0
        while (tick := venue.step()) is not None:
            count += 1
            if count % 50 == 0:
                wanted = NewOrder(product=BTC, direction="buy", amount=D("0.1"), price=tick.bid or None)
                venue.exchange.place(MAIN_ACCOUNT, wanted, venue.exchange.now)
        assert venue.exchange.trades(MAIN_ACCOUNT)
        return json.dumps(venue.exchange.dump(), default=str)

    assert play() == play()


def test_a_market_moved_by_hand_moves_the_captured_levels_with_it(tmp_path: Path) -> None:
    (tick,) = CapturedFeed(written(tmp_path, BOOK, MARK), GATEWAY_PRODUCTS)
    moved = scaled(tick, D("0.5"), D("0.1"))
    assert moved.ladder is not None
    assert [level[0] for level in moved.ladder.bids] == [D("42000.0"), D("41995.0")]
    assert (moved.bid, moved.ask, moved.mark) == (D("42000.0"), D("42000.5"), D("42000.25"))


FIXTURES = Path(__file__).parents[3] / "../shared/coinbase/gateway/fixtures"


def test_real_captured_messages_are_understood(tmp_path: Path) -> None:
    names = ("ws-ticker", "ws-book-snapshot", "ws-book-delta", "ws-trades", "ws-book-grouped-snapshot", "ws-quote")
    if not FIXTURES.exists():
        pytest.skip("../shared is absent")
    for name in names:
        found = json.loads((FIXTURES / f"native-real-{name}.json").read_text())
        text = json.dumps(found).replace("BTC-PERPETUAL", BTC)
        lines = [text, *([json.dumps(MARK)] if "mark" not in text else []), json.dumps(quote(AT_MS, 84000.0, 84001.0))]
        if name == "ws-book-delta":
            first = json.loads((FIXTURES / "native-real-ws-book-snapshot.json").read_text())
            lines.insert(0, json.dumps(first).replace("BTC-PERPETUAL", BTC))
        # each was captured on another day: here they count by their content alone
        stamped = [_at(json.loads(line), AT_MS + 10 * number) for number, line in enumerate(lines)]
        ticks = list(CapturedFeed(written(tmp_path, *stamped), GATEWAY_PRODUCTS))
        assert ticks, name


def _at(message: dict[str, Any], at_ms: int) -> dict[str, Any]:
    content = message["params"]["data"]
    for row in content if isinstance(content, list) else [content]:
        row["timestamp"] = at_ms
    return message
