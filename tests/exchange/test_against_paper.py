"""The client against the paper exchange: a process of its own, real sockets, real signatures."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from perpctl.clock import SystemClock
from perpctl.errors import VenueUnreachable
from perpctl.exchange.access import Access
from perpctl.exchange.budget import Duty
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.port import (
    Absent,
    BookSeen,
    Confirmed,
    FeedLost,
    FeedResumed,
    FillSeen,
    OrderSeen,
    PositionSeen,
    QuoteSeen,
    Refused,
    Session,
    SessionEvent,
    Unknown,
)
from perpctl.exchange.settle import settle
from perpctl.model.instrument import Quote
from perpctl.model.money import price_down
from perpctl.model.order import NEW_SLOT, Order, OrderRequest, OrderStatus, OrderType, Side

pytestmark = [pytest.mark.drill, pytest.mark.timeout(60)]
BTC = "BTC_USDC-PERPETUAL"
TICK = Decimal("0.1")


class Paper:
    """A paper exchange that is running, and its control plane."""

    def __init__(self, ready: dict[str, Any]) -> None:
        self.ready = ready

    def control(self, verb: str, path: str, **body: Any) -> Any:
        with httpx.Client(trust_env=False) as client:
            answer = client.request(verb, f"{self.ready['control']}/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def fault(self, kind: str, method: str, **rest: Any) -> None:
        self.control("POST", "fault", kind=kind, method=method, **rest)

    @property
    def access(self) -> Access:
        urls = (self.ready[f"gateway_{name}"] for name in ("http", "ws", "streams"))
        ca_file = self.ready["ca_file"]
        return Access(*urls, Path(self.ready["key_file"]), Path(ca_file) if ca_file else None)


def start(folder: Path, *options: str) -> tuple[subprocess.Popen[str], Paper]:
    command = [sys.executable, "-m", "perpctl.paper.server", "--port", "0", "--state-dir", str(folder), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the paper exchange ended with {process.wait(10)}"
    return process, Paper(json.loads(line))


def stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait(60)
    if process.stdout is not None:
        process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Paper]:
    process, paper = start(tmp_path_factory.mktemp("paper"))
    yield paper
    stop(process)


@pytest.fixture
def paper(server: Paper) -> Paper:
    server.control("DELETE", "fault")
    server.control("POST", "reset")
    server.control("POST", "state", credits=True)
    return server


@pytest.fixture
async def gateway(paper: Paper) -> AsyncIterator[Gateway]:
    client = open_gateway(paper.access, SystemClock())
    client.work_for(Duty.RECONCILE)
    async with asyncio.timeout(10):
        while (await client.quote(BTC)).bid is None:  # right after a reset the book is still empty
            await asyncio.sleep(0.05)
    yield client
    await client.aclose()


def far(quote: Quote, identity: str = "far", **changes: Any) -> OrderRequest:
    """A limit order to buy that rests one percent below the market."""
    assert quote.bid is not None
    price = price_down(quote.bid * Decimal("0.99"), TICK)
    return replace(OrderRequest(identity, BTC, Side.BUY, Decimal("0.01"), OrderType.LIMIT, price), **changes)


def at_market(identity: str, side: Side = Side.BUY, **changes: Any) -> OrderRequest:
    return replace(OrderRequest(identity, BTC, side, Decimal("0.01"), OrderType.MARKET, None), **changes)


def confirmed(outcome: object) -> Order:
    assert isinstance(outcome, Confirmed), outcome
    return outcome.order


async def until(session: Session, wanted: type[SessionEvent], channel: str | None = None) -> Any:
    """The next event of a kind."""
    async with asyncio.timeout(15):
        async for event in session:
            if isinstance(event, wanted) and channel in (None, getattr(event, "channel", None)):
                return event
    raise AssertionError("the session ended")


async def test_an_order_rests_is_found_and_is_cancelled(gateway: Gateway) -> None:
    order = confirmed(await gateway.place(far(await gateway.quote(BTC))))
    assert order.status is OrderStatus.OPEN
    assert await gateway.open_orders() == (order,)
    assert await gateway.order("far") == (order,) == await gateway.order("", order.order_id)
    (outcome,) = await gateway.cancel([order])
    assert confirmed(outcome).status is OrderStatus.CANCELLED
    assert await gateway.open_orders() == ()
    (again,) = await gateway.cancel([order])
    assert confirmed(again).status is OrderStatus.CANCELLED
    (found,) = await gateway.order_history(order.created_ms)
    assert (found.order_id, found.status) == (order.order_id, OrderStatus.CANCELLED)


async def test_a_round_trip_is_in_position_fills_account_and_flat_again(gateway: Gateway) -> None:
    since_ms = await gateway.time_ms()
    outcome = await gateway.place(at_market("in"))
    assert isinstance(outcome, Confirmed)
    assert outcome.order.filled == Decimal("0.01") == sum(fill.size for fill in outcome.fills)
    (position,) = await gateway.positions()
    assert (position.size, position.units_agree, position.slot) == (Decimal("0.01"), True, None)
    account = await gateway.account()
    assert account.initial_margin > 0
    assert (account.account_id, account.currency) == ((await gateway.identity()).account_id, "USDC")
    confirmed(await gateway.close(position, None))
    assert await gateway.positions() == ()
    fills = await gateway.fills(since_ms)
    assert [fill.side for fill in fills if fill.identity in ("in", None)][-1] is Side.SELL
    assert {fill.trade_id for fill in outcome.fills} <= {fill.trade_id for fill in fills}
    assert all(fill.fee > 0 and fill.fee_currency == "USDC" for fill in fills)


async def test_the_mass_cancel_takes_entries_and_leaves_the_stop(gateway: Gateway) -> None:
    quote = await gateway.quote(BTC)
    await gateway.place(at_market("in"))
    assert quote.mark is not None
    stop = at_market("stop", Side.SELL, type=OrderType.STOP_MARKET, reduce_only=True)
    trigger = price_down(quote.mark * Decimal("0.9"), TICK)
    confirmed(await gateway.place(replace(stop, trigger_price=trigger, trigger="mark_price")))
    confirmed(await gateway.place(far(quote)))
    assert await gateway.cancel_entries() == 1
    (left,) = await gateway.open_orders()
    assert (left.identity, left.is_trigger, left.reduce_only) == ("stop", True, True)


async def test_an_order_off_the_tick_or_beyond_the_funds_is_refused(gateway: Gateway) -> None:
    quote = await gateway.quote(BTC)
    assert quote.bid is not None
    outcomes = [
        await gateway.place(far(quote, price=Decimal("80000.05"))),
        await gateway.place(far(quote, size=Decimal("100000"))),
        await gateway.place(far(quote, valid_until_ms=await gateway.time_ms() - 1)),
    ]
    assert all(isinstance(outcome, Refused) and outcome.sent and outcome.code for outcome in outcomes), outcomes
    assert await gateway.open_orders() == ()


def isolated(order: OrderRequest, margin: str | None = "500") -> OrderRequest:
    """The same order in a slot of its own, with its margin."""
    return replace(order, slot=NEW_SLOT, allocated_margin=None if margin is None else Decimal(margin))


async def test_an_isolated_order_is_listed_and_cancelled_by_its_slot(gateway: Gateway) -> None:
    placed = confirmed(await gateway.place(isolated(far(await gateway.quote(BTC)))))
    (listed,) = await gateway.open_orders()
    assert listed.slot == placed.slot
    assert listed.slot not in (None, NEW_SLOT)
    assert await gateway.order("far") == (listed,) == await gateway.order("", listed.order_id)
    (outcome,) = await gateway.cancel([listed])
    assert confirmed(outcome).status is OrderStatus.CANCELLED
    assert await gateway.open_orders() == ()


async def test_an_isolated_position_is_seen_counted_closed_and_its_trades_are_ours(gateway: Gateway) -> None:
    since_ms = await gateway.time_ms()
    before = (await gateway.account()).balance
    confirmed(await gateway.place(isolated(at_market("slot"))))
    (position,) = await gateway.positions()
    assert position.slot is not None
    assert (position.size, position.units_agree) == (Decimal("0.01"), True)
    account = await gateway.account()
    assert account.slots_in_use == 1
    assert account.balance < before
    assert {fill.identity for fill in await gateway.fills(since_ms)} == {"slot"}
    reduce = replace(at_market("half", Side.SELL), slot=position.slot, reduce_only=True, size=Decimal("0.004"))
    assert confirmed(await gateway.place(reduce)).slot == position.slot
    (position,) = await gateway.positions()
    assert position.size == Decimal("0.006")
    confirmed(await gateway.close(position, None))
    assert await gateway.positions() == ()


async def test_an_isolated_order_over_the_socket_goes_to_its_slot_too(gateway: Gateway) -> None:
    async with gateway.session(["BTC-PERP"]) as session:
        placed = confirmed(await session.place(isolated(far(await gateway.quote(BTC)))))
        assert placed.slot not in (None, NEW_SLOT)
        assert confirmed(await session.cancel(placed)).status is OrderStatus.CANCELLED


async def test_too_little_margin_is_refused_with_what_would_do_and_none_is_never_sent(gateway: Gateway) -> None:
    order = at_market("poor")
    refused = await gateway.place(isolated(order, "1"))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.sent) == (14033, True)
    assert "allocated_margin at least" in refused.reason
    for wrong in (isolated(order, None), replace(order, allocated_margin=Decimal(500))):
        refused = await gateway.place(wrong)
        assert isinstance(refused, Refused)
        assert not refused.sent
        assert "margin" in refused.reason
    assert await gateway.positions() == ()


@pytest.mark.parametrize(
    ("kind", "carrier"),
    [
        ("drop_before", "http"),
        ("drop_after", "http"),
        ("drop_before", "socket"),
        ("drop_after", "socket"),
    ],
)
async def test_a_lost_answer_is_unknown_and_settled_to_what_the_venue_holds(
    paper: Paper, gateway: Gateway, kind: str, carrier: str
) -> None:
    """At most one order for one intent, whether or not it was executed before the answer was lost."""
    quote, since_ms = await gateway.quote(BTC), await gateway.time_ms()
    order = far(quote, identity=f"{kind}-{carrier}", valid_until_ms=since_ms + 1000)
    paper.fault(kind, "private/buy", status=502)
    if carrier == "http":
        outcome = await gateway.place(order)
    else:
        async with gateway.session(["BTC-PERP"]) as session:
            outcome = await session.place(order)
    assert isinstance(outcome, Unknown), outcome
    settled = await settle(gateway, order, outcome, SystemClock(), since_ms=since_ms)
    listed = [item for item in await gateway.open_orders() if item.identity == order.identity]
    if kind == "drop_after":
        assert isinstance(settled, Confirmed)
        assert [item.order_id for item in listed] == [settled.order.order_id]
    else:
        assert isinstance(settled, Absent)
        assert listed == []


async def test_expired_tokens_are_renewed_without_a_word(paper: Paper, gateway: Gateway) -> None:
    await gateway.positions()
    paper.control("POST", "expire-tokens")
    assert await gateway.positions() == ()
    paper.control("POST", "expire-tokens")
    confirmed(await gateway.place(far(await gateway.quote(BTC))))
    assert len(await gateway.open_orders()) == 1


async def test_an_outage_is_said_and_never_taken_for_flat(paper: Paper, gateway: Gateway) -> None:
    await gateway.positions()
    paper.fault("outage", "*")
    with pytest.raises(VenueUnreachable):
        await gateway.positions()
    paper.control("DELETE", "fault")
    assert await gateway.positions() == ()


async def test_a_session_tells_of_the_market_and_of_what_is_ours(gateway: Gateway) -> None:
    async with gateway.session(["BTC-PERP"]) as session:
        assert (await until(session, FeedResumed, "user")).orders == ()
        assert (await until(session, QuoteSeen)).quote.mid is not None
        book = (await until(session, BookSeen)).book
        assert book.bids[0][0] < book.asks[0][0]
        outcome = await session.place(at_market("live"))
        assert isinstance(outcome, Confirmed)
        assert (await until(session, FillSeen)).fill.trade_id in {fill.trade_id for fill in outcome.fills}
        assert (await until(session, OrderSeen)).order.identity == "live"
        assert (await until(session, PositionSeen)).position.size == Decimal("0.01")


@pytest.mark.parametrize("end", ["closed", "logged out"])
async def test_the_dead_man_takes_the_orders_of_a_closed_socket_and_spares_the_rest(gateway: Gateway, end: str) -> None:
    quote = await gateway.quote(BTC)
    confirmed(await gateway.place(far(quote, identity="over http")))
    async with gateway.session(["BTC-PERP"]) as session:
        assert await session.arm_dead_man()
        confirmed(await session.place(far(quote, identity="over the socket")))
        assert len(await gateway.open_orders()) == 2
        if end == "logged out":
            await session.leave_orders()  # type: ignore[attr-defined]
    await asyncio.sleep(0.3)
    left = {order.identity for order in await gateway.open_orders()}
    assert left == ({"over http"} if end == "closed" else {"over http", "over the socket"})


async def test_a_cut_socket_comes_back_armed_and_caught_up(paper: Paper, gateway: Gateway) -> None:
    async with gateway.session(["BTC-PERP"]) as session:
        assert await session.arm_dead_man()
        quote = await gateway.quote(BTC)
        confirmed(await session.place(far(quote, identity="entry")))
        await until(session, FeedResumed, "user")
        paper.control("POST", "disconnect")
        lost = await until(session, FeedLost, "user")
        assert lost.cause
        filled = await gateway.place(at_market("meanwhile"))
        assert isinstance(filled, Confirmed)
        resumed = await until(session, FeedResumed, "user")
        assert resumed.orders == ()  # the entry died with its socket
        assert [position.size for position in resumed.positions] == [Decimal("0.01")]
        assert {fill.trade_id for fill in filled.fills} <= {fill.trade_id for fill in resumed.fills}
        confirmed(await session.place(far(quote, identity="second")))
        paper.control("POST", "disconnect")
        await until(session, FeedLost, "user")
        await asyncio.sleep(0.3)
        assert await gateway.open_orders() == ()  # so the new connection was armed as well


async def test_a_gap_in_the_book_is_noticed_and_mended(paper: Paper, gateway: Gateway) -> None:
    async with gateway.session(["BTC-PERP"]) as session:
        channel = f"book.{BTC}.100ms"
        await until(session, BookSeen)
        paper.fault("gap", "book.*")
        assert "gap" in (await until(session, FeedLost, channel)).cause
        await until(session, FeedResumed, channel)
        assert (await until(session, BookSeen)).book.bids


async def test_being_throttled_costs_the_connection_and_nothing_else(paper: Paper, gateway: Gateway) -> None:
    async with gateway.session(["BTC-PERP"]) as session:
        await until(session, FeedResumed, "user")
        paper.fault("error", "private/buy", code=10028, message="too_many_requests")
        outcome = await session.place(far(await gateway.quote(BTC)))
        assert isinstance(outcome, Refused)
        assert outcome.code == 10028
        assert await gateway.open_orders() == ()


async def test_it_works_the_same_over_tls_and_only_with_the_right_authority(tmp_path: Path) -> None:
    process, paper = start(tmp_path / "tls", "--tls")
    try:
        gateway = open_gateway(paper.access, SystemClock())
        assert await gateway.positions() == ()
        async with gateway.session(["BTC-PERP"]) as session:
            assert (await until(session, QuoteSeen)).quote.product_id == BTC
        await gateway.aclose()
        stranger = open_gateway(structs.replace(paper.access, ca_file=None), SystemClock())
        with pytest.raises(VenueUnreachable, match="certificate"):
            await stranger.time_ms()
        await stranger.aclose()
    finally:
        stop(process)


async def test_market_time_runs_on_at_the_speed_of_a_replay(tmp_path: Path) -> None:
    process, paper = start(tmp_path / "fast", "--speed", "60")
    try:
        gateway = open_gateway(paper.access, SystemClock())
        confirmed(await gateway.place(far(await gateway.quote(BTC))))
        time.sleep(0.5)
        confirmed(await gateway.place(far(await gateway.quote(BTC), identity="later")))
        await gateway.aclose()
    finally:
        stop(process)


class Cable:
    """A stretch of wire between the client and the exchange that can be cut without a goodbye."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._whole = asyncio.Event()
        self._whole.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *why: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        self._whole.clear()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        theirs, ours = await asyncio.open_connection("127.0.0.1", self._port)
        for source, sink in ((reader, ours), (theirs, writer)):
            task = asyncio.create_task(self._carry(source, sink))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while piece := await source.read(65536):
                await self._whole.wait()
                sink.write(piece)
        finally:
            sink.close()


async def test_a_cut_cable_is_noticed_within_three_seconds(paper: Paper) -> None:
    address = httpx.URL(paper.ready["gateway_ws"])
    assert address.port is not None
    cable = Cable(address.port)
    async with cable as port:
        through = structs.replace(paper.access, ws=str(address.copy_with(port=port)))
        gateway = open_gateway(through, SystemClock())
        async with gateway.session(["BTC-PERP"]) as session:
            await until(session, FeedResumed, "user")
            cable.cut()
            started = time.monotonic()
            lost = await until(session, FeedLost, "user")
            assert time.monotonic() - started < 3.3
            assert "no answer within 2 s" in lost.cause
            assert (await until(session, QuoteSeen)).quote.bid  # the other socket goes on
        await gateway.aclose()
