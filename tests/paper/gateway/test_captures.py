"""Every stored capture and example of a method or channel that is served here, beside our own answer: both ways.

What a capture has and we lack, and what we have and a capture lacks, must be explained by a name in a table below;
members that the venue's schemas name may be there without being in an old example.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.paper.gateway.trader import BTC, ETH
from tests.paper.gateway.world import USDC, WIDE, World

DOCUMENTS = Path(__file__).parents[3] / "../shared/coinbase/gateway"
FIXTURES = DOCUMENTS / "fixtures"
ON_BTC = {"instrument_name": BTC}


@dataclass(frozen=True)
class Case:
    """How our answer comes about; `schema` is the catalogue's name of the row, whose members may all be there."""

    ours: Callable[[World], Any]
    schema: str = ""
    lacks: frozenset[str] = frozenset()
    adds: frozenset[str] = frozenset()


def asked(method: str, **params: Any) -> Callable[[World], Any]:
    return lambda world: world.answer(method, **params)


def told(channel: str) -> Callable[[World], Any]:
    return lambda world: world.told(channel)


# Members of old examples: an old name of display_amount, options' fields, a discount that nobody gives, one name of
# trigger_offset; and members that only native Deribit has.
OLD = frozenset({"max_show", "underlying_price", "iv", "fees", "offset", "estimated_liquidation_ratio"}) | {
    "estimated_liquidation_ratio_map",
    "combo_trade_id",
    "is_password",
}
ENVELOPE = frozenset({"id", "usIn", "usOut", "usDiff", "testnet", "jsonrpc"})  # examples leave some out


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return {str: "string", list: "list", dict: "object", type(None): "null"}[type(value)]


def shape(value: Any, at: str = "") -> dict[str, set[str]]:
    """Every member by path with the kinds it has; rows of a list are taken together."""
    found: dict[str, set[str]] = {at: {kind(value)}}
    if isinstance(value, dict):
        by_name = at.endswith(("_map", "portfolio"))  # names of currencies or indices, not members
        for name, member in value.items():
            for path, kinds in shape(member, f"{at}.*" if by_name else f"{at}.{name}".lstrip(".")).items():
                found.setdefault(path, set()).update(kinds)
    if isinstance(value, list):
        for row in value:
            for path, kinds in shape(row, f"{at}[]").items():
                found.setdefault(path, set()).update(kinds)
    return found


@cache
def schemas() -> dict[str, frozenset[str]]:
    """The members of each object of the catalogue."""
    text = (DOCUMENTS / "METHODS.md").read_text()
    found = {
        name: frozenset(re.findall(r"\+?([a-z_][a-z0-9_/]*)\??:", members)) | _both(members)
        for name, members in re.findall(r"^\*\*([a-z_/ ()]+)\*\* — (.*)$", text, re.M)
    }
    found["placed"] = found["order"] | found["user_trade"]
    found["changes"] = found["placed"] | found["position"]
    found["summary"] = found["private/get_account_summary result"] | YOUNG
    return found


def _both(members: str) -> set[str]:
    """`starbase_match_id/starbase_order_id: integer` names two, `a, b: string` too."""
    return {
        name for group in re.findall(r"([a-z_]+(?:[/,] ?[a-z_]+)+)\??:", members) for name in re.split("[/, ]+", group)
    }


def differences(ours: Any, theirs: Any, case: Case) -> dict[str, str]:
    """What is on one side only, or of other kinds, and not explained; of what is absent whole, only its top."""
    mine, captured = shape(ours), shape(theirs)
    may_lack, may_add = case.lacks | OLD | ENVELOPE, case.adds | schemas().get(case.schema, frozenset()) | ENVELOPE
    found: dict[str, str] = {}
    for path in mine.keys() | captured.keys():
        name, holder = _last(path), _holder(path)
        if path not in mine:
            if name not in may_lack and holder in mine:
                found[path] = f"we lack {captured[path]}"
        elif path not in captured:
            if name not in may_add and holder in captured and not path.endswith("[]"):
                found[path] = f"we add {mine[path]}"
        elif not mine[path] & captured[path] and name not in case.lacks & case.adds:
            found[path] = f"ours is {mine[path]}, captured {captured[path]}"
    return found


