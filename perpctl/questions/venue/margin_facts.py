"""This file tells margin for JSON under stable names, and judges it against the level's limit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.model.venue.margin import Balance
from perpctl.questions import figures
from perpctl.results import Json

if TYPE_CHECKING:
    from perpctl.questions.venue.margin import Exposed, Margins, Supposed, WhatIf, Window


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a balance comes to against the level's limit."""

    words: str
    is_good: bool


def verdict(balance: Balance, limit_pct: Decimal | None) -> Verdict:
    """LIQUIDATED, OVER THE LIMIT, WITHIN THE LIMIT; without a level only liquidation can be judged."""
    used = balance.used_pct
    if balance.is_liquidated or used is None:
        return Verdict("LIQUIDATED: equity is below the maintenance margin", False)
    if limit_pct is None:
        return Verdict(f"{used:.1f} % of equity used; no risk level is set to judge it by", True)
    if used > limit_pct:
        return Verdict(f"OVER THE LIMIT: {used:.1f} % of equity used, {limit_pct:f} % allowed", False)
    return Verdict(f"WITHIN THE LIMIT: {used:.1f} % of equity used, {limit_pct:f} % allowed", True)


def facts(found: Margins) -> dict[str, Json]:
    """The same under stable names."""
    return {
        "currency": found.account.currency,
        "equity": figures.text(found.account.equity),
        "available": figures.text(found.account.available),
        "slots_in_use": found.account.slots_in_use,
        "limit_pct": figures.text(found.limit_pct),
        "market_time": from_ms(found.at_ms).isoformat(),
        "windows": [_window_facts(found, one) for one in found.windows],
        "dearest_window": found.dearest.name,
        "verdict": _verdict_facts(found.dearest.balance, found.limit_pct),
        "positions": [_position_facts(one) for one in found.exposed],
        "unknown": found.unknown,
        "leaving": [
            {"what": one.title, "kind": one.kind.value, "start_at": from_ms(one.start_ms).isoformat()}
            for one in found.leaving
        ],
    }


def _window_facts(found: Margins, one: Window) -> dict[str, Json]:
    move = None if one.liquidation_move is None else one.liquidation_move * 100
    return {
        "window": one.name,
        "in_force": one.in_force,
        "begins_at": None if one.begins_ms is None else from_ms(one.begins_ms).isoformat(),
        "all_prices_to_liquidation_pct": _pct(move) if found.unknown is None else None,
        **_balance_facts(one.balance),
    }


def _balance_facts(balance: Balance) -> dict[str, Json]:
    amounts = [
        ("equity", balance.equity),
        ("initial_margin", balance.measure.initial),
        ("maintenance_margin", balance.measure.maintenance),
        ("buffer", balance.buffer),
    ]
    return {**figures.texts(amounts), "used_pct": _pct(balance.used_pct), "estimate": not balance.measure.told}


def _verdict_facts(balance: Balance, limit_pct: Decimal | None) -> dict[str, Json]:
    judged = verdict(balance, limit_pct)
    needed = balance.cash_needed(limit_pct) if limit_pct else None
    return {"good": judged.is_good, "words": judged.words, "cash_needed": _cents(needed)}


def _position_facts(one: Exposed) -> dict[str, Json]:
    held = one.holding.position
    amounts: Sequence[tuple[str, Decimal | None]] = [
        ("size", held.size),
        ("mark_price", held.mark),
        ("initial_margin", one.part.initial),
        ("maintenance_margin", one.part.maintenance),
    ]
    return {
        "product_id": held.product_id,
        "symbol": one.holding.instrument.symbol,
        "slot": held.slot,
        "size_unit": one.holding.instrument.base,
        **figures.texts(amounts),
        "liquidation_price": _rounded(one.liquidation, one.holding.instrument.price_decimals),
        "liquidation_estimate": None if one.liquidation is None else not one.told,
        "liquidation_absent": one.absent if one.liquidation is None else None,
        "distance_pct": _pct(one.distance_pct),
    }


def supposed_facts(one: WhatIf) -> dict[str, Json]:
    """The same under stable names; everything after the move is an estimate."""
    return {
        "move_pct": _pct(one.move * 100),
        "at": from_ms(one.at_ms).isoformat(),
        "window": one.after.measure.window,
        "currency": one.now.account.currency,
        "limit_pct": figures.text(one.now.limit_pct),
        "slots_in_use": one.now.account.slots_in_use,
        "now": _balance_facts(one.now.now.balance),
        "before": _balance_facts(one.before),
        "after": _balance_facts(one.after),
        "verdict": _verdict_facts(one.after, one.now.limit_pct),
        "positions": [_supposed_facts(each) for each in one.moved],
    }


def _supposed_facts(one: Supposed) -> dict[str, Json]:
    held, instrument = one.exposed.holding.position, one.exposed.holding.instrument
    return {
        "product_id": held.product_id,
        "symbol": instrument.symbol,
        "slot": held.slot,
        "move_pct": _pct(one.move * 100),
        **figures.texts([("size", held.size), ("mark_price", held.mark), ("price", one.price), ("gain", one.gain)]),
        "liquidation_price": _rounded(one.liquidation, instrument.price_decimals),
        "distance_pct": _pct(one.distance_pct),
        "estimate": True,
    }


def _pct(percent: Decimal | None) -> str | None:
    return None if percent is None else f"{percent:.4f}"


def _cents(amount: Decimal | None) -> str | None:
    return None if amount is None else f"{amount:.2f}"


def _rounded(price: Decimal | None, decimals: int) -> str | None:
    return None if price is None else f"{price:.{decimals}f}"
