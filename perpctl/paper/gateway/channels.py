"""This file turns what happens in the exchange into the notifications of each subscribed channel."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any

from perpctl.paper.core import Exchange
from perpctl.paper.events import (
    BookChanged,
    Event,
    PublicTradePrinted,
    StateChanged,
    TickerChanged,
)
from perpctl.paper.gateway import rows
from perpctl.paper.gateway.own_channels import user_stream
from perpctl.paper.gateway.streams import INTERVALS, Silent, Stream, chooser
from perpctl.paper.types import TickerView

_WHOLE_BOOK = 10_000
_DEPTHS = (1, 10, 20)


@dataclass
class Snapshots:
    """The latest picture of a product's market, once for each change: ticker, quote, perpetual, price index."""

    exchange: Exchange
    product: str
    draw: Callable[[TickerView], dict[str, Any]]
    _stale: bool = True
    _last: dict[str, Any] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        if isinstance(event, TickerChanged | BookChanged | StateChanged) and event.product == self.product:
            self._stale = True

    def take(self) -> list[Any]:
        if not self._stale:
            return []
        self._stale = False
        picture = self.draw(self.exchange.ticker(self.product))
        if _without_time(picture) == _without_time(self._last):
            return []
        self._last = picture
        return [picture]


@dataclass
class Increments(Snapshots):
    """The whole ticker first, then only the members that changed."""

    def take(self) -> list[Any]:
        before = self._last
        pictures = super().take()
        if not before:
            return [{**picture, "type": "snapshot"} for picture in pictures]
        always = ("timestamp", "instrument_name")
        return [
            {name: value for name, value in picture.items() if name in always or before.get(name) != value}
            | {"type": "change"}
            for picture in pictures
        ]


def _without_time(picture: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in picture.items() if name != "timestamp"}


@dataclass
class Book:
    """The whole book once, then what changed; prev_change_id chains each message to the one before."""

    exchange: Exchange
    product: str
    _change_id: int | None = None
    _sides: dict[str, dict[Decimal, Decimal]] = field(default_factory=dict)
    _stale: bool = True

    def see(self, event: Event) -> None:
        if isinstance(event, BookChanged) and event.product == self.product:
            self._stale = True

    def take(self) -> list[Any]:
        if not self._stale:
            return []
        self._stale = False
        view = self.exchange.book(self.product, _WHOLE_BOOK)
        if view.change_id == self._change_id:
            return []
        first = self._change_id is None
        message: dict[str, Any] = {
            "type": "snapshot" if first else "change",
            "instrument_name": self.product,
            "timestamp": view.at_ms,
            "change_id": view.change_id,
        }
        if not first:
            message["prev_change_id"] = self._change_id
        for side, levels in (("bids", dict(view.bids)), ("asks", dict(view.asks))):
            message[side] = _changes(self._sides.get(side, {}), levels)
            self._sides[side] = levels
        self._change_id = view.change_id
        return [message]


def _changes(before: dict[Decimal, Decimal], after: dict[Decimal, Decimal]) -> list[list[Any]]:
    gone: list[list[Any]] = [["delete", price, 0] for price in before if price not in after]
    return gone + [
        ["change" if price in before else "new", price, amount]
        for price, amount in after.items()
        if before.get(price) != amount
    ]


@dataclass
class GroupedBook:
    """The best levels whole each time, prices grouped to a step."""

    exchange: Exchange
    product: str
    step: Decimal | None
    depth: int
    _change_id: int | None = None

    def see(self, event: Event) -> None:
        """Nothing: change_id tells."""

    def take(self) -> list[Any]:
        view = self.exchange.book(self.product, _WHOLE_BOOK if self.step else self.depth)
        if view.change_id == self._change_id:
            return []
        self._change_id = view.change_id
        return [
            {
                "instrument_name": self.product,
                "timestamp": view.at_ms,
                "change_id": view.change_id,
                "bids": self._grouped(view.bids, ROUND_FLOOR),
                "asks": self._grouped(view.asks, ROUND_CEILING),
            }
        ]

    def _grouped(self, levels: tuple[tuple[Decimal, Decimal], ...], rounding: str) -> list[list[Decimal]]:
        sums: dict[Decimal, Decimal] = {}
        for price, amount in levels:
            at = price if self.step is None else (price / self.step).to_integral_value(rounding) * self.step
            sums[at] = sums.get(at, Decimal(0)) + amount
        return [[price, amount] for price, amount in sums.items()][: self.depth]


@dataclass
class Tape:
    """Market trades, a list a message."""

    exchange: Exchange
    wanted: Callable[[str], bool]  # by product name
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def see(self, event: Event) -> None:
        if isinstance(event, PublicTradePrinted) and self.wanted(event.trade.product):
            size = self.exchange.product(event.trade.product).contract_size
            self._rows.append(rows.public_trade(event.trade, size))

    def take(self) -> list[Any]:
        found, self._rows = self._rows, []
        return [found] if found else []


