"""This file matches by price and time: our resting orders among an outside ladder that each tick renews."""

from bisect import insort
from collections.abc import Callable
from decimal import Decimal
from itertools import takewhile
from operator import attrgetter

from msgspec import Struct, field

from perpctl.paper.types import BookView, Direction, Level, Order, Tick

ZERO = Decimal(0)
LEVEL_NOTIONAL = 50_000  # quote currency; a level of the outside ladder holds up to this, deeper ones more
FIRST_CHANGE_ID = 198_172_213_719


class Resting(Struct):
    """An order of ours in the book. `ahead` is the outside amount at its price that came first."""

    order_id: str
    account_id: int
    price: Decimal
    remaining: Decimal
    ahead: Decimal
    grows: bool = True  # not reduce-only: its fill may make the position larger, so that it binds margin


class Offer(Struct, frozen=True):
    """The best thing a taker can hit now; `maker` None is the outside."""

    price: Decimal
    amount: Decimal
    maker: Resting | None


class Growing(Struct):
    """How much of an account's orders in a book may make its position larger."""

    buys: Decimal = ZERO
    sells: Decimal = ZERO


NOTHING = Growing()
_FROM_BEST: dict[int, Callable[[Resting], Decimal]] = {1: lambda own: -own.price, -1: attrgetter("price")}  # by sign


class Side(Struct):
    """One side, best first. `sign` is +1 for bids, -1 for asks; `levels` None until somebody looks at the ladder."""

    sign: int
    best: Decimal = ZERO
    best_amount: Decimal = ZERO
    levels: list[tuple[Decimal, Decimal]] | None = None
    resting: list[Resting] = []

    @property
    def top(self) -> tuple[Decimal, Decimal] | None:
        """The best outside level."""
        if self.levels is None:
            return (self.best, self.best_amount) if self.best_amount else None
        return self.levels[0] if self.levels else None

    def is_better(self, price: Decimal, other: Decimal) -> bool:
        """Whether a maker at `price` is hit before one at `other`."""
        return price > other if self.sign > 0 else price < other


