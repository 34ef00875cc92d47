"""This file answers how much margin is used and how far liquidation is: now, in the dearest window, after a move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.errors import ExitCode, UnknownState, UsageError
from perpctl.model.exposure import liquidation_distance_pct, liquidation_price
from perpctl.model.money import parse_decimal
from perpctl.model.position import Account
from perpctl.model.venue import margin
from perpctl.model.venue.calendar import DAY_MS, Happening, Kind, VenueCalendar
from perpctl.model.venue.margin import Balance, MarginMeasure, Part
from perpctl.model.venue.moment import Moment
from perpctl.questions.held import positions
from perpctl.questions.limits import limits_of
from perpctl.questions.venue import margin_facts, margin_screen
from perpctl.results import Answer

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.questions.held.positions import Holding

SLOTS = "isolated slots are in use: each has margin of its own, which is not told"


@dataclass(frozen=True, slots=True)
class Window:
    """One margin window: what it asks, and when it next begins; `begins_ms` None: the calendar does not say."""

    balance: Balance
    in_force: bool
    begins_ms: int | None
    liquidation_move: Decimal | None  # of all prices together, a fraction; None: none within 100 %, or not to be told

    @property
    def name(self) -> str | None:
        return self.balance.measure.window


@dataclass(frozen=True, slots=True)
class Exposed:
    """One position as margin sees it; `liquidation` with whose figure it is, or why there is none."""

    holding: Holding
    part: Part  # in the window in force
    liquidation: Decimal | None
    told: bool
    absent: str | None
    distance_pct: Decimal | None


@dataclass(frozen=True, slots=True)
class Margins:
    """All that one answer says; `limit_pct` None: no risk level is set."""

    account: Account
    calendar: VenueCalendar
    windows: tuple[Window, ...]
    exposed: tuple[Exposed, ...]
    limit_pct: Decimal | None
    least_distance_pct: Decimal | None
    at_ms: int
    age_s: float
    leaving: tuple[Happening, ...]  # money that the venue says will leave: no margin counts it then

    @property
    def now(self) -> Window:
        return next(one for one in self.windows if one.in_force)

    @property
    def dearest(self) -> Window:
        measure = margin.dearest(one.balance.measure for one in self.windows)
        return next(one for one in self.windows if one.balance.measure is measure)

    @property
    def unknown(self) -> str | None:
        """Why all prices together cannot be judged."""
        if self.account.slots_in_use:
            return SLOTS
        bare = [one.part.product_id for one in self.exposed if one.part.price is None or one.part.maintenance is None]
        return f"no mark price or margin for {', '.join(bare)}" if bare else None


async def show(desk: Desk) -> Answer:
    """Exit 1 when the dearest window asks for more than the level allows, or liquidation has begun."""
    found = await read(desk)
    worst = found.dearest.balance
    return Answer(
        "perpctl.margin/1",
        await desk.scope(),
        margin_facts.facts(found),
        tuple(margin_screen.view(found)),
        _code(worst, found.limit_pct),
        records="positions",
        standing=desk.standing(source="venue", age_s=found.age_s),
    )


async def read(desk: Desk) -> Margins:
    """Everything about margin, from fresh reads. Raises VenueUnreachable."""
    exchange = await desk.exchange()
    held, status, calendar = await positions.read(desk), await exchange.status(), exchange.calendar
    account, limits = held.account, limits_of(desk)
    measures = account.measures or (MarginMeasure(None, account.initial_margin, account.maintenance_margin),)
    in_force = _in_force(measures, account.margin_window or calendar.margin_window(held.at_ms))
    windows = []
    for measure in measures:
        parts = _parts(held.holdings, measure)
        move = None if account.slots_in_use else margin.move_to_liquidation(Balance(account.equity, measure), parts)
        begins = _begins_ms(calendar, measure.window, held.at_ms)
        windows.append(Window(Balance(account.equity, measure), measure is in_force, begins, move))
    return Margins(
        account,
        calendar,
        tuple(sorted(windows, key=lambda one: not one.in_force)),
        tuple(map(_exposed, held.holdings, _parts(held.holdings, in_force))),
        None if limits is None else limits.max_margin_used_pct,
        None if limits is None else limits.min_liquidation_distance_pct,
        held.at_ms,
        desk.clock.monotonic() - held.read_at,
        tuple(one for one in status.planned if one.kind is Kind.MONEY),
    )


def _in_force(measures: Sequence[MarginMeasure], window: str | None) -> MarginMeasure:
    """The measure of a window by name; a window that this account does not have means the dearest."""
    named = [one for one in measures if one.window == window]
    return named[0] if named else margin.dearest(measures)


def _begins_ms(calendar: VenueCalendar, window: str | None, now_ms: int) -> int | None:
    """When a window next begins by the venue's clock."""
    changes = (one for one in calendar.upcoming(now_ms, now_ms + 14 * DAY_MS) if one.kind is Kind.MARGIN)
    return next((one.start_ms for one in changes if calendar.margin_window(one.start_ms) == window), None)


