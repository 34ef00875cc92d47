"""This file is what both ways of closing share: what was asked for, what closing came to, what was refused."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Generic, NamedTuple, TypeVar

from perpctl.emergency.pending import Record
from perpctl.emergency.venue.port import Execution, Listing, Said, Venue
from perpctl.emergency.venue.terms import Rungs
from perpctl.emergency.world import World
from perpctl.model.flatten import LADDER, Close, Key, Standing, key_of
from perpctl.model.money import ZERO
from perpctl.model.order import Order
from perpctl.model.position import Position

NEAR_LIQUIDATION = Decimal("0.02")
V = TypeVar("V", bound=Venue, contravariant=True)


class Wish(NamedTuple):
    """What was asked for. On the monotonic clock: `began` at Enter, `latched` when every latch was written."""

    kill_id: str
    who: str
    reason: str
    command: str
    began: float
    latched: float
    scope: str
    rungs: Rungs = LADDER
    entries_only: bool = False  # several live profiles: each loses its entries, none is closed
    identity_key: bytes | None = None


@dataclass(slots=True)
class Closed:
    """What closing one position came to so far; `size` as it was when closing began."""

    size: Decimal
    arrival: Decimal | None = None
    executions: dict[str, Execution] = field(default_factory=dict)
    orders: int = 0


class Round(NamedTuple):
    """What one round did: closes sent, books that let nothing through, positions for which the ladder has ended."""

    sent: int
    filled: bool
    waiting: tuple[str, ...]  # why closes wait, in words
    exhausted: int


class Closer(ABC, Generic[V]):
    """The one closer of a kill."""

    def __init__(self, record: Record, wish: Wish, after: Callable[[], float], world: World) -> None:
        self.closed: dict[Key, Closed] = {}
        self.unsettled: dict[str, str] = {}  # identities of closes whose outcome is not known
        self.refusals: dict[str, str] = {}
        self.locked = False  # the venue refused the last closes because the account is locked: it liquidates
        self.shut = False  # the venue refused the last closes because the session is closed
        self.stops_dropped = 0  # cancelled before their position was closed
        self.last_order: Order | None = None  # the last of ours that the venue confirmed
        self.rungs = wish.rungs
        self._wish = wish
        self._record = record
        self._after = after
        self._world = world

    def see(self, venue: V, listing: Listing, asked_ms: int) -> None:
        """Take what a look showed, asked for at this moment of the venue's clock."""

    @abstractmethod
    def close_some(self, venue: V, standing: Standing) -> Round:
        """One round of closes. Raises NoAnswer or Said when an outcome is unknown or the venue throttles."""

    @abstractmethod
    def stand_by(self, venue: V, standing: Standing) -> None:
        """No close is sent for now: what protected the positions must be there."""

    @abstractmethod
    def settle_unknown(self, venue: V) -> None:
        """Learn by reads what became of closes of which nothing is known."""

    @abstractmethod
    def shows_last_act(self, venue: V) -> bool:
        """Whether the venue's reads hold what we did last; without an act there is nothing to compare."""

    def adds_up(self, venue: V) -> bool:
        """Whether nothing but zero can be held where a read shows no position; where reads are fresh, it is so."""
        return True

    def meet(self, positions: Sequence[Position]) -> None:
        """Remember each position as it was first seen."""
        for position in positions:
            self.closed.setdefault(key_of(position), Closed(position.size))

    def note_refusal(self, what: str, why: Said) -> None:
        """What the venue said no to, for the receipt."""
        if self.refusals.get(what) != str(why):
            self.refusals[what] = str(why)
            self._record.write("refused", what=what, text=str(why), after_s=round(self._after(), 3))

    def note_sent(self, close: Close, label: str) -> None:
        """Written before the close leaves."""
        self._record.write(
            "close",
            product=close.product_id,
            slot=close.slot,
            side=close.side,
            size=close.size,
            price=close.price,
            label=label,
            after_s=round(self._after(), 3),
        )
        self.closed[key_of(close)].orders += 1

    def note_closed(self, close: Close, label: str, order: Order, executions: Sequence[Execution]) -> None:
        """Written when its outcome is known."""
        self._record.write(
            "closed",
            label=label,
            order=asdict(order),
            fills=[asdict(execution.fill) for execution in executions],
            after_s=round(self._after(), 3),
        )
        self.closed[key_of(close)].executions.update({each.fill.trade_id: each for each in executions})
        self.last_order = order

    def note_unknown(self, close: Close, label: str, cause: str) -> None:
        """Written when no answer came and one may have been executed."""
        self.unsettled[label] = f"{close.product_id}: {cause}"
        self._record.write("unknown", label=label, text=cause, after_s=round(self._after(), 3))


def near_liquidation(venue: Venue, positions: Sequence[Position]) -> bool:
    """Whether an adverse move of 2 % would bring the account to its maintenance margin."""
    owner = venue.owner
    gross = sum((abs(position.notional or ZERO) for position in positions), ZERO)
    if owner is None or gross == 0:
        return False
    return owner.margin_balance - owner.maintenance_margin < NEAR_LIQUIDATION * gross
