"""This file reads long lists to their end: trades, orders and ledger rows, page by page, each row once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from msgspec import Struct

from perpctl.errors import VenueUnreachable
from perpctl.exchange.gateway import wire
from perpctl.exchange.gateway.line import Line
from perpctl.exchange.gateway.rpc import Param
from perpctl.exchange.repeats import HISTORY, PAGE
from perpctl.model.books.funding import FundingPayment
from perpctl.model.fill import Fill
from perpctl.model.order import Order

MAX_PAGES = 500
PAGE_ROWS = 1000  # the venue's maximum for orders and trades
LEDGER_ROWS = 250
LATE_MS = 300_000  # a row may show so much later than its time
RECENT_MS = 20 * 3_600_000  # live endpoints keep trades for about a day (Deribit docs, historical data)
T = TypeVar("T")
Owner = Mapping[str, Param]  # {} for the account itself, {"subaccount_id": N} for a slot


async def fills(line: Line, currency: str, since_ms: int, until_ms: int, owner: Owner) -> list[Fill]:
    """Every trade of one account in [since, until], oldest first: the live ones, and the archive when they are old."""
    archives = (False, True) if until_ms - since_ms > RECENT_MS else (False,)
    found: dict[str, Fill] = {}
    for historical in archives:
        for row in await _trades(line, currency, (since_ms, until_ms), {**owner, "historical": historical}):
            found.setdefault(row.trade_id, row)
    return sorted(found.values(), key=lambda fill: (fill.at_ms, fill.trade_seq or 0, fill.trade_id))


async def _trades(line: Line, currency: str, window: tuple[int, int], extra: Owner) -> list[Fill]:
    """Pages by trade id: trades of one millisecond would slip between pages cut by time."""
    method = "private/get_user_trades_by_currency_and_time"
    start, end = window
    shared: dict[str, Param] = {"currency": currency, "count": PAGE_ROWS, "sorting": "asc", **extra}
    params: dict[str, Param] = {**shared, "start_timestamp": start, "end_timestamp": end}
    found: dict[str, Fill] = {}
    for _ in range(MAX_PAGES):
        page, more = await _page(line, method, params)
        before = len(found)
        found |= {fill.trade_id: fill for fill in page if start <= fill.at_ms <= end}
        if not more or not page or page[-1].at_ms > end:
            return list(found.values())
        if len(found) == before:
            break
        method, params = "private/get_user_trades_by_currency", {**shared, "start_id": page[-1].trade_id}
    raise _endless(method)


async def _page(line: Line, method: str, params: Owner) -> tuple[list[Fill], bool]:
    def parse(result: object) -> tuple[list[Fill], bool]:
        row = wire.row_of(result, "the page")
        return [wire.fill(item) for item in wire.rows_of(row.get("trades"), "trades")], row.get("has_more") is True

    return await line.read(method, params, parse, PAGE)


async def orders(line: Line, currency: str, since_ms: int, owner: Owner) -> list[Order]:
    """Every finished order touched since then, live and archived merged by id, the newest state of each."""
    found: dict[str, Order] = {}
    for historical in (False, True):
        for order in await _orders(line, currency, since_ms, {**owner, "historical": historical}):
            known = found.get(order.order_id)
            if known is None or order.updated_ms > known.updated_ms:
                found[order.order_id] = order
    return sorted(found.values(), key=lambda order: (order.created_ms, order.order_id))


async def _orders(line: Line, currency: str, since_ms: int, extra: Owner) -> list[Order]:
    params: dict[str, Param] = {
        "currency": currency,
        "count": PAGE_ROWS,
        "include_old": True,
        "include_unfilled": True,
        "with_continuation": True,
        **extra,
    }

    def parse(row: wire.Row) -> tuple[int, Order]:
        order = wire.order(row)
        return order.updated_ms, order

    rows = await _continued(line, "private/get_order_history_by_currency", params, _Shape("orders", parse), since_ms)
    return [order for at_ms, order in rows if at_ms >= since_ms]


async def settlements(
    line: Line, currency: str, window: tuple[int, int], slot: int | None, owner: Owner
) -> list[FundingPayment]:
    """The funding in the daily settlement rows of one account's ledger."""
    params: dict[str, Param] = {
        "currency": currency,
        "start_timestamp": window[0],
        "end_timestamp": window[1],
        "query": "settlement",
        "count": LEDGER_ROWS,
        **owner,
    }

    def parse(row: wire.Row) -> tuple[int, FundingPayment | None]:
        return wire.whole(row, "timestamp"), wire.settlement(row, slot)

    rows = await _continued(line, "private/get_transaction_log", params, _Shape("logs", parse), window[0])
    return [payment for _, payment in rows if payment is not None]


