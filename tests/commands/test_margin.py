"""`perpctl margin` on the running paper exchange: windows, positions, what if, and input that cannot be meant."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest

from perpctl.clock import SystemClock
from perpctl.model.venue import calendars
from tests import trading
from tests.conftest import Cli, us_alone
from tests.trading import masked

Golden = Callable[[str, str], None]


def near(one: D, other: D | int) -> bool:
    """Account and positions are two reads, and the market goes on between them."""
    return abs(one - other) <= abs(one) / 500


async def _hold(*orders: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        for asked in orders:
            await trading.place(desk, **asked)


@pytest.fixture
def clock() -> SystemClock:
    """The machine's: on one that only tests move, a client never waits, and asks for more than a venue allows."""
    return SystemClock()


@pytest.fixture
def held(paper: dict[str, Any]) -> None:
    """A long in BTC and a short in ETH."""
    asyncio.run(_hold({"size": "0.25"}, {"size": "1", "side": "SELL", "product_id": trading.ETH}))


@pytest.fixture
def heavy(paper: dict[str, Any]) -> None:
    """Long enough that liquidation is in reach: some 25 times equity."""
    asyncio.run(_hold(*[{"size": "3"}] * 6))


def test_nothing_held_is_within_every_limit(paper: dict[str, Any], cli: Cli) -> None:
    ran = cli("margin")
    assert ran.code == 0, ran.err
    assert "no open position" in ran.out
    assert "WITHIN THE LIMIT: 0.0 % of equity used, 25 % allowed" in ran.out


def test_it_shows_windows_and_positions(held: None, cli: Cli, golden: Golden) -> None:
    ran = cli("margin")
    assert ran.code == 0, ran.err
    golden("margin.txt", masked(ran.out))


def test_json_holds_the_same(held: None, cli: Cli, golden: Golden) -> None:
    told = cli("margin", "-o", "json").json
    assert near(D(told["windows"][0]["initial_margin"]), sum(D(one["initial_margin"]) for one in told["positions"]))
    golden("margin.json", masked(json.dumps(told, indent=1)) + "\n")


def test_what_if_shows_before_and_after(held: None, cli: Cli, golden: Golden) -> None:
    ran = cli("margin", "what-if", "--move", "-10%", "--at", "16:00ET")
    assert ran.code == 0, ran.err
    golden("margin-what-if.txt", masked(ran.out))


def test_what_if_is_what_the_positions_would_make(held: None, cli: Cli) -> None:
    told = cli("margin", "what-if", "--move", "-10%", "-o", "json").json
    gains = [D(one["size"]) * D(one["mark_price"]) / -10 for one in told["positions"]]
    assert [D(one["gain"]) for one in told["positions"]] == gains
    assert D(told["after"]["equity"]) == D(told["before"]["equity"]) + sum(gains)
    assert near(D(told["after"]["initial_margin"]), D(told["before"]["initial_margin"]) * 9 / 10)
    assert told["after"]["estimate"] is True


def test_only_the_symbol_named_moves(held: None, cli: Cli) -> None:
    told = cli("margin", "what-if", "--move=+5%", "--symbol", "ETH-PERP", "-o", "json").json
    moved = {one["symbol"]: D(one["gain"]) for one in told["positions"]}
    assert moved["BTC-PERP"] == 0
    assert moved["ETH-PERP"] < 0


def test_the_venue_agrees_once_the_price_has_moved(paper: dict[str, Any], held: None, cli: Cli) -> None:
    def of(told: Any) -> dict[str, D]:
        return {name: D(told[name]) for name in ("equity", "initial_margin", "maintenance_margin")}

    foretold = cli("margin", "what-if", "--move", "-10%", "--symbol", "BTC-PERP", "-o", "json").json
    mark = next(D(one["mark_price"]) for one in foretold["positions"] if one["symbol"] == "BTC-PERP")
    trading.control(
        paper, "/price", {"instrument_name": trading.BTC, "price": str((mark * D("0.9")).quantize(D("0.1")))}
    )
    after = of(cli("margin", "-o", "json").json["windows"][0])
    assert after["equity"] < of(foretold["before"])["equity"] - 2000  # a quarter bitcoin, ten percent
    for name, told in of(foretold["after"]).items():
        assert abs(after[name] - told) < told / 200, name  # the market went on for a moment


def test_a_heavy_position_is_over_the_limit_and_near_its_end(heavy: None, cli: Cli) -> None:
    ran = cli("margin", "-o", "json")
    assert ran.code == 1
    told = ran.json
    window, one = told["windows"][0], told["positions"][0]
    assert told["verdict"]["words"].startswith("OVER THE LIMIT")
    needed = D(told["verdict"]["cash_needed"])
    used = D(window["initial_margin"]) / (D(window["equity"]) + needed)
    assert abs(used - D("0.25")) < D("0.0001")
    assert (one["liquidation_estimate"], D(one["distance_pct"]) < 10) == (True, True)
    assert -10 < D(window["all_prices_to_liquidation_pct"]) < 0
    assert abs(D(window["all_prices_to_liquidation_pct"]) + D(one["distance_pct"])) < D("0.5")
    assert "positions reduce BTC-PERP" in cli("margin").out


