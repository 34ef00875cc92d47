"""The folds: what one line of the journal changes in the projections, in the same transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from enum import StrEnum
from typing import Any

import apsw
import msgspec

from perpctl.model.books.funding import FundingPayment
from perpctl.model.books.ledger import Ledger, Tally, apply_fill
from perpctl.model.fill import Fill
from perpctl.model.money import ZERO, plain
from perpctl.model.order import OrderStatus
from perpctl.store.records import ENCODER, Kind, Record, plain_json

Body = Mapping[str, Any]
PROJECTIONS = ("orders", "fills", "corrections", "positions", "funding", "mode_changes", "reconciles", "baselines")


class IntentState(StrEnum):
    """Where an order stands between our intent and the venue's last word.

    INTENDED and SENT may have reached the venue as much as UNKNOWN: all three count at worst case until settled.
    """

    INTENDED = "intended"
    SENT = "sent"
    CONFIRMED = "confirmed"  # the venue has it, and it can still fill
    REFUSED = "refused"
    UNKNOWN = "unknown"
    ABSENT = "absent"  # proven by reads: the venue never had it
    TERMINAL = "terminal"  # filled, cancelled or rejected by the venue


UNPROVEN = (IntentState.INTENDED, IntentState.SENT, IntentState.UNKNOWN)
_MOVES = {
    Kind.ORDER_SENT: (IntentState.SENT, (IntentState.INTENDED,)),
    Kind.ORDER_REFUSED: (IntentState.REFUSED, UNPROVEN),
    Kind.ORDER_UNKNOWN: (IntentState.UNKNOWN, UNPROVEN),
}
_CANCELS = {
    Kind.CANCEL_INTENDED: "intended",
    Kind.CANCEL_CONFIRMED: "confirmed",
    Kind.CANCEL_REFUSED: "refused",
    Kind.CANCEL_UNKNOWN: "unknown",
}


def moves(kind: Kind) -> bool:
    """Whether lines of this kind change any projection."""
    return kind in _FOLDS


def fold(connection: apsw.Connection, record: Record) -> None:
    """Bring the projections from the line before to this one.

    Raises ValueError when the line contradicts them: a fill, funding row, intent or baseline that is there already.
    """
    change = _FOLDS.get(record.kind)
    if change is None:
        return
    try:
        change(connection, record, record.body)
    except apsw.ConstraintError as twice:
        raise ValueError(f"{record.kind}: recorded already ({twice})") from None
    except KeyError as missing:
        raise ValueError(f"{record.kind}: the body lacks {missing}") from None


def clear(connection: apsw.Connection) -> None:
    """Throw the projections away."""
    for table in PROJECTIONS:
        connection.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names


def _intended(connection: apsw.Connection, record: Record, body: Body) -> None:
    identity = record.correlation.intent_id
    request = body["request"]
    if identity is None or request["identity"] != identity:
        raise ValueError("an intent is correlated with its own identity")
    connection.execute(
        "INSERT INTO orders VALUES (?1, ?1, NULL, 'intended', NULL, ?2, ?3, NULL, '0', NULL, ?4, ?5, ?6, ?7, ?7)",
        (
            identity,
            request["product_id"],
            _text(request),
            record.writer["epoch"],
            body["risk_day"],
            record.at_market_ms,
            record.seq,
        ),
    )


def _moved(connection: apsw.Connection, record: Record, body: Body) -> None:
    """Sent, refused, unknown: an answer that came late never outweighs the order having been seen."""
    state, allowed = _MOVES[record.kind]
    for before in allowed:
        connection.execute(
            "UPDATE orders SET state = ?, cause = ?, last_seq = ? WHERE key = ? AND state = ?",
            (state, body.get("cause"), record.seq, record.correlation.intent_id, before),
        )


def _settled(connection: apsw.Connection, record: Record, body: Body) -> None:
    if body["order"] is not None:
        _seen(connection, record, body)
    elif body["outcome"] == IntentState.ABSENT:
        connection.execute(
            "UPDATE orders SET state = 'absent', cause = ?, last_seq = ? "
            "WHERE key = ? AND state NOT IN ('confirmed', 'terminal')",
            (body.get("cause"), record.seq, record.correlation.intent_id),
        )


def _seen(connection: apsw.Connection, record: Record, body: Body) -> None:
    """The venue's own word on an order, from whichever channel it came; older words do not undo newer ones."""
    order = body["order"]
    key = _key_of(connection, order["order_id"], record.correlation.intent_id or order["identity"])
    state = IntentState.TERMINAL if OrderStatus(order["status"]).is_terminal else IntentState.CONFIRMED
    row = connection.execute("SELECT state, seen FROM orders WHERE key = ?", (key,)).get
    if row is None:
        connection.execute(
            "INSERT INTO orders VALUES (?1, ?2, ?1, ?3, NULL, ?4, NULL, ?5, '0', NULL, NULL, NULL, NULL, ?6, ?6)",
            (key, order["identity"], state, order["product_id"], _text(order), record.seq),
        )
        return
    if row[0] == IntentState.TERMINAL and state is IntentState.CONFIRMED:
        return
    if row[1] is not None and not _is_news(msgspec.json.decode(row[1]), order):
        return
    connection.execute(
        "UPDATE orders SET state = ?, order_id = ?, seen = ?, last_seq = ? WHERE key = ?",
        (state, order["order_id"], _text(order), record.seq, key),
    )


