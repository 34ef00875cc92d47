"""This file cancels what rests at the venue and reads back until it is gone; protective stops stay unless asked for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perpctl.desk import operator
from perpctl.exchange.port import Exchange, Refused
from perpctl.model import flatten
from perpctl.model.order import Order
from perpctl.procedures.hand import Hand
from perpctl.results import Confirm, Done, Json, Plan, Risk, Step, StepResult

if TYPE_CHECKING:
    from perpctl.desk import Desk

DEADLINE_S = 30.0
LISTINGS_APART_S = 1.0
AGAIN_S = 0.5


@dataclass(slots=True)
class _Progress:
    """What was seen and done on the way to an empty listing."""

    seen: dict[str, Order] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    refusals: dict[str, str] = field(default_factory=dict)
    empty_listings: int = 0
    left: tuple[Order, ...] = ()


async def cancel_all(desk: Desk, *, include_stops: bool = False, every_path: bool = False) -> Plan:
    """Cancel every entry at the venue, whoever made it; with `include_stops` the protective stops too."""
    exchange = await desk.exchange()
    standing = await _standing(exchange)
    doomed = _doomed(standing, include_stops)
    kept = () if include_stops else standing.stops

    async def preview() -> str:
        now = await _standing(exchange)
        return f"cancel {_names(_doomed(now, include_stops))}; {_kept_words(now, include_stops)}"

    async def perform() -> StepResult:
        hand = Hand(desk, exchange, operator(), "cancel-all")
        progress = await until_gone(desk, hand, exchange, include_stops=include_stops, every_path=every_path)
        return await _result(progress, exchange, include_stops)

    step = Step("cancel", "cancel entries", preview, perform)
    return Plan(
        name="cancel-all",
        scope=await desk.scope(),
        risk=Risk.LOWERS if not (include_stops and standing.positions) else Risk.RAISES,
        confirm=Confirm.NONE if every_path else Confirm.YES,
        fingerprint=fingerprint([*doomed, *kept]),
        steps=(step,),
    )


async def until_gone(
    desk: Desk, hand: Hand, exchange: Exchange, *, include_stops: bool = False, every_path: bool = False
) -> _Progress:
    """Cancel and list again until two listings a second apart show nothing that should be gone, or time is up."""
    progress = _Progress()
    until = desk.clock.monotonic() + DEADLINE_S
    while True:
        doomed = _doomed(await _standing(exchange), include_stops)
        progress.left = doomed
        progress.empty_listings = 0 if doomed else progress.empty_listings + 1
        if progress.empty_listings == 2 or desk.clock.monotonic() >= until:
            return progress
        if doomed:
            await _round(hand, doomed, progress, every_path)
        await desk.clock.sleep(AGAIN_S if doomed else LISTINGS_APART_S)


async def _round(hand: Hand, doomed: Sequence[Order], progress: _Progress, every_path: bool) -> None:
    """One request for all plain orders, then ids for what it does not reach; ids for everything from round two on."""
    first = not progress.seen
    progress.seen.update({order.order_id: order for order in doomed})
    plain = [order for order in doomed if not order.is_trigger]
    if (first and len(plain) > 1) or every_path:
        progress.paths.append(await hand.cancel_by_one_request(plain))
    by_id = list(doomed) if every_path or not first or len(plain) <= 1 else [one for one in doomed if one.is_trigger]
    if by_id:
        for order, outcome in zip(by_id, await hand.cancel(by_id), strict=True):
            if isinstance(outcome, Refused):
                progress.refusals[order.order_id] = f"{outcome.code} {outcome.reason}"
        progress.paths.append(f"{len(by_id)} by id")


async def _result(progress: _Progress, exchange: Exchange, include_stops: bool) -> StepResult:
    kept = (await _standing(exchange)).stops
    words = [f"{len(progress.seen) - len(progress.left)} of {len(progress.seen)} gone", *progress.paths]
    facts: dict[str, Json] = {
        "cancelled": [one for one in progress.seen if one not in {left.order_id for left in progress.left}],
        "left": [order.order_id for order in progress.left],
        "stops_kept": [order.order_id for order in kept],
        "refusals": dict(progress.refusals),
        "paths": list(progress.paths),
    }
    bare: tuple[str, ...] = ()
    if include_stops:
        bare = tuple(f"{one.product_id} {one.size:+f} has no stop now" for one in await exchange.positions())
    left = tuple(f"{order.order_id} {progress.refusals.get(order.order_id, '')}".strip() for order in progress.left)
    if progress.left:
        return StepResult(Done.PARTIAL, "; ".join(words), (*left, *bare), facts)
    if progress.empty_listings < 2:
        return StepResult(Done.UNKNOWN, "; ".join([*words, "no second empty listing in time"]), bare, facts)
    words.append("2 listings a second apart show none")
    words += [f"{len(kept)} protective stops stay: {', '.join(one.order_id for one in kept)}"] if kept else []
    return StepResult(Done.DONE if progress.seen else Done.NOTHING_TO_DO, "; ".join(words), bare, facts)


async def _standing(exchange: Exchange) -> flatten.Standing:
    orders, positions = await asyncio.gather(exchange.open_orders(), exchange.positions())
    return flatten.sort_standing(orders, positions)


def _doomed(standing: flatten.Standing, include_stops: bool) -> tuple[Order, ...]:
    return standing.entries + ((standing.stops + standing.orphans) if include_stops else ())


def _names(orders: Sequence[Order]) -> str:
    if not orders:
        return "nothing"
    shown = ", ".join(f"{one.side} {one.remaining:f} {one.product_id}" for one in orders[:3])
    return f"{len(orders)} orders ({shown}{', ...' if len(orders) > 3 else ''})"


def _kept_words(standing: flatten.Standing, include_stops: bool) -> str:
    if include_stops:
        bare = ", ".join(one.product_id for one in standing.positions)
        return f"then without a stop: {bare}" if bare else "no position is left bare"
    return f"{len(standing.stops)} protective stops stay"


def fingerprint(orders: Sequence[Order]) -> str:
    """Of the orders that a plan was made from."""
    return hashlib.sha256("\n".join(sorted(order.order_id for order in orders)).encode()).hexdigest()[:16]
