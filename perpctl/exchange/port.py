"""The port: what every venue can be asked, and what can be asked of it.

No method re-sends a write. Reads raise `VenueUnreachable`, `CredentialError`, `VenueRefused`; an error is never an
empty list. What a venue does not offer is `Unsupported` with the reason, never zero and never empty.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

from msgspec import Struct

from perpctl.exchange.budget import Duty
from perpctl.model.books.funding import FundingPayment, FundingRate
from perpctl.model.day import Transfer
from perpctl.model.fill import Fill
from perpctl.model.instrument import Book, Instrument, Quote
from perpctl.model.order import Order, OrderRequest
from perpctl.model.passage import ClockReading, Connection, Passage
from perpctl.model.position import Account, Position
from perpctl.model.venue.ability import Ability
from perpctl.model.venue.calendar import Happening, VenueCalendar
from perpctl.model.venue.protection import Protection

Passages = tuple[Passage, ...]  # what a write was on the wire, each try; empty when the venue's adapter notes none


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The venue answered with the order's state; `fills` are those it told in the same answer."""

    order: Order
    fills: tuple[Fill, ...] = ()
    passages: Passages = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was executed: the venue answered no, or (`sent` False) not a byte left this machine."""

    code: int | None
    reason: str
    sent: bool = True
    outside_band: bool = False  # its price is too far from the last one: nearer it may be taken
    passages: Passages = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Unknown:
    """No trustworthy answer: it may have been executed. Settled by reads only.

    After `valid_until_ms` (market time) the venue takes it no more; None: it may for ever.
    """

    cause: str
    valid_until_ms: int | None = None
    passages: Passages = field(default=(), compare=False, repr=False)


class Absent(Struct, frozen=True):
    """Proven by reads: the venue never had it, and can no longer take it."""

    evidence: str


Outcome = Confirmed | Refused | Unknown
Settled = Confirmed | Absent | Unknown


class Unsupported(Struct, frozen=True):
    """This venue does not offer it."""

    reason: str


class Identity(Struct, frozen=True):
    """The account that this key reaches, as the venue reports it."""

    account_id: str
    username: str | None


class Grant(Struct, frozen=True):
    """What a token exchanged just now may do; the token itself is shown to nobody."""

    life_s: float
    scope: str
    key: str  # algorithm and the end of the key's name
    jwt_life_s: float  # of the signed token that was exchanged
    per_request: bool = False  # each request carries a token of its own: there is none to renew


class Arrival(Struct, frozen=True):
    """When reads prove that an order of unknown outcome never arrived: two empty ones, `apart_s` from each other.

    Both begun `after_send_s` after the send, or with None after the order's own last valid moment. `watched_s`: how
    long it is looked for even then.
    """

    apart_s: float
    after_send_s: float | None = None
    watched_s: float = 0.0


class VenueTerms(Struct, frozen=True):
    """What a venue offers, where venues differ: asked instead of its name."""

    reduces_only: bool  # it enforces reduce-only; else side and size are all that keeps a close from turning around
    dead_man: str | None  # why orders cannot be made to die with their connection; None: they can
    entries_end_s: int | None  # every resting entry is sent with an end so far away; None: it rests until cancelled
    stop: Protection  # what protects a position here
    arrival: Arrival
    mark_absent: str | None  # why there is no mark price; None: there is one
    valued_by: str  # the price that positions are valued at
    slots: bool  # it has isolated positions
    continuous_funding: bool  # it accrues by the second and is paid once a day; else hour by hour, paid twice a day
    mass_cancel: bool  # one request takes every entry; else they are listed and cancelled by id, each read back
    listed: str  # what a listing of orders takes in beside plain orders
    limit_at_once: bool  # a limit can end at once; else that goes at market, no larger than what stands within it
    reads_lag_s: float  # so long after it changed, a read may still show an order, a fill or a position as before
    limits_untold: str | None  # why the request limits of the account are not told; None: they are


class VenueStatus(Struct, frozen=True):
    """`locked` is the venue's own word: "false", "partial" or "true"; `maintenance` None when it does not say."""

    locked: str
    maintenance: bool | None
    announcements: tuple[str, ...]
    offset_ms: int  # market time minus our wall clock: far apart in a replay
    round_trip_ms: int
    wall_offset_ms: int | None = None  # venue's wall clock minus ours, from whole seconds; None: not told yet
    planned: tuple[Happening, ...] = ()  # what it announces with its times: maintenance, pending sweeps


class Candle(Struct, frozen=True):
    at_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal


# --- what a session yields -------------------------------------------------------------------------------------------


class QuoteSeen(Struct, frozen=True):
    quote: Quote


class BookSeen(Struct, frozen=True):
    book: Book


class OrderSeen(Struct, frozen=True):
    order: Order


class FillSeen(Struct, frozen=True):
    fill: Fill


class PositionSeen(Struct, frozen=True):
    position: Position


class FeedLost(Struct, frozen=True):
    """A channel went silent, gapped or closed; what it told before is stale from now."""

    channel: str
    cause: str


