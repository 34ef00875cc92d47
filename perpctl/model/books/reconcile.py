"""This file compares our books with the venue's: every difference with its cause, and what to journal about it.

Nothing here sends an order. What is explained has a correction; what is not stays open, and can only be adopted by a
human who says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct, field
from msgspec.structs import replace

from perpctl.model.books.funding import FundingPayment
from perpctl.model.books.ledger import Key, Ledger, in_order
from perpctl.model.fill import Fill
from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderRequest, Side
from perpctl.model.position import Position

MONEY_TOLERANCE = Decimal(1)  # of the settlement currency
MONEY_TOLERANCE_SHARE = Decimal("0.0001")  # of equity; the larger of the two holds


class Cause(StrEnum):
    """Why our books and the venue's differ."""

    MISSING_FILL = "missing fill"
    FOREIGN_FILL = "foreign fill"
    FOREIGN_ORDER = "foreign order"
    LIQUIDATION = "liquidation"
    ADL = "auto-deleveraging"
    FUNDING = "funding"
    ORDER_MISSED = "our order, its state was missed"
    UNKNOWN_SETTLED = "unknown order, settled"
    UNKNOWN_OPEN = "unknown order, not settled yet"
    UNEXPLAINED = "unexplained"


class BookFill(Struct, frozen=True):
    fill: Fill
    cause: Cause


class BookFunding(Struct, frozen=True):
    payment: FundingPayment


class SeeOrder(Struct, frozen=True):
    """Journal the order's state as the venue tells it."""

    order: Order


class SettleAbsent(Struct, frozen=True):
    """Journal that the venue never had the order with this identity."""

    identity: str


class MovePosition(Struct, frozen=True):
    """Adopt the venue's size: `movement` is the fill without a fee that would explain it."""

    movement: Fill


class MoveMoney(Struct, frozen=True):
    """Adopt the venue's money: the amount counts as a transfer."""

    amount: Decimal


_Other = BookFunding | SeeOrder | SettleAbsent | MovePosition | MoveMoney
Correction = BookFill | _Other


class Ours(Struct, frozen=True):
    """What we believe."""

    ledger: Ledger
    trade_ids: frozenset[str] = frozenset()
    payment_ids: frozenset[str] = frozenset()
    working: Mapping[str, Order] = field(default_factory=dict)  # by the venue's order id
    unknown: Mapping[str, OrderRequest] = field(default_factory=dict)  # by our identity


