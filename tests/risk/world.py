"""A healthy world for the gate, in which a small bid passes; tests spoil one thing at a time."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

from msgspec import structs

from perpctl.model.exposure import Holding
from perpctl.model.instrument import BookState, Instrument, Quote
from perpctl.model.mode import Mode
from perpctl.model.order import Order, OrderRequest, OrderStatus, OrderType, Purpose, Side
from perpctl.model.position import Account
from perpctl.risk.activity import Recent
from perpctl.risk.limits import RiskLevel, level_limits
from perpctl.risk.view import GateInput

BTC = "BTC_USDC-PERPETUAL"
ETH = "ETH_USDC-PERPETUAL"
NOW = 1_795_000_000_000
LIMITS = level_limits(RiskLevel.CONSERVATIVE)

INSTRUMENT = Instrument(
    product_id=BTC,
    symbol="BTC-PERP",
    base="BTC",
    currency="USDC",
    tick=D("0.1"),
    size_step=D("0.0001"),
    min_size=D("0.0001"),
    maker_fee=D("0.00015"),
    taker_fee=D("0.00035"),
    max_leverage=D(50),
    state=BookState.OPEN,
    price_decimals=1,
    size_decimals=4,
)

QUOTE = Quote(
    product_id=BTC,
    bid=D("84099.9"),
    bid_size=D(1),
    ask=D("84100.1"),
    ask_size=D(1),
    mark=D("84100"),
    index=D("84090"),
    last=D("84100"),
    band_low=D("82838.5"),
    band_high=D("85361.5"),
    funding_8h=D("0.00001"),
    current_funding=D("0.00001"),
    open_interest=D(502),
    state=BookState.OPEN,
    at_ms=NOW,
    seen=0.0,
)

ACCOUNT = Account(
    account_id="104821",
    username="paper-1",
    currency="USDC",
    balance=D(100_000),
    equity=D(100_000),
    available=D(99_000),
    initial_margin=D(0),
    maintenance_margin=D(0),
    session_realized=None,
    session_unrealized=None,
    margin_model="cross_sm",
    slots_in_use=0,
    engine_rate=5,
    engine_burst=20,
    at_ms=NOW,
    seen=0.0,
)


def holding(size: str = "0", product: str = BTC, **change: Any) -> Holding:
    price = {BTC: D(84100), ETH: D(2960)}[product]
    return structs.replace(Holding(product, product[:3], D(size), price, 500), **change)


def request(side: Side = Side.BUY, size: str = "0.01", price: str | None = "84090.0", **change: Any) -> OrderRequest:
    asked = OrderRequest("id-new", BTC, side, D(size), OrderType.LIMIT, None if price is None else D(price))
    return replace(asked, **change)


def close(size: str = "0.1", side: Side = Side.SELL, **change: Any) -> OrderRequest:
    """An exit of a long position."""
    return request(side, size, "84000.0", reduce_only=True, purpose=Purpose.CLOSE, **change)


def order(side: Side, size: str, price: str | None, **change: Any) -> Order:
    resting = Order(
        order_id="o-1",
        identity="id-1",
        product_id=BTC,
        side=side,
        type=OrderType.LIMIT,
        status=OrderStatus.OPEN,
        size=D(size),
        filled=D(0),
        price=None if price is None else D(price),
        average_price=None,
        reduce_only=False,
        post_only=False,
        trigger_price=None,
        trigger=None,
        created_ms=NOW - 10_000,
        updated_ms=NOW - 10_000,
    )
    return replace(resting, **change)


def world(**change: Any) -> GateInput:
    healthy = GateInput(
        now_ms=NOW,
        mode=Mode.NORMAL,
        latch=Mode.NORMAL,
        lease_left_ms=8_000,
        allowed=frozenset({BTC}),
        instrument=INSTRUMENT,
        spec_unchanged=True,
        quote=QUOTE,
        quote_age_ms=100,
        account=ACCOUNT,
        account_age_ms=1_000,
        holdings=(holding(),),
        working=(),
        unknown=(),
        recent=Recent(),
        entered=1,
        left=0,
        day_pnl_pct=D("0.1"),
        drawdown_pct=D(0),
        move_1m_pct=D("0.1"),
        venue_age_ms=0,
        dead_man=True,
    )
    return replace(healthy, **change)
