"""The risk day's money: a position that nothing values makes equity unknown, never a loss or a peak."""

from __future__ import annotations

from decimal import Decimal

from perpctl.engine.state.day import RiskDay
from perpctl.model.position import Account

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
    day = RiskDay()
    day.read(account("100000"), Decimal("5000"), 1.0)
    assert day.equity(Decimal("4900")) == Decimal("99900")
    assert day.pnl_pct(Decimal("4900"), MARKET_MS) == Decimal("-0.1")


def test_a_read_while_nothing_values_the_position_makes_no_loss_when_a_price_comes_back() -> None:
    day = RiskDay()
    day.read(account("100000"), None, 1.0)
    for worth in (Decimal("5980"), Decimal("-5980"), None):
        assert day.equity(worth) is None
        assert day.pnl_pct(worth, MARKET_MS) is None
        assert day.drawdown_pct(worth) is None


def test_losing_the_price_makes_the_figures_unknown_and_the_next_read_brings_them_back() -> None:
    day = RiskDay()
    day.read(account("100000"), Decimal("5980"), 1.0)
    assert day.pnl_pct(None, MARKET_MS) is None
    day.read(account("100010"), Decimal("5990"), 2.0)
    assert day.pnl_pct(Decimal("5990"), MARKET_MS) == Decimal("0.01")
    assert day.drawdown_pct(Decimal("5990")) == 0
