"""The synthetic market and the candle replay."""

import gzip
from decimal import Decimal
from itertools import islice, pairwise
from pathlib import Path

import pytest

from perpctl.errors import FeedFileError
from perpctl.paper.core import Exchange
from perpctl.paper.feed.candles import HEADER, ReplayFeed
from perpctl.paper.feed.synthetic import SyntheticFeed
from perpctl.paper.products import BTC, GATEWAY_PRODUCTS, GATEWAY_RULES
from perpctl.paper.types import Tick

D = Decimal
START_MS = 1_790_766_000_000
ROWS = (
    "1640991660,46319,46385,46300,46377,2300414",
    "1640991720,46377,46411,46377,46411,1829623",
)


def written(folder: Path, *rows: str, end: str = "\n") -> Path:
    path = folder / "candles.csv"
    path.write_text("\n".join((HEADER, *rows)) + end)
    return path


def synthetic(count: int, seed: int = 1) -> list[Tick]:
    return list(islice(SyntheticFeed(seed, GATEWAY_PRODUCTS, START_MS), count))


def test_one_seed_is_one_market_and_another_seed_another() -> None:
    assert synthetic(300) == synthetic(300)
    assert synthetic(300) != synthetic(300, seed=2)


def test_the_synthetic_market_is_believable() -> None:
    ticks = [tick for tick in synthetic(9_000) if tick.product == BTC.name]
    assert all(tick.bid < tick.ask for tick in ticks)
    assert all(price % BTC.tick == 0 for tick in ticks for price in (tick.bid, tick.ask))
    assert all(tick.bid_amount >= BTC.min_amount and not tick.bid_amount % BTC.contract_size for tick in ticks)
    assert all(abs(tick.mark / tick.index - 1) < D("0.01") for tick in ticks)
    assert len({tick.bid for tick in ticks}) > 1000
    moves = [later.mark / sooner.mark - 1 for sooner, later in pairwise(ticks)]
    assert max(map(abs, moves)) < D("0.002")
    assert abs(ticks[-1].mark / ticks[0].mark - 1) < D("0.1")
    assert sum(len(tick.prints) for tick in ticks) > len(ticks) / 2


def test_a_feed_continues_from_known_prices() -> None:
    tick = next(iter(SyntheticFeed(1, (BTC,), START_MS, prices={BTC.name: D(50_000)})))
    assert abs(tick.mark - 50_000) < 100


@pytest.mark.parametrize("packed", [False, True])
def test_a_candle_is_four_ticks_nearer_extreme_first(tmp_path: Path, packed: bool) -> None:
    path = written(tmp_path, *ROWS)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))
    feed = ReplayFeed(path, BTC)
    ticks = list(feed)
    assert len(ticks) == len(feed) == 8
    assert [tick.prints[0].price for tick in ticks[:4]] == [46319, 46300, 46385, 46377]
    assert [tick.at_ms - feed.start_ms for tick in ticks] == [n * 15_000 for n in range(8)]
    assert sum(tick.prints[0].price * tick.prints[0].amount for tick in ticks[:4]) == pytest.approx(2300414, rel=1e-4)
    assert list(feed) == ticks


def test_the_candles_come_out_as_they_went_in(tmp_path: Path) -> None:
    feed = ReplayFeed(written(tmp_path, *ROWS), BTC)
    exchange = Exchange(GATEWAY_PRODUCTS, GATEWAY_RULES, feed.start_ms)
    for tick in feed:
        exchange.on_tick(tick)
    bars = exchange.candles(BTC.name, feed.start_ms, exchange.now, 1)
    shown = [(bar.open, bar.high, bar.low, bar.close) for bar in bars]
    assert shown == [(46319, 46385, 46300, 46377), (46377, 46411, 46377, 46411)]


@pytest.mark.parametrize(
    ("rows", "end", "line", "word"),
    [
        (ROWS, "", 3, "cut off"),
        ((ROWS[0], ROWS[1][:20]), "\n", 3, "six numbers"),
        ((ROWS[0], "1640991720,46377,46411,NaN,46411,1"), "\n", 3, "six numbers"),
        ((ROWS[0], "1640991720,46377,46411,x,46411,1"), "\n", 3, "six numbers"),
        ((ROWS[0], "1640991720,46377,46300,46377,46411,1"), "\n", 3, "contradict"),
        ((ROWS[1], ROWS[0]), "\n", 3, "later"),
        ((), "\n", 2, "no candle"),
    ],
)
def test_a_broken_file_is_named_with_its_line(
    tmp_path: Path, rows: tuple[str, ...], end: str, line: int, word: str
) -> None:
    path = written(tmp_path, *rows, end=end)
    with pytest.raises(FeedFileError, match=word) as caught:
        ReplayFeed(path, BTC)
    assert f"{path}, line {line} " in str(caught.value)


def test_a_truncated_gzip_is_found_before_the_first_tick(tmp_path: Path) -> None:
    path = written(tmp_path, *(f"{1640991660 + 60 * n},46319,46385,46300,46377,{n}" for n in range(5000)))
    whole = gzip.compress(path.read_bytes())
    for cut in (10, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:cut])
        with pytest.raises(FeedFileError, match="cut off"):
            ReplayFeed(path, BTC)


def test_a_file_of_another_kind_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FeedFileError, match="cannot be read"):
        ReplayFeed(tmp_path / "absent.csv", BTC)
    path = tmp_path / "other.csv"
    path.write_text("time,price\n1,2\n")
    with pytest.raises(FeedFileError, match="header"):
        ReplayFeed(path, BTC)
    path.write_bytes(b"\xff\xfe\x00\x01\n" * 10)
    with pytest.raises(FeedFileError, match="not text"):
        ReplayFeed(path, BTC)


def test_the_desk_month_is_whole() -> None:
    path = Path(__file__).parents[3] / "../shared/data/btc-perp-1m-2022-01.csv.gz"
    if not path.exists():
        pytest.skip("the candle file of ../shared is absent")
    assert len(ReplayFeed(path, BTC)) == 4 * 45_031
