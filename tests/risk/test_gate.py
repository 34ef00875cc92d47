"""The gate: a healthy world lets an entry pass, and each planted violation is refused, by its own control."""

from __future__ import annotations

import timeit
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from perpctl.model.exposure import MarginRates, UnknownOrder
from perpctl.model.instrument import BookState
from perpctl.model.mode import Mode
from perpctl.model.order import NEW_SLOT, OrderRequest, OrderType, Purpose, Side, TimeInForce
from perpctl.model.venue.margin import WindowRates
from perpctl.risk.activity import Execution, Recent, SentOrder
from perpctl.risk.gate import RULES, decide
from perpctl.risk.limits import KEYS, Limits, with_overrides
from perpctl.risk.verdict import Reason, Verdict
from tests.risk.world import ACCOUNT, BTC, ETH, INSTRUMENT, LIMITS, NOW, QUOTE, close, holding, order, request, world

MIN = 60_000
SENT = SentOrder(BTC, Side.BUY, D("0.01"), D("84090.0"), NOW - 1_999)


def executions(count: int, age_ms: int, side: Side = Side.BUY) -> tuple[Execution, ...]:
    return tuple(Execution(BTC, side, f"o-{n}", NOW - age_ms) for n in range(count))


def unknown(age_ms: int, side: Side = Side.BUY, size: str = "0.01", **change: Any) -> UnknownOrder:
    return UnknownOrder(request(side, size, identity="id-unknown", **change), NOW - age_ms)


def in_slot(size: str = "0.01", margin: str = "600") -> OrderRequest:
    return request(size=size, slot=NEW_SLOT, allocated_margin=D(margin))


def test_an_isolated_order_passes_where_the_profile_names_its_product() -> None:
    decision = decide(in_slot(), world(isolated=frozenset({BTC})), LIMITS)
    assert decision.allowed, decision.first_refusal


def test_an_exit_from_a_slot_passes_wherever_it_came_from() -> None:
    held = world(holdings=(holding(), holding("0.1", slot=3)))
    assert decide(close("0.1", slot=3), held, LIMITS).allowed


def test_a_small_bid_passes_in_a_healthy_world_and_every_control_was_evaluated() -> None:
    decision = decide(request(), world(), LIMITS)

    assert decision.allowed
    assert decision.first_refusal is None
    assert not decision.reduces
    assert {control.verdict for control in decision.controls} <= {Verdict.PASS, Verdict.NOT_MEASURED}
    assert sorted({control.number for control in decision.controls}) == [*range(1, 19)]


def test_controls_stand_in_the_order_of_their_numbers_and_names_are_unique() -> None:
    numbers = [rule.number for rule in RULES]
    assert numbers == sorted(numbers)
    assert len({rule.name for rule in RULES}) == len(RULES)


