"""This file names what the core is told and what it asks for: events in the past tense, effects in the imperative."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from perpctl.exchange import port
from perpctl.model.day import NOTHING_MOVED, Moves
from perpctl.model.fill import Fill
from perpctl.model.instrument import Instrument
from perpctl.model.mode import Mode
from perpctl.model.order import Order, OrderRequest
from perpctl.model.position import Account, Position

# --- events: the venue's (port.SessionEvent), and those of our own doing -------------------------------------------


@dataclass(frozen=True, slots=True)
class Placed:
    """The venue's answer, or its absence, to an order of ours."""

    identity: str
    outcome: port.Outcome


@dataclass(frozen=True, slots=True)
class HeldBack:
    """The gate, the latch or the lease kept an order of ours from leaving; nothing was sent."""

    identity: str
    control: str
    reason: str


@dataclass(frozen=True, slots=True)
class CancelAnswered:
    """The venue's answer to a cancel; `identity` is of the order to be cancelled."""

    identity: str
    outcome: port.Outcome


@dataclass(frozen=True, slots=True)
class Settled:
    """What reads said about an order whose outcome was unknown."""

    identity: str
    settled: port.Settled


@dataclass(frozen=True, slots=True)
class ModeChanged:
    """The latch says something else than before."""

    mode: Mode
    why: str


@dataclass(frozen=True, slots=True)
class AccountRead:
    """Equity and margin, freshly read, and what the ledger says came and went until then."""

    account: Account
    moves: Moves = NOTHING_MOVED


@dataclass(frozen=True, slots=True)
class SpecificationRead:
    """What a product's orders are rounded to, read afresh."""

    instrument: Instrument


@dataclass(frozen=True, slots=True)
class VenueRead:
    """What the venue says of itself and of what it plans, freshly read at that market time."""

    status: port.VenueStatus
    at_ms: int


@dataclass(frozen=True, slots=True)
class EntriesLeft:
    """Entries were cancelled, and the listing does not prove that they are gone."""

    reason: str
    count: int | None  # None: the listing could not be read


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed; with what the venue's answers look like lately (None: too few of them)."""

    order_success_pct: Decimal | None = None
    latency_p95_ms: int | None = None


@dataclass(frozen=True, slots=True)
class OwnerFound:
    """Our journal knows an order that we took for a stranger's."""

    order_id: str
    owner: str


@dataclass(frozen=True, slots=True)
class ToldBefore:
    """Our journal has an alert about this stranger already, so many seconds old: an earlier run met it."""

    order_id: str
    ago_s: float


@dataclass(frozen=True, slots=True)
class Reconciled:
    """Agreeing fresh reads of the venue; `fills` are all since the last reconciliation, oldest first.

    `since` is our monotonic counter before the first read: what was learned later is not judged by it.
    """

    positions: tuple[Position, ...]
    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    since: float


@dataclass(frozen=True, slots=True)
class ReconcileFailed:
    """The venue could not be read, or its reads did not agree."""

    why: str


OwnEvent = (
    Placed
    | HeldBack
    | CancelAnswered
    | Settled
    | ModeChanged
    | AccountRead
    | SpecificationRead
    | VenueRead
    | EntriesLeft
    | Ticked
    | OwnerFound
    | ToldBefore
    | Reconciled
    | ReconcileFailed
)
Event = port.SessionEvent | OwnEvent

# --- effects ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlaceEntry:
    """Send an entry over the bot's socket, if the gate allows."""

    request: OrderRequest
    reason: str


@dataclass(frozen=True, slots=True)
class PlaceStop:
    """Send a protective stop over HTTP, where the death of the socket does not reach it."""

    request: OrderRequest
    reason: str


@dataclass(frozen=True, slots=True)
class CancelEntry:
    """Cancel an entry of ours."""

    order: Order
    reason: str


@dataclass(frozen=True, slots=True)
class CancelStop:
    """Cancel a protective stop that protects nothing any more, or that another one replaces."""

    order: Order
    reason: str


@dataclass(frozen=True, slots=True)
class CloseNow:
    """Close a position over HTTP: reduce-only, collared while there is a price, else at market.

    `exit`: the strategy decided on it, on how much and up to which price.
    """

    request: OrderRequest
    reason: str
    exit: bool = False


@dataclass(frozen=True, slots=True)
class SettleUnknown:
    """Ask the venue what became of an order; never send it again."""

    request: OrderRequest


@dataclass(frozen=True, slots=True)
class Reconcile:
    """Read positions, orders and fills afresh."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReadAccount:
    """Read equity and margin afresh."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReadFunding:
    """Read what funding was settled, and book it."""


@dataclass(frozen=True, slots=True)
class ReadVenue:
    """Read what the venue says of itself afresh."""


@dataclass(frozen=True, slots=True)
class ReadSpecifications:
    """Read what orders are rounded to afresh."""


@dataclass(frozen=True, slots=True)
class TakeBaseline:
    """Write down the equity that the new risk day is measured from."""

    account: Account


@dataclass(frozen=True, slots=True)
class EnterMode:
    """Write the latch; `risk` modes never end by themselves."""

    mode: Mode
    reason: str
    risk: bool


@dataclass(frozen=True, slots=True)
class LeaveMode:
    """Go back to normal, if the latch still says what we wrote for this operational reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class ReadBackEntries:
    """List the venue's orders until none of our entries is among them."""

    reason: str


@dataclass(frozen=True, slots=True)
class SeekOwner:
    """Look into our journal for whose order this is; the `first` time also for how long it has been known."""

    order_id: str
    first: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """Raise an alert: 1 information, 2 warning, 3 critical, 4 emergency."""

    level: int
    name: str
    text: str
    product_id: str | None = None
    order_id: str | None = None


@dataclass(frozen=True, slots=True)
class StartKill:
    """Start the emergency program, in a process of its own: nobody is awake."""

    reason: str


@dataclass(frozen=True, slots=True)
class Note:
    """Tell the operator; `kind` is the word of the event on the screen."""

    kind: str
    product_id: str | None
    text: str


Look = Reconcile | ReadAccount | ReadFunding | ReadBackEntries | ReadVenue | ReadSpecifications
Effect = (
    PlaceEntry
    | PlaceStop
    | CancelEntry
    | CancelStop
    | CloseNow
    | SettleUnknown
    | Reconcile
    | ReadAccount
    | ReadFunding
    | ReadVenue
    | ReadSpecifications
    | TakeBaseline
    | EnterMode
    | LeaveMode
    | ReadBackEntries
    | SeekOwner
    | Alert
    | StartKill
    | Note
)
