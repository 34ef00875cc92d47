"""What the bot does when a line is crossed: once, as gravely as it is, and nothing ends by itself that must not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

import pytest

from perpctl.engine import events as e
from perpctl.exchange import port
from perpctl.model.day import NOTHING_MOVED, Moves, Transfer
from perpctl.model.mode import Mode
from perpctl.model.order import OrderRequest, OrderType, Side
from tests.conftest import both_venues
from tests.engine.bench import MINE, Bench, of, only
from tests.risk.world import NOW

pytestmark = both_venues

PAST_KILL, PAST_REDUCE, PAST_WARN = "96900", "97900", "98900"  # of a baseline of 100,000, conservative: -3, -2, -1 %


def levels(effects: Sequence[e.Effect]) -> list[int]:
    return [alert.level for alert in of(effects, e.Alert)]


def modes(effects: Sequence[e.Effect]) -> list[tuple[Mode, bool]]:
    return [(mode.mode, mode.risk) for mode in of(effects, e.EnterMode)]


def lose(
    bench: Bench, equity: str, seconds: int = 0, index: str | None = "84100", moves: Moves = NOTHING_MOVED
) -> list[e.Effect]:
    """The account reads so much, and the market goes on for so long, a look a second; index None: not told."""
    bench.quote(index=None if index is None else D(index))
    effects = bench.tell(e.AccountRead(replace(bench.world.account, equity=D(equity)), moves))
    for _ in range(seconds):
        bench.now += 1
        bench.at_ms += 900
        bench.quote(index=None if index is None else D(index))
        effects += bench.later(0)
    return effects


@pytest.fixture
def held(bench: Bench) -> Bench:
    """A bench that holds something, so that prices can disagree about it."""
    bench.accept(bench.hold("0.1").request)
    return bench


@pytest.mark.parametrize(
    ("equity", "levels_", "modes_"),
    [
        ("99100", [], []),
        (PAST_WARN, [2], []),
        (PAST_REDUCE, [3], [(Mode.REDUCE_ONLY, True)]),
        (PAST_KILL, [3, 4], [(Mode.REDUCE_ONLY, True)]),
    ],
)
def test_the_lines_of_the_days_loss(
    bench: Bench, equity: str, levels_: list[int], modes_: list[tuple[Mode, bool]]
) -> None:
    effects = lose(bench, equity)
    assert levels(effects) == levels_
    assert modes(effects) == modes_
    assert not of(effects, e.StartKill)


def test_past_the_kill_line_a_profile_that_says_nothing_is_paged_and_not_killed(held: Bench) -> None:
    effects = lose(held, PAST_KILL, seconds=10)
    assert not of(effects, e.StartKill)
    assert modes(effects) == [(Mode.REDUCE_ONLY, True)]
    assert [alert.text for alert in of(effects, e.Alert) if alert.level == 4][-1].endswith(
        "does not allow it unattended"
    )


def kills(bench: Bench, seconds: int, index: str | None = "84100") -> int:
    return len(of(lose(bench, PAST_KILL, seconds, index), e.StartKill))


@pytest.fixture
def killer(venue: str) -> Bench:
    """As `held`, where the profile allows the kill unattended."""
    bench = Bench(venue, unattended_kill=True)
    bench.accept(bench.hold("0.1").request)
    return bench


def test_where_it_is_allowed_the_kill_starts_once_after_five_seconds_of_agreeing_prices(killer: Bench) -> None:
    assert kills(killer, 4) == 0
    assert kills(killer, 10) == 1
    assert kills(killer, 10) == 0


@pytest.mark.parametrize("index", ["83600", "84600", None])
def test_with_mark_and_index_apart_or_unknown_nothing_is_killed_but_somebody_is_called(
    killer: Bench, index: str | None
) -> None:
    effects = lose(killer, PAST_KILL, 30, index)
    assert not of(effects, e.StartKill)
    assert 4 in levels(effects)
    assert (Mode.REDUCE_ONLY, True) in modes(effects)


UNREAD = Moves(unread="the ledger did not answer")


def test_while_transfers_cannot_be_read_the_lines_that_take_risk_away_act_and_the_kill_does_not(killer: Bench) -> None:
    effects = lose(killer, PAST_KILL, 30, moves=UNREAD)
    assert not of(effects, e.StartKill)
    assert modes(effects) == [(Mode.REDUCE_ONLY, True)]
    texts = {alert.level: alert.text for alert in of(effects, e.Alert)}
    assert "may be a withdrawal, no unattended kill: the ledger did not answer" in texts[4]
    assert "deposits and withdrawals count as profit and loss" in texts[2]


@pytest.mark.parametrize(("amounts", "killed"), [([], 1), ([-3100], 0)])
def test_once_they_are_read_again_a_loss_kills_after_another_five_seconds_and_a_withdrawal_does_not(
    killer: Bench, amounts: list[int], killed: int
) -> None:
    found = tuple(Transfer("9", D(amount), killer.world.account.currency, NOW) for amount in amounts)
    lose(killer, PAST_KILL, 30, moves=UNREAD)
    assert not of(lose(killer, PAST_KILL, 4, moves=Moves(found, killer.at_ms)), e.StartKill)
    assert kills(killer, 4) == killed


def test_what_came_or_went_is_on_the_record_once_and_crosses_no_line(killer: Bench) -> None:
    lose(killer, "100000", moves=Moves(until_ms=NOW))
    currency = killer.world.account.currency
    row = Transfer("9", D(-50000), currency, killer.at_ms)
    effects = lose(killer, "50000", 30, moves=Moves((row,), killer.at_ms))
    effects += lose(killer, "50000", 30, moves=Moves((row,), killer.at_ms))
    assert [(alert.level, alert.text) for alert in of(effects, e.Alert)] == [
        (1, f"50000 {currency} left (ledger row 9): neither profit nor loss of the day")
    ]
    assert not of(effects, e.EnterMode)


def test_a_market_that_stands_still_kills_nothing(killer: Bench) -> None:
    """Five seconds of ours are none of the market's: the same old prices are looked at again and again."""
    effects = lose(killer, PAST_KILL)
    for _ in range(40):
        effects += killer.later(0.25)
    assert not of(effects, e.StartKill)


