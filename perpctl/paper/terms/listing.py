"""This file says what a product is and what distinguishes a venue: the rows that the core works with."""

from decimal import Decimal

from msgspec import Struct

from perpctl.paper.terms.calendar import Calendar

ZERO = Decimal(0)


class Rates(Struct, frozen=True):
    """Initial margin as a share of notional."""

    long: Decimal
    short: Decimal


class Product(Struct, frozen=True):
    """A listed instrument: what is traded and by which numbers. Rates are fractions, not percent."""

    name: str
    kind: str  # future, spot
    instrument_type: str  # linear, reversed
    settlement_period: str  # perpetual, month, day; "" for spot
    base: str
    quote: str
    settle: str
    price_index: str
    tick: Decimal
    contract_size: Decimal  # base coin on linear, quote currency on reversed; also the amount step
    min_amount: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    liquidation_fee: Decimal
    max_leverage: int
    instrument_id: int
    index_id: int
    group: str
    lot_size: int
    created_ms: int
    expires_ms: int
    band: Decimal  # limit prices stay within mark * (1 -+ band)
    initial_rate: Decimal
    maintenance_rate: Decimal
    rate_per_coin: Decimal  # added to both rates for each base coin of position
    start_price: Decimal  # of the synthetic feed, and the mark until the first tick
    tradable: bool = True  # False: listed only; orders are refused
    contract_fee: Decimal = ZERO  # for each contract, on top of the share of notional
    band_ticks: int = 0  # limit prices stay within so many ticks of the last price, instead of `band`
    day_rates: Rates | None = None  # of margin; with night_rates, instead of initial_rate and its slope
    night_rates: Rates | None = None
    maintenance_share: Decimal = ZERO  # of the initial rate, where there are day and night rates
    keeps_hours: bool = False  # the calendar's stop closes its book

    def fee(self, rate: Decimal, amount: Decimal, price: Decimal) -> Decimal:
        """What a trade costs at one of the fee rates: a share of its value, and a sum for each contract."""
        share = amount * price * rate
        return share + amount * (self.contract_fee / self.contract_size) if self.contract_fee else share


class ExchangeRules(Struct, frozen=True):
    """What differs from venue to venue; the core has no other knowledge of one."""

    currency: str
    start_balance: Decimal
    first_order_no: int
    first_trade_no: int
    first_trade_seq: int
    first_slot_id: int
    settlement_minute: int  # of the UTC day
    settlement_ms: int  # how long books refuse everything
    funding_damper: Decimal  # premium inside +-damper costs nothing
    funding_cap: Decimal  # largest 8-hour rate
    ladder_levels: int
    recent_orders_ms: int
    recent_trades_ms: int
    archive_delay_ms: int  # the archive lacks what is younger
    unfilled_kept_ms: int  # orders that ended without a fill
    max_slots: int
    max_triggers: int
    liquidation_share: Decimal  # of a position, closed by each liquidation order
    provider_notional: Decimal = ZERO  # what liquidity providers take over of a liquidation, in quote currency
    provider_spread: Decimal = ZERO  # away from the mark, to their favour
    transfer_fee: Decimal = ZERO  # of a forced transfer's value, paid by the liquidated side
    counterparty_fee: Decimal = ZERO  # of an auto-deleveraging's value, paid by who has to take part in it
    max_secondaries: int = 100  # orders waiting for their primary
    calendar: Calendar | None = None  # hours and margin windows; its bookings stand in for settlement_minute
    hourly_funding: bool = False  # a payment at each full hour for the position held then, not accrual by the moment
    stable_ids: bool = False  # order ids are UUIDs, and a trigger order keeps its own when it fires
    longest_label: int = 64
    start_wallet: Decimal = ZERO  # cash outside the margin account, drawn on when an order needs it