class Theirs(Struct, frozen=True):
    """What the venue says, every slot. `ended` are the final states of orders that were looked up one by one."""

    positions: tuple[Position, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    payments: tuple[FundingPayment, ...] = ()
    ended: tuple[Order, ...] = ()
    absent: frozenset[str] = frozenset()  # identities proven never to have arrived
    forced: frozenset[str] = frozenset()  # trade ids of forced transfers (ADL)
    killed: frozenset[str] = frozenset()  # trade ids that a kill of ours wrote down; its last resort carries no label
    equity: Decimal | None = None
    at_ms: int = 0


class Difference(Struct, frozen=True):
    """One row. `correction` is journaled on apply; `adoption` only when a human adopts what nobody explains."""

    subject: str  # fill | funding | order | unknown order | position | money
    key: str
    ours: str
    venue: str
    cause: Cause
    correction: Correction | None = None
    adoption: Correction | None = None


class Comparison(Struct, frozen=True):
    """All differences. `unexplained_money` None: not compared, because something it needs is missing."""

    differences: tuple[Difference, ...]
    unexplained_money: Decimal | None

    @property
    def is_clean(self) -> bool:
        return not self.differences

    @property
    def corrections(self) -> tuple[Correction, ...]:
        return tuple(row.correction for row in self.differences if row.correction is not None)

    @property
    def adoptions(self) -> tuple[Correction, ...]:
        return tuple(row.adoption for row in self.differences if row.adoption is not None)

    @property
    def left_open(self) -> tuple[Difference, ...]:
        """What stays after the corrections are journaled."""
        return tuple(row for row in self.differences if row.correction is None)

    @property
    def fingerprint(self) -> str:
        """Changes when any difference does; names the plan that was shown."""
        rows = "\n".join(sorted(f"{r.subject}|{r.key}|{r.ours}|{r.venue}|{r.cause}" for r in self.differences))
        return hashlib.sha256(rows.encode()).hexdigest()[:8]


def compare(ours: Ours, theirs: Theirs, is_ours: Callable[[str | None], bool]) -> Comparison:
    """Every difference between the books. `is_ours` tells an identity of our making."""
    explained = [*_fills(ours, theirs, is_ours), *_funding(ours, theirs), *_orders(ours, theirs, is_ours)]
    booked = apply(ours, (row.correction for row in explained if row.correction is not None))
    positions = list(_positions(booked, theirs))
    adopted = apply(booked, (row.adoption for row in positions if row.adoption is not None))
    money = None if any(row.adoption is None for row in positions) else _money(adopted.ledger, theirs)
    rows = [*explained, *positions]
    if money is not None and theirs.equity is not None and abs(money) > _tolerance(theirs.equity):
        expected, move = theirs.equity - money, MoveMoney(money)
        rows.append(Difference("money", "equity", f"{expected:f}", f"{theirs.equity:f}", Cause.UNEXPLAINED, None, move))
    return Comparison(tuple(rows), money)


def apply(ours: Ours, corrections: Iterable[Correction]) -> Ours:
    """Our books after these corrections. Fills come by the thousand: they are folded, the others applied one by one."""
    fills, others = list[Fill](), list[_Other]()
    for one in corrections:
        if isinstance(one, BookFill):
            fills.append(one.fill)
        else:
            others.append(one)
    booked = ours.trade_ids.union(fill.trade_id for fill in fills)
    ours = replace(ours, ledger=ours.ledger.with_fills(fills), trade_ids=booked)
    for other in others:
        ours = _applied(ours, other)
    return ours


def _applied(ours: Ours, one: _Other) -> Ours:
    match one:
        case BookFunding(payment):
            ids = ours.payment_ids | {payment.row_id}
            return replace(ours, ledger=ours.ledger.with_funding(payment), payment_ids=ids)
        case SeeOrder(order):
            working = {key: known for key, known in ours.working.items() if key != order.order_id}
            if not order.status.is_terminal:
                working[order.order_id] = order
            return replace(ours, working=working, unknown=_without(ours.unknown, order.identity))
        case SettleAbsent(identity):
            return replace(ours, unknown=_without(ours.unknown, identity))
        case MovePosition(movement):
            return replace(ours, ledger=ours.ledger.with_fill(movement))
        case MoveMoney(amount):
            return replace(ours, ledger=ours.ledger.with_transfer(amount))


def _without(unknown: Mapping[str, OrderRequest], identity: str | None) -> dict[str, OrderRequest]:
    return {key: asked for key, asked in unknown.items() if key != identity}


def _fills(ours: Ours, theirs: Theirs, is_ours: Callable[[str | None], bool]) -> Iterator[Difference]:
    seen = set(ours.trade_ids)
    for fill in in_order(theirs.fills):
        if fill.trade_id in seen:
            continue
        seen.add(fill.trade_id)
        words = f"{fill.side} {fill.size:f} at {fill.price:f}"
        cause = _cause_of(fill, theirs, is_ours)
        yield Difference("fill", fill.trade_id, "missing", words, cause, BookFill(fill, cause))


def _cause_of(fill: Fill, theirs: Theirs, is_ours: Callable[[str | None], bool]) -> Cause:
    if fill.trade_id in theirs.forced:
        return Cause.ADL
    if fill.liquidation:
        return Cause.LIQUIDATION
    return Cause.MISSING_FILL if fill.trade_id in theirs.killed or is_ours(fill.identity) else Cause.FOREIGN_FILL


def _funding(ours: Ours, theirs: Theirs) -> Iterator[Difference]:
    seen = set(ours.payment_ids)
    for payment in theirs.payments:
        if payment.row_id not in seen:
            seen.add(payment.row_id)
            words = f"{payment.amount:f} {payment.currency}"
            yield Difference("funding", payment.row_id, "missing", words, Cause.FUNDING, BookFunding(payment))


def _orders(ours: Ours, theirs: Theirs, is_ours: Callable[[str | None], bool]) -> Iterator[Difference]:
    for order in theirs.orders:
        known = ours.working.get(order.order_id)
        if known is None or _state(known) != _state(order):
            cause = _order_cause(order, ours, is_ours)
            words = "not known" if known is None else _state(known)
            yield Difference("order", order.order_id, words, _state(order), cause, SeeOrder(order))
    open_ids = {order.order_id for order in theirs.orders}
    ended = {order.order_id: order for order in theirs.ended}
    for order_id, known in ours.working.items():
        if order_id in open_ids:
            continue
        final = ended.get(order_id)
        if final is None:
            yield Difference("order", order_id, _state(known), "not open, end not known", Cause.UNEXPLAINED)
        else:
            cause = _order_cause(final, ours, is_ours)
            yield Difference("order", order_id, _state(known), _state(final), cause, SeeOrder(final))
    yield from _unknown(ours, theirs)


def _order_cause(order: Order, ours: Ours, is_ours: Callable[[str | None], bool]) -> Cause:
    if order.origin == "liquidation" or order.cancel_reason == "autoliquidation":
        return Cause.LIQUIDATION
    if order.identity in ours.unknown:
        return Cause.UNKNOWN_SETTLED
    known = ours.working.get(order.order_id)  # seen working, whoever made it
    mine = is_ours(order.identity) or (known is not None and is_ours(known.identity))
    return Cause.ORDER_MISSED if mine else Cause.FOREIGN_ORDER


def _unknown(ours: Ours, theirs: Theirs) -> Iterator[Difference]:
    resting = {order.identity for order in theirs.orders}
    ended = {order.identity: order for order in theirs.ended if order.order_id not in ours.working}
    for identity, asked in ours.unknown.items():
        if identity in resting:
            continue
        words = f"{asked.side} {asked.size:f}, unknown"
        final = ended.get(identity)
        if final is not None:
            row = ("unknown order", identity, words, _state(final), Cause.UNKNOWN_SETTLED)
            yield Difference(*row, SeeOrder(final))
        elif identity in theirs.absent:
            row = ("unknown order", identity, words, "never arrived", Cause.UNKNOWN_SETTLED)
            yield Difference(*row, SettleAbsent(identity))
        else:
            yield Difference("unknown order", identity, words, "not found yet", Cause.UNKNOWN_OPEN)


def _state(order: Order) -> str:
    """What of an order matters to the books."""
    price = order.price if order.price is not None else order.trigger_price
    at = "at market" if price is None else f"at {price.normalize():f}"
    size, filled = order.size.normalize(), order.filled.normalize()
    return f"{order.side} {size:f} {at}, {order.status}, filled {filled:f}"


def _positions(ours: Ours, theirs: Theirs) -> Iterator[Difference]:
    there = {(held.product_id, held.slot): held for held in theirs.positions}
    for key in sorted(there.keys() | ours.ledger.tallies.keys(), key=lambda key: (key[0], key[1] or 0)):
        mine, held = ours.ledger.tally(*key).size, there.get(key)
        size = ZERO if held is None else held.size
        words = (f"{mine:f}", f"{size:f}")
        if held is not None and not held.units_agree:
            yield Difference("position", _name(key), words[0], f"{words[1]}, units contradict", Cause.UNEXPLAINED)
        elif size != mine:
            move = _movement(key, size - mine, held, ours, theirs.at_ms)
            adoption = None if move is None else MovePosition(move)
            yield Difference("position", _name(key), *words, Cause.UNEXPLAINED, None, adoption)


def _movement(key: Key, signed: Decimal, held: Position | None, ours: Ours, at_ms: int) -> Fill | None:
    """The fill that would explain it, at the venue's entry or mark, or at our own entry when nothing is left there."""
    prices = (held.entry_price, held.mark) if held is not None else (ours.ledger.tally(*key).entry_price,)
    price = next((one for one in prices if one is not None), None)
    if price is None:
        return None
    side = Side.BUY if signed > 0 else Side.SELL
    name = f"adopted:{_name(key)}:{at_ms}"
    return Fill(
        name, name, None, key[0], side, abs(signed), price, ZERO, ours.ledger.currency, None, at_ms, slot=key[1]
    )


def _name(key: Key) -> str:
    return key[0] if key[1] is None else f"{key[0]} slot {key[1]}"


def _money(ledger: Ledger, theirs: Theirs) -> Decimal | None:
    """The venue's equity less what our books come to at the venue's marks, funding of the running session included."""
    marks: dict[str, Decimal] = {}
    running = ZERO
    for held in theirs.positions:
        if held.mark is None or held.funding is None:
            return None
        marks[held.product_id] = held.mark
        running += held.funding
    expected = ledger.equity(marks)
    if expected is None or theirs.equity is None:
        return None
    return theirs.equity - expected - running


def _tolerance(equity: Decimal) -> Decimal:
    return max(MONEY_TOLERANCE, abs(equity) * MONEY_TOLERANCE_SHARE)


def positions_agree(first: Iterable[Position], second: Iterable[Position]) -> bool:
    """Whether two listings show the same sizes; a reconcile stands between two that do."""
    return _sizes(first) == _sizes(second)


def _sizes(listing: Iterable[Position]) -> dict[Key, Decimal]:
    return {(held.product_id, held.slot): held.size for held in listing if held.size}
