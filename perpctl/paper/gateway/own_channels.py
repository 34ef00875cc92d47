"""This file holds the channels about an account: its orders, fills, positions, money, warnings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from perpctl.paper.core import Exchange
from perpctl.paper.events import (
    AccountChanged,
    AccountLocked,
    Event,
    Filled,
    ForcedTransfer,
    LiquidationChanged,
    OrderChanged,
    PositionChanged,
    TickerChanged,
)
from perpctl.paper.gateway import ledger_rows, rows
from perpctl.paper.gateway.streams import INTERVALS, Silent, Stream, chooser


@dataclass
class Mine:
    """Orders, trades and positions of an account, or of its isolated slots."""

    exchange: Exchange
    account: int
    isolated: bool
    part: str  # orders, trades, changes
    raw: bool
    wanted: Callable[[str], bool]
    _seen: dict[str, dict[str, list[Any]]] = field(default_factory=dict)  # product -> part -> rows

    def see(self, event: Event) -> None:
        if not isinstance(event, OrderChanged | Filled | PositionChanged) or not self._is_mine(event.account_id):
            return
        product = (
            event.order.product
            if isinstance(event, OrderChanged)
            else event.trade.product
            if isinstance(event, Filled)
            else event.product
        )
        if self.wanted(product):
            parts = self._seen.setdefault(product, {"orders": [], "trades": [], "positions": []})
            self._note(event, product, parts)

    def _note(self, event: OrderChanged | Filled | PositionChanged, product: str, parts: dict[str, list[Any]]) -> None:
        size = self.exchange.product(product).contract_size
        if isinstance(event, OrderChanged):
            parts["orders"].append(rows.order(event.order, size))
        elif isinstance(event, Filled):
            parts["trades"].append(rows.user_trade(event.trade, size))
        else:
            shown = rows.position(self.exchange.position(event.account_id, product), self.account)
            parts["positions"] = [row for row in parts["positions"] if row["user_id"] != event.account_id] + [shown]

    def _is_mine(self, account_id: int) -> bool:
        if self.isolated:
            return account_id in self.exchange.slot_ids(self.account)
        return account_id == self.account

    def take(self) -> list[Any]:
        seen, self._seen = self._seen, {}
        if self.part == "changes":
            return [{"instrument_name": product, **parts} for product, parts in seen.items()]
        found = [row for parts in seen.values() for row in parts[self.part]]
        if self.part == "orders" and self.raw:
            return found  # one order a message; every other form is a list
        return [found] if found else []


@dataclass
class Trails:
    """Trailing stops whose trigger price moved."""

    exchange: Exchange
    account: int
    _last: dict[str, Decimal | None] = field(default_factory=dict)
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def see(self, event: Event) -> None:
        if not isinstance(event, OrderChanged) or event.account_id != self.account:
            return
        order = event.order
        if order.trigger_offset is None or self._last.get(order.order_id) == order.trigger_price:
            return
        self._last[order.order_id] = order.trigger_price
        self._rows.append(rows.order(order, self.exchange.product(order.product).contract_size))

    def take(self) -> list[Any]:
        found, self._rows = self._rows, []
        return found


@dataclass
class Purse:
    """Money and margin, when they changed."""

    exchange: Exchange
    account: int
    isolated: bool
    _last: dict[int, dict[str, Any]] = field(default_factory=dict)
    _stale: bool = True

    def see(self, event: Event) -> None:
        if isinstance(event, AccountChanged | PositionChanged | TickerChanged):
            self._stale = True

    def take(self) -> list[Any]:
        if not self._stale:
            return []
        self._stale = False
        accounts = self.exchange.slot_ids(self.account) if self.isolated else [self.account]
        pictures = {account: rows.portfolio(self.exchange.account(account)) for account in accounts}
        changed = [picture for account, picture in pictures.items() if self._last.get(account) != picture]
        self._last = pictures
        return changed


@dataclass
class Warnings:
    """Locks and liquidations of an account."""

    exchange: Exchange
    account: int
    isolated: bool
    of_position: bool = False
    _rows: list[dict[str, Any]] = field(default_factory=list)

    def see(self, event: Event) -> None:
        if isinstance(event, AccountLocked) and not self.isolated and event.account_id == self.account:
            locked = event.position_locked if self.of_position else event.locked
            self._rows.append({"currency": "ALL", "locked": locked})
        slots = self.exchange.slot_ids(self.account) if self.isolated else []
        if isinstance(event, LiquidationChanged) and event.account_id in slots:
            row = {
                "state": event.state,
                "user_id": event.account_id,
                "maintenance_margin": rows.money(event.maintenance_margin),
                "margin_balance": rows.money(event.margin_balance),
                "timestamp": self.exchange.now,
            }
            self._rows.append(row)
        elif isinstance(event, ForcedTransfer) and event.account_id in slots:
            self._rows.append(ledger_rows.forced(event, self.exchange.rules.currency, self.exchange.now))

    def take(self) -> list[Any]:
        found, self._rows = self._rows, []
        return list(found)


def user_stream(exchange: Exchange, words: list[str], account: int) -> tuple[Stream, float] | None:
    isolated = words[:1] == ["isolated"]
    words = words[1:] if isolated else words
    currencies = (exchange.rules.currency.lower(), "any")
    match words:
        case ["lock"] if not isolated:
            return Warnings(exchange, account, False), 0.0
        case ["position_lock"] if not isolated:
            return Warnings(exchange, account, False, of_position=True), 0.0
        case ["access_log"] if not isolated:
            return Silent(), 0.0  # told by the gateway itself
        case ["trailing_orders", "trigger_price", currency] if currency.lower() in currencies and not isolated:
            return Trails(exchange, account), 0.0
        case ["liquidation"] if isolated:
            return Warnings(exchange, account, True), 0.0
        case ["portfolio", currency] if currency.lower() in currencies:
            return Purse(exchange, account, isolated), 1.0
        case ["orders" | "trades" | "changes" as part, *which, interval] if interval in INTERVALS:
            wanted = chooser(exchange, which)
            if wanted is None or (isolated and len(which) != 2):
                return None
            return Mine(exchange, account, isolated, part, interval == "raw", wanted), INTERVALS[interval]
    return None
