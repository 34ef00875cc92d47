"""Incidents of the past at the derivatives gateway: the exchange plays each by name, and our client holds."""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.clock import SystemClock
from perpctl.errors import UsageError, VenueUnreachable
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.port import Confirmed, FeedLost, Refused, Unknown
from perpctl.exchange.settle import settle
from perpctl.model.order import OrderRequest, OrderStatus, OrderType, Purpose, Side
from perpctl.paper.incidents.scenario import SCENARIOS, scenario_of
from tests.exchange.test_against_paper import Paper, start, stop

pytestmark = [pytest.mark.drill, pytest.mark.timeout(120)]
BTC = "BTC_USDC-PERPETUAL"
CENT_BTC = Decimal("0.01")


@asynccontextmanager
async def playing(folder: Path, *options: str) -> AsyncIterator[tuple[Gateway, Paper]]:
    """A client of an exchange that plays a scenario."""
    process, paper = await asyncio.to_thread(start, folder, *options)
    client = open_gateway(paper.access, SystemClock())
    try:
        yield client, paper
    finally:
        await client.aclose()
        await asyncio.to_thread(stop, process)


def scenario(name: str) -> tuple[str, str]:
    return "--scenario", name


def at_market(identity: str, side: Side = Side.BUY, size: Decimal = CENT_BTC, **changes: Any) -> OrderRequest:
    return OrderRequest(identity, BTC, side, size, OrderType.MARKET, None, **changes)


async def resting(gateway: Gateway, identity: str, **changes: Any) -> OrderRequest:
    """An order that rests a percent below the market."""
    mark = (await gateway.quote(BTC)).mark
    assert mark is not None
    price = (mark * Decimal("0.99")).quantize(Decimal(1))
    return OrderRequest(identity, BTC, Side.BUY, CENT_BTC, OrderType.LIMIT, price=price, **changes)


async def stop_loss(gateway: Gateway, identity: str) -> OrderRequest:
    mark = (await gateway.quote(BTC)).mark
    assert mark is not None
    trigger = (mark * Decimal("0.98")).quantize(Decimal(1))
    return OrderRequest(
        identity, BTC, Side.SELL, CENT_BTC, OrderType.STOP_MARKET, None, trigger_price=trigger, reduce_only=True
    )


def test_every_scenario_has_its_test_here() -> None:
    ours = {name for name, _ in inspect.getmembers(sys.modules[__name__], inspect.isfunction)}
    assert {f"test_{name.replace('-', '_')}" for name in SCENARIOS} <= ours
    with pytest.raises(UsageError, match="timeout-after-accept"):
        scenario_of("timeout-after-acept")


async def test_timeout_after_accept(tmp_path: Path) -> None:
    async with playing(tmp_path, *scenario("timeout-after-accept")) as (gateway, _):
        request, since_ms = await resting(gateway, "once"), await gateway.time_ms()
        outcome = await gateway.place(request)
        assert isinstance(outcome, Unknown)
        settled = await settle(gateway, request, outcome, SystemClock(), since_ms=since_ms)
        assert isinstance(settled, Confirmed)
        assert [order.identity for order in await gateway.open_orders()] == ["once"]


async def test_false_flat_on_error(tmp_path: Path) -> None:
    async with playing(tmp_path, *scenario("false-flat-on-error")) as (gateway, _):
        assert isinstance(await gateway.place(at_market("in")), Confirmed)
        for read in (gateway.positions, gateway.open_orders):
            with pytest.raises(VenueUnreachable):
                await read()


async def test_batch_cancel_502(tmp_path: Path) -> None:
    async with playing(tmp_path, *scenario("batch-cancel-502")) as (gateway, _):
        for identity in ("a", "b"):
            assert isinstance(await gateway.place(await resting(gateway, identity)), Confirmed)
        assert isinstance(await gateway.cancel_entries(), Unknown)
        assert await gateway.open_orders() == ()  # what was done is found by reading, order by order
        assert isinstance(await gateway.place(await resting(gateway, "c")), Confirmed)
        (outcome,) = await gateway.cancel(await gateway.open_orders())
        assert isinstance(outcome, Confirmed)  # asked again until somebody answers, and then read
        assert outcome.order.status is OrderStatus.CANCELLED
        assert len(outcome.passages) > 1, outcome
        assert await gateway.open_orders() == ()


