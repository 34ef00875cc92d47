"""Positions as the venue reports them, and the account's equity and margin."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perpctl.model.venue.margin import MarginMeasure


@dataclass(frozen=True, slots=True)
class Position:
    """One product in one slot; `size` is signed base coin.

    `units_agree` is False when the venue's size fields contradict each other: then nothing is sized from it.
    """

    product_id: str
    slot: int | None
    size: Decimal
    entry_price: Decimal | None
    mark: Decimal | None
    index: Decimal | None
    notional: Decimal | None
    unrealized: Decimal | None
    realized: Decimal | None
    funding: Decimal | None  # accrued in this session, not yet in cash
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    leverage: Decimal | None
    units_agree: bool
    at_ms: int
    seen: float
    underlying: str = field(kw_only=True)  # base coin; perpetuals and dated futures on it net
    liquidation_price: Decimal | None = None  # the venue's own; None: it gives none


@dataclass(frozen=True, slots=True)
class Account:
    """The money of the pinned account, isolated slots included; `currency` as the venue counts."""

    account_id: str
    username: str | None
    currency: str
    balance: Decimal
    equity: Decimal
    available: Decimal | None
    initial_margin: Decimal
    maintenance_margin: Decimal
    session_realized: Decimal | None
    session_unrealized: Decimal | None
    margin_model: str | None
    slots_in_use: int
    engine_rate: int | None  # matching-engine requests a second
    engine_burst: int | None
    at_ms: int
    seen: float
    measures: tuple[MarginMeasure, ...] = ()  # by margin window; empty: there is only the one of `initial_margin`
    margin_window: str | None = None  # in force now, as the venue tells it; None: by its clock
    order_hold: Decimal | None = None  # held for open orders; None: not told
    funding_pnl: Decimal | None = None  # the venue's own running figure, its window and sign undocumented
    spot_cash: Decimal | None = None  # beside this money, and never part of equity
