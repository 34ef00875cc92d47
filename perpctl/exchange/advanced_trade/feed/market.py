"""This file listens to the market: books level by level, and quotes made of their touch and the product beside it."""

from __future__ import annotations

from collections.abc import Sequence

from perpctl.clock import Clock
from perpctl.errors import PerpctlError
from perpctl.exchange.advanced_trade.listing import Listing
from perpctl.exchange.advanced_trade.wire import products, words
from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.both.book_side import BookSide
from perpctl.exchange.both.document import Malformed, Row, rows_of, text
from perpctl.exchange.both.inbox import Inbox
from perpctl.exchange.port import Beat, BookSeen, FeedLost, FeedResumed, QuoteSeen
from perpctl.model.instrument import Book, Quote

LEVEL2, TOLD = "level2", "l2_data"
LEVELS = 20
PRODUCT_EVERY_S = 5.0  # index, funding, session and open interest come over no channel
PRODUCT_STALE_S = 60.0
FIRST_MESSAGE_S = 5.0


class Depth:
    """One product's book, in contracts; quantities are absolute."""

    def __init__(self, unit: Contract) -> None:
        self.unit = unit
        self._bids, self._asks = BookSide(), BookSide()
        self._at_ms = 0
        self.is_whole = False

    def apply(self, event: Row, at: object) -> None:
        """A snapshot or an update. Raises Malformed; an update before the first snapshot says nothing."""
        if event.get("type") == "snapshot":
            self._bids, self._asks, self.is_whole = BookSide(), BookSide(), True
        elif not self.is_whole:
            return
        for update in rows_of(event.get("updates"), "updates"):
            side = {"bid": self._bids, "offer": self._asks}.get(str(update.get("side")))
            price, amount = words.need_number(update, "price_level"), words.need_number(update, "new_quantity")
            if side is None or price <= 0 or amount < 0:
                raise Malformed(f"a level of the book cannot be read: {str(dict(update))[:120]}")
            side.put(price, amount)
        self._at_ms = words.need_moment({"timestamp": at}, "timestamp")

    def book(self, seen: float) -> Book:
        """The best levels in base coin; drawn only when somebody looks."""
        bids, asks = self._bids.highest(LEVELS), self._asks.lowest(LEVELS)
        return Book(
            product_id=self.unit.product_id,
            bids=tuple((price, self.unit.coin(amount)) for price, amount in bids),
            asks=tuple((price, self.unit.coin(amount)) for price, amount in asks),
            change_id=None,
            at_ms=self._at_ms,
            seen=seen,
        )


class MarketEnd:
    """Our end of the market socket."""

    channels: Sequence[str] = (LEVEL2,)

    def __init__(self, units: Sequence[Contract], inbox: Inbox, clock: Clock, listing: Listing) -> None:
        self.products = tuple(unit.product_id for unit in units)
        self._units = {unit.product_id: unit for unit in units}
        self._inbox = inbox
        self._clock = clock
        self._listing = listing
        self._depths: dict[str, Depth] = {}
        self._rows: dict[str, tuple[Row, float]] = {}  # by product: as listed, and when
        self._live: dict[str, float] = {}  # by product: when its book was last confirmed
        self._refused = False

    @property
    def refused(self) -> tuple[str, ...]:
        return (LEVEL2,) if self._refused else ()

    async def up(self) -> None:
        """Every book's snapshot must come soon; one that does not is named."""
        self._refused = False
        ends = self._clock.monotonic() + FIRST_MESSAGE_S
        while len(self._live) < len(self.products) and self._clock.monotonic() < ends:
            await self._clock.sleep(0.02)
        for product_id in self.products:
            if product_id not in self._live:
                self._inbox.put(FeedLost(_book_of(product_id), f"nothing came for {FIRST_MESSAGE_S:.0f} s"))

    def missing(self, channel: str) -> None:
        self._refused = True
        self._inbox.put(FeedLost(channel, "the venue does not confirm the subscription"))

    def heard(self, channel: str, events: Sequence[Row], at: object) -> None:
        if channel != TOLD:
            return
        now = self._clock.monotonic()
        for event in events:
            product_id = text(event, "product_id")
            if product_id not in self._units:
                continue
            depth = self._depths.setdefault(product_id, Depth(self._units[product_id]))
            depth.apply(event, at)
            if depth.is_whole:
                self._news(product_id, depth, now)

    def _news(self, product_id: str, depth: Depth, now: float) -> None:
        if product_id not in self._live:
            self._inbox.put(FeedResumed(_book_of(product_id)))
        self._live[product_id] = now
        self._inbox.put_latest(_book_of(product_id), lambda: BookSeen(depth.book(now)))
        self._tell_quote(product_id, depth)

    def _tell_quote(self, product_id: str, depth: Depth) -> None:
        seen = self._live[product_id]
        if product_id in self._rows:
            self._inbox.put_latest(_quote_of(product_id), lambda: QuoteSeen(self._quote(product_id, depth, seen)))

    def _quote(self, product_id: str, depth: Depth, seen: float) -> Quote:
        """The touch of the book with what the product says; an index that nobody confirmed for long is left out."""
        row, listed_at = self._rows[product_id]
        if self._clock.monotonic() - listed_at > PRODUCT_STALE_S:
            details = {**row["future_product_details"], "index_price": ""}
            row = {**row, "future_product_details": details, "fcm_trading_session_details": None}
        return products.quote(row, depth.book(seen), seen)

    def alive(self) -> None:
        """A heartbeat confirms every book of this socket, also one in which nothing happened."""
        now = self._clock.monotonic()
        self._inbox.put_latest("beat", lambda: Beat(now))
        for product_id in self._live:
            self._news(product_id, self._depths[product_id], now)

    def down(self, cause: str) -> None:
        for product_id in self.products:
            self._inbox.forget(_book_of(product_id))
            self._inbox.forget(_quote_of(product_id))
            self._inbox.put(FeedLost(_book_of(product_id), cause))
        self._live.clear()
        self._depths.clear()

    async def keep_listed(self) -> None:
        """Read each product again and again, until cancelled; one that cannot be read grows old."""
        while True:
            for product_id in self.products:
                await self._list(product_id)
            await self._clock.sleep(PRODUCT_EVERY_S)

    async def _list(self, product_id: str) -> None:
        try:
            row = await self._listing.row(product_id)
        except PerpctlError:
            return
        self._rows[product_id] = row, self._clock.monotonic()
        if product_id in self._live:  # in a still market no news of the book would tell it
            self._tell_quote(product_id, self._depths[product_id])


def _book_of(product_id: str) -> str:
    return f"book.{product_id}"


def _quote_of(product_id: str) -> str:
    return f"ticker.{product_id}"
