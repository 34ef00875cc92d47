"""Whatever the venue sends, the client reads it exactly or says that it cannot: no crash, no float, no guess."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpctl.exchange.gateway import account, wire
from perpctl.exchange.gateway.errors import RpcFailure
from perpctl.exchange.gateway.feed.channels import told, user_events
from perpctl.exchange.gateway.feed.depth import Depth, Gap
from perpctl.exchange.gateway.rpc import Call, decode, encode, unwrap
from perpctl.exchange.http import NoAnswer
from perpctl.model.instrument import Book
from tests.exchange.gateway.venue import BTC, INSTRUMENT, START_MS, order_row, position_row, trade_row

SUMMARY = {"currency": "USDC", "balance": 1.5, "equity": 2, "initial_margin": 0, "maintenance_margin": 0}
BOOK = {"type": "snapshot", "instrument_name": BTC, "timestamp": START_MS, "change_id": 1}
NAMED = {"instrument_name": BTC}
SIDES = {"bids": [["new", 80000, 1]], "asks": [["new", 80001, 1]]}
TICKER = {"instrument_name": BTC, "timestamp": START_MS, "state": "open", "best_bid_price": 80000.5}
FRAME = {"params": {"channel": "user", "data": {"orders": [order_row()], "trades": [trade_row(1)], "positions": []}}}


def _depth(row: wire.Row) -> Book:
    depth = Depth()
    depth.apply(row)
    return depth.book(0.0)


READERS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "order": (order_row(), wire.order),
    "fill": (trade_row(1), wire.fill),
    "position": (position_row(), lambda row: (wire.is_flat(row), wire.position(row, 0.0, 0))),
    "instrument": (INSTRUMENT, lambda row: wire.is_linear_perpetual(row) and wire.instrument(row)),
    "ticker": (TICKER, lambda row: wire.quote(row, 0.0)),
    "book": ({**BOOK, "bids": [[80000, 1]], "asks": [[80001, 1]]}, lambda row: wire.book(row, 0.0, 5)),
    "depth": ({**BOOK, **SIDES}, _depth),
    "account": (
        {"id": 1, "username": "u", "summaries": [SUMMARY]},
        lambda row: (account.account(row, "USDC", (), account.Moment(0, 0.0)), account.limits(row)),
    ),
    "settlement": (
        {"id": 1, "type": "settlement", "total_interest_pl": 1, "currency": "U", "timestamp": 1, **NAMED},
        lambda row: wire.settlement(row, None),
    ),
    "candles": (
        {"status": "ok", **{name: [1] for name in ("ticks", "open", "high", "low", "close", "volume")}},
        wire.candles,
    ),
    "user": (FRAME, lambda frame: user_events(told(frame)[1], 0, 0.0)),
    "status": ({"locked": "false"}, account.locked_word),
}
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["", "NaN", "Infinity", "1e999", "-0", "0.1", 2**70, 1e-300, 1e300]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize("name", READERS)
def test_an_undamaged_document_is_read(name: str) -> None:
    row, read = READERS[name]
    assert read(decode(json.dumps(row))) is not None


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(choice=st.data())
def test_a_damaged_document_is_read_or_refused(name: str, choice: st.DataObject) -> None:
    row, read = READERS[name]
    member = choice.draw(st.sampled_from(sorted(row)))
    damaged = {**row, member: choice.draw(anything)}
    try:
        read(decode(json.dumps(damaged)))
    except (NoAnswer, Gap):
        return


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=64) | anything.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_an_answer_or_none(frame: bytes) -> None:
    try:
        unwrap(decode(frame), 1)
    except (NoAnswer, RpcFailure):
        return


@given(st.decimals(allow_nan=False, allow_infinity=False, places=8, min_value=0, max_value=10**9))
def test_numbers_go_out_plain_and_come_back_the_same(number: Decimal) -> None:
    frame = encode(1, Call("private/buy", {"amount": number}, 1.0))
    assert b"e" not in frame.lower().split(b'"amount":')[1]
    assert json.loads(frame, parse_float=Decimal, parse_int=Decimal)["params"]["amount"] == number


def test_large_identifiers_and_long_fractions_survive() -> None:
    read = decode(b'{"id":1790764244366000123456,"price":0.1234567890123456789012345678}')
    assert read == {"id": 1790764244366000123456, "price": Decimal("0.1234567890123456789012345678")}


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e999", "", " ", "12 3", "0x10", "1" * 41])
def test_what_is_no_believable_number_is_refused(text: str) -> None:
    with pytest.raises(wire.Malformed):
        wire.number({"price": text}, "price")
    with pytest.raises(wire.Malformed):
        wire.number({"price": 0.5}, "price")


def test_a_number_that_is_absent_is_none_and_one_that_is_zero_is_zero() -> None:
    assert wire.number({}, "price") is None
    assert wire.number({"price": None}, "price") is None
    assert wire.number({"price": 0}, "price") == 0
    with pytest.raises(wire.Malformed, match="missing"):
        wire.need_number({}, "price")


def test_a_market_order_stays_one_though_the_engine_calls_it_limit() -> None:
    row = decode(json.dumps(order_row(order_type="limit", original_order_type="market", reduce_only=True)))
    assert wire.order(row).type.value == "market"


def test_an_unknown_order_type_and_time_in_force_are_kept_apart() -> None:
    read = wire.order(decode(json.dumps(order_row(order_type="iceberg", time_in_force="until_lunch"))))
    assert (read.type.value, read.time_in_force) == ("other", None)


def test_what_moved_us_by_force_is_told_apart() -> None:
    read = wire.fill(decode(json.dumps(trade_row(1, liquidation="M"))))
    assert read.liquidation
    assert wire.order(decode(json.dumps(order_row(is_liquidation=True)))).origin == "liquidation"