def _holder(path: str) -> str:
    return path[:-2] if path.endswith("[]") else path.rpartition(".")[0]


def _last(path: str) -> str:
    return path.rpartition(".")[2].removesuffix("[]")


# Of the summary: named in the catalogue's text, or in a capture of native Deribit only.
YOUNG = frozenset({"close_out_margin", "projected_close_out_margin", "locked_balance", "delta_total_map"})


def case(ours: Callable[[World], Any], schema: str = "", lacks: str = "", adds: str = "") -> Case:
    return Case(ours, schema, frozenset(lacks.split()), frozenset(adds.split()))


_TICKER = "volume_notional interest_value"  # younger than the examples
_OPTION = "option_type strike tick_size_steps"  # no options are listed here
_UNTRADED = "high low price_change settlement_price"  # null without a trade in 24 hours, absent before a settlement
_NULL = "estimated_liquidation_price"  # always null on the gateway
_WHAT_CHANGED = (  # a change tells what changed and no more
    "best_ask_amount best_ask_price best_bid_amount best_bid_price estimated_delivery_price funding_8h index_price "
    "mark_price max_price min_price stats last_price interest_value current_funding settlement_price volume_usd "
    "high low price_change volume volume_notional open_interest"
)
_PORTFOLIO_MARGIN = (  # which is never on here
    "max_future_open_orders max_future_open_orders_size max_option_open_orders max_option_open_orders_size "
    "max_risk_reducing_orders max_total_open_orders"
)
_OF_OPTIONS = "interest_rate underlying_index underlying_price"
_OF_FUTURES = "current_funding estimated_delivery_price funding_8h volume_usd volume_notional"
_BY_INDEX = "*"  # no options are held, so their maps are empty; delta_total_map names what is
_OF_POSITIONS = "estimated_liquidation_price open_orders_margin"  # as get_positions has them
_MARGIN_DATA = "allocated_margin required_minimum suggested_amount required_im_delta"
CASES: dict[str, Case] = {
    "gw-doc-auth": case(lambda w: {"result": w.trader.auth()}, adds="enabled_features", lacks=""),
    "gw-doc-buy-sell-close": case(lambda w: w.bought, "placed"),
    "gw-doc-cancel-all": case(asked("private/cancel_all_by_currency_pair", currency_pair="eth_usdc")),
    "gw-doc-cancel": case(lambda w: {"result": w.stopped["result"]["order"]}, "order"),
    "gw-doc-change-margin-model": case(asked("private/change_margin_model", margin_model="cross_sm", dry_run=True)),
    "gw-doc-edit": case(lambda w: w.edited, "placed"),
    "gw-doc-funding-rate-history": case(asked("public/get_funding_rate_history", **ON_BTC, **WIDE)),
    "gw-doc-funding-rate-value": case(asked("public/get_funding_rate_value", **ON_BTC, **WIDE)),
    "gw-doc-get-access-log": case(lambda w: w.over_socket("private/get_access_log"), "access_log"),
    "gw-doc-get-account-summaries": case(
        asked("private/get_account_summaries", extended=True), "summary", lacks=_BY_INDEX, adds=_BY_INDEX
    ),
    "gw-doc-get-account-summary": case(
        asked("private/get_account_summary", **USDC, extended=True), "summary", lacks=_BY_INDEX
    ),
    "gw-doc-get-announcements": case(asked("public/get_announcements")),
    "gw-doc-get-cancel-on-disconnect": case(
        lambda w: w.over_socket("private/get_cancel_on_disconnect", scope="account")
    ),
    "gw-doc-get-leverage": case(asked("private/get_leverage", **ON_BTC)),
    "gw-doc-get-margins": case(asked("private/get_margins", **ON_BTC, amount=1, price=84000)),
    "gw-doc-get-max-order-size": case(asked("private/get_max_order_size", **ON_BTC)),
    "gw-doc-get-open-orders": case(asked("private/get_open_orders"), "order"),
    "gw-doc-get-order-history": case(asked("private/get_order_history_by_currency", **USDC, include_old=True), "order"),
    "gw-doc-get-order-margin-by-ids": case(lambda w: w.answer("private/get_order_margin_by_ids", ids=[w.id])),
    "gw-doc-get-order-state-by-label": case(asked("private/get_order_state_by_label", **USDC, label="x"), "order"),
    "gw-doc-get-order-state": case(lambda w: w.answer("private/get_order_state", order_id=w.id), "order"),
    "gw-doc-get-pme-params": case(asked("private/get_pme_params"), lacks=_PORTFOLIO_MARGIN),
    "gw-doc-get-position": case(asked("private/get_position", **ON_BTC), "position"),
    "gw-doc-get-positions": case(asked("private/get_positions"), "position"),
    "gw-doc-get-risk-profile": case(asked("private/get_risk_profile")),
    "gw-doc-get-settlement-history": case(
        asked("private/get_settlement_history_by_currency", **USDC, count=1), "settlement"
    ),
    "gw-doc-get-subaccounts": case(
        asked("private/get_subaccounts", with_portfolio=True, include_isolated=True),
        adds="isolated main_uid instrument_name",
    ),
    "gw-doc-get-trading-limits": case(asked("private/get_trading_limits"), lacks="max_total_short_options_positions"),
    "gw-doc-get-transaction-log": case(lambda w: w.almost_all_logs(), "transaction_log", lacks="ip addr transaction"),
    "gw-doc-get-trigger-order-history": case(
        asked("private/get_trigger_order_history", **USDC, count=1), "trigger_order_history_record"
    ),
    "gw-doc-get-user-locks": case(lambda w: w.while_locked("private/get_user_locks")),
    "gw-doc-get-user-trades-by-order": case(
        lambda w: w.answer("private/get_user_trades_by_order", order_id=w.bought["result"]["order"]["order_id"]),
        "user_trade",
    ),
    "gw-doc-get-user-trades": case(asked("private/get_user_trades_by_currency", **USDC, historical=True), "user_trade"),
    "gw-doc-ok": case(lambda w: w.over_socket("private/enable_cancel_on_disconnect")),
    "gw-doc-set-leverage": case(asked("private/set_leverage", **ON_BTC, leverage=25)),
    "gw-doc-status": case(asked("public/status"), lacks="locked locked_currencies", adds="locked locked_indices"),
    "gw-doc-submit-transfer": case(lambda w: w.moved),
    "gw-doc-subscribe-isolated": case(
        lambda w: w.over_socket("private/subscribe", channels=["user.isolated.portfolio.USDC"])
    ),
    "gw-doc-subscribe": case(lambda w: w.subscribed),
    "gw-real-funding-rate-history-20260809": case(asked("public/get_funding_rate_history", **ON_BTC, **WIDE)),
    "gw-real-funding-rate-value-20260930": case(asked("public/get_funding_rate_value", **ON_BTC, **WIDE)),
    "gw-real-get-currencies-20260908": case(asked("public/get_currencies"), lacks="coinbase_networks"),
    "gw-real-get-instruments-20260907": case(asked("public/get_instruments"), lacks=_OPTION),
    "gw-real-get-time-20260908": case(asked("public/get_time")),
    "gw-real-instruments-futures-20260930": case(
        lambda w: [r for r in w.answer("public/get_instruments")["result"] if r["kind"] == "future"]
    ),
    "gw-real-last-trades-20260930": case(asked("public/get_last_trades_by_instrument", **ON_BTC)),
    "gw-real-order-book-20260930": case(asked("public/get_order_book", **ON_BTC)),
    "gw-real-stream-quote-20260905": case(told(f"quote.{BTC}")),
    "gw-real-ticker-20260908": case(asked("public/ticker", **ON_BTC)),
    "gw-real-ticker-20260930": case(asked("public/ticker", **ON_BTC)),
    "gw-real-ticker-inverse-dated-20260908": case(
        asked("public/ticker", instrument_name="BTC_USDC-25JUN27"), lacks=_UNTRADED, adds=_UNTRADED
    ),
    "gw-real-ticker-spot-20260908": case(
        asked("public/ticker", instrument_name="BTC_USDC"), lacks=_UNTRADED, adds=_UNTRADED
    ),
    "gw-real-tradingview-chart-20260908": case(
        asked("public/get_tradingview_chart_data", **ON_BTC, **WIDE, resolution="60")
    ),
    "native-doc-error-edit-mmp": case(lambda w: w.answer("private/edit", order_id=w.id, mmp=True)),
    "native-doc-error-order-not-found": case(asked("private/cancel", order_id="USDC-1")),
    "native-doc-http-get-book-summary": case(
        asked("public/get_book_summary_by_instrument", **ON_BTC), lacks=_OF_OPTIONS, adds=_OF_FUTURES
    ),
    "native-doc-http-get-cancel-on-disconnect": case(
        lambda w: w.over_socket("private/get_cancel_on_disconnect", scope="account")
    ),
    "native-doc-http-get-instruments": case(asked("public/get_instruments"), "instrument", lacks=_OPTION),
    "native-doc-http-get-last-trades": case(asked("public/get_last_trades_by_instrument", **ON_BTC), "public_trade"),
    "native-doc-http-get-order-book": case(
        asked("public/get_order_book", **ON_BTC),
        "public/get_order_book result",
        adds=f"{_TICKER} estimated_delivery_price volume_usd",
    ),
    "native-doc-http-get-tradingview-chart-data": case(
        asked("public/get_tradingview_chart_data", **ON_BTC, **WIDE, resolution="60")
    ),
    "native-doc-http-test": case(asked("public/test")),
    "native-doc-http-ticker": case(asked("public/ticker", **ON_BTC), adds=_TICKER),
    "native-doc-ws-announcements": case(told("announcements")),
    "native-doc-ws-book-instrument-name-group-depth-interval": case(told(f"book.{BTC}.none.10.100ms")),
    "native-doc-ws-book-instrument-name-interval-2": case(lambda w: w.told_change(f"book.{BTC}.100ms")),
    "native-doc-ws-book-instrument-name-interval": case(told(f"book.{BTC}.100ms")),
    "native-doc-ws-chart-trades-instrument-name-resolution": case(told(f"chart.trades.{BTC}.1")),
    "native-doc-ws-deribit-price-index-index-name": case(told("deribit_price_index.btc_usdc")),
    "native-doc-ws-incremental-ticker-instrument-name-2": case(
        lambda w: w.told_change(f"incremental_ticker.{BTC}"), lacks=_WHAT_CHANGED, adds=_WHAT_CHANGED
    ),
    "native-doc-ws-incremental-ticker-instrument-name": case(told(f"incremental_ticker.{BTC}"), adds=_TICKER),
    "native-doc-ws-instrument-state-kind-currency": case(told("instrument.state.any.any")),
    "native-doc-ws-perpetual-instrument-name-interval": case(told(f"perpetual.{BTC}.100ms")),
    "native-doc-ws-platform-state-public-methods-state": case(told("platform_state.public_methods_state")),
    "native-doc-ws-platform-state": case(told("platform_state")),
    "native-doc-ws-quote-instrument-name": case(told(f"quote.{BTC}")),
    "native-doc-ws-ticker-instrument-name-interval": case(told(f"ticker.{BTC}.100ms"), adds=_TICKER),
    "native-doc-ws-trades-instrument-name-interval": case(told(f"trades.{BTC}.100ms"), "public_trade"),
    "native-doc-ws-user-access-log": case(told("user.access_log")),
    "native-doc-ws-user-changes-instrument-name-interval": case(
        told(f"user.changes.{BTC}.raw"), "changes", adds=_OF_POSITIONS
    ),
    "native-doc-ws-user-changes-kind-currency-interval": case(
        told("user.changes.any.any.raw"), "changes", adds=_OF_POSITIONS
    ),
    "native-doc-ws-user-liquidation-adl-received": case(lambda w: w.forced("ADL", taken=True)),
    "native-doc-ws-user-liquidation-lsp": case(lambda w: w.forced("LSP")),
    "native-doc-ws-user-lock": case(told("user.lock")),
    "native-doc-ws-user-orders-instrument-name-interval": case(told(f"user.orders.{BTC}.100ms"), "order"),
    "native-doc-ws-user-orders-instrument-name-raw": case(told(f"user.orders.{BTC}.raw"), "order"),
    "native-doc-ws-user-orders-kind-currency-interval": case(told("user.orders.any.any.100ms"), "order"),
    "native-doc-ws-user-orders-kind-currency-raw": case(told("user.orders.any.any.raw"), "order"),
    "native-doc-ws-user-portfolio-currency": case(told("user.portfolio.any"), "summary", lacks=_BY_INDEX),
    "native-doc-ws-user-trades-instrument-name-interval": case(told(f"user.trades.{BTC}.raw"), "user_trade"),
    "native-doc-ws-user-trades-kind-currency-interval": case(told("user.trades.any.any.raw"), "user_trade"),
    "native-real-http-get-account-summaries-cross-margin": case(
        asked("private/get_account_summaries", extended=True), "summary", lacks=_BY_INDEX, adds=_BY_INDEX
    ),
    "native-real-http-get-account-summaries": case(
        asked("private/get_account_summaries", extended=True), "summary", lacks=_BY_INDEX, adds=_BY_INDEX
    ),
    "native-real-http-get-expirations-any": case(
        asked("public/get_expirations", currency="any", kind="any"), lacks="option"
    ),
    "native-real-http-get-instrument": case(asked("public/get_instrument", **ON_BTC), "instrument"),
    "native-real-http-get-instruments": case(asked("public/get_instruments"), "instrument", lacks=_OPTION),
    "native-real-http-get-last-trades": case(asked("public/get_last_trades_by_instrument", **ON_BTC), "public_trade"),
    "native-real-http-get-order-book": case(asked("public/get_order_book", **ON_BTC), "public/get_order_book result"),
    "native-real-http-get-time": case(asked("public/get_time")),
    "native-real-http-get-tradingview-chart-data": case(
        asked("public/get_tradingview_chart_data", **ON_BTC, **WIDE, resolution="60")
    ),
    "native-real-http-test": case(asked("public/test")),
    "native-real-position-inverse-20250926": case(
        lambda w: w.answer("private/get_positions")["result"][0], "position", lacks=_NULL, adds=_NULL
    ),
    "native-real-ws-book-delta": case(lambda w: w.told_change(f"book.{BTC}.100ms")),
    "native-real-ws-book-grouped-snapshot": case(told(f"book.{BTC}.none.10.100ms")),
    "native-real-ws-book-snapshot": case(told(f"book.{BTC}.100ms"), lacks="prev_change_id"),
    "native-real-ws-chart": case(told(f"chart.trades.{BTC}.1")),
    "native-real-ws-error": case(asked("private/cancel", order_id="USDC-1"), lacks="data"),
    "native-real-ws-order-buy-response": case(lambda w: w.resting, "placed"),
    "native-real-ws-order-cancel-response": case(lambda w: w.cancelled, "order"),
    "native-real-ws-order-edit-response": case(lambda w: w.edited, "placed"),
    "native-real-ws-order-sell-response": case(lambda w: w.sold, "placed"),
    "native-real-ws-order-stop-market-no-filled-amount": case(lambda w: w.stopped, "placed"),
    "native-real-ws-order-stop-market-response": case(
        lambda w: w.stopped, "placed", lacks="average_price filled_amount"
    ),
    "native-real-ws-portfolio": case(told("user.portfolio.any"), "summary", adds=_BY_INDEX),
    "native-real-ws-quote": case(told(f"quote.{BTC}")),
    "native-real-ws-subscribe-response": case(lambda w: w.subscribed),
    "native-real-ws-test-request": case(lambda w: w.heartbeat()),
    "native-real-ws-ticker": case(told(f"ticker.{BTC}.100ms")),
    "native-real-ws-trades": case(told(f"trades.{BTC}.100ms"), "public_trade"),
    "skeleton-error-isolated-14033": case(
        lambda w: w.answer("private/buy", **ON_BTC, amount=1, type="market", isolated=True, allocated_margin=1),
        lacks="_note",
        adds=_MARGIN_DATA,
    ),
}
APART = {
    "doc-requests-by-method": "requests, not answers: test_documents.py walks its methods",
    "model-error-404-intx-retired": "what the old venue's path answers, which is not this host",
}


