"""A bot that starts right after a fill: while reads may be old, what it holds is proven before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from perpctl.clock import to_ms
from perpctl.model.fill import Fill
from perpctl.model.order import Side
from perpctl.store.journal import Journal
from perpctl.store.projections import Projections
from perpctl.store.records import Writer
from tests.engine.test_transfers import Desk, Told
from tests.engine.test_transfers import at as in_virtual_time  # noqa: F401 - a fixture
from tests.store import stock

LAG_S = 60.0
NEVER = float("inf")
WRITER = Writer("t", "run", "t", 0, "0", "paper", "global", "t", bot_id="t")  # of the desk's own runs


@pytest.fixture
def told(request: pytest.FixtureRequest) -> Told:
    found: Told = request.getfixturevalue("in_virtual_time")
    return found


class Late:
    """The exchange: flat, as it is; the fill of the stop that closed the position is shown only after a while."""

    def __init__(self, desk: Desk, after_s: float, lag_s: float) -> None:
        self._desk = desk
        self._shown_at = desk.clock.monotonic() + after_s
        self.terms = structs.replace(desk.stage.client.terms, reads_lag_s=lag_s)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._desk.stage.client, name)

    async def fills(self, since_ms: int) -> tuple[Fill, ...]:
        shown = self._desk.clock.monotonic() >= self._shown_at
        return (stock.fill("t2", "o2", side=Side.SELL, at_ms=to_ms(self._desk.clock.now())),) if shown else ()


def bought(desk: Desk) -> None:
    """Our books hold what a stop has sold meanwhile."""
    with Journal.open(desk.directory / "journal.db", WRITER, desk.clock, durable=False) as journal:
        Projections(journal).book_fill(stock.fill("t1", "o1", at_ms=to_ms(desk.clock.now())), "reply")


async def opened_after_s(desk: Desk, shown_after_s: float, lag_s: float = LAG_S) -> float:
    began, exchange = desk.clock.monotonic(), Late(desk, shown_after_s, lag_s)
    with desk.bot(exchange) as opening:
        bot = await opening()
        assert {one.position for one in bot.core.products.values()} == {0}
    return desk.clock.monotonic() - began


def test_it_waits_for_the_fill_that_explains_what_the_venue_holds(told: Told) -> None:
    async def story(desk: Desk) -> None:
        bought(desk)
        assert 7 <= await opened_after_s(desk, 7) < 10
        with Journal.open(desk.directory / "journal.db", WRITER, desk.clock, durable=False) as journal:
            assert Projections(journal).positions() == ()

    told(story)


def test_it_waits_no_longer_than_reads_can_be_old(told: Told) -> None:
    async def story(desk: Desk) -> None:
        bought(desk)
        assert LAG_S <= await opened_after_s(desk, NEVER) < LAG_S + 3

    told(story)


def test_where_reads_are_never_old_it_waits_for_nothing(told: Told) -> None:
    async def story(desk: Desk) -> None:
        bought(desk)
        assert await opened_after_s(desk, NEVER, lag_s=0) < 2

    told(story)


def test_books_that_begin_now_have_nothing_to_differ_by(told: Told) -> None:
    async def story(desk: Desk) -> None:
        assert await opened_after_s(desk, NEVER) < 2

    told(story)
