"""Where the venue keeps no record of funding, ours is an estimate: sampled by the hour, its gaps told."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from perpctl.questions import funding, funding_samples
from tests import trading
from tests.conftest import both_venues, us_alone


@us_alone
async def test_what_was_recorded_is_what_history_estimates(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.05")
        for _ in range(3):
            trading.control(paper, "/advance", {"seconds": 3600})
            recorded = await funding_samples.record(desk)
        sample: Any = recorded.facts["samples"]
        assert Decimal(sample[0]["size"]) == Decimal("0.05")
        told: Any = (await funding.history(desk, 1)).facts
        assert told["samples"] == 3
        assert len(told["payments"]) == 3
        assert not any(one["exact"] for one in told["payments"])
        last = told["payments"][-1]
        assert Decimal(last["amount"]) == -Decimal("0.05") * Decimal(sample[0]["price"]) * Decimal(sample[0]["rate_1h"])
        assert sum(gap["hours"] for gap in told["gaps"]) >= 20  # the day before the first sample
        assert told["venue_moved"] is not None


@us_alone
async def test_with_nothing_recorded_nothing_is_claimed_to_be_paid(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        told = (await funding.history(desk, 2)).facts
        assert (told["paid"], told["payments"]) == (None, [])
        assert [gap["hours"] for gap in told["gaps"]] == [48]  # type: ignore[index,call-overload,union-attr]


@both_venues
async def test_a_sample_can_be_taken_at_either_venue(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        recorded: Any = (await funding_samples.record(desk)).facts
        assert [one["product_id"] for one in recorded["samples"]] == [trading.btc(paper)]
