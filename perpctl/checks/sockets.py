"""This file opens a live connection and listens: who was granted, who spoke first and when, who stayed silent."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perpctl.errors import ExitCode
from perpctl.exchange.port import Beat, BookSeen, FeedLost, FeedResumed, QuoteSeen, Session, SessionEvent
from perpctl.results import Answer, Block, Column, Json, Line, Next, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk

FIRST_MESSAGE_S = 5.0
BOOK, QUOTE, USER, BEAT = "book", "ticker", "user", "heartbeat"
_SHOWN = {QUOTE: "quote"}  # the touch, from whichever channel the venue tells it on


@dataclass(slots=True)
class Heard:
    """Seconds from the connection to the first message of each kind; `silent` never spoke in time."""

    connected_s: float = 0.0
    granted: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    first: dict[str, float] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    @property
    def silent(self) -> tuple[str, ...]:
        """The kinds that every trading session needs and that did not come."""
        return tuple(kind for kind in (USER, BOOK, QUOTE) if kind not in self.first)


async def arm_dead_man(desk: Desk) -> bool:
    """Arm cancel-on-disconnect on a connection of its own, which is closed again."""
    exchange = await desk.exchange()
    async with exchange.session(()) as session:
        return await session.arm_dead_man()


async def listen(desk: Desk, symbols: tuple[str, ...], within_s: float = FIRST_MESSAGE_S) -> Heard:
    """Connect, authenticate, subscribe, and wait at most `within_s` for the first message of each kind."""
    exchange = await desk.exchange()
    began, heard = desk.clock.monotonic(), Heard()
    async with exchange.session(symbols or desk.settings.symbols) as session:
        heard.connected_s = desk.clock.monotonic() - began
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await _hear(desk, session, heard, began)
        heard.granted, heard.refused = session.granted, session.refused
    return heard


async def _hear(desk: Desk, session: Session, heard: Heard, began: float) -> None:
    async for event in session:
        if isinstance(event, FeedLost):
            heard.lost.append(f"{event.channel}: {event.cause}")
        elif (kind := _kind(event)) is not None:
            heard.first.setdefault(kind, _arrived(event, desk.clock.monotonic()) - began)
        if not heard.silent:
            return


def _arrived(event: SessionEvent, now: float) -> float:
    """When it came in: a session that opens holds back what came until it has all it needs."""
    match event:
        case BookSeen(book):
            return book.seen
        case QuoteSeen(quote):
            return quote.seen
    return now


def _kind(event: SessionEvent) -> str | None:
    match event:
        case BookSeen():
            return BOOK
        case QuoteSeen():
            return QUOTE
        case FeedResumed(channel) if channel.startswith("user"):
            return USER
        case Beat():
            return BEAT
    return None


async def test(desk: Desk, symbols: tuple[str, ...]) -> Answer:
    """Exit 0 when every channel was granted and heard; 1 when one was refused or silent, named."""
    heard = await listen(desk, symbols)
    rows = [Row({"what": "connect and sign in", "state": "PASS", "after": f"{heard.connected_s * 1000:.0f} ms"})]
    for kind in (USER, BOOK, QUOTE):
        after = heard.first.get(kind)
        state = "PASS" if after is not None else f"SILENT for {FIRST_MESSAGE_S:.0f} s"
        cells = {"what": f"first {_SHOWN.get(kind, kind)} message", "state": state}
        cells["after"] = "" if after is None else f"{after * 1000:.0f} ms"
        rows.append(Row(cells, tone=Tone.PLAIN if after is not None else Tone.BAD))
    rows += [Row({"what": channel, "state": "REFUSED", "after": ""}, tone=Tone.BAD) for channel in heard.refused]
    good = not heard.silent and not heard.refused
    columns = (Column("what", "WHAT"), Column("state", "RESULT"), Column("after", "AFTER", True))
    granted = tuple(Line(f"granted  {channel}") for channel in heard.granted)
    lost = tuple(Line(f"lost     {words}", Tone.WARN) for words in heard.lost)
    verdict = Line("every channel granted and heard" if good else "NOT EVERY CHANNEL WORKS", _tone(good), mark=not good)
    facts: dict[str, Json] = {
        "connected_ms": int(heard.connected_s * 1000),
        "granted": list(heard.granted),
        "refused": list(heard.refused),
        "first_ms": {kind: int(after * 1000) for kind, after in heard.first.items()},
        "silent": list(heard.silent),
    }
    name = desk.settings.profile
    after_that = Next(() if good else (f"perpctl -p {name} auth test", f"perpctl -p {name} market status"))
    view: tuple[Block, ...] = (Table(columns, tuple(rows)), *granted, *lost, verdict, after_that)
    code = ExitCode.OK if good else ExitCode.NEGATIVE
    return Answer("perpctl.ws.test/1", await desk.scope(), facts, view, code)


def _tone(good: bool) -> Tone:
    return Tone.GOOD if good else Tone.BAD
