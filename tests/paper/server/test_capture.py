"""A served capture: at market speed, faster, and as fast as it goes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.paper.feed.messages import AT_MS, BOOK_OF, BTC, an_hour, written
from tests.paper.server.exchange import refused, running

FEW = an_hour(60_000)  # a message or two each minute


def ended(exchange: Any) -> dict[str, Any]:
    """The exchange's status when its feed has come to an end."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status: dict[str, Any] = exchange.control("status", "GET")
        if status["feed_ended"]:
            return status
        time.sleep(0.05)
    raise AssertionError("the feed did not end")


def test_at_market_speed_the_captured_book_is_served_and_time_stands_with_it(tmp_path: Path) -> None:
    capture = written(tmp_path, *BOOK_OF)
    with running(tmp_path / "venue", "--feed", f"replay:{capture}") as exchange:
        book = exchange.rpc("public/get_order_book", instrument_name=BTC, depth=5)
        assert book["bids"] == [[84000, 2], [83990, 3]]
        assert exchange.rpc("public/get_time") - AT_MS < 60_000


@pytest.mark.parametrize("speed", ["20000", "max"])
def test_a_capture_comes_out_the_same_at_every_speed(tmp_path: Path, speed: str) -> None:
    capture = written(tmp_path, *FEW)
    seen = []
    for run in ("one", "two"):
        with running(tmp_path / run, "--feed", f"replay:{capture}", "--speed", speed) as exchange:
            ended(exchange)
            trades = exchange.rpc("public/get_last_trades_by_instrument", instrument_name=BTC, count=1000)
            book = exchange.rpc("public/get_order_book", instrument_name=BTC, depth=100)
            seen.append((trades["trades"], book["bids"], book["asks"], book["mark_price"]))
    assert seen[0] == seen[1]
    assert [row["price"] for row in seen[0][0]][::-1] == [
        row["params"]["data"][0]["price"] for row in FEW if row["params"]["channel"].startswith("trades")
    ]


def test_at_full_speed_two_runs_leave_the_same_bytes(tmp_path: Path) -> None:
    capture = written(tmp_path, *FEW)
    kept = []
    for run in ("one", "two"):
        with running(tmp_path / run, "--feed", f"replay:{capture}", "--speed", "max") as exchange:
            ended(exchange)
            assert exchange.stop() == 0
        _, _, body = (tmp_path / run / "checkpoint.json").read_bytes().partition(b"\n")
        kept.append(json.loads(body)["exchange"])
    assert json.dumps(kept[0]) == json.dumps(kept[1])


def test_a_broken_capture_is_exit_2_with_its_line(tmp_path: Path) -> None:
    far = next(row for row in FEW[20:] if row["params"]["channel"].startswith("book"))
    for spoilt, end, line in ((FEW[:40], "", 40), ([*FEW[:12], "{oops"], "\n", 13), ([*FEW[:9], far], "\n", 10)):
        capture = written(tmp_path, *spoilt, end=end)
        code, told = refused(tmp_path / "venue", "--feed", f"replay:{capture}")
        assert (code, f"line {line} " in told, "nothing was replayed" in told) == (2, True, True), told
