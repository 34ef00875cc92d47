"""This file compares our books with the venue's and explains each difference; it journals only that it was clean."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import to_ms
from perpctl.emergency import pending
from perpctl.errors import ExitCode, UnknownState
from perpctl.exchange.port import Absent, Confirmed, Exchange, Unknown, Unsupported
from perpctl.exchange.settle import settle
from perpctl.model import identity
from perpctl.model.books.reconcile import Comparison, Ours, Theirs, compare, positions_agree
from perpctl.model.order import Order
from perpctl.questions import figures
from perpctl.results import Answer, Block, Column, Json, Line, Next, Row, Table, Tone
from perpctl.store.records import Kind

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.store.projections import Projections

TRIES = 5
OVERLAP_MS = 3_600_000
NEVER_CLEAN_MS = 30 * 86_400_000
VALID_FOR_MS = 3_000  # every order of ours ends being acceptable this long after its send
LOOK_UP_S = 6.0


@dataclass(frozen=True, slots=True)
class Compared:
    """Our books beside the venue's, between two position reads that agree."""

    ours: Ours
    theirs: Theirs
    comparison: Comparison
    apart_s: float


async def compared(desk: Desk) -> Compared:
    """Positions, then fills, ledger and orders, then positions again; five tries to find the two equal.

    Raises UnknownState when they never are, or while the venue settles.
    """
    exchange, projections = await desk.exchange(), desk.projections()
    key = desk.identity_key()
    for _ in range(TRIES):
        began = desk.clock.monotonic()
        before = await exchange.positions()
        ours, theirs = await _read(desk, exchange, projections)
        after = await exchange.positions()
        if positions_agree(before, after) and not exchange.calendar.reads_prove_nothing(theirs.at_ms):
            apart_s = desk.clock.monotonic() - began
            found = compare(ours, theirs, lambda name: identity.is_ours(key, name) or identity.is_kill(name))
            return Compared(ours, theirs, found, apart_s)
        await desk.clock.sleep(1.0)
    raise UnknownState(
        f"the venue's positions moved under {TRIES} comparisons in a row, or it is settling",
        not_done="nothing was compared and nothing journaled",
        next_commands=(f"perpctl -p {desk.settings.profile} reconcile",),
    )


async def _read(desk: Desk, exchange: Exchange, projections: Projections) -> tuple[Ours, Theirs]:
    now_ms = await exchange.time_ms()
    since_ms = _since_ms(desk, projections, now_ms)
    orders, fills, payments, (positions, account) = await asyncio.gather(
        exchange.open_orders(),
        exchange.fills(since_ms),
        exchange.funding_payments(since_ms),
        exchange.holdings(),
    )
    paid, venue = () if isinstance(payments, Unsupported) else payments, projections.journal.writer.venue
    ours = Ours(
        ledger=projections.ledger(Decimal(0), account.currency),
        trade_ids=projections.booked_fills(venue, (fill.trade_id for fill in fills)),
        payment_ids=projections.booked_funding(venue, (payment.row_id for payment in paid)),
        working={one.order_id: one.order for one in projections.working_orders() if one.order_id and one.order},
        unknown={one.key: one.request for one in projections.unknown_orders() if one.request is not None},
    )
    ended, absent = await _looked_up(desk, exchange, ours, orders)
    theirs = Theirs(
        positions=positions,
        orders=orders,
        fills=fills,
        payments=paid,
        ended=ended,
        absent=absent,
        killed=pending.trade_ids(desk.settings.state_dir),
        at_ms=now_ms,
    )
    return ours, theirs


def _since_ms(desk: Desk, projections: Projections, now_ms: int) -> int:
    """From an hour before the last clean comparison; a month back when none is known, or our clock went back since."""
    clean_at = projections.last_clean_reconcile()
    ago_ms = None if clean_at is None else to_ms(desk.clock.now()) - to_ms(clean_at)
    if ago_ms is None or ago_ms < 0:
        return now_ms - NEVER_CLEAN_MS
    return now_ms - ago_ms - OVERLAP_MS


async def _looked_up(
    desk: Desk, exchange: Exchange, ours: Ours, open_orders: tuple[Order, ...]
) -> tuple[tuple[Order, ...], frozenset[str]]:
    """How orders ended that we think are working, and what became of those of unknown outcome."""
    standing = {order.order_id for order in open_orders}
    ended = [
        order
        for order_id, known in ours.working.items()
        if order_id not in standing
        for order in await exchange.order(known.identity or "", order_id)
    ]
    absent = set[str]()
    for name, request in ours.unknown.items():
        tracked = desk.projections().order(name)
        sent_ms = (tracked.since_ms if tracked else None) or 0
        unknown = Unknown("asked again by reconcile", sent_ms + VALID_FOR_MS)
        settled = await settle(exchange, request, unknown, desk.clock, since_ms=sent_ms, patience_s=LOOK_UP_S)
        if isinstance(settled, Confirmed):
            ended.append(settled.order)
        elif isinstance(settled, Absent):
            absent.add(name)
    return tuple(ended), frozenset(absent)


