"""Whatever the US venue sends, the client reads it exactly or says that it cannot: no crash, no float, no guess."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpctl.exchange.advanced_trade import errors
from perpctl.exchange.advanced_trade.feed.market import Depth
from perpctl.exchange.advanced_trade.wire import money, orders, products, words
from perpctl.exchange.both.document import decode, text
from perpctl.exchange.http import NoAnswer
from perpctl.exchange.port import Identity
from tests.exchange.advanced_trade.venue import BOOK, PRODUCT, fill_row, order_row
from tests.wire.test_client_reads_anything import anything

UNIT = products.contract(PRODUCT)
NOW = money.Moment(1, 0.0)
PUSHED = {
    "order_id": "o-1",
    "client_order_id": "mine",
    "product_id": UNIT.product_id,
    "order_side": "BUY",
    "order_type": "Limit",
    "status": "OPEN",
    "cumulative_quantity": "1",
    "leaves_quantity": "2",
    "avg_price": "84000",
    "limit_price": "",
    "creation_time": "2026-11-25T13:00:00Z",
    "end_time": "0001-01-01T00:00:00Z",
}
SUMMARY = {name: {"value": "5", "currency": "USD"} for name in (
    "cfm_usd_balance", "unrealized_pnl", "initial_margin", "liquidation_threshold", "funding_pnl",
)}  # fmt: skip
HELD = {"product_id": UNIT.product_id, "side": "LONG", "number_of_contracts": "2", "current_price": "84100"}
LEVELS = {"type": "snapshot", "updates": [{"side": "bid", "price_level": "84100", "new_quantity": "3"}]}


def _depth(event: Any) -> Any:
    depth = Depth(UNIT)
    depth.apply(event, "2026-11-25T13:00:00Z")
    return depth.book(0.0)


def _fills(row: Any) -> Any:
    return orders.applied([row], {text(row, "entry_id"): orders.fill(row, UNIT, None)})


READERS: dict[str, tuple[dict[str, Any], Callable[[Any], Any]]] = {
    "order": (order_row(), lambda row: orders.order(row, UNIT)),
    "pushed order": (PUSHED, lambda row: orders.pushed(row, UNIT, 5)),
    "fill": (fill_row("e"), _fills),
    "product": (PRODUCT, lambda row: (products.is_perpetual(row), products.instrument(row, None))),
    "funding": (PRODUCT, lambda row: products.funding_rate(row, 1)),
    "details": (PRODUCT["future_product_details"], products.margin_rates),
    "book": (dict(BOOK["pricebook"]), lambda row: products.book(row, UNIT, 0.0, 5)),
    "account": (SUMMARY, lambda row: money.account(row, Identity("a", None), None, NOW)),
    "position": (HELD, lambda row: money.position(row, UNIT, NOW)),
    "depth": (LEVELS, _depth),
    "refusal": ({"error_response": {"error": "X"}}, errors.refusal),
    "error": ({"errors": [{"id": "x"}]}, errors.words_of),
}


@pytest.mark.parametrize("name", READERS)
def test_an_undamaged_document_is_read(name: str) -> None:
    row, read = READERS[name]
    assert read(decode(json.dumps(row))) is not None


@pytest.mark.parametrize("name", READERS)
@settings(max_examples=150, deadline=None)
@given(choice=st.data())
def test_a_damaged_document_is_read_or_refused(name: str, choice: st.DataObject) -> None:
    row, read = READERS[name]
    member = choice.draw(st.sampled_from(sorted(row)))
    damaged = {**row, member: choice.draw(anything)}
    try:
        read(decode(json.dumps(damaged)))
    except NoAnswer:
        return


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", " ", "12 3", "0x10", "1" * 41, "<string>"])
def test_what_is_no_believable_number_is_refused(text: str) -> None:
    with pytest.raises(NoAnswer):
        words.number({"price": text}, "price")
    with pytest.raises(NoAnswer):
        words.number({"price": {"value": text, "currency": "USD"}}, "price")


@given(st.integers(1, 10**6), st.sampled_from(["0.01", "0.1", "5", "500"]))
def test_contracts_become_coin_and_come_back_the_same(count: int, size: str) -> None:
    unit = products.Contract("X", "X", Decimal(size), Decimal(1))
    assert unit.contracts(unit.coin(Decimal(count))) == count
    assert unit.contracts(unit.coin(Decimal(count)) + unit.size / 2) is None


def test_a_time_of_year_one_is_a_time_that_nobody_set() -> None:
    assert words.moment(PUSHED, "end_time") is None
    assert words.moment({"at": "2026-04-07T00:28:59.662782Z"}, "at") == 1_775_521_739_662
    assert words.stamp(1_775_521_739_662) == "2026-04-07T00:28:59.662Z"
