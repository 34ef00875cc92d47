"""This file says in facts how the bot stands: for its socket, its heartbeat, the local service and the screen."""

from __future__ import annotations

from decimal import Decimal

from perpctl.clock import from_ms, to_ms
from perpctl.engine.core import Core
from perpctl.engine.hours.off import facts_of_off
from perpctl.engine.loop import Bot
from perpctl.engine.state.meter import percentile
from perpctl.engine.state.product import Product
from perpctl.engine.state.working import Stage, Working
from perpctl.model.money import plain
from perpctl.results import Json


def facts_of(bot: Bot) -> dict[str, Json]:
    """Everything a watcher may want, money and sizes as strings, absent as null."""
    core, now = bot.core, bot.gear.clock.monotonic()
    worth = core.worth(worse=True)
    return {
        "at_ms": to_ms(bot.gear.clock.now()),
        "market_ms": core.market_ms or None,
        "epoch": bot.gear.lease.epoch,
        "up_s": f"{now - bot.began:.1f}",
        "mode": core.mode.value,
        "mode_why": core.mode_why,
        "blocked_by": dict(core.blocks),
        "entries_off": facts_of_off(core),
        "venue": _venue(core, now),
        "fenced_by": bot.fenced,
        "dead_man_armed": core.dead_man,
        "reconciled_age_s": _age(now, core.reconciled_at),
        "products": [product_facts(core, product, now) for product in core.products.values()],
        "orders": [order_facts(working, now) for working in core.orders.ours.values()],
        "foreign_orders": len(core.orders.foreign),
        "unknown_orders": sum(1 for _ in core.orders.unknown()),
        "money": {
            "equity": _text(core.day.equity(worth)),
            "baseline": _text(core.day.baseline.equity if core.day.baseline is not None else None),
            "risk_day": core.rules.calendar.day_name(core.market_ms) if core.market_ms else None,
            "day_pnl": _text(core.day.pnl(worth, core.market_ms)),
            "day_pnl_pct": _text(core.day.pnl_pct(worth, core.market_ms)),
            "drawdown_pct": _text(core.day.drawdown_pct(worth)),
            "currency": core.day.account.currency if core.day.account is not None else None,
            "read_age_s": _age(now, core.day.read_at) if core.day.account is not None else None,
        },
        "orders_today": core.activity.recent(core.market_ms).orders_today,
        "feeds": {name: _age(now, at) for name, at in sorted(bot.meter.heard.items())},
        "counts": dict(bot.meter.counts),
        "loop_lag_p99_ms": f"{percentile(bot.meter.lags, 99) * 1000:.2f}",
        "decision_p99_ms": f"{percentile(bot.meter.decisions, 99) * 1000:.2f}",
    }


def _venue(core: Core, now: float) -> Json:
    """What the venue says of itself, and the stop of it that is near."""
    hours, age_ms = core.hours, core.hours.age_ms(now)
    near = hours.standing
    return {
        "age_s": None if age_ms is None else f"{age_ms / 1000:.1f}",
        "locked": None if hours.status is None else hours.status.locked,
        "stop": None if near is None else near.stop.title,
        "stop_at": None if near is None else from_ms(near.stop.start_ms).isoformat(),
        "stage": None if near is None else near.stage.name.lower(),
    }


def product_facts(core: Core, product: Product, now: float) -> dict[str, Json]:
    """Position, prices and cover of one product."""
    quote, stop = product.quote, stop_of(core, product)
    return {
        "product_id": product.product_id,
        "symbol": product.instrument.symbol,
        "strategy": product.strategy.name,
        "position": plain(product.position),
        "unit": product.instrument.base,
        "entry_price": _text(product.held.entry_price),
        "mark": _text(product.mark),
        "bid": _text(quote.bid if quote is not None else None),
        "ask": _text(quote.ask if quote is not None else None),
        "index": _text(quote.index if quote is not None else None),
        "quote_age_s": _age(now, quote.seen) if quote is not None else None,
        "realized": _text(product.held.tally.realized),
        "fees": _text(product.held.tally.fees),
        "unrealized": _text(product.held.tally.unrealized(product.mark) if product.mark is not None else None),
        "stop": None if stop is None else order_facts(stop, now),
        "bare_s": _age(now, product.bare_since),
        "proven_age_s": _age(now, product.proven_at),
    }


def order_facts(working: Working, now: float) -> dict[str, Json]:
    """One order of ours."""
    request = working.request
    return {
        "id": request.identity,
        "order_id": working.order.order_id if working.order is not None else None,
        "product_id": request.product_id,
        "purpose": request.purpose.value,
        "side": request.side.value,
        "size": plain(request.size),
        "filled": plain(working.booked),
        "price": _text(request.price),
        "trigger_price": _text(request.trigger_price),
        "stage": working.stage.value,
        "age_s": _age(now, working.since),
    }


def stop_of(core: Core, product: Product) -> Working | None:
    """The protective stop that covers most of the position; None: bare, or flat."""
    stops = [stop for stop in core.orders.of(product.product_id, stops=True) if stop.stage is Stage.RESTING]
    return max(stops, key=lambda stop: stop.cover, default=None) if product.position else None


def _age(now: float, since: float | None) -> str | None:
    return None if since is None else f"{max(0.0, now - since):.1f}"


def _text(amount: Decimal | None) -> str | None:
    return None if amount is None else plain(amount)
