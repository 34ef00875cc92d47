"""This file holds the controls on position, money and loss: 8 and 15."""

from __future__ import annotations

from decimal import Decimal

from perpctl.model.exposure import (
    MarginRates,
    gross_notional,
    initial_margin,
    liquidation_distance_pct,
    liquidation_price,
    maintenance_margin,
    net_notional,
    product_worst,
)
from perpctl.model.money import ZERO
from perpctl.model.order import NEW_SLOT, Side, TimeInForce
from perpctl.model.venue.margin import rates_for
from perpctl.risk.verdict import Finding, Reason
from perpctl.risk.view import Case

HUNDRED = Decimal(100)
UNKNOWN_BLOCKS_MS = 15_000


def position_proof(case: Case) -> Finding:
    """8: every position was proven lately; the oldest proof counts. A slot not there yet has none."""
    limit, request = case.view.ages.position.stale_ms, case.request
    known = case.holding is not None or request.slot is not None
    if not known or all(held.product_id != request.product_id for held in case.view.holdings):
        return None, limit, Reason.POSITION_UNPROVEN
    oldest = 0
    for held in case.view.holdings:
        if held.proof_age_ms is None:
            return None, limit, Reason.POSITION_UNPROVEN
        oldest = max(oldest, held.proof_age_ms)
    return oldest, limit, Reason.POSITION_UNPROVEN if oldest > limit else None


def account_proof(case: Case) -> Finding:
    """8: equity and margin are known, positive, and fresh."""
    age, limit = case.view.account_age_ms, case.view.ages.account.stale_ms
    account = case.view.account
    if account is None or age is None or account.equity <= 0:
        return age, limit, Reason.ACCOUNT_STALE
    return age, limit, Reason.ACCOUNT_STALE if age > limit else None


def unknown_outcome(case: Case) -> Finding:
    """8: an order of this product whose outcome stays unknown."""
    product, now = case.request.product_id, case.view.now_ms
    ages = [now - one.since_ms for one in case.view.unknown if one.request.product_id == product]
    oldest = max(ages, default=0)
    return oldest, UNKNOWN_BLOCKS_MS, Reason.UNKNOWN_OUTCOME if oldest > UNKNOWN_BLOCKS_MS else None


def resting_entries(case: Case) -> Finding:
    """8: entries that wait in this product, this one included; unknown ones may be waiting too."""
    request, view = case.request, case.view
    count = 0 if request.time_in_force in (TimeInForce.IOC, TimeInForce.FOK) else 1
    for order in view.working:
        count += order.product_id == request.product_id and not order.reduce_only
    for one in view.unknown:
        count += one.request.product_id == request.product_id and not one.request.reduce_only
    limit = int(case.limits.max_resting_entries)
    return count, limit, Reason.TOO_MANY_RESTING if count > limit else None


def position(case: Case) -> Finding:
    """8: the product's worst case on the side that this order adds to."""
    if case.bounds is None or case.reference is None:
        return None, None, Reason.POSITION_TOO_LARGE
    short, long = product_worst(case.after.values(), case.request.product_id)
    worst = (long if case.request.side is Side.BUY else short) * case.reference
    limit = case.bounds.position_notional
    return worst, limit, Reason.POSITION_TOO_LARGE if worst > limit else None


def net(case: Case) -> Finding:
    """8: the underlying's worst net on the side that this order adds to, perpetual and dated together."""
    if case.bounds is None:
        return None, None, Reason.NET_TOO_LARGE
    limit = case.bounds.net_notional
    worst = net_notional(case.after.values(), case.underlying)
    if worst is None:
        return None, limit, Reason.NET_TOO_LARGE
    value = max(worst[1] if case.request.side is Side.BUY else -worst[0], ZERO)
    return value, limit, Reason.NET_TOO_LARGE if value > limit else None


def gross(case: Case) -> Finding:
    """8: everything at its worst, which is the leverage; an order that does not add to it passes."""
    if case.bounds is None:
        return None, None, Reason.GROSS_TOO_LARGE
    limit = case.bounds.gross_notional
    after, before = gross_notional(case.after.values()), gross_notional(case.before.values())
    if after is None or before is None:
        return None, limit, Reason.GROSS_TOO_LARGE
    return after, limit, Reason.GROSS_TOO_LARGE if after > limit and after > before else None


def margin_used(case: Case) -> Finding:
    """8: initial margin with this order added (estimated), as a share of equity."""
    account, limit = case.view.account, case.limits.max_margin_used_pct
    if account is None or account.equity <= 0 or case.reference is None:
        return None, limit, Reason.MARGIN_TOO_HIGH
    added = case.request.allocated_margin  # it leaves the account whatever the position will need of it
    if added is None:
        added = initial_margin(case.request.size, case.reference, _rates(case))
    used = (account.initial_margin + added) / account.equity * HUNDRED
    return used, limit, Reason.MARGIN_TOO_HIGH if used > limit else None


def _rates(case: Case) -> MarginRates:
    """What the product asks for an order of this side in its dearest margin window."""
    instrument = case.view.instrument
    published = () if instrument is None else instrument.margin_rates
    return rates_for(published, case.underlying, Decimal(case.request.side.sign))


def liquidation(case: Case) -> Finding:
    """8: the adverse move to liquidation, as told or else estimated with this order filled."""
    away, limit = case.view.liquidation_distance_pct, case.limits.min_liquidation_distance_pct
    if away is None:
        away = _distance_when_filled(case)
    if away is None:
        return "out of reach", limit, None
    return away, limit, Reason.LIQUIDATION_NEAR if away < limit else None


def _distance_when_filled(case: Case) -> Decimal | None:
    """Of the cross position at its worst on this side, or of a new slot that stands on what is allocated to it.

    What equity a slot has that exists already is not known here.
    """
    request, account, rates = case.request, case.view.account, _rates(case)
    if request.slot == NEW_SLOT and request.allocated_margin is not None and case.reference is not None:
        filled = request.size * request.side.sign
        price = liquidation_price(filled, case.reference, request.allocated_margin, ZERO, rates)
        return liquidation_distance_pct(case.reference, price)
    if request.slot is not None or account is None or case.reference is None:
        return None
    reach = case.after[request.product_id, None]
    size = reach.high if request.side is Side.BUY else reach.low
    own = maintenance_margin(reach.size, case.reference, rates)
    others = max(account.maintenance_margin - own, ZERO)
    price = liquidation_price(size, case.reference, account.equity, others, rates)
    return liquidation_distance_pct(case.reference, price)


def day_loss(case: Case) -> Finding:
    """15: the day's profit and loss against the reduce line; it is not reset by a restart."""
    pnl, limit = case.view.day_pnl_pct, -case.limits.day_loss_reduce_pct
    if pnl is None:
        return None, limit, Reason.DAY_LOSS_UNKNOWN
    return pnl, limit, Reason.DAY_LOSS if pnl <= limit else None


def drawdown(case: Case) -> Finding:
    """15: the fall from the peak of 7 days; before there is a peak there is none."""
    fall, limit = case.view.drawdown_pct, case.limits.drawdown_halt_pct
    return fall, limit, Reason.DRAWDOWN if fall is not None and fall >= limit else None
