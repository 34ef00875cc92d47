"""This file closes, piece by piece, what an account can no longer carry."""

from decimal import Decimal
from typing import Literal

from perpctl.paper.floor.account import Account, is_short_of_margin, standing
from perpctl.paper.floor.book import ZERO
from perpctl.paper.floor.ledger import deposit
from perpctl.paper.floor.market import Market
from perpctl.paper.floor.orders import end, execute
from perpctl.paper.floor.venue import Venue
from perpctl.paper.types import LiquidationChanged, NewOrder, Order


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
        account.liquidating = True
        _tell(venue, account)
        for order_id in list(account.live):
            if venue.orders[order_id].is_live:
                end(venue, venue.orders[order_id], "autoliquidation")
    held = [name for name in account.holdings if account.size(name)]
    largest = max(held, key=lambda name: abs(account.size(name)) * venue.markets[name].mark)
    market = venue.markets[largest]
    if market.state == "open":
        execute(venue, _closing_order(venue, account, market))
    if not any(account.size(name) for name in account.holdings):
        _finish(venue, account)


def _closing_order(venue: Venue, account: Account, market: Market) -> Order:
    size, step = account.size(market.product.name), market.product.contract_size
    share = (abs(size) * venue.rules.liquidation_share / step).to_integral_value(rounding="ROUND_CEILING") * step
    amount = min(abs(size), max(share, market.product.min_amount))
    small = abs(size) * market.mark < Decimal(1000)
    selling = size > 0
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
        amount=abs(size) if small else amount,
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
