"""This file decides whether a request may pass: states, locks, and the form of an order's numbers."""

from decimal import Decimal

from perpctl.paper.floor.account import Account
from perpctl.paper.floor.market import Market
from perpctl.paper.floor.venue import TRIGGER_TYPES, Venue
from perpctl.paper.terms.refusal import refusal
from perpctl.paper.types import Direction, NewOrder, Order, Rejected


def missing(param: str) -> Rejected:
    """The refusal of a request that lacks a member."""
    return refusal("invalid_params", None, {"param": param, "reason": "value required"})


def check_open(venue: Venue, account: Account, market: Market, valid_until: int | None) -> None:
    """Raise Rejected unless orders of that account may be created or changed in that book now."""
    check_book(venue, market, "open")
    if valid_until is not None and venue.now > valid_until:
        raise refusal("timed_out")
    if account.locked or account.liquidating:
        raise refusal("account_locked")


def check_book(venue: Venue, market: Market, *allowed: str) -> None:
    """Raise Rejected unless the book's state is one of those."""
    if venue.maintenance:
        raise refusal("system_maintenance")
    if market.state == "settlement":
        raise refusal("settlement_in_progress")
    if market.state not in allowed:
        raise refusal("book_closed")


def check_form(venue: Venue, market: Market, new: NewOrder) -> None:
    """Raise Rejected unless the order's own numbers and words are in order."""
    if not market.product.tradable:
        raise refusal("invalid_or_unsupported_instrument")
    if len(new.label) > venue.rules.longest_label:
        raise refusal("invalid_params", None, {"param": "label", "reason": "too long"})
    check_amount(market, new.amount)
    shown = new.display_amount
    if shown is not None and (shown <= 0 or shown % market.product.contract_size or shown > (new.amount or shown)):
        raise refusal("invalid_max_show_amount")
    if new.type in ("limit", "stop_limit", "take_limit"):
        check_price(market, new.price)
    if new.type == "limit" and new.price is not None:
        check_band(market, new.direction, new.price)
    if new.reject_post_only and not new.post_only:
        raise refusal("unsupported_arg_combination")
    if new.post_only and ("limit" not in new.type or new.time_in_force in ("immediate_or_cancel", "fill_or_kill")):
        raise refusal("post_only_not_allowed")
    if new.bracket or new.type in TRIGGER_TYPES:
        check_trigger(market, new)


def check_amount(market: Market, amount: Decimal | None) -> None:
    """Raise Rejected unless it is a positive multiple of the contract size, no less than the minimum."""
    if amount is None:
        raise missing("amount")
    product = market.product
    if not amount.is_finite() or amount < product.min_amount or amount % product.contract_size:
        raise refusal("invalid_amount")


def check_price(market: Market, price: Decimal | None) -> None:
    """Raise Rejected unless it is a positive multiple of the tick."""
    if price is None:
        raise missing("price")
    if not price.is_finite() or price <= 0:
        raise refusal("invalid_price")
    if price % market.product.tick:
        raise refusal("price_wrong_tick")


def check_band(market: Market, direction: Direction, price: Decimal) -> None:
    """Raise Rejected for a buy above the highest or a sell below the lowest price; the far sides may rest.

    The band lies around a price, so that what is on this side of that price needs no look at the band's end.
    """
    middle = market.last if market.product.band_ticks else market.mark
    if direction == "buy" and price > middle and price > market.max_price:
        raise refusal("price_too_high", f"{market.max_price}")
    if direction == "sell" and price < middle and price < market.min_price:
        raise refusal("price_too_low", f"{market.min_price}")


def check_trigger(market: Market, new: NewOrder) -> None:
    """Raise Rejected unless the trigger waits on the far side of the price it watches."""
    if new.trigger is None:
        raise missing("trigger")
    if new.type == "trailing_stop":
        if new.trigger_offset is None:
            raise missing("trigger_offset")
        if new.trigger_offset <= 0 or new.trigger_offset % market.product.tick:
            raise refusal("trigger_price_wrong_tick")
        return
    if new.trigger_price is None:
        raise missing("trigger_price")
    if new.trigger_price <= 0 or new.trigger_price % market.product.tick:
        raise refusal("trigger_price_wrong_tick")


def check_trigger_side(market: Market, order: Order) -> None:
    """Raise Rejected when the order would fire at once."""
    if order.trigger is None or order.trigger_price is None:
        return
    if fires(order, market.trigger_reference(order.trigger)):
        raise refusal("invalid_trigger_price")


def fires(order: Order, reference: Decimal) -> bool:
    """Whether an untriggered order fires at that price: stops beyond it, takes inside it."""
    if order.trigger_price is None:
        return False
    upward = (order.direction == "buy") != order.order_type.startswith("take")
    return reference >= order.trigger_price if upward else reference <= order.trigger_price


def check_position_lock(account: Account, order: Order) -> None:
    """Raise Rejected when the account may only reduce and this order would not."""
    if not account.position_locked or order.reduce_only:
        return
    size = account.size(order.product)
    if not (order.sign * size < 0 and order.amount <= abs(size)):
        raise refusal("disabled_while_position_lock")
