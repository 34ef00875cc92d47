"""This file lets one order act on another: triggers that fire, one-cancels-other, one-triggers-other."""

from decimal import Decimal

from msgspec.structs import replace

from perpctl.paper.floor.account import Account
from perpctl.paper.floor.admission import check_form, check_open, check_position_lock, fires, missing
from perpctl.paper.floor.book import ZERO
from perpctl.paper.floor.market import Market
from perpctl.paper.floor.orders import arm, end, execute, make_order, place, start_trailing
from perpctl.paper.floor.venue import TRIGGER_TYPES, Venue
from perpctl.paper.terms.refusal import refusal
from perpctl.paper.types import NewOrder, Order, OrderType, Rejected, Trade, TriggerRecord

FIRED_TYPE: dict[str, OrderType] = {"stop_limit": "limit", "take_limit": "limit"}


def fire_triggers(venue: Venue, market: Market) -> None:
    """Move trailing stops along and fire what the prices reached, oldest first."""
    for order_id in list(market.triggers):
        order = venue.orders[order_id]
        if order.trigger is None or not (order.state == "untriggered" or order.is_bracket):
            continue
        reference = market.trigger_reference(order.trigger)
        if fires(order, reference):
            _fire(venue, order)
            follow_up(venue)
        elif order.trigger_offset is not None:
            _trail(venue, order, reference)


def _trail(venue: Venue, order: Order, reference: Decimal) -> None:
    """A selling stop climbs with the price, a buying one sinks with it; neither goes back."""
    known, offset = order.trigger_reference_price, order.trigger_offset
    if known is None or offset is None or (reference - known) * order.sign >= 0:
        return
    price = reference + order.sign * offset
    venue.store(replace(order, trigger_reference_price=reference, trigger_price=price))


def _fire(venue: Venue, order: Order) -> None:
    account = venue.accounts[order.account_id]
    if venue.rules.stable_ids:
        _fire_in_place(venue, order)
        return
    fired = venue.close(replace(order, triggered=True), "triggered")
    follow_up(venue)  # its other goes before this one trades
    made = _made_by(venue, fired, FIRED_TYPE.get(order.order_type, "market"))
    for child_id in made.oto_order_ids:  # they wait for this one's fill now
        venue.store(replace(venue.orders[child_id], primary_order_id=made.order_id))
    try:
        made, _ = execute(venue, made)
    except Rejected as refused:
        fired = venue.store(replace(fired, state="rejected"))
        venue.follow(fired)
        account.trigger_history.append(TriggerRecord(venue.now, fired, None, f"rejected:{refused}"))
        return
    account.trigger_history.append(TriggerRecord(venue.now, fired, made.order_id, "triggered"))


def _fire_in_place(venue: Venue, order: Order) -> None:
    """The order keeps its id: a stop goes to the book with its own limit, a bracket with the band's end as limit."""
    account, market = venue.accounts[order.account_id], venue.markets[order.product]
    price = order.price
    if order.is_bracket:
        market.book.remove(order)
        price = market.max_price if order.sign > 0 else market.min_price
    market.triggers.remove(order.order_id)
    account.live.remove(order.order_id)
    # A bracket's own limit is kept beside the one that it leaves at.
    first = order.price if order.is_bracket else order.trigger_reference_price
    fired = replace(order, state="open", triggered=True, price=price, updated_ms=venue.now)
    fired = replace(fired, trigger_reference_price=first)
    try:
        execute(venue, venue.store(fired))
    except Rejected as refused:
        venue.close(fired, "rejected", str(refused))


def _made_by(venue: Venue, source: Order, type: OrderType) -> Order:
    """The second order that a fired trigger order makes, its limit inside the band."""
    market, price = venue.markets[source.product], source.price
    if price is not None:
        price = min(price, market.max_price) if source.direction == "buy" else max(price, market.min_price)
    new = NewOrder(
        product=source.product,
        direction=source.direction,
        amount=source.amount,
        type=type,
        price=price,
        time_in_force=source.time_in_force,
        post_only=source.post_only,
        reject_post_only=source.reject_post_only,
        reduce_only=source.reduce_only,
        label=source.label,
        origin=source.origin,
    )
    made = make_order(venue, venue.accounts[source.account_id], market, new)
    return replace(
        made,
        triggered=True,
        trigger_order_id=source.order_id,
        oco_ref=source.oco_ref,
        linked_order_type=source.linked_order_type,
        trigger_fill_condition=source.trigger_fill_condition,
        oto_order_ids=source.oto_order_ids,
        is_primary_otoco=source.is_primary_otoco,
    )


def place_linked(venue: Venue, account: Account, new: NewOrder) -> tuple[Order, list[Trade]]:
    """Accept an order with its linked ones. Raises Rejected, and then none of them was placed."""
    market = venue.market(new.product)
    check_open(venue, account, market, new.valid_until)
    if len(new.otoco) != (2 if new.linked_order_type == "one_triggers_one_cancels_other" else 1):
        raise missing("otoco_config")
    others = [replace(other, product=new.product, amount=other.amount or new.amount) for other in new.otoco]
    for each in (new, *others):
        check_form(venue, market, each)
    if new.linked_order_type == "one_cancels_other":
        return _place_pair(venue, account, new, others[0])
    waiting = sum(venue.orders[i].is_secondary_oto and venue.orders[i].state == "untriggered" for i in account.live)
    if waiting + len(others) > venue.rules.max_secondaries:
        raise refusal("no_more_oto_orders")
    return _place_primary(venue, account, new, others)