async def test_cancel_then_403(tmp_path: Path) -> None:
    async with playing(tmp_path) as (gateway, paper):
        assert isinstance(await gateway.place(at_market("in")), Confirmed)
        assert isinstance(await gateway.place(await stop_loss(gateway, "stop")), Confirmed)
        for method in ("private/buy", "private/sell", "private/close_position"):
            rule = next(one for one in SCENARIOS["cancel-then-403"].rules if one.method == method)
            paper.fault(rule.kind, method, count=100, code=rule.code, message=rule.message)
        (position,) = await gateway.positions()
        closing = await gateway.close(position, None)
        assert isinstance(closing, Refused)
        assert closing.code == 13021
        assert [held.size for held in await gateway.positions()] == [CENT_BTC]  # still held, still with its stop
        assert [order.identity for order in await gateway.open_orders()] == ["stop"]


async def test_feed_silent(tmp_path: Path) -> None:
    async with playing(tmp_path, *scenario("feed-silent")) as (gateway, _):
        async with gateway.session(["BTC-PERP"]) as session:
            async with asyncio.timeout(30):
                async for event in session:
                    if isinstance(event, FeedLost) and event.channel != "user":
                        break
        assert (await gateway.quote(BTC)).mark is not None  # what the socket does not tell can still be asked


async def test_cancel_at_0800(tmp_path: Path) -> None:
    async with playing(tmp_path, *scenario("cancel-at-0800")) as (gateway, _):
        assert isinstance(await gateway.place(await resting(gateway, "night")), Confirmed)
        refused = None
        async with asyncio.timeout(30):
            while refused is None:
                outcome = await gateway.place(await resting(gateway, "probe"))
                refused = outcome if isinstance(outcome, Refused) else None
                await asyncio.sleep(0.1)
        assert refused.code == 10041
        (settling, *_) = await gateway.cancel((await gateway.open_orders())[:1])
        assert len(settling.passages) > 1, settling  # it passes: a cancel asks again by itself
        async with asyncio.timeout(30):
            while await gateway.open_orders():
                await gateway.cancel(await gateway.open_orders())
                await asyncio.sleep(0.2)


async def test_halt_traps_exit(tmp_path: Path) -> None:
    async with playing(tmp_path) as (gateway, paper):
        assert isinstance(await gateway.place(at_market("in")), Confirmed)
        paper.control("POST", "state", instrument_name=BTC, state="halted")
        (position,) = await gateway.positions()
        outcome = await gateway.close(position, None)
        assert isinstance(outcome, Refused)
        assert (outcome.code, outcome.sent) == (10012, True)
        assert [held.size for held in await gateway.positions()] == [CENT_BTC]
        paper.control("POST", "state", instrument_name=BTC, state="open")
        assert isinstance(await gateway.close(position, None), Confirmed)
        assert await gateway.positions() == ()
    async with playing(tmp_path / "by name", *scenario("halt-traps-exit")) as (gateway, _):
        assert isinstance(await gateway.place(at_market("in")), Refused)


async def test_locked_books(tmp_path: Path) -> None:
    async with playing(tmp_path) as (gateway, paper):
        assert isinstance(await gateway.place(await resting(gateway, "in time")), Confirmed)
        paper.control("POST", "state", instrument_name=BTC, state="locked")
        assert isinstance(await gateway.place(await resting(gateway, "too late")), Refused)
        outcomes = await gateway.cancel(await gateway.open_orders())
        assert [type(outcome) for outcome in outcomes] == [Confirmed]
    async with playing(tmp_path / "by name", *scenario("locked-books")) as (gateway, _):
        outcome = await gateway.place(await resting(gateway, "never"))
        assert isinstance(outcome, Refused)
        assert outcome.code == 10012


async def test_cod_takes_the_stop(tmp_path: Path) -> None:
    async with playing(tmp_path, *scenario("cod-takes-the-stop")) as (gateway, _):
        assert isinstance(await gateway.place(at_market("in", size=2 * CENT_BTC)), Confirmed)
        assert isinstance(await gateway.place(await stop_loss(gateway, "over http")), Confirmed)
        async with gateway.session(["BTC-PERP"]) as session:
            assert await session.arm_dead_man()
            await session.place(await stop_loss(gateway, "over the socket"))
            async with asyncio.timeout(30):
                while {order.identity for order in await gateway.open_orders()} != {"over http"}:
                    await asyncio.sleep(0.1)


