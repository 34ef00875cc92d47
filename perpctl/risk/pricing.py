"""This file holds the controls on price, size and market: 4 to 7 and 16."""

from __future__ import annotations

from decimal import Decimal

from perpctl.model.instrument import BookState
from perpctl.model.money import is_multiple
from perpctl.model.order import Side
from perpctl.risk.verdict import Finding, Reason
from perpctl.risk.view import Case

HUNDRED = Decimal(100)
BP = Decimal(10_000)


def book_open(case: Case) -> Finding:
    """4: the venue takes entries in this product."""
    quote = case.quote
    if quote is None:
        return None, "open", Reason.NO_PRICE
    return quote.state, "open", None if quote.state is BookState.OPEN else Reason.BOOK_NOT_OPEN


def fresh_price(case: Case) -> Finding:
    """4: a reference price of this very product, confirmed lately."""
    age, limit = case.view.quote_age_ms, case.view.ages.quote.stale_ms
    if case.reference is None or age is None:
        return age, limit, Reason.NO_PRICE
    return age, limit, Reason.PRICE_STALE if age > limit else None


def collar(case: Case) -> Finding:
    """5: an entry carries a price, and it lies inside the collar."""
    if case.bounds is None:
        return case.request.price, None, Reason.NO_PRICE
    price, low, high = case.request.price, case.bounds.price_low, case.bounds.price_high
    if price is None:
        return "at market", f"{low:f}..{high:f}", Reason.OUTSIDE_COLLAR
    if low <= price <= high:
        return price, high if case.request.side is Side.BUY else low, None
    return price, low if price < low else high, Reason.OUTSIDE_COLLAR


def limits_set(case: Case) -> Finding:
    """6: a row that is zero allows nothing."""
    unset = case.limits.unset
    return len(unset), unset[0] if unset else 0, Reason.LIMIT_UNSET if unset else None


def positive(case: Case) -> Finding:
    """6: size and price are numbers above zero."""
    request = case.request
    bad = request.size <= 0 or (request.price is not None and request.price <= 0)
    return request.size, 0, Reason.NOT_POSITIVE if bad else None


def minimum(case: Case) -> Finding:
    """6: at least the product's smallest order."""
    if case.instrument is None:
        return case.request.size, None, Reason.NO_INSTRUMENT
    least = case.instrument.min_size
    return case.request.size, least, Reason.BELOW_MINIMUM if case.request.size < least else None


def step(case: Case) -> Finding:
    """6: a whole number of steps."""
    if case.instrument is None:
        return case.request.size, None, Reason.NO_INSTRUMENT
    unit = case.instrument.size_step
    return case.request.size, unit, None if is_multiple(case.request.size, unit) else Reason.OFF_STEP


def tick(case: Case) -> Finding:
    """6: prices on the tick."""
    request = case.request
    if case.instrument is None:
        return request.price, None, Reason.NO_INSTRUMENT
    unit = case.instrument.tick
    for price in (request.price, request.trigger_price):
        if price is not None and not is_multiple(price, unit):
            return price, unit, Reason.OFF_TICK
    return request.price or request.trigger_price, unit, None


def order_notional(case: Case) -> Finding:
    """6: one order's worth, at its price or the reference, whichever is dearer."""
    if case.bounds is None or case.reference is None:
        return None, None, Reason.NO_PRICE if case.reference is None else Reason.ACCOUNT_STALE
    worth = case.request.size * max(case.reference, case.request.price or case.reference)
    limit = case.bounds.order_notional
    return worth, limit, Reason.ORDER_TOO_LARGE if worth > limit else None


def venue_state(case: Case) -> Finding:
    """4: what the venue says of itself was read lately."""
    age, limit = case.view.venue_age_ms, case.view.ages.venue.stale_ms
    return age, limit, Reason.VENUE_STALE if age is None or age > limit else None


def spec_unchanged(case: Case) -> Finding:
    """7: tick, step and minimum as they were at the start."""
    if case.instrument is None:
        return None, "unchanged", Reason.NO_INSTRUMENT
    same = case.view.spec_unchanged
    return "unchanged" if same else "changed", "unchanged", None if same else Reason.SPEC_CHANGED


def spread(case: Case) -> Finding:
    """16: what takes liquidity pays at most this spread; a post-only order takes none."""
    limit = case.limits.max_spread_bp
    quote = case.quote
    mid = None if quote is None else quote.mid
    if quote is None or quote.ask is None or quote.bid is None or mid is None:
        return None, limit, None if case.request.post_only else Reason.SPREAD
    width = (quote.ask - quote.bid) / mid * BP
    return width, limit, Reason.SPREAD if width > limit and not case.request.post_only else None


def funding(case: Case) -> Finding:
    """16: no entry on the side that pays too much, per 8 hours."""
    limit = case.limits.max_funding_against_pct
    rate = None if case.quote is None else case.quote.funding_8h
    if rate is None:
        return None, limit, Reason.FUNDING
    against = rate * case.request.side.sign * HUNDRED
    return against, limit, Reason.FUNDING if against >= limit else None


def volatility(case: Case) -> Finding:
    """16: the absolute move of one minute; before a minute has passed there is none."""
    move, limit = case.view.move_1m_pct, case.limits.pause_move_1m_pct
    return move, limit, Reason.VOLATILITY if move is not None and move >= limit else None


def mark_index(case: Case) -> Finding:
    """16: the reference and the index agree."""
    limit = case.limits.pause_mark_index_pct
    index = None if case.quote is None else case.quote.index
    if index is None or index <= 0 or case.reference is None:
        return None, limit, Reason.MARK_INDEX
    apart = abs(case.reference - index) / index * HUNDRED
    return apart, limit, Reason.MARK_INDEX if apart >= limit else None


def planned_stop(case: Case) -> Finding:
    """16: no new entry shortly before and during a planned stop of the venue."""
    near = case.view.planned_stop
    return "near" if near else "none", None, Reason.PLANNED_STOP if near else None
