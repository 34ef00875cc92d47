"""What is planted into the healthy world of a venue: what spoils it, and what is just inside."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any, NamedTuple

from msgspec import structs

from perpctl.model.exposure import UnknownOrder
from perpctl.model.instrument import BookState
from perpctl.model.mode import Mode
from perpctl.model.order import NEW_SLOT, OrderRequest, OrderType, Side, TimeInForce
from perpctl.risk.activity import Execution, Recent, SentOrder
from perpctl.risk.verdict import Reason
from tests.risk.world import NOW, World

MIN = 60_000


class Planted(NamedTuple):
    """An order, what is changed in the world, and the control that must refuse it, with its reason."""

    asked: OrderRequest
    change: dict[str, Any]
    number: int
    reason: Reason


class Inside(NamedTuple):
    """An order that passes though so much is changed."""

    asked: OrderRequest
    change: dict[str, Any]


def sent(at: World, ms_ago: int) -> SentOrder:
    """What `at.request()` asks for, sent before."""
    return SentOrder(at.btc, Side.BUY, D("0.01"), D(84090), NOW - ms_ago)


def executions(at: World, count: int, age_ms: int, side: Side = Side.BUY) -> tuple[Execution, ...]:
    return tuple(Execution(at.btc, side, f"o-{n}", NOW - age_ms) for n in range(count))


def unknown(at: World, age_ms: int, side: Side = Side.BUY, size: str = "0.01", **change: Any) -> UnknownOrder:
    return UnknownOrder(at.request(side, size, identity="id-unknown", **change), NOW - age_ms)


def in_slot(at: World, size: str = "0.01", margin: str = "600") -> OrderRequest:
    return at.request(size=size, slot=NEW_SLOT, allocated_margin=D(margin))


def violations(at: World) -> dict[str, Planted]:
    rows: list[tuple[str, OrderRequest, dict[str, Any], int, Reason]] = [
        ("mode halted", at.request(), {"mode": Mode.HALTED}, 1, Reason.HALTED),
        ("latch halted under a normal mode", at.request(), {"latch": Mode.HALTED}, 1, Reason.HALTED),
        ("mode reduce-only", at.request(), {"mode": Mode.REDUCE_ONLY}, 1, Reason.REDUCE_ONLY_MODE),
        ("latch reduce-only", at.request(), {"latch": Mode.REDUCE_ONLY}, 1, Reason.REDUCE_ONLY_MODE),
        ("kill in progress", at.request(), {"kill_in_progress": True}, 1, Reason.KILL_IN_PROGRESS),
        ("lease not held", at.request(), {"lease_left_ms": None}, 2, Reason.NO_LEASE),
        ("lease ran out", at.request(), {"lease_left_ms": 0}, 2, Reason.NO_LEASE),
        ("product not listed", at.request(), {"allowed": frozenset({at.eth})}, 3, Reason.SYMBOL_NOT_ALLOWED),
        ("isolated, and not named", in_slot(at), {}, 3, Reason.ISOLATED_OFF),
        ("isolated, and another named", in_slot(at), {"isolated": frozenset({at.eth})}, 3, Reason.ISOLATED_OFF),
        (
            "isolated, and the cross position leaves no room",
            in_slot(at, "0.05"),
            {"isolated": frozenset({at.btc}), "holdings": (at.holding("0.58"),)},
            8,
            Reason.POSITION_TOO_LARGE,
        ),
        (
            "isolated with a quarter of equity as margin",
            in_slot(at, margin="25001"),
            {"isolated": frozenset({at.btc})},
            8,
            Reason.MARGIN_TOO_HIGH,
        ),
        (
            "isolated with margin that a third of the price uses up",
            in_slot(at, margin="280"),
            {"isolated": frozenset({at.btc})},
            8,
            Reason.LIQUIDATION_NEAR,
        ),
        ("no quote", at.request(), {"quote": None}, 4, Reason.NO_PRICE),
        (
            "quote of another product",
            at.request(),
            {"quote": structs.replace(at.quote, product_id=at.eth)},
            4,
            Reason.NO_PRICE,
        ),
        (
            "no mark and one side",
            at.request(),
            {"quote": structs.replace(at.quote, mark=None, bid=None)},
            4,
            Reason.NO_PRICE,
        ),
        ("quote never confirmed", at.request(), {"quote_age_ms": None}, 4, Reason.NO_PRICE),
        ("quote too old", at.request(), {"quote_age_ms": 2_001}, 4, Reason.PRICE_STALE),
        (
            "book locked",
            at.request(),
            {"quote": structs.replace(at.quote, state=BookState.LOCKED)},
            4,
            Reason.BOOK_NOT_OPEN,
        ),
        (
            "book state unknown",
            at.request(),
            {"quote": structs.replace(at.quote, state=BookState.UNKNOWN)},
            4,
            Reason.BOOK_NOT_OPEN,
        ),
        ("bid above the collar", at.request(price=at.highest + at.tick), {}, 5, Reason.OUTSIDE_COLLAR),
        ("bid below the collar", at.request(price=at.lowest - at.tick), {}, 5, Reason.OUTSIDE_COLLAR),
        ("ask below the collar", at.request(Side.SELL, price=at.lowest - at.tick), {}, 5, Reason.OUTSIDE_COLLAR),
        (
            "price beyond 0.9 of the way to a near band",
            at.request(price=D(84190) + at.tick),
            {"quote": structs.replace(at.quote, band_high=D("84200"))},
            5,
            Reason.OUTSIDE_COLLAR,
        ),
        ("entry without a price", at.request(price=None, type=OrderType.MARKET), {}, 5, Reason.OUTSIDE_COLLAR),
        ("size of zero", at.request(size="0"), {}, 6, Reason.NOT_POSITIVE),
        ("negative size", at.request(size="-0.01"), {}, 6, Reason.NOT_POSITIVE),
        ("below the minimum", at.request(size=at.instrument.min_size / 2), {}, 6, Reason.BELOW_MINIMUM),
        ("off the step", at.request(size=D("0.01") + at.step / 2), {}, 6, Reason.OFF_STEP),
        ("off the tick", at.request(price=D(84090) + at.tick / 2), {}, 6, Reason.OFF_TICK),
        ("order above its money limit", at.request(size=at.largest_order + at.step), {}, 6, Reason.ORDER_TOO_LARGE),
        ("order above its share of depth", at.request(), {"depth_notional": D(8_000)}, 6, Reason.ORDER_TOO_LARGE),
        (
            "a quarter of the limits after a return",
            at.request(size="0.03"),
            {"ramp": D("0.25")},
            6,
            Reason.ORDER_TOO_LARGE,
        ),
        ("specification changed", at.request(), {"spec_unchanged": False}, 7, Reason.SPEC_CHANGED),
        ("position never proven", at.request(), {"holdings": ()}, 8, Reason.POSITION_UNPROVEN),
        (
            "proof without an age",
            at.request(),
            {"holdings": (at.holding(proof_age_ms=None),)},
            8,
            Reason.POSITION_UNPROVEN,
        ),
        ("proof too old", at.request(), {"holdings": (at.holding(proof_age_ms=60_001),)}, 8, Reason.POSITION_UNPROVEN),
        (
            "another product unproven",
            at.request(),
            {"holdings": (at.holding(), at.holding("1", at.eth, proof_age_ms=None))},
            8,
            Reason.POSITION_UNPROVEN,
        ),
        ("equity too old", at.request(), {"account_age_ms": 60_001}, 8, Reason.ACCOUNT_STALE),
        ("unknown outcome for 16 s", at.request(), {"unknown": (unknown(at, 16_000),)}, 8, Reason.UNKNOWN_OUTCOME),
        (
            "four entries rest",
            at.request(),
            {"working": tuple(at.order(Side.BUY, "0.01", "84000", order_id=str(n)) for n in range(4))},
            8,
            Reason.TOO_MANY_RESTING,
        ),
        (
            "position at its limit",
            at.request(),
            {"holdings": (at.holding(at.largest_position),)},
            8,
            Reason.POSITION_TOO_LARGE,
        ),
        (
            "short at its limit",
            at.request(Side.SELL),
            {"holdings": (at.holding(-at.largest_position),)},
            8,
            Reason.POSITION_TOO_LARGE,
        ),
        (
            "open order fills to the limit",
            at.request(),
            {"holdings": (at.holding("0.4"),), "working": (at.order(Side.BUY, "0.19", "84000"),)},
            8,
            Reason.POSITION_TOO_LARGE,
        ),
        (
            "unknown order fills to the limit",
            at.request(),
            {"holdings": (at.holding("0.4"),), "unknown": (unknown(at, 100, size="0.19"),)},
            8,
            Reason.POSITION_TOO_LARGE,
        ),
        (
            "an isolated slot counts in the product",
            at.request(),
            {"holdings": (at.holding("0.3"), at.holding("0.29", slot=3))},
            8,
            Reason.POSITION_TOO_LARGE,
        ),
        (
            "position limit by open interest",
            at.request(),
            {"quote": structs.replace(at.quote, open_interest=D("1.9"))},
            8,
            Reason.POSITION_TOO_LARGE,
        ),
        (
            "dated future nets into the underlying",
            at.request(),
            {"holdings": (at.holding(), structs.replace(at.holding("0.59"), product_id=at.dated))},
            8,
            Reason.NET_TOO_LARGE,
        ),
        (
            "gross over everything",
            at.request(size="0.1"),
            {"holdings": (at.holding("0.4"), at.holding("12", at.eth))},
            8,
            Reason.GROSS_TOO_LARGE,
        ),
        (
            "a held product without a price",
            at.request(),
            {"holdings": (at.holding(), at.holding("1", at.eth, price=None))},
            8,
            Reason.GROSS_TOO_LARGE,
        ),
        (
            "margin over its share",
            at.request(),
            {"account": replace(at.account, initial_margin=D(24_990))},
            8,
            Reason.MARGIN_TOO_HIGH,
        ),
        ("liquidation near", at.request(), {"liquidation_distance_pct": D("49.9")}, 8, Reason.LIQUIDATION_NEAR),
        (
            "identity used before",
            at.request(),
            {"recent": Recent(identities={"id-new"})},
            10,
            Reason.IDENTITY_REUSED,
        ),
        ("the same order 1.999 s ago", at.request(), {"recent": Recent(sent=(sent(at, 1_999),))}, 10, Reason.DUPLICATE),
        (
            "bid meets an own ask",
            at.request(price="84100"),
            {"working": (at.order(Side.SELL, "0.01", "84100"),)},
            11,
            Reason.SELF_MATCH,
        ),
        (
            "bid meets an own ask of unknown fate",
            at.request(price="84100"),
            {"unknown": (unknown(at, 100, Side.SELL, price=D("84100")),)},
            11,
            Reason.SELF_MATCH,
        ),
        (
            "the share of entries is used up",
            at.request(),
            {"recent": Recent(messages_ms=(NOW - 300, NOW - 200, NOW - 100))},
            12,
            Reason.MESSAGE_RATE,
        ),
        (
            "ten orders bought in 5 minutes",
            at.request(),
            {"recent": Recent(executions=executions(at, 10, 5 * MIN - 1))},
            13,
            Reason.REPEATED_EXECUTION,
        ),
        (
            "four losing round trips in an hour",
            at.request(),
            {"recent": Recent(losses_ms=(NOW - 59 * MIN,) * 4)},
            13,
            Reason.LOSING_STREAK,
        ),
        ("intent not entered", at.request(), {"entered": 7, "left": 7}, 14, Reason.INTENT_NOT_ENTERED),
        ("orders of the day used up", at.request(), {"recent": Recent(orders_today=500)}, 14, Reason.TOO_MANY_ORDERS),
        ("day loss at the reduce line", at.request(), {"day_pnl_pct": D("-2.0")}, 15, Reason.DAY_LOSS),
        ("day loss unknown", at.request(), {"day_pnl_pct": None}, 15, Reason.DAY_LOSS_UNKNOWN),
        ("drawdown at the halt line", at.request(), {"drawdown_pct": D(5)}, 15, Reason.DRAWDOWN),
        (
            "spread too wide to take",
            at.request(),
            {"quote": structs.replace(at.quote, bid=D("84070"), ask=D("84130"))},
            16,
            Reason.SPREAD,
        ),
        (
            "longs pay too much",
            at.request(),
            {"quote": structs.replace(at.quote, funding_8h=D("0.0005"))},
            16,
            Reason.FUNDING,
        ),
        (
            "shorts pay too much",
            at.request(Side.SELL, price="84110"),
            {"quote": structs.replace(at.quote, funding_8h=D("-0.0005"))},
            16,
            Reason.FUNDING,
        ),
        ("funding unknown", at.request(), {"quote": structs.replace(at.quote, funding_8h=None)}, 16, Reason.FUNDING),
        ("a fast minute", at.request(), {"move_1m_pct": D("0.75")}, 16, Reason.VOLATILITY),
        (
            "mark and index apart",
            at.request(),
            {"quote": structs.replace(at.quote, index=D("83840"))},
            16,
            Reason.MARK_INDEX,
        ),
        ("no index", at.request(), {"quote": structs.replace(at.quote, index=None)}, 16, Reason.MARK_INDEX),
        ("settlement ahead", at.request(), {"planned_stop": True}, 16, Reason.PLANNED_STOP),
        ("venue's state never read", at.request(), {"venue_age_ms": None}, 4, Reason.VENUE_STALE),
        ("venue's state of a minute ago", at.request(), {"venue_age_ms": 60_001}, 4, Reason.VENUE_STALE),
        ("too many refusals by the venue", at.request(), {"order_success_pct": D("89.9")}, 17, Reason.REJECTIONS),
        ("slow answers", at.request(), {"latency_p95_ms": 1_001}, 17, Reason.LATENCY),
        (
            "entry would outlive the bot",
            at.request(time_in_force=TimeInForce.GTC),
            {"dead_man": False},
            18,
            Reason.NO_DEAD_MAN,
        ),
        ("position without a stop", at.request(), {"unprotected_ms": 5_001}, 18, Reason.NO_STOP),
    ]
    return {name: Planted(*row) for name, *row in rows}


def just_inside(at: World) -> dict[str, Inside]:
    rows: list[tuple[str, OrderRequest, dict[str, Any]]] = [
        ("quote as old as allowed", at.request(), {"quote_age_ms": 2_000}),
        ("bid at the collar's top", at.request(price=at.highest), {}),
        ("bid at the collar's bottom", at.request(price=at.lowest), {}),
        ("largest order", at.request(size=at.largest_order), {}),
        ("proof as old as allowed", at.request(), {"holdings": (at.holding(proof_age_ms=60_000),)}),
        ("unknown outcome for 15 s", at.request(), {"unknown": (unknown(at, 15_000),)}),
        ("fourth entry", at.request(), {"working": (at.order(Side.BUY, "0.01", "84000"),) * 3}),
        ("largest position", at.request(), {"holdings": (at.holding(at.largest_position - D("0.01")),)}),
        (
            "a sale out of a position over its limit",
            at.request(Side.SELL, price="84110"),
            {"holdings": (at.holding("0.7"),)},
        ),
        ("the same order just outside the window", at.request(), {"recent": Recent(sent=(sent(at, 2_000),))}),
        (
            "another price in the window",
            at.request(price=D(84090) + at.tick),
            {"recent": Recent(sent=(sent(at, 1_999),))},
        ),
        (
            "own ask just above",
            at.request(price=D(84100) - at.tick),
            {"working": (at.order(Side.SELL, "0.01", "84100"),)},
        ),
        ("burst filled up again", at.request(), {"recent": Recent(messages_ms=(NOW - 1000, NOW - 200, NOW - 100))}),
        ("ten bought longer ago", at.request(), {"recent": Recent(executions=executions(at, 10, 5 * MIN))}),
        ("ten on the other side", at.request(), {"recent": Recent(executions=executions(at, 10, 100, Side.SELL))}),
        ("loss just above the line", at.request(), {"day_pnl_pct": D("-1.999")}),
        (
            "a maker in a wide market",
            at.request(post_only=True),
            {"quote": structs.replace(at.quote, bid=D("84000"), ask=D("84200"))},
        ),
        (
            "receiving funding",
            at.request(Side.SELL, price="84110"),
            {"quote": structs.replace(at.quote, funding_8h=D("0.01"))},
        ),
        ("immediate order without a dead man", at.request(time_in_force=TimeInForce.IOC), {"dead_man": False}),
        ("ending order without a dead man", at.request(time_in_force=TimeInForce.GTD), {"dead_man": False}),
        ("five seconds without a stop", at.request(), {"unprotected_ms": 5_000}),
        (
            "a reduce-only order adds nothing",
            at.request(size="0.01"),
            {"working": (at.order(Side.BUY, "9", "1", reduce_only=True),)},
        ),
    ]
    return {name: Inside(*row) for name, *row in rows}
