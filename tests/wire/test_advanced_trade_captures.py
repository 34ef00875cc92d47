"""Every captured document of Advanced Trade v3 is read by the client, or refused by name where it makes no sense."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from perpctl.errors import CredentialError, Throttled, VenueRefused
from perpctl.exchange.advanced_trade import errors
from perpctl.exchange.advanced_trade.errors import HttpFailure, Kind
from perpctl.exchange.advanced_trade.feed.market import Depth
from perpctl.exchange.advanced_trade.wire import money, orders, products, words
from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.both.document import Malformed, decode, row_of, rows_of, text
from perpctl.exchange.port import Identity
from perpctl.model.instrument import BookState
from perpctl.model.order import OrderStatus, OrderType

FOLDER = Path(__file__).parents[2] / "../shared/coinbase/advanced_trade/fixtures"
needs_captures = pytest.mark.skipif(not FOLDER.exists(), reason="../shared, which holds the captures, is absent")
# drb_* are the gateway's, intx_* of an exchange that closed, request_samples_* not answers, key files not documents.
_NOT_OURS = re.compile(r"(drb_|intx_|request_samples|subscribe_|unsubscribe_|cdp_key)")
FILES = sorted(str(path.relative_to(FOLDER)) for path in FOLDER.glob("*/*.json") if not _NOT_OURS.match(path.name))
UNIT = Contract("X", "X", Decimal("0.01"), Decimal("0.01"))
WHO, NOW = Identity("a", None), money.Moment(1, 0.0)
SENSELESS = {  # printed by vendors to show every member at once: placeholders, impossible combinations
    "rest/cfm_balance_summary_doc_2026.json": "not a number",
    "rest/cfm_positions_doc_2026.json": "not a number",
    "rest/order_get_doc.json": "does not say how much",
    "rest/orders_list_doc.json": "it has 9 configurations",
}


def read_order(row: Any) -> Any:
    return orders.order(row, UNIT)


def read_orders(answer: Any) -> Any:
    return [read_order(row) for row in rows_of(answer["orders"], "orders")]


def read_fills(answer: Any) -> Any:
    rows = rows_of(answer["fills"], "fills")
    return orders.applied(rows, {text(row, "entry_id"): orders.fill(row, UNIT, None) for row in rows})


def read_products(answer: Any) -> Any:
    rows = rows_of(answer["products"], "products")
    return [products.is_perpetual(row) for row in rows], [
        products.instrument(row, None) for row in rows if products.is_future(row)
    ]


def read_product(row: Any) -> Any:
    return (products.instrument(row, None), products.session(row)) if products.is_future(row) else (row["product_id"],)


def read_positions(answer: Any) -> Any:
    units = {row["product_id"]: UNIT for row in answer["positions"]}
    return answer["positions"], money.positions(answer["positions"], units, NOW)


def read_user(message: Any) -> Any:
    at_ms = words.need_moment(message, "timestamp")
    found: list[Any] = []
    for event in message["events"]:
        found += [orders.pushed(row, UNIT, at_ms) for row in event["orders"]]
        held = (event.get("positions") or {}).get("expiring_futures_positions") or []
        found += [money.pushed_position(row, UNIT, NOW) for row in held]
    return found


def read_depth(message: Any) -> Any:
    depth = Depth(UNIT)
    for event in message["events"]:
        depth.apply({**event, "type": "snapshot"}, message["timestamp"])
    return depth.book(0.0)


def read_created(answer: Any) -> Any:
    if answer["success"]:
        return text(row_of(answer["success_response"], "success_response"), "order_id")
    return errors.refusal(answer)


READERS: dict[str, Callable[[Any], Any]] = {
    "rest/product_get_": read_product,
    "rest/products_list_": read_products,
    "rest/cfm_balance_summary_": lambda answer: money.account(answer["balance_summary"], WHO, None, NOW),
    "rest/cfm_positions_": read_positions,
    "rest/cfm_position_values": lambda answer: money.position(row_of(answer["position"], "position"), UNIT, NOW),
    "rest/cfm_current_margin_window": lambda answer: (money.margin_window(answer),),
    "rest/key_permissions": lambda answer: (money.identity(answer), money.scopes(answer)),
    "rest/transaction_summary_": products.fees,
    "rest/order_get_": lambda answer: read_order(row_of(answer["order"], "order")),
    "rest/orders_list": read_orders,
    "rest/fills_list_": read_fills,
    "rest/order_create_": read_created,
    "rest/order_close_position_doc": read_created,
    "rest/product_book": lambda answer: products.book(answer["pricebook"], UNIT, 0.0, 5),
    "rest/candles": lambda answer: products.candles(answer["candles"], UNIT),
    "rest/time": lambda answer: int(answer["epochMillis"]),
    "rest/error_": lambda answer: errors.words_of(answer.get("body", answer)) or str(answer),
    "ws/user_": read_user,
    "ws/l2_data_": read_depth,
}


def _document(name: str) -> Any:
    return decode((FOLDER / name).read_bytes())


@needs_captures
@pytest.mark.parametrize("name", FILES)
def test_a_captured_document_is_read_or_refused_by_name(name: str) -> None:
    document = _document(name)
    reader = next((read for start, read in READERS.items() if name.startswith(start)), None)
    if name in SENSELESS:
        assert reader is not None
        with pytest.raises(Malformed, match=SENSELESS[name]):
            reader(document)
        return
    if reader is not None:
        assert reader(document) not in (None, [], "")


@needs_captures
def test_each_reader_has_a_document() -> None:
    assert [start for start in READERS if not any(name.startswith(start) for name in FILES)] == []


@needs_captures
def test_every_message_of_the_sockets_has_its_channel_and_its_number() -> None:
    for name in (one for one in FILES if one.startswith("ws/")):
        message = _document(name)
        assert isinstance(message["channel"], str), name
        assert isinstance(message["sequence_num"], int), name
        assert rows_of(message["events"], "events"), name


@needs_captures
def test_the_perpetual_is_found_by_its_funding_and_counted_in_coin() -> None:
    rows = _document("rest/products_list_future_cde.json")["products"]
    assert [products.is_perpetual(row) for row in rows] == [True, False]
    found = products.instrument(rows[0], products.Fees(Decimal("0.00075"), Decimal("0.0008")))
    assert (found.symbol, found.product_id, found.base, found.currency) == ("BTC-PERP", "BIP-20DEC30-CDE", "BTC", "USD")
    assert (found.tick, found.size_step, found.contract_size, found.max_size) == (
        5,
        Decimal("0.01"),
        Decimal("0.01"),
        50,
    )
    assert found.state is BookState.OPEN
    assert found.mark_absent
    rates = {one.window: (one.long.initial, one.short.initial) for one in found.margin_rates}
    assert rates["overnight"] == (Decimal("0.245625"), Decimal("0.306375"))
    assert found.session is not None
    assert found.session.is_open
    assert found.session.closed_reason is None  # set in the capture though the session is open
    assert found.session.stop_starts_ms is not None


@needs_captures
def test_the_hourly_rate_is_stated_for_eight_hours() -> None:
    row = _document("rest/product_get_bip_20dec30_cde.json")
    rate = products.funding_rate(row, 1_775_521_800_000)  # 2026-04-07 00:30
    assert rate is not None
    assert (rate.current, rate.rate_8h) == (Decimal("0.000013"), Decimal("0.000104"))
    assert rate.next_at_ms == 1_775_523_600_000  # 01:00
    assert products.funding_rate(_document("rest/product_get_bit_24apr26_cde.json"), 1) is None


@needs_captures
def test_equity_is_cash_and_unrealised_and_margin_counts_in_the_dearest_window() -> None:
    found = money.account(_document("rest/cfm_balance_summary_values.json")["balance_summary"], WHO, "intraday", NOW)
    assert (found.balance, found.equity, found.spot_cash) == (8000, 8150, 2000)
    assert (found.initial_margin, found.maintenance_margin) == (1000, 500)
    assert [one.window for one in found.measures] == ["intraday", "overnight"]


@needs_captures
@pytest.mark.parametrize(
    ("name", "kind", "error"),
    [
        ("rest/error_401_unauthorized.json", Kind.UNAUTHORIZED, CredentialError),
        ("rest/error_403_missing_scopes.json", Kind.FORBIDDEN, CredentialError),
        ("rest/error_404_order_not_found.json", Kind.NOT_FOUND, VenueRefused),
        ("rest/error_429_rate_limit.json", Kind.THROTTLED, Throttled),
    ],
)
def test_each_refusal_by_status_has_its_meaning(name: str, kind: Kind, error: type[Exception]) -> None:
    document = _document(name)
    said = errors.words_of(document["body"]) if "body" in document else str(document.get("body_fragment", ""))
    failure = HttpFailure(document["http_status"], said)
    assert failure.kind is kind
    assert isinstance(errors.typed(failure, "GET /x"), error)


@needs_captures
def test_the_venues_own_limit_of_ids_is_read_from_its_complaint() -> None:
    said = errors.words_of(_document("rest/error_batch_cancel_too_many_ids.json"))
    assert errors.allowed_ids(HttpFailure(400, said)) == 100


@needs_captures
def test_the_most_telling_reason_of_a_refusal_is_taken() -> None:
    hidden = errors.refusal(_document("rest/order_create_failed_preview_reason.json"))
    assert hidden == "STOP_PRICE_ABOVE_LAST_TRADE_PRICE: the stop is beyond the last price already"
    assert errors.refusal(_document("rest/order_create_failed_unsupported.json")).startswith("UNSUPPORTED_ORDER")


@needs_captures
def test_captured_orders_keep_their_state_and_terms() -> None:
    [done] = read_orders(_document("rest/orders_list.json"))
    assert (done.status, done.type, done.remaining) == (OrderStatus.FILLED, OrderType.MARKET, 0)
    resting = read_order(_document("rest/order_get_open_limit.json")["order"])
    assert (resting.status, resting.size, resting.price) == (OrderStatus.OPEN, Decimal("0.002"), Decimal("0.006"))
    assert resting.identity == "e5fe8482-05bb-428f-ad4d-dbc8ce39239c"


@needs_captures
def test_a_row_of_empty_text_is_missing_and_never_zero() -> None:
    [ticker] = _document("ws/ticker_batch_empty_row.json")["events"][0]["tickers"]
    assert words.number(ticker, "price") is None
    with pytest.raises(Malformed, match="missing"):
        words.need_number(ticker, "price")
