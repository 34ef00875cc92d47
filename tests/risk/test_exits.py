"""Exits: a true one is not trapped by what guards entries, and a false claim to be one is refused."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from perpctl.model.exposure import UnknownOrder
from perpctl.model.instrument import BookState
from perpctl.model.mode import Mode
from perpctl.model.money import price_up
from perpctl.model.order import OrderRequest, OrderType, Purpose, Side
from perpctl.risk.activity import Recent, SentOrder
from perpctl.risk.gate import decide
from perpctl.risk.limits import Limits, with_overrides
from perpctl.risk.verdict import Reason, Verdict
from perpctl.risk.view import GateInput
from tests.conftest import both_venues
from tests.risk.planted import executions, unknown
from tests.risk.world import GLOBAL, LIMITS, NOW, World

pytestmark = both_venues


def long(at: World, **change: Any) -> GateInput:
    """A position that has had no stop for a minute."""
    return at.view(**{"holdings": (at.holding("0.3"),), "unprotected_ms": 60_000, **change})


def guards_of_entries(at: World) -> dict[str, dict[str, Any]]:
    """What would refuse an entry."""
    return {
        "halted": {"mode": Mode.HALTED, "latch": Mode.HALTED},
        "reduce-only": {"mode": Mode.REDUCE_ONLY},
        "no lease": {"lease_left_ms": None},
        "not on the list": {"allowed": frozenset()},
        "no quote": {"quote": None, "quote_age_ms": None},
        "an old quote": {"quote_age_ms": 99_000},
        "a halted book without an index": {
            "quote": structs.replace(at.quote, state=BookState.HALTED, funding_8h=D("-1"), index=None)
        },
        "no specification": {"spec_unchanged": False, "instrument": None},
        "no account": {"account": None, "account_age_ms": None},
        "no equity": {"account": replace(at.account, equity=D(-5), initial_margin=D(90_000))},
        "losses": {"day_pnl_pct": D(-50), "drawdown_pct": D(60), "move_1m_pct": D(9), "liquidation_distance_pct": D(1)},
        "too many messages and orders": {
            "recent": Recent(messages_ms=(NOW,) * 60, executions=executions(at, 99, 1, Side.SELL), orders_today=10**6)
        },
        "sent a moment ago, and losing": {
            "recent": Recent(sent=(SentOrder(at.btc, Side.SELL, D("0.3"), D("84000"), NOW),), losses_ms=(NOW,) * 99)
        },
        "resting entries without a dead man": {
            "working": (at.order(Side.BUY, "0.01", "84050"),) * 9,
            "dead_man": False,
            "planned_stop": True,
        },
        "an unknown entry": {"unknown": (unknown(at, 900_000),), "latency_p95_ms": 99_000, "order_success_pct": D(1)},
        "no limits yet after a return": {"ramp": D(0)},
    }


@pytest.mark.parametrize("guard", guards_of_entries(GLOBAL))
def test_a_true_exit_is_not_trapped_by_what_guards_entries(at: World, guard: str) -> None:
    decision = decide(at.close("0.3"), long(at, **guards_of_entries(at)[guard]), LIMITS)
    assert decision.reduces
    assert decision.first_refusal is None
    assert Verdict.EXEMPT in {control.verdict for control in decision.controls}


def test_an_exit_of_the_whole_position_passes_though_it_is_larger_than_one_order_may_be(at: World) -> None:
    view = at.view(holdings=(at.holding("0.59"),))
    assert not decide(at.request(Side.SELL, "0.59", "84110"), view, LIMITS).allowed
    assert decide(at.close("0.59"), view, LIMITS).allowed


def test_an_exit_needs_no_limits_at_all(at: World) -> None:
    assert decide(at.close("0.3"), long(at), Limits()).allowed


def test_a_market_exit_and_the_stop_of_the_venue_pass(at: World) -> None:
    market = replace(at.close("0.3"), type=OrderType.MARKET, price=None)
    assert decide(market, long(at), LIMITS).allowed
    assert decide(at.stop("0.3"), long(at), LIMITS).allowed


@pytest.mark.parametrize(
    ("size", "change", "number"),
    [
        ("0.3", {"kill_in_progress": True}, 1),
        ("0", {}, 6),
        ("0.3", {"recent": Recent(identities={"id-new"})}, 10),
        ("0.3", {"entered": 3, "left": 3}, 14),
    ],
)
def test_firm_controls_stop_exits_too(at: World, size: str, change: dict[str, Any], number: int) -> None:
    decision = decide(at.close(size), long(at, **change), LIMITS)
    assert decision.first_refusal is not None
    assert decision.first_refusal.number == number


def test_an_exit_from_a_slot_passes_wherever_it_came_from(at: World) -> None:
    held = at.view(holdings=(at.holding(), at.holding("0.1", slot=3)))
    assert decide(at.close("0.1", slot=3), held, LIMITS).allowed


def test_during_a_kill_only_the_kill_sends(at: World) -> None:
    view = long(at, kill_in_progress=True, mode=Mode.HALTED)
    assert decide(replace(at.close("0.3"), purpose=Purpose.KILL), view, LIMITS).allowed


def false_exits(at: World) -> dict[str, tuple[OrderRequest, dict[str, Any]]]:
    rows: list[tuple[str, OrderRequest, dict[str, Any]]] = [
        ("wrong side", at.close("0.1", Side.BUY), {"holdings": (at.holding("0.3"),)}),
        ("nothing held", at.close("0.1"), {"holdings": (at.holding(),)}),
        ("larger than the position", at.close(D("0.3") + at.step), {"holdings": (at.holding("0.3"),)}),
        ("only the purpose, position unproven", replace(at.close("0.1"), reduce_only=False), {"holdings": ()}),
        (
            "only the purpose, the proof too old",
            replace(at.close("0.1"), reduce_only=False),
            {"holdings": (at.holding("0.3", proof_age_ms=60_001),)},
        ),
        (
            "only the purpose, an own ask fills first",
            replace(at.close("0.3"), reduce_only=False),
            {"holdings": (at.holding("0.3"),), "working": (at.order(Side.SELL, "0.01", "84200"),)},
        ),
        (
            "only the purpose, another exit waits",
            replace(at.close("0.3"), reduce_only=False),
            {"holdings": (at.holding("0.3"),), "working": (at.order(Side.SELL, "0.01", "84200", reduce_only=True),)},
        ),
        (
            "only the purpose, an unknown exit may fill",
            replace(at.close("0.3"), reduce_only=False),
            {
                "holdings": (at.holding("0.3"),),
                "unknown": (UnknownOrder(replace(at.close("0.1"), identity="id-x"), NOW),),
            },
        ),
        (
            "a venue that does not enforce the flag, position unproven",
            at.close("0.1"),
            {"holdings": (), "venue_enforces_reduce_only": False},
        ),
        (
            "a venue that does not enforce the flag, an unknown sale",
            at.close("0.3"),
            {
                "holdings": (at.holding("0.3"),),
                "unknown": (unknown(at, 1, Side.SELL),),
                "venue_enforces_reduce_only": False,
            },
        ),
        ("another slot is held", at.close("0.1", slot=None), {"holdings": (at.holding(), at.holding("0.3", slot=3))}),
    ]
    return {name: (asked, change) for name, asked, change in rows}


@pytest.mark.parametrize("name", false_exits(GLOBAL))
def test_a_false_claim_to_reduce_is_refused_by_control_9(at: World, name: str) -> None:
    asked, change = false_exits(at)[name]
    decision = decide(asked, at.view(**change), LIMITS)
    refused = [c for c in decision.controls if c.verdict is Verdict.REFUSE]
    assert (9, Reason.NOT_REDUCING) in {(c.number, c.reason_code) for c in refused}
    assert not decision.reduces


@pytest.mark.parametrize("mode", [Mode.HALTED, Mode.REDUCE_ONLY])
def test_a_false_claim_to_reduce_opens_no_door_in_a_stopped_mode(at: World, mode: Mode) -> None:
    decision = decide(at.close("0.1", Side.BUY), at.view(holdings=(at.holding("0.3"),), mode=mode), LIMITS)
    assert decision.first_refusal is not None
    assert decision.first_refusal.number == 1


def test_a_flagged_exit_passes_with_the_position_unproven_only_where_the_venue_enforces_the_flag(at: World) -> None:
    decision = decide(at.close("0.3"), at.view(holdings=(), mode=Mode.HALTED), LIMITS)
    assert decision.allowed is at.terms.reduces_only


def test_a_flagged_exit_may_cover_what_an_unknown_entry_may_have_added_only_where_it_is_enforced(at: World) -> None:
    view = at.view(holdings=(at.holding("0.3"),), unknown=(unknown(at, 100, size="0.1"),))
    assert decide(at.close("0.3"), view, LIMITS).allowed
    assert decide(at.close("0.4"), view, LIMITS).allowed is at.terms.reduces_only
    assert not decide(at.close(D("0.4") + at.step), view, LIMITS).allowed


def test_a_second_stop_of_the_whole_position_is_no_exit(at: World) -> None:
    first = at.stop("0.3")
    resting = at.order(Side.SELL, "0.3", first.price, type=first.type, reduce_only=True, trigger_price=D(82340))
    view = at.view(holdings=(at.holding("0.3"),), working=(resting,))
    assert decide(at.stop("0.3"), view, LIMITS).allowed is at.terms.reduces_only


def test_a_resting_stop_does_not_use_up_the_room_of_a_close(at: World) -> None:
    asked = at.stop("0.3")
    stop = at.order(Side.SELL, "0.3", asked.price, type=asked.type, reduce_only=True, trigger_price=D(82340))
    view = at.view(holdings=(at.holding("0.3"),), working=(stop,))
    assert decide(at.close("0.3"), view, LIMITS).allowed


@pytest.mark.parametrize(("more", "beside", "passes"), [(0, 0, True), (1, 0, False), (0, 1, False)])
def test_in_reduce_only_a_plain_order_passes_when_it_is_certain_to_shrink(
    at: World, more: int, beside: int, passes: bool
) -> None:
    """Larger than the position by a step, or beside another ask of one."""
    size, working = D("0.3") + more * at.step, (at.order(Side.SELL, at.step, "84200"),) * beside
    limits = with_overrides(LIMITS, {"max_order_notional_equity": "0.5", "max_order_notional_usd": 50_000})
    view = at.view(mode=Mode.REDUCE_ONLY, holdings=(at.holding("0.3"),), working=working)
    assert decide(at.request(Side.SELL, size, "84110"), view, limits).allowed is passes


@given(
    position=st.decimals("-0.5", "0.5", places=4),
    size=st.decimals("0.0001", "1", places=4),
    side=st.sampled_from(Side),
    resting=st.lists(
        st.tuples(st.sampled_from(Side), st.decimals("0.0001", "0.4", places=4), st.booleans()), max_size=4
    ),
)
def test_in_reduce_only_no_order_that_passes_can_grow_the_position(
    at: World, position: D, size: D, side: Side, resting: list[tuple[Side, D, bool]]
) -> None:
    """Whatever subset of the resting orders fills first, the passed order never leaves more than was there."""
    position, size = price_up(position, at.step), price_up(size, at.step)
    resting = [(s, price_up(z, at.step), r) for s, z, r in resting]
    working = tuple(at.order(s, z, "84000" if s is Side.BUY else "84200", reduce_only=r) for s, z, r in resting)
    view = at.view(
        mode=Mode.REDUCE_ONLY,
        holdings=(at.holding(position),),
        working=working,
        venue_enforces_reduce_only=False,
    )
    asked = at.request(side, size, "84110" if side is Side.SELL else "84090", reduce_only=True)
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
