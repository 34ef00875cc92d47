"""This file says what a kill asks of a venue: the one interface that its steps use, and the rows that come back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from perpctl.emergency.venue.terms import Terms
from perpctl.model.fill import Fill
from perpctl.model.flatten import Close, Market
from perpctl.model.order import Order
from perpctl.model.position import Position

if TYPE_CHECKING:
    from perpctl.emergency.target import Pin

Levels = tuple[tuple[Decimal, Decimal], ...]
SHUT = frozenset({"locked", "settlement", "halted", "inactive"})
"""States of a book in which no close goes through."""


class Meaning(Enum):
    """What a refusal says that a kill acts on."""

    OTHER = "other"
    THROTTLED = "throttled"
    GONE = "gone already: cancelled, filled, closed"
    LOCKED = "the account is locked: the venue liquidates"
    SIZE = "the size is wrong"
    MAY_NOT = "the key may not trade"
    SHUT = "the session is closed"
    HELD = "a resting order holds the position"


class Said(Exception):
    """The venue answered no; nothing was executed."""

    def __init__(self, code: int | str, message: str, meaning: Meaning = Meaning.OTHER) -> None:
        super().__init__(f"{code} {message}".strip())
        self.code = code
        self.message = message
        self.meaning = meaning

    @property
    def throttled(self) -> bool:
        return self.meaning is Meaning.THROTTLED


class Execution(NamedTuple):
    """One fill of ours, and what the venue says it realised."""

    fill: Fill
    realized: Decimal | None


class LabelledFill(NamedTuple):
    """One fill in history: signed base coin, and the identity of its order."""

    trade_id: str
    seq: int
    size: Decimal
    label: str | None


class Owner(NamedTuple):
    """The account that answered. `initial_margin` adds up all currencies, and `hold` what open orders bind."""

    account_id: str
    username: str | None
    equity: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    margin_balance: Decimal
    balances: Mapping[str, Decimal]  # every currency with anything in it
    hold: Decimal = Decimal(0)

    @property
    def uses_margin(self) -> bool:
        return self.initial_margin != 0 or self.hold != 0


@dataclass(frozen=True, slots=True)
class Listing:
    """Orders and positions of one look. `complete`: the orders are all there are, not only those a filter shows."""

    orders: tuple[Order, ...]
    positions: tuple[Position, ...]
    spot_orders: int | None  # never touched; None: not counted
    complete: bool = True
    contracts: Mapping[str, Decimal] = field(default_factory=dict)  # base coin in one, where sizes are whole contracts


class Ticker(NamedTuple):
    """The touch, the references and the state of one book."""

    product_id: str
    state: str
    bid: Decimal | None
    ask: Decimal | None
    mark: Decimal | None
    band_low: Decimal | None
    band_high: Decimal | None

    @property
    def mid(self) -> Decimal | None:
        return None if self.bid is None or self.ask is None else (self.bid + self.ask) / 2


class Book(NamedTuple):
    """One book, best first, sizes in base coin."""

    ticker: Ticker
    bids: Levels
    asks: Levels
    at_ms: int


class Product(NamedTuple):
    """What does not change of a product. `contract`: base coin in one, where sizes are whole contracts."""

    product_id: str
    underlying: str
    tick: Decimal
    size_step: Decimal
    taker_fee: Decimal | None
    contract: Decimal | None = None


class Session(NamedTuple):
    """A trading session: whether nothing can be traded or cancelled now, and when it opens as far as told."""

    product_id: str
    opens_ms: int | None


class Lately(NamedTuple):
    """What happened to futures since some moment: closes of any kill, from this host or another, and every fill.

    The fills were asked for after the closes. Sizes in base coin.
    """

    closes: tuple[Order, ...]
    fills: tuple[Fill, ...]


class Venue(Protocol):
    """One account at one venue, entered with the first of several keys that reaches the pinned account.

    Reads raise NoAnswer for what proves nothing, Said for a refusal, CredentialError; a write is sent once.
    """

    terms: Terms
    pin: Pin | None
    owner: Owner | None
    notes: list[str]  # what an operator should know of the keys, once each

    @property
    def key_id(self) -> str | None: ...
    @property
    def key_scope(self) -> str | None: ...
    @property
    def key_file(self) -> Path | None: ...

    def enter(self) -> Owner | None:
        """Sign in with the first key that reaches the pinned account; None: signed in, account not yet readable."""

    def reaches_pin(self, owner: Owner) -> bool:
        """Whether this is the pinned account."""

    def hang_up(self) -> None:
        """Drop idle connections: the venue ended them, or moved."""

    def learn_market_clock(self) -> None:
        """Measure the venue's clock."""

    def market_ms(self) -> int:
        """The venue's clock as last measured."""

    # -- reads

    def account(self) -> Owner:
        """Identity, money, margin in use."""

    def listing(self, *, quick: bool) -> Listing:
        """Orders and positions, read at the same time; `quick` may show only orders that can surely still fill."""

    def states(self, orders: Sequence[Order]) -> Mapping[str, Order]:
        """How these stand by their own ids; one that the venue does not show is left out."""

    def ticker(self, product_id: str) -> Ticker: ...
    def book(self, product_id: str) -> Book: ...
    def product(self, product_id: str) -> Product: ...

    def shut(self, product_ids: Sequence[str]) -> tuple[Session, ...]:
        """Which of these products' sessions are closed now."""

    def labelled_fills(self, position: Position) -> tuple[LabelledFill, ...]:
        """Every fill of a position's product, each with the identity of its order."""

    # -- writes

    def cancel_entries(self, currencies: Sequence[str], seen: Sequence[Order]) -> list[int | Exception]:
        """One mass cancel of what is no trigger for each currency, those of `seen` included: the venue's counts."""

    def cancel(self, orders: Sequence[Order]) -> list[Exception | None]:
        """Each by its id; None: the venue took the request."""

    def close(self, close: Close, label: str) -> tuple[Order, tuple[Execution, ...]]:
        """One close under this identity, and the fills that came with its answer. NoAnswer with `sent`: unknown."""

    def find_close(self, close: Close, label: str) -> tuple[Order, tuple[Execution, ...]] | None:
        """What became of a close that got no answer; None: not found, or not ended, yet."""


class CappedVenue(Venue, Protocol):
    """One without reduce-only: closes are capped by whoever sends them; one identity makes one order."""

    def lately(self, since_ms: int) -> Lately:
        """Closes of kills and all fills since this moment of the venue's clock."""

    def last_close(self, product_id: str) -> Order | None:
        """The newest close of a product by any kill; None: not among its newest orders."""

    def depth(self, product_id: str) -> Book:
        """The book alone: of its state nothing is told, and a close that may not go is refused."""

    def executions(self, orders: Sequence[Order]) -> tuple[Execution, ...]:
        """The fills of these orders, as far as they are shown."""

    def put_stop(self, stop: Order, size: Decimal, label: str) -> None:
        """A protective stop like one that was cancelled, of this size."""


def market_of(product_id: str, product: Product | None, ticker: Ticker | None) -> Market:
    """What a close must know, as far as it could be read."""
    return Market(
        product_id=product_id,
        underlying=product.underlying if product else product_id.split("_")[0].split("-")[0],
        tick=product.tick if product else None,
        size_step=product.size_step if product else None,
        bid=ticker.bid if ticker else None,
        ask=ticker.ask if ticker else None,
        band_low=ticker.band_low if ticker else None,
        band_high=ticker.band_high if ticker else None,
    )
