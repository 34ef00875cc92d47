"""This file holds what stream messages have shown of each product's market so far, and says it as ticks."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, cast, get_args

import msgspec

from perpctl.paper.types import BookState, Ladder, Level, Print, Product, Tick

LEVELS = 100  # of a captured side are played; beyond them a market order finds nobody
ZERO = Decimal(0)
TOP, SOME_LEVELS, WHOLE = 1, 2, 3  # how much of a book a channel shows

_BEST = ("best_bid_price", "best_bid_amount", "best_ask_price", "best_ask_amount")

decode = msgspec.json.Decoder(float_hook=Decimal).decode


class Contradiction(Exception):
    """A message that cannot follow on those before it, or is not of the products here."""


@dataclass(slots=True)
class _Side:
    """One side of a book: levels by price, and the prices in order with the best last."""

    sign: int
    levels: dict[Decimal, Level] = field(default_factory=dict)
    order: list[Decimal] = field(default_factory=list)  # of sign * price

    def put(self, price: Decimal, amount: Decimal) -> None:
        key = self.sign * price
        if amount:
            if price not in self.levels:
                insort(self.order, key)
            self.levels[price] = (price, amount)
        elif self.levels.pop(price, None):
            del self.order[bisect_left(self.order, key)]

    def best_first(self) -> tuple[Level, ...]:
        return tuple(self.levels[self.sign * key] for key in reversed(self.order[-LEVELS:]))


@dataclass(slots=True)
class _Sight:
    """One product's market. `source` is the channel that its book is taken from, `depth` how much that shows."""

    product: Product
    bids: _Side = field(default_factory=lambda: _Side(1))
    asks: _Side = field(default_factory=lambda: _Side(-1))
    source: str = ""
    depth: int = 0
    change_id: int = 0
    index: Decimal | None = None
    mark: Decimal | None = None
    state: BookState | None = None
    told_state: BookState = "open"
    prints: list[Print] = field(default_factory=list)
    book_is_news: bool = False
    is_news: bool = False

    def shows(self, channel: str, depth: int) -> bool:
        """Whether that channel is the one to take the book from: the first of those that show most."""
        if depth > self.depth:
            self.source, self.depth = channel, depth
            self.bids, self.asks = _Side(1), _Side(-1)
        return channel == self.source

    def price(self, value: object) -> Decimal:
        found = number(value)
        if found <= 0 or found % self.product.tick:
            raise Contradiction(
                f"has a price of {found}, which is not on {self.product.name}'s grid of {self.product.tick}"
            )
        return found

    def amount(self, value: object) -> Decimal:
        found = number(value)
        if found < 0 or found % self.product.contract_size:
            size = self.product.contract_size
            raise Contradiction(f"has an amount of {found}, which is no multiple of {self.product.name}'s {size}")
        return found

    def changed(self) -> None:
        """The book is another one. Raises Contradiction when nobody could have seen it."""
        if self.bids.order and self.asks.order and self.bids.order[-1] >= -self.asks.order[-1]:
            raise Contradiction(f"leaves {self.product.name} with a bid at or above the ask")
        self.book_is_news = self.is_news = True

    def tick(self, at_ms: int) -> Tick | None:
        """The news as a tick; None as long as book, mark or index are not known."""
        if not self.depth or self.index is None or self.mark is None:
            return None
        bids, asks = self.bids.best_first(), self.asks.best_first()
        bid, ask = (bids or ((ZERO, ZERO),))[0], (asks or ((ZERO, ZERO),))[0]
        state = self.state if self.state != self.told_state else None
        told = Tick(
            self.product.name,
            at_ms,
            bid[0],
            ask[0],
            bid[1],
            ask[1],
            self.index,
            self.mark,
            tuple(self.prints),
            Ladder(bids, asks) if self.book_is_news and self.depth > TOP else None,
            not self.book_is_news,
            state,
        )
        self.told_state = state or self.told_state
        self.prints.clear()
        self.book_is_news = self.is_news = False
        return told