def test_a_drawdown_halts_until_a_human_goes_on(bench: Bench) -> None:
    effects = lose(bench, "94000")
    assert (Mode.HALTED, True) in modes(effects)
    assert 4 in levels(effects)


def slow(bench: Bench, ms: int | None = None, success: str | None = None) -> list[e.Effect]:
    bench.tell(port.Beat(bench.now))
    return bench.tell(e.Ticked(None if success is None else D(success), ms))


@pytest.mark.parametrize(
    ("ms", "success", "levels_", "modes_"),
    [
        (500, "95", [], []),
        (501, None, [2], []),
        (1000, None, [2], []),
        (1001, None, [2, 3], [(Mode.REDUCE_ONLY, False)]),
        (None, "94.9", [2], []),
        (None, "90", [2], []),
        (None, "89.9", [2, 3], [(Mode.REDUCE_ONLY, False)]),
        (None, None, [], []),
    ],
)
def test_slow_or_refused_orders(
    bench: Bench, ms: int | None, success: str | None, levels_: list[int], modes_: list[tuple[Mode, bool]]
) -> None:
    effects = slow(bench, ms, success)
    assert (levels(effects), modes(effects)) == (levels_, modes_)


def test_what_is_operational_is_over_when_its_cause_is_and_only_when_nothing_else_holds(bench: Bench) -> None:
    slow(bench, 2000, "50")
    bench.tell(e.ModeChanged(Mode.REDUCE_ONLY, "gate"))
    assert not of(slow(bench, 100, "50"), e.LeaveMode)
    assert only(slow(bench, 100, "99"), e.LeaveMode)


def test_a_loss_takes_over_a_mode_that_was_only_operational(bench: Bench) -> None:
    slow(bench, 2000)
    bench.tell(e.ModeChanged(Mode.REDUCE_ONLY, "gate: slow"))
    assert modes(lose(bench, PAST_REDUCE)) == [(Mode.REDUCE_ONLY, True)]
    assert not of(slow(bench, 100), e.LeaveMode)


def trade(bench: Bench, side: Side, price: str = "84100") -> list[e.Effect]:
    """One more order of ours executes on this side."""
    bench.at_ms += 20_000
    request = OrderRequest(f"{MINE}{bench.at_ms}", bench.world.btc, side, D("0.01"), OrderType.LIMIT, D(price))
    return bench.tell(bench.fill(request, price=price))


def test_ten_executions_on_one_side_halt_at_the_tenth_until_a_human_goes_on(bench: Bench) -> None:
    for _ in range(9):
        assert not of(trade(bench, Side.BUY), e.EnterMode)
    assert modes(trade(bench, Side.BUY)) == [(Mode.HALTED, True)]
    bench.tell(e.ModeChanged(Mode.HALTED, "gate"))
    bench.tell(e.ModeChanged(Mode.NORMAL, "resumed"))
    assert not of(trade(bench, Side.BUY), e.EnterMode)  # else nobody could ever go on


def test_many_fills_of_one_order_are_one_execution(bench: Bench) -> None:
    request = OrderRequest(f"{MINE}one", bench.world.btc, Side.BUY, D("0.2"), OrderType.LIMIT, D("84100"))
    for _ in range(20):
        assert not of(bench.tell(bench.fill(request, "0.01")), e.EnterMode)


def test_four_losing_round_trips_in_an_hour_halt_at_the_fourth(bench: Bench) -> None:
    for trip in range(4):
        assert not of(trade(bench, Side.BUY, "84100"), e.EnterMode)
        effects = trade(bench, Side.SELL, "84000")
        assert modes(effects) == ([(Mode.HALTED, True)] if trip == 3 else [])
