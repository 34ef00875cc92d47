"""This file is `kill --dry-run`: what would be done and what it would cost, from live reads; it changes nothing."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from perpctl.emergency import pending
from perpctl.emergency.closing.closer import near_liquidation
from perpctl.emergency.dry_run.depth import Depth, close_row, within_of
from perpctl.emergency.fence import ASK_FOREIGN_S, ASK_S, ask_mode
from perpctl.emergency.screen.preview import screen
from perpctl.emergency.screen.words import fitted
from perpctl.emergency.target import Target, as_fraction, locate
from perpctl.emergency.venue.opening import open_venue
from perpctl.emergency.venue.port import Book, Product, Said, Venue
from perpctl.emergency.venue.terms import Terms
from perpctl.emergency.venue.wire import NoAnswer, Wire
from perpctl.emergency.world import ThisMachine, few_at_a_time
from perpctl.errors import StateDamaged, UnknownState
from perpctl.model.flatten import Standing, ladder, sort_standing
from perpctl.model.money import plain
from perpctl.model.order import Order
from perpctl.model.position import Position
from perpctl.store.lease import Lease

Facts = dict[str, Any]
_DAY_MS = 86_400_000
T = TypeVar("T")
_CALLS_A_ROUND = 4  # ticker, instrument, close, look


class Sight(NamedTuple):
    """What one look at the venue showed; `round_trip_s` as one call took, `books` and `products` by name."""

    standing: Standing
    spot_orders: int | None
    books: Mapping[str, Book]
    products: Mapping[str, Product]
    market_ms: int
    round_trip_s: float


def told(target: Target, wished: argparse.Namespace) -> str:
    """What a kill of this target would do, in the form wanted. Raises UnknownState when the venue cannot be read."""
    facts = _read(target, wished)
    return json.dumps(facts) + "\n" if wished.output == "json" else fitted(screen(facts), sys.stdout)


def _read(target: Target, wished: argparse.Namespace) -> Facts:
    try:
        venue, sight = _look(target)
        return preview(target, wished, venue, sight)
    except (NoAnswer, Said, KeyError, ValueError) as why:
        raise UnknownState(
            f"the venue cannot be read: {why}",
            not_done="Nothing was latched, cancelled or closed.",
            next_commands=(f"perpctl kill -p {target.profile} --force",),
        ) from why


def _look(target: Target) -> tuple[Venue, Sight]:
    address, world = locate(target), ThisMachine()
    venue = open_venue(address, Wire(address.http, address.ca_file), world)
    venue.enter()
    sent = time.monotonic()
    venue.learn_market_clock()
    took = time.monotonic() - sent
    listing = venue.listing(quick=False)
    standing = sort_standing(listing.orders, listing.positions)
    names = list(dict.fromkeys(position.product_id for position in standing.positions))
    books = _answered(names, few_at_a_time(world, [partial(venue.book, name) for name in names]))
    products = _answered(names, few_at_a_time(world, [partial(venue.product, name) for name in names]))
    return venue, Sight(standing, listing.spot_orders, books, products, venue.market_ms(), took)


def _answered(names: Sequence[str], answers: Sequence[T | Exception]) -> Mapping[str, T]:
    found: dict[str, T] = {}
    for name, answer in zip(names, answers, strict=True):
        if isinstance(answer, Exception):
            raise answer
        found[name] = answer
    return found


def preview(target: Target, wished: argparse.Namespace, venue: Venue, sight: Sight) -> Facts:
    """Everything that the screen shows, as JSON facts."""
    owner, standing, terms = venue.owner, sight.standing, venue.terms
    slippage = as_fraction(wished.max_slippage) if wished.max_slippage else None
    rungs = ladder(slippage, at_market=wished.market, whole=terms.ladder)
    at_once = near_liquidation(venue, standing.positions)
    closes = [
        close_row(
            position,
            Depth.read(sight.books[position.product_id], position),
            sight.products[position.product_id],
            terms.ladder,
        )
        for position in standing.positions
    ]
    bot = _bot(target.directory)
    return {
        "schema": "perpctl.kill_preview/1",
        "env": target.env,
        "venue": target.venue,
        "profile": target.profile,
        "account": {
            "id": owner.account_id if owner else None,
            "pinned": "pinned" if venue.pin else "not pinned",
        },
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "scope": wished.scope or target.scope,
        "key": {"id": venue.key_id, "may": venue.key_scope},
        "books": {name: book.ticker.state for name, book in sight.books.items()},
        "latches": {str(path): _can_be_written(path) for path in target.latches},
        "bot": bot,
        "entries": [_order_row(order) for order in standing.limits],
        "entries_by_id": [_order_row(order) for order in standing.triggers],
        "stops": [_order_row(order) for order in standing.stops],
        "currency": terms.currency,
        "how": _how(terms, target),
        "within": [plain(rung) for rung in terms.ladder if rung is not None],
        "rungs": ["market" if rung is None else plain(rung) for rung in rungs],
        "at_market_at_once": at_once,
        "expected_s": _expected(terms, target, bot, sight, terms.ladder[-1:] if at_once else rungs),
        "round_trip_s": round(sight.round_trip_s, 4),
        "closes": closes,
        "prices": [_price_row(name, book, sight.market_ms) for name, book in sight.books.items()],
        "settlement_in_s": _settlement_in_s(terms, sight),
        "equity": None if owner is None else plain(owner.equity),
        "bot_unit": target.bot_unit,
        "hold_s": target.timing.hold if bot["can_be_fenced"] else target.timing.hold_unproven,
        "spot_orders": sight.spot_orders,
        "balances": None if owner is None else {coin: plain(amount) for coin, amount in owner.balances.items()},
        "settings_at_ms": target.settings_at_ms,
    }


def _how(terms: Terms, target: Target) -> Facts:
    words = terms.words
    entries = words.entries.format(currencies=", ".join(target.currencies))
    return {"entries": entries, "stops": words.stops, "close": words.close, "prove": words.prove}


def _settlement_in_s(terms: Terms, sight: Sight) -> int | None:
    return None if terms.settles_at_ms is None else (terms.settles_at_ms - sight.market_ms) % _DAY_MS // 1_000


# --- how long it would take ------------------------------------------------------------------------------------------


def _expected(
    terms: Terms, target: Target, bot: Facts, sight: Sight, rungs: Sequence[Decimal | None]
) -> dict[str, float | None]:
    """Seconds for each step, counted in round trips as measured now; None: nothing was read that would tell."""
    trip, standing = sight.round_trip_s, sight.standing
    by_id = len(standing.triggers if terms.mass_cancel else standing.entries)
    rounds = max((_rounds(sight, position, rungs) for position in standing.positions), default=0)
    expected = {
        "latch": _as_last_time(target.directory, "latch"),
        "fence": bot["expected_s"],
        "entries": 3 * trip + terms.apart.orders_s + _paced(terms, by_id),
        "close": rounds * _CALLS_A_ROUND * trip,
        "stops": (trip if standing.stops else 0.0) + _paced(terms, len(standing.stops)),
        "prove": 2 * trip + terms.apart.positions_s,
        "hold": target.timing.hold if bot["can_be_fenced"] else target.timing.hold_unproven,
        "stop": None if target.bot_unit else 0.0,
    }
    return {step: None if seconds is None else round(seconds, 3) for step, seconds in expected.items()}


def _rounds(sight: Sight, position: Position, rungs: Sequence[Decimal | None]) -> int:
    """How many rungs until one holds the whole position, in the book as it stands."""
    depth = Depth.read(sight.books[position.product_id], position)
    for number_, rung in enumerate(rungs, 1):
        if rung is None or within_of(depth, rung) >= abs(position.size):
            return number_
    return len(rungs)


def _paced(terms: Terms, count: int) -> float:
    """What goes by id waits once the first burst is used up."""
    return max(0, count - terms.ids_at_once) / terms.ids_a_second


def _as_last_time(directory: Path, step: str) -> float | None:
    """What the last kill of this profile measured for that step; nothing is written to find out."""
    for story in reversed(pending.stories(directory)):
        for row in (story.receipt or {}).get("steps", ()):
            if row["step"] == step and row["state"] == "done":
                return float(row["after_s"])
    return None


# --- rows -------------------------------------------------------------------------------------------------------------


def _price_row(name: str, book: Book, market_ms: int) -> Facts:
    ticker = book.ticker
    return {
        "product": name,
        "mid": _text(ticker.mid),
        "mark": _text(ticker.mark),
        "band_low": _text(ticker.band_low),
        "band_high": _text(ticker.band_high),
        "age_s": round(max(0, market_ms - book.at_ms) / 1_000, 1),
    }


def _text(price: Decimal | None) -> str | None:
    return None if price is None else plain(price)


def _order_row(order: Order) -> Facts:
    return {
        "order_id": order.order_id,
        "product": order.product_id,
        "side": order.side.value,
        "remaining": plain(order.remaining),
        "price": None if order.price is None else plain(order.price),
        "trigger_price": None if order.trigger_price is None else plain(order.trigger_price),
        "type": order.type.value,
        "origin": order.origin,
        "reduce_only": order.reduce_only,
    }


def _can_be_written(path: Path) -> str:
    if path.exists():
        return "writable" if os.access(path, os.W_OK) else "NOT WRITABLE"
    parent = next((folder for folder in path.parents if folder.exists()), Path("/"))
    return "absent, can be made" if os.access(parent, os.W_OK) else "absent, CANNOT BE MADE"


def _bot(directory: Path) -> Facts:
    """Who would be fenced, how, and in what time: as its socket answers now, else as long as it would be waited for."""
    try:
        lease = Lease.read(directory / "lease")
    except StateDamaged as why:
        return _fenced("unknown", str(why), ASK_FOREIGN_S, can=False)
    if lease is None or lease.released or lease.holder_lives is False:
        return _fenced("none", "no bot holds the lease", 0.0, can=True)
    name = f"{lease.holder} pid {lease.pid}"
    if lease.holder_lives is None:
        return _fenced("elsewhere", f"{name} is on {lease.host}, NOT THIS HOST", ASK_FOREIGN_S, can=False)
    if (took := ask_mode(directory / "control.sock", lease.pid)) is not None:
        how = f"{name} on this host answers over its socket in {took * 1_000:.0f} ms: can be fenced"
        return _fenced("here", how, took, can=True)
    if lease.uid == os.getuid() or os.getuid() == 0:
        return _fenced("here", f"{name} on this host does not answer: SIGKILL after {ASK_S} s", ASK_S, can=True)
    return _fenced("here", f"{name} does not answer, and belongs to uid {lease.uid}", ASK_FOREIGN_S, can=False)


def _fenced(state: str, how: str, expected_s: float, *, can: bool) -> Facts:
    return {"state": state, "how": how, "expected_s": round(expected_s, 3), "can_be_fenced": can}
