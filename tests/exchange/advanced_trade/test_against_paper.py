"""The US client against the paper exchange's US face: two readings of the same documents that must agree."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from perpctl.desk import Desk
from perpctl.exchange.port import Confirmed, FeedResumed, FillSeen, OrderSeen, Refused, Unknown
from perpctl.exchange.settle import settle
from perpctl.model.order import OrderRequest, OrderStatus, OrderType, Side, TimeInForce
from perpctl.model.venue.ability import Ability, Can
from tests import trading
from tests.conftest import us_alone

pytestmark = us_alone
WITHIN_S = 30.0


async def test_what_was_placed_is_listed_marked_and_cancelled(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        exchange = await desk.exchange()
        await trading.place(desk, size="0.03")
        resting, guard = await trading.entry(desk), await trading.stop(desk, size="0.03")
        listed = {order.order_id: order for order in await exchange.open_orders()}
        assert listed.keys() == {resting.order_id, guard.order_id}
        assert listed[resting.order_id].time_in_force is TimeInForce.GTD
        assert (listed[guard.order_id].reduce_only, listed[guard.order_id].time_in_force) == (True, TimeInForce.GTC)
        [gone] = await exchange.cancel([resting])
        assert isinstance(gone, Confirmed)
        assert gone.order.status is OrderStatus.CANCELLED


async def test_an_entry_that_nobody_renews_ends_by_itself_and_the_stop_stays(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        await trading.place(desk, size="0.03")
        resting, guard = await trading.entry(desk), await trading.stop(desk, size="0.03")
        trading.control(paper, "/advance", {"seconds": 125})
        assert await trading.working(desk) == {guard.order_id}
        [ended] = await (await desk.exchange()).order("", resting.order_id)
        assert (ended.status, ended.cancel_reason) == (OrderStatus.CANCELLED, "expired")


@pytest.mark.parametrize(("side", "away"), [("BUY", "1.2"), ("SELL", "0.8")])
async def test_a_price_outside_the_band_is_refused_as_that(paper: dict[str, Any], side: str, away: str) -> None:
    async with trading.at_the_desk() as desk:
        exchange = await desk.exchange()
        last = (await exchange.quote(trading.btc(desk))).last
        assert last is not None
        tick = trading.TICKS["us"]
        outcome = await exchange.place(
            OrderRequest(
                identity=trading.our_name(desk),
                product_id=trading.btc(desk),
                side=Side(side),
                size=Decimal("0.01"),
                type=OrderType.LIMIT,
                price=last * Decimal(away) // tick * tick,
            )
        )
        assert isinstance(outcome, Refused)
        assert outcome.outside_band
        assert "PRICE_BAND" in outcome.reason


async def test_a_lost_answer_is_settled_by_listing_and_the_order_is_there_once(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        exchange = await desk.exchange()
        since_ms = await exchange.time_ms()
        trading.control(paper, "/fault", {"kind": "drop_after", "method": trading.call(paper, "sell")})
        name = trading.our_name(desk)
        request = OrderRequest(
            name,
            trading.btc(paper),
            Side.BUY,
            Decimal("0.02"),
            OrderType.MARKET,
            None,
            time_in_force=TimeInForce.IOC,
        )
        outcome = await exchange.place(request)
        assert isinstance(outcome, Unknown)
        settled = await settle(exchange, request, outcome, desk.clock, since_ms=since_ms)
        assert isinstance(settled, Confirmed)
        assert settled.order.identity == name
        assert sum(fill.size for fill in settled.fills) == Decimal("0.02")
        assert await trading.held(desk) == {trading.btc(paper): Decimal("0.02")}


async def test_a_session_tells_our_own_fill_before_the_order_that_it_filled(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk, asyncio.timeout(WITHIN_S):
        exchange = await desk.exchange()
        async with exchange.session(["BTC-PERP"]) as session:
            await _next(session, FeedResumed, lambda event: event.channel == "user")
            placed = await trading.place(desk, size="0.02")
            fill = await _next(session, FillSeen, lambda event: event.fill.order_id == placed.order_id)
            order = await _next(session, OrderSeen, lambda event: event.order.order_id == placed.order_id)
            assert fill.fill.identity == placed.identity
            assert order.order.status is OrderStatus.FILLED
            assert set(session.granted) == {"user", "level2"}


async def test_when_the_list_is_held_back_nothing_is_called_empty(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        exchange = await desk.exchange()
        await trading.entry(desk)
        fault = {"kind": "http_status", "status": 403, "body": "{}", "method": trading.call(paper, "open orders")}
        trading.control(paper, "/fault", {**fault, "count": 50})
        with pytest.raises(Exception, match="403"):
            await exchange.open_orders()


async def _next(session: Any, kind: type, fits: Any) -> Any:
    while True:
        event = await anext(session)
        if isinstance(event, kind) and fits(event):
            return event


async def reduce_only(desk: Desk) -> Ability:
    measured = await (await desk.market()).capabilities(("BTC-PERP",))
    return next(one for one in measured if one.key == "order.reduce_only")


async def test_whether_orders_can_be_reduce_only_is_asked_and_not_believed(paper: dict[str, Any]) -> None:
    async with trading.at_the_desk() as desk:
        told = await reduce_only(desk)
        assert told.can is Can.NOT_OFFERED
        assert "PREVIEW_REDUCE_ONLY_NOT_ALLOWED_ON_VENUE" in told.evidence
        body = '{"error":"unknown","message":"proto: (line 1:9): unknown field \\"reduce_only\\""}'
        fault = {"kind": "http_status", "method": "*preview*", "status": 400, "body": body, "count": 99}
        trading.control(paper, "/fault", fault)
        told = await reduce_only(desk)
        assert (told.can, "knows no such member" in told.evidence) == (Can.NOT_OFFERED, True)