async def test_broker_liquidation(tmp_path: Path) -> None:
    async with playing(tmp_path, *scenario("broker-liquidation")) as (gateway, _):
        began = await gateway.time_ms()
        assert isinstance(await gateway.place(at_market("in", size=Decimal("0.5"))), Confirmed)
        async with asyncio.timeout(40):
            while await gateway.positions():
                await asyncio.sleep(0.2)
        fills = await gateway.fills(began - 1000)
        assert {fill.liquidation for fill in fills} == {False, True}  # the venue's own are told from ours
        assert [fill.identity for fill in fills if fill.liquidation and fill.identity] == []


async def test_forced_transfer(tmp_path: Path) -> None:
    async with playing(tmp_path, *scenario("forced-transfer")) as (gateway, _):
        began = await gateway.time_ms()
        assert isinstance(await gateway.place(at_market("in", size=2 * CENT_BTC)), Confirmed)
        async with asyncio.timeout(30):
            while [held.size for held in await gateway.positions()] != [CENT_BTC]:
                await asyncio.sleep(0.1)
        fills = await gateway.fills(began - 1000)
        assert sum(fill.size for fill in fills) == 2 * CENT_BTC  # half of it went without an order and without a trade
        assert await gateway.open_orders() == ()


# -- what the venue does by its nature, without a scenario


async def test_the_band_of_one_and_a_half_percent_refuses_a_close_beyond_it(tmp_path: Path) -> None:
    async with playing(tmp_path) as (gateway, _):
        assert isinstance(await gateway.place(at_market("in")), Confirmed)
        (position,) = await gateway.positions()
        mark = (await gateway.quote(BTC)).mark
        assert mark is not None
        beyond = await gateway.close(position, (mark * Decimal("0.98")).quantize(Decimal(1)))
        assert isinstance(beyond, Refused)
        assert beyond.code == 10005
        assert "price_too_low" in beyond.reason  # with the limit, so that the next price can be right


async def test_a_reduce_only_order_shrinks_with_the_position_and_never_grows_again(tmp_path: Path) -> None:
    async with playing(tmp_path) as (gateway, _):
        assert isinstance(await gateway.place(at_market("in", size=2 * CENT_BTC)), Confirmed)
        mark = (await gateway.quote(BTC)).mark
        assert mark is not None
        price = (mark * Decimal("1.01")).quantize(Decimal(1))
        take = OrderRequest(
            "take", BTC, Side.SELL, 2 * CENT_BTC, OrderType.LIMIT, price=price, reduce_only=True, purpose=Purpose.REDUCE
        )
        assert isinstance(await gateway.place(take), Confirmed)
        assert isinstance(await gateway.place(at_market("out", Side.SELL)), Confirmed)
        assert [order.size for order in await gateway.open_orders()] == [CENT_BTC]
        assert isinstance(await gateway.place(at_market("in again")), Confirmed)
        assert [order.size for order in await gateway.open_orders()] == [CENT_BTC]  # it covers half from here on
        assert isinstance(await gateway.place(at_market("out again", Side.SELL, 2 * CENT_BTC)), Confirmed)
        assert await gateway.open_orders() == ()
        (ended,) = await gateway.order("take")
        assert ended.status is OrderStatus.CANCELLED


async def test_the_mass_cancel_has_credits_when_the_order_pool_is_empty(tmp_path: Path) -> None:
    async with playing(tmp_path) as (gateway, paper):
        assert isinstance(await gateway.place(await resting(gateway, "a")), Confirmed)
        paper.fault("error", "private/buy", count=100, code=10028, message="too_many_requests")
        paper.fault("error", "private/cancel", count=100, code=10028, message="too_many_requests")
        throttled = await gateway.place(await resting(gateway, "b"))
        assert isinstance(throttled, Refused)
        assert throttled.code == 10028
        assert await gateway.cancel_entries() == 1
        assert await gateway.open_orders() == ()
