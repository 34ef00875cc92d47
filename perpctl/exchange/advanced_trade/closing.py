"""This file keeps closes from turning a position around on a venue that has no reduce-only.

A close is never larger than what the venue says is held, nor than what was held when closing began less our own
closing fills; and there is one at a time for each product.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from perpctl.clock import Clock
from perpctl.model.money import ZERO
from perpctl.model.order import Order, Side

LAGS_S = 60.0  # so long after a close of ours a position that is read may still be the one before it
PROVEN_AFTER_S = 60.0  # by then an order that is not listed never arrived


class InFlight(Exception):
    """Another close of the product is on its way, or its fate is not known; the text says which."""


@dataclass(slots=True)
class _Run:
    """The closes of one product in one go. Contracts are absolute; `side` is the side that closes."""

    side: Side
    start: Decimal
    filled: Decimal = ZERO
    last_at: float = 0.0
    unsettled: str | None = None  # the identity of a close whose outcome nobody told us


class Closing:
    """What we close, by product."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, _Run] = {}
        self._busy: set[str] = set()

    @contextmanager
    def one_at_a_time(self, product_id: str) -> Iterator[None]:
        """Held from the first read to the outcome. Raises InFlight."""
        if product_id in self._busy:
            raise InFlight(f"another close of {product_id} is on its way")
        self._busy.add(product_id)
        try:
            yield
        finally:
            self._busy.discard(product_id)

    def cap(self, product_id: str, side: Side, held: Decimal) -> Decimal:
        """How many contracts may be closed by an order of this side, when the venue says that `held` (signed) are."""
        now = self._clock.monotonic()
        mine = held if side is Side.SELL else -held
        if mine <= 0:
            return ZERO
        run = self._runs.get(product_id)
        if run is None or run.side is not side or now - run.last_at > LAGS_S:
            run = self._runs[product_id] = _Run(side, mine, last_at=now)
        return max(ZERO, min(mine, run.start - run.filled))

    def unsettled(self, product_id: str) -> str | None:
        """The identity of a close of unknown outcome that may still arrive."""
        run = self._runs.get(product_id)
        if run is None or run.unsettled is None or self._clock.monotonic() - run.last_at > PROVEN_AFTER_S:
            return None
        return run.unsettled

    def sent(self, product_id: str, identity: str) -> None:
        """A close leaves now; unknown until told otherwise."""
        run = self._runs.get(product_id)
        if run is not None:
            run.last_at, run.unsettled = self._clock.monotonic(), identity

    def ended(self, product_id: str, contracts: Decimal) -> None:
        """It is known what became of it: so many contracts were closed."""
        run = self._runs.get(product_id)
        if run is not None:
            run.filled += contracts
            run.last_at, run.unsettled = self._clock.monotonic(), None


@dataclass(frozen=True, slots=True)
class Seen:
    """The state that a close is made from: two closers, or one old read, make the same identity of it."""

    account: str
    product_id: str
    side: Side
    contracts: Decimal
    last_fill: str

    def identity(self, round_no: int) -> str:
        """The client_order_id of the close of this state in this round."""
        words = (self.account, self.product_id, self.side.value, f"{self.contracts:f}", self.last_fill, str(round_no))
        digest = hashlib.sha256("\n".join(words).encode()).digest()
        return str(uuid.UUID(bytes=digest[:16], version=5))


def contracts_of(order: Order, size: Decimal) -> Decimal:
    """What an order has filled, in contracts of this size."""
    return order.filled / size
