"""This file is the wire's grammar: requests taken apart, answers and errors put together, parameters read."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

MAX_BODY = 32 * 1024  # bytes, Coinbase gateway docs: larger requests are refused whole
PROCESSING_US = 240  # how long a request seems to take; a constant keeps simulations repeatable
T = TypeVar("T")
_ABSURD = Decimal(10) ** 15
_WORDS, _NUMBERS = (str, int), (str, int, Decimal)  # what may stand for one

CODES = {
    "authorization_required": 10000,
    "order_not_found": 10004,
    "not_enough_funds": 10009,
    "invalid_or_unsupported_instrument": 10020,
    "too_many_requests": 10028,
    "not_owner_of_order": 10029,
    "must_be_websocket_request": 10030,
    "non_integer_contract_amount": 10027,
    "matching_engine_queue_full": 10047,
    "unauthenticated_public_requests_temporarily_disabled": 11056,
    "login_over_limit": 12003,
    "request_cancelled_by_user": 13666,
    "replaced": 13777,
    "not_implemented": 10033,
    "settlement_in_progress": 10041,
    "locked_by_admin": 10019,
    "account_locked": 11098,
    "not_open_order": 11044,
    "permission_denied": 11042,
    "unsupported_arg_combination": 11047,
    "bad_request": 11050,
    "system_maintenance": 11051,
    "internal_server_error": 11094,
    "invalid_credentials": 13004,
    "unauthorized": 13009,
    "invalid_content_type": 13018,
    "not_found": 13020,
    "forbidden": 13021,
    "temporarily_unavailable": 13028,
    "non_unique_order_label": 13032,
    "cod_not_enabled": 13042,
    "raw_subscriptions_not_available_for_unauthorized": 13778,
    "timed_out": 13888,
    "Missing params": -32000,
    "request entity too large": -32600,
    "Invalid Request": -32600,
    "Method not found": -32601,
    "Invalid params": -32602,
    "Parse error": -32700,
}

_HTTP_STATUS = {10000: 401, 13004: 401, 13009: 401, 13021: 403, 10028: 429, 12003: 429, 11051: 503, 13028: 503}


class RpcError(Exception):
    """A refusal in the gateway's own words; `code` follows from the name unless given."""

    def __init__(self, message: str, *, code: int | None = None, data: object = None) -> None:
        super().__init__(message)
        self.code = CODES[message] if code is None else code
        self.message = message
        self.data = data

    @property
    def http_status(self) -> int:
        return _HTTP_STATUS.get(self.code, 413 if self.message == "request entity too large" else 400)


def invalid(param: str, reason: str) -> RpcError:
    """The gateway's complaint about one parameter."""
    return RpcError("Invalid params", data={"param": param, "reason": reason})


def refuse(error: tuple[int, str] | None) -> None:
    """Raise the (code, message) that a fault puts in the place of an answer, if there is one."""
    if error is not None:
        raise RpcError(error[1], code=error[0])


class Request(msgspec.Struct, frozen=True):
    """One call, however it came in; `id` is UNSET when the caller sent none."""

    method: str
    params: Params
    id: Any = msgspec.UNSET


class _Envelope(msgspec.Struct):
    jsonrpc: Any = "2.0"
    method: Any = ""
    params: Any = msgspec.UNSET
    id: Any = msgspec.UNSET


_decode = msgspec.json.Decoder(_Envelope, float_hook=Decimal).decode
_decode_any = msgspec.json.Decoder(float_hook=Decimal).decode
_encode = msgspec.json.Encoder(decimal_format="number").encode


def encode(message: object) -> bytes:
    """JSON with every Decimal as a number."""
    return _encode(message)


def read_request(body: bytes | str, method: str = "") -> Request:
    """A request body or frame; `method` is the one named in the path, which then counts.

    Raises RpcError: too large, not JSON, not an object (the gateway takes no batches), no method.
    """
    if len(body) > MAX_BODY:
        raise RpcError("request entity too large")
    try:
        envelope = _decode(body) if body else _Envelope()
    except msgspec.ValidationError as why:
        raise RpcError("Invalid Request") from why
    except (msgspec.DecodeError, RecursionError, InvalidOperation) as why:
        raise RpcError("Parse error") from why
    name = method or envelope.method
    params = {} if envelope.params is msgspec.UNSET else envelope.params
    bad_id = envelope.id is not msgspec.UNSET and not isinstance(envelope.id, _WORDS)
    if envelope.jsonrpc != "2.0" or not isinstance(name, str) or not name or not isinstance(params, dict) or bad_id:
        raise RpcError("Invalid Request")
    return Request(name, Params(params), envelope.id)


