"""This file is the paper exchange without I/O: requests, market ticks and time in; answers and events out.

Every mutating call takes `now` (market ms, never running backwards) and first lets time pass: hours of funding, the
settlement, day orders. What happened is read with `take_events()`, also after a call that raised Rejected.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct

from perpctl.paper.types import (
    AccountView,
    BookState,
    BookView,
    Candle,
    Edit,
    Event,
    ExchangeRules,
    FundingHour,
    LedgerRow,
    Margins,
    NewOrder,
    Order,
    OrderType,
    Position,
    Product,
    PublicTrade,
    SettlementRow,
    Tick,
    TickerView,
    Trade,
    TriggerRecord,
)


class Placed(Struct, frozen=True):
    """An accepted request: the order as it stands now and the fills it had at once."""

    order: Order
    trades: tuple[Trade, ...]


class Exchange:
    """One venue: products, books, accounts, money. Deterministic: equal calls give equal answers and events."""

    def __init__(self, products: tuple[Product, ...], rules: ExchangeRules, now: int) -> None:
        """An exchange without accounts whose market time is `now`."""
        raise NotImplementedError

    # -- time, market, state of the venue

    @property
    def now(self) -> int:
        """Market time in ms: of the latest call."""
        raise NotImplementedError

    @property
    def products(self) -> dict[str, Product]:
        """Every listed product by name."""
        raise NotImplementedError

    @property
    def rules(self) -> ExchangeRules:
        """What distinguishes this venue."""
        raise NotImplementedError

    def take_events(self) -> list[Event]:
        """What happened since the last call of this, oldest first."""
        raise NotImplementedError

    def on_tick(self, tick: Tick) -> None:
        """The outside market moved: time passes to tick.at_ms, resting orders may fill, triggers fire."""
        raise NotImplementedError

    def advance(self, now: int) -> None:
        """Time passes without a tick."""
        raise NotImplementedError

    def set_book_state(self, product: str, state: BookState, now: int) -> None:
        """Open, lock (cancels only), halt a book."""
        raise NotImplementedError

    def set_maintenance(self, on: bool, now: int) -> None:
        """During maintenance every call of a user is refused with 11051."""
        raise NotImplementedError

    @property
    def maintenance(self) -> bool:
        """Whether the platform is under maintenance."""
        raise NotImplementedError

    # -- accounts

    def open_account(self, account_id: int, username: str, now: int, balance: Decimal | None = None) -> None:
        """A main account with the rules' start balance, or `balance`."""
        raise NotImplementedError

    def account_ids(self) -> list[int]:
        """Main accounts, oldest first."""
        raise NotImplementedError

    def slot_ids(self, account_id: int) -> list[int]:
        """The isolated slots (hidden subaccounts) of a main account, in use or idle."""
        raise NotImplementedError

    def lock_account(self, account_id: int, now: int, *, locked: bool, position_locked: bool = False) -> None:
        """Lock: nothing may be placed (11098). Position lock: only what reduces (10072)."""
        raise NotImplementedError

    def transfer(self, source: int, destination: int, amount: Decimal, now: int) -> None:
        """Move cash between a main account and a slot of it. Raises Rejected (12100)."""
        raise NotImplementedError

    def deposit(self, account_id: int, amount: Decimal, now: int) -> None:
        """Cash from outside, or to it when negative."""
        raise NotImplementedError

    def set_leverage(self, account_id: int, product: str, leverage: int | None, now: int) -> int | None:
        """Cap an account's leverage in a product; None resets. Returns the stored value. Raises Rejected."""
        raise NotImplementedError

    def leverage(self, account_id: int, product: str) -> int | None:
        """The cap set, None for the product's own."""
        raise NotImplementedError

    # -- orders

    def place(self, account_id: int, new: NewOrder, now: int) -> Placed:
        """Accept an order. Raises Rejected, and then nothing was placed."""
        raise NotImplementedError

    def edit(
        self, account_id: int, order_id: str, change: Edit, now: int, *, isolated: bool = False
    ) -> Placed:
        """Change an open or untriggered order; shrinking at the same price keeps its place. Raises Rejected."""
        raise NotImplementedError

    def cancel(self, account_id: int, order_id: str, now: int, *, isolated: bool = False) -> Order:
        """Cancel one order. Raises Rejected (10004, 11044, 10029, 10041 ...)."""
        raise NotImplementedError

    def cancel_where(
        self,
        account_id: int,
        wanted: Callable[[Order], bool],
        now: int,
        *,
        include_isolated: bool = False,
        reason: str = "user_request",
    ) -> list[Order]:
        """Cancel every live order that `wanted` accepts, as cancelled. Orders of books that refuse cancels stay."""
        raise NotImplementedError

    def close_position(
        self,
        account_id: int,
        product: str,
        type: Literal["limit", "market"],
        price: Decimal | None,
        now: int,
        *,
        isolated: bool = False,
        origin: str | None = None,
    ) -> Placed:
        """A reduce-only order of the whole position. Raises Rejected, also when there is none (10010)."""
        raise NotImplementedError

    # -- reads of an account (never move time; a slot is read by its own account_id)

    def account(self, account_id: int) -> AccountView:
        """Money and margin at the current mark prices. Raises Rejected (13007)."""
        raise NotImplementedError

    def position(self, account_id: int, product: str) -> Position:
        """A position, of size 0 when there is none."""
        raise NotImplementedError

    def positions(self, account_id: int, *, include_isolated: bool = False) -> list[Position]:
        """Positions that are or were held (size may be 0), by product name."""
        raise NotImplementedError

    def order(self, account_id: int, order_id: str, *, isolated: bool = False) -> Order:
        """One order. Raises Rejected 10004 when unknown, of an isolated slot unasked, or aged out unfilled."""
        raise NotImplementedError

    def open_orders(self, account_id: int, *, include_isolated: bool = False) -> list[Order]:
        """Open and untriggered orders, newest first."""
        raise NotImplementedError

    def orders(
        self, account_id: int, *, historical: bool = False, include_isolated: bool = False
    ) -> list[Order]:
        """Finished orders, newest first: of the recent half hour, or (historical) the archive without the newest."""
        raise NotImplementedError

    def trigger_history(self, account_id: int) -> list[TriggerRecord]:
        """What became of trigger orders, newest first."""
        raise NotImplementedError

    def trades(
        self, account_id: int, *, historical: bool = False, include_isolated: bool = False
    ) -> list[Trade]:
        """Fills, oldest first: of the recent 24 hours, or (historical) the archive without the newest."""
        raise NotImplementedError

    def ledger(self, account_id: int) -> list[LedgerRow]:
        """The whole transaction log, oldest first."""
        raise NotImplementedError

    def settlements(self, account_id: int) -> list[SettlementRow]:
        """Settled sessions, oldest first."""
        raise NotImplementedError

    def margins(self, account_id: int, product: str, amount: Decimal, price: Decimal) -> Margins:
        """What an order would take. Raises Rejected for an unknown product or a wrong amount."""
        raise NotImplementedError

    def check_identity(self, account_id: int) -> None:
        """Raise AssertionError unless deposits + realised + unrealised - fees + funding == equity, exactly."""
        raise NotImplementedError

    # -- reads of the market

    def product(self, name: str) -> Product:
        """A listed product. Raises Rejected (-32602 Invalid params, as the venue answers)."""
        raise NotImplementedError

    def ticker(self, product: str) -> TickerView:
        """Prices, band, funding and 24-hour figures now."""
        raise NotImplementedError

    def book(self, product: str, depth: int) -> BookView:
        """The best `depth` levels a side, own orders included."""
        raise NotImplementedError

    def public_trades(self, product: str) -> list[PublicTrade]:
        """The kept recent trades, oldest first."""
        raise NotImplementedError

    def candles(self, product: str, start: int, end: int, minutes: int) -> list[Candle]:
        """Bars of that length that start in [start, end], empty ones included."""
        raise NotImplementedError

    def funding_hours(self, product: str, start: int, end: int) -> list[FundingHour]:
        """Hourly funding rows with start <= at_ms <= end, oldest first."""
        raise NotImplementedError

    def funding_between(self, product: str, start: int, end: int) -> Decimal:
        """The funding paid on one unit of notional in that time, as a fraction."""
        raise NotImplementedError

    # -- keeping

    def dump(self) -> dict[str, Any]:
        """The whole state, JSON-able; events not yet taken are not part of it."""
        raise NotImplementedError

    @classmethod
    def load(cls, state: dict[str, Any]) -> "Exchange":
        """The exchange that `dump` described."""
        raise NotImplementedError


__all__ = ["Exchange", "OrderType", "Placed"]
