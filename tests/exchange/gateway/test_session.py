"""A live session: caught up before it counts, alive or noticed dead, orders on the private socket once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.errors import CredentialError, UsageError, VenueUnreachable
from perpctl.exchange.gateway.session import GatewaySession
from perpctl.exchange.port import (
    Beat,
    BookSeen,
    Confirmed,
    FeedLost,
    FeedResumed,
    FillSeen,
    MaySend,
    OrderSeen,
    PositionSeen,
    QuoteSeen,
    Refused,
    SessionEvent,
    Unknown,
)
from tests.exchange.gateway.venue import (
    BTC,
    START,
    START_MS,
    Refusal,
    SteppedClock,
    Venue,
    breathe,
    connect,
    order_row,
    position_row,
    request,
    trade_row,
)

TICKER = f"ticker.{BTC}.100ms"
BOOK = f"book.{BTC}.100ms"
CHANGES = "user.changes.any.any.raw"


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(START)


@pytest.fixture
def venue(clock: SteppedClock) -> Venue:
    venue = Venue(clock)
    venue.answers |= {
        "public/subscribe": lambda params: params["channels"],
        "public/unsubscribe": lambda params: params["channels"],
        "private/subscribe": lambda params: params["channels"],
        "private/enable_cancel_on_disconnect": "ok",
        "private/get_cancel_on_disconnect": lambda params: {**params, "enabled": params["scope"] == "connection"},
        "private/buy": {"order": order_row(), "trades": []},
    }
    return venue


@asynccontextmanager
async def live(venue: Venue, folder: Path, may_send: MaySend | None = None) -> AsyncIterator[GatewaySession]:
    async with connect(venue, folder, may_send).session(["BTC-PERP"]) as session:
        assert isinstance(session, GatewaySession)
        await breathe()
        yield session
    await venue.aclose()


async def drain(session: GatewaySession) -> list[SessionEvent]:
    """All that is waiting."""
    found: list[SessionEvent] = []
    while True:
        try:
            async with asyncio.timeout(0.01):
                found.append(await anext(session))
        except TimeoutError:
            return found


def ticker(at_ms: int = START_MS, bid: float = 80000) -> dict[str, Any]:
    return {"instrument_name": BTC, "timestamp": at_ms, "state": "open", "best_bid_price": bid, "best_ask_price": 80001}


def snapshot(change_id: int = 10) -> dict[str, Any]:
    sides = {"bids": [["new", 80000, 1], ["new", 79999, 2]], "asks": [["new", 80001, 3]]}
    return {"type": "snapshot", "instrument_name": BTC, "timestamp": START_MS, "change_id": change_id, **sides}


def change(change_id: int, before: int) -> dict[str, Any]:
    sides = {"bids": [["delete", 80000, 0]], "asks": [["change", 80001, 0.5]]}
    ids = {"change_id": change_id, "prev_change_id": before}
    return {"type": "change", "instrument_name": BTC, "timestamp": START_MS, **ids, **sides}


async def test_the_user_channel_is_live_once_the_snapshot_is_in(venue: Venue, tmp_path: Path) -> None:
    venue.answers["private/get_open_orders"] = [order_row()]
    venue.answers["private/get_positions"] = [position_row()]
    async with live(venue, tmp_path) as session:
        (event,) = await drain(session)
        assert isinstance(event, FeedResumed)
        assert event.channel == "user"
        assert [order.order_id for order in event.orders or ()] == ["USDC-1"]
        assert [position.size for position in event.positions or ()] == [Decimal("0.01")]
        names = [name for name, _ in venue.calls]
        assert names.index("private/subscribe") < names.index("private/get_positions")
        assert session.granted[:1] == (CHANGES,)


async def test_what_is_told_during_the_snapshot_comes_after_it(venue: Venue, tmp_path: Path) -> None:
    """A message that overtakes the snapshot is neither lost nor allowed to undo it."""
    filled = order_row(order_state="filled", filled_amount=0.01, last_update_timestamp=START_MS + 5)

    def listing(params: dict[str, Any]) -> Any:
        line = venue.lines["ws"][-1]
        asyncio.get_running_loop().create_task(venue.tell(CHANGES, {"orders": [order_row()], "trades": []}, "ws"))
        assert line is not None
        return [filled, order_row(order_id="USDC-9")]

    venue.answers["private/get_open_orders"] = listing
    venue.answers["private/get_user_trades_by_currency_and_time"] = lambda params: {"trades": [], "has_more": False}
    async with live(venue, tmp_path) as session:
        events = await drain(session)
        assert [type(event) for event in events] == [FeedResumed]  # the older state of USDC-1 is dropped
        later = order_row(order_state="cancelled", last_update_timestamp=START_MS + 9)
        content = {"orders": [later], "trades": [trade_row(1)], "positions": [position_row()]}
        await venue.tell(CHANGES, content, "ws")
        events = await drain(session)
        assert [type(event) for event in events] == [FillSeen, OrderSeen, PositionSeen]


async def test_quotes_and_books_flow_and_only_the_latest_is_kept(venue: Venue, tmp_path: Path) -> None:
    async with live(venue, tmp_path) as session:
        await drain(session)
        for bid in (80000, 80000.5, 80001.5):
            await venue.tell(TICKER, ticker(bid=bid))
        await venue.tell(BOOK, snapshot())
        await venue.tell(BOOK, change(11, 10))
        await breathe()
        resumed, also, quote, book = await drain(session)
        assert (resumed, also) == (FeedResumed(TICKER), FeedResumed(BOOK))
        assert isinstance(quote, QuoteSeen)
        assert quote.quote.bid == Decimal("80001.5")
        assert isinstance(book, BookSeen)
        assert book.book.bids == ((Decimal(79999), Decimal(2)),)
        assert book.book.asks == ((Decimal(80001), Decimal("0.5")),)


async def test_a_gap_in_the_book_is_said_and_mended_by_a_new_snapshot(venue: Venue, tmp_path: Path) -> None:
    async with live(venue, tmp_path) as session:
        await venue.tell(BOOK, snapshot())
        await breathe()
        await drain(session)
        await venue.tell(BOOK, change(13, 12))
        await breathe()
        (lost,) = await drain(session)
        assert isinstance(lost, FeedLost)
        assert lost.channel == BOOK
        assert venue.sent("public/unsubscribe") == {"channels": [BOOK]}
        assert venue.sent("public/subscribe") == {"channels": [BOOK]}
        await venue.tell(BOOK, change(14, 13))  # still under way: says nothing, and asks for nothing more
        await venue.tell(BOOK, snapshot(20))
        await breathe()
        assert [type(event) for event in await drain(session)] == [FeedResumed, BookSeen]
        assert venue.count("public/subscribe") == 2


async def test_a_channel_left_out_by_the_venue_is_named(venue: Venue, tmp_path: Path) -> None:
    venue.answers["public/subscribe"] = [TICKER]
    async with live(venue, tmp_path) as session:
        assert session.refused == (BOOK,)
        assert FeedLost(BOOK, "the venue left it out of the subscription") in await drain(session)


async def test_a_session_without_the_user_channel_does_not_come_up(venue: Venue, tmp_path: Path) -> None:
    venue.answers["private/subscribe"] = []
    with pytest.raises(VenueUnreachable, match="out of the subscription"):
        async with live(venue, tmp_path):
            pass


async def test_a_key_that_is_refused_ends_the_first_connection(venue: Venue, tmp_path: Path) -> None:
    def refuse(params: dict[str, Any]) -> Any:
        raise Refusal(13004, "invalid_credentials")

    venue.answers["public/auth"] = refuse
    with pytest.raises(CredentialError):
        async with live(venue, tmp_path):
            pass


async def test_an_unknown_symbol_opens_no_socket(venue: Venue, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        async with connect(venue, tmp_path).session(["DOGE-PERP"]):
            pass
    assert venue.lines["ws"] == []


async def test_a_closed_socket_is_said_for_every_channel_and_comes_back_caught_up(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    async with live(venue, tmp_path) as session:
        await venue.tell(TICKER, ticker())
        await breathe()
        await drain(session)
        for lines in venue.lines.values():
            await lines[-1].close()
        await breathe()
        lost = {event.channel for event in await drain(session) if isinstance(event, FeedLost)}
        assert lost == {"user", TICKER, BOOK}
        assert await session.place(request()) == Refused(
            None, "not sent: the private socket is down: hung up", sent=False
        )
        venue.answers["private/get_user_trades_by_currency_and_time"] = {"trades": [trade_row(7)], "has_more": False}
        await clock.pass_by(4)
        resumed = [event for event in await drain(session) if isinstance(event, FeedResumed)]
        assert [fill.trade_id for fill in resumed[0].fills or ()] == ["USDC-7"]
        assert len(venue.lines["ws"]) == 2


async def test_connects_are_never_closer_than_two_seconds(venue: Venue, clock: SteppedClock, tmp_path: Path) -> None:
    async with live(venue, tmp_path):
        for _ in range(100):
            await clock.pass_by(0.1)
            await venue.lines["ws"][-1].close()
        assert 2 <= len(venue.lines["ws"]) <= 6


async def test_a_half_open_socket_is_noticed_within_three_seconds(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    """No goodbye, no data: the probe's missing answer is what tells."""
    from perpctl.exchange.gateway.feed import link

    assert link.PROBE_EVERY_S + link.PROBE_S <= 3.0
    async with live(venue, tmp_path) as session:
        await clock.pass_by(1.5)
        assert any(isinstance(event, Beat) for event in await drain(session))
        silent = asyncio.Event()

        async def say_nothing(frame: bytes) -> None:
            silent.set()

        for end in (venue.lines["ws"][-1], venue.lines["streams"][-1]):
            end.send = say_nothing  # type: ignore[method-assign]
        await clock.pass_by(1.2)
        assert silent.is_set()
        async with asyncio.timeout(link.PROBE_S + 1):
            causes = [event.cause for _ in range(2) if isinstance(event := await anext(session), FeedLost)]
        assert any("no answer within 2 s" in cause for cause in causes)


