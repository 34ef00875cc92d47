"""This file reads the members that every document of this venue shares: decimal strings, money objects, times.

A missing decimal is sent as "" and an unset time as year 1; both are missing here, never zero.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from perpctl.clock import from_ms, to_ms
from perpctl.exchange.both.document import Malformed, Row
from perpctl.exchange.both.document import number as _number
from perpctl.model.order import Side

_SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
_EARLIEST_MS = 1


def number(row: Row, name: str) -> Decimal | None:
    """A decimal, also out of a money object {value, currency}; None when absent, null or ""."""
    value = row.get(name)
    if isinstance(value, dict):
        row, name, value = value, "value", value.get("value")
    if value is None or value == "":
        return None
    return _number(row, name)


def need_number(row: Row, name: str) -> Decimal:
    """The same, required."""
    value = number(row, name)
    if value is None:
        raise Malformed(f"{name} is missing")
    return value


def price(row: Row, name: str) -> Decimal | None:
    """A price; zero is an absent one."""
    return number(row, name) or None


def word(row: Row, name: str) -> str | None:
    """Text; None when absent or empty."""
    value = row.get(name)
    return value if isinstance(value, str) and value else None


def moment(row: Row, name: str) -> int | None:
    """An RFC 3339 time as ms since the epoch; None when absent, empty or before 1970."""
    value = row.get(name)
    if value is None or value == "":
        return None
    try:
        at = datetime.fromisoformat(str(value))
        at_ms = to_ms(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise Malformed(f"{name} is no time: {str(value)[:40]!r}") from None
    return at_ms if at_ms >= _EARLIEST_MS else None


def need_moment(row: Row, name: str) -> int:
    """The same, required."""
    at_ms = moment(row, name)
    if at_ms is None:
        raise Malformed(f"{name} is missing")
    return at_ms


def stamp(at_ms: int) -> str:
    """A time as the venue takes it."""
    return from_ms(at_ms).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def side(row: Row, name: str = "side") -> Side:
    """BUY or SELL, or Malformed."""
    found = _SIDES.get(str(row.get(name)))
    if found is None:
        raise Malformed(f"{name} {str(row.get(name))[:20]!r} is neither BUY nor SELL")
    return found
