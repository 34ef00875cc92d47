"""The global venue through the port: reads."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from decimal import Decimal
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from msgspec.structs import replace

from perpctl.clock import ManualClock
from perpctl.errors import CredentialError, Throttled, UsageError, VenueRefused, VenueUnreachable
from perpctl.exchange.gateway.client import Gateway, open_gateway
from perpctl.exchange.port import Confirmed, Unsupported
from perpctl.model.instrument import BookState
from tests.exchange.gateway.venue import BTC, INSTRUMENT, START_MS, Refusal, Venue, order_row, position_row, trade_row

TICKER = {"instrument_name": BTC, "timestamp": START_MS, "state": "open", "best_bid_price": 80000, "best_ask_price": 0}
SUMMARY = {
    "currency": "USDC",
    "balance": 1000.5,
    "equity": 1001.25,
    "available_funds": 900,
    "initial_margin": 16,
    "maintenance_margin": 8,
    "session_rpl": 0,
    "session_upl": 0.75,
    "margin_model": "cross_sm",
    "limits": {
        "non_matching_engine": {"rate": 20, "burst": 100},
        "matching_engine": {"trading": {"total": {"rate": 10, "burst": 30}}, "cancel_all": {"rate": 5, "burst": 20}},
    },
}


async def test_positions_ask_for_slots_and_leave_out_what_is_flat(gateway: Gateway, venue: Venue) -> None:
    venue.answers["private/get_positions"] = [
        position_row(),
        position_row(size=0, size_currency=0, delta=0),
        position_row(isolated=True, user_id=99, size=-800, size_currency=-0.01, delta=-0.01, direction="sell"),
    ]
    positions = await gateway.positions()
    assert [(item.slot, item.size, item.units_agree) for item in positions] == [
        (None, Decimal("0.01"), True),
        (99, Decimal("-0.01"), True),
    ]
    assert venue.sent("private/get_positions")["include_isolated"] is True


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 0.01},  # base coin where the notional should be
        {"delta": 0.02},
        {"direction": "sell"},
        {"size_currency": None},
        {"mark_price": None},
    ],
)
async def test_a_position_whose_sizes_contradict_each_other_says_so(
    gateway: Gateway, venue: Venue, changes: dict[str, Any]
) -> None:
    venue.answers["private/get_positions"] = [position_row(**changes)]
    (position,) = await gateway.positions()
    assert not position.units_agree


async def test_a_position_list_that_is_no_list_is_unknown_and_never_flat(gateway: Gateway, venue: Venue) -> None:
    for nonsense in ({}, None, "none", [1]):
        venue.answers["private/get_positions"] = nonsense
        with pytest.raises(VenueUnreachable):
            await gateway.positions()


async def test_open_orders_take_every_type_and_slot_and_an_unknown_status_still_counts(
    gateway: Gateway, venue: Venue
) -> None:
    stop = {"order_type": "stop_market", "price": "market_price", "order_state": "untriggered", "trigger_price": 70000}
    venue.answers["private/get_open_orders"] = [
        order_row(),
        order_row(order_id="USDC-2", filled_amount=None, **stop),
        order_row(order_id="USDC-3", order_state="parked"),
    ]
    orders = await gateway.open_orders()
    assert [(item.order_id, item.status.value, item.status.is_terminal) for item in orders] == [
        ("USDC-1", "open", False),
        ("USDC-2", "untriggered", False),
        ("USDC-3", "unknown", False),
    ]
    assert (orders[1].price, orders[1].is_trigger, orders[1].filled) == (None, True, 0)
    assert venue.sent("private/get_open_orders") == {"type": "all", "include_isolated": True}


async def test_an_order_without_its_filled_amount_is_not_taken_for_unfilled(gateway: Gateway, venue: Venue) -> None:
    row = order_row()
    del row["filled_amount"]
    venue.answers["private/get_open_orders"] = [row]
    with pytest.raises(VenueUnreachable, match="filled_amount"):
        await gateway.open_orders()


async def test_an_order_is_found_by_its_label_and_only_by_that(gateway: Gateway, venue: Venue) -> None:
    venue.answers["private/get_order_state_by_label"] = [order_row(), order_row(), order_row(order_id="2", label="X")]
    assert [order.order_id for order in await gateway.order("L-1")] == ["USDC-1"]
    assert venue.sent("private/get_order_state_by_label")["include_isolated"] is True


async def test_an_order_that_the_venue_does_not_know_is_none_found(gateway: Gateway, venue: Venue) -> None:
    def unknown(params: dict[str, Any]) -> Any:
        raise Refusal(10004, "order_not_found")

    venue.answers["private/get_order_state"] = venue.answers["private/get_order_state_by_label"] = unknown
    assert await gateway.order("L-1") == ()
    assert await gateway.order("L-1", "USDC-1") == ()
    assert venue.sent("private/get_order_state")["isolated"] is True  # slots were asked as well


async def test_quotes_keep_what_is_missing_missing(gateway: Gateway, venue: Venue) -> None:
    venue.answers["public/ticker"] = {**TICKER, "state": "melted"}
    quote = await gateway.quote(BTC)
    assert (quote.bid, quote.ask, quote.mark, quote.state) == (Decimal(80000), None, None, BookState.UNKNOWN)
    assert await gateway.funding_rate(BTC) == Unsupported(f"the venue sends no funding rate for {BTC}")


async def test_the_next_funding_is_at_eight_utc(gateway: Gateway, venue: Venue) -> None:
    venue.answers["public/ticker"] = {**TICKER, "funding_8h": 0.0001, "current_funding": 0}
    rate = await gateway.funding_rate(BTC)
    assert not isinstance(rate, Unsupported)
    assert (rate.rate_8h, rate.current) == (Decimal("0.0001"), Decimal(0))
    assert rate.next_at_ms == START_MS + 20 * 3_600_000


async def test_a_ticker_of_another_product_is_no_answer(gateway: Gateway, venue: Venue) -> None:
    venue.answers["public/ticker"] = {**TICKER, "instrument_name": "ETH_USDC-PERPETUAL"}
    with pytest.raises(VenueUnreachable, match="ETH_USDC"):
        await gateway.quote(BTC)


async def test_instruments_are_fetched_once_and_symbols_found_by_what_they_are(gateway: Gateway, venue: Venue) -> None:
    inverse = {**INSTRUMENT, "instrument_name": "BTC-PERPETUAL", "instrument_type": "reversed"}
    eth = {**INSTRUMENT, "instrument_name": "ETH_USDC-PERPETUAL", "base_currency": "ETH"}
    venue.answers["public/get_instruments"] = [inverse, INSTRUMENT, eth]
    assert (await gateway.instrument("btc-perp")).product_id == BTC
    assert (await gateway.instrument(BTC)).symbol == "BTC-PERP"
    for wrong, hint in (("BTC-PERPETUAL", "BTC-PERP"), ("ETH-PREP", "ETH-PERP"), ("BTC-PERP-INTX", "replaces it")):
        with pytest.raises(UsageError, match=hint):
            await gateway.instrument(wrong)
    assert venue.count("public/get_instruments") == 1


async def test_an_account_takes_over_the_limits_that_it_tells(gateway: Gateway, venue: Venue) -> None:
    venue.answers["private/get_positions"] = [position_row(isolated=True, user_id=99)]
    venue.answers["private/get_account_summaries"] = {"id": 7, "username": "desk", "summaries": [SUMMARY]}
    account = await gateway.account()
    assert (account.account_id, account.username, account.equity) == ("7", "desk", Decimal("1001.25"))
    assert (account.slots_in_use, account.engine_rate, account.engine_burst) == (1, 10, 30)
    assert venue.sent("private/get_account_summaries") == {"extended": True, "include_isolated": True}


async def test_an_account_without_the_settlement_currency_is_unknown(gateway: Gateway, venue: Venue) -> None:
    venue.answers["private/get_account_summaries"] = {"id": 7, "summaries": [{**SUMMARY, "currency": "BTC"}]}
    with pytest.raises(VenueUnreachable, match="USDC"):
        await gateway.account()


async def test_fills_are_paged_by_trade_id_to_the_end_and_each_comes_once(gateway: Gateway, venue: Venue) -> None:
    venue.answers["private/get_user_trades_by_currency_and_time"] = {
        "trades": [trade_row(1), trade_row(2)],
        "has_more": True,
    }
    venue.answers["private/get_user_trades_by_currency"] = {"trades": [trade_row(2), trade_row(3)], "has_more": False}
    fills = await gateway.fills(START_MS - 1000)
    assert [fill.trade_id for fill in fills] == ["USDC-1", "USDC-2", "USDC-3"]
    assert venue.sent("private/get_user_trades_by_currency")["start_id"] == "USDC-2"


async def test_old_fills_are_read_live_and_from_the_archive(gateway: Gateway, venue: Venue) -> None:
    asked: list[bool] = []

    def trades(params: dict[str, Any]) -> Any:
        asked.append(params["historical"])
        old = trade_row(1, timestamp=START_MS - 48 * 3_600_000)
        rows = [old, trade_row(2)] if params["historical"] else [trade_row(2), trade_row(3)]
        return {"trades": rows, "has_more": False}

    venue.answers["private/get_user_trades_by_currency_and_time"] = trades
    fills = await gateway.fills(START_MS - 72 * 3_600_000)
    assert [fill.trade_id for fill in fills] == ["USDC-1", "USDC-2", "USDC-3"]
    assert asked == [False, True]


async def test_fills_of_isolated_slots_are_asked_for_one_by_one(gateway: Gateway, venue: Venue) -> None:
    venue.answers["private/get_subaccounts"] = lambda params: (
        [{"id": 7}, {"id": 8}, {"id": 99}] if params.get("include_isolated") else [{"id": 7}, {"id": 8}]
    )
    venue.answers["private/get_user_trades_by_currency_and_time"] = lambda params: {
        "trades": [trade_row(5 if params.get("subaccount_id") else 4)],
        "has_more": False,
    }
    assert [fill.trade_id for fill in await gateway.fills(START_MS - 1)] == ["USDC-4", "USDC-5"]
    owners = [params.get("subaccount_id") for name, params in venue.calls if name.endswith("currency_and_time")]
    assert owners == [None, 99]


@pytest.mark.parametrize("method", ["fills", "funding_payments", "transfers", "order_history"])
async def test_pages_that_never_end_are_unknown(gateway: Gateway, venue: Venue, method: str) -> None:
    page = {"trades": [trade_row(1)], "has_more": True}
    venue.answers["private/get_user_trades_by_currency_and_time"] = page
    venue.answers["private/get_user_trades_by_currency"] = page
    row = {"type": "trade", "timestamp": START_MS, "id": 1}
    venue.answers["private/get_transaction_log"] = {"logs": [row], "continuation": 5}
    venue.answers["private/get_order_history_by_currency"] = {"orders": [order_row()], "continuation": "x"}
    with pytest.raises(VenueUnreachable, match="do not come to an end"):
        await getattr(gateway, method)(START_MS - 1000)


async def test_funding_comes_from_settlement_rows_alone(gateway: Gateway, venue: Venue) -> None:
    shared = {"instrument_name": BTC, "currency": "USDC", "timestamp": START_MS}
    venue.answers["private/get_transaction_log"] = {
        "logs": [
            {**shared, "id": 2, "type": "settlement", "total_interest_pl": -1.5},
            {**shared, "id": 1, "type": "trade", "interest_pl": -1.5, "total_interest_pl": -1.5},
        ],
        "continuation": None,
    }
    payments = await gateway.funding_payments(START_MS - 1000)
    assert not isinstance(payments, Unsupported)
    assert [(row.amount, row.exact, row.row_id) for row in payments] == [(Decimal("-1.5"), True, "2")]


def move_row(row_id: int, kind: str, change: float, **more: Any) -> dict[str, Any]:
    return {"id": row_id, "type": kind, "change": change, "currency": "USDC", "timestamp": START_MS + row_id, **more}


def to_account(other_id: int) -> dict[str, Any]:
    return {"transfer_type": "subaccount", "other_user_id": other_id, "other_user": "other"}


async def test_transfers_are_cash_that_came_or_went_and_no_other_row_of_the_ledger(
    gateway: Gateway, venue: Venue
) -> None:
    rows = [
        move_row(6, "LSP transfer", -2.4, role="source"),
        move_row(5, "swap", -7),
        move_row(4, "transfer", 20, info=to_account(8)),
        move_row(3, "withdrawal", -12.5, info=None),
        move_row(2, "deposit", 0.65, info={"deposit_type": "wallet"}),
        move_row(1, "settlement", 3),
        move_row(0, "trade", -1.5, info="Source: api"),
        move_row(-2000, "deposit", 99),
    ]
    venue.answers["private/get_transaction_log"] = {"logs": rows, "continuation": None}
    found = await gateway.transfers(START_MS - 1000)
    assert not isinstance(found, Unsupported)
    assert [(row.row_id, row.amount, row.currency) for row in found] == [
        ("2", Decimal("0.65"), "USDC"),
        ("3", Decimal("-12.5"), "USDC"),
        ("4", Decimal(20), "USDC"),
        ("5", Decimal(-7), "USDC"),
    ]


async def test_what_moves_between_the_account_and_its_slots_is_no_transfer(gateway: Gateway, venue: Venue) -> None:
    venue.answers["private/get_subaccounts"] = lambda params: (
        [{"id": 7}, {"id": 8}, {"id": 99}] if params.get("include_isolated") else [{"id": 7}, {"id": 8}]
    )
    rows = [move_row(2, "transfer", -500, info=to_account(99)), move_row(1, "transfer", -20, info=to_account(8))]
    venue.answers["private/get_transaction_log"] = {"logs": rows, "continuation": None}
    found = await gateway.transfers(START_MS - 1000)
    assert not isinstance(found, Unsupported)
    assert [row.row_id for row in found] == ["1"]


async def test_what_was_read_of_the_ledger_is_not_asked_for_again(
    gateway: Gateway, venue: Venue, clock: ManualClock
) -> None:
    rows = [move_row(1, "withdrawal", -20)]
    venue.answers["private/get_transaction_log"] = {"logs": rows, "continuation": None}
    day_ms = 86_400_000
    starts_ms = START_MS - day_ms
    for _ in range(3):
        found = await gateway.transfers(START_MS - day_ms)
        assert not isinstance(found, Unsupported)
        assert [one.row_id for one in found] == ["1"]
        asked = venue.sent("private/get_transaction_log")
        assert asked["start_timestamp"] == starts_ms
        assert "query" not in asked
        starts_ms = asked["end_timestamp"] - 300_000
        venue.answers["private/get_transaction_log"] = {"logs": [], "continuation": None}
        clock.advance(3600)
    assert venue.count("private/get_transaction_log") == 3
    assert venue.count("private/get_subaccounts") == 0
    assert await gateway.transfers(START_MS + day_ms // 2) == ()
    await gateway.transfers(START_MS - 2 * day_ms)
    assert venue.sent("private/get_transaction_log")["start_timestamp"] == START_MS - 2 * day_ms


async def test_a_ledger_of_many_pages_is_asked_by_keyword_and_each_row_counts_once(
    gateway: Gateway, venue: Venue
) -> None:
    row = move_row(1, "transfer", -20)
    venue.answers["private/get_transaction_log"] = lambda params: (
        {"logs": [row], "continuation": None if "query" in params else 7}
    )
    found = await gateway.transfers(START_MS - 7 * 86_400_000)
    assert not isinstance(found, Unsupported)
    assert [one.row_id for one in found] == ["1"]
    asked = [params.get("query") for name, params in venue.calls if name == "private/get_transaction_log"]
    assert asked == [None, "deposit", "swap", "transfer", "withdrawal"]


@pytest.mark.parametrize("broken", [{"change": None}, {"change": "much"}, {"id": None}, {"currency": None}])
async def test_a_transfer_that_cannot_be_read_makes_the_answer_unknown(
    gateway: Gateway, venue: Venue, broken: dict[str, Any]
) -> None:
    row = {**move_row(1, "withdrawal", -20), **broken}
    venue.answers["private/get_transaction_log"] = {"logs": [row], "continuation": None}
    with pytest.raises(VenueUnreachable):
        await gateway.transfers(START_MS - 1000)


async def test_order_history_keeps_the_newest_state_of_each_order(gateway: Gateway, venue: Venue) -> None:
    newer = order_row(order_state="cancelled", last_update_timestamp=START_MS + 5)
    venue.answers["private/get_order_history_by_currency"] = lambda params: {
        "orders": [order_row() if params["historical"] else newer],
        "continuation": None,
    }
    (order,) = await gateway.order_history(START_MS - 1000)
    assert order.status.value == "cancelled"
    assert venue.sent("private/get_order_history_by_currency")["include_unfilled"] is True


async def test_the_venue_tells_how_far_our_clock_is_off(gateway: Gateway, venue: Venue) -> None:
    venue.answers["public/status"] = {"locked": "partial", "locked_indices": ["btc_usdc"]}
    venue.answers["public/get_announcements"] = [{"title": "Release"}]
    venue.answers["public/get_time"] = START_MS + 1500
    status = await gateway.status()
    assert (status.locked, status.announcements, status.offset_ms) == ("partial", ("Release",), 1500)


async def test_reads_are_repeated_and_then_said_to_be_unanswered(gateway: Gateway, venue: Venue) -> None:
    venue.reachable = False
    with pytest.raises(VenueUnreachable, match="no connection") as failure:
        await gateway.quote(BTC)
    assert failure.value.exit_code == 3


@pytest.mark.parametrize(
    ("code", "error", "calls"),
    [(10028, Throttled, 6), (10041, VenueUnreachable, 4), (11051, VenueUnreachable, 1), (10020, VenueRefused, 1)],
)
async def test_only_what_may_pass_is_asked_again(
    gateway: Gateway, venue: Venue, code: int, error: type[Exception], calls: int
) -> None:
    def refuse(params: dict[str, Any]) -> Any:
        raise Refusal(code)

    venue.answers["public/ticker"] = refuse
    with pytest.raises(error):
        await gateway.quote(BTC)
    assert venue.count("public/ticker") == calls


async def test_a_lapsed_token_is_renewed_once(gateway: Gateway, venue: Venue) -> None:
    refusals = [13009]

    def positions(params: dict[str, Any]) -> Any:
        if refusals:
            raise Refusal(refusals.pop())
        return []

    venue.answers["private/get_positions"] = positions
    assert await gateway.positions() == ()
    assert venue.count("public/auth") == 2
    refusals.extend([13009, 13009])
    with pytest.raises(CredentialError):
        await gateway.positions()


async def test_a_token_is_used_until_sixty_percent_of_its_life(gateway: Gateway, venue: Venue) -> None:
    for wait_s, tokens in ((0, 1), (530, 1), (20, 2)):
        venue.clock.advance(wait_s)
        await gateway.positions()
        assert venue.count("public/auth") == tokens


async def test_a_key_that_the_venue_does_not_know_is_a_credential_error(gateway: Gateway, venue: Venue) -> None:
    def refuse(params: dict[str, Any]) -> Any:
        raise Refusal(13004, "invalid_credentials")

    venue.answers["public/auth"] = refuse
    with pytest.raises(CredentialError, match="clock is wrong"):
        await gateway.positions()
    assert venue.count("private/get_positions") == 0


async def test_a_profile_without_a_key_reads_the_market_and_nothing_else(
    venue: Venue, gateway: Gateway, tmp_path: Path
) -> None:
    access = replace(gateway._line.access, key_file=None)
    public = open_gateway(access, venue.clock, transport=venue)
    assert (await public.instrument("BTC-PERP")).product_id == BTC
    with pytest.raises(CredentialError, match="no key file"):
        await public.positions()


async def test_public_calls_sign_in_when_the_venue_wants_them_to(gateway: Gateway, venue: Venue) -> None:
    def only_known(params: dict[str, Any]) -> Any:
        if "authorization" not in venue.headers[-1]:
            raise Refusal(11056)
        return TICKER

    venue.answers["public/ticker"] = only_known
    assert (await gateway.quote(BTC)).bid == 80000


async def test_a_clock_that_is_wrong_is_corrected_by_the_date_of_the_refusal(gateway: Gateway, venue: Venue) -> None:
    """Our clock is an hour behind: the first signature is refused, the second one is in the venue's time."""
    theirs = venue.clock.now() + timedelta(hours=1)
    venue.date = format_datetime(theirs, usegmt=True)

    def exchange(params: dict[str, Any]) -> Any:
        claims = jwt.decode(params["token"], options={"verify_signature": False})
        if not claims["nbf"] - 5 <= theirs.timestamp() < claims["exp"]:
            raise Refusal(13004, "invalid_credentials")
        return {"access_token": "T", "expires_in": 900}

    venue.answers["public/auth"] = exchange
    assert await gateway.positions() == ()
    assert venue.count("public/auth") == 2