PLANTED: list[tuple[str, OrderRequest, dict[str, Any], int, Reason]] = [
    ("mode halted", request(), {"mode": Mode.HALTED}, 1, Reason.HALTED),
    ("latch halted under a normal mode", request(), {"latch": Mode.HALTED}, 1, Reason.HALTED),
    ("mode reduce-only", request(), {"mode": Mode.REDUCE_ONLY}, 1, Reason.REDUCE_ONLY_MODE),
    ("latch reduce-only", request(), {"latch": Mode.REDUCE_ONLY}, 1, Reason.REDUCE_ONLY_MODE),
    ("kill in progress", request(), {"kill_in_progress": True}, 1, Reason.KILL_IN_PROGRESS),
    ("lease not held", request(), {"lease_left_ms": None}, 2, Reason.NO_LEASE),
    ("lease ran out", request(), {"lease_left_ms": 0}, 2, Reason.NO_LEASE),
    ("product not listed", request(), {"allowed": frozenset({ETH})}, 3, Reason.SYMBOL_NOT_ALLOWED),
    ("isolated, and not named", in_slot(), {}, 3, Reason.ISOLATED_OFF),
    ("isolated, and another named", in_slot(), {"isolated": frozenset({ETH})}, 3, Reason.ISOLATED_OFF),
    (
        "isolated, and the cross position leaves no room",
        in_slot("0.05"),
        {"isolated": frozenset({BTC}), "holdings": (holding("0.58"),)},
        8,
        Reason.POSITION_TOO_LARGE,
    ),
    (
        "isolated with a quarter of equity as margin",
        in_slot(margin="25001"),
        {"isolated": frozenset({BTC})},
        8,
        Reason.MARGIN_TOO_HIGH,
    ),
    (
        "isolated with margin that a third of the price uses up",
        in_slot(margin="280"),
        {"isolated": frozenset({BTC})},
        8,
        Reason.LIQUIDATION_NEAR,
    ),
    ("no quote", request(), {"quote": None}, 4, Reason.NO_PRICE),
    (
        "quote of another product",
        request(),
        {"quote": structs.replace(QUOTE, product_id=ETH)},
        4,
        Reason.NO_PRICE,
    ),
    ("no mark and one side", request(), {"quote": structs.replace(QUOTE, mark=None, bid=None)}, 4, Reason.NO_PRICE),
    ("quote never confirmed", request(), {"quote_age_ms": None}, 4, Reason.NO_PRICE),
    ("quote too old", request(), {"quote_age_ms": 2_001}, 4, Reason.PRICE_STALE),
    ("book locked", request(), {"quote": structs.replace(QUOTE, state=BookState.LOCKED)}, 4, Reason.BOOK_NOT_OPEN),
    (
        "book state unknown",
        request(),
        {"quote": structs.replace(QUOTE, state=BookState.UNKNOWN)},
        4,
        Reason.BOOK_NOT_OPEN,
    ),
    ("bid above the collar", request(price="84520.6"), {}, 5, Reason.OUTSIDE_COLLAR),
    ("bid below the collar", request(price="83679.4"), {}, 5, Reason.OUTSIDE_COLLAR),
    ("ask below the collar", request(Side.SELL, price="83679.4"), {}, 5, Reason.OUTSIDE_COLLAR),
    (
        "price beyond 0.9 of the way to a near band",
        request(price="84190.1"),
        {"quote": structs.replace(QUOTE, band_high=D("84200"))},
        5,
        Reason.OUTSIDE_COLLAR,
    ),
    ("entry without a price", request(price=None, type=OrderType.MARKET), {}, 5, Reason.OUTSIDE_COLLAR),
    ("size of zero", request(size="0"), {}, 6, Reason.NOT_POSITIVE),
    ("negative size", request(size="-0.01"), {}, 6, Reason.NOT_POSITIVE),
    ("below the minimum", request(size="0.00005"), {}, 6, Reason.BELOW_MINIMUM),
    ("off the step", request(size="0.01005"), {}, 6, Reason.OFF_STEP),
    ("off the tick", request(price="84090.05"), {}, 6, Reason.OFF_TICK),
    ("order above its money limit", request(size="0.1190"), {}, 6, Reason.ORDER_TOO_LARGE),
    ("order above its share of depth", request(), {"depth_notional": D(8_000)}, 6, Reason.ORDER_TOO_LARGE),
    ("a quarter of the limits after a return", request(size="0.03"), {"ramp": D("0.25")}, 6, Reason.ORDER_TOO_LARGE),
    ("specification changed", request(), {"spec_unchanged": False}, 7, Reason.SPEC_CHANGED),
    ("position never proven", request(), {"holdings": ()}, 8, Reason.POSITION_UNPROVEN),
    ("proof without an age", request(), {"holdings": (holding(proof_age_ms=None),)}, 8, Reason.POSITION_UNPROVEN),
    ("proof too old", request(), {"holdings": (holding(proof_age_ms=60_001),)}, 8, Reason.POSITION_UNPROVEN),
    (
        "another product unproven",
        request(),
        {"holdings": (holding(), holding("1", ETH, proof_age_ms=None))},
        8,
        Reason.POSITION_UNPROVEN,
    ),
    ("equity too old", request(), {"account_age_ms": 60_001}, 8, Reason.ACCOUNT_STALE),
    ("unknown outcome for 16 s", request(), {"unknown": (unknown(16_000),)}, 8, Reason.UNKNOWN_OUTCOME),
    (
        "four entries rest",
        request(),
        {"working": tuple(order(Side.BUY, "0.01", "84000", order_id=str(n)) for n in range(4))},
        8,
        Reason.TOO_MANY_RESTING,
    ),
    ("position at its limit", request(), {"holdings": (holding("0.59"),)}, 8, Reason.POSITION_TOO_LARGE),
    ("short at its limit", request(Side.SELL), {"holdings": (holding("-0.59"),)}, 8, Reason.POSITION_TOO_LARGE),
    (
        "open order fills to the limit",
        request(),
        {"holdings": (holding("0.4"),), "working": (order(Side.BUY, "0.19", "84000"),)},
        8,
        Reason.POSITION_TOO_LARGE,
    ),
    (
        "unknown order fills to the limit",
        request(),
        {"holdings": (holding("0.4"),), "unknown": (unknown(100, size="0.19"),)},
        8,
        Reason.POSITION_TOO_LARGE,
    ),
    (
        "an isolated slot counts in the product",
        request(),
        {"holdings": (holding("0.3"), holding("0.29", slot=3))},
        8,
        Reason.POSITION_TOO_LARGE,
    ),
    (
        "position limit by open interest",
        request(),
        {"quote": structs.replace(QUOTE, open_interest=D("1.9"))},
        8,
        Reason.POSITION_TOO_LARGE,
    ),
    (
        "dated future nets into the underlying",
        request(),
        {"holdings": (holding(), structs.replace(holding("0.59"), product_id="BTC_USDC-29JAN27"))},
        8,
        Reason.NET_TOO_LARGE,
    ),
    (
        "gross over everything",
        request(size="0.1"),
        {"holdings": (holding("0.4"), holding("12", ETH))},
        8,
        Reason.GROSS_TOO_LARGE,
    ),
    (
        "a held product without a price",
        request(),
        {"holdings": (holding(), holding("1", ETH, price=None))},
        8,
        Reason.GROSS_TOO_LARGE,
    ),
    (
        "margin over its share",
        request(),
        {"account": replace(ACCOUNT, initial_margin=D(24_990))},
        8,
        Reason.MARGIN_TOO_HIGH,
    ),
    ("liquidation near", request(), {"liquidation_distance_pct": D("49.9")}, 8, Reason.LIQUIDATION_NEAR),
    (
        "identity used before",
        request(),
        {"recent": Recent(identities={"id-new"})},
        10,
        Reason.IDENTITY_REUSED,
    ),
    ("the same order 1.999 s ago", request(), {"recent": Recent(sent=(SENT,))}, 10, Reason.DUPLICATE),
    (
        "bid meets an own ask",
        request(price="84100.0"),
        {"working": (order(Side.SELL, "0.01", "84100.0"),)},
        11,
        Reason.SELF_MATCH,
    ),
    (
        "bid meets an own ask of unknown fate",
        request(price="84100.0"),
        {"unknown": (unknown(100, Side.SELL, price=D("84100.0")),)},
        11,
        Reason.SELF_MATCH,
    ),
    (
        "the share of entries is used up",
        request(),
        {"recent": Recent(messages_ms=(NOW - 300, NOW - 200, NOW - 100))},
        12,
        Reason.MESSAGE_RATE,
    ),
    (
        "ten orders bought in 5 minutes",
        request(),
        {"recent": Recent(executions=executions(10, 5 * MIN - 1))},
        13,
        Reason.REPEATED_EXECUTION,
    ),
    (
        "four losing round trips in an hour",
        request(),
        {"recent": Recent(losses_ms=(NOW - 59 * MIN,) * 4)},
        13,
        Reason.LOSING_STREAK,
    ),
    ("intent not entered", request(), {"entered": 7, "left": 7}, 14, Reason.INTENT_NOT_ENTERED),
    ("orders of the day used up", request(), {"recent": Recent(orders_today=500)}, 14, Reason.TOO_MANY_ORDERS),
    ("day loss at the reduce line", request(), {"day_pnl_pct": D("-2.0")}, 15, Reason.DAY_LOSS),
    ("day loss unknown", request(), {"day_pnl_pct": None}, 15, Reason.DAY_LOSS_UNKNOWN),
    ("drawdown at the halt line", request(), {"drawdown_pct": D(5)}, 15, Reason.DRAWDOWN),
    (
        "spread too wide to take",
        request(),
        {"quote": structs.replace(QUOTE, bid=D("84070"), ask=D("84130"))},
        16,
        Reason.SPREAD,
    ),
    ("longs pay too much", request(), {"quote": structs.replace(QUOTE, funding_8h=D("0.0005"))}, 16, Reason.FUNDING),
    (
        "shorts pay too much",
        request(Side.SELL, price="84110.0"),
        {"quote": structs.replace(QUOTE, funding_8h=D("-0.0005"))},
        16,
        Reason.FUNDING,
    ),
    ("funding unknown", request(), {"quote": structs.replace(QUOTE, funding_8h=None)}, 16, Reason.FUNDING),
    ("a fast minute", request(), {"move_1m_pct": D("0.75")}, 16, Reason.VOLATILITY),
    ("mark and index apart", request(), {"quote": structs.replace(QUOTE, index=D("83840"))}, 16, Reason.MARK_INDEX),
    ("no index", request(), {"quote": structs.replace(QUOTE, index=None)}, 16, Reason.MARK_INDEX),
    ("settlement ahead", request(), {"planned_stop": True}, 16, Reason.PLANNED_STOP),
    ("venue's state never read", request(), {"venue_age_ms": None}, 4, Reason.VENUE_STALE),
    ("venue's state of a minute ago", request(), {"venue_age_ms": 60_001}, 4, Reason.VENUE_STALE),
    ("too many refusals by the venue", request(), {"order_success_pct": D("89.9")}, 17, Reason.REJECTIONS),
    ("slow answers", request(), {"latency_p95_ms": 1_001}, 17, Reason.LATENCY),
    ("entry would outlive the bot", request(), {"dead_man": False}, 18, Reason.NO_DEAD_MAN),
    ("position without a stop", request(), {"unprotected_ms": 5_001}, 18, Reason.NO_STOP),
]


