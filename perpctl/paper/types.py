"""This file names what the paper exchange speaks of: products, orders, fills, money, views and events.

Prices are in quote currency, amounts in base coin (both Decimal), times in market milliseconds since the epoch.
Everything here is immutable; `msgspec.structs.replace` makes a changed copy.
"""

from decimal import Decimal
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from perpctl.paper.terms.listing import ExchangeRules as ExchangeRules
from perpctl.paper.terms.listing import Product as Product
from perpctl.paper.terms.listing import Rates as Rates

Direction: TypeAlias = Literal["buy", "sell"]
OrderType: TypeAlias = Literal[
    "limit", "market", "market_limit", "stop_limit", "stop_market", "take_limit", "take_market", "trailing_stop"
]
TimeInForce: TypeAlias = Literal["good_til_cancelled", "good_til_day", "immediate_or_cancel", "fill_or_kill"]
OrderState: TypeAlias = Literal["open", "filled", "rejected", "cancelled", "untriggered", "triggered"]
TriggerKind: TypeAlias = Literal["index_price", "mark_price", "last_price"]
LinkedType: TypeAlias = Literal["one_triggers_other", "one_cancels_other", "one_triggers_one_cancels_other"]
FillCondition: TypeAlias = Literal["first_hit", "complete_fill", "incremental"]
BookState: TypeAlias = Literal["open", "locked", "settlement", "halted"]
Level: TypeAlias = tuple[Decimal, Decimal]  # price, amount


class Rejected(Exception):
    """The exchange refused the request and changed nothing: Deribit's code and name, and what they carry."""

    def __init__(self, code: int, name: str, detail: str | None = None, data: dict[str, Any] | None = None) -> None:
        super().__init__(f"{name} {detail}" if detail else name)
        self.code, self.name, self.detail, self.data = code, name, detail, data


class NewOrder(Struct, frozen=True, kw_only=True):
    """A request to create an order. `amount` in base coin; `origin` is the connection, for cancel-on-disconnect."""

    product: str
    direction: Direction
    amount: Decimal | None = None  # None only for secondaries: the primary's amount
    type: OrderType = "limit"
    price: Decimal | None = None
    time_in_force: TimeInForce = "good_til_cancelled"
    post_only: bool = False
    reject_post_only: bool = False
    reduce_only: bool = False
    label: str = ""
    trigger: TriggerKind | None = None
    trigger_price: Decimal | None = None
    trigger_offset: Decimal | None = None
    valid_until: int | None = None
    display_amount: Decimal | None = None
    linked_order_type: LinkedType | None = None
    trigger_fill_condition: FillCondition = "first_hit"
    otoco: "tuple[NewOrder, ...]" = ()
    isolated: bool = False
    allocated_margin: Decimal | None = None
    origin: str | None = None
    end_ms: int | None = None  # it expires then
    bracket: bool = False  # a limit order that also is a stop: at trigger_price it leaves at the band's end


class Edit(Struct, frozen=True, kw_only=True):
    """What an edit changes; None leaves a member as it is. `amount` is the new total, not the remainder."""

    amount: Decimal | None = None
    price: Decimal | None = None
    post_only: bool | None = None
    reject_post_only: bool | None = None
    reduce_only: bool | None = None
    trigger_price: Decimal | None = None
    trigger_offset: Decimal | None = None
    display_amount: Decimal | None = None
    valid_until: int | None = None