def _parts(holdings: Sequence[Holding], measure: MarginMeasure) -> tuple[Part, ...]:
    """In a window: by the products' published rates for it, else the venue's own figures."""
    found, by_rates = [], False
    for one in holdings:
        held = one.position
        part = Part(held.product_id, held.size, held.mark, held.initial_margin, held.maintenance_margin)
        rates = next((rates for rates in one.instrument.margin_rates if rates.window == measure.window), None)
        by_rates = by_rates or rates is not None
        found.append(margin.part_in(rates, part))
    return margin.shared_out(found, measure) if by_rates else tuple(found)


def _exposed(one: Holding, part: Part) -> Exposed:
    """With the venue's liquidation price where it gives one, else our estimate."""
    own = one.position.liquidation_price
    price = one.liquidation if own is None else own
    distance = None if one.position.mark is None else liquidation_distance_pct(one.position.mark, price)
    return Exposed(one, part, price, own is not None, one.liquidation_absent, distance)


def _code(balance: Balance, limit_pct: Decimal | None) -> ExitCode:
    return ExitCode.OK if margin_facts.verdict(balance, limit_pct).is_good else ExitCode.NEGATIVE


# --- what if ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Supposed:
    """One position after the move."""

    exposed: Exposed
    move: Decimal
    price: Decimal | None
    gain: Decimal | None
    liquidation: Decimal | None
    distance_pct: Decimal | None


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The account at another price and time; `window` None: this venue has only one."""

    move: Decimal
    at_ms: int
    now: Margins
    before: Balance  # at the window in force then, prices of now
    after: Balance
    moved: tuple[Supposed, ...]


async def what_if(desk: Desk, move: Decimal, at: Moment | None, symbols: tuple[str, ...]) -> Answer:
    """Exit 1 when it would break the level's limit or be liquidated. Raises UnknownState when it cannot be told."""
    found = await read(desk)
    try:
        at_ms = found.at_ms if at is None else at.after_ms(found.at_ms)
    except ValueError as why:
        raise UsageError(
            f"--at: {why}", not_done="nothing was worked out", next_commands=("perpctl margin what-if --help",)
        ) from why
    exchange = await desk.exchange()
    meant = {(await exchange.instrument(symbol)).product_id for symbol in symbols}
    supposed = _suppose(found, move, at_ms, meant)
    return Answer(
        "perpctl.margin.what_if/1",
        await desk.scope(),
        margin_facts.supposed_facts(supposed),
        tuple(margin_screen.supposed_view(supposed)),
        _code(supposed.after, found.limit_pct),
        records="positions",
        standing=desk.standing(source="venue", age_s=found.age_s),
    )


def _suppose(found: Margins, move: Decimal, at_ms: int, meant: set[str]) -> WhatIf:
    """The account after a move, in the window of that time. Isolated slots are counted with the account."""
    measure = _in_force(
        [one.balance.measure for one in found.windows],
        found.now.name if at_ms == found.at_ms else found.calendar.margin_window(at_ms),
    )
    before = Balance(found.account.equity, measure)
    parts = _parts([one.holding for one in found.exposed], measure)
    moves = [move if not meant or one.product_id in meant else Decimal(0) for one in parts]
    after = margin.after_move(before, parts, moves)
    if after is None:
        raise UnknownState(
            f"what would be after it cannot be told: {found.unknown}",
            not_done="nothing was worked out",
            next_commands=("perpctl positions", "perpctl market status"),
        )
    moved = tuple(
        _supposed(found, one, part, by, after) for one, part, by in zip(found.exposed, parts, moves, strict=True)
    )
    return WhatIf(move, at_ms, found, before, after, moved)


def _supposed(found: Margins, one: Exposed, part: Part, move: Decimal, after: Balance) -> Supposed:
    if part.price is None or part.notional is None:
        return Supposed(one, move, None, None, None, None)
    price, liquidation = part.price * (1 + move), None
    if not found.account.slots_in_use and part.maintenance is not None:
        others = max(after.measure.maintenance - part.maintenance * (1 + move), Decimal(0))
        rates = margin.rates_for(one.holding.instrument.margin_rates, one.holding.instrument.base, part.size)
        liquidation = liquidation_price(part.size, price, after.equity, others, rates)
    return Supposed(
        one, move, price, part.notional * move + 0, liquidation, liquidation_distance_pct(price, liquidation)
    )


def parse_move(text: str) -> Decimal:
    """`-10%` as a fraction. Raises UsageError in words."""
    number = text.strip().removesuffix("%").strip()
    try:
        percent = parse_decimal(number)
    except ValueError:
        percent = None
    if not text.strip().endswith("%") or percent is None:
        raise _no_move(f"--move {text!r} is no percentage")
    if not Decimal(-100) < percent <= Decimal(1000):
        raise _no_move(f"--move {text!r} is no move of a price: above -100 %, at most 1000 %")
    return percent / 100


def _no_move(words: str) -> UsageError:
    return UsageError(
        f"{words}; write a change with its sign: -10% or +5%",
        not_done="nothing was read",
        next_commands=("perpctl margin what-if --move -10%",),
    )
