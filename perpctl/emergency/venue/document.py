"""This file reads JSON rows strictly: a listing with one bad row is no listing at all."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, TypeVar

from perpctl.emergency.venue.wire import NoAnswer

Row = dict[str, Any]
T = TypeVar("T")


def rows_of(result: object, read: Callable[[Row], T]) -> tuple[T, ...]:
    """Every row of a list result. Raises NoAnswer when it is no list, or a row cannot be read."""
    if not isinstance(result, list):
        raise NoAnswer(f"the venue sent {type(result).__name__} where a list belongs", sent=True)
    return tuple(row_of(row, read) for row in result)


def row_of(row: object, read: Callable[[Row], T]) -> T:
    """One row. Raises NoAnswer when it is no object or lacks what we need."""
    if not isinstance(row, dict):
        raise NoAnswer(f"the venue sent {type(row).__name__} where an object belongs", sent=True)
    try:
        return read(row)
    except (KeyError, TypeError, ValueError, ArithmeticError) as why:
        raise NoAnswer(f"the venue sent a row that cannot be read: {why!r}", sent=True) from why


def number(value: object) -> Decimal:
    """A finite number as parsed from JSON. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal) or not Decimal(value).is_finite():
        raise ValueError(f"{value!r} is not a number")
    return Decimal(value)


def maybe(value: object) -> Decimal | None:
    return None if value is None else number(value)
