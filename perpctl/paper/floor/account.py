"""This file keeps an account's money: positions, realised profit, fees, funding, margin.

Two records are kept of what a position cost, one since it was opened and one since the last settlement. Cash follows
the second, the totals the first; that both lead to one equity is the identity that `check_identity` asserts.
"""

from decimal import Decimal
from typing import NamedTuple

from msgspec import Struct

from perpctl.paper.floor.book import ZERO
from perpctl.paper.floor.market import Market
from perpctl.paper.floor.refusal import refusal
from perpctl.paper.types import (
    AccountView,
    LedgerRow,
    Order,
    Position,
    Product,
    SettlementRow,
    Trade,
    TriggerRecord,
)

MONEY = Decimal("1e-12")


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


class OpenAmounts(NamedTuple):
    """What rests in a product and may grow the position, in base coin."""

    buys: Decimal
    sells: Decimal


def accrued(holding: Holding, market: Market) -> Decimal:
    """Funding received (paid when negative) and not yet booked."""
    return (-holding.size * (market.paid - holding.paid_mark)).quantize(MONEY) if holding.size else ZERO


def book_funding(account: Account, holding: Holding, market: Market) -> Decimal:
    """Move accrued funding into the session's figure; returns it."""
    funding = accrued(holding, market)
    holding.paid_mark = market.paid
    holding.session_funding += funding
    account.funding += funding
    return funding


def book_fill(account: Account, market: Market, signed: Decimal, price: Decimal, fee_rate: Decimal) -> list[Part]:
    """Change the position by `signed` at `price`; a fill through zero has a closing and an opening part."""
    holding = account.holdings.setdefault(market.product.name, Holding(paid_mark=market.paid))
    funding = book_funding(account, holding, market)
    closing = min(abs(signed), abs(holding.size)) if signed * holding.size < 0 else ZERO
    parts: list[Part] = []
    if closing:
        parts.append(_close(account, holding, closing, price, fee_rate, funding))
        funding = ZERO
    opening = abs(signed) - closing
    if opening:
        grown = opening if signed > 0 else -opening
        holding.size += grown
        holding.cost += grown * price
        holding.session_cost += grown * price
        parts.append(Part("open", opening, ZERO, opening * price * fee_rate, holding.size, funding))
    fee = sum((part.fee for part in parts), ZERO)
    account.fees += fee
    account.balance -= fee
    return parts


def _close(
    account: Account, holding: Holding, amount: Decimal, price: Decimal, fee_rate: Decimal, funding: Decimal
) -> Part:
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
    return Part("close", amount, realised, amount * price * fee_rate, holding.size, funding)


def settle(account: Account, holding: Holding, market: Market) -> tuple[Decimal, Decimal, Decimal]:
    """Move the session's result into cash; returns (change, funding, session profit without funding)."""
    book_funding(account, holding, market)
    worth = holding.size * market.mark
    profit = holding.session_realised + worth - holding.session_cost
    funding = holding.session_funding
    account.balance += profit + funding
    holding.session_cost, holding.session_realised, holding.session_funding = worth, ZERO, ZERO
    return profit + funding, funding, profit


def initial_rate(product: Product, amount: Decimal, leverage: int | None) -> Decimal:
    """Standard margin: a base rate plus a slope by size, never less than the leverage set asks for."""
    rate = product.initial_rate + product.rate_per_coin * amount
    return max(rate, (Decimal(1) / leverage).quantize(MONEY)) if leverage else rate


def initial_margin(product: Product, amount: Decimal, mark: Decimal, leverage: int | None) -> Decimal:
    """What a position of that absolute size binds."""
    return amount * mark * initial_rate(product, amount, leverage)


def maintenance_margin(product: Product, amount: Decimal, mark: Decimal) -> Decimal:
    """Below this the account is liquidated."""
    return amount * mark * (product.maintenance_rate + product.rate_per_coin * amount)


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
            needed += maintenance_margin(markets[name].product, abs(held.size), markets[name].mark)
    return needed > 0 and equity(account, markets) < needed


