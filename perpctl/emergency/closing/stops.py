"""This file takes away the stops of a position that is closed where nothing is reduce-only, and puts them back.

There a stop that stayed would open the other side. It is best effort, and said when the venue refuses.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from decimal import Decimal

from perpctl.emergency.pending import Record
from perpctl.emergency.venue.port import CappedVenue, Meaning, Said
from perpctl.emergency.venue.wire import NoAnswer
from perpctl.emergency.world import World
from perpctl.errors import PerpctlError
from perpctl.model import identity
from perpctl.model.money import ZERO, plain
from perpctl.model.order import Order, OrderStatus

_NO_KEY = bytes(32)  # an identity that every host makes alike; the kill mark is read without any key
_GONE_S = (0.0, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.4)


class Stops:
    """What we took away and have not put back. `refused` keeps what the venue will not have."""

    def __init__(self, record: Record, world: World, refused: Callable[[str, Said], None]) -> None:
        self._record = record
        self._world = world
        self._refused = refused
        self.dropped: dict[str, dict[str, Order]] = {}  # by product, then by id: each that we asked to cancel

    def drop(self, venue: CappedVenue, product_id: str, stops: Sequence[Order]) -> Decimal | None:
        """Cancel the stops of a position, and say what of it they filled meanwhile; None: not all is read ended.

        Raises NoAnswer, Said when one could not be cancelled.
        """
        if not stops:
            return ZERO
        for answer in venue.cancel(stops):
            if isinstance(answer, Exception) and not (isinstance(answer, Said) and answer.meaning is Meaning.GONE):
                raise answer
        self.dropped.setdefault(product_id, {}).update((stop.order_id, stop) for stop in stops)
        for pause_s in _GONE_S:
            self._world.sleep(pause_s)
            states = venue.states(stops)
            if all(stop.order_id in states and states[stop.order_id].status.is_terminal for stop in stops):
                self._record.write("stops_dropped", product=product_id, orders=[one.order_id for one in stops])
                return sum((states[stop.order_id].filled - stop.filled for stop in stops), ZERO)
        return None

    def put_back(self, venue: CappedVenue, product_id: str, left: Decimal, step: Decimal) -> None:
        """Protect what is `left` of a position, in base coin, as it was; less than a `step` needs nothing."""
        if left < step:
            return
        mine = self.dropped[product_id]
        try:
            states = venue.states(list(mine.values()))
            for stop in [one for one in states.values() if one.status is OrderStatus.CANCELLED]:
                size = min(stop.remaining, left)
                if size >= step:
                    self._put(venue, stop, size)
                left -= size
                del mine[stop.order_id]
        except (NoAnswer, Said, PerpctlError) as why:  # next time: its identity makes no second one
            self._record.write("trouble", text=f"stop of {product_id} not put back yet: {why}")
        if not mine:
            del self.dropped[product_id]

    def _put(self, venue: CappedVenue, stop: Order, size: Decimal) -> None:
        """Raises NoAnswer; a refusal is final, and is on the receipt."""
        label = mark(venue, stop.product_id, "stop", stop.order_id, plain(size))
        try:
            venue.put_stop(stop, size, label)
            self._record.write("stop_put_back", product=stop.product_id, size=size, label=label, instead=stop.order_id)
        except Said as why:
            if why.throttled:
                raise
            self._refused(f"stop of {stop.product_id} put back", why)


def mark(venue: CappedVenue, *words: str) -> str:
    """An identity with the kill mark, made of the account and of words: alike whoever makes it."""
    account = venue.owner.account_id if venue.owner else ""
    digest = hashlib.sha256("\n".join((account, *words)).encode()).digest()
    return identity.make(_NO_KEY, identity.KILL_EPOCH, int.from_bytes(digest[:8]))