class Order(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One state of one order. `price` None is the wire's "market_price" (an untriggered trigger-market order)."""

    order_id: str
    account_id: int  # the slot's own id for isolated orders
    product: str
    direction: Direction
    order_type: OrderType  # a market order is reported as limit
    original_order_type: OrderType | None = None
    time_in_force: TimeInForce
    price: Decimal | None
    amount: Decimal
    filled: Decimal = Decimal(0)
    filled_value: Decimal = Decimal(0)  # sum of price * amount of its fills
    state: OrderState
    cancel_reason: str | None = None
    label: str = ""
    post_only: bool = False
    reject_post_only: bool = False
    reduce_only: bool = False
    display_amount: Decimal | None = None
    replaced: bool = False
    is_liquidation: bool = False
    isolated: bool = False
    trigger: TriggerKind | None = None
    trigger_price: Decimal | None = None
    trigger_offset: Decimal | None = None
    trigger_reference_price: Decimal | None = None
    triggered: bool = False
    trigger_order_id: str | None = None  # of the trigger order that made this one
    linked_order_type: LinkedType | None = None
    trigger_fill_condition: FillCondition | None = None
    oco_ref: str | None = None
    primary_order_id: str | None = None
    is_secondary_oto: bool = False
    is_primary_otoco: bool = False
    oto_order_ids: tuple[str, ...] = ()
    origin: str | None = None
    end_ms: int | None = None
    created_ms: int
    updated_ms: int

    @property
    def remaining(self) -> Decimal:
        """What can still fill, in base coin, were the order live."""
        return self.amount - self.filled

    @property
    def average_price(self) -> Decimal | None:
        """Mean fill price, None before the first fill."""
        return self.filled_value / self.filled if self.filled else None

    @property
    def is_live(self) -> bool:
        """Whether it can still fill or fire."""
        return self.state in ("open", "untriggered")

    @property
    def is_bracket(self) -> bool:
        """Whether it rests at a profit and waits for a stop at once."""
        return self.order_type == "limit" and self.trigger is not None

    @property
    def sign(self) -> int:
        """+1 for buy, -1 for sell."""
        return 1 if self.direction == "buy" else -1


class TriggerRecord(Struct, frozen=True):
    """A row of the trigger order history: `state` is triggered, cancelled or "rejected:<reason>"."""

    at_ms: int
    order: Order  # the trigger order as it was then
    order_id: str | None  # of the order it created
    state: str
    request: str = "trigger:order"


class Trade(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A fill of one of our orders."""

    trade_id: str
    trade_seq: int
    account_id: int
    product: str
    order_id: str
    at_ms: int
    direction: Direction
    price: Decimal
    amount: Decimal
    liquidity: Literal["M", "T"]
    fee: Decimal
    fee_currency: str
    profit_loss: Decimal  # realised against the average entry, before fee
    mark_price: Decimal
    index_price: Decimal
    tick_direction: int
    order_type: OrderType
    original_order_type: OrderType | None
    order_state: OrderState  # after this fill
    label: str
    post_only: bool
    reduce_only: bool
    liquidation: Literal["M", "T", "MT"] | None = None
    isolated: bool = False
    main_account_id: int | None = None  # the owner's main account, for an isolated fill


class PublicTrade(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A trade as the market sees it; `direction` is the taker's."""

    trade_id: str
    trade_seq: int
    product: str
    at_ms: int
    direction: Direction
    price: Decimal
    amount: Decimal
    tick_direction: int
    mark_price: Decimal
    index_price: Decimal
    liquidation: Literal["M", "T", "MT"] | None = None


class Position(Struct, frozen=True, kw_only=True):
    """A position as shown. `size` is signed base coin; profit and margin are in the settlement currency."""

    account_id: int
    product: str
    size: Decimal
    average_price: Decimal | None
    mark_price: Decimal
    index_price: Decimal
    settlement_price: Decimal | None  # of the last settlement
    initial_margin: Decimal
    maintenance_margin: Decimal
    open_orders_margin: Decimal
    floating_profit_loss: Decimal  # unrealised of this session
    realized_profit_loss: Decimal  # of this session, funding included
    total_profit_loss: Decimal  # unrealised against the average entry
    realized_funding: Decimal  # of this session, accrued to now
    interest_value: Decimal
    leverage: int
    isolated: bool


class Sweep(Struct, frozen=True):
    """Cash asked back into the wallet, moved at the next session's end; `amount` None is all that is free."""

    id: str
    amount: Decimal | None
    due_ms: int


class AccountView(Struct, frozen=True, kw_only=True):
    """An account's money. equity = balance + session_rpl + session_upl."""

    account_id: int
    username: str
    main_account_id: int | None  # set on isolated slots
    slot_product: str | None
    currency: str
    balance: Decimal
    equity: Decimal
    margin_balance: Decimal
    initial_margin: Decimal  # positions only
    maintenance_margin: Decimal
    projected_initial_margin: Decimal  # with every open order filled
    available_funds: Decimal  # never below 0
    session_rpl: Decimal  # funding included
    session_upl: Decimal
    session_funding: Decimal
    total_pl: Decimal  # unrealised against average entries
    delta_total: dict[str, Decimal]  # by index name
    locked: bool
    position_locked: bool
    liquidating: bool
    created_ms: int
    wallet: Decimal  # cash outside, drawn on when an order needs margin
    day_margin: bool  # whether the day window's lower rates were chosen
    sweep: Sweep | None


class Requirements(Struct, frozen=True):
    """What the account's positions, and with `projected` its resting orders, bind at the rates of one window."""

    initial: Decimal
    maintenance: Decimal
    projected: Decimal


class LedgerRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the transaction log: `change` is cash, `balance` after it."""

    id: int
    user_seq: int
    account_id: int
    username: str
    at_ms: int
    type: str  # trade, settlement, deposit, transfer, correction, LSP transfer, ADL commission ...
    currency: str
    change: Decimal
    cashflow: Decimal
    balance: Decimal
    equity: Decimal
    commission: Decimal
    info: str | None = None
    other_account: int | None = None  # of a transfer
    other_username: str | None = None
    product: str | None = None
    side: str | None = None  # open buy, close sell, long, short ...
    amount: Decimal | None = None
    price: Decimal | None = None
    position: Decimal | None = None  # size after
    mark_price: Decimal | None = None
    index_price: Decimal | None = None
    settlement_price: Decimal | None = None
    trade_id: str | None = None
    order_id: str | None = None
    role: Literal["maker", "taker", "source", "destination"] | None = None  # the latter two of forced transfers
    interest_pl: Decimal | None = None  # funding since the previous change of the position
    session_rpl: Decimal | None = None
    session_upl: Decimal | None = None
    total_interest_pl: Decimal | None = None  # funding of the whole session


class SettlementRow(Struct, frozen=True, kw_only=True):
    """A settled position of one session."""

    account_id: int
    product: str
    at_ms: int
    position: Decimal
    mark_price: Decimal
    index_price: Decimal
    funding: Decimal
    session_profit_loss: Decimal
    profit_loss: Decimal
    type: str = "settlement"


class FundingHour(Struct, frozen=True):
    """Funding of the hour that ended at `at_ms`, as fractions of notional."""

    at_ms: int
    index_price: Decimal
    prev_index_price: Decimal
    interest_1h: Decimal
    interest_8h: Decimal


class BookView(Struct, frozen=True):
    """The book as of `change_id`, best first."""

    product: str
    change_id: int
    at_ms: int
    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class TickerView(Struct, frozen=True, kw_only=True):
    """A product's market at a moment. None: not known, for instance an empty side or a product without a feed."""

    product: str
    state: BookState
    at_ms: int
    best_bid_price: Decimal | None
    best_bid_amount: Decimal | None
    best_ask_price: Decimal | None
    best_ask_amount: Decimal | None
    index_price: Decimal
    mark_price: Decimal
    last_price: Decimal
    min_price: Decimal
    max_price: Decimal
    settlement_price: Decimal | None
    open_interest: Decimal
    current_funding: Decimal
    funding_8h: Decimal
    interest_value: Decimal
    high: Decimal | None  # of 24 hours, as are the rest
    low: Decimal | None
    price_change: Decimal | None  # percent
    volume: Decimal
    volume_usd: Decimal


class Candle(Struct, frozen=True):
    """One bar; `volume` in base coin, `cost` in quote currency."""

    at_ms: int  # its start
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    cost: Decimal


class Margins(Struct, frozen=True, kw_only=True):
    """What an order of that amount and price would take (Deribit docs, get_margins)."""

    buy: Decimal
    sell: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    min_price: Decimal
    max_price: Decimal


class Print(Struct, frozen=True):
    """A trade of the outside market inside a tick; `direction` is the taker's."""

    direction: Direction
    price: Decimal
    amount: Decimal


class Ladder(Struct, frozen=True, array_like=True):
    """Both sides of an outside book as somebody saw them, best first."""

    bids: tuple[Level, ...]
    asks: tuple[Level, ...]


class Tick(Struct, frozen=True, omit_defaults=True):
    """The outside market at a moment: what a feed yields. A side with amount 0 is empty.

    Without a `ladder` the exchange makes one up behind the best prices. With `keeps_book` the outside book stands as it
    was, what was taken out of it included: only prices and prints are news.
    """

    product: str
    at_ms: int
    bid: Decimal
    ask: Decimal
    bid_amount: Decimal
    ask_amount: Decimal
    index: Decimal
    mark: Decimal
    prints: tuple[Print, ...] = ()
    ladder: Ladder | None = None
    keeps_book: bool = False
    state: BookState | None = None  # the outside book's, when it has just changed