def standing(account: Account, markets: dict[str, Market]) -> Standing:
    """The account's sums at current marks."""
    initial = maintenance = rpl = upl = funding = total = ZERO
    for name, held in account.holdings.items():
        market = markets[name]
        worth, amount = held.size * market.mark, abs(held.size)
        initial += initial_margin(market.product, amount, market.mark, account.leverage.get(name))
        maintenance += maintenance_margin(market.product, amount, market.mark)
        paid = held.session_funding + accrued(held, market)
        rpl += held.session_realised + paid
        upl += worth - held.session_cost
        funding += paid
        total += worth - held.cost
    return Standing(account.balance + rpl + upl, initial, maintenance, rpl, upl, funding, total)


def open_amounts(account: Account, orders: dict[str, Order]) -> dict[str, OpenAmounts]:
    """Resting amounts by product; reduce-only orders and untriggered ones bind nothing."""
    sums: dict[str, OpenAmounts] = {}
    for order_id in account.live:
        order = orders[order_id]
        if order.state != "open" or order.reduce_only:
            continue
        buys, sells = sums.get(order.product, OpenAmounts(ZERO, ZERO))
        if order.direction == "buy":
            sums[order.product] = OpenAmounts(buys + order.remaining, sells)
        else:
            sums[order.product] = OpenAmounts(buys, sells + order.remaining)
    return sums


def projected_initial(account: Account, markets: dict[str, Market], resting: dict[str, OpenAmounts]) -> Decimal:
    """Initial margin with the dearer side of the resting orders filled, product by product."""
    total = ZERO
    for name in account.holdings.keys() | resting.keys():
        market, size = markets[name], account.size(name)
        buys, sells = resting.get(name, OpenAmounts(ZERO, ZERO))
        worst = max(abs(size + buys), abs(size - sells), abs(size))
        total += initial_margin(market.product, worst, market.mark, account.leverage.get(name))
    return total


def require_funds(
    account: Account, markets: dict[str, Market], orders: dict[str, Order], signed: Decimal, product: Product
) -> None:
    """Raise not_enough_funds when `signed` more of a product needs margin that is not there."""
    resting = open_amounts(account, orders)
    before = projected_initial(account, markets, resting)
    buys, sells = resting.get(product.name, OpenAmounts(ZERO, ZERO))
    resting[product.name] = OpenAmounts(buys + max(signed, ZERO), sells + max(-signed, ZERO))
    after = projected_initial(account, markets, resting)
    fee = abs(signed) * markets[product.name].mark * product.taker_fee
    if after > before and after + fee > equity(account, markets):
        raise refusal("not_enough_funds")


def order_margins(
    account: Account, market: Market, orders: dict[str, Order], amount: Decimal
) -> tuple[Decimal, Decimal]:
    """How much more initial margin buying and selling that amount would bind."""
    product, size = market.product, account.size(market.product.name)
    leverage = account.leverage.get(product.name)
    buys, sells = open_amounts(account, orders).get(product.name, OpenAmounts(ZERO, ZERO))
    now = initial_margin(product, max(abs(size + buys), abs(size - sells)), market.mark, leverage)
    bought = max(abs(size + buys + amount), abs(size - sells))
    sold = max(abs(size + buys), abs(size - sells - amount))
    return (
        max(ZERO, initial_margin(product, bought, market.mark, leverage) - now),
        max(ZERO, initial_margin(product, sold, market.mark, leverage) - now),
    )


def account_view(account: Account, markets: dict[str, Market], orders: dict[str, Order], currency: str) -> AccountView:
    """The account as shown."""
    now = standing(account, markets)
    projected = projected_initial(account, markets, open_amounts(account, orders))
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
    )


def position_view(account: Account, market: Market, orders: dict[str, Order]) -> Position:
    """A position as shown, of size 0 when there is none."""
    product, held = market.product, account.holdings.get(market.product.name, Holding(paid_mark=market.paid))
    leverage, amount = account.leverage.get(product.name), abs(held.size)
    initial = initial_margin(product, amount, market.mark, leverage)
    buys, sells = open_amounts(account, orders).get(product.name, OpenAmounts(ZERO, ZERO))
    worst = max(abs(held.size + buys), abs(held.size - sells), amount)
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
        maintenance_margin=maintenance_margin(product, amount, market.mark),
        open_orders_margin=initial_margin(product, worst, market.mark, leverage) - initial,
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
