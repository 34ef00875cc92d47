"""This file keeps isolated slots: hidden subaccounts that carry one position each."""

from decimal import Decimal

from perpctl.paper.floor.account import Account, account_view, initial_margin
from perpctl.paper.floor.admission import check_form, check_open
from perpctl.paper.floor.book import ZERO
from perpctl.paper.floor.ledger import settle_session, transfer
from perpctl.paper.floor.venue import Venue
from perpctl.paper.terms.refusal import refusal
from perpctl.paper.types import NewOrder


def slot_of(venue: Venue, account: Account, product: str) -> Account:
    """The slot that is in use for a product. Raises Rejected."""
    for slot in venue.slots(account.account_id):
        if slot.slot_product == product:
            return slot
    raise refusal("already_closed")


def slot_for_order(venue: Venue, account: Account, new: NewOrder) -> Account:
    """The slot that an isolated order goes to, with its margin moved there. Raises Rejected."""
    market = venue.market(new.product)
    check_open(venue, account, market, new.valid_until)
    check_form(venue, market, new)
    slots = venue.slots(account.account_id)
    slot = next((s for s in slots if s.slot_product == new.product), None)
    slot = slot or next((s for s in slots if s.slot_product is None), None)
    if slot is None and len(slots) >= venue.rules.max_slots:
        raise refusal("too_many_subaccounts")
    given, there = new.allocated_margin or ZERO, _available(venue, slot) if slot else ZERO
    leverage = account.leverage.get(new.product)
    amount = new.amount or ZERO
    needed = initial_margin(account, market, amount)
    needed += market.product.fee(market.product.taker_fee, amount, market.mark)
    if not new.reduce_only and given + there < needed:
        least = needed - there
        data = {
            "allocated_margin": given,
            "required_minimum": least,
            "suggested_amount": least * 2,
            "required_im_delta": least - given,
        }
        raise refusal("insufficient_isolated_margin", None, data)
    if given > _available(venue, account):
        raise refusal("insufficient_cleared_balance")
    slot = slot or _new_slot(venue, account)
    slot.slot_product = new.product
    slot.leverage = {new.product: leverage} if leverage else {}
    if given:
        transfer(venue, account, slot, given)
    return slot


def _available(venue: Venue, account: Account) -> Decimal:
    view = account_view(account, venue.markets, venue.rules.currency)
    return min(view.balance, view.available_funds)


def _new_slot(venue: Venue, account: Account) -> Account:
    number = venue.next_slot
    venue.next_slot += 1
    slot = Account(number, f"{account.username}_{number}", venue.now, main_id=account.account_id)
    venue.accounts[number] = slot
    return slot


def recycle_slots(venue: Venue) -> None:
    """A slot without position and orders hands its cash back and is free for another product."""
    for slot in venue.accounts.values():
        if slot.main_id is None or slot.slot_product is None or slot.live or slot.size(slot.slot_product):
            continue
        for name, held in slot.holdings.items():
            settle_session(venue, slot, venue.markets[name], held)
        if slot.balance:
            transfer(venue, slot, venue.accounts[slot.main_id], slot.balance)
        slot.slot_product = None
