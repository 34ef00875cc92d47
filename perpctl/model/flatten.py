"""This file decides how to get flat: from a listing to the next cancels and closes, and whether flat is proven.

Standard library only and pure: kill, cancel-all and close-all follow it alike. What rests is sorted into entries (they
go first), protective stops (they stay until their position reads zero) and the rest; positions are closed so that the
net delta of an underlying never rises on the way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from perpctl.model.money import ZERO, floor_to, price_down, price_up
from perpctl.model.order import Order, OrderType, Side, is_protective
from perpctl.model.position import Position

Key = tuple[str, int | None]
"""A product in a slot (None: cross). Positions of one product in two slots do not offset each other at the venue."""

LADDER: tuple[Decimal | None, ...] = (Decimal("0.0010"), Decimal("0.0030"), Decimal("0.0075"), None)
"""Fractions through the touch, round by round; None is the venue's own close at market, which ends at its band."""

TRIES_A_RUNG = 2
PRODUCTS_AT_ONCE = 4
PAIR_SLICES = 4
_STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP})


def key_of(item: Order | Position | Close) -> Key:
    """Where an order or position stands."""
    return (item.product_id, item.slot)


# --- what stands -----------------------------------------------------------------------------------------------------


class Standing(NamedTuple):
    """One listing, sorted. `orphans` are reduce-only stops whose position reads zero: harmless, cancelled last."""

    limits: tuple[Order, ...]  # a mass cancel of type limit reaches these
    triggers: tuple[Order, ...]  # entries that wait for a price: by id only
    stops: tuple[Order, ...]
    orphans: tuple[Order, ...]
    liquidations: tuple[Order, ...]  # the venue's own: nobody else can cancel them
    positions: tuple[Position, ...]

    @property
    def entries(self) -> tuple[Order, ...]:
        """Everything that could open or change a position and protects none."""
        return self.limits + self.triggers

    @property
    def is_flat(self) -> bool:
        """Whether this one listing shows nothing at all; a proof takes several."""
        return not (self.entries or self.stops or self.orphans or self.liquidations or self.positions)


def sort_standing(orders: Iterable[Order], positions: Iterable[Position]) -> Standing:
    """Sort what a listing shows; terminal orders and positions of zero are left out."""
    held = tuple(position for position in positions if position.size != 0)
    sizes = {key_of(position): position.size for position in held}
    sorted_orders: dict[str, list[Order]] = {"limits": [], "triggers": [], "stops": [], "orphans": [], "forced": []}
    for order in orders:
        if not order.status.is_terminal:
            sorted_orders[_kind(order, sizes.get(key_of(order), ZERO))].append(order)
    limits, triggers, stops, orphans, forced = (tuple(found) for found in sorted_orders.values())
    return Standing(limits, triggers, stops, orphans, forced, held)


def _kind(order: Order, size: Decimal) -> str:
    if order.origin == "liquidation":
        return "forced"
    if is_protective(order, size):
        return "stops"
    if order.type in _STOPS and order.reduce_only and size == 0:
        return "orphans"
    return "triggers" if order.is_trigger else "limits"


# --- closing ---------------------------------------------------------------------------------------------------------


class Market(NamedTuple):
    """What a close must know of a product; None where unknown, and then nothing is sized or priced from it."""

    product_id: str
    underlying: str
    tick: Decimal | None
    size_step: Decimal | None
    bid: Decimal | None
    ask: Decimal | None
    band_low: Decimal | None
    band_high: Decimal | None


class Close(NamedTuple):
    """The next close of one position, reduce-only. Price None: at market; size None as well: the venue's own close."""

    product_id: str
    slot: int | None
    side: Side
    size: Decimal | None
    price: Decimal | None

    @property
    def at_market(self) -> bool:
        return self.price is None


class Climb(NamedTuple):
    """How far up the ladder a position is."""

    rung: int = 0
    tries: int = 0

    def after(self, filled: Decimal) -> Climb:
        """Two tries a rung, but only one when nothing was filled."""
        if filled > 0 and self.tries + 1 < TRIES_A_RUNG:
            return Climb(self.rung, self.tries + 1)
        return Climb(self.rung + 1)


def ladder(
    max_slippage: Decimal | None = None, *, at_market: bool = False, whole: tuple[Decimal | None, ...] = LADDER
) -> tuple[Decimal | None, ...]:
    """The rungs in force of the `whole` ladder. `max_slippage` (a fraction) ends it there, without the market round."""
    if max_slippage is not None:
        gentler = tuple(rung for rung in whole if rung is not None and rung < max_slippage)
        return (*gentler, max_slippage)
    return whole[-1:] if at_market else whole


def is_exhausted(climb: Climb, rungs: Sequence[Decimal | None]) -> bool:
    """Whether the ladder ended below the market: what still stands needs a human or a wider bound."""
    return climb.rung >= len(rungs) and rungs[-1] is not None