def number(value: object) -> Decimal:
    """A JSON number, exactly. Raises TypeError."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise TypeError(f"{value!r} is no number")
    return Decimal(value)


def moment(value: object) -> int:
    """Milliseconds since the epoch. Raises TypeError."""
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise TypeError(f"{value!r} is no timestamp")
    return value


class Sights:
    """Every tradable product's market; messages about others are passed over. Methods return the message's time."""

    def __init__(self, products: tuple[Product, ...]) -> None:
        self._of = {product.name: _Sight(product) for product in products if product.tradable}

    def ticks(self, at_ms: int) -> Iterator[Tick]:
        """What the latest message changed."""
        for sight in self._of.values():
            if sight.is_news and (tick := sight.tick(at_ms)) is not None:
                yield tick

    def book(self, name: str, channel: str, content: dict[str, Any]) -> int:
        """A whole book, or what changed in it since the message before."""
        at_ms, sight = moment(content["timestamp"]), self._of.get(name)
        if sight is None or not sight.shows(channel, WHOLE):
            return at_ms
        if content["type"] == "snapshot":
            sight.bids, sight.asks = _Side(1), _Side(-1)
        elif content["prev_change_id"] != sight.change_id:
            known = f"follows {sight.change_id}" if sight.change_id else "changes a book that no snapshot began"
            raise Contradiction(f"misses a message before it: prev_change_id {content['prev_change_id']} {known}")
        sight.change_id = moment(content["change_id"])
        for side, rows in ((sight.bids, content["bids"]), (sight.asks, content["asks"])):
            for act, price, amount in rows:
                side.put(sight.price(price), ZERO if act == "delete" else sight.amount(amount))
        sight.changed()
        return at_ms

    def top_levels(self, name: str, channel: str, content: dict[str, Any]) -> int:
        """The best levels, whole each time."""
        at_ms, sight = moment(content["timestamp"]), self._of.get(name)
        if sight is not None and sight.shows(channel, SOME_LEVELS):
            sight.bids, sight.asks = _Side(1), _Side(-1)
            for side, rows in ((sight.bids, content["bids"]), (sight.asks, content["asks"])):
                for price, amount in rows:
                    side.put(sight.price(price), sight.amount(amount))
            sight.changed()
        return at_ms

    def prices(self, name: str, channel: str, content: dict[str, Any]) -> int:
        """Quotes and tickers: the best prices, mark, index, state; members that are absent did not change."""
        at_ms, sight = moment(content["timestamp"]), self._of.get(name)
        if sight is None:
            return at_ms
        if "mark_price" in content or "index_price" in content:
            sight.mark = number(content["mark_price"]) if "mark_price" in content else sight.mark
            sight.index = number(content["index_price"]) if "index_price" in content else sight.index
            sight.is_news = True
        if "state" in content:
            _note_state(sight, content["state"])
        if any(name in content for name in _BEST) and sight.shows(channel, TOP):
            for side, word in ((sight.bids, "bid"), (sight.asks, "ask")):
                _put_best(sight, side, content.get(f"best_{word}_price"), content.get(f"best_{word}_amount"))
            sight.changed()
        return at_ms

    def trades(self, rows: list[dict[str, Any]]) -> int | None:
        """Market trades: prints, and the mark and index prices that they carry."""
        at_ms = None
        for row in rows:
            at_ms, sight = moment(row["timestamp"]), self._of.get(row["instrument_name"])
            if sight is None:
                continue
            if row["direction"] not in ("buy", "sell"):
                raise ValueError(f"direction {row['direction']!r}")
            sight.prints.append(Print(row["direction"], sight.price(row["price"]), sight.amount(row["amount"])))
            sight.mark, sight.index = number(row["mark_price"]), number(row["index_price"])
            sight.is_news = True
        return at_ms

    def index(self, index_name: str, price: object, at_ms: object) -> int:
        """An index price, of every product that follows it."""
        for sight in self._of.values():
            if sight.product.price_index == index_name:
                sight.index, sight.is_news = number(price), True
        return moment(at_ms)

    def index_of(self, name: str, price: object, at_ms: object) -> int:
        """One product's index price."""
        if sight := self._of.get(name):
            sight.index, sight.is_news = number(price), True
        return moment(at_ms)

    def state(self, name: str, state: str, at_ms: object) -> int:
        """A book that opens, locks or halts."""
        if sight := self._of.get(name):
            _note_state(sight, state)
        return moment(at_ms)

    def lock(self, index_name: str, locked: bool) -> None:
        """The platform locks or opens every book of an index; told with the next message that has a time."""
        for sight in self._of.values():
            if sight.product.price_index == index_name:
                _note_state(sight, "locked" if locked else "open")


def _note_state(sight: _Sight, state: str) -> None:
    """States that no book here knows (created, archivized ...) change nothing."""
    if state in get_args(BookState):
        sight.state = cast(BookState, state)
        sight.is_news = sight.is_news or state != sight.told_state


def _put_best(sight: _Sight, side: _Side, price: object, amount: object) -> None:
    """A new best level, or another amount at the old one; price 0 or null is an empty side."""
    old = next(iter(side.levels.values()), None)
    if price is None and amount is None:
        return
    at = number(price) if price is not None else old[0] if old else ZERO
    there = sight.amount(amount) if amount is not None else old[1] if old else ZERO
    side.levels.clear()
    side.order.clear()
    if at:
        side.put(sight.price(at), there)
