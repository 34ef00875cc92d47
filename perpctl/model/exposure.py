"""This file works out the worst case: positions with every open and unknown order filled on the bad side."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpctl.model.order import OrderRequest


@dataclass(frozen=True, slots=True)
class Holding:
    """What is held of one product in one slot.

    `price` values it (mark, or the worse of mark and index); `proof_age_ms` runs from the last read or event that
    proved the size, None: never proven.
    """

    product_id: str
    underlying: str
    size: Decimal  # signed base coin
    price: Decimal | None
    proof_age_ms: int | None
    slot: int | None = None


@dataclass(frozen=True, slots=True)
class UnknownOrder:
    """An order that was sent and neither confirmed nor refused; it counts as filled until it is settled."""

    request: OrderRequest
    since_ms: int  # market time of the send