class Book(Struct):
    """A product's book. `change_id` grows with every change; `told_id` is the last one announced."""

    tick_size: Decimal
    step: Decimal
    depth: int
    bids: Side = field(default_factory=lambda: Side(1))
    asks: Side = field(default_factory=lambda: Side(-1))
    seed: int = 0
    change_id: int = FIRST_CHANGE_ID
    told_id: int = FIRST_CHANGE_ID
    growing: dict[int, Growing] = {}  # by account: counted as orders come and go, for each order's margin asks

    def __post_init__(self) -> None:
        if not self.growing:  # a state that was kept before this was counted
            self._recount()

    def _recount(self) -> None:
        self.growing = {}
        for side in (self.bids, self.asks):
            for own in side.resting:
                self._count(side, own, own.remaining)

    def _count(self, side: Side, own: Resting, change: Decimal) -> None:
        if not own.grows:
            return
        counted = self.growing.get(own.account_id)
        if counted is None:
            counted = self.growing[own.account_id] = Growing()
        if side.sign > 0:
            counted.buys += change
        else:
            counted.sells += change

    def makers(self, taker: Direction) -> Side:
        """The side that a taker hits."""
        return self.asks if taker == "buy" else self.bids

    def side_of(self, order: Order) -> Side:
        """The side that an order rests on."""
        return self.bids if order.direction == "buy" else self.asks

    def renew(self, tick: Tick) -> None:
        """Replace the outside ladder by that of the tick."""
        if tick.keeps_book:
            return
        self.seed = tick.at_ms
        self.change_id += 1
        if tick.ladder is None:
            _renew_side(self.bids, tick.bid, tick.bid_amount)
            _renew_side(self.asks, tick.ask, tick.ask_amount)
        else:
            _show_side(self.bids, tick.ladder.bids)
            _show_side(self.asks, tick.ladder.asks)

    def outside(self, side: Side) -> list[tuple[Decimal, Decimal]]:
        """The outside ladder of a side, made when first looked at: deterministic from the tick."""
        if side.levels is None:
            side.levels = _ladder(self, side) if side.best_amount else []
        return side.levels

    def best_offer(self, side: Side, limit: Decimal) -> Offer | None:
        """What a taker with that limit hits next: better price first, then the outside that came before, then us."""
        own, top = side.resting[0] if side.resting else None, side.top
        if own and (top is None or not side.is_better(top[0], own.price)):
            if top is None or top[0] != own.price or not own.ahead:
                return None if side.is_better(limit, own.price) else Offer(own.price, own.remaining, own)
            return _offer(side, limit, own.price, min(own.ahead, top[1]))
        return _offer(side, limit, *top) if top else None

    def take_outside(self, side: Side, amount: Decimal) -> None:
        """Remove `amount` from the best outside level; who stood behind it moves up."""
        levels = self.outside(side)
        price, there = levels[0]
        left = there - amount
        if left > 0:
            levels[0] = (price, left)
        else:
            del levels[0]
        for own in side.resting:
            if own.price == price:
                own.ahead = max(ZERO, own.ahead - amount) if left > 0 else ZERO
        self.change_id += 1

    def available(self, side: Side, limit: Decimal, account_id: int) -> Decimal:
        """How much a taker with that limit could get, its own account's orders left out."""
        outside = sum((a for p, a in self.outside(side) if not side.is_better(limit, p)), ZERO)
        reached = takewhile(lambda r: not side.is_better(limit, r.price), side.resting)  # best first
        return outside + sum((r.remaining for r in reached if r.account_id != account_id), ZERO)

    def best_price(self, side: Side) -> Decimal | None:
        """The best price of a side, ours included."""
        outside = side.top[0] if side.top else None
        own = side.resting[0].price if side.resting else None
        if own is None or outside is None:
            return own if outside is None else outside
        return own if side.is_better(own, outside) else outside

    def best_level(self, side: Side) -> Level | None:
        """The best price of a side and all that is there, ours included."""
        price = self.best_price(side)
        if price is None:
            return None
        outside = side.top[1] if side.top and side.top[0] == price else ZERO
        return price, outside + sum((own.remaining for own in side.resting if own.price == price), ZERO)

    def rest(self, order: Order) -> None:
        """Queue an order behind everything at its price."""
        side, price = self.side_of(order), order.price or ZERO
        ahead = self._queue_ahead(side, price)
        own = Resting(order.order_id, order.account_id, price, order.remaining, ahead, not order.reduce_only)
        insort(side.resting, own, key=_FROM_BEST[side.sign])
        self._count(side, own, own.remaining)
        self.change_id += 1

    def restore(self, side: Side, resting: list[Resting]) -> None:
        """Have these rest on a side, as they did before."""
        side.resting = resting
        self._recount()

    def _queue_ahead(self, side: Side, price: Decimal) -> Decimal:
        top = side.top
        if top is None or side.is_better(price, top[0]):
            return ZERO
        levels = self.outside(side)
        if side.is_better(levels[-1][0], price):
            return levels[-1][1]  # beyond what is shown: as if somebody were there
        return next((amount for there, amount in levels if there == price), ZERO)

    def find(self, side: Side, order_id: str) -> Resting | None:
        """Our resting order of that id."""
        place = _place_of(side, order_id)
        return None if place is None else side.resting[place]

    def reduce(self, order: Order, amount: Decimal) -> None:
        """Take `amount` off a resting order; it keeps its place, or leaves when nothing remains."""
        side = self.side_of(order)
        place = _place_of(side, order.order_id)
        if place is None:
            return
        own = side.resting[place]
        own.remaining -= amount
        self._count(side, own, -amount)
        if own.remaining <= 0:
            del side.resting[place]
        self.change_id += 1

    def remove(self, order: Order) -> None:
        """Take a resting order out."""
        side = self.side_of(order)
        place = _place_of(side, order.order_id)
        if place is not None:
            own = side.resting.pop(place)
            self._count(side, own, -own.remaining)
        self.change_id += 1

    def next_crossed(self, taker: Direction) -> tuple[Resting, Decimal] | None:
        """Our resting order that the renewed outside runs into, with how much of it, taken off the outside.

        An outside price beyond ours fills us whole; the same price gives what it offers.
        """
        side, other = (self.asks, self.bids) if taker == "buy" else (self.bids, self.asks)
        if not side.resting or other.top is None or side.is_better(other.top[0], side.resting[0].price):
            return None
        own, (best, there) = side.resting[0], other.top
        amount = own.remaining if best != own.price else min(own.remaining, there)
        self._consume(other, own.price, amount)
        return own, amount

    def _consume(self, side: Side, price: Decimal, amount: Decimal) -> None:
        levels = self.outside(side)
        while amount > 0 and levels and not side.is_better(price, levels[0][0]):
            part = min(amount, levels[0][1])
            self.take_outside(side, part)
            amount -= part

    def printed(self, side: Side, price: Decimal, amount: Decimal) -> list[tuple[str, Decimal]]:
        """Which orders of ours an outside trade fills, and how much of each.

        Whole when the trade was beyond their price; at their price after those who were there before.
        """
        hits: list[tuple[str, Decimal]] = []
        passed = ZERO
        for own in side.resting:
            if side.is_better(own.price, price):
                hits.append((own.order_id, own.remaining))
                continue
            if own.price != price:
                break
            step = min(max(own.ahead - passed, ZERO), amount)
            passed, amount = passed + step, amount - step
            if amount > 0:
                hits.append((own.order_id, min(amount, own.remaining)))
                amount -= min(amount, own.remaining)
            own.ahead = max(ZERO, own.ahead - passed)
        return hits

    def levels(self, side: Side, depth: int) -> tuple[Level, ...]:
        """The best levels, ours and the outside's together."""
        total: dict[Decimal, Decimal] = dict(self.outside(side))
        for own in side.resting:
            total[own.price] = total.get(own.price, ZERO) + own.remaining
        return tuple(sorted(total.items(), reverse=side.sign > 0)[:depth])