@pytest.mark.parametrize(("planted", "asked", "change", "number", "reason"), PLANTED, ids=[row[0] for row in PLANTED])
def test_a_planted_violation_is_refused_by_its_own_control(
    planted: str, asked: OrderRequest, change: dict[str, Any], number: int, reason: Reason
) -> None:
    decision = decide(asked, world(**change), LIMITS)

    assert not decision.allowed
    assert decision.first_refusal is not None
    assert (decision.first_refusal.number, decision.first_refusal.reason_code) == (number, reason)


def test_every_reason_for_refusing_is_planted_somewhere() -> None:
    elsewhere = {Reason.NO_INSTRUMENT, Reason.LIMIT_UNSET, Reason.NOT_REDUCING}
    assert {row[4] for row in PLANTED} | elsewhere == set(Reason)


JUST_INSIDE: list[tuple[str, OrderRequest, dict[str, Any]]] = [
    ("quote as old as allowed", request(), {"quote_age_ms": 2_000}),
    ("bid at the collar's top", request(price="84520.5"), {}),
    ("bid at the collar's bottom", request(price="83679.5"), {}),
    ("largest order", request(size="0.1189"), {}),
    ("proof as old as allowed", request(), {"holdings": (holding(proof_age_ms=60_000),)}),
    ("unknown outcome for 15 s", request(), {"unknown": (unknown(15_000),)}),
    ("fourth entry", request(), {"working": (order(Side.BUY, "0.01", "84000"),) * 3}),
    ("largest position", request(), {"holdings": (holding("0.5845"),)}),
    ("a sale out of a position over its limit", request(Side.SELL, price="84110"), {"holdings": (holding("0.7"),)}),
    ("the same order just outside the window", request(), {"recent": Recent(sent=(replace(SENT, at_ms=NOW - 2_000),))}),
    ("another price in the window", request(price="84090.1"), {"recent": Recent(sent=(SENT,))}),
    ("own ask just above", request(price="84099.9"), {"working": (order(Side.SELL, "0.01", "84100.0"),)}),
    ("burst filled up again", request(), {"recent": Recent(messages_ms=(NOW - 1000, NOW - 200, NOW - 100))}),
    ("ten bought longer ago", request(), {"recent": Recent(executions=executions(10, 5 * MIN))}),
    ("ten on the other side", request(), {"recent": Recent(executions=executions(10, 100, Side.SELL))}),
    ("loss just above the line", request(), {"day_pnl_pct": D("-1.999")}),
    (
        "a maker in a wide market",
        request(post_only=True),
        {"quote": structs.replace(QUOTE, bid=D("84000"), ask=D("84200"))},
    ),
    ("receiving funding", request(Side.SELL, price="84110"), {"quote": structs.replace(QUOTE, funding_8h=D("0.01"))}),
    ("immediate order without a dead man", request(time_in_force=TimeInForce.IOC), {"dead_man": False}),
    ("ending order without a dead man", request(time_in_force=TimeInForce.GTD), {"dead_man": False}),
    ("five seconds without a stop", request(), {"unprotected_ms": 5_000}),
    (
        "a reduce-only order adds nothing",
        request(size="0.01"),
        {"working": (order(Side.BUY, "9", "1", reduce_only=True),)},
    ),
]


