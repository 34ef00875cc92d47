"""This file lets market time pass: funding hours, the daily settlement, the end of day orders."""

from perpctl.paper.events import StateChanged
from perpctl.paper.floor.account import Account
from perpctl.paper.floor.ledger import settle_session, sweep
from perpctl.paper.floor.market import DAY_MS, HOUR_MS
from perpctl.paper.floor.orders import end
from perpctl.paper.floor.venue import Venue
from perpctl.paper.types import BookState


def pass_time(venue: Venue, now: int) -> None:
    """Everything due until `now` happens, in order; time never runs backwards."""
    while (due := _next_due(venue)) <= now:
        _accrue(venue, due)
        if venue.settling_until and due >= venue.settling_until:
            _reopen(venue)
        _expire(venue)
        if due in (venue.planned_stop or ()):
            keep_hours(venue)
        if due == venue.next_hour:
            venue.next_hour += HOUR_MS
            _full_hour(venue)
    if now > venue.now:
        _accrue(venue, now)


def _next_due(venue: Venue) -> int:
    due = venue.next_hour
    if venue.settling_until and venue.settling_until < due:
        due = venue.settling_until
    if venue.expiries and venue.expiries[0][0] < due:
        due = max(venue.now, venue.expiries[0][0])
    if venue.planned_stop is not None:
        due = min([at_ms for at_ms in venue.planned_stop if at_ms > venue.now] + [due])
    return due


def _accrue(venue: Venue, now: int) -> None:
    venue.now, hourly = now, venue.rules.hourly_funding
    for market in venue.markets.values():
        if hourly or market.rate:
            market.accrue(now, hourly)
        else:
            market.at_ms = now


def _expire(venue: Venue) -> None:
    """Orders whose time has come end, whatever their book's state."""
    while venue.expiries and venue.expiries[0][0] <= venue.now:
        order = venue.orders.get(venue.expiries.pop(0)[1])
        if order is not None and order.is_live:
            end(venue, order, "expired")


def _full_hour(venue: Venue) -> None:
    """Funding of the hour, then what the venue's calendar or its settlement minute asks for."""
    rules, now = venue.rules, venue.now
    for market in venue.markets.values():
        if rules.hourly_funding:
            market.pay_hour()
        market.close_hour(now)
    if rules.calendar is None:
        if now % DAY_MS == rules.settlement_minute * 60_000:
            _settle(venue)
        return
    if rules.calendar.rolls(now):
        for account in venue.accounts.values():
            sweep(venue, account)
    if rules.calendar.books(now):
        _settle(venue)
    keep_hours(venue)


def keep_hours(venue: Venue) -> None:
    """Books shut and open, and margin windows change, as the calendar and announcements say."""
    calendar = venue.rules.calendar
    if calendar is None:
        return
    by_day, shut = calendar.window(venue.now) == "INTRADAY", calendar.is_shut(venue.now)
    if venue.planned_stop is not None:
        shut = shut or venue.planned_stop[0] <= venue.now < venue.planned_stop[1]
    for market in venue.markets.values():
        market.by_day = by_day
        wanted: BookState = "halted" if shut else "open"
        if market.product.keeps_hours and shut != market.shut_by_hours:
            market.state, market.shut_by_hours = wanted, shut
            venue.emit(StateChanged(market.product.name, wanted))


def _settle(venue: Venue) -> None:
    """Books close for some seconds, day orders end, session results become cash."""
    if venue.rules.settlement_ms:
        _close_books(venue)
    for account in list(venue.accounts.values()):
        _end_day_orders(venue, account)
        for name, held in account.holdings.items():
            settle_session(venue, account, venue.markets[name], held)
        _forget_unfilled(venue, account)
    calendar = venue.rules.calendar
    for market in venue.markets.values():
        if calendar is None or calendar.rolls(venue.now):
            market.settlement_price = market.mark


def _close_books(venue: Venue) -> None:
    venue.settling_until = venue.now + venue.rules.settlement_ms
    for market in venue.markets.values():
        if market.state == "open":
            market.state = "settlement"
            venue.emit(StateChanged(market.product.name, "settlement"))


def _end_day_orders(venue: Venue, account: Account) -> None:
    for order_id in list(account.live):
        order = venue.orders[order_id]
        if order.is_live and order.time_in_force == "good_til_day":
            end(venue, order, "settlement")


def _forget_unfilled(venue: Venue, account: Account) -> None:
    """Orders that ended long ago without a fill are dropped; a year of quoting would drown in them."""
    kept: list[str] = []
    for order_id in account.closed:
        order = venue.orders[order_id]
        if order.filled or order.is_secondary_oto or order.updated_ms > venue.now - venue.rules.unfilled_kept_ms:
            kept.append(order_id)
        else:
            del venue.orders[order_id]
    account.closed = kept


def _reopen(venue: Venue) -> None:
    venue.settling_until = 0
    for market in venue.markets.values():
        if market.state == "settlement":
            market.state = "open"
            venue.emit(StateChanged(market.product.name, "open"))