async def reconcile(desk: Desk) -> Answer:
    """Every difference explained. Exit 0 clean, 1 differences, 3 could not be compared. Sends nothing."""
    found = await compared(desk)
    if found.comparison.is_clean:
        desk.journal().append(Kind.RECONCILE_ENDED, {"clean": True, "apart_s": f"{found.apart_s:.1f}"})
    return await answer(desk, found)


async def in_step(desk: Desk) -> Answer:
    """Whether our journal and the venue agree; the same comparison, with a verdict."""
    found = await compared(desk)
    clean = found.comparison.is_clean
    differences = figures.count(len(found.comparison.differences), "difference")
    word = "IN STEP" if clean else f"NOT IN STEP: {differences}"
    view = (Line(f"{word}; two reads {found.apart_s:.1f} s apart agree", _tone(clean), mark=not clean), *_table(found))
    if not clean:
        view = (*view, Next((f"perpctl -p {desk.settings.profile} reconcile",)))
    facts: dict[str, Json] = {"in_step": clean, "differences": _rows(found)}
    code = ExitCode.OK if clean else ExitCode.NEGATIVE
    return Answer("perpctl.verify.sync/1", await desk.scope(), facts, view, code, "differences")


async def answer(desk: Desk, found: Compared) -> Answer:
    """The comparison as a screen."""
    comparison, theirs = found.comparison, found.theirs
    name = desk.settings.profile
    amounts = ((theirs.orders, "order"), (theirs.fills, "fill"), (theirs.positions, "position"))
    counts = ", ".join(figures.count(len(rows), name) for rows, name in amounts) + " and funding"
    view: list[Block] = [
        Line(f"compared {counts} with the venue; the two reads are {found.apart_s:.1f} s apart and agree"),
        *_table(found),
    ]
    if comparison.is_clean:
        view.append(Line("CLEAN: no difference", Tone.GOOD))
    else:
        words = f"{figures.count(len(comparison.corrections), 'correction')} can be journaled"
        left, plan = comparison.left_open, comparison.fingerprint
        stays = f"{figures.count(len(left), 'difference')} {'stays' if len(left) == 1 else 'stay'} open"
        view.append(Line(f"{words}, {stays}.  No order is ever sent.", Tone.BAD, mark=True))
        applying = f'perpctl -p {name} reconcile --apply --plan {plan} --reason "..."'
        commands = [applying] if comparison.corrections else []
        if comparison.adoptions:
            commands.append(f'perpctl -p {name} reconcile --apply --adopt --plan {plan} --reason "..."')
        view.append(Next(tuple(commands) or (f"perpctl -p {name} orders list", f"perpctl -p {name} fills list")))
    facts: dict[str, Json] = {
        "clean": comparison.is_clean,
        "fingerprint": comparison.fingerprint,
        "differences": _rows(found),
        "corrections": len(comparison.corrections),
        "left_open": len(comparison.left_open),
    }
    code = ExitCode.OK if comparison.is_clean else ExitCode.NEGATIVE
    return Answer("perpctl.reconcile/1", await desk.scope(), facts, tuple(view), code, "differences")


_COLUMNS = (
    Column("subject", "DIFFERENCE", wraps=True),
    Column("ours", "OURS", True),
    Column("venue", "VENUE", True),
    Column("cause", "CAUSE"),
    Column("then", "WHAT --apply JOURNALS"),
)


def _table(found: Compared) -> tuple[Block, ...]:
    rows = tuple(
        Row(
            {
                "subject": f"{one.subject} {one.key}",
                "ours": one.ours,
                "venue": one.venue,
                "cause": one.cause.value,
                "then": _then(one.correction is not None, one.adoption is not None),
            }
        )
        for one in found.comparison.differences
    )
    return (Table(_COLUMNS, rows),) if rows else ()


def _then(corrected: bool, adoptable: bool) -> str:
    if corrected:
        return "books it"
    return "nothing; with --adopt the venue's" if adoptable else "nothing: stays open"


def _rows(found: Compared) -> list[Json]:
    return [
        {
            "subject": one.subject,
            "key": one.key,
            "ours": one.ours,
            "venue": one.venue,
            "cause": one.cause.value,
            "corrected": one.correction is not None,
            "adoptable": one.adoption is not None,
        }
        for one in found.comparison.differences
    ]


def _tone(good: bool) -> Tone:
    return Tone.GOOD if good else Tone.BAD
