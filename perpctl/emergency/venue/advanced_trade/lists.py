"""This file reads Advanced Trade's lists to their end: orders from both placement sources, and fills, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from perpctl.emergency.venue.advanced_trade import rows
from perpctl.emergency.venue.advanced_trade.rest import Query, Rest
from perpctl.emergency.venue.dates import stamp
from perpctl.emergency.venue.document import Row, row_of, rows_of
from perpctl.emergency.venue.wire import NoAnswer
from perpctl.emergency.world import World

SOURCES = ("RETAIL_ADVANCED", "RETAIL_SIMPLE")  # orders typed by hand in the simple app show only when asked for
# The filter OPEN leaves out what is PENDING or QUEUED and can still be cancelled, and may not be combined with others.
WAITING = ("PENDING", "QUEUED", "CANCEL_QUEUED", "EDIT_QUEUED", "UNKNOWN_ORDER_STATUS")
PAGE_ROWS = "250"
MOST_PAGES = 4_000
PAGE_S = 3.0
IDS_AT_ONCE = 50
LATE_MS = 120_000  # twice as long as a listing may be old


class Live(NamedTuple):
    """What can still fill, futures only. `complete`: no filter of the venue's stood in between."""

    rows: tuple[Row, ...]
    spot_orders: int
    complete: bool


class Lists:
    """The lists of one account."""

    def __init__(self, rest: Rest, world: World) -> None:
        self._rest = rest
        self._world = world
        self._since_ms: int | None = None  # every order made before that has ended; None: not yet known

    def live(self, *, quick: bool) -> Live:
        """By status where it must be `quick`; else every order there is, and from then on all that may not have ended.

        An order that has ended stays so: what a whole listing showed as ended need not be read again.
        """
        if quick:
            # What waits is asked for first: on its way into the book it shows twice, never not at all.
            found = {
                **self._all([("order_status", status) for status in WAITING]),
                **self._all([("order_status", "OPEN")]),
            }
        else:
            found = self._all([] if self._since_ms is None else [("start_date", stamp(self._since_ms))])
        live = [row for row in found.values() if not row_of(row, rows.has_ended)]
        if found and not quick:
            newest = max(row_of(row, rows.created_ms) for row in found.values()) - LATE_MS
            self._since_ms = min([newest, *(row_of(row, rows.created_ms) for row in live)])
        ours = tuple(row for row in live if row_of(row, rows.is_future))
        return Live(ours, len(live) - len(ours), not quick)

    def by_ids(self, order_ids: Sequence[str], source: str) -> tuple[Row, ...]:
        """These orders of one source in whatever state; one that the venue does not show is left out."""
        found: list[Row] = []
        for first in range(0, len(order_ids), IDS_AT_ONCE):
            asked = [("order_ids", one) for one in order_ids[first : first + IDS_AT_ONCE]]
            found += self._pages("batch", "orders", [*asked, ("order_placement_source", source)])
        return tuple(found)

    def of_product(self, product_id: str) -> tuple[Row, ...]:
        """Every order of a product, in whatever state."""
        return tuple(self._all([("product_ids", product_id)]).values())

    def newest(self, product_id: str) -> tuple[Row, ...]:
        """The newest page of a product's orders that came through the API."""
        query = [("product_ids", product_id), ("order_placement_source", SOURCES[0]), ("limit", PAGE_ROWS)]
        return self._page("batch", "orders", query)[0]

    def since(self, since_ms: int) -> tuple[Row, ...]:
        """Every order of futures made since then."""
        found = self._all([("start_date", stamp(since_ms))])
        return tuple(row for row in found.values() if row_of(row, rows.is_future))

    def fills_since(self, since_ms: int) -> tuple[Row, ...]:
        """Every fill since then."""
        return self.fills([("start_sequence_timestamp", stamp(since_ms))])

    def fills(self, query: Query) -> tuple[Row, ...]:
        """Every fill that the query finds, each once by its `entry_id`."""
        found = self._pages("fills", "fills", query)
        return tuple({str(row["entry_id"]): row for row in found}.values())

    def _all(self, query: Query) -> dict[str, Row]:
        """By id, from both sources, each in its newest state."""
        asked = [partial(self._pages, "batch", "orders", [*query, ("order_placement_source", one)]) for one in SOURCES]
        found: dict[str, Row] = {}
        for answer in self._world.at_once(asked):
            if isinstance(answer, Exception):
                raise answer
            found.update({row_of(row, rows.order_id): row for row in answer})
        return found

    def _pages(self, kind: str, member: str, query: Query) -> tuple[Row, ...]:
        """All pages. Raises NoAnswer for a list that is held back, or does not come to an end."""
        found: list[Row] = []
        asked, seen = [*query, ("limit", PAGE_ROWS)], set[str]()
        for _ in range(MOST_PAGES):
            page, cursor = self._page(kind, member, asked)
            found += page
            if not cursor:
                return tuple(found)
            if cursor in seen:
                break
            seen.add(cursor)
            asked = [*query, ("limit", PAGE_ROWS), ("cursor", cursor)]
        raise NoAnswer(f"the pages of {member} do not come to an end", sent=True)

    def _page(self, kind: str, member: str, query: Query) -> tuple[tuple[Row, ...], str]:
        answer = self._rest.get(f"orders/historical/{kind}", query, PAGE_S)
        if answer.get("proof_token_required") is True:
            raise NoAnswer(
                f"the list of {member} is held back until the account's owner proves who they are", sent=True
            )
        page = row_of(answer, lambda row: rows_of(row[member], lambda one: one))
        cursor = answer.get("cursor") or ""
        # Captured: a fills page of one row still carries a cursor; an empty page ends the list.
        return page, str(cursor) if answer.get("has_next") is not False and page else ""
