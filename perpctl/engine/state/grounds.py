"""This file writes down what an intent stands on: who decided it, on which numbers, at what age."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from functools import lru_cache

from perpctl import __version__
from perpctl.engine.core import Core
from perpctl.engine.state.product import Product
from perpctl.engine.strategy import algorithm_id, params_hash
from perpctl.model.instrument import Instrument
from perpctl.model.money import ZERO
from perpctl.model.order import OrderRequest, Purpose
from perpctl.risk.verdict import Decision
from perpctl.store.intents import Facts, Grounds, Maker
from perpctl.store.records import encode, plain_json

GUARD = Maker("guard", __version__)  # what places stops and closes what has none
BP = Decimal(10_000)
PASSING = {"state", "session", "mark_absent"}  # of an instrument: how it stands, not what it is


def grounds_of(core: Core, request: OrderRequest, reason: str, now: float) -> Grounds:
    """The grounds of an order; a strategy's for entries, the guard's for what protects."""
    product = core.products[request.product_id]
    closes = product.closing == request.identity and not product.exiting
    protects = closes or request.purpose is Purpose.STOP
    maker = GUARD if protects else maker_of(product)
    return Grounds(
        decision_maker=maker,
        execution_maker=Maker("perpctl", __version__),
        risk_day=core.rules.calendar.day_name(core.market_ms),
        market_ms=core.market_ms,
        inputs=_inputs(product, now),
        instrument=_specification(product),
        account_before=_account(core),
        exposure_before=_exposure(core, product),
        position_effect=_effect(product, request),
        signal={"why": reason},
        cost_expected=_cost(product, request),
        strategy=None if protects else product.strategy.name,
        strategy_params_hash=None if protects else params_hash(product.strategy),
        currency=product.instrument.currency,
    )


def decision_of(decision: Decision) -> Facts:
    """The gate's word as it is journaled: every control on a row of number, name, value, limit, unit, verdict, code."""
    return {
        "allowed": decision.allowed,
        "reduces": decision.reduces,
        "first_refusal": decision.first_refusal,
        "controls": ["|".join(map(_shown, control)) for control in decision.controls],
    }


def _shown(member: object) -> str:
    return "" if member is None else format(member, "f") if isinstance(member, Decimal) else str(member)


def maker_of(product: Product) -> Maker:
    """The strategy of a product as a decision maker."""
    return Maker(algorithm_id(product.strategy), __version__)


def _inputs(product: Product, now: float) -> Facts:
    quote = product.quote
    if quote is None:
        return {}
    age = max(0, int((now - quote.seen) * 1000))
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
        "age_ms": age,
        "source": "ticker",
        "venue_at_ms": quote.at_ms,
    }


def _specification(product: Product) -> Facts:
    row = product.instrument
    return {
        "tick": row.tick,
        "size_step": row.size_step,
        "min_size": row.min_size,
        "maker_fee": row.maker_fee,
        "taker_fee": row.taker_fee,
        "max_leverage": row.max_leverage,
        "state": row.state,
        "spec_hash": spec_hash(row),
    }


@lru_cache(maxsize=64)
def spec_hash(row: Instrument) -> str:
    """Of what lasts: a precision changed by a hundred once, and this shows on which orders."""
    return hashlib.sha256(encode(lasting(row))).hexdigest()[:16]


def lasting(row: Instrument) -> dict[str, object]:
    """What does not change by the hour."""
    return {name: value for name, value in plain_json(row).items() if name not in PASSING}


def _account(core: Core) -> Facts | None:
    account = core.day.account
    if account is None:
        return None
    worth = core.worth(worse=True)
    return {
        "equity": account.equity,
        "initial_margin": account.initial_margin,
        "available": account.available,
        "day_pnl": core.day.pnl(worth, core.market_ms),
        "age_ms": max(0, int((core.now - core.day.read_at) * 1000)),
    }


def _exposure(core: Core, product: Product) -> Facts:
    entries = core.orders.of(product.product_id, stops=False)
    return {
        "position": product.position,
        "working": sum((w.remaining * w.request.side.sign for w in entries), ZERO),
        "unknown": sum((w.remaining for w in core.orders.unknown()), ZERO),
        "unit": "base coin",
    }


def _effect(product: Product, request: OrderRequest) -> Facts:
    after = product.position + request.side.sign * request.size
    return {"before": product.position, "after": after, "unit": "base coin"}


def _cost(product: Product, request: OrderRequest) -> Facts | None:
    price = request.price or product.mark
    if price is None:
        return None
    rate = product.instrument.maker_fee if request.post_only else product.instrument.taker_fee
    fee = None if rate is None else request.size * price * rate
    return {"fee": fee, "currency": product.instrument.currency}