@pytest.mark.parametrize(("name", "asked", "change"), JUST_INSIDE, ids=[row[0] for row in JUST_INSIDE])
def test_what_is_just_inside_passes(name: str, asked: OrderRequest, change: dict[str, Any]) -> None:
    decision = decide(asked, world(**change), LIMITS)
    assert decision.first_refusal is None


@pytest.mark.parametrize(("side", "price", "held"), [(Side.BUY, "84090", "2.2"), (Side.SELL, "84110", "-2.2")])
@pytest.mark.parametrize(("equity", "near"), [(93_000, True), (96_000, False)])
def test_liquidation_is_estimated_with_the_order_filled(
    side: Side, price: str, held: str, equity: int, near: bool
) -> None:
    wide = with_overrides(LIMITS, {f"max_{row}_notional_equity": 10 for row in ("position", "net", "gross")})
    account = replace(ACCOUNT, equity=D(equity))
    decision = decide(request(side, "0.01", price), world(holdings=(holding(held),), account=account), wide)
    refused = {one.reason_code for one in decision.controls if one.verdict is Verdict.REFUSE}
    assert (Reason.LIQUIDATION_NEAR in refused) is near


@pytest.mark.parametrize(("night", "refused"), [("0.02", False), ("0.3", True)])
def test_margin_counts_in_the_dearest_window_that_the_product_publishes(night: str, refused: bool) -> None:
    def rates(share: str) -> MarginRates:
        return MarginRates(D(share), D(share) * 9 / 10, D(0))

    windows = tuple(WindowRates(name, rates(share), rates(share)) for name, share in (("day", "0.02"), ("n", night)))
    wide = with_overrides(LIMITS, {f"max_{row}_notional_equity": 10 for row in ("position", "net", "gross", "order")})
    instrument = structs.replace(INSTRUMENT, margin_rates=windows)
    decision = decide(request(size="1"), world(instrument=instrument, account=replace(ACCOUNT, equity=D(90_000))), wide)
    reasons = {one.reason_code for one in decision.controls if one.verdict is Verdict.REFUSE}
    assert (Reason.MARGIN_TOO_HIGH in reasons) is refused


