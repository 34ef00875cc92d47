"""This file says in facts what an order stands on: prices, product, money, exposure, cost, and the gate's word on it.

The bot and an operator's hand decide on the same view of the world, and their orders are written down alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import TypedDict

from perpctl.model.exposure import reaches
from perpctl.model.instrument import Book, Instrument, Quote
from perpctl.model.money import ZERO, plain
from perpctl.model.order import OrderRequest, Side
from perpctl.risk.limits import KEYS, Limits
from perpctl.risk.verdict import Decision
from perpctl.risk.view import GateInput
from perpctl.store.records import encode, plain_json

Facts = Mapping[str, object]
PASSING = {"state", "session", "mark_absent"}  # of an instrument: how it stands, not what it is
BP = Decimal(10_000)


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies beside the gate's view: where its quote came from, the book, how old things are, the day's money."""

    source: str  # of the quote
    book: Book | None = None
    book_age_ms: int | None = None
    spec_age_ms: int | None = None
    day_pnl: Decimal | None = None
    day_baseline: Decimal | None = None


class World(TypedDict):
    """The members of an order's grounds that are read off the world, by their names there."""

    inputs: Facts
    instrument: Facts | None
    account_before: Facts | None
    exposure_before: Facts
    position_effect: Facts
    cost_expected: Facts | None


def standing_on(request: OrderRequest, view: GateInput, seen: Seen) -> World:
    """What the order stands on, each price with its age and source."""
    return {
        "inputs": _inputs(view, seen),
        "instrument": _specification(view.instrument, seen),
        "account_before": _account(view, seen),
        "exposure_before": _exposure(request, view),
        "position_effect": _effect(request, view),
        "cost_expected": _cost(request, view, seen.book),
    }


def decision_facts(decision: Decision, entered: int, left: int, evaluation_us: int) -> Facts:
    """The gate's word, every control on a row of number, name, value, limit, unit, verdict, code; and its counts.

    `entered` and `left`: orders that had come to the gate and gone out before this one.
    """
    return {
        "allowed": decision.allowed,
        "reduces": decision.reduces,
        "first_refusal": decision.first_refusal,
        "controls": ["|".join(map(_shown, control)) for control in decision.controls],
        "entered_count": entered,
        "left_count": left,
        "evaluation_us": evaluation_us,
    }


def limits_version(limits: Limits) -> str:
    """By which a set of limits is told from every other."""
    return hashlib.sha256(encode({key: plain(getattr(limits, key)) for key in KEYS})).hexdigest()[:16]


@lru_cache(maxsize=64)
def spec_hash(row: Instrument) -> str:
    """Of what lasts: a precision changed by a hundred once, and this shows on which orders."""
    return hashlib.sha256(encode(lasting(row))).hexdigest()[:16]


def lasting(row: Instrument) -> dict[str, object]:
    """What does not change by the hour."""
    return {name: value for name, value in plain_json(row).items() if name not in PASSING}


def _shown(member: object) -> str:
    return "" if member is None else format(member, "f") if isinstance(member, Decimal) else str(member)


def _inputs(view: GateInput, seen: Seen) -> Facts:
    quote = view.quote
    if quote is None:
        return {}
    mid = quote.mid
    spread = (quote.ask - quote.bid) / mid * BP if mid and quote.ask is not None and quote.bid is not None else None
    return {
        "bid": quote.bid,
        "bid_size": quote.bid_size,
        "ask": quote.ask,
        "ask_size": quote.ask_size,
        "mid": mid,
        "mark": quote.mark,
        "index": quote.index,
        "last": quote.last,
        "band": [quote.band_low, quote.band_high],
        "funding_8h": quote.funding_8h,
        "open_interest": quote.open_interest,
        "spread_bp": None if spread is None else round(spread, 4),
        "age_ms": view.quote_age_ms,
        "source": seen.source,
        "venue_at_ms": quote.at_ms,
        "book": _depth(seen),
    }


def _depth(seen: Seen) -> Facts | None:
    """What stood in the book as far as it is followed, in base coin."""
    book = seen.book
    if book is None:
        return None
    return {
        "bids": sum((size for _, size in book.bids), ZERO),
        "asks": sum((size for _, size in book.asks), ZERO),
        "levels": [len(book.bids), len(book.asks)],
        "change_id": book.change_id,
        "age_ms": seen.book_age_ms,
        "source": "book",
    }