class FeedResumed(Struct, frozen=True):
    """A channel is live again; `orders` and `positions` are the snapshot taken after subscribing (user channel)."""

    channel: str
    orders: tuple[Order, ...] | None = None
    positions: tuple[Position, ...] | None = None
    fills: tuple[Fill, ...] | None = None


class Beat(Struct, frozen=True):
    """The socket proved itself alive; nothing changed."""

    at: float


SessionEvent = QuoteSeen | BookSeen | OrderSeen | FillSeen | PositionSeen | FeedLost | FeedResumed | Beat


class Session(Protocol):
    """A live connection: market and user events, and orders that die with it once armed."""

    def __aiter__(self) -> AsyncIterator[SessionEvent]: ...

    async def arm_dead_man(self) -> bool:
        """Arm cancel-on-disconnect for this connection and read it back; False when it reads back off."""

    async def place(self, request: OrderRequest) -> Outcome: ...

    async def cancel(self, order: Order) -> Outcome: ...

    async def leave_orders(self) -> None:
        """End so that resting orders outlive the connection; nothing works afterwards."""

    @property
    def granted(self) -> tuple[str, ...]:
        """Channels that the venue granted."""

    @property
    def refused(self) -> tuple[str, ...]:
        """Channels asked for and silently left out."""


MaySend = Callable[[OrderRequest], str | None]
"""Asked right before bytes of a risk-increasing order leave: a reason not to send, or None."""


class Exchange(Protocol):
    """One venue, one key. All reads are fresh; `seen` of an answer is our monotonic counter at arrival."""

    venue: str
    terms: VenueTerms
    calendar: VenueCalendar  # when this venue settles, stops and changes its margin

    def tell_clock(self, told: Callable[[ClockReading], object]) -> None:
        """Have `told` hear how far our clock is off, by the venue's answers: about once a minute."""

    def tell_connections(self, told: Callable[[Connection], object]) -> None:
        """Have `told` hear of each connection of the sessions opened from now on: when it is up, when it is over."""

    def work_for(self, duty: Duty) -> None:
        """Say whose share of the request limits the reads draw on from now on; operators' by default."""

    async def capabilities(self, symbols: Sequence[str]) -> tuple[Ability, ...]:
        """What this key can do here, measured now: permissions, products, order types, channels, limits, safety.

        Nothing is placed, changed or cancelled. What cannot be told without acting is `Can.UNKNOWN`, what the venue
        does not have `Can.NOT_OFFERED`; only a venue that answers nothing at all raises VenueUnreachable.
        """

    async def time_ms(self) -> int: ...
    async def identity(self) -> Identity: ...
    async def grant(self) -> Grant | Unsupported:
        """Sign in anew, whatever token is still good. Raises CredentialError, VenueUnreachable."""

    async def status(self) -> VenueStatus: ...
    async def instruments(self, *, fresh: bool = False) -> tuple[Instrument, ...]:
        """What is listed, from memory while that is young; `fresh` asks the venue now."""

    async def instrument(self, symbol: str) -> Instrument:
        """By operator's symbol or product id; raises UsageError with suggestions."""

    async def quote(self, product_id: str) -> Quote: ...
    async def book(self, product_id: str, depth: int = 20) -> Book: ...
    async def candles(self, product_id: str, start_ms: int, end_ms: int, minutes: int) -> tuple[Candle, ...]: ...
    async def account(self) -> Account: ...
    async def positions(self) -> tuple[Position, ...]:
        """Every slot; a size of zero is left out."""

    async def holdings(self) -> tuple[tuple[Position, ...], Account]:
        """Positions, and the account that has them, in as few requests as the venue allows."""

    async def open_orders(self) -> tuple[Order, ...]:
        """Every order that can still fill: all pages, triggers, slots, whoever made it."""

    async def order(self, identity: str, order_id: str | None = None) -> tuple[Order, ...]:
        """All orders known under an identity (labels are not unique), or the one with the id; empty: none found."""

    async def order_history(self, since_ms: int) -> tuple[Order, ...]: ...
    async def fills(self, since_ms: int) -> tuple[Fill, ...]:
        """Every fill from `since_ms` (market time), oldest first, each once."""

    async def funding_rate(self, product_id: str) -> FundingRate | Unsupported: ...
    async def funding_payments(self, since_ms: int) -> tuple[FundingPayment, ...] | Unsupported: ...
    async def transfers(self, since_ms: int) -> tuple[Transfer, ...] | Unsupported:
        """What came into the account and left it from `since_ms` (market time), oldest first.

        Cash that moves between the account and its isolated slots did neither.
        """

    async def place(self, request: OrderRequest) -> Outcome: ...
    async def cancel(self, orders: Sequence[Order]) -> tuple[Outcome, ...]: ...
    async def cancel_entries(self, product_id: str | None = None) -> Outcome | Unsupported | int:
        """The venue's own mass cancel of all but trigger orders, of one product or every one; its count is no proof."""

    async def close(self, position: Position, limit_price: Decimal | None) -> Outcome:
        """The venue's reduce-only close of the whole position: at market, or at a limit."""

    def session(self, symbols: Sequence[str]) -> AbstractAsyncContextManager[Session]: ...
    async def aclose(self) -> None: ...