def answer(request_id: object, result: object, wall_s: float) -> dict[str, object]:
    """A successful reply; the id is echoed only when one was sent."""
    return {**_head(request_id), "result": result, **_times(wall_s)}


def failure(request_id: object, error: RpcError, wall_s: float) -> dict[str, object]:
    """An error reply."""
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return {**_head(request_id), "error": body, **_times(wall_s)}


def notification(channel: str, content: object, label: str | None = None) -> dict[str, object]:
    """A subscription frame; it repeats the label that the subscription was given."""
    params = {"channel": channel, "data": content} | ({} if label is None else {"label": label})
    return {"jsonrpc": "2.0", "method": "subscription", "params": params}


def _head(request_id: object) -> dict[str, object]:
    return {"jsonrpc": "2.0"} if request_id is msgspec.UNSET else {"jsonrpc": "2.0", "id": request_id}


def _times(wall_s: float) -> dict[str, object]:
    us_in = int(wall_s * 1_000_000)
    return {"usIn": us_in, "usOut": us_in + PROCESSING_US, "usDiff": PROCESSING_US, "testnet": False}


class Params:
    """Named parameters; numbers may come as numeric strings, flags as words, lists as JSON text (GET)."""

    def __init__(self, raw: dict[str, Any]) -> None:
        self.raw = raw

    def has(self, name: str) -> bool:
        return name in self.raw

    def _take(self, name: str) -> Any:
        value = self.raw.get(name)
        if value is None and name in self.raw:
            raise invalid(name, "null is not allowed: leave the parameter out")
        return value

    def word(self, name: str, choices: tuple[str, ...] = ()) -> str | None:
        """Text, one of `choices` when given; None when absent."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, _WORDS):
            raise invalid(name, "must be a string")
        if choices and value not in choices:
            raise invalid(name, f"must be one of {', '.join(choices)}")
        return str(value)

    def need_word(self, name: str, choices: tuple[str, ...] = ()) -> str:
        return self._need(name, self.word(name, choices))

    def number(self, name: str) -> Decimal | None:
        """A finite number of believable size; None when absent."""
        value = self._take(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, _NUMBERS):
            raise invalid(name, "must be a number")
        try:
            number = Decimal(value)
        except InvalidOperation:
            raise invalid(name, "must be a number") from None
        if not number.is_finite() or abs(number) > _ABSURD:
            raise invalid(name, "must be a number")
        return number

    def need_number(self, name: str) -> Decimal:
        return self._need(name, self.number(name))

    def whole(self, name: str, low: int = 0, high: int = 10**16) -> int | None:
        """An integer within bounds; None when absent."""
        number = self.number(name)
        if number is None:
            return None
        if number != int(number) or not low <= number <= high:
            raise invalid(name, f"must be an integer from {low} to {high}")
        return int(number)

    def need_whole(self, name: str, low: int = 0) -> int:
        return self._need(name, self.whole(name, low))

    def trade_number(self, name: str) -> int | None:
        """The number inside a trade id such as USDC-63764222; None when absent."""
        text = self.word(name)
        if text is None:
            return None
        number = text.rpartition("-")[2]
        if not number.isdecimal():
            raise invalid(name, "not a trade id")
        return int(number)

    def flag(self, name: str, default: bool = False) -> bool:
        value = self._take(name)
        if value is None:
            return default
        if value in (True, "true"):
            return True
        if value in (False, "false"):
            return False
        raise invalid(name, "must be a boolean")

    def words(self, name: str) -> list[str]:
        """A required list of strings."""
        value = self._need(name, self._take(name))
        if isinstance(value, str):
            value = _as_list(name, value)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise invalid(name, "must be an array of strings")
        return value

    def objects(self, name: str) -> list[dict[str, Any]]:
        """A list of objects, empty when absent."""
        value = self._take(name)
        if isinstance(value, str):
            value = _as_list(name, value)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise invalid(name, "must be an array of objects")
        return value

    @staticmethod
    def _need(name: str, value: T | None) -> T:
        if value is None:
            raise invalid(name, "value required")
        return value


def _as_list(name: str, text: str) -> Any:
    if not text.startswith("["):
        return text.split(",")
    try:
        return _decode_any(text)
    except (msgspec.DecodeError, RecursionError) as why:
        raise invalid(name, "must be an array") from why