@pytest.mark.parametrize("number", range(1, 19))
def test_every_control_can_refuse(number: int) -> None:
    refusing = {row[3] for row in PLANTED} | {9}
    assert number in refusing


def test_an_instrument_of_another_product_never_judges_an_order() -> None:
    other = structs.replace(INSTRUMENT, product_id=ETH)
    decision = decide(request(), world(instrument=other), LIMITS)
    assert decision.first_refusal is not None
    assert decision.first_refusal.reason_code is Reason.NO_INSTRUMENT


def test_without_any_limit_nothing_may_be_sent() -> None:
    decision = decide(request(), world(), Limits())
    refused = {control.reason_code for control in decision.controls if control.verdict is Verdict.REFUSE}
    assert not decision.allowed
    assert Reason.LIMIT_UNSET in refused


@pytest.mark.parametrize("key", KEYS)
def test_one_unset_row_is_enough_to_refuse(key: str) -> None:
    decision = decide(request(), world(), with_overrides(LIMITS, {key: 0}))
    assert Reason.LIMIT_UNSET in {c.reason_code for c in decision.controls if c.verdict is Verdict.REFUSE}


# --- exits -----------------------------------------------------------------------------------------------------------

LONG = {"holdings": (holding("0.3"),), "unprotected_ms": 60_000}


