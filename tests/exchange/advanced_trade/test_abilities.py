"""What a preview says of a type of order, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest

from perpctl.exchange.advanced_trade.abilities import _judged
from perpctl.model.venue.ability import Can


@pytest.mark.parametrize(
    ("answer", "can"),
    [
        ({"errs": [], "order_margin_total": "206.58"}, Can.YES),
        ({"order_margin_total": "206.58"}, Can.YES),
        ({"errs": ["PREVIEW_INVALID_ORDER_CONFIG"]}, Can.NO),
        ({"errs": ["PREVIEW_GEOFENCING_RESTRICTION"]}, Can.NO),
        ({"errs": ["PREVIEW_REDUCE_ONLY_NOT_ALLOWED_ON_VENUE"]}, Can.NO),
        ({"errs": ["PREVIEW_UNTRADABLE_FCM_ACCOUNT_STATUS"]}, Can.NO),
        ({"errs": ["PREVIEW_INSUFFICIENT_FUND"]}, Can.UNKNOWN),  # of money, not of the type
        ({"errs": ["PREVIEW_INVALID_FCM_TRADING_SESSION"]}, Can.UNKNOWN),  # shut for an hour
        ({"errs": ["PREVIEW_SOMETHING_NEW"]}, Can.UNKNOWN),
    ],
)
def test_only_what_names_the_type_says_no(answer: dict[str, Any], can: Can) -> None:
    seen = _judged(answer, "BIP-20DEC30-CDE")
    assert seen.can is can
    assert "BIP-20DEC30-CDE" in seen.evidence
