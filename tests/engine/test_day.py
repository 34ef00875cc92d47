"""The risk day's money: a position that nothing values makes equity unknown, never a loss or a peak."""

from __future__ import annotations

from decimal import Decimal

from perpctl.engine.state.day import OVERLAP_MS, RiskDay
from perpctl.model.day import DAY_MS, Moves, Transfer
from perpctl.model.position import Account
from perpctl.model.venue.calendars import GLOBAL

MARKET_MS = 1_795_000_000_000


def account(equity: str) -> Account:
    money = Decimal(equity)
    return Account(
        account_id="1",
        username="paper",
        currency="USDC",
        balance=money,
        equity=money,
        available=money,
        initial_margin=Decimal(0),
        maintenance_margin=Decimal(0),
        session_realized=None,
        session_unrealized=None,
        margin_model=None,
        slots_in_use=0,
        engine_rate=5,
        engine_burst=20,
        at_ms=MARKET_MS,
        seen=0.0,
    )


def test_equity_moves_with_the_worth_of_what_is_held() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("100000"), Decimal("5000"), 1.0)
    assert day.equity(Decimal("4900")) == Decimal("99900")
    assert day.pnl_pct(Decimal("4900"), MARKET_MS) == Decimal("-0.1")


def test_a_read_while_nothing_values_the_position_makes_no_loss_when_a_price_comes_back() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("100000"), None, 1.0)
    for worth in (Decimal("5980"), Decimal("-5980"), None):
        assert day.equity(worth) is None
        assert day.pnl_pct(worth, MARKET_MS) is None
        assert day.drawdown_pct(worth) is None


def test_losing_the_price_makes_the_figures_unknown_and_the_next_read_brings_them_back() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("100000"), Decimal("5980"), 1.0)
    assert day.pnl_pct(None, MARKET_MS) is None
    day.read(account("100010"), Decimal("5990"), 2.0)
    assert day.pnl_pct(Decimal("5990"), MARKET_MS) == Decimal("0.01")
    assert day.drawdown_pct(Decimal("5990")) == 0


def moved(amount: str, row_id: str = "7", at_ms: int = MARKET_MS) -> Moves:
    return Moves((Transfer(row_id, Decimal(amount), "USDC", at_ms),), MARKET_MS)


SEEN = Moves(until_ms=MARKET_MS)
UNREAD = Moves(unread="the ledger did not answer")


def test_a_withdrawal_of_a_tenth_is_no_loss_and_no_drawdown_however_often_it_is_read() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("100000"), Decimal(0), 1.0, SEEN)
    for at in (2.0, 3.0):
        day.read(account("90000"), Decimal(0), at, moved("-10000"))
        assert day.pnl_pct(Decimal(0), MARKET_MS) == 0
        assert day.drawdown_pct(Decimal(0)) == 0
        assert len(day.came) == (1 if at == 2.0 else 0)


def test_a_deposit_hides_neither_a_loss_nor_a_drawdown() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("100000"), Decimal(0), 1.0, SEEN)
    day.read(account("107000"), Decimal(0), 2.0, moved("10000"))
    assert day.pnl_pct(Decimal(0), MARKET_MS) == -3
    assert day.drawdown_pct(Decimal(0)) == Decimal(3000) / Decimal(110000) * 100


def test_what_the_first_read_finds_is_in_its_equity_already() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("100000"), Decimal(0), 1.0, moved("-10000"))
    assert (day.pnl_pct(Decimal(0), MARKET_MS), day.drawdown_pct(Decimal(0)), day.came) == (0, 0, ())


def test_after_a_restart_what_moved_since_the_baseline_counts_and_what_moved_before_it_does_not() -> None:
    start, yesterday = GLOBAL.day_start_ms(MARKET_MS), GLOBAL.day_start_ms(MARKET_MS) - DAY_MS
    day = RiskDay(GLOBAL)
    day.remember({yesterday: (Decimal(80000), yesterday + 5), start: (Decimal(100000), start + 60_000)}, MARKET_MS)
    assert day.looks_since_ms(MARKET_MS) == yesterday + 5 - OVERLAP_MS
    rows = (
        Transfer("1", Decimal(20000), "USDC", start + 59_000),  # between the two baselines
        Transfer("2", Decimal(-40000), "USDC", start + 3_600_000),
    )
    day.read(account("59000"), Decimal(0), 1.0, Moves(rows, MARKET_MS))
    assert day.pnl_pct(Decimal(0), MARKET_MS) == -1
    assert day.drawdown_pct(Decimal(0)) == Decimal(1000) / Decimal(60000) * 100
    assert day.came == ()  # an earlier run put them on the record


def test_a_deposit_that_could_not_be_read_is_no_peak_once_it_can() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("100000"), Decimal(0), 1.0, SEEN)
    day.read(account("150000"), Decimal(0), 2.0, UNREAD)
    assert day.unread == "the ledger did not answer"
    day.read(account("150000"), Decimal(0), 3.0, moved("50000"))
    assert (day.pnl_pct(Decimal(0), MARKET_MS), day.drawdown_pct(Decimal(0)), day.unread) == (0, 0, None)


def test_a_baseline_taken_while_nothing_could_be_read_has_in_it_what_had_moved_by_then() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("90000"), Decimal(0), 1.0, UNREAD)
    rows = (
        Transfer("1", Decimal(-10000), "USDC", MARKET_MS - 1000),
        Transfer("2", Decimal(5000), "USDC", MARKET_MS + 1000),
    )
    day.read(account("95000"), Decimal(0), 2.0, Moves(rows, MARKET_MS + 2000))
    assert (day.pnl_pct(Decimal(0), MARKET_MS), day.drawdown_pct(Decimal(0))) == (0, 0)


def test_where_no_ledger_is_kept_the_peak_is_watched_all_the_same() -> None:
    day = RiskDay(GLOBAL)
    never = Moves(unread="no list of transfers", never=True)
    for at, equity in enumerate(("100000", "110000", "99000")):
        day.read(account(equity), Decimal(0), at, never)
    assert day.drawdown_pct(Decimal(0)) == 10


def test_rows_are_remembered_only_as_long_as_a_look_can_meet_them_again() -> None:
    day = RiskDay(GLOBAL)
    day.read(account("100000"), Decimal(0), 1.0, SEEN)
    for minute in range(60):
        at_ms = MARKET_MS + minute * 60_000
        row = Transfer(str(minute), Decimal(1), "USDC", at_ms)
        day.read(account("100000"), Decimal(0), 2.0, Moves((row,), at_ms))
    assert day.looks_since_ms(0) == at_ms - OVERLAP_MS
    assert len(day._counted) == 6
    old = Moves((Transfer("3", Decimal(1), "USDC", MARKET_MS + 180_000),), at_ms)  # the venue tells more than asked
    before = day.pnl(Decimal(0), MARKET_MS)
    day.read(account("100000"), Decimal(0), 3.0, old)
    assert day.pnl(Decimal(0), MARKET_MS) == before
