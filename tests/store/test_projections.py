"""The projections: what the journal comes to, each thing counted once, and the same again when folded anew."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from perpctl.model.books.ledger import Effect, explain
from perpctl.model.fill import Fill
from perpctl.model.order import OrderStatus, Side
from perpctl.store import folds
from perpctl.store.folds import IntentState
from perpctl.store.intents import Attempt, Grounds, Intents, Maker
from perpctl.store.journal import Journal
from perpctl.store.projections import Baseline, Projections, rebuild
from perpctl.store.records import Correlation, Kind
from tests.store.stock import ALGORITHM, ALLOWED, GROUNDS, MS, START, fill, opened, order, payment, request


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with opened(tmp_path) as journal:
        yield journal
        assert journal.verify().is_whole
        assert Projections(journal).differences(rebuild(journal)) == ()


@pytest.fixture
def projections(journal: Journal) -> Projections:
    return Projections(journal, is_ours=lambda identity: identity is not None)


@pytest.fixture
def intents(projections: Projections) -> Intents:
    intents = Intents(projections)
    intents.intend(request("o1"), ALLOWED, GROUNDS)
    return intents


def state(projections: Projections, identity: str = "o1") -> IntentState:
    found = projections.order(identity)
    assert found is not None
    return found.state


def test_an_intent_is_kept_with_its_request_before_anything_is_sent(projections: Projections, intents: Intents) -> None:
    found = projections.order("o1")
    assert found is not None
    assert (found.state, found.request, found.order) == (IntentState.INTENDED, request("o1"), None)
    assert (found.since_ms, found.risk_day, found.booked) == (MS, "2026-11-23", 0)
    assert projections.unknown_orders() == (found,)


def test_an_identity_can_be_intended_once(projections: Projections, intents: Intents) -> None:
    with pytest.raises(ValueError, match="recorded already"):
        intents.intend(request("o1"), ALLOWED, GROUNDS)
    assert projections.journal.head().seq == 1


def test_an_intent_inside_a_batch_is_refused_for_it_would_not_be_durable(journal: Journal, intents: Intents) -> None:
    with journal.batch():
        with pytest.raises(ValueError, match="durable"):
            intents.intend(request("o2"), ALLOWED, GROUNDS)
        with pytest.raises(ValueError, match="durable"):
            intents.intend_cancel(order("v1", "o1"), "renew", ALGORITHM)


def test_an_order_goes_from_intent_to_its_end(projections: Projections, intents: Intents) -> None:
    intents.sent("o1", Attempt("private/buy", sent_at=START))
    assert state(projections) is IntentState.SENT
    intents.confirmed("o1", order("v1", "o1"), attempt=Attempt("private/buy", answered_at=START))
    assert state(projections) is IntentState.CONFIRMED
    assert [one.key for one in projections.working_orders()] == ["o1"]
    assert projections.unknown_orders() == ()
    assert projections.see_order(order("v1", "o1", OrderStatus.CANCELLED, updated_ms=MS + 1), "user channel")
    assert state(projections) is IntentState.TERMINAL
    assert projections.working_orders() == ()


def test_a_refused_order_does_not_count(projections: Projections, intents: Intents) -> None:
    intents.refused("o1", 10009, "not_enough_funds")
    found = projections.order("o1")
    assert found is not None
    assert (found.state, found.cause) == (IntentState.REFUSED, "not_enough_funds")
    assert projections.unknown_orders() == ()


def test_an_unknown_order_counts_until_it_is_settled(projections: Projections, intents: Intents) -> None:
    intents.sent("o1", Attempt("private/buy"))
    intents.unknown("o1", "no answer in 10 s")
    assert [one.key for one in projections.unknown_orders()] == ["o1"]
    intents.settled("o1", order("v1", "o1"), "label")
    assert state(projections) is IntentState.CONFIRMED


def test_orders_proven_absent_are_known_by_when_they_were_sent(projections: Projections, intents: Intents) -> None:
    intents.settled_absent("o1", "two empty readings", "listing")
    assert [one.key for one in projections.absent_orders(MS)] == ["o1"]
    assert projections.absent_orders(MS + 1) == ()
    projections.see_order(order("v1", "o1"), "user channel")
    assert projections.absent_orders(MS) == ()


def test_an_order_proven_absent_no_longer_counts_and_comes_back_when_seen(
    projections: Projections, intents: Intents
) -> None:
    intents.unknown("o1", "connection lost")
    intents.settled_absent("o1", "two listings after valid_until", "listing")
    assert state(projections) is IntentState.ABSENT
    assert projections.unknown_orders() == ()
    projections.see_order(order("v1", "o1"), "listing")
    assert state(projections) is IntentState.CONFIRMED


@pytest.mark.parametrize("late", ["sent", "refused", "unknown", "absent"])
def test_a_late_answer_never_outweighs_the_order_having_been_seen(
    projections: Projections, intents: Intents, late: str
) -> None:
    projections.see_order(order("v1", "o1"), "user channel")
    {
        "sent": lambda: intents.sent("o1", Attempt("private/buy")),
        "refused": lambda: intents.refused("o1", None, "no"),
        "unknown": lambda: intents.unknown("o1", "no answer"),
        "absent": lambda: intents.settled_absent("o1", "not in the listing", "listing"),
    }[late]()
    assert state(projections) is IntentState.CONFIRMED


def test_what_is_over_stays_over_and_older_words_do_not_undo_newer_ones(projections: Projections) -> None:
    projections.see_order(order("v1", None, filled="0.004", updated_ms=MS + 5), "user channel")
    projections.see_order(order("v1", None, filled="0.002", updated_ms=MS + 3), "user channel")
    (found,) = projections.working_orders()
    assert found.order is not None
    assert found.order.filled == Decimal("0.004")
    projections.see_order(order("v1", None, OrderStatus.CANCELLED, filled="0.004", updated_ms=MS + 6), "listing")
    projections.see_order(order("v1", None, filled="0.004", updated_ms=MS + 9), "listing")
    assert projections.working_orders() == ()


def test_a_state_the_venue_invented_still_counts_as_working(projections: Projections) -> None:
    projections.see_order(order("v1", None, OrderStatus.UNKNOWN), "listing")
    assert [one.key for one in projections.working_orders()] == ["v1"]


def test_the_same_sight_twice_is_recorded_once(projections: Projections) -> None:
    assert projections.see_order(order("v1", None), "listing")
    assert not projections.see_order(order("v1", None), "listing")
    assert projections.journal.head().seq == 1


def test_a_second_order_under_one_label_is_tracked_beside_the_first(projections: Projections, intents: Intents) -> None:
    projections.see_order(order("v1", "o1"), "listing")
    projections.see_order(order("v2", "o1"), "listing")
    assert [one.key for one in projections.orders_of("o1")] == ["o1", "v2"]
    assert len(projections.working_orders()) == 2


def test_a_fill_is_booked_once_whoever_sees_it(projections: Projections, intents: Intents) -> None:
    assert projections.book_fill(fill("t1", "v1", "o1"), "user channel")
    assert not projections.book_fill(fill("t1", "v1", "o1"), "listing")
    intents.confirmed("o1", order("v1", "o1", OrderStatus.FILLED, filled="0.01"), [fill("t1", "v1", "o1")])
    assert projections.fills() == (fill("t1", "v1", "o1"),)
    assert projections.fills_of("o1") == projections.fills_of("v1") == projections.fills()


def test_two_processes_that_see_one_fill_book_it_once(projections: Projections, tmp_path: Path) -> None:
    with opened(tmp_path) as other:
        booked = [projections.book_fill(fill("t1", "v1"), "reply"), Projections(other).book_fill(fill("t1", "v1"), "x")]
        assert booked == [True, False]
        assert len(Projections(other).fills()) == 1


def test_a_fill_recorded_past_the_check_is_refused_by_the_database(projections: Projections, journal: Journal) -> None:
    projections.book_fill(fill("t1", "v1"), "reply")
    with pytest.raises(ValueError, match="recorded already"):
        journal.append(Kind.FILL_BOOKED, {"fill": fill("t1", "v1"), "seen_by": "reply"})


def test_a_partial_fill_settles_nothing_and_a_full_one_ends_the_order(
    projections: Projections, intents: Intents
) -> None:
    intents.unknown("o1", "no answer")
    projections.book_fill(fill("t1", "v1", "o1", size="0.004"), "user channel")
    (found,) = projections.unknown_orders()
    assert (found.remaining, found.order_id) == (Decimal("0.006"), "v1")
    projections.book_fill(fill("t2", "v1", None, size="0.006"), "user channel")
    assert state(projections) is IntentState.TERMINAL


def test_a_fill_of_an_order_held_absent_makes_it_unknown_again(projections: Projections, intents: Intents) -> None:
    intents.settled_absent("o1", "not listed", "listing")
    projections.book_fill(fill("t1", "v1", "o1", size="0.004"), "listing")
    assert state(projections) is IntentState.UNKNOWN


def test_fills_are_read_by_market_time(projections: Projections) -> None:
    projections.book_fill(fill("t2", "v1", at_ms=MS + 2), "listing")
    projections.book_fill(fill("t1", "v1", at_ms=MS + 1), "listing")
    assert [one.trade_id for one in projections.fills()] == ["t1", "t2"]
    assert [one.trade_id for one in projections.fills(MS + 2)] == ["t2"]


def test_funding_is_booked_once_by_its_row(projections: Projections) -> None:
    assert projections.book_funding(payment("r1"), "listing")
    assert not projections.book_funding(payment("r1"), "reconcile")
    assert projections.funding() == (payment("r1"),)


def test_positions_are_the_fold_of_fills_and_funding(projections: Projections) -> None:
    projections.book_fill(fill("t1", "v1", size="0.02", price="84000"), "reply")
    projections.book_fill(fill("t2", "v2", size="0.01", price="84100", side=Side.SELL), "reply")
    projections.book_funding(payment("r1", "-0.42"), "listing")
    (held,) = projections.positions()
    assert (held.size, held.entry_price, held.realized) == (Decimal("0.01"), 84000, 1)
    assert (held.fees, held.funding) == (Decimal("0.50"), Decimal("-0.42"))
    last = projections.trace("v2")[-1].body
    assert (last["effect"], last["position_after"], Decimal(last["realised"])) == ("reduced", "0.01", 1)


def test_a_flat_position_is_not_held_but_its_money_counts(projections: Projections) -> None:
    projections.book_fill(fill("t1", "v1", price="84000"), "reply")
    projections.book_fill(fill("t2", "v2", price="84100", side=Side.SELL), "reply")
    assert projections.positions() == ()
    assert projections.ledger(Decimal(1000), "USDC").equity({}) == Decimal("1000.50")


def test_slots_are_positions_of_their_own(projections: Projections) -> None:
    projections.book_fill(fill("t1", "v1"), "reply")
    projections.book_fill(replace(fill("t2", "v2", side=Side.SELL), slot=3), "reply")
    assert {held.slot: held.size for held in projections.positions()} == {None: Decimal("0.01"), 3: Decimal("-0.01")}


def test_a_correction_moves_the_position_and_is_no_fill(projections: Projections) -> None:
    movement = replace(fill("K1", "c0d4", size="0.10", side=Side.SELL), fee=Decimal(0))
    record = projections.correct(movement, "foreign", Correlation(plan_id="8c21"))
    assert record.kind is Kind.CORRECTION_BOOKED
    assert [held.size for held in projections.positions()] == [Decimal("-0.10")]
    assert projections.fills() == ()
    assert projections.corrections() == (("foreign", movement),)
    with pytest.raises(ValueError, match="recorded already"):
        projections.correct(movement, "foreign", Correlation(plan_id="8c21"))


def test_the_baseline_of_a_risk_day_is_never_taken_again(projections: Projections) -> None:
    assert projections.baseline("2026-11-23") is None
    first = projections.set_baseline("2026-11-23", Decimal("1000.50"), "USDC")
    assert projections.set_baseline("2026-11-23", Decimal("900"), "USDC") == first
    assert projections.baseline("2026-11-23") == Baseline("2026-11-23", Decimal("1000.50"), "USDC")


def test_intents_are_counted_by_risk_day(projections: Projections, intents: Intents) -> None:
    intents.intend(request("o2"), ALLOWED, replace(GROUNDS, risk_day="2026-11-24"))
    intents.intend(request("o3"), ALLOWED, GROUNDS)
    intents.refused_by_gate(request("o4"), {"verdict": "refused"}, GROUNDS)
    assert projections.intents_today("2026-11-23") == 2
    assert projections.order("o4") is None


def test_the_last_clean_reconcile_is_the_last_one_without_differences(
    projections: Projections, journal: Journal
) -> None:
    assert projections.last_clean_reconcile() is None
    journal.append(Kind.RECONCILE_ENDED, {"clean": True})
    journal.append(Kind.RECONCILE_ENDED, {"clean": False})
    assert projections.last_clean_reconcile() == START


def test_mode_changes_are_listed_newest_first(projections: Projections, journal: Journal) -> None:
    journal.append(Kind.MODE_CHANGED, {"from": "normal", "to": "reduce_only", "cause": "human"})
    journal.append(Kind.MODE_CHANGED, {"from": "reduce_only", "to": "halted", "cause": "alert"})
    assert [change["to"] for change in projections.mode_changes()] == ["halted", "reduce_only"]


def test_cancels_are_tracked_beside_the_order(projections: Projections, intents: Intents) -> None:
    placed = order("v1", "o1")
    intents.confirmed("o1", placed)
    intents.intend_cancel(placed, "strategy", ALGORITHM)
    intents.cancel_unknown(placed, "no answer")
    found = projections.order("o1")
    assert found is not None
    assert (found.state, found.cancel_state) == (IntentState.CONFIRMED, "unknown")
    intents.cancel_refused(placed, 11044, "not_open_order")
    intents.cancel_confirmed(placed, order("v1", "o1", OrderStatus.CANCELLED, updated_ms=MS + 1))
    found = projections.order("o1")
    assert found is not None
    assert (found.state, found.cancel_state) == (IntentState.TERMINAL, "confirmed")


def test_the_story_of_an_order_is_told_by_identity_and_by_order_id(projections: Projections, intents: Intents) -> None:
    intents.intend(request("o2"), ALLOWED, GROUNDS)
    intents.sent("o1", Attempt("private/buy"))
    intents.confirmed("o1", order("v1", "o1"))
    projections.book_fill(fill("t1", "v1", None, size="0.004"), "user channel")
    intents.intend_cancel(order("v1", "o1"), "strategy", ALGORITHM)
    kinds = ["order.intended", "order.sent", "order.confirmed", "fill.booked", "cancel.intended"]
    assert [record.kind for record in projections.trace("o1")] == kinds
    assert projections.trace("v1") == projections.trace("o1")
    assert projections.trace("nobody") == ()


def test_an_intent_says_who_decided_on_what_and_explains_what_is_missing(
    projections: Projections, intents: Intents
) -> None:
    person = Grounds(
        decision_maker=Maker(operator_id="ops1"),
        execution_maker=ALGORITHM,
        risk_day="2026-11-23",
        market_ms=None,
        inputs={},
        plan_id="8c21",
    )
    record = intents.intend(request("o2", side=Side.SELL), ALLOWED, person)
    assert (record.body["manual_or_automated"], record.body["size"]) == ("manual", "-0.01")
    assert record.correlation == Correlation(intent_id="o2", plan_id="8c21")
    reasons = json.loads(record.canonical)["absent_reason"]
    assert reasons["body.request.trigger_price"] == "not asked for"
    assert reasons["body.decision_maker.algorithm_id"] == "decided by a person"
    assert reasons["body.account_before"] == "not at hand"


def test_ours_and_foreign_are_told_apart_in_the_record(projections: Projections, journal: Journal) -> None:
    projections.see_order(order("v1", None), "listing")
    Projections(journal).see_order(order("v2", "x"), "listing")
    assert [record.body["ours"] for record in journal.records()] == [False, None]


def test_projections_rebuilt_from_any_prefix_are_those_of_that_moment(tmp_path: Path) -> None:
    with opened(tmp_path) as journal:
        projections = Projections(journal)
        intents = Intents(projections)
        moments = []
        for act in (
            lambda: intents.intend(request("o1"), ALLOWED, GROUNDS),
            lambda: intents.confirmed("o1", order("v1", "o1"), [fill("t1", "v1", "o1", size="0.004")]),
            lambda: projections.book_funding(payment("r1"), "listing"),
            lambda: projections.book_fill(fill("t2", "v1", "o1", size="0.006"), "listing"),
        ):
            act()
            moments.append((journal.head().seq, {name: projections.rows_of(name) for name in folds.PROJECTIONS}))
        for seq, tables in moments:
            then = rebuild(journal, seq)
            assert {name: then.rows_of(name) for name in folds.PROJECTIONS} == tables
        assert len({str(tables) for _, tables in moments}) == len(moments)


def test_what_made_a_position_is_read_backwards_and_is_what_all_fills_explain(projections: Projections) -> None:
    chance = random.Random(4)
    kept: list[Fill] = []
    moved: list[Fill] = []
    with projections.journal.batch():
        for n in range(700):
            one = replace(
                fill(f"t{n}", "v1", size=f"0.0{chance.randint(1, 3)}", side=chance.choice([Side.BUY, Side.SELL])),
                at_ms=MS + n,
                slot=chance.choice([None, None, 4]),
            )
            if n % 50:
                projections.book_fill(one, "reply")
            else:
                one = replace(one, fee=Decimal(0), fee_currency="USDC")
                projections.correct(one, "foreign", Correlation(plan_id="p"))
            moved.append(one)
    for slot in (None, 4):
        kept.clear()
        for change in explain(one for one in moved if one.slot == slot):
            if change.effect in (Effect.CLOSED, Effect.FLIPPED):
                kept.clear()
            if change.effect is not Effect.CLOSED:
                kept.append(change.fill)
        assert [one.trade_id for one in projections.since_flat("BTC_USDC-PERPETUAL", slot)] == [
            k.trade_id for k in kept
        ]


def test_more_than_a_page_made_the_position(projections: Projections) -> None:
    with projections.journal.batch():
        for n in range(950):
            projections.book_fill(fill(f"t{n}", "v1"), "reply")
    assert len(projections.since_flat("BTC_USDC-PERPETUAL")) == 950
    assert projections.since_flat("BTC_USDC-PERPETUAL", 4) == ()
    assert projections.since_flat("ETH_USDC-PERPETUAL") == ()


def test_of_many_ids_those_that_are_booked_are_told(projections: Projections) -> None:
    projections.book_fill(fill("t1", "v1"), "reply")
    projections.book_fill(fill('t"2', "v1"), "reply")
    projections.book_funding(payment("r1"), "listing")
    assert projections.booked_fills("global", ["t1", 't"2', "t3"]) == {"t1", 't"2'}
    assert projections.booked_fills("us", ["t1"]) == frozenset()
    assert projections.booked_funding("global", ["r1", "r2"]) == {"r1"}


def test_the_newest_fill_is_by_the_venues_time(projections: Projections) -> None:
    assert projections.newest_fill() is None
    projections.book_fill(fill("late", "v1", at_ms=MS + 5), "reply")
    projections.book_fill(fill("early", "v1", at_ms=MS), "listing")
    newest, of_btc = projections.newest_fill(), projections.newest_fill("BTC_USDC-PERPETUAL")
    assert newest is not None
    assert newest.trade_id == "late"
    assert of_btc == newest
    assert projections.newest_fill("ETH_USDC-PERPETUAL") is None
