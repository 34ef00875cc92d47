"""What the US client reads: whole lists, exact sizes, the venue's refusals in words, nothing taken for zero."""

from __future__ import annotations

from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from typing import Any

import jwt
import pytest

from perpctl.clock import ManualClock, from_ms, to_ms
from perpctl.errors import CredentialError, Throttled, UsageError, VenueUnreachable
from perpctl.exchange.advanced_trade.budget import SHARES, Budget
from perpctl.exchange.advanced_trade.client import AdvancedTrade
from perpctl.exchange.budget import Duty
from perpctl.exchange.port import Unsupported
from perpctl.model.order import Side
from perpctl.model.venue.calendar import Kind
from tests.exchange.advanced_trade.venue import (
    BIP,
    PRODUCT,
    FakeWeb,
    Status,
    fill_row,
    make_key,
    open_client,
    order_row,
)

ORDERS = "GET /orders/historical/batch"
FILLS = "GET /orders/historical/fills"


# --- signing ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("algorithm", "name"), [("es256", "ES256"), ("ed25519", "EdDSA")])
async def test_each_request_carries_a_token_of_its_own_for_its_path_without_the_query(
    web: FakeWeb, tmp_path: Path, clock: ManualClock, algorithm: str, name: str
) -> None:
    client = open_client(web, make_key(tmp_path, clock, algorithm), clock)
    await client.identity()
    await client.fills(5)
    tokens = [token for token in web.tokens if token]
    read = [jwt.decode(token, options={"verify_signature": False}) for token in tokens]
    assert jwt.get_unverified_header(tokens[0])["alg"] == name
    assert read[0]["uri"] == "GET api.coinbase.com/api/v3/brokerage/key_permissions"
    assert read[1]["uri"] == "GET api.coinbase.com/api/v3/brokerage/orders/historical/fills"
    assert read[0]["exp"] - read[0]["nbf"] == 120
    assert len(set(tokens)) == len(tokens)


async def test_a_refused_token_is_signed_anew_once_by_the_clock_of_the_answer(
    web: FakeWeb, client: AdvancedTrade, clock: ManualClock
) -> None:
    late_s = 300
    tries: list[int] = []

    def strict(query: Any, body: Any) -> Any:
        tries.append(1)
        claims = jwt.decode(web.tokens[-1], options={"verify_signature": False})
        if claims["nbf"] < to_ms(clock.now()) // 1000 + late_s - 60:
            date = formatdate(to_ms(clock.now()) / 1000 + late_s, usegmt=True)
            raise Status(401, b"Unauthorized\n", {"date": date})
        return {"portfolio_uuid": "p-1"}

    web.on("GET /key_permissions", strict)
    assert (await client.identity()).account_id == "p-1"
    assert len(tries) == 2


async def test_a_token_that_is_refused_twice_is_a_matter_of_the_key(web: FakeWeb, client: AdvancedTrade) -> None:
    def never(query: Any, body: Any) -> Any:
        raise Status(401, b"Unauthorized\n")

    web.on("GET /key_permissions", never)
    with pytest.raises(CredentialError, match="does not say why"):
        await client.identity()
    assert web.count("GET /key_permissions") == 2


async def test_a_missing_scope_is_said_in_words(web: FakeWeb, client: AdvancedTrade) -> None:
    def forbidden(query: Any, body: Any) -> Any:
        raise Status(403, {"error": "PERMISSION_DENIED", "error_details": "Missing required scopes"})

    web.on("GET /cfm/positions", forbidden)
    with pytest.raises(CredentialError, match="lacks a permission"):
        await client.positions()


async def test_without_a_key_the_market_is_public_and_the_rest_is_refused(web: FakeWeb, clock: ManualClock) -> None:
    web.on("GET /market/products", lambda query, body: {"products": [PRODUCT]})
    client = open_client(web, None, clock)
    [found] = await client.instruments()
    assert (found.product_id, found.taker_fee) == (BIP, None)
    with pytest.raises(CredentialError, match="no key file"):
        await client.positions()
    assert web.count("GET /cfm/positions") == 0


# --- products --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["BTC-PERP", "btc-perp", BIP])
async def test_an_operators_symbol_is_looked_up_in_the_list(client: AdvancedTrade, word: str) -> None:
    found = await client.instrument(word)
    assert (found.product_id, found.size_step, found.taker_fee) == (BIP, Decimal("0.01"), Decimal("0.0008"))


