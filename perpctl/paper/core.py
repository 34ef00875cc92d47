"""This file is the paper exchange without I/O: requests, market ticks and time in; answers and events out.

Every mutating call takes `now` (market ms, never running backwards) and first lets time pass: hours of funding, the
settlement, day orders. What happened is read with `take_events()`, also after a call that raised Rejected.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any, Literal

from msgspec import Struct, convert, to_builtins
from msgspec.structs import replace

from perpctl.paper.events import AccountLocked, Event, StateChanged
from perpctl.paper.floor.account import (
    Account,
    account_view,
    check_identity,
    initial_margin,
    order_margins,
    position_view,
    requirements,
)
from perpctl.paper.floor.admission import check_amount
from perpctl.paper.floor.clock import keep_hours, pass_time
from perpctl.paper.floor.ledger import check_transfer, deposit, transfer
from perpctl.paper.floor.links import place_linked
from perpctl.paper.floor.liquidation import deleverage
from perpctl.paper.floor.market import HOUR_MS, new_market
from perpctl.paper.floor.orders import cancel, edit, end, place
from perpctl.paper.floor.outside import follow, take_tick
from perpctl.paper.floor.slots import slot_for_order, slot_of
from perpctl.paper.floor.venue import Venue
from perpctl.paper.terms.refusal import refusal
from perpctl.paper.types import (
    AccountView,
    BookState,
    BookView,
    Candle,
    Edit,
    ExchangeRules,
    FundingHour,
    LedgerRow,
    Margins,
    NewOrder,
    Order,
    Position,
    Product,
    PublicTrade,
    Requirements,
    SettlementRow,
    Sweep,
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
        hour = now // HOUR_MS * HOUR_MS + HOUR_MS
        markets = {product.name: new_market(product, rules, now) for product in products}
        self._venue = Venue(
            rules, now, hour, rules.first_order_no - 1, rules.first_trade_no - 1, rules.first_slot_id, markets=markets
        )
        keep_hours(self._venue)
        self._venue.events.clear()

    # -- time, market, state of the venue

    @property
    def now(self) -> int:
        """Market time in ms: of the latest call."""
        return self._venue.now

    @property
    def products(self) -> dict[str, Product]:
        """Every listed product by name."""
        return {name: market.product for name, market in self._venue.markets.items()}

    @property
    def rules(self) -> ExchangeRules:
        """What distinguishes this venue."""
        return self._venue.rules

    def take_events(self) -> list[Event]:
        """What happened since the last call of this, oldest first."""
        events, self._venue.events = self._venue.events, []
        return events

    def on_tick(self, tick: Tick) -> None:
        """The outside market moved: time passes to tick.at_ms, resting orders may fill, triggers fire."""
        take_tick(self._venue, tick)

    def advance(self, now: int) -> None:
        """Time passes without a tick."""
        pass_time(self._venue, now)

    def set_book_state(self, product: str, state: BookState, now: int) -> None:
        """Open, lock (cancels only), halt a book."""
        pass_time(self._venue, now)
        self._venue.market(product).state = state
        self._venue.emit(StateChanged(product, state))

    def set_maintenance(self, on: bool, now: int) -> None:
        """During maintenance every call of a user is refused with 11051."""
        pass_time(self._venue, now)
        self._venue.maintenance = on
        self._venue.emit(StateChanged(None, "maintenance" if on else "open"))

    @property
    def maintenance(self) -> bool:
        """Whether the platform is under maintenance."""
        return self._venue.maintenance

    # -- accounts

    def open_account(self, account_id: int, username: str, now: int, balance: Decimal | None = None) -> None:
        """A main account with the rules' start balance, or `balance`."""
        pass_time(self._venue, now)
        account = Account(account_id, username, now, wallet=self.rules.start_wallet)
        self._venue.accounts[account_id] = account
        deposit(self._venue, account, self.rules.start_balance if balance is None else balance)

    def account_ids(self) -> list[int]:
        """Main accounts, oldest first."""
        return [account.account_id for account in self._venue.accounts.values() if account.main_id is None]

    def slot_ids(self, account_id: int) -> list[int]:
        """The isolated slots (hidden subaccounts) of a main account, in use or idle."""
        return [slot.account_id for slot in self._venue.slots(account_id)]

    def lock_account(self, account_id: int, now: int, *, locked: bool, position_locked: bool = False) -> None:
        """Lock: nothing may be placed (11098). Position lock: only what reduces (10072)."""
        pass_time(self._venue, now)
        account = self._venue.account(account_id)
        account.locked, account.position_locked = locked, position_locked
        if position_locked:
            growing = [self._venue.orders[i] for i in account.live if not self._venue.orders[i].reduce_only]
            for order in growing:
                end(self._venue, order, "position_locked")
            follow(self._venue)
        self._venue.emit(AccountLocked(account_id, locked, position_locked))

    def transfer(self, source: int, destination: int, amount: Decimal, now: int) -> None:
        """Move cash between a main account and a slot of it. Raises Rejected (12100)."""
        pass_time(self._venue, now)
        giver, taker = self._venue.account(source), self._venue.account(destination)
        check_transfer(giver, taker, amount, min(giver.balance, self.account(source).available_funds))
        transfer(self._venue, giver, taker, amount)

    def deposit(self, account_id: int, amount: Decimal, now: int) -> None:
        """Cash from outside, or to it when negative."""
        pass_time(self._venue, now)
        deposit(self._venue, self._venue.account(account_id), amount)

    def plan_stop(self, start: int, end: int, now: int) -> None:
        """Announce maintenance: books that keep hours shut from `start` to `end` (market ms)."""
        pass_time(self._venue, now)
        self._venue.planned_stop = (start, end)
        keep_hours(self._venue)

    @property
    def planned_stop(self) -> tuple[int, int] | None:
        """The announced maintenance that is not over."""
        planned = self._venue.planned_stop
        return planned if planned is not None and planned[1] > self.now else None

    def choose_margin(self, account_id: int, by_day: bool, now: int) -> None:
        """Take the day window's lower rates while it is on, or the night's always."""
        pass_time(self._venue, now)
        account = self._venue.account(account_id)
        account.day_margin = by_day
        self._venue.account_changed(account)

    def plan_sweep(self, account_id: int, sweep: Sweep | None, now: int) -> None:
        """Have cash go back to the wallet when the session ends, or (None) not after all. Raises Rejected."""
        pass_time(self._venue, now)
        account = self._venue.account(account_id)
        if (account.sweep is None) == (sweep is None):
            raise refusal("transfer_not_allowed")
        account.sweep = sweep
        self._venue.account_changed(account)

    def deleverage(self, account_id: int, product: str, amount: Decimal, now: int) -> None:
        """Take part in somebody else's liquidation: `amount` of a position goes at the mark. Raises Rejected."""
        pass_time(self._venue, now)
        account, market = self._venue.account(account_id), self._venue.market(product)
        check_amount(market, amount)
        if amount > abs(account.size(product)):
            raise refusal("invalid_amount")
        deleverage(self._venue, account, market, amount)
        follow(self._venue)

    def set_leverage(self, account_id: int, product: str, leverage: int | None, now: int) -> int | None:
        """Cap an account's leverage in a product; None resets. Returns the stored value. Raises Rejected."""
        pass_time(self._venue, now)
        account, listed = self._venue.account(account_id), self.product(product)
        if leverage is None:
            account.leverage.pop(product, None)
            return None
        if not 1 <= leverage <= listed.max_leverage:
            raise refusal("invalid_params", None, {"param": "leverage", "reason": "out of range"})
        account.leverage[product] = leverage
        return leverage

    def leverage(self, account_id: int, product: str) -> int | None:
        """The cap set, None for the product's own."""
        self.product(product)
        return self._venue.account(account_id).leverage.get(product)

    # -- orders

    def place(self, account_id: int, new: NewOrder, now: int) -> Placed:
        """Accept an order. Raises Rejected, and then nothing was placed."""
        pass_time(self._venue, now)
        account = self._venue.account(account_id)
        if new.isolated:
            account = slot_for_order(self._venue, account, new)
        try:
            order, trades = (place_linked if new.linked_order_type else place)(self._venue, account, new)
        finally:
            follow(self._venue)
        return Placed(self._venue.orders[order.order_id], tuple(trades))

    def edit(self, account_id: int, order_id: str, change: Edit, now: int, *, isolated: bool = False) -> Placed:
        """Change an open or untriggered order; shrinking at the same price keeps its place. Raises Rejected."""
        pass_time(self._venue, now)
        order, trades = edit(self._venue, self._owned(account_id, order_id, isolated), change)
        follow(self._venue)
        return Placed(self._venue.orders[order.order_id], tuple(trades))

    def cancel(self, account_id: int, order_id: str, now: int, *, isolated: bool = False) -> Order:
        """Cancel one order. Raises Rejected (10004, 11044, 10029, 10041 ...)."""
        pass_time(self._venue, now)
        ended = cancel(self._venue, self._owned(account_id, order_id, isolated))
        follow(self._venue)
        return ended

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
        pass_time(self._venue, now)
        ended = []
        for order in reversed(self.open_orders(account_id, include_isolated=include_isolated)):
            latest = self._venue.orders[order.order_id]
            if not latest.is_live or not wanted(latest) or not self._may_cancel(latest):
                continue
            ended.append(cancel(self._venue, latest, reason))
            follow(self._venue)
        return ended

    def _may_cancel(self, order: Order) -> bool:
        state = self._venue.markets[order.product].state
        return state in ("open", "locked") and not order.is_liquidation and not self.maintenance

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
        pass_time(self._venue, now)
        account = self._venue.account(account_id)
        if isolated:
            account = slot_of(self._venue, account, product)
        size = account.size(self.product(product).name)
        if not size:
            raise refusal("already_closed")
        new = NewOrder(
            product=product,
            direction="sell" if size > 0 else "buy",
            amount=abs(size),
            type=type,
            price=price,
            reduce_only=True,
            origin=origin,
        )
        return self.place(account.account_id, new, now)

    # -- reads of an account (never move time; a slot is read by its own account_id)

    def account(self, account_id: int) -> AccountView:
        """Money and margin at the current mark prices. Raises Rejected (13007)."""
        return account_view(self._venue.account(account_id), self._venue.markets, self.rules.currency)

    def requirements(self, account_id: int, by_day: bool) -> Requirements:
        """What the account binds at the day's or the night's rates, whichever are on."""
        return requirements(self._venue.account(account_id), self._venue.markets, by_day)

    def position(self, account_id: int, product: str) -> Position:
        """A position, of size 0 when there is none."""
        return position_view(self._venue.account(account_id), self._venue.market(product))

    def positions(self, account_id: int, *, include_isolated: bool = False) -> list[Position]:
        """Positions that are or were held (size may be 0), by product name."""
        return [
            position_view(account, self._venue.markets[name])
            for account in self._with_slots(account_id, include_isolated)
            for name in sorted(account.holdings)
        ]

    def order(self, account_id: int, order_id: str, *, isolated: bool = False) -> Order:
        """One order. Raises Rejected 10004 when unknown, of an isolated slot unasked, or aged out unfilled."""
        order = self._owned(account_id, order_id, isolated)
        unfilled = order.state == "cancelled" and not order.filled
        if unfilled and self._age(order.updated_ms) > self.rules.recent_orders_ms:
            raise refusal("order_not_found")
        return order

    def open_orders(self, account_id: int, *, include_isolated: bool = False) -> list[Order]:
        """Open and untriggered orders, newest first."""
        found = [
            self._venue.orders[order_id]
            for account in self._with_slots(account_id, include_isolated)
            for order_id in account.live
        ]
        return sorted(found, key=lambda order: (order.created_ms, order.order_id[-12:]), reverse=True)

    def orders(self, account_id: int, *, historical: bool = False, include_isolated: bool = False) -> list[Order]:
        """Finished orders, newest first: of the recent half hour, or (historical) the archive without the newest."""
        found = [
            order
            for account in self._with_slots(account_id, include_isolated)
            for order in self._ended(account, historical)
        ]
        return sorted(found, key=lambda order: (order.updated_ms, order.order_id[-12:]), reverse=True)

    def _ended(self, account: Account, archive: bool) -> Iterator[Order]:
        for order_id in reversed(account.closed):
            order = self._venue.orders[order_id]
            age = self._age(order.updated_ms)
            if not archive and age > self.rules.recent_orders_ms:
                return
            if not archive or age > self.rules.archive_delay_ms:
                yield order

    def _age(self, at_ms: int) -> int:
        return self._venue.now - at_ms

    def trigger_history(self, account_id: int) -> list[TriggerRecord]:
        """What became of trigger orders, newest first."""
        return self._venue.account(account_id).trigger_history[::-1]

    def trades(self, account_id: int, *, historical: bool = False, include_isolated: bool = False) -> list[Trade]:
        """Fills, oldest first: of the recent 24 hours, or (historical) the archive without the newest."""
        found = [trade for account in self._with_slots(account_id, include_isolated) for trade in account.trades]
        if historical:
            found = [trade for trade in found if self._age(trade.at_ms) > self.rules.archive_delay_ms]
        else:
            found = [trade for trade in found if self._age(trade.at_ms) <= self.rules.recent_trades_ms]
        return sorted(found, key=lambda trade: (trade.at_ms, trade.trade_seq))

    def ledger(self, account_id: int) -> list[LedgerRow]:
        """The whole transaction log, oldest first."""
        return list(self._venue.account(account_id).ledger)

    def settlements(self, account_id: int) -> list[SettlementRow]:
        """Settled sessions, oldest first."""
        return list(self._venue.account(account_id).settlements)

    def margins(self, account_id: int, product: str, amount: Decimal, price: Decimal) -> Margins:
        """What an order would take. Raises Rejected for an unknown product or a wrong amount."""
        market, account = self._venue.market(product), self._venue.account(account_id)
        check_amount(market, amount)
        listed, buy, sell = market.product, *order_margins(account, market, amount)
        return Margins(
            buy=buy,
            sell=sell,
            maker_fee=listed.fee(listed.maker_fee, amount, price),
            taker_fee=listed.fee(listed.taker_fee, amount, price),
            min_price=market.min_price,
            max_price=market.max_price,
        )

    def order_margin(self, order: Order) -> Decimal:
        """What one resting order binds by itself."""
        if order.state != "open" or order.reduce_only:
            return Decimal(0)
        account, market = self._venue.account(order.account_id), self._venue.market(order.product)
        return initial_margin(account, market, order.sign * order.remaining)

    def check_identity(self, account_id: int) -> None:
        """Raise AssertionError unless deposits + realised + unrealised - fees + funding == equity, exactly."""
        check_identity(self._venue.account(account_id), self._venue.markets)

    # -- reads of the market

    def product(self, name: str) -> Product:
        """A listed product. Raises Rejected (-32602 Invalid params, as the venue answers)."""
        return self._venue.market(name).product

    def ticker(self, product: str) -> TickerView:
        """Prices, band, funding and 24-hour figures now."""
        held = (account.size(product) for account in self._venue.accounts.values())
        return self._venue.market(product).ticker(sum((size for size in held if size > 0), Decimal(0)))

    def book(self, product: str, depth: int) -> BookView:
        """The best `depth` levels a side, own orders included."""
        market = self._venue.market(product)
        book = market.book
        bids, asks = book.levels(book.bids, depth), book.levels(book.asks, depth)
        return BookView(product, book.change_id, market.at_ms, bids, asks)

    def public_trades(self, product: str) -> list[PublicTrade]:
        """The kept recent trades, oldest first."""
        return list(self._venue.market(product).trades)

    def candles(self, product: str, start: int, end: int, minutes: int) -> list[Candle]:
        """Bars of that length that start in [start, end], empty ones included."""
        return self._venue.market(product).candles(start, end, minutes)

    def funding_hours(self, product: str, start: int, end: int) -> list[FundingHour]:
        """Hourly funding rows with start <= at_ms <= end, oldest first."""
        return [row for row in self._venue.market(product).hours if start <= row.at_ms <= end]

    def funding_between(self, product: str, start: int, end: int) -> Decimal:
        """The funding paid on one unit of notional in that time, as a fraction."""
        market = self._venue.market(product)
        return market.interest_at(end) - market.interest_at(start)

    # -- keeping

    def dump(self) -> dict[str, Any]:
        """The whole state, JSON-able; events not yet taken are not part of it."""
        state: dict[str, Any] = to_builtins(replace(self._venue, events=[]), str_keys=True)
        return state

    @classmethod
    def load(cls, state: dict[str, Any]) -> "Exchange":
        """The exchange that `dump` described."""
        exchange = cls.__new__(cls)
        exchange._venue = convert(state, Venue, str_keys=True)
        return exchange

    def _with_slots(self, account_id: int, include_isolated: bool) -> list[Account]:
        own = self._venue.account(account_id)
        return [own, *self._venue.slots(account_id)] if include_isolated else [own]

    def _owned(self, account_id: int, order_id: str, isolated: bool) -> Order:
        """The order, if it is this account's; an isolated one only when asked for as such."""
        order = self._venue.orders.get(order_id)
        if order is None:
            raise refusal("order_not_found")
        owner = self._venue.accounts[order.account_id]
        asked = owner.main_id == account_id and isolated
        if order.account_id != account_id and not asked:
            raise refusal("order_not_found" if owner.main_id == account_id else "not_owner_of_order")
        if isolated and owner.main_id is None:
            raise refusal("order_not_found")
        return order
