"""This file is the state that everything on the floor shares: markets, accounts, orders, numbers, happenings."""

from bisect import insort
from hashlib import sha256
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from perpctl.paper.events import AccountChanged, BookChanged, Event, OrderChanged
from perpctl.paper.floor.account import Account
from perpctl.paper.floor.market import Market
from perpctl.paper.terms.refusal import refusal
from perpctl.paper.types import ExchangeRules, NewOrder, Order, OrderState

TRIGGER_TYPES = ("stop_limit", "stop_market", "take_limit", "take_market", "trailing_stop")


class Venue(Struct):
    """The exchange's memory. `follow_ups` are linked orders whose fill or end has yet to act on the others."""

    rules: ExchangeRules
    now: int
    next_hour: int
    next_order: int
    next_trade: int
    next_slot: int
    next_row: int = 61_000
    settling_until: int = 0
    maintenance: bool = False
    markets: dict[str, Market] = {}
    accounts: dict[int, Account] = {}
    orders: dict[str, Order] = {}
    follow_ups: list[str] = []
    expiries: list[tuple[int, str]] = []  # of orders with an end, soonest first
    planned_stop: tuple[int, int] | None = None  # announced maintenance of books that keep hours
    events: list[Any] = []

    def emit(self, event: Event) -> None:
        """Remember that it happened, for whoever asks next."""
        self.events.append(event)

    def market(self, product: str) -> Market:
        """The market of a listed product. Raises Rejected."""
        found = self.markets.get(product)
        if found is None:
            raise refusal("invalid_params", None, {"param": "instrument_name", "reason": "instrument not found"})
        return found

    def account(self, account_id: int) -> Account:
        """An account or slot. Raises Rejected."""
        found = self.accounts.get(account_id)
        if found is None:
            raise refusal("user_not_found")
        return found

    def slots(self, account_id: int) -> list[Account]:
        """The isolated slots of a main account."""
        return [slot for slot in self.accounts.values() if slot.main_id == account_id]

    def store(self, order: Order) -> Order:
        """Keep an order's newest state and tell."""
        self.orders[order.order_id] = order
        self.events.append(OrderChanged(order.account_id, order))
        return order

    def open(self, order: Order) -> Order:
        """Keep a live order."""
        self.accounts[order.account_id].live.append(order.order_id)
        if order.end_ms is not None:
            insort(self.expiries, (order.end_ms, order.order_id))
        return self.store(order)

    def close(self, order: Order, state: OrderState, reason: str | None = None) -> Order:
        """End an order: out of the book and the triggers, into the past."""
        account, market = self.accounts[order.account_id], self.markets[order.product]
        if order.order_id in account.live:
            account.live.remove(order.order_id)
            if order.state == "open":
                market.book.remove(order)
        if order.order_id in market.triggers:
            market.triggers.remove(order.order_id)
        account.closed.append(order.order_id)
        self.follow(order)
        return self.store(replace(order, state=state, cancel_reason=reason, updated_ms=self.now))

    def follow(self, order: Order) -> None:
        """Note that a linked order was filled or ended."""
        if order.oco_ref or order.oto_order_ids:
            self.follow_ups.append(order.order_id)

    def book_changed(self, market: Market) -> None:
        """Tell that a book moved on since this was last told."""
        book = market.book
        if book.change_id != book.told_id:
            self.events.append(BookChanged(market.product.name, book.told_id, book.change_id))
            book.told_id = book.change_id

    def account_changed(self, account: Account) -> None:
        """Tell that money or margin in use changed."""
        self.events.append(AccountChanged(account.account_id))

    def order_id(self, new: NewOrder) -> str:
        """A fresh order id, in the style of its kind; a stable one is a UUID whose end grows with each order."""
        if self.rules.stable_ids or new.type not in TRIGGER_TYPES:
            return self.plain_id()
        self.next_order += 1
        kind = {"stop": "SL", "take": "TP", "trai": "TS"}[new.type[:4]]
        watched = {"i": "I", "m": "M", "l": "T"}[(new.trigger or "mark")[0]]
        return f"{self.rules.currency}-{kind}{watched}{new.direction[0].upper()}-{self.next_order}"

    def plain_id(self) -> str:
        """A fresh order id of no special kind."""
        self.next_order += 1
        if self.rules.stable_ids:
            drawn = sha256(f"order {self.next_order}".encode()).digest()
            return str(UUID(bytes=drawn[:10] + self.next_order.to_bytes(6), version=4))
        return f"{self.rules.currency}-{self.next_order}"

    def trade_id(self) -> str:
        """A fresh trade id."""
        self.next_trade += 1
        return f"{self.rules.currency}-{self.next_trade}"