def _is_news(known: Body, order: Body) -> bool:
    if order["updated_ms"] != known["updated_ms"]:
        return bool(order["updated_ms"] > known["updated_ms"])
    return Decimal(order["filled"]) >= Decimal(known["filled"])


def _key_of(connection: apsw.Connection, order_id: str, identity: str | None) -> str:
    """The row of an order: the one with its id, else its identity's while that stands for no other (labels repeat)."""
    known = connection.execute("SELECT key FROM orders WHERE order_id = ?", (order_id,)).get
    if known is None and identity is not None:
        known = connection.execute("SELECT key FROM orders WHERE key = ? AND order_id IS NULL", (identity,)).get
    return order_id if known is None else str(known)


def _cancel(connection: apsw.Connection, record: Record, body: Body) -> None:
    if body.get("order") is not None:
        _seen(connection, record, body)
    key = _key_of(connection, body["order_id"], record.correlation.intent_id)
    connection.execute(
        "UPDATE orders SET cancel_state = ?, last_seq = ? WHERE key = ?", (_CANCELS[record.kind], record.seq, key)
    )


def _fill(connection: apsw.Connection, record: Record, body: Body) -> None:
    fill = body["fill"]
    connection.execute(
        "INSERT INTO fills VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.seq,
            record.writer["venue"],
            fill["trade_id"],
            fill["order_id"],
            fill["product_id"],
            fill["at_ms"],
            body["seen_by"],
            _text(fill),
        ),
    )
    _fill_order(connection, record, fill)
    _move_position(connection, record, fill)


def _fill_order(connection: apsw.Connection, record: Record, fill: Body) -> None:
    """A fill tells an order's id and, once it is filled in full, its end; less than that settles nothing."""
    key = _key_of(connection, fill["order_id"], fill["identity"])
    row = connection.execute("SELECT booked, state, request, seen FROM orders WHERE key = ?", (key,)).get
    if row is None:
        return
    booked = Decimal(row[0]) + Decimal(fill["size"])
    size = Decimal(msgspec.json.decode(row[2] or row[3])["size"])
    disproved = row[1] in {IntentState.ABSENT, IntentState.REFUSED}
    state = IntentState.TERMINAL if booked >= size else IntentState.UNKNOWN if disproved else row[1]
    connection.execute(
        "UPDATE orders SET booked = ?, state = ?, order_id = ?, last_seq = ? WHERE key = ?",
        (plain(booked), state, fill["order_id"], record.seq, key),
    )


