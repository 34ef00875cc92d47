"""This file keeps an account's money: positions, realised profit, fees, funding, margin.

Two records are kept of what a position cost, one since it was opened and one since the last settlement. Cash follows
the second, the totals the first; that both lead to one equity is the identity that `check_identity` asserts.
"""

from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from perpctl.paper.floor.book import NOTHING, ZERO
from perpctl.paper.floor.market import Market
from perpctl.paper.types import (
    AccountView,
    LedgerRow,
    Position,
    Product,
    Requirements,
    SettlementRow,
    Sweep,
    Trade,
    TriggerRecord,
)

MONEY = Decimal("1e-12")
CENT = Decimal("0.01")


class Holding(Struct):
    """A position: `size` and both costs are signed; `paid_mark` is the market's `paid` when funding was last booked."""

    size: Decimal = ZERO
    cost: Decimal = ZERO  # since opened
    session_cost: Decimal = ZERO  # since the last settlement
    paid_mark: Decimal = ZERO
    session_realised: Decimal = ZERO  # without funding
    session_funding: Decimal = ZERO


class Part(Struct, frozen=True):
    """The closing or the opening part of a fill."""

    side: str  # open, close
    amount: Decimal
    realised: Decimal
    fee: Decimal
    size_after: Decimal
    funding: Decimal


class Account(Struct):
    """A main account, or an isolated slot when `main_id` is set."""

    account_id: int
    username: str
    created_ms: int
    main_id: int | None = None
    slot_product: str | None = None
    balance: Decimal = ZERO
    holdings: dict[str, Holding] = {}
    leverage: dict[str, int] = {}
    live: list[str] = []
    closed: list[str] = []
    trades: list[Trade] = []
    ledger: list[LedgerRow] = []
    settlements: list[SettlementRow] = []
    trigger_history: list[TriggerRecord] = []
    user_seq: int = 6000
    deposits: Decimal = ZERO
    realised: Decimal = ZERO
    fees: Decimal = ZERO
    funding: Decimal = ZERO
    locked: bool = False
    position_locked: bool = False
    liquidating: bool = False
    wallet: Decimal = ZERO
    day_margin: bool = False
    sweep: Sweep | None = None
    provided: Decimal = ZERO  # of the running liquidation, taken over by liquidity providers: quote currency

    def size(self, product: str) -> Decimal:
        """The signed position, 0 without one."""
        holding = self.holdings.get(product)
        return holding.size if holding else ZERO


class Standing(NamedTuple):
    """An account's sums at the marks of a moment."""

    equity: Decimal
    initial: Decimal
    maintenance: Decimal
    session_rpl: Decimal
    session_upl: Decimal
    session_funding: Decimal
    total_pl: Decimal


def accrued(holding: Holding, market: Market) -> Decimal:
    """Funding received (paid when negative) and not yet booked."""
    owed = market.paid - holding.paid_mark
    return (-holding.size * owed).quantize(MONEY) if owed and holding.size else ZERO


def book_funding(account: Account, holding: Holding, market: Market) -> Decimal:
    """Move accrued funding into the session's figure; returns it."""
    funding = accrued(holding, market)
    holding.paid_mark = market.paid
    holding.session_funding += funding
    account.funding += funding
    return funding


def book_fill(account: Account, market: Market, signed: Decimal, price: Decimal, rate: Decimal | None) -> list[Part]:
    """Change the position by `signed` at `price`; a fill through zero has a closing and an opening part.

    Without a fee `rate` it costs nothing.
    """
    holding = account.holdings.setdefault(market.product.name, Holding(paid_mark=market.paid))
    funding = book_funding(account, holding, market)
    closing = min(abs(signed), abs(holding.size)) if signed * holding.size < 0 else ZERO
    parts: list[Part] = []

    def fee(amount: Decimal) -> Decimal:
        return ZERO if rate is None else market.product.fee(rate, amount, price)

    if closing:
        parts.append(_close(account, holding, closing, price, fee(closing), funding))
        funding = ZERO
    opening = abs(signed) - closing
    if opening:
        grown = opening if signed > 0 else -opening
        holding.size += grown
        holding.cost += grown * price
        holding.session_cost += grown * price
        parts.append(Part("open", opening, ZERO, fee(opening), holding.size, funding))
    for part in parts:
        account.fees += part.fee
        account.balance -= part.fee
    return parts


def _close(account: Account, holding: Holding, amount: Decimal, price: Decimal, fee: Decimal, funding: Decimal) -> Part:
    whole = amount == abs(holding.size)
    gone = amount if holding.size > 0 else -amount
    cost = holding.cost if whole else (holding.cost * gone / holding.size).quantize(MONEY)
    session_cost = holding.session_cost if whole else (holding.session_cost * gone / holding.size).quantize(MONEY)
    realised = gone * price - cost
    holding.session_realised += gone * price - session_cost
    holding.cost -= cost
    holding.session_cost -= session_cost
    holding.size -= gone
    account.realised += realised
    return Part("close", amount, realised, fee, holding.size, funding)


