"""What can be traded, in the venue's own increments, with sizes as base coin."""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from perpctl.model.venue.margin import WindowRates


class TradingSession(Struct, frozen=True):
    """A venue's session for a product; outside of it nothing can be placed, cancelled or closed."""

    is_open: bool
    opens_ms: int | None
    closes_ms: int | None
    stop_starts_ms: int | None  # the next announced stop
    stop_ends_ms: int | None
    closed_reason: str | None  # None: open, or not said


class BookState(StrEnum):
    """Coinbase's book states; a value we do not know reads as UNKNOWN and forbids entries."""

    OPEN = "open"
    LOCKED = "locked"  # cancels only
    SETTLEMENT = "settlement"
    HALTED = "halted"
    INACTIVE = "inactive"
    UNKNOWN = "unknown"


class Instrument(Struct, frozen=True):
    """A perpetual of the venue."""

    product_id: str  # BTC_USDC-PERPETUAL
    symbol: str  # the operator's word: BTC-PERP
    base: str  # BTC
    currency: str  # settlement currency: USDC
    tick: Decimal  # price increment
    size_step: Decimal  # base coin
    min_size: Decimal  # base coin
    maker_fee: Decimal | None  # fraction of notional; None: not known
    taker_fee: Decimal | None
    max_leverage: Decimal | None
    state: BookState
    price_decimals: int
    size_decimals: int
    margin_rates: tuple[WindowRates, ...] = ()  # by margin window, where the venue publishes them for the product
    contract_size: Decimal | None = None  # base coin in one contract, where the venue counts in whole ones
    max_size: Decimal | None = None  # base coin in one order; None: not told
    session: TradingSession | None = None  # None: it trades around the clock
    valued_by: str = "mark"  # the price that the venue values a position at
    mark_absent: str | None = None  # why there is no mark price; None: there is one

    def contracts(self, size: Decimal) -> Decimal | None:
        """Signed base coin in contracts; None where the venue does not count in them."""
        return None if self.contract_size is None else size / self.contract_size


class Quote(Struct, frozen=True):
    """The touch and the venue's reference prices, each absent when the venue did not send it.

    `at_ms` is market time as the venue stamped it; `seen` is our monotonic counter when it arrived, for its age.
    """

    product_id: str
    bid: Decimal | None
    bid_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None
    mark: Decimal | None
    index: Decimal | None
    last: Decimal | None
    band_low: Decimal | None
    band_high: Decimal | None
    funding_8h: Decimal | None
    current_funding: Decimal | None
    open_interest: Decimal | None
    state: BookState
    at_ms: int
    seen: float

    @property
    def mid(self) -> Decimal | None:
        """Half way between bid and ask; None when one side is missing or crossed."""
        if self.bid is None or self.ask is None or self.bid > self.ask:
            return None
        return (self.bid + self.ask) / 2

    @property
    def reference(self) -> Decimal | None:
        """The price that orders and the index are held against: the mark, and where the venue has none, the mid."""
        return self.mark if self.mark is not None else self.mid


class Book(Struct, frozen=True):
    """Depth, best first; sizes in base coin. `change_id` is the venue's sequence; None: it has none."""

    product_id: str
    bids: tuple[tuple[Decimal, Decimal], ...]
    asks: tuple[tuple[Decimal, Decimal], ...]
    change_id: int | None
    at_ms: int
    seen: float
