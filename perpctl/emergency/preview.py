"""This file is `kill --dry-run`: what would be done, from live reads; it changes nothing.

Looking and reckoning are apart: `look` asks the venue and the bot, `facts_of` works out the rest from what they said.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from perpctl.emergency import fence
from perpctl.emergency.closer import near_liquidation
from perpctl.emergency.screen.preview import screen
from perpctl.emergency.steps import is_derivative
from perpctl.emergency.target import Target, as_fraction, locate
from perpctl.emergency.venue.depth import Depth
from perpctl.emergency.venue.gateway import Gateway, Said
from perpctl.emergency.venue.pace import ids_seconds
from perpctl.emergency.venue.rows import Owner, Ticker, number
from perpctl.emergency.venue.wire import NoAnswer, Wire, few_at_a_time, side_by_side
from perpctl.errors import ExitCode, UnknownState
from perpctl.model.flatten import LADDER, PRODUCTS_AT_ONCE, READS_APART_S, Standing, ladder, sort_standing
from perpctl.model.money import ZERO, cents, plain
from perpctl.model.order import Order, Side
from perpctl.model.position import Position

Facts = dict[str, Any]
T = TypeVar("T")
_WITHIN = tuple(rung for rung in LADDER if rung is not None)
_LATCH_S = 0.15  # what a kill holds itself to; a dry run writes nothing, so it cannot measure it
_CALLS_A_ROUND = 3  # the price, the close, the look at what it left
_DAY_S, _SETTLES_S = 86_400, 8 * 3_600  # 08:00 UTC, GATEWAY docs, settlement


@dataclass(frozen=True, slots=True)
class Seen:
    """What the venue and the bot said. Times on the monotonic clock; `round_trip_s` of the smallest call there is."""

    owner: Owner | None
    is_pinned: bool
    key: Facts
    standing: Standing
    spot_orders: int
    locked: str
    tickers: Mapping[str, Ticker]
    books: Mapping[str, dict[str, Any]]
    instruments: Mapping[str, dict[str, Any]]
    near_liquidation: bool
    bot: fence.Sighted
    market_ms: int
    round_trip_s: float
    prices_age_s: float


def show(targets: Sequence[Target], wished: argparse.Namespace) -> int:
    """Print what a kill of these targets would do. Raises UnknownState when the venue cannot be read."""
    for target in targets:
        facts = facts_of(target, _look_or_say_why(target), wished, datetime.now(UTC))
        sys.stdout.write(json.dumps(facts) + "\n" if wished.output == "json" else screen(facts))
    if len(targets) > 1:
        sys.stdout.write("Several live profiles: each would be latched, its entries cancelled, none closed.\n")
    return ExitCode.OK


# --- looking ---------------------------------------------------------------------------------------------------------


def _look_or_say_why(target: Target) -> Seen:
    try:
        return look(target)
    except (NoAnswer, Said) as why:
        raise UnknownState(
            f"the venue cannot be read: {why}",
            not_done="Nothing was latched, cancelled or closed.",
            next_commands=(f"perpctl kill -p {target.profile} --force",),
        ) from why


def look(target: Target) -> Seen:
    """Live reads of the venue, and a question to the bot that changes nothing. Raises NoAnswer, Said."""
    address = locate(target)
    gateway = Gateway(Wire(address.http, address.ca_file), address.key_files, address.pin, address.key_name)
    gateway.enter()
    orders, positions = side_by_side(gateway.open_orders, gateway.positions)
    standing = sort_standing(
        [order for order in orders if is_derivative(order.product_id)],
        [position for position in positions if is_derivative(position.product_id)],
    )
    names = tuple(dict.fromkeys(position.product_id for position in standing.positions))
    asked = time.monotonic()
    tickers = _answered(names, few_at_a_time([partial(gateway.ticker, name) for name in names]))
    books = _answered(names, few_at_a_time([partial(gateway.book, name) for name in names]))
    instruments = _answered(names, few_at_a_time([partial(gateway.instrument, name) for name in names]))
    locked, sent = gateway.locked(), time.monotonic()
    gateway.learn_market_clock()
    return Seen(
        owner=gateway.owner,
        is_pinned=gateway.pin is not None,
        key={"id": gateway.key_id, "trade": gateway.may("trade"), "transfer": gateway.may("transfer")},
        standing=standing,
        spot_orders=sum(1 for order in orders if not is_derivative(order.product_id)),
        locked=locked,
        tickers=tickers,
        books=books,
        instruments=instruments,
        near_liquidation=near_liquidation(gateway, standing.positions),
        bot=fence.sight_bot(target.directory),
        market_ms=gateway.market_ms(),
        round_trip_s=time.monotonic() - sent,
        prices_age_s=time.monotonic() - asked,
    )


def _answered(names: Sequence[str], answers: Sequence[T | Exception]) -> Mapping[str, T]:
    found: dict[str, T] = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, Exception):
            raise answer
        found[name] = answer
    return found


# --- reckoning -------------------------------------------------------------------------------------------------------


def facts_of(target: Target, seen: Seen, wished: argparse.Namespace, at: datetime) -> Facts:
    """What a kill would do and cost, as JSON; the screen shows nothing else."""
    closes = [_close_row(position, seen) for position in seen.standing.positions]
    owner, standing = seen.owner, seen.standing
    set_by = "asked" if wished.scope else "set in the profile" if target.scope_set else "not set"
    return {
        "schema": "perpctl.kill_preview/2",
        "env": target.env,
        "venue": target.venue,
        "profile": target.profile,
        "account": None
        if owner is None
        else {"id": owner.account_id, "pinned": "pinned" if seen.is_pinned else "not pinned"},
        "at": at.isoformat(timespec="milliseconds"),
        "scope": wished.scope or target.scope,
        "scope_from": set_by,
        "key": seen.key,
        "locked": seen.locked,
        "books": {name: ticker.state for name, ticker in seen.tickers.items()},
        "round_trip_ms": round(seen.round_trip_s * 1000),
        "steps": _steps(target, seen, wished),
        "entries": [_order_row(order) for order in standing.limits],
        "entries_by_id": [_order_row(order) for order in standing.triggers],
        "stops": [_order_row(order) for order in standing.stops],
        "closes": closes,
        "cost": _cost(closes, owner),
        "prices_age_s": f"{seen.prices_age_s:.1f}",
        "settlement_in_s": (_SETTLES_S - seen.market_ms // 1000) % _DAY_S,
        "spot_orders": seen.spot_orders,
        "balances": {} if owner is None else {coin: plain(amount) for coin, amount in owner.balances.items()},
        "settings_at_ms": target.settings_at_ms,
    }


def _steps(target: Target, seen: Seen, wished: argparse.Namespace) -> list[Facts]:
    """Each step in words, and how long it may take at the round trip measured just now."""
    standing, trip = seen.standing, seen.round_trip_s
    slippage = as_fraction(wished.max_slippage) if wished.max_slippage else None
    rungs = ladder(slippage, at_market=wished.market or seen.near_liquidation)
    stops, timing = len(standing.stops), target.timing
    hold = timing.hold if seen.bot.can_be_fenced else timing.hold_unproven
    currencies = ", ".join(target.currencies)
    return [
        _step("latch", _LATCH_S, *(f"{path}: {_can_be_written(path)}" for path in target.latches)),
        _step("fence", seen.bot.seconds, seen.bot.words),
        _step(
            "entries",
            2 * trip + ids_seconds(len(standing.triggers), trip),
            f"{_count(len(standing.limits), 'limit order')} by ONE request ({currencies}, future, limit, isolated "
            "included)",
            *(_trigger_words(order) for order in standing.triggers),
            f"{_count(stops, 'protective stop')} stay until their position reads zero",
        ),
        _step("close", _closing_seconds(seen, rungs), _close_words(seen, rungs)),
        _step("stops", ids_seconds(stops, trip), f"{_count(stops, 'order')} by id"),
        _step(
            "prove",
            READS_APART_S + 2 * trip,
            "2 listings and 2 position reads 1 s apart agree, all slots; margin in use 0.00",
        ),
        _step("hold", hold, f"{hold:.0f} s: anything that appears is cancelled, closed and reported"),
        _step("stop", *_service(target.bot_unit)),
    ]


def _step(step: str, seconds: float | None, *what: str) -> Facts:
    return {"step": step, "what": list(what), "expected_s": None if seconds is None else f"{seconds:.2f}"}


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _trigger_words(order: Order) -> str:
    at = "" if order.trigger_price is None else f" at {plain(order.trigger_price)}"
    return (
        f"1 by id: {order.side.value} {plain(order.remaining)} {order.product_id}{at} ({order.origin or 'origin ?'}), "
        "a trigger that protects nothing: an entry"
    )


def _close_words(seen: Seen, rungs: Sequence[Decimal | None]) -> str:
    count = _count(len(seen.standing.positions), "position")
    if seen.near_liquidation:
        return f"{count} at market at once: liquidation is less than 2 % away"
    limits = ", ".join(f"{rung * 100:.2f}" for rung in rungs if rung is not None)
    path = f"limits {limits} % through the touch" if limits else ""
    return f"{count}, reduce-only: " + ", then ".join(filter(None, [path, "at market" if rungs[-1] is None else ""]))


def _closing_seconds(seen: Seen, rungs: Sequence[Decimal | None]) -> float | None:
    """As many rounds as the dearest position climbs, for each wave of products; None: the books do not tell."""
    positions = seen.standing.positions
    if not positions:
        return 0.0
    climbs = [_depth_of(position, seen).rounds(abs(position.size), rungs) for position in positions]
    waves = -(-len(positions) // PRODUCTS_AT_ONCE)
    return max(climbs) * waves * _CALLS_A_ROUND * seen.round_trip_s


def _service(unit: str | None) -> tuple[float, str]:
    return (fence.STOP_S, f"{unit}, asking no password") if unit else (0.0, "the profile names no service")


def _depth_of(position: Position, seen: Seen) -> Depth:
    return Depth.read(seen.books[position.product_id], position)


def _close_row(position: Position, seen: Seen) -> Facts:
    name = position.product_id
    ticker, depth, size = seen.tickers[name], _depth_of(position, seen), abs(position.size)
    taker_fee = number(seen.instruments[name]["taker_commission"])
    expected, mid = depth.average(size), depth.mid
    slip = None if expected is None or mid is None else (mid - expected) * depth.sign
    edge = ticker.band_low if depth.sign > 0 else ticker.band_high
    worst = None if edge is None or mid is None else max(ZERO, (mid - edge) * depth.sign) * size
    return {
        "product": name,
        "slot": position.slot,
        "side": (Side.SELL if position.size > 0 else Side.BUY).value,
        "size": plain(size),
        "coin": name.split("_")[0].split("-")[0],
        "units_agree": position.units_agree,
        "depth": [plain(depth.within(fraction)) for fraction in _WITHIN],
        "mid": None if mid is None else plain(mid),
        "band_pct": _band_pct(ticker),
        "expected": None if expected is None else plain(expected.quantize(Decimal("0.01"))),
        "slippage_bps": None if slip is None or not mid else plain((slip / mid * 10_000).quantize(_TENTH)),
        "slippage": None if slip is None else plain(cents(slip * size)),
        "fee": None if expected is None else plain(cents(size * expected * taker_fee)),
        "at_worst": None if worst is None else plain(cents(worst)),
    }


_TENTH = Decimal("0.1")


def _band_pct(ticker: Ticker) -> str | None:
    """How far the venue lets prices go from the mark."""
    if ticker.band_high is None or not ticker.mark:
        return None
    return plain(((ticker.band_high - ticker.mark) / ticker.mark * 100).quantize(_TENTH))


def _cost(closes: Sequence[Facts], owner: Owner | None) -> Facts:
    """Sums over the closes whose book holds them; the others are counted."""
    known = [row for row in closes if row["slippage"] is not None]
    slippage = sum((Decimal(row["slippage"]) for row in known), ZERO)
    fees = sum((Decimal(row["fee"]) for row in known), ZERO)
    total, equity = slippage + fees, owner.equity if owner else ZERO
    unbounded = any(row["at_worst"] is None for row in closes)
    return {
        "slippage": plain(slippage),
        "fees": plain(fees),
        "total": plain(total),
        "of_equity_pct": plain((total / equity * 100).quantize(Decimal("0.01"))) if equity > 0 else None,
        "at_worst": None if unbounded else plain(sum((Decimal(row["at_worst"]) for row in closes), ZERO)),
        "not_known": len(closes) - len(known),
    }


def _order_row(order: Order) -> Facts:
    return {
        "order_id": order.order_id,
        "product": order.product_id,
        "side": order.side.value,
        "remaining": plain(order.remaining),
        "type": order.type.value,
        "origin": order.origin,
        "reduce_only": order.reduce_only,
    }


def _can_be_written(path: Path) -> str:
    if path.exists():
        return "writable" if os.access(path, os.W_OK) else "NOT WRITABLE"
    parent = next((folder for folder in path.parents if folder.exists()), Path("/"))
    return "absent, can be made" if os.access(parent, os.W_OK) else "absent, CANNOT BE MADE"
