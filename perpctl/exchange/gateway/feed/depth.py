"""This file keeps one order book from snapshots and changes, and notices when a change is missing."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from perpctl.exchange.both.book_side import BookSide
from perpctl.exchange.gateway import wire
from perpctl.model.instrument import Book
from perpctl.model.money import ZERO, parse_decimal

LIMIT = Decimal(10) ** 15


class Gap(Exception):
    """The chain of changes is broken; the book is worth nothing until the next snapshot."""


class Depth:
    """A book by change_id: each change names the one before it (Deribit docs, book notifications)."""

    def __init__(self, levels: int = 20) -> None:
        self._levels = levels
        self._change_id: int | None = None
        self._product_id = ""
        self._at_ms = 0
        self._bids = BookSide()
        self._asks = BookSide()

    def apply(self, row: wire.Row) -> None:
        """Take a message in. Raises Gap, and Malformed for what cannot be read."""
        if row.get("type") == "snapshot":
            self._bids, self._asks = BookSide(), BookSide()
            self._product_id = wire.text(row, "instrument_name")
        elif (known := self._change_id) is None or row.get("prev_change_id") != known:
            self._change_id = None
            raise Gap(f"change {row.get('change_id')} follows {row.get('prev_change_id')}, we know {known}")
        bids, asks = row.get("bids"), row.get("asks")
        if type(bids) is not list or type(asks) is not list:
            raise wire.Malformed("bids or asks is no list")
        if bids:
            _change(self._bids, bids)
        if asks:
            _change(self._asks, asks)
        self._change_id = wire.whole(row, "change_id")
        self._at_ms = wire.whole(row, "timestamp")

    def book(self, seen: float) -> Book:
        """The best levels as they stand; drawn only when somebody looks. Raises Gap before the first snapshot."""
        if self._change_id is None:
            raise Gap("no snapshot yet")
        return Book(
            product_id=self._product_id,
            bids=self._bids.highest(self._levels),
            asks=self._asks.lowest(self._levels),
            change_id=self._change_id,
            at_ms=self._at_ms,
            seen=seen,
        )


def _exact(value: Any) -> Decimal:
    """A price or an amount that did not come as a fraction, which the decoder makes exact already."""
    return Decimal(value) if type(value) is int else parse_decimal(value)


def _change(side: BookSide, rows: Sequence[Any]) -> None:
    try:
        for action, price, amount in rows:
            at = price if type(price) is Decimal else _exact(price)
            there = ZERO if action == "delete" else amount if type(amount) is Decimal else _exact(amount)
            if not (ZERO <= at < LIMIT and ZERO <= there < LIMIT):
                raise ValueError(f"out of range: {at}, {there}")
            side.put(at, there)
    except (ValueError, TypeError) as why:
        raise wire.Malformed(f"a level of the book cannot be read: {why}") from None