@pytest.mark.parametrize(("word", "hint"), [("BTC-PREP", "BTC-PERP"), ("BTC-PERP-INTX", "retired on 1 October 2026")])
async def test_an_unknown_or_retired_symbol_names_what_there_is(client: AdvancedTrade, word: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint) as caught:
        await client.instrument(word)
    assert "BTC-PERP" in str(caught.value)


async def test_a_quote_has_no_mark_and_no_mark_of_zero(client: AdvancedTrade) -> None:
    quote = await client.quote(BIP)
    assert (quote.mark, quote.index, quote.bid, quote.bid_size) == (None, Decimal("84101.5"), 84100, Decimal("0.12"))
    assert (quote.current_funding, quote.funding_8h) == (Decimal("0.000013"), Decimal("0.000104"))
    assert (await client.instrument(BIP)).mark_absent


async def test_funding_payments_are_not_offered_and_say_so(client: AdvancedTrade) -> None:
    paid = await client.funding_payments(0)
    assert isinstance(paid, Unsupported)
    assert "funding record" in paid.reason


async def test_transfers_are_not_offered_and_are_never_said_to_be_none(client: AdvancedTrade) -> None:
    moved = await client.transfers(0)
    assert isinstance(moved, Unsupported)
    assert "no past transfers" in moved.reason


# --- lists -----------------------------------------------------------------------------------------------------------


async def test_open_orders_are_the_union_of_all_that_can_fill_from_both_sources(
    web: FakeWeb, client: AdvancedTrade
) -> None:
    shown = {
        ("OPEN", "RETAIL_ADVANCED"): [order_row("o-1")],
        ("OPEN", "RETAIL_SIMPLE"): [order_row("o-2")],
        ("PENDING", "RETAIL_ADVANCED"): [order_row("o-3", status="PENDING"), order_row("o-1", status="QUEUED")],
        ("PENDING", "RETAIL_SIMPLE"): [order_row("o-4", status="CANCEL_QUEUED"), order_row("s", product_type="SPOT")],
    }

    def listed(query: dict[str, list[str]], body: Any) -> Any:
        if "OPEN" in query["order_status"]:
            assert query["order_status"] == ["OPEN"]  # it may not be combined
        return {"orders": shown[query["order_status"][0], query["order_placement_source"][0]], "has_next": False}

    web.on(ORDERS, listed)
    found = await client.open_orders()
    assert sorted(order.order_id for order in found) == ["o-1", "o-2", "o-3", "o-4"]


async def test_every_page_is_read_and_a_list_without_an_end_is_no_list(web: FakeWeb, client: AdvancedTrade) -> None:
    pages = {"": ("o-1", "a"), "a": ("o-2", "b"), "b": ("o-3", "")}

    def paged(query: dict[str, list[str]], body: Any) -> Any:
        order_id, cursor = pages[query.get("cursor", [""])[0]]
        return {"orders": [order_row(order_id)], "has_next": bool(cursor), "cursor": cursor}

    web.on(ORDERS, paged)
    assert [order.order_id for order in await client.order_history(5)] == ["o-1", "o-2", "o-3"]
    web.on(ORDERS, lambda query, body: {"orders": [order_row()], "has_next": True, "cursor": "again"})
    with pytest.raises(VenueUnreachable, match="do not come to an end"):
        await client.order_history(5)


async def test_a_list_that_wants_a_proof_is_unknown_and_not_empty(web: FakeWeb, client: AdvancedTrade) -> None:
    held_back = {"orders": [], "has_next": False, "cursor": "", "proof_token_required": True}
    web.on(ORDERS, lambda query, body: held_back)
    with pytest.raises(VenueUnreachable, match="proof token"):
        await client.open_orders()


@pytest.mark.parametrize("answer", [{}, {"orders": None}, {"orders": {}}, {"orders": "none"}])
async def test_what_is_no_list_is_never_an_empty_one(web: FakeWeb, client: AdvancedTrade, answer: Any) -> None:
    web.on(ORDERS, lambda query, body: answer)
    with pytest.raises(VenueUnreachable, match="orders is not a list"):
        await client.open_orders()


