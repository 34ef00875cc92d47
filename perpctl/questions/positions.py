"""This file answers what is held: size, price, profit, stop, limit, funding, each with its age."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.errors import UsageError
from perpctl.model.instrument import Instrument, Quote
from perpctl.model.order import Order, is_protective
from perpctl.model.position import Account, Position
from perpctl.questions import figures
from perpctl.questions.limits import bounds_of
from perpctl.results import Answer, Block, Column, Json, Line, Next, Row, Table, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk

SCHEMA = "perpctl.positions/1"
FUNDING_NOTE = "(1) accrued since the last settlement at 08:00 UTC, exact (the venue's), paid at the next settlement"


@dataclass(frozen=True, slots=True)
class Holding:
    """One position with all that is said of it."""

    position: Position
    instrument: Instrument
    quote: Quote
    stops: tuple[Order, ...]
    limit: Decimal | None  # largest position notional allowed; None: no risk level is set

    @property
    def covered(self) -> Decimal:
        """The fraction of the position that protective stops close."""
        return sum((stop.remaining for stop in self.stops), Decimal(0)) / abs(self.position.size)

    @property
    def limit_used(self) -> Decimal | None:
        if self.position.notional is None or not self.limit:
            return None
        return abs(self.position.notional) / self.limit


@dataclass(frozen=True, slots=True)
class Held:
    """Everything read for one answer, from fresh reads."""

    account: Account
    holdings: tuple[Holding, ...]
    gross_limit: Decimal | None
    read_at: float


async def held(desk: Desk, source: str = "venue") -> Answer:
    """What is held: as the venue says, or as our own journal has it."""
    if source == "venue":
        return await _as_the_venue_says(desk)
    if source == "local":
        return await _as_the_journal_has_it(desk)
    raise UsageError(
        f"no such source: {source}", not_done="nothing was read", next_commands=("perpctl positions --source venue",)
    )


async def read(desk: Desk) -> Held:
    """Fresh reads of positions, orders and account, side by side."""
    exchange = await desk.exchange()
    positions, orders, account = await asyncio.gather(exchange.positions(), exchange.open_orders(), exchange.account())
    products = tuple(dict.fromkeys(position.product_id for position in positions))
    instruments = {one: await exchange.instrument(one) for one in products}
    quotes = dict(zip(products, await asyncio.gather(*map(exchange.quote, products)), strict=True))
    bounds = {one: bounds_of(desk, account, quotes[one]) for one in products}
    return Held(
        account,
        tuple(
            Holding(
                position,
                instruments[position.product_id],
                quotes[position.product_id],
                stops_of(position, orders),
                None if (found := bounds[position.product_id]) is None else found.position_notional,
            )
            for position in positions
        ),
        next((found.gross_notional for found in bounds.values() if found is not None), None),
        desk.clock.monotonic(),
    )


def stops_of(position: Position, orders: tuple[Order, ...]) -> tuple[Order, ...]:
    """The protective stops of a position among all open orders."""
    return tuple(
        order
        for order in orders
        if order.product_id == position.product_id
        and order.slot == position.slot
        and not order.status.is_terminal
        and is_protective(order, position.size)
    )


async def _as_the_venue_says(desk: Desk) -> Answer:
    found = await read(desk)
    scope = await desk.scope()
    age = desk.clock.monotonic() - found.read_at
    bare = [one for one in found.holdings if not one.stops]
    view: list[Block] = [_table(found, age)]
    view += [Line(""), *_totals(found)]
    view += [Line(""), Line(FUNDING_NOTE, Tone.DIM)] if found.holdings else []
    view += [Line(f"{_name(one.position)} has no stop", Tone.BAD, mark=True) for one in bare]
    if bare:
        view.append(Next(tuple(f"perpctl -p {scope.profile} stops place {_words(one)}" for one in bare)))
    facts: dict[str, Json] = {
        "source": "venue",
        "age_s": f"{age:.3f}",
        "positions": [_facts(one, age) for one in found.holdings],
        "equity": figures.text(found.account.equity),
        "currency": found.account.currency,
        "gross_limit": figures.text(found.gross_limit),
    }
    standing = desk.standing(source="venue", age_s=age)
    return Answer(SCHEMA, scope, facts, tuple(view), records="positions", standing=standing)


async def _as_the_journal_has_it(desk: Desk) -> Answer:
    held = [one for one in desk.projections().positions() if one.size != 0]
    rows = tuple(
        Row({"product": one.product_id, "size": f"{one.size:+f}", "entry": figures.text(one.entry_price) or "?"})
        for one in held
    )
    facts: list[Json] = [
        {
            "product_id": one.product_id,
            "slot": one.slot,
            **figures.texts([("size", one.size), ("entry_price", one.entry_price)]),
        }
        for one in held
    ]
    columns = (Column("product", "PRODUCT"), Column("size", "POSITION", True), Column("entry", "ENTRY", True))
    view = (Table(columns, rows, "no position in our journal"),)
    body: dict[str, Json] = {"source": "local", "positions": facts}
    standing = desk.standing(source="our journal")
    return Answer(SCHEMA, desk.known_scope(), body, view, records="positions", standing=standing)


def _table(found: Held, age: float) -> Table:
    currency = found.account.currency
    columns = (
        Column("product", "PRODUCT"),
        Column("size", "POSITION", True),
        Column("notional", f"NOTIONAL {currency}", True),
        Column("entry", "ENTRY", True),
        Column("mark", "MARK", True),
        Column("upnl", f"uPnL {currency}", True),
        Column("funding", "FUNDING (1)", True),
        Column("age", "AGE", True),
    )
    return Table(columns, tuple(_row(one, age) for one in found.holdings), "no open position")


def _row(one: Holding, age: float) -> Row:
    position, instrument = one.position, one.instrument
    cells = {
        "product": _name(position),
        "size": figures.size(position.size, instrument.base, instrument.size_decimals),
        "notional": figures.money(position.notional),
        "entry": figures.price(position.entry_price, instrument.price_decimals),
        "mark": figures.price(position.mark, instrument.price_decimals),
        "upnl": figures.money(position.unrealized, signed=True),
        "funding": figures.money(position.funding, signed=True),
        "age": figures.age(age),
    }
    doubt: tuple[Line, ...] = ()
    if not position.units_agree:
        doubt = (Line("the venue's size fields contradict each other: nothing is sized from them", Tone.BAD, True),)
    return Row(cells, (*_stop_lines(one), *doubt))


def _stop_lines(one: Holding) -> tuple[Line, ...]:
    used = ""
    if one.limit_used is not None:
        used = f"   limit used {one.limit_used * 100:.0f} % of {figures.money(one.limit)}"
    if not one.stops:
        return (Line(f"    stop  NONE AT THE VENUE{used}", Tone.BAD, mark=True),)
    return tuple(Line(f"    stop  {_stop_words(one, stop)}{used}") for stop in one.stops)


def _stop_words(one: Holding, stop: Order) -> str:
    instrument, mark = one.instrument, one.position.mark
    trigger = figures.price(stop.trigger_price, instrument.price_decimals)
    words = f"{stop.side} {stop.remaining:.{instrument.size_decimals}f} at {trigger} on {_trigger(stop)}"
    if mark and stop.trigger_price is not None:
        away = (stop.trigger_price - mark) / mark
        words += f", {abs(away) * 100:.1f} % {'below' if away < 0 else 'above'}"
    return f"{words}, covers {one.covered * 100:.0f} %"


def _trigger(stop: Order) -> str:
    return {"mark_price": "mark", "index_price": "index", "last_price": "last"}.get(stop.trigger or "", "?")


def _totals(found: Held) -> list[Block]:
    account, currency = found.account, found.account.currency
    gross = figures.total(
        None if one.position.notional is None else abs(one.position.notional) for one in found.holdings
    )
    upnl = figures.total(one.position.unrealized for one in found.holdings)
    funding = figures.total(one.position.funding for one in found.holdings)
    lines: list[Block] = []
    if found.holdings:
        times = "" if gross is None or account.equity <= 0 else f" = {gross / account.equity:.2f} x equity"
        limit = ""
        if gross is not None and found.gross_limit:
            limit = f" ({gross / found.gross_limit * 100:.0f} % of {figures.money(found.gross_limit)} allowed)"
        lines.append(
            Line(
                f"TOTAL   gross {figures.money(gross)} {currency}{times}{limit}   "
                f"uPnL {figures.money(upnl, signed=True)}   funding {figures.money(funding, signed=True)}"
            )
        )
        lines.append(Line("DELTA   " + "   ".join(_deltas(found))))
    lines.append(
        Line(
            f"DAY     realised {figures.money(account.session_realized, signed=True)}   "
            f"unrealised {figures.money(account.session_unrealized, signed=True)} {currency} "
            "(the venue's session, since 08:00 UTC)"
        )
    )
    lines.append(
        Line(
            f"MARGIN  equity {figures.money(account.equity)}   initial {figures.money(account.initial_margin)}   "
            f"maintenance {figures.money(account.maintenance_margin)}   free {figures.money(account.available)}"
        )
    )
    return lines


def _deltas(found: Held) -> list[str]:
    sums: dict[Instrument, Decimal] = {}
    for one in found.holdings:
        sums[one.instrument] = sums.get(one.instrument, Decimal(0)) + one.position.size
    return [f"{instrument.base} {amount:+.{instrument.size_decimals}f}" for instrument, amount in sums.items()]


def _name(position: Position) -> str:
    return position.product_id if position.slot is None else f"{position.product_id} iso {position.slot}"


def _words(one: Holding) -> str:
    slot = "" if one.position.slot is None else f" --slot {one.position.slot}"
    return f"{one.instrument.symbol}{slot}"


def _facts(one: Holding, age: float) -> dict[str, Json]:
    position, instrument = one.position, one.instrument
    return {
        "product_id": position.product_id,
        "symbol": instrument.symbol,
        "slot": position.slot,
        "size": figures.text(position.size),
        "size_unit": instrument.base,
        "currency": instrument.currency,
        **figures.texts(
            [
                ("notional", position.notional),
                ("entry_price", position.entry_price),
                ("mark_price", position.mark),
                ("index_price", position.index),
                ("unrealized_pnl", position.unrealized),
                ("realized_pnl", position.realized),
                ("initial_margin", position.initial_margin),
                ("maintenance_margin", position.maintenance_margin),
                ("limit_used", one.limit_used),
            ]
        ),
        "funding": {"amount": figures.text(position.funding), "estimate": False},
        "liquidation_price": None,
        "liquidation_price_absent": "not offered by this venue",
        "units_agree": position.units_agree,
        "stop": _stop_facts(one),
        "age_s": f"{age:.3f}",
    }


def _stop_facts(one: Holding) -> Json:
    if not one.stops:
        return None
    return {
        "order_ids": [stop.order_id for stop in one.stops],
        "type": one.stops[0].type.value,
        "stop_price": figures.text(one.stops[0].trigger_price),
        "covers": f"{one.covered:.4f}",
    }
