"""This file lets the outside market move: its prices, its trades, and what of them reaches our orders."""

from decimal import Decimal

from perpctl.paper.events import PublicTradePrinted, StateChanged, TickerChanged
from perpctl.paper.floor.book import Resting
from perpctl.paper.floor.clock import pass_time
from perpctl.paper.floor.links import fire_triggers, follow_up
from perpctl.paper.floor.liquidation import watch_margin
from perpctl.paper.floor.market import Market
from perpctl.paper.floor.orders import fill_resting
from perpctl.paper.floor.slots import recycle_slots
from perpctl.paper.floor.venue import Venue
from perpctl.paper.types import Direction, Print, Tick


def take_tick(venue: Venue, tick: Tick) -> None:
    """Time passes to tick.at_ms, resting orders may fill, triggers fire, margin is watched."""
    market = venue.market(tick.product)
    if tick.at_ms > venue.now:
        pass_time(venue, tick.at_ms)
    market.take_prices(tick, venue.rules)
    if tick.state is not None and tick.state != market.state:
        market.state = tick.state
        venue.emit(StateChanged(tick.product, tick.state))
    matching = market.state == "open"
    for seen in tick.prints:
        _print(venue, market, seen, matching)
    if matching:
        _run_into(venue, market)
        if market.triggers:
            fire_triggers(venue, market)
    if market.holders:
        watch_margin(venue, market)
    venue.book_changed(market)
    venue.emit(TickerChanged(tick.product))


def _print(venue: Venue, market: Market, seen: Print, matching: bool) -> None:
    """An outside trade: what of it reaches our orders is theirs, the rest is printed."""
    side, left = market.book.makers(seen.direction), seen.amount
    if matching and side.resting:
        for order_id, amount in market.book.printed(side, seen.price, seen.amount):
            own = market.book.find(side, order_id)
            if own is not None:
                _hit(venue, market, own, min(amount, own.remaining), seen.direction)
                left -= amount
    if left > 0:
        trade = market.record_trade(venue.trade_id(), seen.direction, seen.price, left)
        venue.emit(PublicTradePrinted(trade))


def _run_into(venue: Venue, market: Market) -> None:
    """The renewed outside crosses our resting orders."""
    takers: tuple[Direction, ...] = ("buy", "sell")
    for taker in takers:
        while hit := market.book.next_crossed(taker):
            _hit(venue, market, *hit, taker)


def _hit(venue: Venue, market: Market, own: Resting, amount: Decimal, taker: Direction) -> None:
    public = market.record_trade(venue.trade_id(), taker, own.price, amount)
    fill_resting(venue, own, amount, public)
    venue.emit(PublicTradePrinted(public))
    follow(venue)


def follow(venue: Venue) -> None:
    """Let what happened act on linked orders and on isolated slots."""
    if venue.follow_ups:
        follow_up(venue)
    if venue.next_slot != venue.rules.first_slot_id:
        recycle_slots(venue)
