"""The live connection of the US venue: folded once, gaps and silence noticed, caught up before it counts as live."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import jwt
import pytest

from perpctl.clock import ManualClock, SystemClock
from perpctl.exchange.access import Access
from perpctl.exchange.advanced_trade.budget import Budget
from perpctl.exchange.advanced_trade.client import AdvancedTrade, open_advanced_trade
from perpctl.exchange.advanced_trade.feed.market import MarketEnd
from perpctl.exchange.advanced_trade.feed.user import BATCH
from perpctl.exchange.advanced_trade.listing import Listing
from perpctl.exchange.advanced_trade.rest import Rest
from perpctl.exchange.both.inbox import Inbox
from perpctl.exchange.http import NotSent
from perpctl.exchange.port import BookSeen, FeedLost, FeedResumed, FillSeen, OrderSeen, QuoteSeen, SessionEvent
from perpctl.exchange.transport import WireClosed
from perpctl.model.order import OrderStatus
from tests.exchange.advanced_trade.venue import BIP, ROOT, FakeWeb, fill_row, order_row

WITHIN_S = 20.0


class Socket:
    """One end of a connection; the test is the venue at the other."""

    def __init__(self, *, beats: bool = True) -> None:
        self.sent: list[dict[str, Any]] = []
        self._frames: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._number = 0
        self._channels: dict[str, list[str]] = {}
        self._beats = beats
        self._beating: asyncio.Task[None] | None = None

    async def send(self, frame: bytes) -> None:
        message = json.loads(frame)
        self.sent.append(message)
        self._channels[message["channel"]] = message.get("product_ids", ["u"])
        self.say("subscriptions", [{"subscriptions": self._channels}])
        if message["channel"] == "heartbeats" and self._beats and self._beating is None:
            self._beating = asyncio.create_task(self._beat())
        if message["channel"] == "user":
            self.greet()

    def greet(self) -> None:
        """The snapshot of the user channel."""
        self.say("user", [{"type": "snapshot", "orders": []}])

    async def receive(self) -> bytes:
        frame = await self._frames.get()
        if frame is None:
            raise WireClosed("the venue hung up")
        return frame

    async def close(self) -> None:
        if self._beating is not None:
            self._beating.cancel()

    def say(self, channel: str, events: list[Any], *, skip: int = 0) -> None:
        """One message; `skip` loses that many before it."""
        self._number += skip
        message = {
            "channel": channel,
            "timestamp": "2026-11-25T17:00:00Z",
            "sequence_num": self._number,
            "events": events,
        }
        self._number += 1
        self._frames.put_nowait(json.dumps(message).encode())

    def raw(self, message: Any) -> None:
        self._frames.put_nowait(message if isinstance(message, bytes) else json.dumps(message).encode())

    def hang_up(self) -> None:
        self._frames.put_nowait(None)

    async def _beat(self) -> None:
        counter = 0
        while True:
            self.say("heartbeats", [{"heartbeat_counter": counter}])
            counter += 1
            await asyncio.sleep(0.3)


class Slow(Socket):
    """Sends its snapshot only when told to."""

    def greet(self) -> None:
        pass


def pushed(filled: str = "0", left: str = "3", **more: Any) -> dict[str, Any]:
    row = {
        "order_id": "o-1",
        "client_order_id": "mine",
        "product_id": BIP,
        "product_type": "FUTURE",
        "order_side": "BUY",
        "order_type": "Limit",
        "status": "OPEN",
        "cumulative_quantity": filled,
        "leaves_quantity": left,
        "avg_price": "84000",
        "creation_time": "2026-11-25T13:00:00Z",
    }
    return row | more


@pytest.fixture
def wide(web: FakeWeb, key_file: Path) -> AdvancedTrade:
    access = Access(http=ROOT, ws="wss://user", streams="wss://market", key_file=key_file)
    return open_advanced_trade(access, SystemClock(), web=web)


@asynccontextmanager
async def live(client: AdvancedTrade, web: FakeWeb, *sockets: Socket | Exception) -> AsyncIterator[Any]:
    web.wires.extend(sockets)
    async with asyncio.timeout(WITHIN_S), client.session(()) as session:
        yield session


async def until(session: Any, kind: type[SessionEvent], **members: Any) -> tuple[Any, list[Any]]:
    """The first event of a kind, and what came before it."""
    before: list[Any] = []
    while True:
        event = await anext(session)
        if isinstance(event, kind) and all(getattr(event, name) == value for name, value in members.items()):
            return event, before
        before.append(event)


async def test_heartbeats_come_first_and_each_message_has_a_token_of_its_own(web: FakeWeb, wide: AdvancedTrade) -> None:
    socket = Socket()
    async with live(wide, web, socket) as session:
        await until(session, FeedResumed, channel="user")
        assert [message["channel"] for message in socket.sent] == ["heartbeats", "user"]
        tokens = [message["jwt"] for message in socket.sent]
        assert len(set(tokens)) == 2
        claims = jwt.decode(tokens[1], options={"verify_signature": False})
        assert "uri" not in claims
        assert session.granted == ("user",)
        assert await session.arm_dead_man() is False


async def test_it_is_live_only_when_the_last_batch_of_the_snapshot_has_come(web: FakeWeb, wide: AdvancedTrade) -> None:
    socket = Slow()
    web.on("GET /orders/historical/batch", _only_open([order_row("o-1")]))
    web.wires.append(socket)
    opening = asyncio.create_task(wide.session(()).__aenter__())
    while not socket.sent or socket.sent[-1]["channel"] != "user":
        await asyncio.sleep(0.01)
    socket.say("user", [{"type": "snapshot", "orders": [pushed(order_id=f"o-{n}") for n in range(BATCH)]}])
    await asyncio.sleep(0.3)
    assert not opening.done()
    assert web.count("GET /cfm/positions") == 0  # nothing was read for it yet
    socket.say("user", [{"type": "snapshot", "orders": [pushed()]}])
    async with asyncio.timeout(WITHIN_S):
        session = await opening
        resumed, before = await until(session, FeedResumed, channel="user")
    assert [order.order_id for order in resumed.orders] == ["o-1"]
    assert not any(isinstance(event, OrderSeen) for event in before)
    await session.__aexit__(None, None, None)


async def test_a_fill_is_told_once_before_its_order_however_often_it_is_pushed(
    web: FakeWeb, wide: AdvancedTrade
) -> None:
    socket = Socket()
    web.on("GET /orders/historical/batch", _only_open([order_row("o-1")]))
    async with live(wide, web, socket) as session:
        await until(session, FeedResumed, channel="user")
        rows = [fill_row("e1")]
        web.on("GET /orders/historical/fills", lambda query, body: {"fills": rows, "cursor": ""})
        socket.say("user", [{"type": "update", "orders": [pushed("1", "2")]}])
        _, before = await until(session, OrderSeen)
        assert _fills(before) == ["e1"]
        rows.append(fill_row("e2", trade_time="2026-11-25T13:00:01Z"))
        told = [{"type": "update", "orders": [pushed("2", "1")]}]
        socket.say("user", told)
        socket.say("user", told)
        order, before = await until(session, OrderSeen)
        assert _fills(before) == ["e2"]
        assert (order.order.filled, order.order.size, order.order.price) == (Decimal("0.02"), Decimal("0.03"), 84000)
        socket.say("user", [{"type": "update", "orders": [pushed("2", "0", status="CANCELLED")]}])
        socket.say("user", told)
        ended, before = await until(session, OrderSeen)
        assert ended.order.status is OrderStatus.CANCELLED
        assert not [event for event in before if isinstance(event, FillSeen | OrderSeen)]


async def test_an_order_that_un_fills_is_refused_and_everything_is_read_anew(web: FakeWeb, wide: AdvancedTrade) -> None:
    socket = Socket()
    web.on("GET /orders/historical/batch", _only_open([order_row("o-1", filled_size="2")]))
    async with live(wide, web, socket) as session:
        await until(session, FeedResumed, channel="user")
        socket.say("user", [{"type": "update", "orders": [pushed("1", "2")]}])
        lost, before = await until(session, FeedLost, channel="user")
        assert "un-filled" in lost.cause
        assert not any(isinstance(event, OrderSeen) for event in before)
        resumed, _ = await until(session, FeedResumed, channel="user")
        assert resumed.orders[0].filled == Decimal("0.02")


async def test_a_gap_ends_the_connection_and_the_other_host_is_tried(web: FakeWeb, wide: AdvancedTrade) -> None:
    first, second = Socket(), Socket()
    async with live(wide, web, first, second) as session:
        await until(session, FeedResumed, channel="user")
        first.say("user", [{"type": "update", "orders": []}], skip=1)
        lost, _ = await until(session, FeedLost, channel="user")
        assert "a gap" in lost.cause
        await until(session, FeedResumed, channel="user")
        assert web.hosts == ["wss://user", "wss://market"]


async def test_three_missing_heartbeats_are_a_dead_socket(web: FakeWeb, wide: AdvancedTrade) -> None:
    silent = Socket(beats=False)
    async with live(wide, web, silent, Socket()) as session:
        lost, _ = await until(session, FeedLost, channel="user")
        assert "heartbeat" in lost.cause
        await until(session, FeedResumed, channel="user")


@pytest.mark.parametrize(
    "message",
    [{"type": "error", "message": "authentication failure"}, b"<html>", {"channel": "user"}, {"events": []}, []],
)
async def test_what_cannot_be_read_ends_the_connection(web: FakeWeb, wide: AdvancedTrade, message: Any) -> None:
    first = Socket()
    async with live(wide, web, first, NotSent("no connection"), Socket()) as session:
        await until(session, FeedResumed, channel="user")
        first.raw(message)
        await until(session, FeedLost, channel="user")
        await until(session, FeedResumed, channel="user")
        assert len(web.hosts) == 3


async def test_a_quote_is_told_in_a_still_market_whatever_comes_first(
    web: FakeWeb, clock: ManualClock, key_file: Path
) -> None:
    """A product that is listed after its book came waits for no news of the book; the quote is as old as the book."""
    access = Access(http=ROOT, ws="wss://user", streams="wss://market", key_file=key_file)
    rest = Rest(access, clock, Budget(clock), web)
    listing, inbox = Listing(rest), Inbox()
    market = MarketEnd([await listing.unit(BIP)], inbox, clock, listing)
    touch = (("bid", "84100"), ("offer", "84105"))
    levels = [{"side": side, "price_level": price, "new_quantity": "3"} for side, price in touch]
    market.heard("l2_data", [{"type": "snapshot", "product_id": BIP, "updates": levels}], "2026-11-25T13:00:00Z")
    came = clock.monotonic()
    await clock.sleep(1.0)
    keeping = asyncio.create_task(market.keep_listed())
    try:
        async with asyncio.timeout(WITHIN_S):
            while not isinstance(event := await inbox.take(), QuoteSeen):
                pass
    finally:
        keeping.cancel()
    assert (event.quote.bid, event.quote.ask, event.quote.seen) == (84100, 84105, came)


async def test_the_book_is_kept_level_by_level_and_a_quote_is_made_of_its_touch(
    web: FakeWeb, wide: AdvancedTrade
) -> None:
    user, market = Socket(), Socket()

    def level(side: str, price: str, amount: str) -> dict[str, str]:
        return {"side": side, "price_level": price, "new_quantity": amount}

    web.wires.extend([user, market])
    async with asyncio.timeout(WITHIN_S), wide.session(["BTC-PERP"]) as session:
        while not any(message["channel"] == "level2" for message in market.sent):
            await asyncio.sleep(0.01)
        updates = [level("bid", "84100", "3"), level("bid", "84095", "9"), level("offer", "84105", "4")]
        market.say("l2_data", [{"type": "snapshot", "product_id": BIP, "updates": updates}])
        book, _ = await until(session, BookSeen)
        assert book.book.bids[0] == (84100, Decimal("0.03"))
        updates = [level("bid", "84100", "0"), level("offer", "84105", "6.00")]
        market.say("l2_data", [{"type": "update", "product_id": BIP, "updates": updates}])
        while True:
            quote, _ = await until(session, QuoteSeen)
            if quote.quote.bid == 84095:
                break
        assert (quote.quote.ask, quote.quote.ask_size, quote.quote.mark) == (84105, Decimal("0.06"), None)
        assert quote.quote.index == Decimal("84101.5")
        market.hang_up()
        await until(session, FeedLost, channel=f"book.{BIP}")


def _only_open(rows: list[dict[str, Any]]) -> Any:
    def listed(query: dict[str, list[str]], body: Any) -> Any:
        shown = query.get("order_status") == ["OPEN"] and query["order_placement_source"] == ["RETAIL_ADVANCED"]
        known = "order_ids" in query
        return {"orders": rows if shown or known else [], "has_next": False}

    return listed


def _fills(events: list[Any]) -> list[str]:
    return [event.fill.trade_id for event in events if isinstance(event, FillSeen)]
