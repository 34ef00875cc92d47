"""This file takes documents apart strictly: exact numbers, whole lists, and a name for what cannot be trusted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal, DecimalException
from typing import Any, cast

import msgspec

from perpctl.exchange.http import NoAnswer
from perpctl.model.money import parse_decimal

Row = Mapping[str, Any]
LONGEST_CHECKED = 64 * 1024  # bytes: an answer about orders is shorter, what is longer is a list of rows
RETRY_AFTER_MIN_S, RETRY_AFTER_MAX_S = 1.0, 30.0

_decode_json = msgspec.json.Decoder(float_hook=Decimal).decode


class Malformed(NoAnswer):
    """The document cannot be trusted; the text names the member."""


def decode(frame: bytes | str) -> dict[str, Any]:
    """The JSON object in a frame, its fractions as Decimal. Raises NoAnswer naming what came instead."""
    try:
        content = _decode_json(frame)
    except (msgspec.DecodeError, DecimalException, RecursionError, ValueError) as why:
        head = frame[:64].lstrip()
        if not head:
            raise NoAnswer("the answer is empty") from None
        looks_html = head[:1] in (b"<", "<")
        raise NoAnswer("the answer is a web page, not the API" if looks_html else f"not JSON: {why}") from None
    if not isinstance(content, dict):
        raise NoAnswer(f"the answer is JSON but no object: {type(content).__name__}")
    return content


def refuse_doubles(frame: bytes | str) -> None:
    """Raises NoAnswer when an object names a member twice: which of the two is meant, nobody can say."""
    if len(frame) > LONGEST_CHECKED:
        return
    try:
        json.loads(frame, object_pairs_hook=_without_doubles, parse_float=str, parse_int=str)
    except ValueError as why:
        raise NoAnswer(f"the answer contradicts itself: {why}") from None


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name in found if sum(name == one for one, _ in pairs) > 1)
        raise ValueError(f"{twice!r} is there twice")
    return found


def row_of(value: object, what: str) -> Row:
    """An object, or Malformed."""
    if not isinstance(value, dict):
        raise Malformed(f"{what} is not an object")
    return value


def rows_of(value: object, what: str) -> Sequence[Row]:
    """A list of objects, or Malformed: what is no list is never an empty one."""
    if not isinstance(value, list):
        raise Malformed(f"{what} is not a list")
    return [row_of(item, what) for item in value]


def number(row: Row, name: str) -> Decimal | None:
    """An exact number, also from a numeric string; None when absent or null."""
    value = row.get(name)
    if value is None:
        return None
    try:
        exact = parse_decimal(value)
    except ValueError as why:
        raise Malformed(f"{name}: {why}") from None
    # 1E+5 is 100000: the same number, in the form that people and documents expect.
    return Decimal(int(exact)) if cast(int, exact.as_tuple().exponent) > 0 else exact


def need_number(row: Row, name: str) -> Decimal:
    value = number(row, name)
    if value is None:
        raise Malformed(f"{name} is missing")
    return value


def whole(row: Row, name: str) -> int:
    """A required integer of any size; a fraction of zero is dropped."""
    if type(plain := row.get(name)) is int:
        return plain
    value = need_number(row, name)
    if value != int(value):
        raise Malformed(f"{name} is not a whole number: {value}")
    return int(value)


def text(row: Row, name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or not value:
        raise Malformed(f"{name} is missing or no text")
    return value


def clamp_retry_after(header: object) -> float | None:
    """Seconds to wait, between 1 and 30 whatever was asked for; None when it is no number of seconds."""
    try:
        seconds = float(str(header))
    except ValueError:
        return None
    if seconds != seconds:
        return None
    return min(max(seconds, RETRY_AFTER_MIN_S), RETRY_AFTER_MAX_S)
