"""This file carries orders through the book: placing, matching, editing, cancelling."""

from decimal import Decimal

from msgspec.structs import replace

from perpctl.paper.events import PublicTradePrinted
from perpctl.paper.floor.account import Account, shortfall
from perpctl.paper.floor.admission import (
    check_amount,
    check_band,
    check_book,
    check_form,
    check_open,
    check_position_lock,
    check_price,
    check_trigger_side,
)
from perpctl.paper.floor.book import ZERO, Resting
from perpctl.paper.floor.ledger import cover, fill
from perpctl.paper.floor.market import Market
from perpctl.paper.floor.venue import TRIGGER_TYPES, Venue
from perpctl.paper.terms.refusal import refusal
from perpctl.paper.types import Edit, NewOrder, Order, PublicTrade, Rejected, Trade, TriggerRecord

AT_ONCE = ("immediate_or_cancel", "fill_or_kill")


def place(venue: Venue, account: Account, new: NewOrder) -> tuple[Order, list[Trade]]:
    """Accept one order without its linked ones. Raises Rejected, and then nothing was placed."""
    market = venue.market(new.product)
    check_open(venue, account, market, new.valid_until)
    check_form(venue, market, new)
    order = make_order(venue, account, market, new)
    check_position_lock(account, order)
    if order.state == "untriggered":
        return arm(venue, order), []
    if new.bracket:
        check_trigger_side(market, order)
    return execute(venue, order)


def make_order(venue: Venue, account: Account, market: Market, new: NewOrder) -> Order:
    """The order that a request asks for; not yet anywhere."""
    at_market, waits = new.type in ("market", "market_limit"), new.type in TRIGGER_TYPES
    order = Order(
        order_id=venue.order_id(new),
        account_id=account.account_id,
        product=new.product,
        direction=new.direction,
        order_type="limit" if at_market else new.type,
        time_in_force=new.time_in_force,
        price=_market_price(market, new) if at_market else new.price if "limit" in new.type else None,
        amount=new.amount or ZERO,
        state="untriggered" if waits else "open",
        label=new.label,
        post_only=new.post_only,
        reduce_only=new.reduce_only,
        origin=new.origin,
        created_ms=venue.now,
        updated_ms=venue.now,
    )
    # Each member costs time, and the rest are for the few.
    if at_market:
        order = replace(order, original_order_type=new.type)
    if new.reject_post_only or new.display_amount is not None or new.end_ms is not None or account.main_id is not None:
        order = replace(
            order,
            reject_post_only=new.reject_post_only,
            display_amount=new.display_amount,
            isolated=account.main_id is not None,
            end_ms=new.end_ms,
        )
    if waits or new.bracket:
        offset = new.trigger_offset if new.type == "trailing_stop" else None
        order = replace(order, trigger=new.trigger, trigger_price=new.trigger_price, trigger_offset=offset)
    if new.linked_order_type:
        linked, condition = new.linked_order_type, new.trigger_fill_condition
        order = replace(order, linked_order_type=linked, trigger_fill_condition=condition)
    return order


def _market_price(market: Market, new: NewOrder) -> Decimal:
    """Market orders become limit orders: at the band's end, or (market_limit) at the best price."""
    best = market.book.best_price(market.book.makers(new.direction))
    if new.type == "market_limit" and best is not None:
        return best
    return market.max_price if new.direction == "buy" else market.min_price


def arm(venue: Venue, order: Order) -> Order:
    """Let a trigger order wait. Raises Rejected."""
    account, market = venue.accounts[order.account_id], venue.markets[order.product]
    if sum(venue.orders[i].state == "untriggered" for i in account.live) >= venue.rules.max_triggers:
        raise refusal("no_more_triggers", f"{venue.rules.max_triggers}")
    order = start_trailing(market, order)
    check_trigger_side(market, order)
    market.triggers.append(order.order_id)
    return venue.open(order)


def start_trailing(market: Market, order: Order) -> Order:
    """A trailing stop's first trigger price, from the price it watches."""
    if order.trigger_offset is None or order.trigger is None:
        return order
    reference = market.trigger_reference(order.trigger)
    return replace(
        order,
        trigger_reference_price=reference,
        trigger_price=reference + order.sign * order.trigger_offset,
    )


def execute(venue: Venue, order: Order) -> tuple[Order, list[Trade]]:
    """Match an order, then rest or end what is left. Raises Rejected, and then nothing happened."""
    account, market = venue.accounts[order.account_id], venue.markets[order.product]
    if order.reduce_only:
        order = _cut_to_position(account, order)
    if order.post_only:
        order = _slid_inside(market, order)
    if not order.reduce_only and not order.is_liquidation:
        missing = shortfall(account, venue.markets, order.sign * order.remaining, market)
        if missing:
            cover(venue, account, missing)
    order, trades = _match(venue, account, market, order)
    order = _rest_or_end(venue, account, market, order)
    if trades:
        shrink_reduce_only(venue, account, market)
        order = venue.orders[order.order_id]
    venue.book_changed(market)
    return order, trades


def _match(venue: Venue, account: Account, market: Market, order: Order) -> tuple[Order, list[Trade]]:
    book, makers, price = market.book, market.book.makers(order.direction), order.price or ZERO
    trades: list[Trade] = []
    if order.time_in_force == "fill_or_kill" and book.available(makers, price, account.account_id) < order.remaining:
        return order, trades
    while order.state == "open" and (offer := book.best_offer(makers, price)):
        maker = offer.maker
        if maker and maker.account_id == order.account_id:
            venue.close(venue.orders[maker.order_id], "cancelled", "order_overlap")
            continue
        amount = min(order.remaining, offer.amount)
        public = market.record_trade(venue.trade_id(), order.direction, offer.price, amount, order.is_liquidation)
        if maker:
            fill_resting(venue, maker, amount, public)
        else:
            book.take_outside(makers, amount)
        order, trade = fill(venue, order, amount, public, "T")
        trades.append(trade)
        venue.emit(PublicTradePrinted(public))
    return order, trades


