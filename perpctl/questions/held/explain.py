"""This file explains a position fill by fill to today's number, and where we and the venue part ways."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.errors import ExitCode
from perpctl.model.books.ledger import Change, Tally, explain
from perpctl.questions import figures
from perpctl.questions.orders import owner
from perpctl.results import Answer, Block, Column, Json, Line, Next, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.model.instrument import Instrument
    from perpctl.model.position import Position

SHOWN = 40


async def position(desk: Desk, symbol: str) -> Answer:
    """Our fills of one product folded one by one, beside the venue's size. Exit 1 when the two differ."""
    exchange = await desk.exchange()
    instrument = await exchange.instrument(symbol)
    held = [one for one in await exchange.positions() if one.product_id == instrument.product_id]
    fills = [fill for fill in desk.projections().fills() if fill.product_id == instrument.product_id]
    changes = explain(fills)
    ours = {(change.after.product_id, change.after.slot): change.after for change in changes}
    slots = sorted({one.slot for one in held} | {slot for _, slot in ours}, key=lambda slot: slot or 0)
    verdicts = [_verdict(instrument, slot, held, ours.get((instrument.product_id, slot))) for slot in slots]
    agree = all(same for same, _, _ in verdicts)
    rows = tuple(_row(desk, change, instrument.price_decimals) for change in changes[-SHOWN:])
    view: list[Block] = []
    if len(changes) > SHOWN:
        view.append(Line(f"{len(changes) - SHOWN} older fills are left out; -o json has them", Tone.DIM))
    view.append(Table(_COLUMNS, rows, "our journal has no fill of this product"))
    view += [Line(words, Tone.GOOD if same else Tone.BAD, mark=not same) for same, words, _ in verdicts]
    if not verdicts:
        view.append(Line("AGREE: flat here and at the venue", Tone.GOOD))
    if not agree:
        name = desk.settings.profile
        view.append(Next((f"perpctl -p {name} reconcile", f"perpctl -p {name} fills list --hours 168")))
    facts: dict[str, Json] = {
        "product_id": instrument.product_id,
        "agree": agree,
        "fills": [_facts(change) for change in changes],
        "slots": [facts for _, _, facts in verdicts],
    }
    code = ExitCode.OK if agree else ExitCode.NEGATIVE
    standing = desk.standing(source="our journal beside the venue over HTTP")
    return Answer("perpctl.positions.explain/1", await desk.scope(), facts, tuple(view), code, "fills", standing)


_COLUMNS = (
    Column("at", "AT (UTC)"),
    Column("side", "SIDE"),
    Column("size", "SIZE", True),
    Column("price", "PRICE", True),
    Column("fee", "FEE", True),
    Column("effect", "EFFECT"),
    Column("realized", "REALISED", True),
    Column("after", "POSITION AFTER", True),
    Column("entry", "ENTRY", True),
    Column("owner", "OWNER"),
)


def _verdict(
    instrument: Instrument, slot: int | None, held: list[Position], ours: Tally | None
) -> tuple[bool, str, Json]:
    theirs = next((one.size for one in held if one.slot == slot), None)
    at_venue, here = theirs or Decimal(0), ours.size if ours else Decimal(0)
    same = at_venue == here
    name = "" if slot is None else f"slot {slot}: "
    shown_here, shown_there = (figures.size(one, instrument.base, instrument.size_decimals) for one in (here, at_venue))
    words = f"{name}AGREE: {shown_here} here and at the venue"
    if not same:
        words = f"{name}PART WAYS: our fills come to {shown_here}, the venue says {shown_there}"
    return same, words, {"slot": slot, "ours": figures.text(here), "venue": figures.text(at_venue), "agree": same}


def _row(desk: Desk, change: Change, decimals: int) -> Row:
    fill, after = change.fill, change.after
    return Row(
        {
            "at": f"{from_ms(fill.at_ms):%d %b %H:%M:%S}",
            "side": fill.side.value,
            "size": f"{fill.size.normalize():f}",
            "price": figures.price(fill.price, decimals),
            "fee": f"{fill.fee:.4f}",
            "effect": change.effect.value,
            "realized": figures.money(change.realized, signed=True),
            "after": f"{after.size.normalize():+f}",
            "entry": "" if after.entry_price is None else figures.price(after.entry_price, decimals),
            "owner": owner(desk, fill.identity),
        }
    )


def _facts(change: Change) -> dict[str, Json]:
    fill = change.fill
    return {
        "trade_id": fill.trade_id,
        "at": from_ms(fill.at_ms).isoformat(),
        "side": fill.side.value,
        "slot": fill.slot,
        "effect": change.effect.value,
        **figures.texts(
            [
                ("size", fill.size),
                ("price", fill.price),
                ("fee", fill.fee),
                ("realized", change.realized),
                ("position_after", change.after.size),
                ("entry_after", change.after.entry_price),
            ]
        ),
    }
