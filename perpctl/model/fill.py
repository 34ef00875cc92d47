"""Fills as the venue reports them. Standard library only: the emergency program imports this file."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpctl.model.order import Side

BP = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution; booked exactly once, keyed on (venue, trade_id)."""

    trade_id: str
    order_id: str
    identity: str | None
    product_id: str
    side: Side
    size: Decimal  # base coin, positive
    price: Decimal
    fee: Decimal  # positive: paid
    fee_currency: str
    liquidity: str | None  # M | T
    at_ms: int
    trade_seq: int | None = None
    slot: int | None = None
    liquidation: bool = False
    mark: Decimal | None = None
    index: Decimal | None = None


def slippage_bp(fill: Fill, arrival: Decimal) -> Decimal:
    """How much worse than `arrival` it was executed, in basis points of that; negative: better."""
    return round((fill.price - arrival) * fill.side.sign / arrival * BP, 2)