@pytest.mark.parametrize(
    "change",
    [
        {"mode": Mode.HALTED, "latch": Mode.HALTED},
        {"mode": Mode.REDUCE_ONLY},
        {"lease_left_ms": None},
        {"allowed": frozenset()},
        {"quote": None, "quote_age_ms": None},
        {"quote_age_ms": 99_000},
        {"quote": structs.replace(QUOTE, state=BookState.HALTED, funding_8h=D("-1"), index=None)},
        {"spec_unchanged": False, "instrument": None},
        {"account": None, "account_age_ms": None},
        {"account": replace(ACCOUNT, equity=D(-5), initial_margin=D(90_000))},
        {"day_pnl_pct": D(-50), "drawdown_pct": D(60), "move_1m_pct": D(9), "liquidation_distance_pct": D(1)},
        {"recent": Recent(messages_ms=(NOW,) * 60, executions=executions(99, 1, Side.SELL), orders_today=10**6)},
        {"recent": Recent(sent=(SentOrder(BTC, Side.SELL, D("0.3"), D("84000.0"), NOW),), losses_ms=(NOW,) * 99)},
        {"working": (order(Side.BUY, "0.01", "84050"),) * 9, "dead_man": False, "planned_stop": True},
        {"unknown": (unknown(900_000),), "latency_p95_ms": 99_000, "order_success_pct": D(1)},
        {"ramp": D(0)},
    ],
)
def test_a_true_exit_is_not_trapped_by_what_guards_entries(change: dict[str, Any]) -> None:
    decision = decide(close("0.3"), world(**{**LONG, **change}), LIMITS)
    assert decision.reduces
    assert decision.first_refusal is None
    assert Verdict.EXEMPT in {control.verdict for control in decision.controls}


def test_an_exit_of_the_whole_position_passes_though_it_is_larger_than_one_order_may_be() -> None:
    view = world(holdings=(holding("0.59"),))
    assert not decide(request(Side.SELL, "0.59", "84110"), view, LIMITS).allowed
    assert decide(close("0.59"), view, LIMITS).allowed


def test_an_exit_needs_no_limits_at_all() -> None:
    assert decide(close("0.3"), world(**LONG), Limits()).allowed


def test_a_market_exit_and_a_stop_pass_though_they_carry_no_price() -> None:
    market = replace(close("0.3"), type=OrderType.MARKET, price=None)
    stop = replace(market, purpose=Purpose.STOP, type=OrderType.STOP_MARKET, trigger_price=D("82340.8"))
    assert decide(market, world(**LONG), LIMITS).allowed
    assert decide(stop, world(**LONG), LIMITS).allowed


@pytest.mark.parametrize(
    ("asked", "change", "number"),
    [
        (close("0.3"), {"kill_in_progress": True}, 1),
        (close("0"), {}, 6),
        (close("0.3"), {"recent": Recent(identities={"id-new"})}, 10),
        (close("0.3"), {"entered": 3, "left": 3}, 14),
    ],
)
def test_firm_controls_stop_exits_too(asked: OrderRequest, change: dict[str, Any], number: int) -> None:
    decision = decide(asked, world(**{**LONG, **change}), LIMITS)
    assert decision.first_refusal is not None
    assert decision.first_refusal.number == number


def test_during_a_kill_only_the_kill_sends() -> None:
    view = world(**LONG, kill_in_progress=True, mode=Mode.HALTED)
    assert decide(replace(close("0.3"), purpose=Purpose.KILL), view, LIMITS).allowed


