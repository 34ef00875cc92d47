"""The wire's grammar."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from perpctl.paper.gateway.rpc import Params, RpcError
from tests.paper.gateway.trader import BTC, Refused, Trader


def post(trader: Trader, target: str, body: bytes, **headers: str) -> tuple[int, Any]:
    sent = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    reply = trader.venue.http("POST", target, sent, body)
    return reply.status, json.loads(reply.body)


def test_an_answer_carries_times_and_the_id_only_when_one_was_sent(trader: Trader) -> None:
    status, without = post(trader, "/api/v2/public/test", b"")
    assert status == 200
    assert set(without) == {"jsonrpc", "result", "usIn", "usOut", "usDiff", "testnet"}
    assert without["usOut"] - without["usIn"] == without["usDiff"]
    assert without["testnet"] is False
    _, with_id = post(trader, "/api/v2/public/test", b'{"jsonrpc":"2.0","id":7,"method":"public/test","params":{}}')
    assert with_id["id"] == 7


def test_the_method_may_stand_in_the_body_alone(trader: Trader) -> None:
    _, answer = post(trader, "/api/v2", b'{"jsonrpc":"2.0","method":"public/get_time","params":{}}')
    assert answer["result"] == trader.venue.exchange.now


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","method":"public/test"}]', -32600),
        (b'{"jsonrpc":"1.0"}', -32600),
        (b'{"jsonrpc":"2.0","params":[1]}', -32600),
        (b'{"jsonrpc":"2.0","id":{}}', -32600),
        (b'{"jsonrpc":"2.0","params":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}", -32700),
        (b'{"jsonrpc":"2.0","params":{"x":"' + b"y" * 40_000 + b'"}}', -32600),
        (b'{"jsonrpc":"2.0","params":{"x":NaN}}', -32700),
    ],
)
def test_malformed_requests_are_refused_whole(trader: Trader, body: bytes, code: int) -> None:
    _, answer = post(trader, "/api/v2/public/test", body)
    assert answer["error"]["code"] == code


def test_another_content_type_is_refused(trader: Trader) -> None:
    _, answer = post(trader, "/api/v2/public/test", b"{}", content_type="text/plain")
    assert answer["error"]["code"] == 13018


def test_unknown_methods_lacking_ones_and_socket_only_ones_differ(trader: Trader) -> None:
    codes = {}
    for method in ("private/create_api_key", "private/get_transfers", "private/simulate_portfolio", "public/hello"):
        with pytest.raises(Refused) as refused:
            trader.http(method)
        codes[method] = refused.value.code
    assert codes == {
        "private/create_api_key": -32601,
        "private/get_transfers": -32601,
        "private/simulate_portfolio": 10033,
        "public/hello": 10030,
    }


def test_get_takes_the_same_parameters_as_text(trader: Trader) -> None:
    book = trader.get("public/get_order_book", f"instrument_name={BTC}&depth=1")
    assert len(book["bids"]) == 1
    placed = trader.get("private/buy", f"instrument_name={BTC}&amount=0.01&price=83500&post_only=true&label=x")
    assert placed["order"]["amount"] == Decimal("0.01")
    assert placed["order"]["post_only"] is True


def test_a_missing_parameter_is_named(trader: Trader) -> None:
    with pytest.raises(Refused) as refused:
        trader.http("public/ticker")
    assert (refused.value.code, refused.value.message) == (-32602, "Invalid params")
    assert refused.value.data == {"param": "instrument_name", "reason": "value required"}


def test_numbers_never_leave_as_strings(trader: Trader) -> None:
    reply = trader.venue.http("GET", f"/api/v2/public/ticker?instrument_name={BTC}", {}, b"")
    row = json.loads(reply.body)["result"]
    assert isinstance(row["mark_price"], float)
    assert isinstance(row["timestamp"], int)


def test_round_numbers_leave_without_an_exponent(trader: Trader) -> None:
    trader.order(amount=0.01)
    target = "/api/v2/private/get_account_summary?currency=USDC"
    headers = {"authorization": f"Bearer {trader.token}"}
    summary = trader.venue.http("GET", target, headers, b"").body
    orders = trader.venue.http("GET", "/api/v2/private/get_open_orders", headers, b"").body
    assert b'"balance":100000,' in summary
    assert b'"contracts":100.0,' in orders
    assert b"E+" not in summary + orders


@pytest.mark.parametrize(
    ("raw", "ask"),
    [
        ({"x": None}, lambda p: p.word("x")),
        ({"x": True}, lambda p: p.number("x")),
        ({"x": "one"}, lambda p: p.number("x")),
        ({"x": "NaN"}, lambda p: p.number("x")),
        ({"x": "1e400"}, lambda p: p.number("x")),
        ({"x": []}, lambda p: p.number("x")),
        ({"x": Decimal("1.5")}, lambda p: p.whole("x")),
        ({"x": -1}, lambda p: p.whole("x")),
        ({"x": "maybe"}, lambda p: p.flag("x")),
        ({"x": "b"}, lambda p: p.word("x", ("a",))),
        ({"x": [1]}, lambda p: p.words("x")),
        ({"x": "[1"}, lambda p: p.words("x")),
        ({}, lambda p: p.words("x")),
        ({"x": [1]}, lambda p: p.objects("x")),
    ],
)
def test_parameters_of_a_wrong_type_are_refused_by_name(raw: dict[str, Any], ask: Any) -> None:
    with pytest.raises(RpcError) as refused:
        ask(Params(raw))
    assert refused.value.code == -32602
    assert refused.value.data["param"] == "x"


def test_numeric_strings_words_for_flags_and_text_for_lists_are_understood() -> None:
    params = Params({"n": "0.0001", "f": "true", "g": "false", "l": '["a","b"]', "m": "a,b"})
    assert params.number("n") == Decimal("0.0001")
    assert params.flag("f") is True
    assert params.flag("g", default=True) is False
    assert params.words("l") == params.words("m") == ["a", "b"]
