"""This file closes where no order can be made reduce-only: what is sent is capped, and has an identity that repeats.

Two things keep a close from turning the position. Its size is what the position can be at least, by reads that may be
old and fills that are not (`model.books.whereabouts`), less what rests on the same side. Its identity is made of the
close before it: whoever does not know the newest close yet gets that one back instead of a second one.

One contract goes first and proves that closing works. Then the product's stop is cancelled and read ended, and the
rest is closed, at market and never more than stands near the touch. Whatever goes wrong, the stop is put back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import NamedTuple

from perpctl.emergency.closing.closer import Closer, Round, Wish, near_liquidation
from perpctl.emergency.closing.stops import Stops, mark
from perpctl.emergency.pending import Record
from perpctl.emergency.venue.port import Book, CappedVenue, Listing, Meaning, Said, market_of
from perpctl.emergency.venue.wire import NoAnswer
from perpctl.emergency.world import World
from perpctl.errors import PerpctlError
from perpctl.model.books.whereabouts import Move, Whereabouts
from perpctl.model.fill import Fill
from perpctl.model.flatten import Climb, Close, Standing, is_exhausted, key_of, next_closes
from perpctl.model.money import ZERO, floor_to
from perpctl.model.order import Order, Side
from perpctl.model.position import Position

CLOCKS_APART_S = 5.0  # ours and the venue's, before its clock was measured
NEVER_CAME_S = 65.0  # by then an order that is not listed never arrived
ALL_AT_MARKET: tuple[Decimal | None, ...] = (None,)


@dataclass(slots=True)
class Run:
    """The closing of one product, in base coin."""

    held: Whereabouts
    step: Decimal  # one contract
    closes: dict[str, Order]  # of any kill, by id; each came after the one before it had ended
    proved: bool = False  # a close was filled
    stops_first: bool = False  # a resting order holds the position: nothing closes before it is gone
    climb: Climb = field(default_factory=Climb)

    @property
    def side(self) -> Side:
        return Side.SELL if self.held.most > 0 else Side.BUY

    @property
    def left(self) -> Decimal:
        return abs(self.held.most)

    @property
    def last_close(self) -> Order | None:
        return max(self.closes.values(), key=lambda one: (one.created_ms, one.order_id), default=None)


class Sight(NamedTuple):
    """Signed positions by product, as read by a request that was sent at `asked_ms`, the venue's clock."""

    sizes: Mapping[str, Decimal]
    asked_ms: int


class Task(NamedTuple):
    """What one round may do about one position: close at most `size` of it."""

    run: Run
    position: Position
    size: Decimal
    stops: tuple[Order, ...]
    rungs: tuple[Decimal | None, ...]


class Flight(NamedTuple):
    """A close on its way; `first`: the one contract that only proves."""

    run: Run
    close: Close
    sent_at: float
    first: bool