@pytest.fixture(scope="module")
def world() -> World:
    return World()


def stored() -> list[str]:
    return sorted(path.stem for path in FIXTURES.glob("*.json"))


def capture(name: str) -> Any:
    path = FIXTURES / f"{name}.json"
    if not path.exists():
        pytest.skip("../shared is absent")
    content = json.loads(path.read_text())
    if name == "native-real-position-inverse-20250926":  # printed with its numbers as text
        return {member: _number(value) for member, value in content.items()}
    return content


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def test_every_stored_capture_has_its_case() -> None:
    if not FIXTURES.exists():
        pytest.skip("../shared is absent")
    assert set(stored()) == CASES.keys() | APART.keys()


@pytest.mark.parametrize("name", sorted(CASES))
def test_our_answer_has_the_members_and_kinds_of_the_capture_and_no_others(world: World, name: str) -> None:
    assert differences(CASES[name].ours(world), capture(name), CASES[name]) == {}


def members(value: Any) -> list[tuple[Any, str]]:
    """Every object of an answer with each of its members' names."""
    if isinstance(value, dict):
        inner = [found for member in value.values() for found in members(member)]
        return [(value, name) for name in value] + inner
    return [found for row in value[:1] for found in members(row)] if isinstance(value, list) else []


@pytest.mark.parametrize("name", ["gw-real-ticker-20260930", "gw-real-last-trades-20260930", "gw-doc-get-margins"])
def test_the_comparison_notices_each_dropped_and_each_invented_member(world: World, name: str) -> None:
    ours, theirs, known = CASES[name].ours(world), capture(name), CASES[name]
    if isinstance(ours["result"].get("trades"), list):
        ours["result"]["trades"] = ours["result"]["trades"][:1]
    noticed = 0
    for holder, member in members(ours["result"]):
        kept = holder.pop(member)
        assert differences(ours, theirs, known) != {}, f"without {member}"
        holder[member] = {"another": "kind"} if not isinstance(kept, dict) else "a word"
        assert differences(ours, theirs, known) != {}, f"with another {member}"
        holder[member] = kept
        noticed += 1
    assert noticed >= 8
    assert differences(ours | {"surprise": 1}, theirs, known) == {"surprise": "we add {'number'}"}


def test_instrument_rows_are_exactly_the_captured_ones(world: World) -> None:
    ours = {row["instrument_name"]: row for row in world.answer("public/get_instruments", currency="any")["result"]}
    made_up = {"base_currency_uuid": "x", "quote_currency_uuid": "x"}
    captured = [row for row in capture("gw-real-instruments-futures-20260930") if row["instrument_name"] in (BTC, ETH)]
    assert len(captured) == 2
    for row in captured:
        assert ours[row["instrument_name"]] | made_up == row | made_up
