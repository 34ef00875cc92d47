"""This file takes requests apart and writes refusals: query and body members, unknown ones refused as protobuf does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qs

import msgspec

Schema = Mapping[str, Any]  # member -> str, bool, int, [str] or a Schema of its own
TEXT, FLAG, WHOLE, TEXTS = "text", "flag", "whole", "texts"
_encode = msgspec.json.Encoder(decimal_format="string").encode


class ApiError(Exception):
    """A refusal by HTTP status; most bodies are {error, error_details, message}, a 401 is bare text."""

    def __init__(self, status: int, error: str, message: str = "", body: bytes | None = None) -> None:
        super().__init__(f"{status} {error} {message}")
        self.status = status
        self.body = encode({"error": error, "error_details": message, "message": message}) if body is None else body
        self.content_type = "application/json" if self.body[:1] == b"{" else "text/plain; charset=utf-8"


def encode(content: object) -> bytes:
    """JSON; a Decimal would be a string, but rows hold none."""
    return _encode(content)


def unauthorized() -> ApiError:
    """Bad signature, wrong uri, expired, unknown key: the answer never says which (coinbase-advanced-py #56)."""
    return ApiError(401, "unauthorized", body=b"Unauthorized\n")


def invalid(message: str) -> ApiError:
    """A request that makes no sense."""
    return ApiError(400, "INVALID_ARGUMENT", message)


def not_found(what: str) -> ApiError:
    """Nothing of that id."""
    return ApiError(404, "unknown", f"{what} was not found")


@dataclass(frozen=True, slots=True)
class Query:
    """The part after the question mark; lists repeat their name."""

    raw: Mapping[str, list[str]]

    @classmethod
    def of(cls, text: str) -> Query:
        """A query string."""
        return cls(parse_qs(text, keep_blank_values=True))

    def word(self, name: str, choices: tuple[str, ...] = ()) -> str | None:
        """Text, None when absent or empty. Raises ApiError outside of `choices`."""
        value = self.raw.get(name, [""])[-1]
        if value and choices and value not in choices:
            raise invalid(f'parsing field "{name}": {value} is not valid')
        return value or None

    def words(self, name: str) -> list[str]:
        """A repeated parameter; the form with brackets is a client's habit that the server takes too."""
        return [value for value in [*self.raw.get(name, []), *self.raw.get(f"{name}[]", [])] if value]

    def whole(self, name: str, most: int) -> int | None:
        """A count from 1 to `most`; larger ones are cut."""
        text = self.word(name)
        if text is None:
            return None
        if not text.isdecimal():
            raise invalid(f'parsing field "{name}": strconv.ParseInt: parsing "{text}": invalid syntax')
        return min(int(text), most) or None

    def flag(self, name: str) -> bool:
        """A boolean, false when absent."""
        return (self.word(name) or "").lower() == "true"

    def when(self, name: str) -> int | None:
        """A moment in ms: RFC 3339, or epoch seconds."""
        text = self.word(name)
        if text is None:
            return None
        if text.isdecimal():
            return int(text) * 1000
        return read_time(name, text)


def read_time(name: str, text: str) -> int:
    """RFC 3339 as ms. Raises ApiError."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as why:
        raise invalid(f'parsing field "{name}": bad Timestamp: {text!r}') from why
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def read_body(body: bytes, schema: Schema) -> dict[str, Any]:
    """A JSON object with no member that the schema lacks, each of its type. Raises ApiError."""
    try:
        content = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, RecursionError) as why:
        raise ApiError(400, "unknown", f"proto: syntax error (line 1:1): {why}") from why
    if not isinstance(content, dict):
        raise ApiError(400, "unknown", "proto: syntax error (line 1:1): unexpected token")
    return _checked(content, schema, body)


def _checked(content: dict[str, Any], schema: Schema, body: bytes) -> dict[str, Any]:
    for name, value in content.items():
        column = body.find(f'"{name}"'.encode()) + 1
        if name not in schema:
            raise ApiError(400, "unknown", f'proto: (line 1:{column}): unknown field "{name}"')
        kind = schema[name]
        if value is not None and not _fits(value, kind):
            raise ApiError(400, "unknown", f"proto: (line 1:{column}): invalid value for field {name}: {value!r}")
        if isinstance(kind, Mapping) and value is not None:
            _checked(value, kind, body)
        if isinstance(kind, list) and value is not None:
            for one in value:
                _checked(one, kind[0], body)
    return {name: value for name, value in content.items() if value is not None}


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, Mapping):
        return isinstance(value, dict)
    if isinstance(kind, list):
        return isinstance(value, list) and all(isinstance(one, dict) for one in value)
    if kind == TEXTS:
        return isinstance(value, list) and all(isinstance(one, str) for one in value)
    if kind == FLAG:
        return isinstance(value, bool)
    if kind == WHOLE:
        return not isinstance(value, bool) and (
            isinstance(value, int) or (isinstance(value, str) and value.isdecimal())
        )
    return isinstance(value, str)


def number(text: str | None) -> Decimal | None:
    """A decimal string as a finite number; None when it is absent, empty or no number."""
    try:
        value = Decimal(text or "")
    except InvalidOperation:
        return None
    return value if value.is_finite() and abs(value) < Decimal(10) ** 15 else None


class HttpWait(ApiError):
    """No answer for `seconds`, then a gateway's time-out: how a request that the venue swallows looks."""

    def __init__(self, seconds: float) -> None:
        super().__init__(504, "timeout", body=b"")
        self.seconds = seconds
