"""This file answers what is held: size, price, profit, stop, limit, funding, each with its age."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from msgspec import Struct

from perpctl.errors import AccountMismatch, StateDamaged, UnknownState, UsageError
from perpctl.model import stops
from perpctl.model.exposure import liquidation_price, maintenance_margin
from perpctl.model.instrument import Instrument, Quote
from perpctl.model.order import Order
from perpctl.model.position import Account, Position
from perpctl.model.venue.margin import dearest, rates_for
from perpctl.questions import figures
from perpctl.questions.held import proven, screen
from perpctl.questions.held.moved import Moved, since_baseline
from perpctl.questions.limits import bounds_of, limits_of
from perpctl.questions.orders import owner
from perpctl.results import Answer, Column, Json, Row, Table

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.exchange.port import Exchange, VenueTerms
    from perpctl.model.fill import Fill
    from perpctl.model.venue.calendar import VenueCalendar
    from perpctl.store.projections import Projections

SCHEMA = "perpctl.positions/1"


class Explained(Struct, frozen=True):
    """How our own fills account for a position: `size` is what they come to, `fills` since it was last flat."""

    size: Decimal
    fills: int
    foreign: int  # of those, not ours by their identity


class Holding(Struct, frozen=True):
    """One position with all that is said of it."""

    position: Position
    instrument: Instrument
    quote: Quote
    cover: stops.Coverage
    explained: Explained | None  # None: our journal cannot be read
    limit: Decimal | None  # largest position notional allowed; None: no risk level is set
    stop_distance_pct: Decimal | None  # of the risk level
    liquidation: Decimal | None  # our estimate; None: not by this product alone, or not to be told
    liquidation_absent: str | None  # why there is no estimate

    @property
    def stops(self) -> tuple[Order, ...]:
        return self.cover.stops

    @property
    def limit_used(self) -> Decimal | None:
        if self.position.notional is None or not self.limit:
            return None
        return abs(self.position.notional) / self.limit

    @property
    def is_explained(self) -> bool:
        return self.explained is not None and self.explained.size == self.position.size

    @property
    def words(self) -> str:
        """The position as an operator names it in a command."""
        slot = "" if self.position.slot is None else f" --slot {self.position.slot}"
        return f"{self.instrument.symbol}{slot}"

    @property
    def close_command(self) -> str:
        return f"positions close {self.words}"


class Day(Struct, frozen=True):
    """The result of the risk day in settlement currency, but for what moved; that is in it where it is not known."""

    pnl: Decimal
    percent: Decimal
    fees: Decimal
    funding: Decimal | None  # None: the venue tells none, and it is in `price`
    price: Decimal
    moved: Moved


class Held(Struct, frozen=True):
    """Everything read for one answer, from fresh reads."""

    account: Account
    holdings: tuple[Holding, ...]
    orders: tuple[Order, ...]  # all that can still fill
    terms: VenueTerms
    calendar: VenueCalendar
    gross_limit: Decimal | None
    day: Day | None  # None: not asked for, or no baseline was taken yet
    warn_pct: Decimal | None
    at_ms: int  # market time
    read_at: float


def named(position: Position) -> str:
    """A position by product and slot."""
    return position.product_id if position.slot is None else f"{position.product_id} iso {position.slot}"


async def held(desk: Desk, source: str = "venue") -> Answer:
    """What is held: as the venue says, or as our own journal has it. Unreadable: exit 3, last proven and worst case."""
    if source == "local":
        return await _as_the_journal_has_it(desk)
    if source != "venue":
        raise UsageError(
            f"no such source: {source}; choose venue or local",
            not_done="nothing was read",
            next_commands=(f"perpctl -p {desk.settings.profile} positions --source venue",),
        )
    try:
        found = await read(desk, with_day=True)
    except AccountMismatch:
        raise
    except UnknownState as why:
        return proven.answer(desk, SCHEMA, why)
    return screen.answer(SCHEMA, await desk.scope(), found, desk)


async def read(desk: Desk, *, with_day: bool = False) -> Held:
    """Fresh reads of positions, orders and account, side by side, beside our own records.

    `with_day` asks the venue's ledger too, for the result of the day: slow, and nothing else hangs on it.
    """
    exchange = await desk.exchange()
    (positions, account), orders = await asyncio.gather(exchange.holdings(), exchange.open_orders())
    products = tuple(dict.fromkeys(position.product_id for position in positions))
    instruments = {one: await exchange.instrument(one) for one in products}
    quotes = dict(zip(products, await asyncio.gather(*map(exchange.quote, products)), strict=True))
    bounds = {one: bounds_of(desk, account, quotes[one]) for one in products}
    at_ms, limits = account.at_ms, limits_of(desk)
    records = _records(desk)
    unknown = None if isinstance(records, StateDamaged) else Explained(Decimal(0), 0, 0)
    explained = {} if records is None or isinstance(records, StateDamaged) else _explained(desk, records, products)

    day = None
    if with_day and records is not None and not isinstance(records, StateDamaged):
        day = await _day(exchange, records, account, positions, at_ms)

    def holding(position: Position) -> Holding:
        name = position.product_id
        liquidation, absent = _liquidation(position, positions, account, instruments[name])
        return Holding(
            position,
            instruments[name],
            quotes[name],
            stops.coverage(position, orders),
            explained.get((name, position.slot), unknown),
            None if (found := bounds[name]) is None else found.position_notional,
            None if limits is None else limits.stop_distance_pct,
            liquidation,
            absent,
        )

    return Held(
        account,
        tuple(map(holding, positions)),
        orders,
        exchange.terms,
        exchange.calendar,
        next((found.gross_notional for found in bounds.values() if found is not None), None),
        day,
        None if limits is None else limits.day_loss_warn_pct,
        at_ms,
        desk.clock.monotonic(),
    )


def _liquidation(
    position: Position, positions: tuple[Position, ...], account: Account, instrument: Instrument
) -> tuple[Decimal | None, str | None]:
    """Our estimate for a cross position; what an isolated slot has as its own margin is not told to us."""
    if position.slot is not None:
        return None, "the margin of the slot alone is not read"
    if account.slots_in_use:
        return None, "isolated slots are in use, and the cross account's own equity is not read"
    if position.mark is None:
        return None, "no mark price"
    rates = rates_for(instrument.margin_rates, instrument.base, position.size)
    needed = figures.total(one.maintenance_margin for one in positions if one is not position)
    if needed is None:  # told of the account alone: its dearest window, less what this one takes of it
        whole = dearest(account.measures).maintenance if account.measures else account.maintenance_margin
        needed = max(whole - maintenance_margin(position.size, position.mark, rates), Decimal(0))
    found = liquidation_price(position.size, position.mark, account.equity, needed, rates)
    return found, None if found is not None else "not by this product alone"


def _records(desk: Desk) -> Projections | StateDamaged | None:
    """Our records; None when there are none yet. What is held must be told with a broken journal too."""
    if not (desk.settings.state_dir / "journal.db").exists():
        return None
    try:
        return desk.projections()
    except StateDamaged as why:
        return why


def _explained(
    desk: Desk, projections: Projections, products: tuple[str, ...]
) -> dict[tuple[str, int | None], Explained]:
    """What our records come to for these products, and how many fills since each was last flat."""
    sizes = {(one.product_id, one.slot): one.size for one in projections.positions() if one.product_id in products}
    if not sizes:
        return {}
    made_by = {key: projections.since_flat(*key) for key in sizes}
    return {
        key: Explained(size, len(made_by[key]), _foreign(desk, projections, made_by[key]))
        for key, size in sizes.items()
    }


def _foreign(desk: Desk, projections: Projections, fills: tuple[Fill, ...]) -> int:
    """How many are of orders that carry no identity of ours and that no intent of ours asked for."""

    def answered_for(fill: Fill) -> bool:
        return any(order.request is not None for order in projections.orders_of(fill.order_id))

    return sum(owner(desk, one.identity) == "NOT OURS" and not answered_for(one) for one in fills)


async def _day(
    exchange: Exchange, projections: Projections, account: Account, positions: tuple[Position, ...], at_ms: int
) -> Day | None:
    """From the baseline in our journal; fees and funding as booked, the rest is price."""
    name, start_ms = exchange.calendar.day_name(at_ms), exchange.calendar.day_start_ms(at_ms)
    baseline = projections.baseline(name)
    if baseline is None or baseline.equity <= 0:
        return None
    moved = await since_baseline(exchange, projections, at_ms)
    pnl = account.equity - baseline.equity - (moved.net or 0)
    fees = sum((fill.fee for fill in projections.fills(start_ms)), Decimal(0))
    funding = None
    if exchange.terms.continuous_funding:  # elsewhere no payment is told, and none is booked
        paid = sum((one.amount for one in projections.funding(start_ms + 1)), Decimal(0))
        funding = paid + sum((one.funding or Decimal(0) for one in positions), Decimal(0))
    return Day(pnl, pnl / baseline.equity * 100, -fees, funding, pnl + fees - (funding or 0), moved)


async def _as_the_journal_has_it(desk: Desk) -> Answer:
    held = [one for one in desk.projections().positions() if one.size != 0]
    rows = tuple(
        Row(
            {
                "product": one.product_id if one.slot is None else f"{one.product_id} iso {one.slot}",
                "size": f"{one.size.normalize():+f} {figures.coin_of(one.product_id)}",
                "entry": "?" if one.entry_price is None else f"{one.entry_price:,.2f}",
            }
        )
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