def next_closes(
    positions: Sequence[Position],
    markets: Mapping[str, Market],
    climbs: Mapping[Key, Climb],
    rungs: Sequence[Decimal | None],
    start: Mapping[Key, Decimal],
) -> tuple[Close, ...]:
    """The closes to send now, at most one a position; ask again when each has its outcome.

    `start` holds the sizes when closing began: opposite positions of one underlying shrink together, a quarter of
    that at a time, after whatever one side has in excess. Otherwise what frees most margin goes first.
    """
    open_for_us = [
        position
        for position in positions
        if position.size != 0 and not is_exhausted(climbs.get(key_of(position), Climb()), rungs)
    ]
    chosen: list[Close] = []
    for group in _groups(open_for_us, markets):
        wave = [
            _close(position, size, markets.get(position.product_id), climbs.get(key_of(position), Climb()), rungs)
            for position, size in _shares(group, markets, start)
        ]
        if chosen and len(chosen) + len(wave) > PRODUCTS_AT_ONCE:
            break
        chosen += wave[:PRODUCTS_AT_ONCE]
    return tuple(chosen)


def _groups(positions: Sequence[Position], markets: Mapping[str, Market]) -> list[list[Position]]:
    """By underlying, the one that frees most margin first."""

    def underlying(position: Position) -> str:
        market = markets.get(position.product_id)
        return market.underlying if market else position.product_id

    ordered = sorted(positions, key=lambda position: (underlying(position), -_freed(position)))
    groups = [list(group) for _, group in groupby(ordered, key=underlying)]
    return sorted(groups, key=lambda group: -sum(_freed(position) for position in group))


def _freed(position: Position) -> Decimal:
    """What closing frees: margin where the venue tells it, else notional stands in."""
    return position.initial_margin if position.initial_margin is not None else abs(position.notional or ZERO)


def _shares(
    group: Sequence[Position], markets: Mapping[str, Market], start: Mapping[Key, Decimal]
) -> list[tuple[Position, Decimal | None]]:
    """How much of each position of one underlying to close now; None: all of it, by the venue's own close."""
    unsized = [position for position in group if not _can_be_sized(position, markets)]
    sized = [position for position in group if _can_be_sized(position, markets)]
    longs = [position for position in sized if position.size > 0]
    shorts = [position for position in sized if position.size < 0]
    if unsized or not longs or not shorts:
        return [(position, abs(position.size)) for position in sized] + [(position, None) for position in unsized]
    excess = sum((position.size for position in sized), ZERO)
    if one_sided := _from_one_side(longs if excess > 0 else shorts, abs(excess), markets):
        return one_sided
    long, short = longs[0], shorts[0]
    together = min(abs(long.size), abs(short.size))
    slice_size = max(abs(start.get(key_of(each), each.size)) / PAIR_SLICES for each in (long, short))
    steps = [markets[each.product_id].size_step or ZERO for each in (long, short)]
    share = floor_to(min(together, max(slice_size, *steps)), max(steps)) or together
    return [(long, share), (short, share)]


def _from_one_side(
    side: Sequence[Position], amount: Decimal, markets: Mapping[str, Market]
) -> list[tuple[Position, Decimal | None]]:
    """`amount` spread over one side in whole steps; empty when it is less than one."""
    shares: list[tuple[Position, Decimal | None]] = []
    for position in side:
        share = floor_to(min(abs(position.size), amount), markets[position.product_id].size_step or amount)
        if share > 0:
            shares.append((position, share))
            amount -= share
    return shares


def _can_be_sized(position: Position, markets: Mapping[str, Market]) -> bool:
    market = markets.get(position.product_id)
    step = market.size_step if market else None
    return position.units_agree and step is not None and step > 0 and floor_to(position.size, step) != 0


def _close(
    position: Position, size: Decimal | None, market: Market | None, climb: Climb, rungs: Sequence[Decimal | None]
) -> Close:
    side = Side.SELL if position.size > 0 else Side.BUY
    slippage = rungs[min(climb.rung, len(rungs) - 1)]
    price = None if slippage is None or market is None else through_touch(side, slippage, market)
    step = market.size_step if market else None
    sent = ZERO if size is None or step is None else floor_to(size, step)
    if sent == 0 or (price is None and size == abs(position.size)):
        return Close(position.product_id, position.slot, side, None, None)
    return Close(position.product_id, position.slot, side, sent, price)


