"""This file closes where no order can be made reduce-only: what is sent is capped, and has an identity that repeats.

One contract goes first: it proves that closing works, and a position that is read smaller by just that much proves
that reads are as new as our own fills. Then the product's stop is cancelled and read ended, and the rest is closed, at
market and never more than stands near the touch. Whatever goes wrong, the stop is put back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial

from perpctl.emergency.closing.closer import Closer, Round, Wish, near_liquidation
from perpctl.emergency.pending import Record
from perpctl.emergency.venue.port import SHUT, Book, CappedVenue, Execution, Meaning, Said, market_of
from perpctl.emergency.venue.wire import NoAnswer
from perpctl.emergency.world import World
from perpctl.errors import PerpctlError
from perpctl.model import identity
from perpctl.model.flatten import Climb, Close, Key, Standing, is_exhausted, key_of, next_closes
from perpctl.model.money import ZERO, floor_to, plain
from perpctl.model.order import Order, Side
from perpctl.model.position import Position

_NO_KEY = bytes(32)  # an identity that every host makes alike; the kill mark is read without any key
_STOP_GONE_S = (0.0, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.4)
NEVER_CAME_S = 65.0  # by then an order that is not listed never arrived
ALL_AT_MARKET: tuple[Decimal | None, ...] = (None,)


@dataclass(slots=True)
class Run:
    """The closing of one product, in base coin. `start` is what was read when nothing of it was closed."""

    side: Side
    step: Decimal  # one contract
    start: Decimal
    last_fill: str  # of an order that is no kill's
    number: int  # of the next close after that fill
    read_ms: int  # the venue's clock when `start` was read
    filled: Decimal = ZERO
    filled_at: float = float("-inf")  # monotonic
    agreed: bool = False  # a position was read that is smaller by just what we closed
    stops_first: bool = False  # a resting order holds the position: nothing closes before it is gone
    counted: set[str] = field(default_factory=set)
    dropped: list[Order] = field(default_factory=list)  # stops that we cancelled and that protect no more
    climb: Climb = field(default_factory=Climb)

    @property
    def left(self) -> Decimal:
        return max(self.start - self.filled, ZERO)


@dataclass(frozen=True, slots=True)
class Task:
    """What one round may do about one position: close at most `size` of it."""

    run: Run
    position: Position
    size: Decimal
    stops: tuple[Order, ...]
    rungs: tuple[Decimal | None, ...]


@dataclass(frozen=True, slots=True)
class Flight:
    """A close on its way; `first`: the one contract that only proves."""

    run: Run
    close: Close
    sent_at: float
    first: bool


class CappedCloser(Closer[CappedVenue]):
    """Closes with orders that would open the other side if they were too large."""

    def __init__(self, record: Record, wish: Wish, after: Callable[[], float], world: World) -> None:
        super().__init__(record, wish, after, world)
        self._runs: dict[Key, Run] = {}
        self._waits: dict[Key, str] = {}
        self._flights: dict[str, Flight] = {}
        self._unfilled: dict[str, Close] = {}  # closes whose fills the venue does not show in full yet

    # -- a round

    def close_some(self, venue: CappedVenue, standing: Standing) -> Round:
        """One round: what may be sent of each position, then the closes, all at once, one a product."""
        self.meet(standing.positions)
        self.locked = self.shut = False
        self._waits.clear()
        rungs = ALL_AT_MARKET if near_liquidation(venue, standing.positions) else self.rungs
        seen = self._world.at_once([partial(self._allowed, venue, position) for position in standing.positions])
        ready = [
            replace(position, size=allowed.copy_sign(position.size))
            for position, allowed in zip(standing.positions, seen, strict=True)
            if isinstance(allowed, Decimal) and not is_exhausted(self._run(position).climb, rungs)
        ]
        before = {key: run.filled for key, run in self._runs.items()}
        tasks = self._tasks(venue, ready, standing, rungs)
        outcomes = self._world.at_once([partial(self._carry_out, venue, task) for task in tasks])
        moved = {key for key, run in self._runs.items() if run.filled > before[key]}
        self._put_back(venue, standing, [key for key in self._runs if key not in moved])
        for outcome in [*seen, *outcomes]:
            if isinstance(outcome, Exception):
                raise outcome
        ended = sum(1 for position in standing.positions if is_exhausted(self._run(position).climb, rungs))
        sent = sum(1 for outcome in outcomes if outcome is True)
        return Round(sent, bool(moved), tuple(sorted(set(self._waits.values()))), ended)

    def stand_by(self, venue: CappedVenue, standing: Standing) -> None:
        """No close goes now: what we cancelled of their protection is put back."""
        self._put_back(venue, standing, list(self._runs))

    def _tasks(
        self, venue: CappedVenue, ready: Sequence[Position], standing: Standing, rungs: tuple[Decimal | None, ...]
    ) -> list[Task]:
        """Shares of opposite positions in one underlying are alike; of the rest all, most margin first."""
        markets = {one.product_id: market_of(one.product_id, venue.product(one.product_id), None) for one in ready}
        start = {key: run.start for key, run in self._runs.items()}
        sizes = {key_of(position): position for position in ready}
        tasks = []
        for close in next_closes(ready, markets, {}, ALL_AT_MARKET, start):
            position, run = sizes[key_of(close)], self._runs[key_of(close)]
            stops = tuple(stop for stop in standing.stops if key_of(stop) == key_of(position))
            tasks.append(Task(run, position, close.size or abs(position.size), stops, rungs))
        return tasks

    # -- how much

    def _run(self, position: Position) -> Run:
        return self._runs[key_of(position)]

    def _allowed(self, venue: CappedVenue, position: Position) -> Decimal | None:
        """How much may be closed now; None: nothing before reads have caught up with what we know."""
        key, held = key_of(position), abs(position.size)
        run = self._runs.get(key)
        if run is None or run.side is not _closing_side(position) or self._is_old(venue, run):
            agreed = run is not None and self._is_old(venue, run)
            run = self._runs[key] = self._begin(venue, position, run, agreed=agreed)
        if run.filled == 0:
            run.start = held
        if run.agreed or run.filled == 0:
            allowed = min(held, run.left)
        elif held == run.left:
            run.agreed, allowed = True, held
        else:
            # Older than our own fills, or somebody else changed it: both look alike until a read must be new.
            self._waits[key] = f"{position.product_id}: the position read does not show our own fills yet"
            return None
        if allowed < run.step:
            self._waits[key] = f"{position.product_id}: all of it is closed by our count; the position read is older"
            return None
        return allowed

    def _is_old(self, venue: CappedVenue, run: Run) -> bool:
        """Whether every read is newer by now than what this run has done: it counts anew from what is read."""
        return run.filled > 0 and self._world.monotonic() - run.filled_at > venue.terms.reads_lag_s

    def _begin(self, venue: CappedVenue, position: Position, before: Run | None, *, agreed: bool) -> Run:
        so_far = venue.closes_so_far(position.product_id)
        return Run(
            side=_closing_side(position),
            step=venue.product(position.product_id).size_step,
            start=abs(position.size),
            last_fill=so_far.last_fill,
            number=sum(1 for close in so_far.closes if close.status.is_terminal),
            read_ms=venue.market_ms(),
            counted={close.order_id for close in so_far.closes if close.status.is_terminal},
            dropped=[] if before is None else before.dropped,
            climb=Climb() if before is None else before.climb,
            agreed=agreed,
        )

    # -- one close

    def _carry_out(self, venue: CappedVenue, task: Task) -> bool:
        """Close something of one position; whether a close was sent. Raises NoAnswer when its outcome is unknown."""
        run, key = task.run, key_of(task.position)
        closed = self.closed[key]
        book = self._book(venue, task.position.product_id)
        if book is not None and closed.arrival is None:
            closed.arrival = book.ticker.mid
        if book is not None and book.ticker.state in SHUT:
            self.shut = book.ticker.state == "halted" or self.shut
            self._waits[key] = f"book not open: {task.position.product_id}"
            return False
        first = not run.agreed and not run.stops_first and task.size > run.step and task.rungs is not ALL_AT_MARKET
        size = run.step if first else self._within(run, task, book)
        if size < run.step:
            return False
        if not first and not self._drop_stops(venue, run, task.stops):
            return False
        self._close(venue, run, Close(task.position.product_id, task.position.slot, run.side, size, None), first=first)
        return True

    def _book(self, venue: CappedVenue, product_id: str) -> Book | None:
        """None: it cannot be read, and then only a close of all at market is possible."""
        try:
            return venue.book(product_id)
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
            order, executions = venue.close(close, label)
        except Said as why:
            self._refused(run, close, why)
            return
        except NoAnswer as why:
            if why.sent:
                self.note_unknown(close, label, why.cause)
                self._flights.setdefault(label, Flight(run, close, self._world.monotonic(), first=first))
            raise
        self._ended(venue, Flight(run, close, self._world.monotonic(), first=first), label, order, executions)

    def _ended(
        self, venue: CappedVenue, flight: Flight, label: str, order: Order, executions: Sequence[Execution]
    ) -> None:
        """What became of a close is known."""
        run, close = flight.run, flight.close
        self.unsettled.pop(label, None)
        self._flights.pop(label, None)
        run.number += 1
        if order.order_id in run.counted or order.updated_ms < run.read_ms - _ms(venue.terms.reads_lag_s):
            return  # another kill's, and in the position that this run began with
        self._note_fills(close, label, order, executions)
        run.counted.add(order.order_id)
        if order.filled > 0:
            run.filled_at = self._world.monotonic()
            run.filled += order.filled
        if order.side is not run.side:
            run.filled = run.start  # the position stood on the other side: nothing more until reads are new
        if not flight.first:
            run.climb = run.climb.after(order.filled)

    def _note_fills(self, close: Close, label: str, order: Order, executions: Sequence[Execution]) -> None:
        """The order's own count is what is counted with; its fills may be shown later."""
        self.note_closed(close, label, order, executions)
        if sum((each.fill.size for each in executions), ZERO) < order.filled:
            self._unfilled[label] = close
        else:
            self._unfilled.pop(label, None)

    def settle_unknown(self, venue: CappedVenue) -> None:
        """Found by its identity, or not listed long after it was sent: then it never came."""
        for label, close in list(self._unfilled.items()):
            if (told := venue.find_close(close, label)) is not None:
                self._note_fills(close, label, *told)
        for label, flight in list(self._flights.items()):
            found = venue.find_close(flight.close, label)
            if found is not None:
                self._ended(venue, flight, label, *found)
            elif self._world.monotonic() - flight.sent_at > NEVER_CAME_S:
                del self._flights[label], self.unsettled[label]

    def _refused(self, run: Run, close: Close, why: Said) -> None:
        if why.throttled:
            raise why
        self.locked = self.locked or why.meaning is Meaning.LOCKED
        self.shut = self.shut or why.meaning is Meaning.SHUT
        run.stops_first = run.stops_first or why.meaning is Meaning.HELD
        if why.meaning is not Meaning.GONE:
            self.note_refusal(f"close {close.product_id}", why)

    def _identity(self, venue: CappedVenue, run: Run, product_id: str) -> str:
        """Made of what every closer sees alike: two of them, or one after an old read, make one order.

        Account, product, side, the last fill of somebody else, and how many closes have ended since. Contracts are
        not in it: two that count differently must not make two orders.
        """
        account = venue.owner.account_id if venue.owner else ""
        return _mark(account, product_id, run.side.value, run.last_fill, str(run.number))

    # -- stops

    def _drop_stops(self, venue: CappedVenue, run: Run, stops: Sequence[Order]) -> bool:
        """Cancel what protects this position; whether all of it is read ended."""
        if not stops:
            return True
        for answer in venue.cancel(stops):
            if isinstance(answer, Exception) and not (isinstance(answer, Said) and answer.meaning is Meaning.GONE):
                raise answer
        for pause_s in _STOP_GONE_S:
            self._world.sleep(pause_s)
            states = venue.states(stops)
            if all(stop.order_id in states and states[stop.order_id].status.is_terminal for stop in stops):
                self.stops_dropped += len(stops)
                run.dropped += [stop for stop in stops if states[stop.order_id].filled == stop.filled]
                self._record.write("stops_dropped", product=stops[0].product_id, orders=[one.order_id for one in stops])
                return True
        return False

    def _put_back(self, venue: CappedVenue, standing: Standing, keys: Sequence[Key]) -> None:
        """Protect again what we laid bare and did not close; best effort, and said when the venue refuses."""
        held = {key_of(position): abs(position.size) for position in standing.positions}
        for key in keys:
            run = self._runs[key]
            left = min(run.left, held.get(key, ZERO))
            while run.dropped and left >= run.step:
                stop = run.dropped.pop()
                size = min(stop.remaining, left)
                left -= size
                account = venue.owner.account_id if venue.owner else ""
                label = _mark(account, key[0], "stop", stop.order_id, plain(size))
                try:
                    venue.put_stop(stop, size, label)
                    self._record.write("stop_put_back", product=key[0], size=size, label=label, instead=stop.order_id)
                except Said as why:
                    self.note_refusal(f"stop of {key[0]} put back", why)
                except (NoAnswer, PerpctlError):
                    run.dropped.append(stop)  # the same identity again, next time: it makes no second one
                    break

    # -- proof

    def shows_last_act(self, venue: CappedVenue) -> bool:
        """Whether reads hold what we did: our last order by its id, and fills that add up to what was held.

        What somebody else closed (a stop that was hit, another kill) adds up to nothing here; then only time proves.
        """
        last = self.last_order
        if last is None:
            return True
        seen = venue.states([last]).get(last.order_id)
        if self._unfilled or seen is None or not seen.status.is_terminal or seen.filled < last.filled:
            return False
        now = self._world.monotonic()
        return all(
            run.filled == run.start or now - run.filled_at > venue.terms.reads_lag_s for run in self._runs.values()
        )


def standing_within(book: Book, side: Side, fraction: Decimal) -> Decimal:
    """What stands within a fraction of the touch, for an order of this side."""
    levels = book.bids if side is Side.SELL else book.asks
    if not levels:
        return ZERO
    bound = levels[0][0] * (1 + side.sign * fraction)
    return sum((size for price, size in levels if (bound - price) * side.sign >= 0), ZERO)


def _closing_side(position: Position) -> Side:
    return Side.SELL if position.size > 0 else Side.BUY


def _mark(*words: str) -> str:
    """An identity with the kill mark, made of words."""
    digest = hashlib.sha256("\n".join(words).encode()).digest()
    return identity.make(_NO_KEY, identity.KILL_EPOCH, int.from_bytes(digest[:8]))


def _ms(seconds: float) -> int:
    return int(seconds * 1_000)
