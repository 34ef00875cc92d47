"""This file closes with reduce-only orders, up a ladder of prices: one close in flight for each position.

An unknown outcome is settled before the next close, and nothing is sent twice.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial

from perpctl.emergency.closing.closer import Closer, Round, Wish, near_liquidation
from perpctl.emergency.pending import Record
from perpctl.emergency.venue.port import SHUT, Execution, Meaning, Product, Said, Ticker, Venue, market_of
from perpctl.emergency.venue.wire import NoAnswer
from perpctl.emergency.world import World, few_at_a_time
from perpctl.model import identity
from perpctl.model.flatten import LADDER, Climb, Close, Key, Market, Standing, is_exhausted, key_of, next_closes
from perpctl.model.money import ZERO
from perpctl.model.order import Order
from perpctl.model.position import Position

SETTLE_AGAIN_S = 0.25
_VALID_AND_A_LITTLE_MS = 4_000


class ReducingCloser(Closer[Venue]):
    """Closes with orders that cannot open anything."""

    def __init__(self, record: Record, wish: Wish, after: Callable[[], float], world: World) -> None:
        super().__init__(record, wish, after, world)
        self._partly = wish.scope != "account"
        self._key = wish.identity_key or bytes(32)  # the kill mark is read without any key
        self._climbs: dict[Key, Climb] = {}
        self._unsized: set[Key] = set()

    def close_some(self, venue: Venue, standing: Standing) -> Round:
        """One round: fresh books, then the closes that they and the ladder allow, all at once."""
        positions = standing.positions
        self.meet(positions)
        tickers, markets = self._markets(venue, positions)
        waiting = tuple(sorted(name for name, ticker in tickers.items() if ticker.state in SHUT))
        ready = [self._as_sized(position) for position in positions if position.product_id not in waiting]
        if self._partly:
            ready = [position for position in ready if position.units_agree]
        rungs = LADDER[-1:] if near_liquidation(venue, positions) else self.rungs
        start = {key: closed.size for key, closed in self.closed.items()}
        closes = next_closes(ready, markets, self._climbs, rungs, start)
        if self._partly:
            closes = _never_whole(closes, ready)
        filled = self._send(venue, closes)
        ended = sum(1 for each in ready if is_exhausted(self._climbs.get(key_of(each), Climb()), rungs))
        ended += len(positions) - len(ready) if self._partly and not waiting else 0
        return Round(len(closes), filled, (f"book not open: {', '.join(waiting)}",) if waiting else (), ended)

    def stand_by(self, venue: Venue, standing: Standing) -> None:
        """The stops rest untouched until their position reads zero."""

    def settle_unknown(self, venue: Venue) -> None:
        """Each is settled before the next is sent; what could not be stays unknown."""

    def shows_last_act(self, venue: Venue) -> bool:
        """Whether the venue's reads hold the last order of ours that it confirmed."""
        last = self.last_order
        if last is None:
            return True
        seen = venue.states([last]).get(last.order_id)
        return seen is not None and seen.status.is_terminal and seen.filled >= last.filled

    def _as_sized(self, position: Position) -> Position:
        """A position whose size the venue refused is closed without naming one."""
        return replace(position, units_agree=False) if key_of(position) in self._unsized else position

    def _markets(self, venue: Venue, positions: Sequence[Position]) -> tuple[dict[str, Ticker], dict[str, Market]]:
        """What can be read of each product; what cannot is closed at market without a size."""
        names = list(dict.fromkeys(position.product_id for position in positions))
        seen = few_at_a_time(self._world, [partial(venue.ticker, name) for name in names])
        tickers = {name: each for name, each in zip(names, seen, strict=True) if isinstance(each, Ticker)}
        specified = few_at_a_time(self._world, [partial(venue.product, name) for name in names])
        known = {name: each for name, each in zip(names, specified, strict=True) if isinstance(each, Product)}
        for key, closed in self.closed.items():
            if closed.arrival is None and key[0] in tickers:
                closed.arrival = tickers[key[0]].mid
        return tickers, {name: market_of(name, known.get(name), tickers.get(name)) for name in names}

    def _send(self, venue: Venue, closes: Sequence[Close]) -> bool:
        """Send all at once; whether anything was filled."""
        self.locked = False
        outcomes = self._world.at_once([partial(self._close, venue, close) for close in closes])
        trouble: Exception | None = None
        total = ZERO
        for close, filled in zip(closes, outcomes, strict=True):
            if isinstance(filled, Exception):
                trouble = trouble or filled
            else:
                total += filled
                if filled == 0 and self.locked:
                    continue  # a refusal that says nothing about the price
                self._climbs[key_of(close)] = self._climbs.get(key_of(close), Climb()).after(filled)
        if trouble is not None:
            raise trouble
        return total > 0

    def _close(self, venue: Venue, close: Close) -> Decimal:
        """Send one close and learn what it filled. Raises NoAnswer when its outcome stays unknown."""
        label = identity.make(self._key, identity.KILL_EPOCH, int.from_bytes(os.urandom(8)))
        self.note_sent(close, label)
        try:
            order, executions = venue.close(close, label)
        except Said as why:
            return self._refused(close, why)
        except NoAnswer as why:
            if not why.sent or close.size is None:
                raise  # the venue's own close has no label; it can only shrink, so the next look settles it
            order, executions = self._settle(venue, close, label, why)
        self.note_closed(close, label, order, executions)
        return order.filled

    def _refused(self, close: Close, why: Said) -> Decimal:
        if why.throttled:
            raise why
        if why.meaning is Meaning.LOCKED:
            self.locked = True
        if why.meaning is Meaning.SIZE and close.size is not None:
            self._unsized.add(key_of(close))
        if why.meaning is not Meaning.GONE:
            self.note_refusal(f"close {close.product_id}", why)
        return ZERO

    def _settle(self, venue: Venue, close: Close, label: str, why: NoAnswer) -> tuple[Order, tuple[Execution, ...]]:
        """What became of a close that was not answered: found by its label, or past its validity and not listed.

        Raises NoAnswer when it was not found; it stays in `unsettled` unless proven never to have come.
        """
        self.note_unknown(close, label, why.cause)
        end = venue.market_ms() + _VALID_AND_A_LITTLE_MS
        while True:
            late = venue.market_ms() > end
            try:
                if (found := venue.find_close(close, label)) is not None:
                    del self.unsettled[label]
                    return found
            except (NoAnswer, Said):
                if late:
                    raise why from None
            else:
                if late:
                    del self.unsettled[label]
                    raise why
            self._world.sleep(SETTLE_AGAIN_S)


def _never_whole(closes: Sequence[Close], ours: Sequence[Position]) -> tuple[Close, ...]:
    """The venue's own close takes what others hold as well: a part is closed by naming its size."""
    sizes = {key_of(position): abs(position.size) for position in ours}
    return tuple(close._replace(size=close.size or sizes[key_of(close)]) for close in closes)
