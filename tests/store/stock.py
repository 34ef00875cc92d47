"""What the tests of the store are made from: a writer, a clock, and orders and fills as the venue would tell them."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from perpctl.clock import ManualClock
from perpctl.model.books.funding import FundingPayment
from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
from perpctl.store.intents import Grounds, Maker
from perpctl.store.journal import Journal
from perpctl.store.records import Writer

START = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
MS = 1_795_424_400_000
BTC = "BTC_USDC-PERPETUAL"
WRITER = Writer(
    who="trend-2", process="run", host="bot-1", pid=7, version="0.1.0", env="paper", venue="global", profile="paper"
)
ALGORITHM = Maker(algorithm_id="trend", algorithm_version="1")
GROUNDS = Grounds(
    decision_maker=ALGORITHM,
    execution_maker=ALGORITHM,
    risk_day="2026-11-23",
    market_ms=MS,
    inputs={"mark": {"price": Decimal("84000.5"), "age_ms": 120, "source": "ticker"}},
    currency="USDC",
)
ALLOWED = {"verdict": "allowed", "first_refusal": None, "controls": []}


def opened(directory: Path, writer: Writer = WRITER) -> Journal:
    return Journal.open(directory / "journal.db", writer, ManualClock(START))


def request(identity: str, size: str = "0.01", side: Side = Side.BUY) -> OrderRequest:
    return OrderRequest(identity, BTC, side, Decimal(size), OrderType.LIMIT, Decimal("84000"))


def order(
    order_id: str,
    identity: str | None,
    status: OrderStatus = OrderStatus.OPEN,
    *,
    filled: str = "0",
    updated_ms: int = MS,
    size: str = "0.01",
) -> Order:
    return Order(
        order_id=order_id,
        identity=identity,
        product_id=BTC,
        side=Side.BUY,
        type=OrderType.LIMIT,
        status=status,
        size=Decimal(size),
        filled=Decimal(filled),
        price=Decimal("84000"),
        average_price=None,
        reduce_only=False,
        post_only=False,
        trigger_price=None,
        trigger=None,
        created_ms=MS,
        updated_ms=updated_ms,
    )


def fill(
    trade_id: str,
    order_id: str,
    identity: str | None = None,
    *,
    size: str = "0.01",
    side: Side = Side.BUY,
    price: str = "84000",
    at_ms: int = MS,
) -> Fill:
    return Fill(
        trade_id=trade_id,
        order_id=order_id,
        identity=identity,
        product_id=BTC,
        side=side,
        size=Decimal(size),
        price=Decimal(price),
        fee=Decimal("0.25"),
        fee_currency="USDC",
        liquidity="T",
        at_ms=at_ms,
    )


def payment(row_id: str, amount: str = "-0.42") -> FundingPayment:
    return FundingPayment(BTC, Decimal(amount), "USDC", MS, row_id, exact=True)