FALSE_EXITS: list[tuple[str, OrderRequest, dict[str, Any]]] = [
    ("wrong side", close("0.1", Side.BUY), {"holdings": (holding("0.3"),)}),
    ("nothing held", close("0.1"), {"holdings": (holding(),)}),
    ("larger than the position", close("0.31"), {"holdings": (holding("0.3"),)}),
    ("only the purpose, position unproven", replace(close("0.1"), reduce_only=False), {"holdings": ()}),
    (
        "only the purpose, the proof too old",
        replace(close("0.1"), reduce_only=False),
        {"holdings": (holding("0.3", proof_age_ms=60_001),)},
    ),
    (
        "only the purpose, an own ask fills first",
        replace(close("0.3"), reduce_only=False),
        {"holdings": (holding("0.3"),), "working": (order(Side.SELL, "0.01", "84200"),)},
    ),
    (
        "only the purpose, another exit waits",
        replace(close("0.3"), reduce_only=False),
        {"holdings": (holding("0.3"),), "working": (order(Side.SELL, "0.01", "84200", reduce_only=True),)},
    ),
    (
        "only the purpose, an unknown exit may fill",
        replace(close("0.3"), reduce_only=False),
        {"holdings": (holding("0.3"),), "unknown": (UnknownOrder(replace(close("0.1"), identity="id-x"), NOW),)},
    ),
    (
        "a venue that does not enforce the flag, position unproven",
        close("0.1"),
        {"holdings": (), "venue_enforces_reduce_only": False},
    ),
    (
        "a venue that does not enforce the flag, an unknown sale",
        close("0.3"),
        {"holdings": (holding("0.3"),), "unknown": (unknown(1, Side.SELL),), "venue_enforces_reduce_only": False},
    ),
    ("another slot is held", close("0.1", slot=None), {"holdings": (holding(), holding("0.3", slot=3))}),
]


@pytest.mark.parametrize(("name", "asked", "change"), FALSE_EXITS, ids=[row[0] for row in FALSE_EXITS])
def test_a_false_claim_to_reduce_is_refused_by_control_9(
    name: str, asked: OrderRequest, change: dict[str, Any]
) -> None:
    decision = decide(asked, world(**change), LIMITS)
    refused = [c for c in decision.controls if c.verdict is Verdict.REFUSE]
    assert (9, Reason.NOT_REDUCING) in {(c.number, c.reason_code) for c in refused}
    assert not decision.reduces


@pytest.mark.parametrize("mode", [Mode.HALTED, Mode.REDUCE_ONLY])
def test_a_false_claim_to_reduce_opens_no_door_in_a_stopped_mode(mode: Mode) -> None:
    decision = decide(close("0.1", Side.BUY), world(holdings=(holding("0.3"),), mode=mode), LIMITS)
    assert decision.first_refusal is not None
    assert decision.first_refusal.number == 1


def test_a_flagged_exit_passes_with_the_position_unproven_where_the_venue_enforces_the_flag() -> None:
    assert decide(close("0.3"), world(holdings=(), mode=Mode.HALTED), LIMITS).allowed


def test_a_flagged_exit_may_cover_what_an_unknown_entry_may_have_added() -> None:
    view = world(holdings=(holding("0.3"),), unknown=(unknown(100, size="0.1"),))
    assert decide(close("0.4"), view, LIMITS).allowed
    assert not decide(close("0.4001"), view, LIMITS).allowed


def test_a_resting_stop_does_not_use_up_the_room_of_a_close() -> None:
    stop = order(Side.SELL, "0.3", None, type=OrderType.STOP_MARKET, reduce_only=True, trigger_price=D(82000))
    view = world(holdings=(holding("0.3"),), working=(stop,), venue_enforces_reduce_only=False)
    assert decide(close("0.3"), view, LIMITS).allowed


@pytest.mark.parametrize(
    ("size", "working", "passes"),
    [("0.3", (), True), ("0.3001", (), False), ("0.3", (order(Side.SELL, "0.0001", "84200"),), False)],
)
def test_in_reduce_only_a_plain_order_passes_when_it_is_certain_to_shrink(
    size: str, working: tuple[Any, ...], passes: bool
) -> None:
    limits = with_overrides(LIMITS, {"max_order_notional_equity": "0.5", "max_order_notional_usd": 50_000})
    view = world(mode=Mode.REDUCE_ONLY, holdings=(holding("0.3"),), working=working)
    assert decide(request(Side.SELL, size, "84110"), view, limits).allowed is passes