async def test_a_mass_cancel_of_one_product_names_it_and_spares_triggers_and_no_slot(
    gateway: Gateway, venue: Venue
) -> None:
    venue.answers["private/cancel_all_by_instrument"] = 2
    assert await gateway.cancel_entries(BTC) == 2
    params = {"instrument_name": BTC, "type": "limit", "include_isolated": True}
    assert venue.sent("private/cancel_all_by_instrument") == params


async def test_at_most_four_cancels_are_under_way_at_once(gateway: Gateway, venue: Venue) -> None:
    under_way: list[int] = []
    arrive, now = venue.post, 0

    async def post(*call: Any) -> Any:
        nonlocal now
        now += 1
        under_way.append(now)
        await asyncio.sleep(0.001)
        reply = await arrive(*call)
        now -= 1
        return reply

    venue.post = post  # type: ignore[method-assign]
    venue.answers["private/get_open_orders"] = [order_row(order_id=f"USDC-{number}") for number in range(12)]
    venue.answers["private/cancel"] = lambda params: order_row(order_id=params["order_id"], order_state="cancelled")
    outcomes = await gateway.cancel(await gateway.open_orders())
    assert [outcome.order.status.value for outcome in outcomes if isinstance(outcome, Confirmed)] == ["cancelled"] * 12
    assert max(under_way) == 4