async def test_an_order_is_found_by_its_identity_whichever_way_it_was_placed(
    web: FakeWeb, client: AdvancedTrade
) -> None:
    def listed(query: dict[str, list[str]], body: Any) -> Any:
        mine = query["order_placement_source"] == ["RETAIL_SIMPLE"]
        rows = [order_row("o-9", client_order_id="wanted")] if mine else [order_row("o-8", client_order_id="other")]
        return {"orders": rows, "has_next": False}

    web.on(ORDERS, listed)
    assert [order.order_id for order in await client.order("wanted")] == ["o-9"]
    assert await client.order("nobody's") == ()
    assert await client.order("", "o-404") == ()


async def test_only_trigger_orders_that_fit_into_the_position_protect_it(web: FakeWeb, client: AdvancedTrade) -> None:
    def stop(order_id: str, size: str, price: str) -> dict[str, Any]:
        terms = {
            "base_size": size,
            "limit_price": "1",
            "stop_price": price,
            "stop_direction": "STOP_DIRECTION_STOP_DOWN",
        }
        return order_row(
            order_id,
            side="SELL",
            order_configuration={"stop_limit_stop_limit_gtc": terms},
            trigger_status="STOP_PENDING",
        )

    held = {"product_id": BIP, "side": "LONG", "number_of_contracts": "3", "current_price": "84100"}
    web.on("GET /cfm/positions", lambda query, body: {"positions": [held]})
    rows = [stop("far", "2", "80000"), stop("near", "2", "83000"), stop("rest", "1", "81000")]
    web.on(ORDERS, lambda query, body: {"orders": rows if query["order_status"] == ["OPEN"] else [], "has_next": False})
    protects = {order.order_id: order.reduce_only for order in await client.open_orders()}
    assert protects == {"near": True, "rest": True, "far": False}
    web.on("GET /cfm/positions", lambda query, body: {"positions": []})
    assert not any(order.reduce_only for order in await client.open_orders())


# --- fills -----------------------------------------------------------------------------------------------------------


async def test_fills_are_counted_once_under_their_entry_and_know_their_order(
    web: FakeWeb, client: AdvancedTrade
) -> None:
    pages = {"": ([fill_row("e1"), fill_row("e2")], "c"), "c": ([fill_row("e2")], "")}
    web.on(FILLS, lambda query, body: dict(zip(("fills", "cursor"), pages[query.get("cursor", [""])[0]], strict=True)))
    web.on(ORDERS, lambda query, body: {"orders": [order_row(client_order_id="ours")], "has_next": False})
    found = await client.fills(1)
    assert [(fill.trade_id, fill.identity, fill.size) for fill in found] == [
        ("e1", "ours", Decimal("0.01")),
        ("e2", "ours", Decimal("0.01")),
    ]


async def test_a_reversal_is_booked_against_the_fill_that_it_takes_back(web: FakeWeb, client: AdvancedTrade) -> None:
    rows = [
        fill_row("e1", trade_id="t"),
        fill_row("e2", trade_id="t", trade_type="REVERSAL", trade_time="2026-11-25T13:00:01Z"),
        fill_row("e3", trade_id="t", trade_type="CORRECTION", price="83000", trade_time="2026-11-25T13:00:02Z"),
    ]
    web.on(FILLS, lambda query, body: {"fills": rows, "cursor": ""})
    found = await client.fills(1)
    assert [(fill.trade_id, fill.side, fill.price, fill.fee) for fill in found] == [
        ("e1", Side.BUY, 84000, Decimal("0.8")),
        ("e2", Side.SELL, 84000, Decimal("-0.8")),
        ("e3", Side.BUY, 83000, Decimal("0.8")),
    ]


async def test_a_correction_alone_takes_the_first_one_back_itself(web: FakeWeb, client: AdvancedTrade) -> None:
    rows = [
        fill_row("e3", trade_id="t", trade_type="CORRECTION", size="2", trade_time="2026-11-25T13:00:02Z"),
        fill_row("e1", trade_id="t"),
    ]
    web.on(FILLS, lambda query, body: {"fills": rows, "cursor": ""})
    found = await client.fills(1)
    assert [(fill.trade_id, fill.side, fill.size) for fill in found] == [
        ("e1", Side.BUY, Decimal("0.01")),
        ("e1~corrected", Side.SELL, Decimal("0.01")),
        ("e3", Side.BUY, Decimal("0.02")),
    ]
    assert sum(fill.size * fill.side.sign for fill in found) == Decimal("0.02")