def test_a_move_past_the_end_is_liquidated(heavy: None, cli: Cli) -> None:
    ran = cli("margin", "what-if", "--move", "-30%")
    assert ran.code == 1
    assert "LIQUIDATED: equity is below the maintenance margin" in ran.out
    assert "more to stop liquidation" in ran.out


def test_the_end_told_is_the_end_worked_out(heavy: None, cli: Cli) -> None:
    by = D(cli("margin", "-o", "json").json["windows"][0]["all_prices_to_liquidation_pct"])
    assert cli("margin", "what-if", f"--move={by * D('1.05'):.4f}%").code == 1
    assert "LIQUIDATED" in cli("margin", "what-if", f"--move={by * D('1.05'):.4f}%").out
    assert "LIQUIDATED" not in cli("margin", "what-if", f"--move={by * D('0.95'):.4f}%").out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--move", "-10"], "no percentage"),
        (["--move", "ten%"], "no percentage"),
        (["--move", "NaN%"], "no percentage"),
        (["--move", "-100%"], "no move of a price"),
        (["--move", "-250%"], "no move of a price"),
        (["--move", "%"], "no percentage"),
        (["--move", "-10%", "--at", "16:00"], "does not say by which clock"),
        (["--move", "-10%", "--at", "later"], "is no time"),
        (["--move", "-10%", "--at", "16:00XY"], "no clock that is known here"),
        (["--move", "-10%", "--at", "2020-01-01T00:00UTC"], "past by the venue's clock"),
        (["--move", "-10%", "--symbol", "BTC-PREP"], "did you mean BTC-PERP"),
        (["--at", "16:00ET"], "Missing option '--move'"),
    ],
    ids=" ".join,
)
def test_a_move_or_time_that_cannot_be_meant_is_refused_in_words(
    paper: dict[str, Any], cli: Cli, words: list[str], told: str
) -> None:
    ran = cli("margin", "what-if", *words)
    assert ran.code == 2, ran.err
    assert told in ran.err
    assert "Next:  " in ran.err
    assert ran.out == ""


@pytest.mark.parametrize("words", [["margin"], ["margin", "what-if", "--move", "-10%"]])
def test_a_venue_that_is_down_is_exit_3(paper: dict[str, Any], cli: Cli, words: list[str]) -> None:
    assert cli("paper", "fault", "outage", "--yes").code == 0
    ran = cli(*words, "-o", "json")
    assert (ran.code, ran.json["error"]["code"]) == (3, 3)


@pytest.fixture
def contracts(paper: dict[str, Any]) -> None:
    """Ten contracts, a tenth of a bitcoin."""
    asyncio.run(_hold({"size": "0.1", "product_id": trading.PRODUCTS["us"]}))


@us_alone
def test_both_margin_windows_are_shown_and_the_dearest_is_judged(
    paper: dict[str, Any], contracts: None, cli: Cli
) -> None:
    told = cli("margin", "-o", "json").json
    windows = {one["window"]: one for one in told["windows"]}
    assert windows.keys() == {"intraday", "overnight"}
    assert [one["in_force"] for one in told["windows"]] == [True, False]
    assert D(windows["overnight"]["initial_margin"]) > 2 * D(windows["intraday"]["initial_margin"])
    assert told["dearest_window"] == "overnight"
    assert all(one["begins_at"] is not None for one in told["windows"])
    text = cli("margin").out
    assert "New York" in text
    assert "(overnight)" in text.splitlines()[-1]


def next_day(wanted: Callable[[date], bool]) -> date:
    """The next day of that kind, at least tomorrow."""
    days = (datetime.now(UTC).date() + timedelta(days=n) for n in range(1, 15))
    return next(day for day in days if wanted(day))


@us_alone
@pytest.mark.parametrize(
    ("hour", "weekend", "window"), [(10, False, "intraday"), (16, False, "overnight"), (10, True, "overnight")]
)
def test_what_if_counts_in_the_window_of_that_time(
    paper: dict[str, Any], contracts: None, cli: Cli, hour: int, weekend: bool, window: str
) -> None:
    if datetime.now(UTC).date() + timedelta(days=14) > calendars.US.holidays_until:
        pytest.skip("the holidays of that year are not known: every day counts as one")
    day = next_day(lambda one: (one.weekday() > 4) is weekend and not calendars.US.is_holiday(one))
    at = f"{day}T{hour}:00ET"
    told = cli("margin", "what-if", "--move", "-10%", "--at", at, "-o", "json").json
    ran = cli("margin", "-o", "json")
    assert ran.code == 0, ran.err
    windows = {one["window"]: one for one in ran.json["windows"]}
    assert told["window"] == window
    assert near(D(told["before"]["initial_margin"]), D(windows[window]["initial_margin"]))
    assert near(D(told["after"]["initial_margin"]), D(told["before"]["initial_margin"]) * 9 / 10)