class BookDelta(Struct, frozen=True):
    """What turns one view of a book into a later one: ("new"|"change"|"delete", price, amount) rows."""

    product: str
    prev_change_id: int
    change_id: int
    at_ms: int
    bids: tuple[tuple[str, Decimal, Decimal], ...]
    asks: tuple[tuple[str, Decimal, Decimal], ...]


def delta(old: BookView, new: BookView) -> BookDelta:
    """What turns one whole view of a book into a later one, as the book channel words it."""
    bids, asks = _rows(dict(old.bids), dict(new.bids)), _rows(dict(old.asks), dict(new.asks))
    return BookDelta(new.product, old.change_id, new.change_id, new.at_ms, bids, asks)


def _rows(old: dict[Decimal, Decimal], new: dict[Decimal, Decimal]) -> tuple[tuple[str, Decimal, Decimal], ...]:
    gone = [("delete", price, ZERO) for price in old if price not in new]
    kept = [
        ("change" if price in old else "new", price, amount)
        for price, amount in new.items()
        if old.get(price) != amount
    ]
    return (*gone, *kept)


def _place_of(side: Side, order_id: str) -> int | None:
    for place, own in enumerate(side.resting):
        if own.order_id == order_id:
            return place
    return None


def _offer(side: Side, limit: Decimal, price: Decimal, amount: Decimal) -> Offer | None:
    return None if side.is_better(limit, price) else Offer(price, amount, None)


def _renew_side(side: Side, best: Decimal, amount: Decimal) -> None:
    side.best, side.best_amount, side.levels = best, amount, None
    for own in side.resting:
        if own.price == best:
            own.ahead = min(own.ahead, amount)
        elif side.is_better(own.price, best):
            own.ahead = ZERO
        else:
            break


def _show_side(side: Side, levels: tuple[Level, ...]) -> None:
    """Take a side as it was seen. Where nobody is seen, nobody is ahead; beyond the last level nothing is known."""
    side.levels = list(levels)
    side.best, side.best_amount = levels[0] if levels else (ZERO, ZERO)
    if not side.resting:
        return
    there = dict(levels)
    for own in side.resting:
        if not levels or not side.is_better(levels[-1][0], own.price):
            own.ahead = min(own.ahead, there.get(own.price, ZERO))


def _ladder(book: Book, side: Side) -> list[tuple[Decimal, Decimal]]:
    price, away = side.best, -side.sign * book.tick_size
    most = int(LEVEL_NOTIONAL / (price * book.step)) + 1
    levels = [(price, side.best_amount)]
    noise = book.seed * 2 + (side.sign > 0)
    for level in range(1, book.depth):
        noise = (noise * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        price += away * (1 + (noise >> 33) % 5)
        levels.append((price, book.step * (1 + (noise >> 40) % most * (level + 4) // 4)))
    return levels