# --- limits ----------------------------------------------------------------------------------------------------------


async def test_a_read_is_repeated_through_overload_and_its_pace_is_halved(web: FakeWeb, client: AdvancedTrade) -> None:
    tries: list[int] = []

    def busy(query: Any, body: Any) -> Any:
        tries.append(1)
        if len(tries) < 3:
            raise Status(429, {"errors": [{"id": "rate_limit_exceeded", "message": "Too many requests"}]})
        return {"positions": []}

    web.on("GET /cfm/positions", busy)
    assert await client.positions() == ()

    def shut(query: Any, body: Any) -> Any:
        raise Status(429, {"errors": [{"id": "rate_limit_exceeded"}]})

    web.on("GET /cfm/positions", shut)
    with pytest.raises(Throttled):
        await client.positions()


async def test_exits_never_wait_and_nobody_spends_their_share(clock: ManualClock) -> None:
    budget = Budget(clock)
    for _ in range(22):
        await budget.take(Duty.OPERATOR)
    assert clock.monotonic() == 0
    for _ in range(30):
        await budget.take(Duty.OPERATOR)
    assert clock.monotonic() > 26 / 8 - 0.2  # eight a second
    before = clock.monotonic()
    for _ in range(200):
        await budget.take(Duty.EXIT)
    assert clock.monotonic() == before
    assert sum(share.hourly for share in SHARES.values()) == 10_000
    assert budget.used(Duty.STRATEGY) == 0


async def test_bursts_of_several_classes_together_keep_a_third_of_the_second_for_exits(clock: ManualClock) -> None:
    """Each class alone keeps to its purse; what a bot reads at its start is of three of them."""
    budget, sent = Budget(clock), list[float]()
    for duty in (Duty.RECONCILE, Duty.STRATEGY, Duty.OPERATOR, Duty.WATCHDOG):
        for _ in range(8):
            await budget.take(duty)
            sent.append(clock.monotonic())
    assert max(sum(at <= one < at + 1 for one in sent) for at in sent) == 22, "8, 4, 2 and 8 a second"


async def test_an_hour_that_is_spent_holds_its_own_class_back_alone(clock: ManualClock) -> None:
    budget = Budget(clock)
    for _ in range(int(SHARES[Duty.WATCHDOG].hourly) + 400):
        await budget.take(Duty.WATCHDOG)
    spent_s = clock.monotonic()
    assert spent_s > 400 / (500 / 3600) * 0.9  # the second would have let them through in 450 s
    await budget.take(Duty.RECONCILE)
    assert clock.monotonic() == spent_s


def sweep(**more: Any) -> dict[str, Any]:
    row = {"id": "0a1b2c3d-4", "requested_amount": {"value": "1500.5", "currency": "USD"}, "should_sweep_all": False}
    return row | {"status": "PENDING", "scheduled_time": "2026-11-25T22:00:00Z"} | more


@pytest.mark.parametrize(
    ("row", "words", "at"),
    [
        (sweep(), "sweep of 1,500.50 USD from futures to spot, pending", "2026-11-25T22:00:00"),
        (sweep(should_sweep_all=True), "sweep of all that is free", "2026-11-25T22:00:00"),
        (sweep(scheduled_time=None, requested_amount=None), "sweep of an unknown amount", "2026-11-25T22:00:00"),
    ],
)
async def test_a_pending_sweep_is_planned(
    client: AdvancedTrade, web: FakeWeb, row: dict[str, Any], words: str, at: str
) -> None:
    web.on("GET /cfm/sweeps", lambda query, body: {"sweeps": [row]})
    status = await client.status()
    (found,) = status.planned
    assert found.title.startswith(words)
    assert (from_ms(found.start_ms).isoformat(), found.kind) == (f"{at}+00:00", Kind.MONEY)
    assert not client.calendar.pauses_entries(found.start_ms - 60_000, status.planned)


async def test_sweeps_that_cannot_be_read_are_said_to_be_unknown_and_hide_nothing_else(
    client: AdvancedTrade, web: FakeWeb
) -> None:
    def refused(query: Any, body: Any) -> Any:
        raise Status(403, {"error": "PERMISSION_DENIED"})

    web.on("GET /cfm/sweeps", refused)
    status = await client.status()
    assert (status.locked, status.planned) == ("false", ())
    assert status.announcements[0].startswith("pending sweeps are not known")
