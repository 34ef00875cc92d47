"""This file reads the venue's truth until the reads agree, money included; and settles orders of unknown outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime

from perpctl.clock import Clock
from perpctl.engine import events as e
from perpctl.engine.state.day import OVERLAP_MS, RiskDay
from perpctl.engine.state.working import Working
from perpctl.engine.watch.strangers import FOREIGN
from perpctl.errors import PerpctlError
from perpctl.exchange import port
from perpctl.exchange.settle import settle
from perpctl.model.day import Moves, Transfer
from perpctl.model.money import ZERO
from perpctl.model.position import Account, Position
from perpctl.store.journal import Journal
from perpctl.store.projections import Projections, TrackedOrder
from perpctl.store.records import ADOPTS, Kind

TRIES = 5
MONEY_TRIES = 3
LEDGER_S = 10.0  # less than the bot's pause between two reads: the account must not grow old over the ledger
PATIENCE_S = 15.0
SLACK_MS = 60_000  # before the intent's own market time, which was read from the last quote


async def read_truth(exchange: port.Exchange, fills_since_ms: int, clock: Clock) -> e.Reconciled | e.ReconcileFailed:
    """Positions, then orders and fills, then positions again; equal, or again, five times."""
    try:
        for _ in range(TRIES):
            since = clock.monotonic()
            before = await exchange.positions()
            orders = await exchange.open_orders()
            fills = await exchange.fills(fills_since_ms)
            after = await exchange.positions()
            if _sizes(before) == _sizes(after):
                return e.Reconciled(after, orders, fills, since)
    except PerpctlError as why:
        return e.ReconcileFailed(why.message)
    return e.ReconcileFailed(f"positions changed during each of {TRIES} reads")


async def read_money(exchange: port.Exchange, day: RiskDay, market_ms: int) -> tuple[Account, Moves]:
    """The account, and what its ledger says until then: of one moment, for no row is new after the account was read.

    Raises PerpctlError when the account cannot be read; a ledger that cannot is said to be unread.
    """
    since_ms, found = day.looks_since_ms(market_ms), dict[str, Transfer]()
    for _ in range(MONEY_TRIES):
        account = await exchange.account()
        moves = await _look(exchange, since_ms)
        news = [one for one in moves.found if day.is_news(one) and one.row_id not in found]
        found |= {one.row_id: one for one in news}
        if moves.unread is not None:
            return account, moves
        if not news:
            return account, Moves(tuple(found.values()), account.at_ms)
        since_ms = max(since_ms, account.at_ms - OVERLAP_MS)
    return account, Moves(unread=f"the ledger went on during each of {MONEY_TRIES} reads of the account")


async def _look(exchange: port.Exchange, since_ms: int) -> Moves:
    try:
        async with asyncio.timeout(LEDGER_S):
            found = await exchange.transfers(since_ms)
    except TimeoutError:
        return Moves(unread=f"the ledger did not answer within {LEDGER_S:g} s")
    except PerpctlError as why:
        return Moves(unread=why.message)
    return Moves(unread=found.reason, never=True) if isinstance(found, port.Unsupported) else Moves(found)


def _sizes(positions: Iterable[Position]) -> dict[tuple[str, int | None], object]:
    return {(position.product_id, position.slot): position.size for position in positions}


def note_reconcile(
    projections: Projections, read: e.Reconciled | e.ReconcileFailed, began: datetime, unknown: int = 0
) -> None:
    """Journal what came of a reading of the venue's truth: when it was read, and where our books part from it.

    Clean: the fills in our journal come to the very positions that the venue holds, every product and slot, and no
    order's outcome is unknown.
    """
    failed = read.why if isinstance(read, e.ReconcileFailed) else None
    parted = [] if isinstance(read, e.ReconcileFailed) else differences(projections, read)
    body = {
        "clean": failed is None and not parted and not unknown,
        "read_from": began,
        "differences": parted,
        "unknown_orders": unknown,
        "failed": failed,
    }
    projections.journal.append(Kind.RECONCILE_ENDED, body)


def differences(projections: Projections, truth: e.Reconciled) -> list[dict[str, object]]:
    """Where the fills in our journal come to another position than the venue holds, by product and slot."""
    ours = {(tally.product_id, tally.slot): tally.size for tally in projections.positions()}
    theirs = {(one.product_id, one.slot): one.size for one in truth.positions}
    pairs = {key: (ours.get(key, ZERO), theirs.get(key, ZERO)) for key in ours.keys() | theirs.keys()}
    return [
        {"product_id": product_id, "slot": slot, "ours": mine, "venue": told, "size_unit": "base coin"}
        for (product_id, slot), (mine, told) in sorted(pairs.items(), key=str)
        if mine != told
    ]


def owner_of(projections: Projections, order_id: str) -> str | None:
    """Who answers for an order, by our journal: an intent of ours, or a person who adopted it; None: nobody."""
    if any(one.request is not None for one in projections.orders_of(order_id)):
        return "an intent of ours"
    for record in projections.journal.records(kinds=(Kind.OPERATOR_NOTED,)):
        if record.body.get(ADOPTS) == order_id:
            return f"adopted by {record.body['by']}"
    return None


def told_at(journal: Journal, order_id: str) -> datetime | None:
    """When a run of this profile first raised the alarm about a stranger's order; None: never."""
    for record in journal.records(kinds=(Kind.ALERT_RAISED,)):
        if record.body.get("name") == FOREIGN and record.body.get("order_id") == order_id:
            return record.at
    return None


async def settle_working(exchange: port.Exchange, working: Working, clock: Clock) -> port.Settled:
    """What became of an order of this run; its `valid_until` says from when absence can be proven."""
    unknown = port.Unknown("its answer was lost", working.request.valid_until_ms)
    return await settle(exchange, working.request, unknown, clock, since_ms=working.since_ms, patience_s=PATIENCE_S)


async def settle_intent(exchange: port.Exchange, tracked: TrackedOrder, clock: Clock) -> port.Settled:
    """What became of an order that an earlier run sent, or was about to send."""
    assert tracked.request is not None
    unknown = port.Unknown(tracked.cause or "the run that sent it ended", tracked.request.valid_until_ms)
    since_ms = (tracked.since_ms or 0) - SLACK_MS
    sent_ms = tracked.since_ms
    return await settle(
        exchange, tracked.request, unknown, clock, since_ms=since_ms, sent_ms=sent_ms, patience_s=PATIENCE_S
    )