class Moves:
    """Cash that came into the account itself or left it, by its ledger; what was read is not asked for again."""

    def __init__(self, line: Line, currency: str) -> None:
        self._line, self._currency = line, currency
        self._found: dict[str, wire.Move] = {}
        self._since_ms: int | None = None
        self._until_ms = 0

    async def between(self, since_ms: int, until_ms: int) -> list[wire.Move]:
        """Each row once. The ledger has a purse of one request a second, for everybody who uses the key."""
        is_kept = self._since_ms is not None and since_ms >= self._since_ms
        start_ms = max(since_ms, self._until_ms - LATE_MS) if is_kept else since_ms
        self._found |= {one.transfer.row_id: one for one in await self._read(start_ms, until_ms)}
        if not is_kept:
            self._since_ms = since_ms
        self._until_ms = max(self._until_ms, until_ms)
        return [one for one in self._found.values() if one.transfer.at_ms >= since_ms]

    async def _read(self, since_ms: int, until_ms: int) -> list[wire.Move]:
        """One page of everything; where that is not all, by keyword, for trades would fill the pages."""

        def parse(row: wire.Row) -> tuple[int, wire.Move | None]:
            return wire.whole(row, "timestamp"), wire.move(row)

        shape, method = _Shape("logs", parse), "private/get_transaction_log"
        params: dict[str, Param] = {
            "currency": self._currency,
            "start_timestamp": since_ms,
            "end_timestamp": until_ms,
            "count": LEDGER_ROWS,
        }
        rows, following = await self._line.read(method, params, shape.page, HISTORY)
        if following:
            for word in sorted(wire.MOVES):
                rows += await _continued(self._line, method, {**params, "query": word}, shape, since_ms)
        return [one for _, one in rows if one is not None]


class _Shape(Struct, Generic[T], frozen=True):
    """Where the rows of a page are, and how one is read, with its time."""

    member: str
    parse: Callable[[wire.Row], tuple[int, T]]

    def page(self, result: object) -> tuple[list[tuple[int, T]], str | int | None]:
        answer = wire.row_of(result, "the page")
        rows = wire.rows_of(answer.get(self.member), self.member)
        following = answer.get("continuation")
        if following is not None and not isinstance(following, str | int):
            raise wire.Malformed("continuation is neither text nor number")
        return [self.parse(row) for row in rows], following


async def _continued(
    line: Line, method: str, params: dict[str, Param], shape: _Shape[T], since_ms: int
) -> list[tuple[int, T]]:
    """Rows of a list that goes on with a continuation, newest first, until a whole page is older than `since_ms`."""
    rows: list[tuple[int, T]] = []
    seen: set[str | int] = set()
    for _ in range(MAX_PAGES):
        page, following = await line.read(method, params, shape.page, HISTORY)
        rows.extend(page)
        if not following or all(at_ms < since_ms for at_ms, _ in page):
            return rows
        if following in seen:
            break
        seen.add(following)
        params = {**params, "continuation": following}
    raise _endless(method)


def _endless(method: str) -> VenueUnreachable:
    return VenueUnreachable(f"{method}: its pages do not come to an end", not_done="the list is not complete")
