"""This file closes or shrinks positions round by round, reduce-only, until fresh reads show it done or it is stuck."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from perpctl.checks import reading
from perpctl.errors import HeldByAnother, StateDamaged, UnknownState
from perpctl.exchange.port import Absent, Confirmed, Exchange, Refused, Settled
from perpctl.host.login import operator
from perpctl.model import flatten
from perpctl.model.flatten import Climb, Close, Key, key_of
from perpctl.model.instrument import Instrument
from perpctl.model.money import floor_to
from perpctl.model.position import Position
from perpctl.procedures.hand import Hand, close_request
from perpctl.questions import figures
from perpctl.results import Done, Json, StepResult

if TYPE_CHECKING:
    from perpctl.desk import Desk

DEADLINE_S = 120.0
BLIND_S = 10.0  # without a read of positions for so long it ends, and says that it does not know
ROUND_S = 0.3
LAST_RUNG_S = 1.0  # between tries at market: the book has to fill again
READS_TO_BELIEVE = 2
REFUSALS_TO_STOP = 5  # in a row, without a fill between


@dataclass(frozen=True, slots=True)
class Aim:
    """What a position should come to: `target` an absolute size in base coin, `start` the signed size it had."""

    target: Decimal
    start: Decimal


@contextmanager
def one_closer(directory: Path) -> Iterator[None]:
    """Held while positions of a profile are closed by hand: two at once would shrink twice.

    A kill does not wait for it. Raises HeldByAnother, StateDamaged.
    """
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(directory / "closing.lock", flags, 0o600)
    except OSError as why:
        raise StateDamaged(f"{directory}: {why.strerror}", not_done="nothing was sent") from why
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        busy = "another command closes positions of this profile now"
        raise HeldByAnother(busy, not_done="nothing was sent") from None
    finally:
        os.close(descriptor)


@dataclass(slots=True)
class Closer:
    """Round after round: fresh positions, fresh books, one order in flight a position, until reads agree."""

    desk: Desk
    exchange: Exchange
    aims: Mapping[Key, Aim]
    rungs: tuple[Decimal | None, ...]
    climbs: dict[Key, Climb] = field(default_factory=dict)
    stuck: dict[Key, str] = field(default_factory=dict)  # nothing more is sent for these, and why
    denials: Counter[Key] = field(default_factory=Counter)  # refusals since the last fill
    orders: int = 0
    refusals: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    left: tuple[Position, ...] = ()
    told: list[str] = field(default_factory=list)  # what each order came to
    unread: str | None = None

    def goes_on_from(self, before: Closer) -> None:
        """Count what another closer has sent of the same step, and say it too."""
        self.orders, self.told = before.orders, list(before.told)

    async def run(self) -> StepResult:
        """Close until two reads agree, everything left is stuck, or time is up."""
        hand = Hand(self.desk, self.exchange, operator(), "close")
        clock = self.desk.clock
        until, agreeing, read_at = clock.monotonic() + DEADLINE_S, 0, clock.monotonic()
        while True:
            current = await self._look()
            read_at = clock.monotonic() if self.unread is None else read_at
            agreeing = agreeing + 1 if current and not self.left else 0
            late = clock.monotonic() >= until or clock.monotonic() - read_at >= BLIND_S
            if agreeing == READS_TO_BELIEVE or late or (self.left and all(map(self._is_given_up, self.left))):
                return self._result(agreeing)
            if self.left and self.unread is None:
                await self._round(hand)
            await clock.sleep(self._pause())

    async def _look(self) -> bool:
        """Reads what is left to close; True when the read is as new as our own last fill."""
        try:
            read, held = await reading.positions(self.desk)
        except UnknownState as why:
            self.unread = why.message
            return False
        self.unread = None
        self.left = tuple(one for one in held if self._is_too_large(one))
        return read.counts

    def _is_too_large(self, position: Position) -> bool:
        aim = self.aims.get(key_of(position))
        if aim is None:
            return False
        if aim.target and position.size * aim.start < 0:
            self.stuck[key_of(position)] = "it changed sides meanwhile"
            return True
        return abs(position.size) > aim.target

    def _pause(self) -> float:
        if not self.left:
            return flatten.READS_APART_S
        at_the_end = all(self._climb(one).rung >= len(self.rungs) for one in self.left)
        return LAST_RUNG_S if at_the_end else ROUND_S

    async def _round(self, hand: Hand) -> None:
        try:
            markets = await markets_of(self.exchange, self.left)
        except UnknownState as why:
            self.unread = why.message
            return
        by_key = {key_of(one): one for one in self.left if not self._is_given_up(one)}
        excess = [self._excess(one) for one in by_key.values()]
        start = {key: self.aims[key].start for key in by_key}
        closes = flatten.next_closes(excess, markets, self.climbs, self.rungs, start)
        await asyncio.gather(*(self._close(hand, close, by_key[key_of(close)]) for close in closes))

    async def _close(self, hand: Hand, close: Close, position: Position) -> None:
        """Sends one close and climbs by what it filled, as far as the venue told."""
        key = key_of(position)
        try:
            outcome = await self._sent(hand, close, position)
        except UnknownState as why:  # a read before the send failed
            self.unread = why.message
            return
        filled = self._told(key, outcome)
        self.climbs[key] = self._climb(position).after(filled)

    async def _sent(self, hand: Hand, close: Close, position: Position) -> Settled | Refused:
        instrument = await self.exchange.instrument(close.product_id)
        target = self.aims[key_of(close)].target
        size = close.size if close.size is not None else abs(position.size) - target
        if target == 0 and close.size is None and not (position.units_agree and _in_steps(size, instrument)):
            return await hand.close_whole(position, instrument)
        if not position.units_agree or size < instrument.min_size:
            why = f"{size:f} {instrument.base} is no order: the least is {instrument.min_size:f}"
            self.stuck[key_of(close)] = why if position.units_agree else "its size fields contradict each other"
            return Refused(None, self.stuck[key_of(close)], sent=False)
        return await hand.place(close_request(hand.new_identity(), position, size, close.price), instrument)

    def _told(self, key: Key, outcome: Settled | Refused) -> Decimal:
        if not (isinstance(outcome, Refused) and not outcome.sent):
            self.orders += 1
        match outcome:
            case Confirmed(order, _):
                self.denials[key] = 0 if order.filled else self.denials[key]
                if order.filled:
                    at = "?" if order.average_price is None else f"{order.average_price:,f}"
                    slot = "" if order.slot is None else f" iso {order.slot}"
                    self.told.append(f"{order.side} {order.filled:f} {order.product_id}{slot} at {at} on average")
                return order.filled
            case Refused(code, reason):
                self._denied(key, f"{code or ''} {reason}".strip())
            case Absent(evidence):
                self._denied(key, f"never arrived ({evidence})")
            case _:
                self.unknown.append(outcome.cause)
                if self.aims[key].target:  # it may still fill, and a second one would then shrink too far
                    self.stuck[key] = "an order of unknown outcome may still shrink it"
        return Decimal(0)

    def _denied(self, key: Key, why: str) -> None:
        self.refusals.append(why)
        self.denials[key] += 1
        if self.denials[key] >= REFUSALS_TO_STOP:
            self.stuck.setdefault(key, f"refused {self.denials[key]} times in a row")

    def _excess(self, position: Position) -> Position:
        """The part to be closed, as a position of its own for the ladder to size."""
        excess = abs(position.size) - self.aims[key_of(position)].target
        return replace(position, size=excess.copy_sign(position.size))

    def _climb(self, position: Position) -> Climb:
        return self.climbs.get(key_of(position), Climb())

    def _is_given_up(self, position: Position) -> bool:
        return key_of(position) in self.stuck or flatten.is_exhausted(self._climb(position), self.rungs)

    def _result(self, agreeing: int) -> StepResult:
        facts: dict[str, Json] = {
            "orders": self.orders,
            "refusals": list(self.refusals),
            "unknown": list(self.unknown),
            "left": [{"product_id": one.product_id, "slot": one.slot, "size": f"{one.size:f}"} for one in self.left],
        }
        notes = [*dict.fromkeys(self.refusals[-3:]), *self.unknown[-3:]]
        if agreeing == READS_TO_BELIEVE:
            done = Done.DONE if self.orders else Done.NOTHING_TO_DO
            words = f"{figures.count(self.orders, 'order')}; {READS_TO_BELIEVE} reads a second apart agree"
            return StepResult(done, "; ".join([words, *notes]), (), facts, notes=tuple(sorted(self.told)))
        names = tuple(self._left_words(one) for one in self.left)
        if self.unread is not None:
            notes.append(f"positions could not be read ({self.unread}): what is held now is unknown")
        unsure = self.unread is not None or self.unknown or not self.left
        done = Done.UNKNOWN if unsure else Done.PARTIAL
        words = figures.count(self.orders, "order")
        return StepResult(done, "; ".join([words, *notes]), names, facts, notes=tuple(sorted(self.told)))

    def _left_words(self, position: Position) -> str:
        why = self.stuck.get(key_of(position))
        if why is None:
            why = "the slippage allowed was not enough" if self._is_given_up(position) else "time is up"
        return f"{_name(position)} {position.size:+f}: {why}"


def _in_steps(size: Decimal, instrument: Instrument) -> bool:
    return size >= instrument.min_size and size == floor_to(size, instrument.size_step)


def _name(position: Position) -> str:
    return position.product_id if position.slot is None else f"{position.product_id} iso {position.slot}"


async def markets_of(exchange: Exchange, positions: tuple[Position, ...]) -> dict[str, flatten.Market]:
    """What a close must know of each product that is held, read anew."""
    products = tuple(dict.fromkeys(one.product_id for one in positions))
    quotes = await asyncio.gather(*map(exchange.quote, products))
    found: dict[str, flatten.Market] = {}
    for product, quote in zip(products, quotes, strict=True):
        instrument = await exchange.instrument(product)
        found[product] = flatten.Market(
            product,
            instrument.base,
            instrument.tick,
            instrument.size_step,
            quote.bid,
            quote.ask,
            quote.band_low,
            quote.band_high,
        )
    return found