def _specification(row: Instrument | None, seen: Seen) -> Facts | None:
    if row is None:
        return None
    return {
        "symbol": row.symbol,
        "tick": row.tick,
        "size_step": row.size_step,
        "contract_size": row.contract_size,
        "min_size": row.min_size,
        "max_size": row.max_size,
        "maker_fee": row.maker_fee,
        "taker_fee": row.taker_fee,
        "max_leverage": row.max_leverage,
        "state": row.state,
        "spec_hash": spec_hash(row),
        "age_ms": seen.spec_age_ms,
    }


def _account(view: GateInput, seen: Seen) -> Facts | None:
    account = view.account
    if account is None:
        return None
    return {
        "equity": account.equity,
        "initial_margin": account.initial_margin,
        "maintenance_margin": account.maintenance_margin,
        "available": account.available,
        "margin_window": account.margin_window,
        "day_pnl": seen.day_pnl,
        "day_baseline": seen.day_baseline,
        "currency": account.currency,
        "age_ms": view.account_age_ms,
    }


def _exposure(request: OrderRequest, view: GateInput) -> Facts:
    """Of the product in base coin; gross and net of all that is held in currency, None where a price is missing."""
    mine = [one for one in view.working if one.product_id == request.product_id and one.trigger_price is None]
    unknown = [one.request for one in view.unknown if one.request.product_id == request.product_id]
    worth = [None if held.price is None else held.size * held.price for held in view.holdings]
    known = [one for one in worth if one is not None]
    is_known = len(known) == len(worth)
    return {
        "position": _position(request, view),
        "working": sum((one.remaining * one.side.sign for one in mine), ZERO),
        "unknown": sum((one.size for one in unknown), ZERO),
        "unit": "base coin",
        "gross": sum(map(abs, known), ZERO) if is_known else None,
        "net": sum(known, ZERO) if is_known else None,
    }


def _position(request: OrderRequest, view: GateInput) -> Decimal:
    mine = (one for one in view.holdings if (one.product_id, one.slot) == (request.product_id, request.slot))
    return sum((one.size for one in mine), ZERO)


def _effect(request: OrderRequest, view: GateInput) -> Facts:
    """The position before and after this order; at worst, with every other order out there filled on its side."""
    before = _position(request, view)
    working = [one for one in view.working if one.product_id == request.product_id]
    unknown = [one for one in view.unknown if one.request.product_id == request.product_id]
    reach = reaches(view.holdings, working, unknown).get((request.product_id, request.slot))
    after = before + request.side.sign * request.size
    worst = after
    if reach is not None:
        reach = reach.with_order(request)
        worst = reach.high if request.side is Side.BUY else reach.low
    return {"before": before, "after": after, "worst_case": worst, "unit": "base coin"}


def _cost(request: OrderRequest, view: GateInput, book: Book | None) -> Facts | None:
    """What it is expected to cost beside its own price, in currency: fee, half the spread, and eating into the book."""
    quote, row = view.quote, view.instrument
    price = request.price or request.trigger_price or (None if quote is None else quote.mark or quote.mid)
    if price is None or row is None:
        return None
    rate = row.maker_fee if request.post_only else row.taker_fee
    takes = not request.post_only and request.trigger_price is None
    return {
        "fee": None if rate is None else request.size * price * rate,
        "slippage": _slippage(request, quote) if takes else None if request.trigger_price else ZERO,
        "impact": _impact(request, book) if takes else None if request.trigger_price else ZERO,
        "currency": row.currency,
    }


def _slippage(request: OrderRequest, quote: Quote | None) -> Decimal | None:
    touch = None if quote is None else quote.ask if request.side is Side.BUY else quote.bid
    if quote is None or touch is None or quote.mid is None:
        return None
    return abs(touch - quote.mid) * request.size


def _impact(request: OrderRequest, book: Book | None) -> Decimal | None:
    """How much worse than the touch the book fills it on the whole; None where it is not deep enough to tell."""
    if book is None:
        return None
    levels = book.asks if request.side is Side.BUY else book.bids
    left, worse = request.size, ZERO
    for price, size in levels:
        taken = min(left, size)
        worse += abs(price - levels[0][0]) * taken
        left -= taken
        if not left:
            return worse
    return None
