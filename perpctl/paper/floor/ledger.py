"""This file writes the transaction log: fills, settlements, deposits, transfers, and moves cash with them."""

from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from perpctl.paper.events import Filled, ForcedTransfer, PositionChanged
from perpctl.paper.floor.account import (
    CENT,
    MONEY,
    Account,
    Holding,
    Part,
    book_fill,
    equity,
    requirements,
    settle,
)
from perpctl.paper.floor.book import ZERO
from perpctl.paper.floor.market import Market
from perpctl.paper.floor.venue import Venue
from perpctl.paper.terms.refusal import refusal
from perpctl.paper.types import LedgerRow, Order, Product, PublicTrade, SettlementRow, Trade


def write_row(
    venue: Venue, account: Account, type: str, change: Decimal, *, commission: Decimal = ZERO, **members: Any
) -> None:
    """Append a row; the account's balance already holds `change` unless a later row of the same act follows."""
    venue.next_row += 1
    account.user_seq += 1
    before = account.ledger[-1].balance if account.ledger else ZERO
    row = LedgerRow(
        id=venue.next_row,
        user_seq=account.user_seq,
        account_id=account.account_id,
        username=account.username,
        at_ms=venue.now,
        type=type,
        currency=venue.rules.currency,
        change=change,
        cashflow=change,
        balance=before + change,
        equity=equity(account, venue.markets),
        commission=commission,
        **members,
    )
    account.ledger.append(row)


def deposit(venue: Venue, account: Account, amount: Decimal, type: str = "deposit") -> None:
    """Cash from outside, or to it when negative."""
    account.balance += amount
    account.deposits += amount
    write_row(venue, account, type, amount)
    venue.account_changed(account)


def transfer(venue: Venue, source: Account, destination: Account, amount: Decimal) -> None:
    """Move cash between a main account and a slot of it. Raises Rejected."""
    for account, change in ((source, -amount), (destination, amount)):
        other = destination if account is source else source
        account.balance += change
        account.deposits += change
        named = {"other_account": other.account_id, "other_username": other.username}
        write_row(venue, account, "transfer", change, commission=ZERO, **named)
        venue.account_changed(account)


def draw_wallet(venue: Venue, account: Account, amount: Decimal) -> None:
    """Cash from the account's wallet, in whole cents; back into it when negative."""
    account.wallet -= amount
    account.balance += amount
    account.deposits += amount
    write_row(venue, account, "transfer", amount, info="wallet")
    venue.account_changed(account)


def cover(venue: Venue, account: Account, missing: Decimal) -> None:
    """Have the wallet make good what an order's margin lacks. Raises Rejected when it cannot."""
    if missing <= 0:
        return
    missing = missing.quantize(CENT, rounding="ROUND_CEILING")
    if missing > account.wallet:
        raise refusal("not_enough_funds")
    draw_wallet(venue, account, missing)


def sweep(venue: Venue, account: Account) -> None:
    """At a session's end: what was asked back goes to the wallet, as far as it is free at the dearer rates."""
    if account.sweep is None:
        return
    bound = requirements(account, venue.markets, by_day=False).projected
    free = min(account.balance, equity(account, venue.markets) - bound).quantize(CENT, rounding="ROUND_FLOOR")
    asked = free if account.sweep.amount is None else min(account.sweep.amount, free)
    account.sweep = None
    if asked > 0:
        draw_wallet(venue, account, -asked)


def check_transfer(source: Account, destination: Account, amount: Decimal, available: Decimal) -> None:
    """Raise Rejected unless the two belong together and the cash is free."""
    if source.account_id == destination.account_id or (source.main_id or source.account_id) != (
        destination.main_id or destination.account_id
    ):
        raise refusal("transfer_not_allowed")
    if amount <= 0 or amount > available:
        raise refusal("insufficient_cleared_balance")


def fill(venue: Venue, order: Order, amount: Decimal, public: PublicTrade, liquidity: str) -> tuple[Order, Trade]:
    """Book one fill of an order in position, cash and log. The order must be the newest state; so is the returned."""
    account, market = venue.accounts[order.account_id], venue.markets[order.product]
    parts = book_fill(account, market, order.sign * amount, public.price, _fee_rate(order, market.product, liquidity))
    filled = order.filled + amount
    order = replace(
        order,
        filled=filled,
        filled_value=order.filled_value + amount * public.price,
        state="filled" if filled >= order.amount else "open",
        updated_ms=venue.now,
    )
    trade = _trade(venue, order, public, parts, liquidity)
    account.trades.append(trade)
    for part in parts:
        _trade_row(venue, account, market, trade, part)
    _track_holder(account, market)
    venue.emit(Filled(account.account_id, trade))
    venue.emit(PositionChanged(account.account_id, order.product))
    venue.account_changed(account)
    venue.follow(order)
    return order, trade