def settle(account: Account, holding: Holding, market: Market) -> tuple[Decimal, Decimal, Decimal]:
    """Move the session's result into cash; returns (change, funding, session profit without funding)."""
    book_funding(account, holding, market)
    worth = holding.size * market.mark
    profit = holding.session_realised + worth - holding.session_cost
    funding = holding.session_funding
    account.balance += profit + funding
    holding.session_cost, holding.session_realised, holding.session_funding = worth, ZERO, ZERO
    return profit + funding, funding, profit


def initial_rate(product: Product, size: Decimal, leverage: int | None, by_day: bool) -> Decimal:
    """The rates of the window, or a base rate plus a slope by size; never less than the leverage set asks for."""
    rates = product.day_rates if by_day else product.night_rates
    if rates is not None:
        return rates.long if size > 0 else rates.short
    rate = product.initial_rate + product.rate_per_coin * abs(size)
    return max(rate, (Decimal(1) / leverage).quantize(MONEY)) if leverage else rate


def initial_margin(account: Account, market: Market, size: Decimal, by_day: bool | None = None) -> Decimal:
    """What a signed position binds, in the window that is on for this account unless told."""
    by_day = account.day_margin and market.by_day if by_day is None else by_day
    leverage = account.leverage.get(market.product.name) if account.leverage else None
    return abs(size) * market.mark * initial_rate(market.product, size, leverage, by_day)


def maintenance_margin(account: Account, market: Market, size: Decimal, by_day: bool | None = None) -> Decimal:
    """Below this the account is liquidated."""
    product, amount = market.product, abs(size)
    if product.night_rates is not None:
        return initial_margin(account, market, size, by_day) * product.maintenance_share
    return amount * market.mark * (product.maintenance_rate + product.rate_per_coin * amount)


def resting_in(account: Account, market: Market) -> tuple[Decimal, Decimal]:
    """Buys and sells that rest and may make the position larger, in base coin.

    Reduce-only orders and untriggered ones bind nothing.
    """
    growing = market.book.growing.get(account.account_id, NOTHING)
    return growing.buys, growing.sells


def bound(account: Account, market: Market, by_day: bool | None = None) -> Decimal:
    """Initial margin with the dearer side of the resting orders filled."""
    size, (buys, sells) = account.size(market.product.name), resting_in(account, market)
    if not buys and not sells and market.product.name not in account.holdings:
        return ZERO
    return _dearest(account, market, size - sells, size + buys, by_day)


def _dearest(account: Account, market: Market, low: Decimal, high: Decimal, by_day: bool | None = None) -> Decimal:
    """The most that a position between the two binds: in one direction a larger one never binds less."""
    if low >= 0:
        return initial_margin(account, market, high, by_day)
    if high <= 0:
        return initial_margin(account, market, low, by_day)
    return max(initial_margin(account, market, high, by_day), initial_margin(account, market, low, by_day))


def equity(account: Account, markets: dict[str, Market]) -> Decimal:
    """Cash plus the running session."""
    total = account.balance
    for name, held in account.holdings.items():
        total += held.session_realised + held.session_funding
        if held.size:
            market = markets[name]
            total += held.size * market.mark - held.session_cost + accrued(held, market)
    return total


def is_short_of_margin(account: Account, markets: dict[str, Market]) -> bool:
    """Whether margin balance is below maintenance margin."""
    needed = ZERO
    for name, held in account.holdings.items():
        if held.size:
            needed += maintenance_margin(account, markets[name], held.size)
    return needed > 0 and equity(account, markets) < needed


def standing(account: Account, markets: dict[str, Market]) -> Standing:
    """The account's sums at current marks."""
    initial = maintenance = rpl = upl = funding = total = ZERO
    for name, held in account.holdings.items():
        market = markets[name]
        worth = held.size * market.mark
        initial += initial_margin(account, market, held.size)
        maintenance += maintenance_margin(account, market, held.size)
        paid = held.session_funding + accrued(held, market)
        rpl += held.session_realised + paid
        upl += worth - held.session_cost
        funding += paid
        total += worth - held.cost
    return Standing(account.balance + rpl + upl, initial, maintenance, rpl, upl, funding, total)


def projected_initial(account: Account, markets: dict[str, Market], by_day: bool | None = None) -> Decimal:
    """Initial margin with the dearer side of the resting orders filled, product by product."""
    return sum((bound(account, market, by_day) for market in markets.values()), ZERO)


