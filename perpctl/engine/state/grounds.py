"""This file writes down what an intent of the bot stands on: who decided it, on which view of the world."""

from __future__ import annotations

from perpctl import __version__
from perpctl.engine.core import Core
from perpctl.engine.state.product import Product
from perpctl.engine.strategy import algorithm_id, params_hash
from perpctl.model.order import OrderRequest, Purpose
from perpctl.risk.view import GateInput
from perpctl.store.facts.grounds import Seen, standing_on
from perpctl.store.intents import Grounds, Maker

GUARD = Maker("guard", __version__)  # what places stops and closes what has none


def grounds_of(core: Core, request: OrderRequest, reason: str, view: GateInput) -> Grounds:
    """The grounds of an order; a strategy's for entries, the guard's for what protects."""
    product = core.products[request.product_id]
    closes = product.closing == request.identity and not product.exiting
    protects = closes or request.purpose is Purpose.STOP
    return Grounds(
        decision_maker=GUARD if protects else maker_of(product),
        execution_maker=Maker("perpctl", __version__),
        risk_day=core.rules.calendar.day_name(core.market_ms),
        market_ms=core.market_ms,
        **standing_on(request, view, _seen(core, product)),
        contracts=product.instrument.contracts(request.size * request.side.sign),
        signal={"why": reason},
        strategy=None if protects else product.strategy.name,
        strategy_params_hash=None if protects else params_hash(product.strategy),
        currency=product.instrument.currency,
    )


def maker_of(product: Product) -> Maker:
    """The strategy of a product as a decision maker."""
    return Maker(algorithm_id(product.strategy), __version__)


def _seen(core: Core, product: Product) -> Seen:
    """What the gate does not look at."""
    book, day = product.book, core.day
    return Seen(
        source="ticker",
        book=book,
        book_age_ms=None if book is None else _ms(core.now - book.seen),
        spec_age_ms=_ms(core.now - product.specified_at),
        day_pnl=day.pnl(core.worth(worse=True), core.market_ms),
        day_baseline=None if day.baseline is None else day.baseline.equity,
    )


def _ms(seconds: float) -> int:
    return max(0, int(seconds * 1000))
