"""This file sets a desk up as a kill finds it: three positions, entries, stops; all of it made up and fixed."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl.emergency.fence import Sighted
from perpctl.emergency.preview import Seen
from perpctl.emergency.target import Pin, Target, Timing
from perpctl.emergency.venue.rows import Owner, Ticker
from perpctl.model.flatten import Standing, sort_standing
from perpctl.model.order import Order, OrderStatus, OrderType, Side
from perpctl.model.position import Position

D = Decimal
BTC, ETH, SOL = "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL", "SOL_USDC-PERPETUAL"
AT = datetime(2026, 11, 25, 3, 12, 31, tzinfo=UTC)

OWNER = Owner("104821", "desk-a", D("98210.55"), D("2143.53"), D("1073.29"), D("98210.55"), {"USDC": D("97300.10")})

TARGET = Target(
    profile="desk-a",
    env="live",
    venue="global",
    directory=Path("/var/lib/trading/desk-a"),
    http="https://drb.coinbase.com/api/v2",
    endpoints_file=None,
    exchange_command=None,
    key_files=(Path("/etc/perpctl/desk-a.json"),),
    ca_file=None,
    pin=Pin("104821", "desk-a"),
    scope="account",
    currencies=("USDC",),
    symbols=("BTC-PERP",),
    latches=(Path("/nowhere/perpctl/desk-a/latch"),),
    bot_unit="trading-bot-perpetuals.service",
    settings_at_ms=1_795_500_000_000,
    timing=Timing(),
    scope_set=True,
)

WISHED = argparse.Namespace(scope=None, max_slippage=None, market=False, output="table")


def order(number: int, product: str, side: Side, size: str, kind: OrderType = OrderType.LIMIT, **more: Any) -> Order:
    resting = Order(
        order_id=f"USDC-{number}",
        identity=None,
        product_id=product,
        side=side,
        type=kind,
        status=OrderStatus.OPEN,
        size=D(size),
        filled=D(0),
        price=more.pop("price", None),
        average_price=None,
        reduce_only=more.pop("reduce_only", False),
        post_only=False,
        trigger_price=more.pop("trigger_price", None),
        trigger="mark_price" if kind is OrderType.STOP_MARKET else None,
        created_ms=1_795_570_000_000,
        updated_ms=1_795_570_000_000,
    )
    return replace(resting, **more)


def position(product: str, size: str, mark: str, slot: int | None = None) -> Position:
    return Position(
        product_id=product,
        slot=slot,
        size=D(size),
        entry_price=D(mark),
        mark=D(mark),
        index=D(mark),
        notional=abs(D(size)) * D(mark),
        unrealized=D(0),
        realized=D(0),
        funding=D(0),
        initial_margin=None,
        maintenance_margin=None,
        leverage=None,
        units_agree=True,
        at_ms=0,
        seen=0.0,
    )


POSITIONS = (
    position(BTC, "0.8500", "84100.5"),
    position(ETH, "-12.0000", "2961.45"),
    position(SOL, "150.00", "140.04", slot=3),
)

ORDERS = (
    order(11, BTC, Side.BUY, "0.0120", price=D("84071.9")),
    order(12, BTC, Side.SELL, "0.0120", price=D("84128.6")),
    order(13, ETH, Side.BUY, "4.0000", OrderType.STOP_MARKET, trigger_price=D("3010"), origin="web"),
    order(21, BTC, Side.SELL, "0.8500", OrderType.STOP_MARKET, trigger_price=D("81700"), reduce_only=True),
    order(22, ETH, Side.BUY, "12.0000", OrderType.STOP_MARKET, trigger_price=D("3050"), reduce_only=True),
)


def standing() -> Standing:
    return sort_standing(ORDERS, POSITIONS)


def ticker(product: str, bid: str, ask: str, mark: str) -> Ticker:
    band = D(mark) * D("0.015")
    return Ticker(product, "open", D(bid), D(ask), D(mark), D(mark) - band, D(mark) + band)


def book(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> dict[str, Any]:
    return {side: [[D(price), D(size)] for price, size in rows] for side, rows in (("bids", bids), ("asks", asks))}


def seen(**more: Any) -> Seen:
    found = Seen(
        owner=OWNER,
        is_pinned=True,
        key={"id": "..77d0", "trade": True, "transfer": False},
        standing=standing(),
        spot_orders=0,
        locked="false",
        tickers={
            BTC: ticker(BTC, "84100.4", "84100.6", "84100.5"),
            ETH: ticker(ETH, "2961.40", "2961.50", "2961.45"),
            SOL: ticker(SOL, "140.02", "140.06", "140.04"),
        },
        books={
            BTC: book([("84100.4", "0.5"), ("84050.0", "5.7"), ("83900.0", "9")], [("84100.6", "3")]),
            ETH: book([("2961.40", "50")], [("2961.50", "8"), ("2962.00", "80"), ("2969.00", "140")]),
            SOL: book([("140.02", "40"), ("139.80", "20"), ("139.70", "200")], [("140.06", "90")]),
        },
        instruments={product: {"taker_commission": D("0.00035")} for product in (BTC, ETH, SOL)},
        near_liquidation=False,
        bot=Sighted(True, 0.062, "quoter-1 pid 4127 on this host answers over its socket in 62 ms"),
        market_ms=int(AT.timestamp() * 1000),
        round_trip_s=0.05,
        prices_age_s=0.21,
    )
    return replace(found, **more)