def _place_pair(venue: Venue, account: Account, new: NewOrder, other: NewOrder) -> tuple[Order, list[Trade]]:
    first, trades = place(venue, account, new)
    linked = replace(
        other,
        linked_order_type="one_cancels_other",
        trigger_fill_condition=new.trigger_fill_condition,
        origin=new.origin,
        label=other.label or new.label,
    )
    try:
        second, _ = place(venue, account, linked)
    except Rejected:
        if trades:  # what was filled cannot be undone: the first order stands alone
            return first, trades
        end(venue, venue.orders[first.order_id], "oco_other_closed")
        raise
    ref = f"OCO-{first.order_id.rpartition('-')[2]}"
    for order_id in (first.order_id, second.order_id):
        venue.follow(venue.store(replace(venue.orders[order_id], oco_ref=ref)))
    follow_up(venue)
    return venue.orders[first.order_id], trades


def _place_primary(venue: Venue, account: Account, new: NewOrder, others: list[NewOrder]) -> tuple[Order, list[Trade]]:
    market = venue.market(new.product)
    primary = make_order(venue, account, market, new)
    check_position_lock(account, primary)
    children = [_secondary(venue, account, market, other, primary) for other in others]
    ids = tuple(child.order_id for child in children)
    primary = replace(primary, oto_order_ids=ids, is_primary_otoco=len(ids) == 2)
    placed, trades = (arm(venue, primary), []) if new.type in TRIGGER_TYPES else execute(venue, primary)
    for child in children:
        venue.open(child)
    venue.follow(placed)
    follow_up(venue)
    return venue.orders[placed.order_id], trades


def _secondary(venue: Venue, account: Account, market: Market, other: NewOrder, primary: Order) -> Order:
    """An order that waits for its primary's fill."""
    made = make_order(venue, account, market, other)
    return replace(
        made,
        order_id=made.order_id if venue.rules.stable_ids else f"OTO-{made.order_id.rpartition('-')[2]}",
        state="untriggered",
        is_secondary_oto=True,
        primary_order_id=primary.order_id,
        trigger_fill_condition=primary.trigger_fill_condition,
        label=other.label or primary.label,
        origin=primary.origin,
    )


def follow_up(venue: Venue) -> None:
    """Let fills and ends act on the orders linked with them, until nothing is left to do."""
    while venue.follow_ups:
        order = venue.orders[venue.follow_ups.pop(0)]
        # A trigger order that fired has handed its secondaries to the order it made.
        for child_id in () if order.state == "triggered" else order.oto_order_ids:
            if venue.orders[child_id].state == "untriggered":
                _act_on_secondary(venue, order, venue.orders[child_id])
        if order.oco_ref:
            _act_on_other(venue, order)


def _act_on_secondary(venue: Venue, primary: Order, child: Order) -> None:
    condition = primary.trigger_fill_condition or "first_hit"
    if condition == "incremental":
        _release_share(venue, primary, child)
    elif primary.filled >= primary.amount or (condition == "first_hit" and primary.filled > 0):
        venue.close(child, "triggered")
        _release(venue, primary, child, child.amount)
    child = venue.orders[child.order_id]
    if child.state == "untriggered" and not primary.is_live:
        end(venue, child, "oto_primary_closed")


def _release_share(venue: Venue, primary: Order, child: Order) -> None:
    """Let as much of a secondary go as its primary was filled; `filled` of a waiting secondary counts what went."""
    step = venue.markets[child.product].product.contract_size
    due = child.amount * primary.filled / primary.amount // step * step
    if due <= child.filled:
        return
    told = replace(child, filled=due, updated_ms=venue.now)
    if due >= child.amount and venue.rules.stable_ids:  # the last part takes over the id that was promised
        venue.accounts[child.account_id].live.remove(child.order_id)
        _release(venue, primary, replace(child, is_secondary_oto=False), due - child.filled, child.order_id)
        return
    if due >= child.amount:
        venue.close(told, "triggered")
    else:
        venue.store(told)
    _release(venue, primary, child, due - child.filled)


def _release(venue: Venue, primary: Order, child: Order, amount: Decimal, order_id: str | None = None) -> None:
    """Make the real order of a secondary: it rests, executes, or waits for its own trigger."""
    market, waits = venue.markets[child.product], child.order_type in TRIGGER_TYPES
    number = primary.order_id.rpartition("-")[2]
    made = replace(
        child,
        order_id=order_id or venue.plain_id(),
        amount=amount,
        filled=ZERO,
        state="untriggered" if waits else "open",
        oco_ref=f"OCO-{number}-{primary.filled}" if primary.is_primary_otoco else None,
        created_ms=venue.now,
        updated_ms=venue.now,
    )
    if waits:  # one whose price was already passed fires with the next tick
        market.triggers.append(made.order_id)
        venue.open(start_trailing(market, made))
        return
    try:
        execute(venue, made)
    except Rejected as refused:
        venue.close(made, "rejected", str(refused))


def _act_on_other(venue: Venue, order: Order) -> None:
    """One of a pair was filled, fired or ended: the other goes, or shrinks by the fill (incremental)."""
    condition = order.trigger_fill_condition or "first_hit"
    if order.is_live and (not order.filled or condition == "complete_fill"):
        return
    for other_id in list(venue.accounts[order.account_id].live):
        other = venue.orders[other_id]
        if other.oco_ref != order.oco_ref or order.order_id in (other_id, other.trigger_order_id):
            continue
        if condition == "incremental" and order.is_live:
            _shrink_other(venue, other, order)
        else:
            end(venue, other, "oco_other_closed")


def _shrink_other(venue: Venue, other: Order, order: Order) -> None:
    left = min(other.amount, max(other.filled, order.remaining))
    if left == other.amount:
        return
    if other.state == "open":
        venue.markets[other.product].book.reduce(other, other.amount - left)
    venue.store(replace(other, amount=left, updated_ms=venue.now))
