"""This file journals the corrections that a comparison with the venue explains; it never sends an order."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perpctl.errors import UsageError, WorldChanged
from perpctl.host.login import operator
from perpctl.model.books.reconcile import (
    BookFill,
    BookFunding,
    Correction,
    MoveMoney,
    MovePosition,
    SeeOrder,
    SettleAbsent,
)
from perpctl.procedures.kills import remember_kills
from perpctl.questions import figures, reconcile
from perpctl.questions.reconcile import Compared
from perpctl.results import Answer, Confirm, Done, Json, Plan, Risk, Step, StepResult
from perpctl.store.intents import Intents
from perpctl.store.records import ADOPTS, Correlation, Kind

if TYPE_CHECKING:
    from perpctl.desk import Desk

SEEN_BY = "reconcile"


async def reconciled(desk: Desk, *, apply: bool, adopt: bool, plan: str | None = None) -> Plan | Answer:
    """Without `apply` the comparison itself; with it a plan that journals the corrections.

    `plan` is the fingerprint that was shown. Raises WorldChanged when the differences are others by now, UsageError.
    """
    if not apply:
        if adopt or plan is not None:
            raise UsageError("--adopt and --plan go with --apply", not_done="nothing was journaled")
        return await reconcile.reconcile(desk)
    found = await reconcile.compared(desk)
    if plan is not None and plan != found.comparison.fingerprint:
        raise WorldChanged(
            f"the differences are no longer those of plan {plan}",
            not_done="nothing was journaled",
            next_commands=(f"perpctl -p {desk.settings.profile} reconcile",),
        )

    async def preview() -> str:
        words = [f"{one.subject} {one.key}: {one.cause.value}" for one in found.comparison.differences]
        return "; ".join(words) or "nothing differs"

    async def perform() -> StepResult:
        return await _journaled(desk, found, adopt)

    step = Step("journal", "journal corrections", preview, perform)
    return Plan(
        name="reconcile",
        scope=await desk.scope(),
        risk=Risk.NONE,
        confirm=Confirm.YES if found.comparison.differences else Confirm.NONE,
        fingerprint=found.comparison.fingerprint,
        steps=(step,),
        reason_required=bool(found.comparison.differences),
        command="reconcile --apply" + (" --adopt" if adopt else ""),
    )


async def _journaled(desk: Desk, found: Compared, adopt: bool) -> StepResult:
    comparison = found.comparison
    adoptions = comparison.adoptions if adopt else ()
    remember_kills(desk.projections(), desk.settings.state_dir)
    _book(desk, found, [*comparison.corrections, *adoptions])
    again = (await reconcile.compared(desk)).comparison
    causes = [{"subject": one.subject, "key": one.key, "cause": one.cause} for one in comparison.differences]
    body = {"clean": again.is_clean, "booked": len(comparison.corrections), "plan": comparison.fingerprint}
    desk.journal().append(Kind.RECONCILE_ENDED, {**body, "differences": causes, "left": len(again.differences)})
    facts: dict[str, Json] = {
        "corrections": len(comparison.corrections),
        "adopted": len(adoptions),
        "clean": again.is_clean,
    }
    words = f"{figures.count(len(comparison.corrections), 'correction')} journaled, {len(adoptions)} adopted"
    facts["next"] = [f"perpctl -p {desk.settings.profile} {'verify sync' if again.is_clean else 'reconcile'}"]
    if again.is_clean:
        done = Done.DONE if comparison.differences else Done.NOTHING_TO_DO
        return StepResult(done, f"{words}; compared again: clean", (), facts)
    left = tuple(f"{one.subject} {one.key}: ours {one.ours}, venue {one.venue}" for one in again.differences)
    differences = figures.count(len(left), "difference")
    return StepResult(Done.PARTIAL, f"{words}; compared again: {differences}", left, facts)


async def adopted(desk: Desk, order_id: str) -> Plan:
    """A plan that puts on the record who answers for a stranger's order. Raises UsageError: the venue knows none."""
    exchange = await desk.exchange()
    found = next((one for one in await exchange.order("", order_id) if one.order_id == order_id), None)
    if found is None:
        raise UsageError(
            f"the venue knows no order {order_id}",
            not_done="nothing was journaled",
            next_commands=(f"perpctl -p {desk.settings.profile} orders",),
        )
    known = any(one.request is not None for one in desk.projections().orders_of(order_id))
    words = f"{found.side.value} {found.size} {found.product_id}, {found.status.value}, filled {found.filled}"

    async def preview() -> str:
        return f"{order_id} is ours by our journal" if known else f"answer for {order_id}: {words}"

    async def perform() -> StepResult:
        if known:
            return StepResult(Done.NOTHING_TO_DO, f"{order_id} is ours by our journal")
        desk.projections().see_order(found, "by id")
        desk.journal().append(Kind.OPERATOR_NOTED, {ADOPTS: order_id, "text": words, "by": operator()})
        return StepResult(Done.DONE, f"{order_id} adopted: {words}; it goes on counting in every limit")

    step = Step("adopt", "adopt order", preview, perform)
    confirm = Confirm.NONE if known else Confirm.YES
    scope = await desk.scope()
    return Plan("orders adopt", scope, Risk.NONE, confirm, order_id, (step,), reason_required=not known)


def _book(desk: Desk, found: Compared, corrections: Iterable[Correction]) -> None:
    projections = desk.projections()
    intents = Intents(projections)
    for one in corrections:
        match one:
            case BookFill(fill):
                projections.book_fill(fill, SEEN_BY)
            case BookFunding(payment):
                projections.book_funding(payment, SEEN_BY)
            case SeeOrder(order) if order.identity in found.ours.unknown:
                intents.settled(order.identity or "", order, "listing")
            case SeeOrder(order):
                projections.see_order(order, SEEN_BY)
            case SettleAbsent(name):
                intents.settled_absent(name, "two empty readings after its validity", "label")
            case MovePosition(movement):
                projections.correct(movement, "unknown", Correlation())
            case MoveMoney():
                pass  # never made: the comparison leaves money out, as our books do not know what they began with
