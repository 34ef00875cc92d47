"""This file holds what the bot knows of one product that it trades."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from perpctl.engine.state.holding import Held
from perpctl.engine.strategy import Desired, Strategy
from perpctl.exchange.port import VenueTerms
from perpctl.model.books.ledger import Tally
from perpctl.model.instrument import Book, BookState, Instrument, Quote
from perpctl.model.money import floor_to
from perpctl.model.order import OrderRequest, OrderType, Purpose, Side, TimeInForce

HUNDRED = Decimal(100)
MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class Leaving:
    """A position that is to be closed, or shrunk by `exit`, as soon as nothing else can close what that closes."""

    reason: str
    at_market: bool
    exit: OrderRequest | None = None  # what the strategy decided on; None: all of it, by the guard's own order
    until: float | None = None  # an exit that could not be sent by then is forgotten


@dataclass(slots=True)
class Product:
    """Quote, book, position and wishes; times are our monotonic counter in seconds unless they end in `_ms`."""

    instrument: Instrument
    strategy: Strategy
    held: Held = field(init=False)
    quote: Quote | None = None
    book: Book | None = None
    waiting: tuple[Desired, ...] = ()  # wishes whose side still holds an order that has to go first
    waiting_since: float = 0.0
    bare_since: float | None = None  # in a position that no stop covers
    closing: str | None = None  # identity of the order that closes it whole
    exiting: bool = False  # that order is an exit of the strategy's
    leaving: Leaving | None = None  # to be closed when its other closing orders are gone
    retry_at: float = 0.0  # of the stop, after a refusal
    uneven_since: float | None = None  # since when its stops are of the wrong size
    close_at: float = 0.0  # of the next close, after one was sent or held up
    proven_at: float | None = None  # when the venue last told the position
    changed_at: float = 0.0  # of the last fill
    spec_changed: bool = False
    specified_at: float = 0.0  # when its specification was read last
    prices: deque[tuple[int, Decimal]] = field(default_factory=deque)  # of the last minute, market ms

    def __post_init__(self) -> None:
        self.held = Held(Tally(self.instrument.product_id))

    @property
    def product_id(self) -> str:
        return self.instrument.product_id

    @property
    def position(self) -> Decimal:
        return self.held.size

    def quoted(self, quote: Quote) -> None:
        """Take a new quote."""
        self.quote = quote
        mid = quote.mid
        if mid is None or (self.prices and quote.at_ms - self.prices[-1][0] < 1000):
            return
        self.prices.append((quote.at_ms, mid))
        while len(self.prices) > 1 and self.prices[1][0] <= quote.at_ms - MINUTE_MS:
            self.prices.popleft()

    def rounds_otherwise(self, now: Instrument) -> bool:
        """Whether what orders are rounded to is not what it was."""
        then = self.instrument
        return (then.tick, then.size_step, then.min_size) != (now.tick, now.size_step, now.min_size)

    @property
    def is_tradable(self) -> bool:
        """Whether there is a two-sided quote of an open book."""
        quote = self.quote
        return quote is not None and quote.state is BookState.OPEN and quote.mid is not None and not self.spec_changed

    @property
    def move_1m_pct(self) -> Decimal | None:
        """Percent, absolute, over the last minute of prices; None: not a minute of them yet."""
        if not self.prices or self.quote is None or self.quote.mid is None:
            return None
        start_ms, start = self.prices[0]
        if self.quote.at_ms - start_ms < MINUTE_MS:
            return None
        return abs(self.quote.mid / start - 1) * HUNDRED

    @property
    def mark(self) -> Decimal | None:
        """What the position is valued at by the venue, or the next best."""
        if self.quote is None:
            return None
        return self.quote.mark or self.quote.mid or self.quote.last

    @property
    def worse_price(self) -> Decimal | None:
        """The worse of mark and index for what is held."""
        mark = self.mark
        if mark is None or self.quote is None or self.quote.index is None:
            return mark
        return min(mark, self.quote.index) if self.position > 0 else max(mark, self.quote.index)

    def entry(self, wish: Desired, identity: str, may_increase: bool, terms: VenueTerms) -> OrderRequest | None:
        """The order for a wish; None when nothing is left of it.

        What is taken against the position closes at most the position: no order of ours changes its sign. What rests
        against it and fits into it goes out reduce-only too where the venue enforces that: an exit must not wait for
        what guards entries. Elsewhere it could turn the position around later, and is an entry.
        """
        against = wish.side.sign * self.position < 0
        reduces = against and (wish.take or (terms.reduces_only and wish.size <= abs(self.position)))
        if not may_increase and not (reduces and wish.take):
            return None
        size = floor_to(min(wish.size, abs(self.position)) if reduces else wish.size, self.instrument.size_step)
        if size < self.instrument.min_size:
            return None
        return OrderRequest(
            identity=identity,
            product_id=self.product_id,
            side=wish.side,
            size=size,
            type=OrderType.LIMIT,
            price=wish.price,
            time_in_force=TimeInForce.IOC if wish.take else _resting(terms),
            post_only=not wish.take,
            reduce_only=reduces,
            purpose=self._purpose(size, against, reduces),
        )

    def _purpose(self, size: Decimal, against: bool, reduces: bool) -> Purpose:
        """Only what is sent reduce-only is called an exit: a resting order may meet another position than today's."""
        if reduces:
            return Purpose.CLOSE if size == abs(self.position) else Purpose.REDUCE
        return Purpose.INCREASE if self.position and not against else Purpose.OPEN

    @property
    def closing_side(self) -> Side:
        return Side.SELL if self.position > 0 else Side.BUY

    @property
    def apart_pct(self) -> Decimal | None:
        """How far the reference price and the index are apart, in percent; None when one is missing."""
        quote = self.quote
        if quote is None or not quote.reference or not quote.index:
            return None
        return abs(quote.reference / quote.index - 1) * HUNDRED

    def worth(self, price: Decimal | None) -> Decimal | None:
        """Cash of our fills plus the position at `price`; None when something is held and nothing values it."""
        if not self.position:
            return self.held.cash
        return None if price is None else self.held.cash + self.position * price


def _resting(terms: VenueTerms) -> TimeInForce:
    """How long entries rest: until they are cancelled, or as long as the venue's terms say."""
    return TimeInForce.GTC if terms.entries_end_s is None else TimeInForce.GTD
