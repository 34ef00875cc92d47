"""This file turns limits into money and coin for one product, with the bound that binds."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from perpctl.risk.limits import Limits

ONE = Decimal(1)
HUNDRED = Decimal(100)
BAND_SHARE = Decimal("0.9")


class Market(Struct, frozen=True):
    """What bounds depend on besides the limits; each None when the venue did not say."""

    reference: Decimal  # price around which orders are judged
    open_interest: Decimal | None = None  # base coin
    band_low: Decimal | None = None
    band_high: Decimal | None = None
    depth_notional: Decimal | None = None  # on the side to be taken, inside the collar


class Bounds(Struct, frozen=True):
    """Limits of one product in settlement currency and base coin; `*_by` names the row that binds."""

    order_notional: Decimal
    order_by: str
    position_notional: Decimal
    position_by: str
    net_notional: Decimal
    gross_notional: Decimal
    price_low: Decimal
    price_high: Decimal
    reference: Decimal

    @property
    def order_size(self) -> Decimal:
        return self.order_notional / self.reference

    @property
    def position_size(self) -> Decimal:
        return self.position_notional / self.reference


def effective(limits: Limits, equity: Decimal, market: Market, ramp: Decimal = ONE) -> Bounds:
    """The lower of the relative and the absolute bounds. `ramp` (0.25, 0.5, 1) scales the sizes after a return."""
    order, order_by = min(
        (limits.max_order_notional_equity * equity, "max_order_notional_equity"),
        (limits.max_order_notional_usd, "max_order_notional_usd"),
    )
    if market.depth_notional is not None:
        order, order_by = min(
            (order, order_by), (limits.max_order_depth_pct / HUNDRED * market.depth_notional, "max_order_depth_pct")
        )
    position, position_by = min(
        (limits.max_position_notional_equity * equity, "max_position_notional_equity"),
        (limits.max_position_notional_usd, "max_position_notional_usd"),
    )
    if market.open_interest is not None:
        share = limits.max_position_open_interest_pct / HUNDRED * market.open_interest * market.reference
        position, position_by = min((position, position_by), (share, "max_position_open_interest_pct"))
    low, high = collar(limits, market)
    return Bounds(
        order * ramp,
        order_by,
        position * ramp,
        position_by,
        limits.max_net_notional_equity * equity * ramp,
        limits.max_gross_notional_equity * equity * ramp,
        low,
        high,
        market.reference,
    )


def collar(limits: Limits, market: Market) -> tuple[Decimal, Decimal]:
    """Lowest and highest price an entry may carry: the level's collar, at most 0.9 of the way to the venue's band."""
    reach = market.reference * limits.price_collar_pct / HUNDRED
    low, high = market.reference - reach, market.reference + reach
    if market.band_low is not None:
        low = max(low, market.reference - BAND_SHARE * (market.reference - market.band_low))
    if market.band_high is not None:
        high = min(high, market.reference + BAND_SHARE * (market.band_high - market.reference))
    return low, high


def ramp_after(resumed_ms_ago: int) -> Decimal:
    """The share of the limits after a return from a halt: a quarter for 10 minutes, half for 20 more, then all."""
    if resumed_ms_ago < 10 * 60_000:
        return Decimal("0.25")
    return Decimal("0.5") if resumed_ms_ago < 30 * 60_000 else ONE
