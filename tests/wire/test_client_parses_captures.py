"""Every captured document of the gateway is read by the client, member by member."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.exchange.gateway import account, wire
from perpctl.exchange.gateway.errors import RpcFailure
from perpctl.exchange.gateway.feed.channels import told, user_events
from perpctl.exchange.gateway.feed.depth import Depth
from perpctl.exchange.gateway.rpc import decode, unwrap
from perpctl.exchange.http import NoAnswer
from perpctl.model.instrument import Book, Quote

FOLDER = Path(__file__).parents[2] / "../shared/coinbase/gateway/fixtures"
FILES = sorted(path.name for path in FOLDER.glob("*.json") if path.name != "doc-requests-by-method.json")


def _rows(document: Any) -> list[Any]:
    return list(document) if isinstance(document, list) else [document]


def _result(name: str) -> Any:
    """The result, whatever envelope a file kept of it."""
    text = (FOLDER / name).read_bytes()
    if text.lstrip()[:1] == b"[":
        return decode(b'{"rows":' + text + b"}")["rows"]
    document = decode(text)
    if "error" in document or "result" in document:
        return unwrap({"id": 1, **document}, document.get("id", 1))
    return document


def _exact(value: Any) -> Iterator[Any]:
    """Every number of a document."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _exact(item)
    elif isinstance(value, int | float | Decimal):
        yield value


def _each(read: Callable[[wire.Row], Any], member: str | None = None) -> Callable[[Any], Any]:
    def run(result: Any) -> Any:
        rows = result[member] if member else _rows(result)
        assert rows
        return [read(row) for row in rows]

    return run


def _answer(result: Any) -> Any:
    return wire.order(result["order"]), [wire.fill(row) for row in result["trades"]]


def _depth(row: wire.Row) -> Book:
    depth = Depth()
    depth.apply(row)
    return depth.book(0.0)


READERS: dict[str, Callable[[Any], Any]] = {
    "gw-doc-buy-sell-close": _answer,
    "gw-doc-edit": _answer,
    "native-real-ws-order-buy": _answer,
    "native-real-ws-order-sell": _answer,
    "native-real-ws-order-edit": _answer,
    "native-real-ws-order-stop": _answer,
    "native-real-ws-order-cancel": wire.order,
    "gw-doc-cancel.": wire.order,
    "gw-doc-get-order-state.": wire.order,
    "gw-doc-get-order-state-by-label": _each(wire.order),
    "gw-doc-get-open-orders": _each(wire.order),
    "gw-doc-get-order-history": _each(wire.order),
    "gw-doc-get-user-trades.": _each(wire.fill, "trades"),
    "gw-doc-get-user-trades-by-order": _each(wire.fill),
    "gw-doc-get-position": _each(lambda row: wire.position(row, 0.0, 0)),
    "native-real-position": _each(lambda row: wire.position(row, 0.0, 0)),
    "gw-doc-get-transaction-log": _each(lambda row: wire.settlement(row, None), "logs"),
    "gw-doc-get-account-summaries": lambda result: account.account(result, "BTC", (), account.Moment(0, 0.0)),
    "native-real-http-get-account-summaries": lambda result: account.account(result, "BTC", (), account.Moment(0, 0.0)),
    "gw-doc-get-account-summary": account.identity,
    "gw-doc-get-subaccounts": account.subaccount_ids,
    "gw-doc-get-announcements": account.announcements,
    "gw-doc-status": account.locked_word,
    "gw-real-tradingview": wire.candles,
    "native-real-http-get-tradingview": wire.candles,
    "native-doc-http-get-tradingview": wire.candles,
    "gw-real-order-book": lambda result: (wire.book(result, 0.0, 5), wire.quote(result, 0.0)),
    "native-real-http-get-order-book": lambda result: (wire.book(result, 0.0, 5), wire.quote(result, 0.0)),
    "gw-real-ticker": lambda result: wire.quote(result, 0.0),
    "native-doc-http-ticker": lambda result: wire.quote(result, 0.0),
    "gw-real-instruments": _each(lambda row: wire.is_linear_perpetual(row) and wire.instrument(row)),
    "gw-real-get-instruments": _each(lambda row: wire.is_linear_perpetual(row) and wire.instrument(row)),
    "native-real-http-get-instrument": _each(lambda row: wire.is_linear_perpetual(row) and wire.instrument(row)),
    "gw-real-get-time": lambda result: wire.whole({"time": result}, "time"),
    "native-real-http-get-time": lambda result: wire.whole({"time": result}, "time"),
    "native-doc-ws-user-changes": lambda message: user_events(told(message)[1], 0, 0.0),
    "native-real-ws-book-snapshot": lambda message: _depth(told(message)[1]),
    "native-doc-ws-ticker": lambda message: wire.quote(told(message)[1], 0.0),
    "native-real-ws-ticker": lambda message: wire.quote(told(message)[1], 0.0),
    "gw-real-stream-quote": lambda message: wire.quote(told(message)[1], 0.0),
    "native-real-ws-quote": lambda message: wire.quote(told(message)[1], 0.0),
}


@pytest.mark.skipif(not FILES, reason="../shared is absent")
@pytest.mark.parametrize("name", FILES)
def test_a_captured_document_is_read_without_losing_a_digit(name: str) -> None:
    if "-error" in name:
        with pytest.raises((RpcFailure, NoAnswer)):
            _result(name)
        return
    result = _result(name)
    assert not any(isinstance(number, float) for number in _exact(result))
    readers = [read for start, read in READERS.items() if name.startswith(start)]
    for read in readers:
        assert read(result) is not None


@pytest.mark.skipif(not FILES, reason="../shared is absent")
def test_each_reader_has_a_document() -> None:
    assert [start for start in READERS if not any(name.startswith(start) for name in FILES)] == []


@pytest.mark.skipif(not FILES, reason="../shared is absent")
def test_the_captured_ticker_keeps_a_funding_rate_of_zero_apart_from_a_missing_one() -> None:
    quote = READERS["gw-real-ticker"](_result("gw-real-ticker-20260930.json"))
    assert isinstance(quote, Quote)
    assert (quote.current_funding, quote.funding_8h) == (Decimal(0), Decimal("0.00001836"))
    assert (quote.band_low, quote.band_high) == (Decimal("82511.4"), Decimal("85024.6"))


@pytest.mark.skipif(not FILES, reason="../shared is absent")
def test_only_the_linear_perpetuals_of_the_captured_list_are_ours() -> None:
    rows = _result("gw-real-instruments-futures-20260930.json")
    ours = [wire.instrument(row) for row in rows if wire.is_linear_perpetual(row)]
    assert [item.product_id for item in ours] == ["BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"]
    assert (ours[0].symbol, ours[0].tick, ours[0].size_step) == ("BTC-PERP", Decimal("0.1"), Decimal("0.0001"))
    assert (ours[0].price_decimals, ours[0].size_decimals) == (1, 4)


@pytest.mark.skipif(not FILES, reason="../shared is absent")
def test_ids_beyond_two_to_the_53rd_stay_whole() -> None:
    trades = _result("gw-real-last-trades-20260930.json")["trades"]
    assert all(isinstance(row["starbase_match_id"], int) and row["starbase_match_id"] > 2**53 for row in trades)
