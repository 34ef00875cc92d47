"""Answers beside real captures and documented examples: the same members, the same JSON types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.paper.advanced_trade.trader import BIP_ID, Refused, Socket, Trader, at

FIXTURES = Path(__file__).parents[3] / "../shared/coinbase/advanced_trade/fixtures"


def capture(name: str) -> Any:
    path = FIXTURES / f"{name}.json"
    if not path.exists():
        pytest.skip("../shared is absent")
    return json.loads(path.read_text())


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "list", dict: "object", type(None): "null"}[type(value)]


def differences(ours: Any, theirs: Any, where: str = "", spared: tuple[str, ...] = ()) -> dict[str, Any]:
    """Members of a capture that ours lacks or types otherwise; lists by first rows; a captured null fits."""
    if kind(theirs) == "null":
        return {}
    if kind(ours) != kind(theirs):
        return {where: (kind(ours), kind(theirs))}
    if isinstance(theirs, list):
        return differences(ours[0], theirs[0], f"{where}[]", spared) if ours and theirs else {}
    if not isinstance(theirs, dict):
        return {}
    found: dict[str, Any] = {}
    for name, value in theirs.items():
        inner = f"{where}.{name}".lstrip(".")
        if name in spared or inner in spared:
            continue
        found |= differences(ours[name], value, inner, spared) if name in ours else {inner: "absent"}
    return found


@pytest.fixture
def busy(trader: Trader) -> Trader:
    """An account with a position, a resting order, a filled one and a planned sweep."""
    trader.placed("BUY", 3, client_order_id="bought")
    trader.limit("BUY", 2, "83000", client_order_id="resting")
    trader.market("84010")
    return trader


def test_future_products_are_the_captured_ones_but_for_the_market(busy: Trader) -> None:
    theirs = {row["product_id"]: row for row in capture("rest/products_list_future_cde")["products"]}
    rows = {row["product_id"]: row for row in busy.get("/products", product_type="FUTURE")["products"]}
    assert set(rows) == {BIP_ID, "ETP-20DEC30-CDE", "SLP-20DEC30-CDE", "BIT-25JUN27-CDE"}
    for ours, captured in ((rows[BIP_ID], theirs[BIP_ID]), (rows["BIT-25JUN27-CDE"], theirs["BIT-24APR26-CDE"])):
        assert differences(ours, captured) == {}
        assert set(ours) == set(captured)
        assert set(ours["future_product_details"]) == set(captured["future_product_details"])
        # null and empty say what a client must read as missing: they stand where the venue has them
        for mine, real in ((ours, captured), (ours["future_product_details"], captured["future_product_details"])):
            empty = {name for name, value in real.items() if value in ("", None)}
            assert {name for name in mine if mine[name] in ("", None)} == empty
    fixed = (
        "base_increment", "quote_increment", "price_increment", "base_min_size", "base_max_size", "quote_max_size",
        "product_type", "product_venue", "display_name", "quote_currency_id", "status",
    )  # fmt: skip
    assert {name: rows[BIP_ID][name] for name in fixed} == {name: theirs[BIP_ID][name] for name in fixed}
    details = (
        "venue", "contract_code", "contract_expiry", "contract_size", "contract_root_unit", "group_description",
        "group_short_description", "contract_expiry_type", "contract_expiry_name", "funding_interval", "display_name",
        "intraday_margin_rate", "overnight_margin_rate", "futures_asset_type", "risk_managed_by",
    )  # fmt: skip
    ours, real = rows[BIP_ID]["future_product_details"], theirs[BIP_ID]["future_product_details"]
    assert {name: ours[name] for name in details} == {name: real[name] for name in details}


def test_the_spot_product_has_the_members_of_the_capture(busy: Trader) -> None:
    ours, theirs = busy.get("/products/BTC-USD"), capture("rest/product_get_spot")
    assert differences(ours, theirs) == {}
    assert set(ours) == set(theirs)


HOUR_S = at("2026-09-30T14:00:00") // 1000
MARKET = [
    ("rest/product_book", "/market/product_book", {"product_id": BIP_ID, "limit": 5}),
    ("rest/market_trades", f"/market/products/{BIP_ID}/ticker", {"limit": 3}),
    (
        "rest/candles",
        f"/market/products/{BIP_ID}/candles",
        {"start": HOUR_S, "end": HOUR_S + 3600, "granularity": "ONE_HOUR"},
    ),
    ("rest/best_bid_ask", "/best_bid_ask", {"product_ids": [BIP_ID]}),
    ("rest/time", "/time", {}),
    ("rest/accounts_list", "/accounts", {}),
    ("rest/transaction_summary_2025", "/transaction_summary", {}),
]


@pytest.mark.parametrize(("name", "path", "query"), MARKET)
def test_reads_have_the_members_of_real_captures(busy: Trader, name: str, path: str, query: dict[str, Any]) -> None:
    assert differences(busy.get(path, **query), capture(name)) == {}


def test_orders_and_fills_have_the_members_of_real_captures(busy: Trader) -> None:
    rows = {row["client_order_id"]: row for row in busy.listed()}
    config = ("order_configuration",)  # the captures are of other configurations
    for name, mine in (
        ("rest/orders_list", "bought"),
        ("rest/orders_list_filled_spot_2023", "bought"),
    ):
        theirs = capture(name)
        filled = busy.get("/orders/historical/batch", order_status="FILLED")
        assert differences(filled, theirs, "", (*config, "cursor")) == {}
        assert differences(rows[mine], theirs["orders"][0], "", (*config, "cursor")) == {}
    opened = capture("rest/order_get_open_limit")["order"]
    ours = busy.shown(rows["resting"]["order_id"])
    assert differences(ours, opened) == {}
    same = ("status", "time_in_force", "trigger_status", "order_type", "reject_reason", "fee", "settled")
    assert {name: ours[name] for name in same} == {name: opened[name] for name in same}
    for name in ("rest/fills_list_spot_2023", "rest/fills_list_perp_intx_2024"):
        theirs = capture(name)["fills"][0]
        theirs.pop("cursor", None)  # added by the project that recorded it
        assert differences(busy.get("/orders/historical/fills")["fills"][0], theirs) == {}


def test_answers_to_orders_have_the_members_of_real_captures(trader: Trader) -> None:
    taken = trader.order("BUY", 1)
    assert differences(taken, capture("rest/order_create_success")) == {}
    stop = {"limit_price": "84500", "stop_price": "84500", "stop_direction": "STOP_DIRECTION_STOP_DOWN"}
    refused = trader.order("BUY", 1, "stop_limit_stop_limit_gtc", reduce_only=False, **stop)
    theirs = capture("rest/order_create_failed_preview_reason")
    assert differences(refused, theirs) == {}
    for name in ("error", "preview_failure_reason"):
        assert refused["error_response"][name] == theirs["error_response"][name]
    unsupported = trader.order("BUY", 1, "sor_limit_ioc", limit_price="84000")
    theirs = capture("rest/order_create_failed_unsupported")
    assert differences(unsupported, theirs, "", ("order_configuration",)) == {}
    assert unsupported["error_response"]["error"] == theirs["error_response"]["error"]
    assert unsupported["error_response"]["message"] == theirs["error_response"]["message"]


def test_cancels_answer_exactly_as_captured(trader: Trader) -> None:
    (row,) = trader.cancel(trader.limit("BUY", 1, "83000"))
    (real,) = capture("rest/orders_batch_cancel_success")["results"]
    assert {**row, "order_id": ""} == {**real, "order_id": ""}


def test_errors_have_the_captured_words(trader: Trader) -> None:
    with pytest.raises(Refused) as missing:
        trader.get("/orders/historical/00000000-0000-0000-0000-000000000000")
    real = capture("rest/error_404_order_not_found")
    assert (missing.value.status, missing.value.json) == (real["http_status"], real["body"])
    real = capture("rest/error_401_unauthorized")
    reply = trader.raw("GET", "/accounts", sub="somebody else")
    assert (reply.status, reply.body.decode()) == (real["http_status"], real["body_text"])
    assert reply.headers["content-type"].startswith(real["content_type"])
    with pytest.raises(Refused) as many:
        trader.cancel(*map(str, range(101)))
    assert differences(many.value.json, capture("rest/error_batch_cancel_too_many_ids")) == {}
    trader.face.limits.enabled = True
    for _ in range(31):
        last = trader.raw("GET", "/accounts")
    real = capture("rest/error_429_rate_limit")
    assert (last.status, json.loads(last.body)) == (real["http_status"], real["body"])


DOCUMENTED = [
    ("rest/cfm_balance_summary_doc_2026", "/cfm/balance_summary", ()),
    ("rest/cfm_positions_doc_2026", "/cfm/positions", ()),
    ("rest/cfm_current_margin_window", "/cfm/intraday/current_margin_window", ()),
    ("rest/cfm_intraday_margin_setting_get", "/cfm/intraday/margin_setting", ()),
    ("rest/portfolios_list", "/portfolios", ()),
    ("rest/key_permissions", "/key_permissions", ()),
    ("rest/fills_list_doc", "/orders/historical/fills", ()),
    # Placeholders of the examples: every configuration at once, and a sequence that is text.
    # The newest order here has no fill.
    ("rest/orders_list_doc", "/orders/historical/batch", ("order_configuration", "edit_history", "last_fill_time")),
]


@pytest.mark.parametrize(("name", "path", "spared"), DOCUMENTED)
def test_reads_have_the_members_of_documented_examples(
    busy: Trader, name: str, path: str, spared: tuple[str, ...]
) -> None:
    assert differences(busy.get(path), capture(name), "", spared) == {}


def test_the_preview_has_every_documented_member(busy: Trader) -> None:
    wanted = {"market_market_ioc": {"base_size": "1"}}
    ours = busy.post("/orders/preview", product_id=BIP_ID, side="BUY", order_configuration=wanted)
    theirs = capture("rest/order_preview_doc_2026")
    assert set(ours) == set(theirs)
    # Sizes are numbers in the example only; what belongs to other kinds of order is null.
    others = ("pnl_configuration", "twap_bucket_metadata", "scaled_metadata", "compliance_limit_data")
    assert differences(ours, theirs, "", ("quote_size", "base_size", *others)) == {}


def test_the_breakdown_has_every_documented_member(busy: Trader) -> None:
    mine = busy.get("/portfolios")["portfolios"][0]["uuid"]
    theirs = capture("rest/portfolio_breakdown")
    ours = busy.get(f"/portfolios/{mine}")
    numbers = ("total_balance_fiat", "total_balance_crypto", "available_to_trade_fiat", "allocation", "one_day_change")
    assert differences(ours, theirs, "", numbers) == {}
    spot = ours["breakdown"]["spot_positions"][0]
    assert {kind(spot[name]) for name in numbers} == {"number"}


def test_sweeps_have_every_documented_member(busy: Trader) -> None:
    assert busy.post("/cfm/sweeps/schedule", usd_amount="100") == capture("rest/cfm_sweep_schedule")
    assert differences(busy.get("/cfm/sweeps"), capture("rest/cfm_sweeps_list")) == {}
    assert busy.delete("/cfm/sweeps") == capture("rest/cfm_sweep_cancel")


@pytest.mark.parametrize(
    "sample", range(6), ids=["post only", "market", "stop limit", "cancel", "close position", "edit"]
)
def test_documented_requests_are_understood(busy: Trader, sample: int) -> None:
    one = capture("rest/request_samples_v3")[sample]
    path = one["path"].removeprefix("/api/v3/brokerage")
    body = {**one["body"]}
    if "order_configuration" in body:  # the samples are of April's market
        ((kind_, terms),) = body["order_configuration"].items()
        moved = {"68900": "83900", "64900": "83800", "65000": "83900"}
        body["order_configuration"] = {kind_: {name: moved.get(v, v) for name, v in terms.items()}}
    answer = busy.post(path, **body)
    assert answer.get("success", True) is not False or path == "/orders/edit"


SNAPSHOTS = [
    ("ws/l2_data_snapshot_nautilus", "level2", "l2_data"),
    ("ws/market_trades_update", "market_trades", "market_trades"),
    ("ws/ticker_snapshot", "ticker", "ticker"),
    ("ws/ticker_batch_snapshot", "ticker_batch", "ticker_batch"),
    ("ws/candles_snapshot", "candles", "candles"),
    ("ws/status_snapshot", "status", "status"),
    ("ws/heartbeats", "heartbeats", "heartbeats"),
    ("ws/futures_balance_summary_snapshot", "futures_balance_summary", "futures_balance_summary"),
    ("ws/user_snapshot_with_positions", "user", "user"),
]


@pytest.mark.parametrize(("name", "channel", "shown_as"), SNAPSHOTS)
def test_messages_have_the_members_of_captures(busy: Trader, name: str, channel: str, shown_as: str) -> None:
    socket: Socket = busy.open()
    ids = () if channel in ("heartbeats", "futures_balance_summary", "user") else (BIP_ID,)
    socket.subscribe(channel, *ids, signed=True)
    ours, theirs = socket.heard(shown_as)[0], capture(name)
    assert differences(ours, theirs) == {}
    assert set(ours) == set(theirs)
    if channel != "ticker":
        rows = [row for row in theirs["events"][0] if row != "type"]
        assert set(rows) <= set(ours["events"][0])


@pytest.mark.parametrize("name", ["heartbeat", "user", "after_unsubscribe"])
def test_acknowledgements_look_like_the_captured_ones(trader: Trader, name: str) -> None:
    socket = trader.open()
    if name == "heartbeat":
        socket.subscribe("heartbeats")
    elif name == "user":
        socket.subscribe("user", signed=True)
    else:
        socket.subscribe("ticker", BIP_ID)
        socket.subscribe("ticker", BIP_ID, kind="unsubscribe")
    ours, theirs = socket.heard("subscriptions")[-1], capture(f"ws/subscriptions_ack_{name}")
    assert set(ours) == set(theirs)
    mine, real = ours["events"][0]["subscriptions"], theirs["events"][0]["subscriptions"]
    assert set(mine) == set(real)
    if name != "user":
        assert mine == real
    if name in ("heartbeat", "user"):
        assert ours["sequence_num"] == theirs["sequence_num"]