def _rest_or_end(venue: Venue, account: Account, market: Market, order: Order) -> Order:
    if order.state == "filled":
        return venue.close(order, "filled")
    if order.time_in_force in AT_ONCE or order.original_order_type == "market":
        return venue.close(order, "cancelled")
    market.book.rest(order)
    if order.trigger is not None and not order.triggered and order.order_id not in market.triggers:  # a bracket
        market.triggers.append(order.order_id)
    venue.open(order)
    venue.account_changed(account)
    return order


def fill_resting(venue: Venue, own: Resting, amount: Decimal, public: PublicTrade) -> None:
    """An order of the book is hit for that amount."""
    order = venue.orders[own.order_id]
    market = venue.markets[order.product]
    market.book.reduce(order, amount)
    order, _ = fill(venue, order, amount, public, "M")
    if order.state == "filled":
        venue.close(order, "filled")
    else:
        venue.store(order)
    shrink_reduce_only(venue, venue.accounts[order.account_id], market)


def shrink_reduce_only(venue: Venue, account: Account, market: Market) -> None:
    """Resting reduce-only orders never exceed the position, and end with it."""
    size = account.size(market.product.name)
    for order_id in list(account.live):
        order = venue.orders[order_id]
        if not order.reduce_only or order.state != "open" or order.product != market.product.name:
            continue
        allowed = abs(size) if order.sign * size < 0 else ZERO
        if allowed == 0:
            venue.close(order, "cancelled", "risk_mitigation")
        elif order.remaining > allowed:
            market.book.reduce(order, order.remaining - allowed)
            venue.store(replace(order, amount=order.filled + allowed, updated_ms=venue.now))


def _cut_to_position(account: Account, order: Order) -> Order:
    size = account.size(order.product)
    if order.sign * size >= 0:
        raise refusal("other_reject", "reduce_only_order_without_position_to_reduce")
    return replace(order, amount=min(order.amount, order.filled + abs(size)))


def _slid_inside(market: Market, order: Order) -> Order:
    best = market.book.best_price(market.book.makers(order.direction))
    if best is None or order.price is None or (best - order.price) * order.sign > 0:
        return order
    if order.reject_post_only:
        raise refusal("post_only_reject")
    return replace(order, price=best - order.sign * market.product.tick)


def cancel(venue: Venue, order: Order, reason: str = "user_request") -> Order:
    """End a live order. Raises Rejected when the book refuses cancels or the order is over."""
    if not order.is_live:
        raise refusal("not_open_order")
    if order.is_liquidation:
        raise refusal("can_not_cancel_liquidation_order")
    market = venue.markets[order.product]
    check_book(venue, market, "open", "locked")
    return end(venue, order, reason)


def end(venue: Venue, order: Order, reason: str) -> Order:
    """Cancel a live order whatever the book's state."""
    account, market = venue.accounts[order.account_id], venue.markets[order.product]
    waited = order.state == "untriggered"
    ended = venue.close(order, "cancelled", reason)
    if waited:
        account.trigger_history.append(TriggerRecord(venue.now, ended, None, "cancelled"))
    venue.account_changed(account)
    venue.book_changed(market)
    return ended


def edit(venue: Venue, order: Order, change: Edit) -> tuple[Order, list[Trade]]:
    """Change a live order. Raises Rejected, and then it stands as it was."""
    account, market = venue.accounts[order.account_id], venue.markets[order.product]
    if not order.is_live:
        raise refusal("not_open_order")
    if order.is_liquidation:
        raise refusal("can_not_edit_liquidation_order")
    check_open(venue, account, market, change.valid_until)
    changed = _changed(venue, market, order, change)
    if order.state == "untriggered":
        if not order.is_secondary_oto:
            check_trigger_side(market, changed)
        return venue.store(changed), []
    same_terms = (changed.price, changed.reduce_only) == (order.price, order.reduce_only)
    if same_terms and changed.amount <= order.amount:
        market.book.reduce(order, order.amount - changed.amount)
        venue.book_changed(market)
        return venue.store(changed), []
    check_position_lock(account, changed)
    return _requeue(venue, order, changed)


def _changed(venue: Venue, market: Market, order: Order, change: Edit) -> Order:
    named = {n: v for n in change.__struct_fields__ if (v := getattr(change, n)) is not None and n != "valid_until"}
    changed = replace(order, **named, replaced=True, updated_ms=venue.now)
    if change.amount is not None:
        check_amount(market, change.amount)
        if change.amount <= order.filled:
            raise refusal("invalid_amount")
    if change.price is not None:
        if order.price is None:
            raise refusal("invalid_price")
        check_price(market, change.price)
        if order.state == "open":
            check_band(market, order.direction, change.price)
    if change.trigger_price is not None and (order.trigger is None or change.trigger_price % market.product.tick):
        raise refusal("trigger_price_wrong_tick")
    return start_trailing(market, changed) if change.trigger_offset is not None else changed


def _requeue(venue: Venue, order: Order, changed: Order) -> tuple[Order, list[Trade]]:
    """Out of the queue and in again at its end; a refusal puts it back where it stood."""
    account, book = venue.accounts[order.account_id], venue.markets[order.product].book
    side = book.side_of(order)
    queue, live = list(side.resting), list(account.live)
    book.remove(order)
    account.live.remove(order.order_id)
    try:
        return execute(venue, changed)
    except Rejected:
        book.restore(side, queue)
        account.live = live
        raise