def _text(value: object) -> str:
    return ENCODER.encode(value).decode()


def _baseline(connection: apsw.Connection, record: Record, body: Body) -> None:
    values = (body["risk_day"], body["equity"], body["currency"], record.seq)
    connection.execute("INSERT INTO baselines VALUES (?, ?, ?, ?)", values)


def _reconciled(connection: apsw.Connection, record: Record, body: Body) -> None:
    if body["clean"]:
        connection.execute("INSERT INTO reconciles VALUES (?, ?)", (record.seq, record.at.isoformat()))


def _mode_changed(connection: apsw.Connection, record: Record, body: Body) -> None:
    connection.execute("INSERT INTO mode_changes VALUES (?, ?, ?)", (record.seq, record.at.isoformat(), _text(body)))


def _funding(connection: apsw.Connection, record: Record, body: Body) -> None:
    payment = body["payment"]
    paid = msgspec.convert(payment, FundingPayment)
    before = tally_of(connection, paid.product_id, paid.slot)
    ledger = Ledger(ZERO, paid.currency, tallies={(paid.product_id, paid.slot): before}).with_funding(paid)
    _put_tally(connection, record, ledger.tally(paid.product_id, paid.slot), fills=0)
    values = (payment["row_id"], payment["product_id"], payment["at_ms"], _text(payment))
    connection.execute("INSERT INTO funding VALUES (?, ?, ?, ?, ?, ?)", (record.seq, record.writer["venue"], *values))


def tally_of(connection: apsw.Connection, product_id: str, slot: int | None) -> Tally:
    """The position of a product in a slot as folded so far; an empty one when there is none."""
    sql = "SELECT tally FROM positions WHERE product_id = ? AND slot = ?"
    text = connection.execute(sql, (product_id, _slot(slot))).get
    return Tally(product_id, slot) if text is None else msgspec.json.decode(text, type=Tally)


def _move_position(connection: apsw.Connection, record: Record, fill: Body) -> None:
    moved = msgspec.convert(fill, Fill)
    before = tally_of(connection, moved.product_id, moved.slot)
    _put_tally(connection, record, apply_fill(before, moved).after, fills=1)


def _put_tally(connection: apsw.Connection, record: Record, tally: Tally, fills: int) -> None:
    connection.execute(
        "INSERT INTO positions VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (product_id, slot) "
        "DO UPDATE SET tally = ?3, fills = fills + ?4, last_seq = ?5",
        (tally.product_id, _slot(tally.slot), _text(plain_json(tally)), fills, record.seq),
    )


def _slot(slot: int | None) -> str:
    return "cross" if slot is None else str(slot)


def _correction(connection: apsw.Connection, record: Record, body: Body) -> None:
    """A correction moves the position like a fill without a fee; what it stands for is in its cause."""
    movement = body["fill"]
    values = (record.seq, movement["trade_id"], body["cause"], _text(movement))
    connection.execute("INSERT INTO corrections VALUES (?, ?, ?, ?)", values)
    _move_position(connection, record, movement)


_Fold = Callable[[apsw.Connection, Record, Body], None]
_FOLDS: dict[Kind, _Fold] = {
    Kind.ORDER_INTENDED: _intended,
    Kind.ORDER_SENT: _moved,
    Kind.ORDER_REFUSED: _moved,
    Kind.ORDER_UNKNOWN: _moved,
    Kind.ORDER_CONFIRMED: _seen,
    Kind.ORDER_SETTLED: _settled,
    Kind.ORDER_SEEN: _seen,
    **dict.fromkeys(_CANCELS, _cancel),
    Kind.FILL_BOOKED: _fill,
    Kind.CORRECTION_BOOKED: _correction,
    Kind.FUNDING_BOOKED: _funding,
    Kind.MODE_CHANGED: _mode_changed,
    Kind.RECONCILE_ENDED: _reconciled,
    Kind.BASELINE_TAKEN: _baseline,
}
