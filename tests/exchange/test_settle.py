"""Unknown outcomes: found, proven absent, or still unknown; by reads alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from perpctl.clock import ManualClock
from perpctl.errors import VenueUnreachable
from perpctl.exchange.advanced_trade.client import TERMS as US_TERMS
from perpctl.exchange.gateway import wire
from perpctl.exchange.gateway.client import TERMS as GATEWAY_TERMS
from perpctl.exchange.port import Absent, Confirmed, Unknown, VenueTerms
from perpctl.exchange.settle import settle, settle_cancel
from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderType
from perpctl.model.venue import calendars
from perpctl.model.venue.calendar import VenueCalendar
from tests.exchange.gateway.venue import order_row, request, trade_row

START = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
START_MS = 1_795_435_200_000
UNKNOWN = Unknown("no answer", START_MS + 3000)


@dataclass
class Venue:
    """Reads from a list of what exists, each thing from a moment on."""

    clock: ManualClock
    orders: list[tuple[float, Order]] = field(default_factory=list)
    trades: list[tuple[float, Fill]] = field(default_factory=list)
    broken_until_s: float = 0.0
    start_ms: int = START_MS
    reads: list[float] = field(default_factory=list)
    terms: VenueTerms = GATEWAY_TERMS
    calendar: VenueCalendar = calendars.GLOBAL

    async def time_ms(self) -> int:
        if self.clock.monotonic() < self.broken_until_s:
            raise VenueUnreachable("down")
        return self.start_ms + int(self.clock.monotonic() * 1000)

    async def order(self, identity: str, order_id: str | None = None) -> tuple[Order, ...]:
        self.reads.append(self.clock.monotonic())
        listed = [order for since, order in self.orders if self.clock.monotonic() >= since]
        if order_id is not None:
            return tuple(order for order in listed if order.order_id == order_id)
        return tuple(order for order in listed if order.identity == identity)

    async def fills(self, since_ms: int) -> tuple[Fill, ...]:
        return tuple(fill for since, fill in self.trades if self.clock.monotonic() >= since)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
def venue(clock: ManualClock) -> Venue:
    return Venue(clock)


def _exact(row: dict[str, Any]) -> dict[str, Any]:
    return {name: Decimal(str(value)) if isinstance(value, float) else value for name, value in row.items()}


def _order(**changes: Any) -> Order:
    return wire.order(_exact(order_row(**changes)))


def _fill(number: int, **changes: Any) -> Fill:
    return wire.fill(_exact(trade_row(number, **changes)))


ORDER = _order()
FILL = _fill(1)


async def test_an_order_that_is_there_is_confirmed_with_its_fills(venue: Venue, clock: ManualClock) -> None:
    venue.orders, venue.trades = [(0, ORDER)], [(0, FILL), (0, _fill(2, label="other"))]
    assert await settle(venue, request(), UNKNOWN, clock, since_ms=START_MS) == Confirmed(ORDER, (FILL,))


async def test_an_order_that_shows_up_late_is_confirmed(venue: Venue, clock: ManualClock) -> None:
    venue.orders = [(4.5, ORDER)]
    settled = await settle(venue, request(), UNKNOWN, clock, since_ms=START_MS)
    assert isinstance(settled, Confirmed)


async def test_absence_takes_two_empty_readings_two_seconds_apart_after_the_last_valid_moment(
    venue: Venue, clock: ManualClock
) -> None:
    settled = await settle(venue, request(), UNKNOWN, clock, since_ms=START_MS)
    assert isinstance(settled, Absent)
    proof = [at for at in venue.reads if at > 3.0]
    assert proof[-1] - proof[0] >= 2.0
    assert clock.monotonic() < 10


async def test_absence_is_never_declared_without_a_last_valid_moment(venue: Venue, clock: ManualClock) -> None:
    settled = await settle(venue, request(), Unknown("no answer"), clock, since_ms=START_MS)
    assert isinstance(settled, Unknown)


async def test_readings_during_settlement_prove_nothing(clock: ManualClock) -> None:
    eight = START_MS - 4 * 3_600_000
    venue = Venue(clock, start_ms=eight - 4000)
    unknown = Unknown("no answer", eight - 4000)
    settled = await settle(venue, request(), unknown, clock, since_ms=eight)
    assert isinstance(settled, Absent)
    assert clock.monotonic() > 19 + 2  # from 08:00:15 on


async def test_a_venue_that_is_down_leaves_it_unknown_until_it_is_back(venue: Venue, clock: ManualClock) -> None:
    venue.broken_until_s = 200
    settled = await settle(venue, request(), UNKNOWN, clock, since_ms=START_MS, patience_s=30)
    assert settled == Unknown("down", UNKNOWN.valid_until_ms)
    venue.orders = [(0, ORDER)]
    assert isinstance(await settle(venue, request(), UNKNOWN, clock, since_ms=START_MS, patience_s=300), Confirmed)


async def test_a_trade_without_its_order_is_never_absence(venue: Venue, clock: ManualClock) -> None:
    venue.trades = [(0, FILL)]
    settled = await settle(venue, request(), UNKNOWN, clock, since_ms=START_MS)
    assert isinstance(settled, Unknown)
    assert FILL.trade_id in settled.cause


async def test_two_orders_under_one_identity_are_never_taken_for_one(venue: Venue, clock: ManualClock) -> None:
    venue.orders = [(0, ORDER), (0, _order(order_id="USDC-2"))]
    settled = await settle(venue, request(), UNKNOWN, clock, since_ms=START_MS)
    assert isinstance(settled, Unknown)
    assert "2 orders" in settled.cause


async def test_a_stop_that_fired_is_told_by_the_stop(venue: Venue, clock: ManualClock) -> None:
    stop = _order(order_id="S", order_type="stop_market", trigger_price=1, order_state="triggered")
    venue.orders = [(0, ORDER), (0, stop)]
    settled = await settle(venue, request(type=OrderType.STOP_MARKET), UNKNOWN, clock, since_ms=START_MS)
    assert isinstance(settled, Confirmed)
    assert settled.order.order_id == "S"


async def test_the_venue_is_asked_every_second_then_every_five(venue: Venue, clock: ManualClock) -> None:
    await settle(venue, request(), Unknown("?"), clock, since_ms=START_MS)
    gaps = [round(after - before) for before, after in zip(venue.reads, venue.reads[1:], strict=False)]
    assert set(gaps[:15]) == {1}
    assert set(gaps[15:]) == {5}


async def test_a_bug_is_not_swallowed(venue: Venue, clock: ManualClock) -> None:
    venue.orders = [(0, None)]  # type: ignore[list-item]
    with pytest.raises(AttributeError):
        await settle(venue, request(), UNKNOWN, clock, since_ms=START_MS)


async def test_a_cancel_is_settled_when_the_order_has_ended(venue: Venue, clock: ManualClock) -> None:
    ended = _order(order_state="filled", filled_amount=0.01, average_price=80000)
    venue.orders, venue.trades = [(3, ended)], [(0, FILL)]
    assert await settle_cancel(venue, ORDER, clock) == Confirmed(ended, (FILL,))
    assert ended.remaining == Decimal(0)


async def test_a_cancel_of_an_order_that_stays_open_is_unknown(venue: Venue, clock: ManualClock) -> None:
    venue.orders = [(0, ORDER)]
    assert await settle_cancel(venue, ORDER, clock) == Unknown("order USDC-1 is open")


# --- a venue whose orders have no last valid moment -------------------------------------------------------------------


@pytest.fixture
def us(clock: ManualClock) -> Venue:
    return Venue(clock, terms=US_TERMS, calendar=calendars.US)


async def test_where_orders_have_no_last_moment_absence_takes_a_minute_and_two_readings_five_seconds_apart(
    us: Venue, clock: ManualClock
) -> None:
    settled = await settle(us, request(), Unknown("no answer"), clock, since_ms=START_MS)
    assert isinstance(settled, Absent)
    assert "60 s from its send" in settled.evidence
    assert "24 h" in settled.evidence
    proof = [at for at in us.reads if at > 60.0]
    assert proof[-1] - proof[0] >= 5.0


async def test_an_order_that_shows_up_within_that_minute_is_confirmed(us: Venue, clock: ManualClock) -> None:
    us.orders = [(58, ORDER)]
    settled = await settle(us, request(), Unknown("no answer"), clock, since_ms=START_MS)
    assert isinstance(settled, Confirmed)


async def test_a_look_further_back_does_not_shorten_the_minute(us: Venue, clock: ManualClock) -> None:
    unknown, long_ago = Unknown("no answer"), START_MS - 600_000
    settled = await settle(us, request(), unknown, clock, since_ms=long_ago, sent_ms=START_MS, patience_s=30)
    assert isinstance(settled, Unknown)
    undated = await settle(us, request(), unknown, clock, since_ms=-60_000, patience_s=30)
    assert isinstance(undated, Unknown)


async def test_readings_while_the_session_rolls_prove_nothing(clock: ManualClock) -> None:
    roll_ms = START_MS + 10 * 3_600_000  # 22:00 UTC is 17:00 New York
    us = Venue(clock, start_ms=roll_ms - 20_000, terms=US_TERMS, calendar=calendars.US)
    settled = await settle(us, request(), Unknown("no answer"), clock, since_ms=roll_ms - 600_000)
    assert isinstance(settled, Absent)
    assert clock.monotonic() >= 20 + 30 + 5