class CappedCloser(Closer[CappedVenue]):
    """Closes with orders that would open the other side if they were too large."""

    def __init__(self, record: Record, wish: Wish, after: Callable[[], float], world: World) -> None:
        super().__init__(record, wish, after, world)
        self._runs: dict[str, Run] = {}  # by product: there are no slots here
        self._read: Sight | None = None
        self._looks = 0
        self._since_ms = 0
        self._waits: dict[str, str] = {}
        self._flights: dict[str, Flight] = {}
        self._moved: set[str] = set()  # products of which this round closed something
        self._untold: dict[str, tuple[Close, Order]] = {}  # closes whose fills are not all read yet, by order
        self._stops = Stops(record, world, self.note_refusal)

    # -- what is so

    def see(self, venue: CappedVenue, listing: Listing, asked_ms: int) -> None:
        """Keep what a look showed; what it means is learned when it is needed."""
        self._looks += 1
        self._since_ms = self._since_ms or asked_ms - _lag_ms(venue)
        self._read = Sight({one.product_id: one.size for one in listing.positions}, asked_ms)

    def _learn(self, venue: CappedVenue) -> None:
        """What each position can be, from the last look and from all that was filled since before the first."""
        read, self._read = self._read, None
        if read is None:
            return
        lately = venue.lately(self._since_ms)
        told_ms = venue.market_ms()
        for name in sorted({*read.sizes, *self._runs, *(fill.product_id for fill in lately.fills)}):
            if name not in self._runs:
                before = venue.last_close(name)
                known = {} if before is None else {before.order_id: before}
                self._runs[name] = Run(Whereabouts(_lag_ms(venue)), venue.product(name).size_step, known)
            run = self._runs[name]
            run.closes |= {close.order_id: close for close in lately.closes if close.product_id == name}
            moves = [_move(fill) for fill in lately.fills if fill.product_id == name]
            run.held.see(read.sizes.get(name, ZERO), read.asked_ms, moves, told_ms)
            if (why := self._not_told(run, lately.fills)) is not None:
                self._waits[name] = f"{name}: {why}"
            else:
                self._waits.pop(name, None)

    def _not_told(self, run: Run, fills: Sequence[Fill]) -> str | None:
        """Why this product cannot be counted with yet: a close on its way, or fills that are not shown in full."""
        for close in run.closes.values():
            if not close.status.is_terminal:
                return f"close {close.order_id} is on its way"
            told = sum((fill.size for fill in fills if fill.order_id == close.order_id), ZERO)
            if close.created_ms >= self._since_ms and told < close.filled:
                return f"fills of close {close.order_id} are not shown in full"
        return None

    # -- a round

    def close_some(self, venue: CappedVenue, standing: Standing) -> Round:
        """One round: what may be sent of each position, then the closes, all at once, one a product."""
        self.meet(standing.positions)
        self.locked = self.shut = False
        self._learn(venue)
        rungs = ALL_AT_MARKET if near_liquidation(venue, standing.positions) else self.rungs
        allowed = {one.product_id: self._allowed(one, standing) for one in standing.positions}
        ready = [
            replace(position, size=allowed[position.product_id].copy_sign(position.size))
            for position in standing.positions
            if allowed[position.product_id] > 0 and not is_exhausted(self._run(position).climb, rungs)
        ]
        self._moved.clear()
        outcomes = self._world.at_once(
            [partial(self._carry_out, venue, task) for task in self._tasks(venue, ready, standing, rungs)]
        )
        self._put_back(venue, [name for name in self._runs if name not in self._moved])
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        ended = sum(1 for position in standing.positions if is_exhausted(self._run(position).climb, rungs))
        sent = sum(1 for outcome in outcomes if outcome is True)
        waits = {self._waits[name] for name in allowed if name in self._waits}
        return Round(sent, bool(self._moved), tuple(sorted(waits)), ended)

    def stand_by(self, venue: CappedVenue, standing: Standing) -> None:
        """No close goes now: what we cancelled of their protection is put back."""
        self._put_back(venue, list(self._runs))

    def _tasks(
        self, venue: CappedVenue, ready: Sequence[Position], standing: Standing, rungs: tuple[Decimal | None, ...]
    ) -> list[Task]:
        """Shares of opposite positions in one underlying are alike; of the rest all, most margin first."""
        markets = {one.product_id: market_of(one.product_id, venue.product(one.product_id), None) for one in ready}
        start = {key: closed.size for key, closed in self.closed.items()}
        sizes = {key_of(position): position for position in ready}
        tasks = []
        for close in next_closes(ready, markets, {}, ALL_AT_MARKET, start):
            position, run = sizes[key_of(close)], self._runs[close.product_id]
            stops = tuple(stop for stop in standing.stops if key_of(stop) == key_of(position))
            tasks.append(Task(run, position, close.size or abs(position.size), stops, rungs))
        return tasks

    # -- how much

    def _run(self, position: Position) -> Run:
        return self._runs[position.product_id]

    def _allowed(self, position: Position, standing: Standing) -> Decimal:
        """How much may be closed now: what surely stands, less what may be filled on the same side meanwhile."""
        name, run = position.product_id, self._run(position)
        if name in self._waits:
            return ZERO
        if run.held.most * position.size <= 0:
            self._waits[name] = f"{name}: the position read may be older than the latest fills"
            return ZERO
        resting = [one for one in standing.entries if one.product_id == name and one.side is run.side]
        allowed = min(abs(position.size), run.left) - sum((one.remaining for one in resting), ZERO)
        if allowed < run.step:
            self._waits[name] = f"{name}: a resting order may close it at any moment, and is not gone yet"
            return ZERO
        return allowed

    # -- one close

    def _carry_out(self, venue: CappedVenue, task: Task) -> bool:
        """Close something of one position; whether a close was sent. Raises NoAnswer when its outcome is unknown."""
        run, name = task.run, task.position.product_id
        closed = self.closed[key_of(task.position)]
        book = self._book(venue, name)
        if book is not None and closed.arrival is None:
            closed.arrival = book.ticker.mid
        first = not run.proved and not run.stops_first and task.size > run.step and task.rungs is not ALL_AT_MARKET
        size = run.step if first else self._within(run, task, book)
        if size < run.step:
            return False
        if not first:
            taken = self._stops.drop(venue, name, task.stops)
            if taken is None:
                return False
            self.stops_dropped += len(task.stops)
            if (size := size - taken) < run.step:
                return False
        self._close(venue, run, Close(name, task.position.slot, run.side, size, None), first=first)
        return True

    def _book(self, venue: CappedVenue, product_id: str) -> Book | None:
        """None: it cannot be read, and then only a close of all at market is possible."""
        try:
            return venue.depth(product_id)
        except (NoAnswer, Said):
            return None

    def _within(self, run: Run, task: Task, book: Book | None) -> Decimal:
        """What stands near enough to the touch for this rung, a rung further when nothing does; at last all."""
        while not is_exhausted(run.climb, task.rungs):
            rung = task.rungs[min(run.climb.rung, len(task.rungs) - 1)]
            if rung is None:
                return task.size
            within = ZERO if book is None else floor_to(standing_within(book, run.side, rung), run.step)
            if within > 0:
                return min(task.size, within)
            run.climb = Climb(run.climb.rung + 1)
        return ZERO

    def _close(self, venue: CappedVenue, run: Run, close: Close, *, first: bool) -> None:
        label = self._identity(venue, run, close.product_id)
        self.note_sent(close, label)
        try:
            order, _ = venue.close(close, label)
        except Said as why:
            self._refused(run, close, why)
            return
        except NoAnswer as why:
            if why.sent:
                self.note_unknown(close, label, why.cause)
                self._flights.setdefault(label, Flight(run, close, self._world.monotonic(), first=first))
            raise
        self._ended(Flight(run, close, self._world.monotonic(), first=first), label, order)

    def _ended(self, flight: Flight, label: str, order: Order) -> None:
        """What became of a close is known."""
        run, close = flight.run, flight.close
        self.unsettled.pop(label, None)
        self._flights.pop(label, None)
        run.closes[order.order_id] = order
        if order.created_ms < self._since_ms:
            return  # of an earlier kill, and in every read of this one: the next identity follows from it
        self.last_order = order
        self._untold[order.order_id] = (close, order)
        if order.filled > 0:
            run.proved = True
            self._moved.add(close.product_id)
        if not flight.first:
            run.climb = run.climb.after(order.filled)

    def _read_fills(self, venue: CappedVenue) -> None:
        """What our closes filled, of all of them at once: an order's own count may be ahead of its fills."""
        told = venue.executions([order for _, order in self._untold.values()]) if self._untold else ()
        for order_id, (close, order) in list(self._untold.items()):
            mine = [each for each in told if each.fill.order_id == order_id]
            if sum((each.fill.size for each in mine), ZERO) >= order.filled:
                self.note_closed(close, order.identity or "", order, mine)
                del self._untold[order_id]

    def settle_unknown(self, venue: CappedVenue) -> None:
        """Found by its identity, or not listed long after it was sent: then it never came."""
        self._read_fills(venue)
        for label, flight in list(self._flights.items()):
            found = venue.find_close(flight.close, label)
            if found is not None:
                self._ended(flight, label, found[0])
            elif self._world.monotonic() - flight.sent_at > NEVER_CAME_S:
                del self._flights[label], self.unsettled[label]

    def _refused(self, run: Run, close: Close, why: Said) -> None:
        if why.throttled:
            raise why
        self.locked = self.locked or why.meaning is Meaning.LOCKED
        if why.meaning is Meaning.SHUT:
            self.shut = True
            self._waits[close.product_id] = f"session closed: {close.product_id}"
        run.stops_first = run.stops_first or why.meaning is Meaning.HELD
        if why.meaning is not Meaning.GONE:
            self.note_refusal(f"close {close.product_id}", why)

    def _identity(self, venue: CappedVenue, run: Run, product_id: str) -> str:
        """Made of account, product and the close before this one, as every closer sees them.

        Two closers, or one after an old read, make one order: who lacks the newest close makes its identity again.
        Neither size nor side is in it, for those who count differently must not make two orders.
        """
        return mark(venue, product_id, "close after", run.last_close.order_id if run.last_close else "none")

    # -- stops

    def _put_back(self, venue: CappedVenue, names: Sequence[str]) -> None:
        """Protect again what we laid bare and did not close.

        What was closed since the last look, by another kill or by a close of ours without an answer, is asked for
        first: a stop over a position that is gone would open the other side.
        """
        bare = [name for name in names if name in self._stops.dropped]
        if not bare:
            return
        try:
            lately, told_ms = venue.lately(self._since_ms), venue.market_ms()
        except (NoAnswer, Said, PerpctlError) as why:
            self._record.write("trouble", text=f"stops not put back yet: {why}")
            return
        for name in bare:
            run = self._runs[name]
            run.held.hear([_move(fill) for fill in lately.fills if fill.product_id == name], told_ms)
            self._stops.put_back(venue, name, run.left, run.step)

    # -- proof

    def shows_last_act(self, venue: CappedVenue) -> bool:
        """Whether reads hold our last close, and all of its fills."""
        last = self.last_order
        if last is None:
            return True
        seen = venue.states([last]).get(last.order_id)
        return not self._untold and seen is not None and seen.status.is_terminal and seen.filled >= last.filled

    def adds_up(self, venue: CappedVenue) -> bool:
        """Whether the fills leave every position at zero, and at nothing else; not asked of a first look."""
        if self._looks == 1:
            return False
        self._learn(venue)
        return self._wish.scope != "account" or all(run.held.is_zero for run in self._runs.values())


def standing_within(book: Book, side: Side, fraction: Decimal) -> Decimal:
    """What stands within a fraction of the touch, for an order of this side."""
    levels = book.bids if side is Side.SELL else book.asks
    if not levels:
        return ZERO
    bound = levels[0][0] * (1 + side.sign * fraction)
    return sum((size for price, size in levels if (bound - price) * side.sign >= 0), ZERO)


def _move(fill: Fill) -> Move:
    return Move(fill.trade_id, fill.at_ms, fill.side.sign * fill.size)


def _lag_ms(venue: CappedVenue) -> int:
    return int((venue.terms.reads_lag_s + CLOCKS_APART_S) * 1_000)
