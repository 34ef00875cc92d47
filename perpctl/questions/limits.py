"""This file answers what the profile's risk level allows at the prices of now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from perpctl.model.instrument import Quote
from perpctl.model.position import Account
from perpctl.risk.bounds import Bounds, Market, effective
from perpctl.risk.limits import Limits, RiskLevel, level_limits, with_overrides

if TYPE_CHECKING:
    from perpctl.desk import Desk


def limits_of(desk: Desk) -> Limits | None:
    """The limits in force: the level's rows with the profile's overrides; None when no level is set."""
    if desk.settings.risk_level is None:
        return None
    return with_overrides(level_limits(RiskLevel(desk.settings.risk_level)), desk.settings.limits)


def bounds_of(desk: Desk, account: Account, quote: Quote) -> Bounds | None:
    """What may be ordered and held in one product now; None without a level or a reference price."""
    limits, reference = limits_of(desk), quote.reference
    if limits is None or reference is None:
        return None
    market = Market(reference, quote.open_interest, quote.band_low, quote.band_high)
    return effective(limits, account.equity, market)