@dataclass
class Chart:
    """The bar in progress, after each trade in it."""

    exchange: Exchange
    product: str
    minutes: int
    _stale: bool = False

    def see(self, event: Event) -> None:
        if isinstance(event, PublicTradePrinted) and event.trade.product == self.product:
            self._stale = True

    def take(self) -> list[Any]:
        if not self._stale:
            return []
        self._stale = False
        now, length = self.exchange.now, self.minutes * 60_000
        bars = self.exchange.candles(self.product, now - now % length, now, self.minutes)
        return [_bar(bars[-1])] if bars else []


def _bar(candle: Any) -> dict[str, Any]:
    return {
        "tick": candle.at_ms,
        "open": candle.open,
        "high": candle.high,
        "low": candle.low,
        "close": candle.close,
        "volume": candle.volume,
        "cost": rows.money(candle.cost),
    }


@dataclass
class States:
    """Books that open, lock or halt; or the platform, when `platform` is set."""

    exchange: Exchange
    wanted: Callable[[str], bool]
    platform: bool = False
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def see(self, event: Event) -> None:
        if not isinstance(event, StateChanged):
            return
        if self.platform:
            self._rows.append(self._platform(event))
        elif event.product is not None and self.wanted(event.product):
            now = self.exchange.now
            self._rows.append({"instrument_name": event.product, "state": event.state, "timestamp": now})

    def _platform(self, event: StateChanged) -> dict[str, Any]:
        if event.product is None:
            return {"maintenance": event.state == "maintenance"}
        return {"price_index": self.exchange.product(event.product).price_index, "locked": event.state == "locked"}

    def take(self) -> list[Any]:
        found, self._rows = self._rows, []
        return list(found)


def open_stream(exchange: Exchange, channel: str, account: int | None) -> tuple[Stream, float] | None:
    """(the stream, seconds between messages) of a channel, or None when there is no such channel.

    `account` is set on the private socket, where user channels live and market channels come raw only.
    """
    words = channel.split(".")
    if words[0] == "user":
        return None if account is None else user_stream(exchange, words[1:], account)
    if account is not None and words[-1] != "raw":
        return None
    return _market_stream(exchange, words)


def _market_stream(exchange: Exchange, words: list[str]) -> tuple[Stream, float] | None:
    every = INTERVALS.get(words[-1])
    match words:
        case ["ticker", name, _] if every is not None and name in exchange.products:
            return Snapshots(exchange, name, _ticker_of(exchange, name)), every
        case ["incremental_ticker", name] if name in exchange.products:
            return Increments(exchange, name, _ticker_of(exchange, name)), 0.1
        case ["quote", name] if name in exchange.products:
            return Snapshots(exchange, name, rows.quote), 0.0
        case ["perpetual", name, _] if every is not None and name in exchange.products:
            return Snapshots(exchange, name, _perpetual), every
        case ["book", name, _] if every is not None and name in exchange.products:
            return Book(exchange, name), every
        case ["book", name, group, depth, _] if every is not None and name in exchange.products:
            return _grouped_book(exchange, name, group, depth, every)
        case ["trades", *which, _] if every is not None and (wanted := chooser(exchange, which)):
            return Tape(exchange, wanted), every
        case ["chart", "trades", name, resolution] if name in exchange.products:
            minutes = {"1D": 1440}.get(resolution) or (int(resolution) if resolution.isdecimal() else 0)
            return (Chart(exchange, name, minutes), 0.1) if 0 < minutes <= 1440 else None
        case ["deribit_price_index", index]:
            names = [p.name for p in exchange.products.values() if p.price_index == index]
            return (Snapshots(exchange, names[0], _index_of(index)), 0.0) if names else None
        case ["instrument", "state", kind, currency]:
            chosen = chooser(exchange, [kind, currency])
            return (States(exchange, chosen), 0.0) if chosen else None
        case ["platform_state"]:
            return States(exchange, lambda product: True, platform=True), 0.0
        case ["platform_state", "public_methods_state"] | ["announcements"]:
            return Silent(), 0.0
    return None


def _grouped_book(exchange: Exchange, name: str, group: str, depth: str, every: float) -> tuple[Stream, float] | None:
    if depth not in map(str, _DEPTHS):
        return None
    try:
        step = None if group == "none" else Decimal(group) * exchange.product(name).tick
    except InvalidOperation:
        return None
    return (GroupedBook(exchange, name, step, int(depth)), every) if step is None or step > 0 else None


def _perpetual(view: TickerView) -> dict[str, Any]:
    return {"index_price": view.index_price, "interest": view.current_funding, "timestamp": view.at_ms}


def _ticker_of(exchange: Exchange, name: str) -> Callable[[TickerView], dict[str, Any]]:
    product = exchange.product(name)
    return lambda view: rows.ticker(view, product)


def _index_of(index: str) -> Callable[[TickerView], dict[str, Any]]:
    return lambda view: {"index_name": index, "price": view.index_price, "timestamp": view.at_ms}
