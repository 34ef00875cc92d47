"""This file closes, piece by piece, what an account can no longer carry."""

from decimal import Decimal
from typing import Literal

from perpctl.paper.events import ForcedTransfer, LiquidationChanged
from perpctl.paper.floor.account import MONEY, Account, is_short_of_margin, standing
from perpctl.paper.floor.book import ZERO
from perpctl.paper.floor.ledger import deposit, force
from perpctl.paper.floor.market import Market
from perpctl.paper.floor.orders import end, execute, shrink_reduce_only
from perpctl.paper.floor.venue import Venue
from perpctl.paper.types import Direction, NewOrder, Order

CENT = Decimal("0.01")
SMALL_NOTIONAL = Decimal(1000)  # a position below it goes whole


def watch_margin(venue: Venue, market: Market) -> None:
    """After a price change: start, continue or finish liquidations of those who hold the product."""
    for account_id in list(market.holders):
        account = venue.accounts[account_id]
        if is_short_of_margin(account, venue.markets):
            _liquidate(venue, account)
        elif account.liquidating:
            _finish(venue, account)


def _liquidate(venue: Venue, account: Account) -> None:
    if not account.liquidating:
        account.liquidating, account.provided = True, ZERO
        _tell(venue, account)
        for order_id in list(account.live):
            if venue.orders[order_id].is_live:
                end(venue, venue.orders[order_id], "autoliquidation")
    held = [name for name in account.holdings if account.size(name)]
    largest = max(held, key=lambda name: abs(account.size(name)) * venue.markets[name].mark)
    market = venue.markets[largest]
    if market.state == "open":
        _reduce(venue, account, market)
    if not any(account.size(name) for name in account.holdings):
        _finish(venue, account)


def _reduce(venue: Venue, account: Account, market: Market) -> None:
    """Close a share of a position: first with liquidity providers, then with who profits, then in the book."""
    due = _share(venue, account, market)
    due -= _hand_to_providers(venue, account, market, due)
    due -= _hand_to_winners(venue, account, market, due)
    if due > 0:
        execute(venue, _closing_order(venue, account, market, due))


def _share(venue: Venue, account: Account, market: Market) -> Decimal:
    size, step = abs(account.size(market.product.name)), market.product.contract_size
    if size * market.mark < SMALL_NOTIONAL:
        return size
    share = (size * venue.rules.liquidation_share / step).to_integral_value(rounding="ROUND_CEILING") * step
    return min(size, max(share, market.product.min_amount))


def _hand_to_providers(venue: Venue, account: Account, market: Market, due: Decimal) -> Decimal:
    """How much they took: never more than they have left for this liquidation, at their price and for a commission."""
    rules, step = venue.rules, market.product.contract_size
    amount = min(due, (rules.provider_notional - account.provided) / market.mark // step * step)
    if amount <= 0:
        return ZERO
    selling = account.size(market.product.name) > 0
    away = 1 - rules.provider_spread if selling else 1 + rules.provider_spread
    account.provided += amount * market.mark
    price = (market.mark * away).quantize(CENT)
    _force(venue, account, market, ("LSP", selling, amount, price, rules.transfer_fee))
    return amount


def _hand_to_winners(venue: Venue, account: Account, market: Market, due: Decimal) -> Decimal:
    """How much went to those who profit on the other side, the largest profit first, at the mark."""
    handed, selling = ZERO, account.size(market.product.name) > 0
    for winner in _winners(venue, account, market):
        amount = min(due - handed, abs(winner.size(market.product.name)))
        if amount <= 0:
            break
        _force(venue, account, market, ("ADL", selling, amount, market.mark, venue.rules.transfer_fee))
        deleverage(venue, winner, market, amount)
        handed += amount
    return handed


def _winners(venue: Venue, account: Account, market: Market) -> list[Account]:
    name, mine = market.product.name, account.size(market.product.name)

    def profit(other: Account) -> Decimal:
        held = other.holdings[name]
        return held.size * market.mark - held.cost

    others = [venue.accounts[i] for i in market.holders if venue.accounts[i].size(name) * mine < 0]
    able = [one for one in others if profit(one) > 0 and not one.liquidating]
    return sorted(able, key=lambda one: (-profit(one), one.account_id))


def deleverage(venue: Venue, account: Account, market: Market, amount: Decimal) -> None:
    """A healthy account's position shrinks at the mark, because somebody's on the other side had to be closed."""
    shrinks_by_selling = account.size(market.product.name) > 0
    fee_rate = venue.rules.counterparty_fee
    _force(venue, account, market, ("ADL", shrinks_by_selling, amount, market.mark, fee_rate), taken=True)


def _force(
    venue: Venue,
    account: Account,
    market: Market,
    terms: tuple[Literal["LSP", "ADL"], bool, Decimal, Decimal, Decimal],  # kind, selling, amount, price, fee rate
    *,
    taken: bool = False,
) -> None:
    kind, selling, amount, price, fee_rate = terms
    fee = (amount * price * fee_rate).quantize(MONEY)
    direction: Direction = "sell" if selling else "buy"
    act = ForcedTransfer(account.account_id, market.product.name, kind, direction, amount, price, fee, taken)
    force(venue, account, market, act)
    shrink_reduce_only(venue, account, market)


def _closing_order(venue: Venue, account: Account, market: Market, amount: Decimal) -> Order:
    selling = account.size(market.product.name) > 0
    new = NewOrder(product=market.product.name, direction="sell" if selling else "buy", type="market")
    return Order(
        order_id=venue.order_id(new),
        account_id=account.account_id,
        product=new.product,
        direction=new.direction,
        order_type="limit",
        original_order_type="market",
        time_in_force="immediate_or_cancel",
        price=market.min_price if selling else market.max_price,
        amount=amount,
        state="open",
        reduce_only=True,
        is_liquidation=True,
        isolated=account.main_id is not None,
        created_ms=venue.now,
        updated_ms=venue.now,
    )


def _finish(venue: Venue, account: Account) -> None:
    """The account may trade again; what it owes beyond its cash is made good from outside."""
    account.liquidating = False
    deficit = standing(account, venue.markets).equity
    if deficit < ZERO and not any(account.size(name) for name in account.holdings):
        deposit(venue, account, -deficit, "correction")
    _tell(venue, account)


def _tell(venue: Venue, account: Account) -> None:
    now = standing(account, venue.markets)
    state: Literal["liquidation_started", "liquidation_completed"] = "liquidation_completed"
    if account.liquidating:
        state = "liquidation_started"
    venue.emit(LiquidationChanged(account.account_id, state, now.maintenance, now.equity))
    venue.account_changed(account)