def through_touch(side: Side, slippage: Decimal, market: Market) -> Decimal | None:
    """A limit price `slippage` (a fraction) beyond the touch, on the tick and inside the venue's band.

    None when the side of the book that would fill it is empty or the tick is unknown.
    """
    touch = market.bid if side is Side.SELL else market.ask
    if touch is None or touch <= 0 or market.tick is None:
        return None
    if side is Side.SELL:
        return max(price_up(touch * (1 - slippage), market.tick), price_up(market.band_low or ZERO, market.tick))
    price = price_down(touch * (1 + slippage), market.tick)
    return price if market.band_high is None else min(price, price_down(market.band_high, market.tick))


# --- the proof -------------------------------------------------------------------------------------------------------

READS_APART_S = 1.0


class Apart(NamedTuple):
    """How far apart, in seconds, agreeing reads must stand."""

    orders_s: float = READS_APART_S
    positions_s: float = READS_APART_S


ONE_SECOND = Apart()
_DAY_MS = 86_400_000
Blind = tuple[tuple[int, int], ...]
SETTLEMENT: Blind = ((8 * 3_600_000 - 5_000, 8 * 3_600_000 + 15_000),)
"""From and to, in ms of the UTC day: reads around the daily settlement prove nothing."""


class Read(NamedTuple):
    """One fresh read that was answered. `at_s` monotonic, when it was sent; `market_ms` the venue's clock then.

    `kind`: orders, positions or margin. `empty`: it showed nothing in scope (margin: nothing in use). `current`: it
    came with our own last order state and fill; a read that lacks them is old, however fresh its arrival.
    `blind`: when reads at its venue prove nothing.
    """

    kind: str
    at_s: float
    market_ms: int
    empty: bool
    pinned: bool
    current: bool
    blind: Blind = SETTLEMENT

    @property
    def counts(self) -> bool:
        return self.pinned and self.current and not is_blind(self.market_ms, self.blind)


class Proof(NamedTuple):
    """Whether flat is proven; `lacking` says what is still missing, `reads` which reads proved it."""

    flat: bool
    lacking: tuple[str, ...]
    reads: tuple[Read, ...]


def is_blind(market_ms: int, blind: Blind) -> bool:
    """Whether the venue's clock stands where reads prove nothing."""
    return any(start <= market_ms % _DAY_MS <= end for start, end in blind)


def prove_flat(reads: Sequence[Read], *, since_s: float, margin: bool = True, apart: Apart = ONE_SECOND) -> Proof:
    """Flat needs two empty order listings and two empty position reads, each so far `apart`, and zero margin in use.

    Only reads sent after `since_s` (our last act) and after the last read that showed anything count.
    """
    fresh = _after_last_sight(sorted((read for read in reads if read.at_s >= since_s), key=lambda read: read.at_s))
    lacking = []
    for kind, needed in (("orders", 2), ("positions", 2), ("margin", 1 if margin else 0)):
        if (found := _spaced(fresh, kind, apart)) < needed:
            lacking.append(f"{kind}: {found} of {needed} reads")
    return Proof(not lacking, tuple(lacking), tuple(fresh))


def prove_no_orders(reads: Sequence[Read], *, since_s: float, apart: Apart = ONE_SECOND) -> Proof:
    """No orders needs two empty listings so far `apart`, sent after `since_s`."""
    listings = sorted((read for read in reads if read.kind == "orders" and read.at_s >= since_s), key=_sent)
    fresh = _after_last_sight(listings)
    found = _spaced(fresh, "orders", apart)
    return Proof(found >= 2, () if found >= 2 else (f"orders: {found} of 2 reads",), tuple(fresh))


def prove_no_positions(reads: Sequence[Read], *, since_s: float) -> Proof:
    """No positions needs two empty position reads a second apart and zero margin in use from a second endpoint.

    Resting entries hold margin, so they keep this from being proven; protective stops hold none.
    """
    fresh = _after_last_sight(sorted((read for read in reads if read.at_s >= since_s), key=_sent))
    counts = {kind: (_spaced(fresh, kind, ONE_SECOND), needed) for kind, needed in (("positions", 2), ("margin", 1))}
    lacking = tuple(f"{kind}: {found} of {needed} reads" for kind, (found, needed) in counts.items() if found < needed)
    return Proof(not lacking, lacking, tuple(fresh))


def _sent(read: Read) -> float:
    return read.at_s


def _after_last_sight(reads: Sequence[Read]) -> list[Read]:
    """The reads after the last one that saw something, whatever else is wrong with it."""
    last = max((index for index, read in enumerate(reads) if not read.empty), default=-1)
    return [read for read in reads[last + 1 :] if read.counts]


def _spaced(reads: Sequence[Read], kind: str, apart: Apart) -> int:
    """How many reads of a kind stand far enough apart."""
    count, last = 0, float("-inf")
    needed = apart.orders_s if kind == "orders" else apart.positions_s
    for read in reads:
        if read.kind == kind and read.at_s - last >= needed:
            count, last = count + 1, read.at_s
    return count