def _fee_rate(order: Order, product: Product, liquidity: str) -> Decimal:
    if order.is_liquidation:
        return product.liquidation_fee
    return product.maker_fee if liquidity == "M" else product.taker_fee


def _track_holder(account: Account, market: Market) -> None:
    holds, known = bool(account.size(market.product.name)), account.account_id in market.holders
    if holds and not known:
        market.holders.append(account.account_id)
    elif known and not holds:
        market.holders.remove(account.account_id)


def _trade(venue: Venue, order: Order, public: PublicTrade, parts: list[Part], liquidity: str) -> Trade:
    amount, fee, profit = parts[0].amount, parts[0].fee, parts[0].realised
    for part in parts[1:]:
        amount, fee, profit = amount + part.amount, fee + part.fee, profit + part.realised
    return Trade(
        trade_id=public.trade_id,
        trade_seq=public.trade_seq,
        account_id=order.account_id,
        product=order.product,
        order_id=order.order_id,
        at_ms=venue.now,
        direction=order.direction,
        price=public.price,
        amount=amount,
        liquidity="M" if liquidity == "M" else "T",
        fee=fee,
        fee_currency=venue.rules.currency,
        profit_loss=profit,
        mark_price=public.mark_price,
        index_price=public.index_price,
        tick_direction=public.tick_direction,
        order_type=order.order_type,
        original_order_type=order.original_order_type,
        order_state=order.state,
        label=order.label,
        post_only=order.post_only,
        reduce_only=order.reduce_only,
        liquidation=public.liquidation,
        isolated=order.isolated,
        main_account_id=venue.accounts[order.account_id].main_id,
    )


def force(venue: Venue, account: Account, market: Market, act: ForcedTransfer) -> None:
    """Book a position's change that no order made, with its rows: the transfer, and what it costs."""
    sign, role = (1 if act.direction == "buy" else -1), "destination" if act.taken else "source"
    name = market.product.name
    for part in book_fill(account, market, sign * act.amount, act.price, None):
        held = account.holdings[name]
        members: dict[str, Any] = {
            "product": name,
            "side": f"{part.side} {act.direction}",
            "amount": part.amount,
            "price": act.price,
            "position": part.size_after,
            "role": role,
        }
        figures: dict[str, Any] = {
            "interest_pl": part.funding,
            "total_interest_pl": held.session_funding,
            "session_rpl": held.session_realised + held.session_funding,
        }
        write_row(venue, account, f"{act.kind} transfer", ZERO, **members, **figures)
        if act.commission:
            share = (act.commission * part.amount / act.amount).quantize(MONEY)
            account.fees += share
            account.balance -= share
            write_row(venue, account, f"{act.kind} commission", -share, **members, commission=share)
    _track_holder(account, market)
    venue.emit(act)
    venue.emit(PositionChanged(account.account_id, name))
    venue.account_changed(account)


def _trade_row(venue: Venue, account: Account, market: Market, trade: Trade, part: Part) -> None:
    held = account.holdings[trade.product]
    write_row(
        venue,
        account,
        "trade",
        -part.fee,
        commission=part.fee,
        product=trade.product,
        side=f"{part.side} {trade.direction}",
        amount=part.amount,
        price=trade.price,
        position=part.size_after,
        mark_price=market.mark,
        index_price=market.index,
        trade_id=trade.trade_id,
        order_id=trade.order_id,
        role="maker" if trade.liquidity == "M" else "taker",
        interest_pl=part.funding,
        session_rpl=held.session_realised + held.session_funding,
        session_upl=held.size * market.mark - held.session_cost,
    )


def settle_session(venue: Venue, account: Account, market: Market, held: Holding) -> None:
    """Move a product's session result into cash, with its rows."""
    realised, upl = held.session_realised, held.size * market.mark - held.session_cost
    change, funding, profit = settle(account, held, market)
    if not held.size and not change and not funding and not realised:
        return
    write_row(
        venue,
        account,
        "settlement",
        change,
        product=market.product.name,
        side="long" if held.size > 0 else "short" if held.size < 0 else "-",
        amount=abs(held.size),
        price=market.mark,
        position=held.size,
        mark_price=market.mark,
        index_price=market.index,
        settlement_price=market.mark,
        session_rpl=realised + funding,
        session_upl=upl,
        total_interest_pl=funding,
    )
    account.settlements.append(
        SettlementRow(
            account_id=account.account_id,
            product=market.product.name,
            at_ms=venue.now,
            position=held.size,
            mark_price=market.mark,
            index_price=market.index,
            funding=funding,
            session_profit_loss=profit + funding,
            profit_loss=held.size * market.mark - held.cost,
        )
    )
    venue.emit(PositionChanged(account.account_id, market.product.name))
    venue.account_changed(account)
