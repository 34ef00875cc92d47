"""This file reads long lists to their end: orders and fills, page by page, from both placement sources, each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from perpctl.errors import VenueRefused, VenueUnreachable
from perpctl.exchange.advanced_trade.errors import needs_proof_token
from perpctl.exchange.advanced_trade.listing import Listing
from perpctl.exchange.advanced_trade.rest import Query, Rest
from perpctl.exchange.advanced_trade.wire import orders as wire
from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.advanced_trade.wire.words import stamp
from perpctl.exchange.both.document import Malformed, Row, row_of, rows_of, text
from perpctl.exchange.repeats import HISTORY, PAGE, SINGLE, Policy
from perpctl.model.fill import Fill
from perpctl.model.order import Order

SOURCES = ("RETAIL_ADVANCED", "RETAIL_SIMPLE")  # orders typed by hand in the simple app show only when asked for
# The filter OPEN leaves out what is PENDING or QUEUED and can still be cancelled, and may not be combined with others.
WAITING = ("PENDING", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED", "UNKNOWN_ORDER_STATUS")
OPEN = ("OPEN",)
PAGE_ROWS = 250
MAX_PAGES = 400
IDS_AT_ONCE = 50
LOOK_BACK_MS = 3 * 86_400_000  # an order whose fate is not known is watched for a day; older ones are read by id


@dataclass(slots=True)
class Lists:
    """Lists of one account. Identities are remembered: a fill does not carry the one of its order."""

    rest: Rest
    listing: Listing
    identities: dict[str, str | None] = field(default_factory=dict)  # by order id

    async def open_orders(self) -> tuple[Order, ...]:
        """Every order that can still fill. What waits is asked for first: on its way into the book it shows twice,
        never not at all."""
        found: dict[str, Order] = {}
        for statuses in (WAITING, OPEN):
            for order in await self._orders({"order_status": statuses}, PAGE):
                found[order.order_id] = order
        return tuple(order for order in found.values() if not order.status.is_terminal)

    async def by_id(self, order_id: str) -> Order | None:
        """One order; None when the venue knows none of that id."""
        try:
            path = f"/orders/historical/{order_id}"
            row = await self.rest.read(path, {}, lambda answer: _same(order_id, answer), SINGLE)
        except VenueRefused as why:
            if why.code in (400, 404):
                return None
            raise
        return await self._read_order(row)

    async def by_identity(self, identity: str, now_ms: int) -> tuple[Order, ...]:
        """The orders under a client_order_id among those made in the last days: no endpoint looks one up."""
        query: dict[str, str | int | Sequence[str]] = {"start_date": stamp(now_ms - LOOK_BACK_MS)}
        found: dict[str, Order] = {}
        for source in SOURCES:
            async for rows in self._pages("batch", {**query, "order_placement_source": source}, SINGLE):
                mine = [row for row in rows if row.get("client_order_id") == identity]
                for order in await self._read_orders(mine):
                    found[order.order_id] = order
                if found:
                    return tuple(found.values())  # an identity has one order: the venue gives no second
        return ()

    async def by_ids(self, order_ids: Sequence[str]) -> dict[str, Order]:
        """How these orders stand, by id; one that the venue does not show is left out."""
        found: dict[str, Order] = {}
        for first in range(0, len(order_ids), IDS_AT_ONCE):
            for order in await self._orders({"order_ids": order_ids[first : first + IDS_AT_ONCE]}, SINGLE):
                found[order.order_id] = order
        return found

    async def history(self, since_ms: int) -> tuple[Order, ...]:
        """Every order made since then, in whatever state, oldest first."""
        found = await self._orders({"start_date": stamp(since_ms)}, HISTORY)
        return tuple(sorted(found, key=lambda order: (order.created_ms, order.order_id)))

    async def fills(self, since_ms: int, query: Query | None = None) -> tuple[Fill, ...]:
        """Every fill of a future from then on, corrections applied, oldest first."""
        rows: dict[str, Row] = {}
        start = {"start_sequence_timestamp": stamp(since_ms)} if since_ms > 0 else {}
        async for page in self._pages("fills", {**start, **(query or {})}, HISTORY):
            rows |= {text(row, "entry_id"): row for row in page}
        ours = {entry: row for entry, row in rows.items() if is_ours(row)}
        units = await self._units_of(ours.values())
        await self._learn_identities(text(row, "order_id") for row in ours.values())
        read = {
            entry: wire.fill(row, units[text(row, "product_id")], self.identities.get(text(row, "order_id")))
            for entry, row in ours.items()
        }
        found = wire.applied(list(ours.values()), read)
        return tuple(sorted(found, key=lambda fill: (fill.at_ms, fill.trade_id)))

    async def last_fill(self, product_id: str) -> str:
        """The entry id of our newest fill in a product; "" when there is none."""
        query: Query = {"product_ids": [product_id], "limit": 1}
        parse = _page_of("/orders/historical/fills", "fills")
        rows, _ = await self.rest.read("/orders/historical/fills", query, parse, SINGLE)
        return text(rows[0], "entry_id") if rows else ""

    async def _learn_identities(self, order_ids: Iterable[str]) -> None:
        unknown = [one for one in dict.fromkeys(order_ids) if one not in self.identities]
        for first in range(0, len(unknown), IDS_AT_ONCE):
            await self._orders({"order_ids": unknown[first : first + IDS_AT_ONCE]}, PAGE)
        self.identities |= {one: self.identities.get(one) for one in unknown}

    async def _orders(self, query: Query, policy: Policy) -> list[Order]:
        """From both sources, each order once, in its newest state."""
        found: dict[str, Order] = {}
        for orders in await asyncio.gather(*(self._from(source, query, policy) for source in SOURCES)):
            for order in orders:
                known = found.get(order.order_id)
                if known is None or order.updated_ms >= known.updated_ms:
                    found[order.order_id] = order
        return list(found.values())

    async def _from(self, source: str, query: Query, policy: Policy) -> list[Order]:
        found: list[Order] = []
        async for rows in self._pages("batch", {**query, "order_placement_source": source}, policy):
            found += await self._read_orders(rows)
        return found

    async def _pages(self, kind: str, query: Query, policy: Policy) -> AsyncIterator[Sequence[Row]]:
        """Pages of `batch` (orders) or `fills` until the cursor ends.

        Raises VenueUnreachable for a list that is held back or does not come to an end.
        """
        path, seen = f"/orders/historical/{kind}", set[str]()
        parse = _page_of(path, "orders" if kind == "batch" else kind)
        asked: dict[str, str | int | Sequence[str]] = {**query, "limit": PAGE_ROWS}
        for _ in range(MAX_PAGES):
            rows, cursor = await self.rest.read(path, asked, parse, policy)
            yield rows
            if not cursor:
                return
            if cursor in seen:
                break
            seen.add(cursor)
            asked["cursor"] = cursor
        raise VenueUnreachable(f"{path}: its pages do not come to an end", not_done="the list is not complete")

    async def _read_orders(self, rows: Sequence[Row]) -> list[Order]:
        """The orders of futures among the rows; spot is not ours to touch."""
        ours = [row for row in rows if is_ours(row)]
        units = await self._units_of(ours)
        found = [wire.order(row, units[text(row, "product_id")]) for row in ours]
        self.identities |= {order.order_id: order.identity for order in found}
        return found

    async def _read_order(self, row: Row) -> Order | None:
        found = await self._read_orders([row])
        return found[0] if found else None

    async def _units_of(self, rows: Iterable[Row]) -> Mapping[str, Contract]:
        return await self.listing.units([text(row, "product_id") for row in rows])


def is_ours(row: Row) -> bool:
    """Whether an order or fill is of a future. A fill does not say what kind its product is; its name does."""
    kind = row.get("product_type")
    if kind in ("SPOT", "FUTURE"):
        return bool(kind == "FUTURE")
    return text(row, "product_id").endswith("-CDE")


def _page_of(path: str, member: str) -> Callable[[Row], tuple[Sequence[Row], str]]:
    def parse(answer: Row) -> tuple[Sequence[Row], str]:
        needs_proof_token(answer, path)
        rows, cursor = rows_of(answer.get(member), member), answer.get("cursor") or ""
        if not isinstance(cursor, str):
            raise Malformed("the cursor is no text")
        # Captured: a fills page of one row still carries a cursor; an empty page ends the list.
        more = answer.get("has_next") is not False and bool(rows)
        return rows, cursor if more else ""

    return parse


def _same(order_id: str, answer: Row) -> Row:
    row = row_of(answer.get("order"), "the order")
    if text(row, "order_id") != order_id:
        raise Malformed(f"the answer speaks of order {row['order_id']}")
    return row
