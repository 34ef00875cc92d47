"""Whatever is sent to the US face, it answers in its own words: no request and no frame is an accident."""

from __future__ import annotations

import json
from typing import Any

import pytest

from perpctl.paper.advanced_trade.face import PATHS
from perpctl.paper.advanced_trade.orders.configuration import CONFIGURATIONS
from perpctl.paper.keys import MAIN_ACCOUNT
from tests.paper.advanced_trade.trader import BIP_ID, Trader

WORDS = ["", " ", "0", "-1", "1e400", "1e-400", "NaN", "Infinity", "0.1", "x", "€", "9" * 40, "null", BIP_ID]
VALUES: list[Any] = [*WORDS, None, True, 0, -1, 1.5, [], {}, [1], {"a": 1}, ["x"] * 3]
BODIES = [b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff\xfe", b"[" * 5000, b'{"a":' * 500, b'{"order_ids": [1]}']


def settled(trader: Trader, verb: str, path: str, body: bytes = b"", **query: Any) -> int:
    """The status of a request, which must be one of the face's own."""
    reply = trader.raw(verb, path, body, query=query)
    assert reply.status in (200, 400, 403, 404, 405, 504), (verb, path, body[:200], query, reply)
    if reply.status not in (504,):
        json.loads(reply.body)
    return reply.status


@pytest.mark.parametrize("path", PATHS)
def test_no_body_is_an_accident(trader: Trader, path: str) -> None:
    for verb in PATHS[path]:
        for body in BODIES:
            settled(trader, verb, path.replace("{id}", BIP_ID), body)


@pytest.mark.parametrize("path", [path for path, offered in PATHS.items() if "GET" in offered])
def test_no_parameter_is_an_accident(trader: Trader, path: str) -> None:
    trader.placed("BUY", 1)
    names = (
        "limit", "offset", "cursor", "product_id", "product_ids", "start", "end", "granularity", "order_status",
        "start_date", "end_date", "sort_by", "order_ids", "aggregation_price_increment", "product_type",
        "margin_profile_type", "order_placement_source", "start_sequence_timestamp", "portfolio_type", "order_side",
    )  # fmt: skip
    full = {"product_id": BIP_ID, "start": "1790000000", "end": "1790000900", "granularity": "ONE_MINUTE", "limit": "5"}
    for name in names:
        for word in WORDS:
            settled(trader, "GET", path.replace("{id}", BIP_ID), **(full | {name: word}))


@pytest.mark.parametrize("word", ["x", "..", "%2e", "€", "a" * 300, "0"])
@pytest.mark.parametrize("path", [path for path in PATHS if "{id}" in path])
def test_no_id_is_an_accident(trader: Trader, path: str, word: str) -> None:
    assert settled(trader, "GET", path.replace("{id}", word)) in (403, 404)


@pytest.mark.parametrize("kind", CONFIGURATIONS)
def test_no_order_is_an_accident_and_the_ledger_stays_whole(trader: Trader, kind: str) -> None:
    usual = {
        "base_size": "1",
        "limit_price": "83500",
        "stop_price": "83600",
        "stop_trigger_price": "83000",
        "stop_direction": "STOP_DIRECTION_STOP_DOWN",
        "end_time": "2026-09-30T15:00:00Z",
    }
    terms = {name: value for name, value in usual.items() if name in CONFIGURATIONS[kind]}
    number = 0
    for name in CONFIGURATIONS[kind]:
        for value in VALUES:
            number += 1
            body = {
                "client_order_id": f"{kind}{number}",
                "product_id": BIP_ID,
                "side": "SELL",
                "order_configuration": {kind: terms | {name: value}},
            }
            for path in ("/orders", "/orders/preview"):
                sent = {key: word for key, word in body.items() if path == "/orders" or key != "client_order_id"}
                settled(trader, "POST", path, json.dumps(sent).encode())
    trader.exchange.check_identity(MAIN_ACCOUNT)
    for name in ("client_order_id", "product_id", "side", "order_configuration", "leverage", "margin_type"):
        for value in VALUES:
            body = {"client_order_id": "x", "product_id": BIP_ID, "side": "BUY", "order_configuration": {kind: terms}}
            settled(trader, "POST", "/orders", json.dumps(body | {name: value}).encode())


@pytest.mark.parametrize(
    "path", ["/orders/edit", "/orders/edit_preview", "/orders/close_position", "/cfm/sweeps/schedule"]
)
def test_no_change_is_an_accident(trader: Trader, path: str) -> None:
    trader.placed("BUY", 3)
    order_id = trader.limit("BUY", 3, "83000")
    usual: dict[str, dict[str, Any]] = {
        "/orders/close_position": {"client_order_id": "c", "product_id": BIP_ID, "size": "1"},
        "/cfm/sweeps/schedule": {"usd_amount": "1"},
    }
    body = usual.get(path, {"order_id": order_id, "price": "83005", "size": "2", "stop_price": "83000"})
    for name in body:
        for value in VALUES:
            settled(trader, "POST", path, json.dumps(body | {name: value}).encode())
    trader.exchange.check_identity(MAIN_ACCOUNT)


def test_no_frame_is_an_accident(trader: Trader) -> None:
    frames: list[Any] = [*VALUES, *({"type": "subscribe", "channel": value} for value in VALUES)]
    frames += [{"type": "subscribe", "channel": "ticker", "product_ids": value} for value in VALUES]
    frames += [{"type": "unsubscribe", "channel": "user", "product_ids": value, "jwt": value} for value in VALUES]
    for frame in frames:
        socket = trader.open()
        socket.send(json.dumps(frame))
        socket.send(b"\xff".decode("latin-1"))
        socket.wait(0.2)
    assert trader.get("/time")
