"""What the paper exchange keeps: the state after a crash is the state that was told."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.errors import HeldByAnother
from perpctl.paper.feed.synthetic import SyntheticFeed
from perpctl.paper.gateway.access import Grant
from perpctl.paper.gateway.rpc import Params, Request, RpcError
from perpctl.paper.keys import MAIN_ACCOUNT, MemoryKeys
from perpctl.paper.products import GATEWAY_PRODUCTS
from perpctl.paper.state import Directory, KeptExchange, Record, forget, sync_files
from perpctl.paper.types import Tick
from perpctl.paper.venue import Feed, Venue

START_MS = 1_790_762_400_000
BTC = "BTC_USDC-PERPETUAL"
OWNER = Grant("key", MAIN_ACCOUNT, frozenset({"view", "trade"}), 1e12, "sid")


def feed(now: int, prices: dict[str, Decimal]) -> Iterator[Tick]:
    return iter(SyntheticFeed(now, GATEWAY_PRODUCTS, now, prices=prices))


@contextmanager
def living(folder: Path) -> Iterator[Venue]:
    """A venue until it dies: its files are let go of, nothing more is written."""
    venue = Venue(Record(folder), MemoryKeys(), Feed(feed, START_MS), speed=1000)
    venue.gateway.credits.enabled = False
    try:
        yield venue
    finally:
        venue.record.release()


def resumed(folder: Path) -> KeptExchange:
    record = Record(folder)
    try:
        exchange = record.resume()
    finally:
        record.release()
    assert exchange is not None
    return exchange


def call(venue: Venue, method: str, **params: Any) -> Any:
    request = Request(method, Params(params))
    return venue.gateway.call(request, 1.0, OWNER, None, "127.0.0.1")


def whole(exchange: KeptExchange) -> dict[str, Any]:
    """All of it, with the outside ladders drawn: they are made when somebody looks."""
    for product in exchange.products:
        exchange.book(product, 1000)
    return exchange.dump()


def act(venue: Venue, dice: random.Random) -> None:
    """One thing that an account or the market does."""
    mark = venue.exchange.ticker(BTC).mark_price
    side = dice.choice(("buy", "sell"))
    away = mark * dice.randint(0, 12) / 10_000
    price = (mark - away if side == "buy" else mark + away).quantize(Decimal("0.1"))
    order = {"instrument_name": BTC, "amount": Decimal(dice.randint(1, 50)) / 1000}
    isolated = {"isolated": True, "allocated_margin": 200} if dice.random() < 0.2 else {}
    chosen = dice.randint(0, 9)
    if chosen <= 3:
        call(venue, f"private/{side}", **order, price=price, post_only=False, **isolated)
    elif chosen == 4:
        call(venue, f"private/{side}", **order, type="market")
    elif chosen == 5:
        call(venue, "private/cancel_all", include_isolated=True)
    elif chosen == 6:
        call(venue, "private/close_position", instrument_name=BTC, type="market")
    elif chosen == 7:
        stop = {"type": "stop_market", "trigger": "mark_price", "trigger_price": mark.quantize(Decimal(1)) - 30}
        call(venue, "private/sell", **order, **stop)
    elif chosen == 8:
        call(venue, "private/set_leverage", instrument_name=BTC, leverage=dice.randint(1, 50))
    else:
        venue.advance(venue.exchange.now / 1000)


@pytest.mark.parametrize("seed", range(3))
def test_an_exchange_that_dies_at_any_moment_comes_back_as_it_was_told(tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    wall_s = 0.0
    for _ in range(4):
        with living(tmp_path) as venue:
            for _ in range(dice.randint(1, 40)):
                wall_s += dice.random() / 20
                venue.advance(wall_s)
                with suppress(RpcError):
                    act(venue, dice)
            call(venue, "private/set_leverage", instrument_name=BTC, leverage=7)
            venue.exchange.check_identity(MAIN_ACCOUNT)
        assert whole(resumed(tmp_path)) == whole(venue.exchange)


def test_the_ledger_tells_every_order_state_and_fill_once(tmp_path: Path) -> None:
    dice = random.Random(9)
    wall_s = 0.0
    for _ in range(5):
        with living(tmp_path) as venue:
            for _ in range(30):
                wall_s += 0.02
                venue.advance(wall_s)
                with suppress(RpcError):
                    act(venue, dice)
    rows = [json.loads(line) for line in (tmp_path / "ledger.jsonl").read_text().splitlines()]
    # An account and its own isolated slot may trade with each other: one trade id, two orders.
    fills = [(row["trade"]["trade_id"], row["trade"]["order_id"]) for row in rows if "trade" in row]
    known = {
        (trade.trade_id, trade.order_id)
        for historical in (False, True)
        for trade in venue.exchange.trades(MAIN_ACCOUNT, include_isolated=True, historical=historical)
    }
    assert len(fills) > 10
    assert len(fills) == len(set(fills))
    assert set(fills) >= known


def test_a_ledger_that_lost_its_tail_is_completed_and_never_doubled(tmp_path: Path) -> None:
    with living(tmp_path) as venue:
        venue.advance(0.0)
        venue.advance(0.1)
        for _ in range(3):
            call(venue, "private/buy", instrument_name=BTC, amount=Decimal("0.01"), type="market")
    ledger = tmp_path / "ledger.jsonl"
    whole = ledger.read_bytes()
    ledger.write_bytes(whole[: len(whole) // 2])
    resumed(tmp_path)
    assert ledger.read_bytes() == whole
    resumed(tmp_path)
    assert ledger.read_bytes() == whole


def test_what_was_committed_is_synced_once_even_when_a_checkpoint_replaces_its_log_meanwhile(tmp_path: Path) -> None:
    with living(tmp_path) as venue:
        assert venue.record.unsynced() == []
        call(venue, "private/buy", instrument_name=BTC, amount=Decimal("0.01"), type="market")
        files = venue.record.unsynced()
        (log,) = tmp_path.glob("log-*.jsonl")
        assert {os.fstat(file).st_ino for file in files} == {
            path.stat().st_ino for path in (log, tmp_path / "ledger.jsonl")
        }
        venue.checkpoint()
        sync_files(files)
        assert venue.record.unsynced() == []
        for file in files:
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(file)


def test_nothing_that_only_the_market_did_is_written_before_somebody_is_told(tmp_path: Path) -> None:
    with living(tmp_path) as venue:
        call(venue, "private/cancel_all")
        (log,) = tmp_path.glob("log-*.jsonl")
        before = log.stat().st_size
        for step in range(5):
            venue.advance(step / 10)
        assert log.stat().st_size == before
        call(venue, "private/cancel_all")
        assert log.stat().st_size > before


def test_moved_prices_and_armed_accounts_outlive_the_process(tmp_path: Path) -> None:
    with living(tmp_path) as venue:
        venue.advance(0.0)
        venue.advance(0.01)
        venue.set_price(BTC, Decimal(50_000))
        venue.gateway.arm_account(MAIN_ACCOUNT, True)
    with living(tmp_path) as again:
        assert again.gateway.armed_accounts == {MAIN_ACCOUNT}
        again.advance(0.0)
        again.advance(0.01)
        assert abs(again.exchange.ticker(BTC).mark_price - 50_000) < 500


def test_market_time_goes_on_when_the_wall_clock_is_set_back(tmp_path: Path) -> None:
    with living(tmp_path) as venue:
        for wall_s in (1000.0, 1000.01, 400.0, 400.01):
            before = venue.exchange.now
            venue.advance(wall_s)
            assert venue.exchange.now >= before
        assert venue.exchange.now > before


def test_a_reset_begins_a_new_ledger(tmp_path: Path) -> None:
    with living(tmp_path) as venue:
        venue.advance(0.0)
        venue.advance(0.1)
        call(venue, "private/buy", instrument_name=BTC, amount=Decimal("0.01"), type="market")
        venue.reset(1.0)
        assert (tmp_path / "ledger.jsonl").read_bytes() == b""
        assert call(venue, "private/get_positions") == []


def test_a_directory_has_one_holder_and_forgetting_needs_it_free(tmp_path: Path) -> None:
    held = Directory(tmp_path)
    with pytest.raises(HeldByAnother, match="pid"):
        Directory(tmp_path)
    with pytest.raises(HeldByAnother):
        forget(tmp_path)
    held.release()
    (tmp_path / "checkpoint.json").write_text("rubbish")
    forget(tmp_path)
    record = Record(tmp_path)
    assert record.resume() is None