@given(
    position=st.decimals("-0.5", "0.5", places=4),
    size=st.decimals("0.0001", "1", places=4),
    side=st.sampled_from(Side),
    resting=st.lists(
        st.tuples(st.sampled_from(Side), st.decimals("0.0001", "0.4", places=4), st.booleans()), max_size=4
    ),
)
def test_in_reduce_only_no_order_that_passes_can_grow_the_position(
    position: D, size: D, side: Side, resting: list[tuple[Side, D, bool]]
) -> None:
    """Whatever subset of the resting orders fills first, the passed order never leaves more than was there."""
    working = tuple(order(s, str(z), "84000" if s is Side.BUY else "84200", reduce_only=r) for s, z, r in resting)
    view = world(
        mode=Mode.REDUCE_ONLY,
        holdings=(holding(str(position)),),
        working=working,
        venue_enforces_reduce_only=False,
    )
    asked = request(side, str(size), "84110.0" if side is Side.SELL else "84090.0", reduce_only=True)
    if not decide(asked, view, LIMITS).allowed:
        return
    for mask in range(2 ** len(working)):
        here = position
        for n, one in enumerate(working):
            if mask >> n & 1:
                fill = min(one.remaining, max(-here * one.side.sign, D(0))) if one.reduce_only else one.remaining
                here += one.side.sign * fill
        after = here + side.sign * size
        assert abs(after) < abs(here)
        assert here * after >= 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(Side),
            st.decimals("0.0001", "0.11", places=4),
            st.sampled_from(["fills", "rests", "unknown", "half"]),
        ),
        max_size=25,
    )
)
def test_whatever_is_asked_the_position_never_outgrows_its_limit_even_at_worst(
    wishes: list[tuple[Side, D, str]],
) -> None:
    """Orders that pass fill, rest, or are lost; then everything that is out fills on the worse side."""
    limits = with_overrides(LIMITS, {"max_resting_entries": 100})
    position, working, out = D(0), [], []
    for n, (side, size, fate) in enumerate(wishes):
        price = "84090.0" if side is Side.BUY else "84110.0"
        view = world(holdings=(holding(str(position)),), working=tuple(working), unknown=tuple(out))
        asked = request(side, str(size), price, identity=f"id-{n}")
        if not decide(asked, view, limits).allowed:
            continue
        match fate:
            case "fills":
                position += side.sign * size
            case "rests":
                working.append(order(side, str(size), price))
            case "unknown":
                out.append(UnknownOrder(asked, NOW))
            case _:
                position += side.sign * size / 2
                working.append(order(side, str(size), price, filled=size / 2))
        for worst in Side:
            left = [o.remaining for o in working if o.side is worst]
            left += [o.request.size for o in out if o.request.side is worst]
            reach = position + worst.sign * sum(left, D(0))
            assert abs(reach) * 84_100 <= 50_000


def test_the_gate_is_cheap() -> None:
    """The goal is 60 us on an idle machine; the bound here leaves room for a busy one and still catches a blow-up."""
    view = world(
        holdings=(holding("0.2"), holding("3", ETH)),
        working=tuple(order(Side.BUY, "0.01", "84000", order_id=str(n)) for n in range(3)),
        recent=Recent(messages_ms=tuple(NOW - MIN + n * 1_300 for n in range(40)), executions=executions(8, 10)),
    )
    best = min(timeit.repeat(lambda: decide(request(), view, LIMITS), number=200, repeat=5)) / 200
    assert best < 0.001


def test_where_margin_rates_are_published_the_dearest_window_of_that_side_counts() -> None:
    def window(name: str, long: str, short: str) -> WindowRates:
        return WindowRates(name, *(MarginRates(D(rate), D(rate), D(0)) for rate in (long, short)))

    rates = (window("intraday", "0.10", "0.10"), window("overnight", "0.2456", "0.3064"))
    priced = structs.replace(INSTRUMENT, margin_rates=rates)

    def used(side: Side) -> object:
        decision = decide(request(side, price="84100.0"), world(instrument=priced), LIMITS)
        return next(control.value for control in decision.controls if control.name == "margin used")

    notional = D("0.01") * 84100
    assert used(Side.BUY) == notional * D("0.2456") / 1000
    assert used(Side.SELL) == notional * D("0.3064") / 1000
