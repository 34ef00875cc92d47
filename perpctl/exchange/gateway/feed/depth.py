"""This file keeps one order book from snapshots and changes, and notices when a change is missing."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

from perpctl.exchange.gateway import wire
from perpctl.model.instrument import Book
from perpctl.model.money import parse_decimal

Level = tuple[Decimal, Decimal]
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
        self._bids = _BookSide()
        self._asks = _BookSide()

    def apply(self, row: wire.Row) -> None:
        """Take a message in. Raises Gap, and Malformed for what cannot be read."""
        if row.get("type") == "snapshot":
            self._bids, self._asks = _BookSide(), _BookSide()
        elif self._change_id is None or row.get("prev_change_id") != self._change_id:
            known, self._change_id = self._change_id, None
            raise Gap(f"change {row.get('change_id')} follows {row.get('prev_change_id')}, we know {known}")
        self._bids.change(_rows(row, "bids"))
        self._asks.change(_rows(row, "asks"))
        self._change_id = wire.whole(row, "change_id")
        self._product_id = wire.text(row, "instrument_name")
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


def _rows(row: wire.Row, side: str) -> Sequence[Any]:
    rows = row.get(side)
    if not isinstance(rows, list):
        raise wire.Malformed(f"{side} is no list")
    return rows


def _exact(value: Any) -> Decimal:
    """A price or an amount. Numbers come exact from the decoder already; this is the hot path of the feed."""
    if type(value) is int:
        value = Decimal(value)
    elif type(value) is not Decimal:
        value = parse_decimal(value)
    if not 0 <= value < LIMIT:
        raise ValueError(f"out of range: {value}")
    return cast(Decimal, value)


class _BookSide:
    """Amounts by price, and the prices in order."""

    def __init__(self) -> None:
        self._amounts: dict[Decimal, Decimal] = {}
        self._prices: list[Decimal] = []

    def change(self, rows: Sequence[Any]) -> None:
        try:
            for action, price, amount in rows:
                self._set(_exact(price), _exact(amount), gone=action == "delete")
        except (ValueError, TypeError) as why:
            raise wire.Malformed(f"a level of the book cannot be read: {why}") from None

    def _set(self, price: Decimal, amount: Decimal, *, gone: bool) -> None:
        known = price in self._amounts
        if gone or not amount:
            if known:
                del self._amounts[price]
                del self._prices[bisect_left(self._prices, price)]
            return
        if not known:
            insort(self._prices, price)
        self._amounts[price] = amount

    def highest(self, count: int) -> tuple[Level, ...]:
        return tuple((price, self._amounts[price]) for price in reversed(self._prices[-count:]))

    def lowest(self, count: int) -> tuple[Level, ...]:
        return tuple((price, self._amounts[price]) for price in self._prices[:count])
