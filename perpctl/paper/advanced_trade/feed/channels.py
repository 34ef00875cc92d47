"""This file turns what happens in the exchange into the events of each market channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from perpctl.paper.advanced_trade.listing import contracts, display_name, moment, text
from perpctl.paper.advanced_trade.market import candle_row, trade_row
from perpctl.paper.core import Exchange
from perpctl.paper.events import BookChanged, Event, PublicTradePrinted, StateChanged
from perpctl.paper.types import Product, TickerView

Row = dict[str, Any]
WHOLE_BOOK = 10_000
CANDLE_MINUTES = 5
FIRST_CANDLES, FIRST_TRADES = 100, 100
_YEAR_MS = 364 * 86_400_000


class Stream(Protocol):
    """One subscribed channel: it sees events, and says when asked what is worth a message."""

    def see(self, event: Event) -> None:
        """Take note of something that happened."""

    def take(self) -> list[list[Row]]:
        """The event lists of the messages due since the last call; the first call's are the snapshot."""


@dataclass
class Heartbeats:
    """One a second, counted; the time is Go's, with its monotonic clock."""

    exchange: Exchange
    began_ms: int
    count: int = 0

    def see(self, event: Event) -> None:
        """Nothing."""

    def take(self) -> list[list[Row]]:
        self.count += 1
        now = self.exchange.now
        shown = (moment(now // 1000 * 1000) or "").replace("T", " ").removesuffix("Z")
        since = (now - self.began_ms) / 1000
        row = {
            "current_time": f"{shown}.{now % 1000:03d}000000 +0000 UTC m=+{since:.9f}",
            "heartbeat_counter": self.count,
        }
        return [[row]]


@dataclass
class Candles:
    """Buckets of five minutes: the latest ones first, then whichever changed."""

    exchange: Exchange
    products: list[Product]
    _told: dict[str, Row] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        """Nothing: the bars tell."""

    def take(self) -> list[list[Row]]:
        first = not self._told
        span = (FIRST_CANDLES if first else 1) * CANDLE_MINUTES * 60_000
        rows: list[Row] = []
        for product in self.products:
            bars = self.exchange.candles(product.name, self.exchange.now - span, self.exchange.now, CANDLE_MINUTES)
            shown = [candle_row(product, bar) | {"product_id": product.name} for bar in bars[::-1]]
            if first or (shown and self._told.get(product.name) != shown[0]):
                rows += shown
            if shown:
                self._told[product.name] = shown[0]
        if not rows and not first:
            return []
        return [[{"type": "snapshot" if first else "update", "candles": rows}]]


@dataclass
class MarketTrades:
    """The latest trades first, then every one, in batches; `side` is the maker's."""

    exchange: Exchange
    products: list[Product]
    _rows: list[Row] = field(default_factory=list)
    _began: bool = False

    def see(self, event: Event) -> None:
        if isinstance(event, PublicTradePrinted):
            for product in self.products:
                if product.name == event.trade.product:
                    self._rows.insert(0, trade_row(product, event.trade))

    def take(self) -> list[list[Row]]:
        if not self._began:
            self._began, self._rows = True, []
            latest = [
                trade_row(product, trade)
                for product in self.products
                for trade in self.exchange.public_trades(product.name)[-FIRST_TRADES:][::-1]
            ]
            return [[{"type": "snapshot", "trades": latest}]]
        found, self._rows = self._rows, []
        return [[{"type": "update", "trades": found}]] if found else []


@dataclass
class Statuses:
    """Every product once, then those whose state changed."""

    exchange: Exchange
    products: list[Product]
    _stale: set[str] | None = None  # None before the snapshot

    def see(self, event: Event) -> None:
        if isinstance(event, StateChanged) and self._stale is not None:
            names = {product.name for product in self.products}
            self._stale |= names if event.product is None else names & {event.product}

    def take(self) -> list[list[Row]]:
        first, chosen = self._stale is None, self._stale
        self._stale = set()
        rows = [self._row(product) for product in self.products if chosen is None or product.name in chosen]
        return [[{"type": "snapshot" if first else "update", "products": rows}]] if rows or first else []

    def _row(self, product: Product) -> Row:
        future = product.kind == "future"
        state = "online" if self.exchange.ticker(product.name).state == "open" else "offline"
        return {
            "product_type": "FUTURE" if future else "SPOT",
            "id": product.name,
            "base_currency": product.base,
            "quote_currency": product.quote,
            "base_increment": "1" if future else text(product.contract_size),
            "quote_increment": "0.01",
            "display_name": display_name(product),
            "status": "delisted" if self.exchange.now > product.expires_ms else state,
            "status_message": "",
            "min_market_funds": "1",
        }


@dataclass
class Tickers:
    """A product's ticker after each match (`each_match`), or all of them every few seconds without best prices."""

    exchange: Exchange
    products: list[Product]
    each_match: bool
    _stale: set[str] = field(default_factory=set)
    _began: bool = False

    def see(self, event: Event) -> None:
        if self.each_match and isinstance(event, PublicTradePrinted):
            self._stale.add(event.trade.product)

    def take(self) -> list[list[Row]]:
        first, self._began = not self._began, True
        chosen = [one for one in self.products if first or not self.each_match or one.name in self._stale]
        self._stale.clear()
        if not chosen:
            return []
        return [[{"type": "snapshot" if first else "update", "tickers": [self._row(one) for one in chosen]}]]

    def _row(self, product: Product) -> Row:
        view = self.exchange.ticker(product.name)
        low, high = self._year(product, view)
        row = {
            "type": "ticker",
            "product_id": product.name,
            "price": text(view.last_price),
            "volume_24_h": text(contracts(product, view.volume)),
            "low_24_h": text(view.low),
            "high_24_h": text(view.high),
            "low_52_w": text(low),
            "high_52_w": text(high),
            "price_percent_chg_24_h": text(view.price_change),
        }
        return row | (_best(product, view) if self.each_match else {})

    def _year(self, product: Product, view: TickerView) -> tuple[Decimal | None, Decimal | None]:
        bars = self.exchange.candles(product.name, self.exchange.now - _YEAR_MS, self.exchange.now, 24 * 60)
        return min((bar.low for bar in bars), default=view.low), max((bar.high for bar in bars), default=view.high)


def _best(product: Product, view: TickerView) -> Row:
    bid, ask = view.best_bid_amount, view.best_ask_amount
    return {
        "best_bid": text(view.best_bid_price),
        "best_bid_quantity": text(contracts(product, bid)) if bid is not None else "",
        "best_ask": text(view.best_ask_price),
        "best_ask_quantity": text(contracts(product, ask)) if ask is not None else "",
    }


@dataclass
class Level2:
    """Books whole first, then each change; a quantity is absolute, "0" takes the level away."""

    exchange: Exchange
    products: list[Product]
    depth: int = WHOLE_BOOK
    _sides: dict[str, dict[str, dict[Decimal, Decimal]]] = field(default_factory=dict)
    _stale: set[str] = field(default_factory=set)

    def see(self, event: Event) -> None:
        if isinstance(event, BookChanged):
            self._stale.add(event.product)

    def take(self) -> list[list[Row]]:
        messages = []
        for product in self.products:
            first = product.name not in self._sides
            if first or product.name in self._stale:
                updates = self._updates(product)
                if updates or first:
                    kind = "snapshot" if first else "update"
                    messages.append([{"type": kind, "product_id": product.name, "updates": updates}])
        self._stale.clear()
        return messages

    def _updates(self, product: Product) -> list[Row]:
        view = self.exchange.book(product.name, self.depth)
        before, rows = self._sides.get(product.name, {}), []
        now = {"bid": dict(view.bids), "offer": dict(view.asks)}
        for side, levels in now.items():
            old = before.get(side, {})
            gone = {price: Decimal(0) for price in old if price not in levels}
            fresh = {price: amount for price, amount in levels.items() if old.get(price) != amount}
            rows += [self._row(product, side, view.at_ms, level) for level in (gone | fresh).items()]
        self._sides[product.name] = now
        return rows

    @staticmethod
    def _row(product: Product, side: str, at_ms: int, level: tuple[Decimal, Decimal]) -> Row:
        return {
            "side": side,
            "event_time": moment(at_ms),
            "price_level": text(level[0]),
            "new_quantity": text(contracts(product, level[1])),
        }


Opener = Callable[[Exchange, list[Product]], Stream]
# subscribed name -> (message channel, seconds between messages: 0 at once, opener)
MARKET: dict[str, tuple[str, float, Opener]] = {
    "heartbeats": ("heartbeats", 1.0, lambda exchange, products: Heartbeats(exchange, exchange.now)),
    "candles": ("candles", 1.0, Candles),
    "market_trades": ("market_trades", 0.25, MarketTrades),
    "status": ("status", 0.0, Statuses),
    "ticker": ("ticker", 0.0, lambda exchange, products: Tickers(exchange, products, True)),
    "ticker_batch": ("ticker_batch", 5.0, lambda exchange, products: Tickers(exchange, products, False)),
    "level2": ("l2_data", 0.0, Level2),
}
