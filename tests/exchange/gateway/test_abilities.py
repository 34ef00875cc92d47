"""What a key can do at the gateway: measured without acting, and honest about what cannot be told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from perpctl.errors import VenueUnreachable
from perpctl.exchange.gateway.client import Gateway
from perpctl.model.venue.ability import Ability, Can
from tests.exchange.gateway.test_client import SUMMARY
from tests.exchange.gateway.venue import BTC, START_MS, Refusal, Venue, breathe, order_row

TICKER = {
    "instrument_name": BTC,
    "timestamp": START_MS,
    "state": "open",
    "best_bid_price": 84100.1,
    "best_bid_amount": 1,
    "best_ask_price": 84100.2,
    "best_ask_amount": 1,
    "mark_price": 84100.17,
}
SIZES = {"buy_notional": 4340667.87, "sell_notional": 4361711.23}
ACTS = {"buy", "sell", "edit", "cancel", "cancel_all", "close_position", "set_leverage"}


@pytest.fixture
def ready(venue: Venue) -> Venue:
    """A venue where everything works."""
    granted = {"access_token": "T1", "expires_in": 900, "scope": "rat#view rat#trade", "token_type": "bearer"}
    venue.answers |= {
        "public/auth": granted,
        "public/ticker": TICKER,
        "public/subscribe": lambda params: params["channels"],
        "private/subscribe": lambda params: params["channels"],
        "private/get_account_summary": {**SUMMARY, "id": 7, "username": "desk"},
        "private/get_account_summaries": {"id": 7, "username": "desk", "summaries": [SUMMARY]},
        "private/change_margin_model": [],
        "private/get_margins": {"buy": 0.17, "sell": 0.17, "min_price": 82838.7, "max_price": 85361.7},
        "private/get_max_order_size": {"max_tradable_amount": SIZES, "max_tradable_amount_reduce_only": SIZES},
        "private/get_trading_limits": {"currency": "USDC", "max_total_open_orders": 1000},
        "private/get_order_history_by_currency": {"orders": [], "continuation": None},
        "private/enable_cancel_on_disconnect": "ok",
        "private/get_cancel_on_disconnect": lambda params: {
            "scope": params["scope"],
            "enabled": params["scope"] == "connection",
        },
    }
    return venue


async def measured(gateway: Gateway, venue: Venue) -> dict[str, Ability]:
    """By key; the market speaks as soon as somebody listens."""
    task = asyncio.create_task(gateway.capabilities(["BTC-PERP"]))
    while not task.done():
        if venue.lines["streams"] and not venue.lines["streams"][-1].closed:
            await venue.tell(f"ticker.{BTC}.100ms", TICKER)
        await breathe()
    return {one.key: one for one in await task}


async def test_everything_is_measured_and_nothing_is_placed(gateway: Gateway, ready: Venue) -> None:
    found = await measured(gateway, ready)
    verdicts = {key: one.verdict for key, one in found.items()}
    assert verdicts.pop("order.stop_market") == "UNKNOWN"
    assert (verdicts.pop("order.preview"), verdicts.pop("order.gtd")) == ("n/a", "n/a")
    assert set(verdicts.values()) == {"PASS"}
    assert found["permission.transfer"].can is Can.NO
    called = {name.partition("/")[2] for name, _ in ready.calls}
    assert not called & ACTS
    assert ready.sent("private/change_margin_model") == {"margin_model": "cross_sm", "dry_run": True}


@pytest.mark.parametrize(
    ("scope", "trade", "transfer"),
    [
        ("rat#view rat#trade rat#transfer", "PASS", "FAIL"),
        ("rat#view", "FAIL", "PASS"),
        ("wallet:user:read", "PASS", "UNKNOWN"),  # words of another kind: only the dry run tells
        ("", "PASS", "UNKNOWN"),
    ],
)
async def test_the_scope_of_the_key_is_judged(
    gateway: Gateway, ready: Venue, scope: str, trade: str, transfer: str
) -> None:
    ready.answers["public/auth"] = {**ready.answers["public/auth"], "scope": scope}
    found = await measured(gateway, ready)
    assert (found["permission.trade"].verdict, found["permission.transfer"].verdict) == (trade, transfer)


def refusing(code: int, words: str) -> Any:
    def answer(params: dict[str, Any]) -> Any:
        raise Refusal(code, words)

    return answer


@pytest.mark.parametrize(
    ("method", "code", "key", "verdict"),
    [
        ("private/change_margin_model", 13021, "permission.trade", "FAIL"),
        ("private/change_margin_model", -32601, "permission.trade", "UNKNOWN"),
        ("private/get_margins", 10020, "order.limit", "FAIL"),
        ("private/get_max_order_size", -32601, "order.reduce_only", "UNKNOWN"),
        ("private/get_max_order_size", -32601, "order.market", "UNKNOWN"),
        ("private/get_trading_limits", 13021, "limits.orders", "FAIL"),
        ("private/enable_cancel_on_disconnect", 10049, "safety.cancel_on_disconnect", "FAIL"),
    ],
)
async def test_a_refusal_is_a_no_and_a_method_that_is_not_there_tells_nothing(
    gateway: Gateway, ready: Venue, method: str, code: int, key: str, verdict: str
) -> None:
    ready.answers[method] = refusing(code, "no")
    found = await measured(gateway, ready)
    assert found[key].verdict == verdict, found[key]
    assert found["permission.view"].verdict == "PASS"


async def test_a_channel_left_out_without_a_word_is_named(gateway: Gateway, ready: Venue) -> None:
    ready.answers["public/subscribe"] = lambda params: [one for one in params["channels"] if "ticker" in one]
    ready.answers["private/subscribe"] = lambda params: params["channels"][:1]
    found = await measured(gateway, ready)
    assert found["channel.market"].verdict == "FAIL"
    assert f"left out: book.{BTC}.100ms" in found["channel.market"].evidence
    assert "left out: user.isolated" in found["channel.private"].evidence


async def test_a_dead_man_that_reads_back_off_fails(gateway: Gateway, ready: Venue) -> None:
    ready.answers["private/get_cancel_on_disconnect"] = lambda params: {"scope": params["scope"], "enabled": False}
    found = await measured(gateway, ready)
    assert found["safety.cancel_on_disconnect"].verdict == "FAIL"
    assert found["safety.account_wide_dead_man"].verdict == "UNKNOWN"


async def test_a_dead_man_of_the_whole_account_is_not_wanted(gateway: Gateway, ready: Venue) -> None:
    ready.answers["private/get_cancel_on_disconnect"] = lambda params: {"scope": params["scope"], "enabled": True}
    assert (await measured(gateway, ready))["safety.account_wide_dead_man"].verdict == "FAIL"


async def test_a_stop_that_the_venue_took_is_evidence_and_one_that_it_rejected_is_not(
    gateway: Gateway, ready: Venue
) -> None:
    stop = order_row(order_id="USDC-9", order_type="stop_market", order_state="untriggered", trigger_price=80000)
    ready.answers["private/get_open_orders"] = [{**stop, "trigger": "mark_price", "reduce_only": True}]
    found = await measured(gateway, ready)
    assert found["order.stop_market"].verdict == "PASS"
    assert "USDC-9" in found["order.stop_market"].evidence
    ready.answers["private/get_open_orders"] = [{**stop, "order_state": "rejected"}]
    assert (await measured(gateway, ready))["order.stop_market"].verdict == "UNKNOWN"


async def test_a_product_that_is_not_there_is_a_no(gateway: Gateway, ready: Venue) -> None:
    found = {one.key: one for one in await gateway.capabilities(["DOGE-PERP"])}
    assert found["product.DOGE-PERP"].verdict == "FAIL"
    assert found["channel.market"].verdict == "UNKNOWN"
    assert found["permission.view"].verdict == "PASS"


async def test_limits_that_are_not_told_are_unknown_not_zero(gateway: Gateway, ready: Venue) -> None:
    ready.answers["private/get_account_summary"] = {"id": 7, "username": "desk", "currency": "USDC"}
    ready.answers["private/get_trading_limits"] = {"currency": "USDC"}
    found = await measured(gateway, ready)
    assert (found["limits.requests"].verdict, found["limits.orders"].verdict) == ("UNKNOWN", "UNKNOWN")


async def test_a_venue_that_answers_nothing_at_all_is_unreachable(gateway: Gateway, ready: Venue) -> None:
    ready.reachable = False
    with pytest.raises(VenueUnreachable):
        await gateway.capabilities(["BTC-PERP"])