def shortfall(account: Account, markets: dict[str, Market], signed: Decimal, market: Market) -> Decimal:
    """What is missing of the margin that `signed` more of a product would need; zero when it needs none."""
    size, (buys, sells) = account.size(market.product.name), resting_in(account, market)
    low, high = size - sells, size + buys  # between these the position is, whatever of the resting orders fills
    new_low, new_high = (low, high + signed) if signed > 0 else (low + signed, high)
    if new_high <= 0 if signed > 0 else new_low >= 0:
        return ZERO  # all that it can do is bring the position nearer to nothing
    after = _dearest(account, market, new_low, new_high)
    only_grows = low >= 0 if signed > 0 else high <= 0
    if not only_grows and after <= _dearest(account, market, low, high):
        return ZERO
    for name, other in markets.items():
        if other is not market and (name in account.holdings or account.account_id in other.book.growing):
            after += bound(account, other)
    fee = market.product.fee(market.product.taker_fee, abs(signed), market.mark)
    return max(ZERO, after + fee - equity(account, markets))


def requirements(account: Account, markets: dict[str, Market], by_day: bool) -> Requirements:
    """What the account binds at the rates of one window."""
    held = [(markets[name], holding.size) for name, holding in account.holdings.items()]
    initial = sum((initial_margin(account, market, size, by_day) for market, size in held), ZERO)
    maintenance = sum((maintenance_margin(account, market, size, by_day) for market, size in held), ZERO)
    projected = projected_initial(account, markets, by_day)
    return Requirements(initial, maintenance, projected)


def order_margins(account: Account, market: Market, amount: Decimal) -> tuple[Decimal, Decimal]:
    """How much more initial margin buying and selling that amount would bind."""
    size = account.size(market.product.name)
    buys, sells = resting_in(account, market)

    def worse(*reachable: Decimal) -> Decimal:
        return max(initial_margin(account, market, one) for one in reachable)

    now = worse(size + buys, size - sells)
    bought, sold = worse(size + buys + amount, size - sells), worse(size + buys, size - sells - amount)
    return max(ZERO, bought - now), max(ZERO, sold - now)


def account_view(account: Account, markets: dict[str, Market], currency: str) -> AccountView:
    """The account as shown."""
    now = standing(account, markets)
    projected = projected_initial(account, markets)
    deltas: dict[str, Decimal] = {}
    for name, held in account.holdings.items():
        index = markets[name].product.price_index
        deltas[index] = deltas.get(index, ZERO) + held.size
    return AccountView(
        account_id=account.account_id,
        username=account.username,
        main_account_id=account.main_id,
        slot_product=account.slot_product,
        currency=currency,
        balance=account.balance,
        equity=now.equity,
        margin_balance=now.equity,
        initial_margin=now.initial,
        maintenance_margin=now.maintenance,
        projected_initial_margin=projected,
        available_funds=max(ZERO, now.equity - projected),
        session_rpl=now.session_rpl,
        session_upl=now.session_upl,
        session_funding=now.session_funding,
        total_pl=now.total_pl,
        delta_total=deltas,
        locked=account.locked,
        position_locked=account.position_locked,
        liquidating=account.liquidating,
        created_ms=account.created_ms,
        wallet=account.wallet,
        day_margin=account.day_margin,
        sweep=account.sweep,
    )


def position_view(account: Account, market: Market) -> Position:
    """A position as shown, of size 0 when there is none."""
    product, held = market.product, account.holdings.get(market.product.name, Holding(paid_mark=market.paid))
    leverage = account.leverage.get(product.name)
    initial = initial_margin(account, market, held.size)
    funding = held.session_funding + accrued(held, market)
    return Position(
        account_id=account.account_id,
        product=product.name,
        size=held.size,
        average_price=held.cost / held.size if held.size else None,
        mark_price=market.mark,
        index_price=market.index,
        settlement_price=market.settlement_price,
        initial_margin=initial,
        maintenance_margin=maintenance_margin(account, market, held.size),
        open_orders_margin=bound(account, market) - initial,
        floating_profit_loss=held.size * market.mark - held.session_cost,
        realized_profit_loss=held.session_realised + funding,
        total_profit_loss=held.size * market.mark - held.cost,
        realized_funding=funding,
        interest_value=market.paid,
        leverage=leverage or product.max_leverage,
        isolated=account.main_id is not None,
    )


def check_identity(account: Account, markets: dict[str, Market]) -> None:
    """Raise AssertionError unless the totals since the start lead to the equity shown, and the ledger to the cash."""
    unrealised = unbooked = ZERO
    for name, held in account.holdings.items():
        unrealised += held.size * markets[name].mark - held.cost
        unbooked += accrued(held, markets[name])
    since_start = account.deposits + account.realised + unrealised - account.fees + account.funding + unbooked
    shown = equity(account, markets)
    if since_start != shown:
        raise AssertionError(f"account {account.account_id}: {since_start} by totals, {shown} by sessions")
    cash = sum((row.change for row in account.ledger), ZERO)
    if cash != account.balance:
        raise AssertionError(f"account {account.account_id}: ledger {cash}, balance {account.balance}")