async def test_a_test_request_is_answered_at_once(venue: Venue, tmp_path: Path) -> None:
    async with live(venue, tmp_path):
        before = venue.count("public/test")
        await venue.lines["ws"][-1].send(b'{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}')
        await breathe()
        assert venue.count("public/test") == before + 1
        assert venue.sent("public/set_heartbeat") == {"interval": 10}


async def test_a_silent_ticker_is_compared_with_what_the_venue_says(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    async with live(venue, tmp_path) as session:
        await venue.tell(TICKER, ticker())
        await venue.tell(BOOK, snapshot())
        await breathe()
        await drain(session)
        venue.answers["public/ticker"] = lambda params: ticker(START_MS + int(clock.monotonic() * 1000))
        await clock.pass_by(8)  # a quiet market: the same quote with a new time, confirmed
        events = await drain(session)
        assert not any(isinstance(event, FeedLost) for event in events)
        confirmed = [event.quote.seen for event in events if isinstance(event, QuoteSeen)]
        assert confirmed
        assert confirmed[-1] >= clock.monotonic() - 8
        venue.answers["public/ticker"] = ticker(bid=80000.5)  # it moved without telling us
        await clock.pass_by(8)
        assert any(isinstance(event, FeedLost) and event.channel == TICKER for event in await drain(session))


async def test_channels_that_stay_silent_from_the_start_are_named(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    async with live(venue, tmp_path) as session:
        await clock.pass_by(8)
        lost = {event.channel for event in await drain(session) if isinstance(event, FeedLost)}
        assert lost == {TICKER, BOOK}


async def test_the_socket_signs_in_again_before_its_access_ends(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    venue.answers["public/auth"] = {"access_token": "T", "expires_in": 10}
    async with live(venue, tmp_path):
        before = venue.count("public/auth")
        await clock.pass_by(9)
        assert venue.count("public/auth") > before
        assert len(venue.lines["ws"]) == 1


async def test_the_dead_man_is_armed_for_the_connection_and_read_back(venue: Venue, tmp_path: Path) -> None:
    async with live(venue, tmp_path) as session:
        assert await session.arm_dead_man() is True
        assert venue.sent("private/enable_cancel_on_disconnect") == {"scope": "connection"}
        assert not session.account_wide_dead_man
        venue.answers["private/get_cancel_on_disconnect"] = {"enabled": False, "scope": "connection"}
        assert await session.arm_dead_man() is False


async def test_no_order_goes_over_a_new_connection_before_the_dead_man_is_armed_again(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    async with live(venue, tmp_path) as session:
        assert await session.arm_dead_man()
        venue.answers["private/get_cancel_on_disconnect"] = {"enabled": False, "scope": "connection"}
        await venue.lines["ws"][-1].close()
        await clock.pass_by(5)
        outcome = await session.place(request())
        assert isinstance(outcome, Refused)
        assert not outcome.sent
        assert venue.count("private/buy") == 0


async def placed(session: GatewaySession, clock: SteppedClock) -> Any:
    """Place, letting the time pass that measuring the venue's clock takes."""
    task = asyncio.create_task(session.place(request()))
    await clock.pass_by(0.3)
    return await task


async def test_an_order_goes_over_the_private_socket_with_its_moment(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    async with live(venue, tmp_path) as session:
        outcome = await placed(session, clock)
        assert isinstance(outcome, Confirmed)
        valid_until = venue.sent("private/buy")["valid_until"]
        assert 3000 <= valid_until - START_MS <= 3400
        assert venue.count("private/buy") == 1


async def test_an_order_whose_socket_dies_is_unknown(venue: Venue, clock: SteppedClock, tmp_path: Path) -> None:
    async with live(venue, tmp_path) as session:

        def hang_up(params: dict[str, Any]) -> Any:
            venue.drop("ws")
            return {"order": order_row(), "trades": []}

        venue.answers["private/buy"] = hang_up
        outcome = await placed(session, clock)
        assert isinstance(outcome, Unknown)
        assert outcome.valid_until_ms is not None
        assert venue.count("private/buy") == 1


async def test_a_latch_holds_back_entries_and_lets_exits_pass(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    async with live(venue, tmp_path, may_send=lambda order: "halted") as session:
        assert await placed(session, clock) == Refused(None, "not sent: halted", sent=False)
        assert venue.count("private/buy") == 0
        assert isinstance(await session.place(replace(request(), reduce_only=True)), Confirmed)


async def test_a_lapsed_sign_in_is_renewed_and_the_order_goes_once_more(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    refusals = [13009]

    def buy(params: dict[str, Any]) -> Any:
        if refusals:
            raise Refusal(refusals.pop())
        return {"order": order_row(), "trades": []}

    venue.answers["private/buy"] = buy
    async with live(venue, tmp_path) as session:
        assert isinstance(await placed(session, clock), Confirmed)
        assert venue.count("private/buy") == 2


async def test_leaving_orders_ends_with_a_log_out(venue: Venue, tmp_path: Path) -> None:
    def hang_up(params: dict[str, Any]) -> Any:
        venue.drop("ws")

    venue.answers["private/logout"] = hang_up
    async with live(venue, tmp_path) as session:
        await session.leave_orders()
        assert venue.count("private/logout") == 1
        await drain_to_end(session)


async def test_orders_are_not_said_to_be_left_when_the_socket_is_gone(
    venue: Venue, clock: SteppedClock, tmp_path: Path
) -> None:
    async with live(venue, tmp_path) as session:
        venue.drop("ws")
        await breathe()
        with pytest.raises(VenueUnreachable, match="logout"):
            await session.leave_orders()


async def test_in_memory_nothing_is_probed_and_market_time_is_asked_each_time(venue: Venue, tmp_path: Path) -> None:
    """A simulation moves time itself: no timers of ours may run, and none may be waited for."""
    venue.is_remote = False
    async with live(venue, tmp_path) as session:
        before = venue.count("public/get_time")
        assert isinstance(await session.place(request()), Confirmed)
        assert isinstance(await session.place(request()), Confirmed)
        assert venue.count("public/get_time") == before + 2
        assert venue.count("public/test") == venue.count("public/set_heartbeat") == 0


async def drain_to_end(session: GatewaySession) -> None:
    async for _ in session:
        pass


@pytest.mark.parametrize("frame", [b"\xff\xfe", b"[]", b"{", b"null", b'{"method":"subscription","params":{}}'])
async def test_a_frame_that_cannot_be_read_starts_the_connection_over(
    venue: Venue, tmp_path: Path, frame: bytes
) -> None:
    async with live(venue, tmp_path) as session:
        await drain(session)
        await venue.lines["ws"][-1].send(frame)
        await breathe()
        (lost,) = await drain(session)
        assert isinstance(lost, FeedLost)
        assert "unreadable" in lost.cause
