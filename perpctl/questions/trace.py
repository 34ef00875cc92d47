"""This file tells the whole story of one order: intent, decision, sends, answers, fills, cancels, on one time line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perpctl.errors import ExitCode
from perpctl.questions.orders import owner
from perpctl.questions.venue import watched
from perpctl.results import Answer, Block, Column, Json, Line, Next, Row, Table, Tone
from perpctl.store.records import Record

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.model.order import Order


async def order(desk: Desk, word: str) -> Answer:
    """Everything we recorded of one order, and what the venue says of it now. Exit 1 when nobody knows it."""
    records = desk.projections().trace(word)
    exchange = await desk.exchange()
    names = _names(records, word)
    found = [one for name in names for one in await exchange.order(name, None if name in _labels(records) else name)]
    venue = tuple({one.order_id: one for one in found}.values())
    scope = await desk.scope()
    if not records and not venue:
        view: tuple[Block, ...] = (
            Line(f"NOT KNOWN: neither our journal nor the venue has an order {word!r}", Tone.BAD, mark=True),
            Line("a venue forgets cancelled orders, some within half an hour; our journal never does", Tone.DIM),
            Next((f"perpctl -p {scope.profile} orders list", f"perpctl -p {scope.profile} fills list")),
        )
        facts: dict[str, Json] = {"order": word, "records": [], "at_venue": []}
        return Answer("perpctl.orders.trace/1", scope, facts, view, ExitCode.NEGATIVE, "records")
    awaited = watched.watched(desk, exchange.terms, await exchange.time_ms())
    until = [one for one in awaited if one.order.key in names]
    may_come = [Line(f"WATCHED  settled as never arrived, may still come: {one.words}", Tone.WARN) for one in until]
    view = (
        *_venue_lines(desk, venue),
        *may_come,
        Line(""),
        Table(_COLUMNS, tuple(map(_row, records)), "our journal holds nothing of it: not sent from here"),
    )
    facts = {
        "order": word,
        "records": [_facts(record) for record in records],
        "at_venue": [_venue_facts(one) for one in venue],
        "watched": [one.facts() for one in until],
    }
    standing = desk.standing(source="our journal beside the venue over HTTP")
    return Answer("perpctl.orders.trace/1", scope, facts, view, records="records", standing=standing)


_COLUMNS = (
    Column("at", "AT (UTC)"),
    Column("kind", "WHAT"),
    Column("who", "BY"),
    Column("detail", "DETAIL"),
)


def _labels(records: tuple[Record, ...]) -> set[str]:
    return {record.correlation.intent_id for record in records if record.correlation.intent_id}


def _names(records: tuple[Record, ...], word: str) -> tuple[str, ...]:
    """The label that our records give it, else the word as typed."""
    return tuple(sorted(_labels(records))) or (word,)


def _row(record: Record) -> Row:
    bad = record.kind.value.endswith(("refused", "unknown"))
    return Row(
        {
            "at": f"{record.at:%d %b %H:%M:%S.%f}"[:-3],
            "kind": record.kind.value,
            "who": f"{record.writer['who']}, {record.writer['process']}",
            "detail": _detail(record.body),
        },
        tone=Tone.WARN if bad else Tone.PLAIN,
    )


def _detail(body: Any) -> str:
    """What matters of a record's body, in words."""
    words: list[str] = []
    if request := body.get("request"):
        price = request.get("price") or "market"
        if trigger := request.get("trigger_price"):
            price = f"{trigger} on {str(request.get('trigger') or '?').removesuffix('_price')}"
        words.append(f"{request['side']} {request['size']} {request['product_id']} {request['type']} at {price}")
    if order := body.get("order"):
        words.append(f"{order['status']}, filled {order['filled']} of {order['size']}")
    if fill := body.get("fill"):
        words.append(f"{fill['side']} {fill['size']} at {fill['price']}, fee {fill['fee']} {fill['fee_currency']}")
    decision = body.get("decision")
    if decision and (refusal := decision.get("first_refusal")):
        words.append(f"gate {refusal['number']}, {refusal['name']}: {refusal['reason_code']}")
    for name in ("cause", "venue_code", "settled_by", "seen_by"):
        if body.get(name) is not None:
            words.append(f"{name.replace('_', ' ')} {body[name]}")
    return "; ".join(words)


def _facts(record: Record) -> dict[str, Json]:
    return {
        "seq": record.seq,
        "kind": record.kind.value,
        "at": record.at.isoformat(),
        "who": str(record.writer["who"]),
        "process": str(record.writer["process"]),
        "detail": _detail(record.body),
    }


def _venue_lines(desk: Desk, orders: tuple[Order, ...]) -> list[Line]:
    if not orders:
        return [Line("VENUE  does not have it (any more)", Tone.DIM)]
    return [
        Line(
            f"VENUE  {one.order_id}  {one.side} {one.size:f} {one.product_id} {one.type.value}: {one.status.value}, "
            f"filled {one.filled:f}; {owner(desk, one.identity)}"
        )
        for one in orders
    ]


def _venue_facts(order: Order) -> dict[str, Json]:
    return {
        "order_id": order.order_id,
        "client_order_id": order.identity,
        "status": order.status.value,
        "size": f"{order.size:f}",
        "filled": f"{order.filled:f}",
    }
