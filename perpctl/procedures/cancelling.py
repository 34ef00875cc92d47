"""This file cancels what rests at the venue and reads back until it is gone; protective stops stay unless asked for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perpctl.errors import UnknownState
from perpctl.exchange.port import Exchange, Refused, Unknown
from perpctl.host.login import operator
from perpctl.model import flatten
from perpctl.model.order import Order, OrderStatus
from perpctl.procedures.hand import Ends, Hand
from perpctl.results import Confirm, Done, Json, Plan, Risk, Step, StepResult

if TYPE_CHECKING:
    from perpctl.desk import Desk

DEADLINE_S = 30.0
LISTINGS_APART_S = flatten.READS_APART_S
AGAIN_S = 0.5
LAST_LOOK_S = 2.0  # the last listing gets so long, however late it is


@dataclass(slots=True)
class Progress:
    """What was seen and done on the way to an empty listing."""

    seen: dict[str, Order] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    trouble: dict[str, str] = field(default_factory=dict)  # by order id: what the venue said of it last
    empty_listings: int = 0
    left: tuple[Order, ...] = ()  # of the last listing that was answered
    stops: tuple[Order, ...] = ()
    unread: str | None = None  # why the last listing failed

    @property
    def gone(self) -> list[Order]:
        """What was seen, and is not in the last listing any more."""
        standing = {order.order_id for order in self.left}
        return [order for order_id, order in self.seen.items() if order_id not in standing]

    @property
    def is_proven(self) -> bool:
        return self.empty_listings >= 2


async def cancel_all(desk: Desk, *, include_stops: bool = False, every_path: bool = False) -> Plan:
    """Cancel every entry at the venue, whoever made it; with `include_stops` the protective stops too.

    With `every_path` a listing that fails keeps nothing from being sent. Raises UnknownState otherwise.
    """
    exchange = await desk.exchange()
    standing = await _standing_if_readable(exchange) if every_path else await _standing(exchange)

    async def preview() -> str:
        now = await _standing(exchange)
        return f"cancel {_names(_doomed(now, include_stops))}; {_kept_words(now, include_stops)}"

    async def perform() -> StepResult:
        hand = Hand(desk, exchange, operator(), "cancel-all")
        progress = Progress()
        if every_path:
            await _at_once(hand, [one for one in standing.entries if not one.is_trigger], progress)
        await until_gone(desk, hand, exchange, progress, include_stops=include_stops, every_path=every_path)
        return await _result(progress, hand, exchange, include_stops, desk.settings.profile)

    step = Step("cancel", "cancel entries", preview, perform)
    return Plan(
        name="cancel-all",
        scope=await desk.scope(),
        risk=Risk.LOWERS if not (include_stops and standing.positions) else Risk.RAISES,
        confirm=Confirm.NONE if every_path else Confirm.YES,
        fingerprint=fingerprint([*standing.entries, *standing.stops]),
        steps=(step,),
    )


async def _at_once(hand: Hand, known: list[Order], progress: Progress) -> None:
    """The venue's own mass cancel before anything is listed again; `known` is what was seen when the plan was made."""
    progress.seen.update({order.order_id: order for order in known})
    progress.paths.append(await hand.cancel_by_one_request(known))


async def until_gone(
    desk: Desk,
    hand: Hand,
    exchange: Exchange,
    progress: Progress,
    *,
    include_stops: bool = False,
    every_path: bool = False,
) -> None:
    """Cancel and list again until two listings a second apart show nothing that should be gone, or 30 s are up.

    A listing that fails proves nothing and is asked again; what was cancelled until then is kept.
    """
    until = desk.clock.monotonic() + DEADLINE_S
    while True:
        doomed = await _listed(desk, exchange, progress, include_stops, until)
        if progress.is_proven or desk.clock.monotonic() >= until:
            return
        if doomed:
            await _round(hand, doomed, progress, every_path)
        await desk.clock.sleep(AGAIN_S if doomed else LISTINGS_APART_S)


async def _listed(
    desk: Desk, exchange: Exchange, progress: Progress, include_stops: bool, until: float
) -> tuple[Order, ...]:
    """One listing: what should be gone and is not. Nothing is concluded from one that fails."""
    try:
        async with asyncio.timeout(max(until - desk.clock.monotonic(), LAST_LOOK_S)):
            standing = await _standing(exchange)
    except (UnknownState, TimeoutError) as why:
        progress.unread, progress.empty_listings = str(why) or "no answer in time", 0
        return ()
    progress.unread = None
    progress.stops = standing.stops
    progress.left = _doomed(standing, include_stops)
    progress.empty_listings = 0 if progress.left else progress.empty_listings + 1
    return progress.left


async def _round(hand: Hand, doomed: Sequence[Order], progress: Progress, every_path: bool) -> None:
    """One request for all plain orders, then ids for what it does not reach; ids for everything from round two on."""
    first = not progress.seen
    progress.seen.update({order.order_id: order for order in doomed})
    plain = [order for order in doomed if not order.is_trigger]
    by_request = (first and len(plain) > 1) or every_path
    if by_request and plain:
        progress.paths.append(await hand.cancel_by_one_request(plain))
    if every_path:
        for product in dict.fromkeys(order.product_id for order in plain):
            progress.paths.append(await hand.cancel_by_one_request((), product))
    by_id = [one for one in doomed if every_path or not by_request or one.is_trigger]
    if by_id:
        for order, outcome in zip(by_id, await hand.cancel(by_id), strict=True):
            if isinstance(outcome, Refused):
                progress.trouble[order.order_id] = f"refused: {outcome.code or ''} {outcome.reason}"
            elif isinstance(outcome, Unknown):
                progress.trouble[order.order_id] = f"cancel unanswered: {outcome.cause}"
        progress.paths.append(f"{len(by_id)} by id")


async def _result(progress: Progress, hand: Hand, exchange: Exchange, include_stops: bool, profile: str) -> StepResult:
    ended = await hand.book_ends(progress.gone)
    denied = tuple(f"{one} is not listed, yet its own state is open" for one in ended.open_still)
    words = [_gone_words(progress, ended), *progress.paths]
    facts = _facts(progress, ended)
    bare = await _bare(exchange) if include_stops else ()
    facts["next"] = list(_next(profile, progress, bare))
    left = tuple(f"{order.order_id} {progress.trouble.get(order.order_id, '')}".strip() for order in progress.left)
    if progress.unread is not None:
        why = f"the venue could not be listed ({progress.unread}): what stands there is unknown"
        return StepResult(Done.UNKNOWN, "; ".join([*words, why]), (*left, *bare), facts)
    if progress.left:
        return StepResult(Done.PARTIAL, "; ".join(words), (*left, *bare), facts)
    if denied:
        return StepResult(Done.UNKNOWN, "; ".join([*words, "the listings are not to be trusted"]), denied, facts)
    if not progress.is_proven:
        return StepResult(Done.UNKNOWN, "; ".join([*words, "no second empty listing in time"]), bare, facts)
    words.append("2 listings a second apart show none")
    if kept := progress.stops:
        words.append(f"{len(kept)} protective stops {'cancelled late' if include_stops else 'stay'}: {_ids(kept)}")
    return StepResult(Done.DONE if progress.seen else Done.NOTHING_TO_DO, "; ".join(words), bare, facts)


def _gone_words(progress: Progress, ended: Ends) -> str:
    gone = progress.gone
    filled = [one for one in ended.orders.values() if one.status is OrderStatus.FILLED]
    part = [one for one in ended.orders.values() if one.filled > 0 and one not in filled]
    words = [f"{len(gone)} of {len(progress.seen)} gone"]
    words += [f"{len(filled)} filled before ({_ids(filled)})"] if filled else []
    words += [f"{len(part)} filled in part ({_ids(part)})"] if part else []
    unread = len(gone) - len(ended.orders) - len(ended.open_still)
    words += [f"how {unread} of them ended could not be read: reconcile tells"] if unread else []
    return "; ".join(words)


def _facts(progress: Progress, ended: Ends) -> dict[str, Json]:
    by_status = {order_id: order.status for order_id, order in ended.orders.items()}
    gone = [order.order_id for order in progress.gone]
    return {
        "cancelled": [one for one in gone if by_status.get(one) is not OrderStatus.FILLED],
        "filled": [one for one in gone if by_status.get(one) is OrderStatus.FILLED],
        "end_not_read": [one for one in gone if one not in by_status],
        "left": [order.order_id for order in progress.left],
        "stops_kept": [order.order_id for order in progress.stops],
        "trouble": dict(progress.trouble),
        "paths": list(progress.paths),
    }


def _next(profile: str, progress: Progress, bare: tuple[str, ...]) -> tuple[str, ...]:
    """What to type after it: the missing stops first, else the proof, else every path."""
    if bare:
        return (f"perpctl -p {profile} stops place", f"perpctl -p {profile} positions close-all")
    if progress.is_proven and not progress.left:
        return (f"perpctl -p {profile} positions",)
    return (f"perpctl -p {profile} cancel-all --force", f"perpctl kill -p {profile} --dry-run")


async def _bare(exchange: Exchange) -> tuple[str, ...]:
    """The positions that no protective stop covers any more, as far as they can be read."""
    try:
        standing = await _standing(exchange)
    except UnknownState as why:
        return (f"whether positions have a stop could not be read ({why.message})",)
    covered = {flatten.key_of(order) for order in standing.stops}
    bare = [one for one in standing.positions if flatten.key_of(one) not in covered]
    return tuple(f"{one.product_id} {one.size:+f} has no stop now" for one in bare)


async def _standing(exchange: Exchange) -> flatten.Standing:
    orders, positions = await asyncio.gather(exchange.open_orders(), exchange.positions())
    return flatten.sort_standing(orders, positions)


async def _standing_if_readable(exchange: Exchange) -> flatten.Standing:
    try:
        return await _standing(exchange)
    except UnknownState:
        return flatten.sort_standing((), ())


def _doomed(standing: flatten.Standing, include_stops: bool) -> tuple[Order, ...]:
    return standing.entries + ((standing.stops + standing.orphans) if include_stops else ())


def _names(orders: Sequence[Order]) -> str:
    if not orders:
        return "nothing"
    shown = ", ".join(f"{one.side} {one.remaining:f} {one.product_id}" for one in orders[:3])
    return f"{len(orders)} orders ({shown}{', ...' if len(orders) > 3 else ''})"


def _ids(orders: Sequence[Order]) -> str:
    return ", ".join(order.order_id for order in orders)


def _kept_words(standing: flatten.Standing, include_stops: bool) -> str:
    if include_stops:
        bare = ", ".join(one.product_id for one in standing.positions)
        return f"then without a stop: {bare}" if bare else "no position is left bare"
    return f"{len(standing.stops)} protective stops stay"


def fingerprint(orders: Sequence[Order]) -> str:
    """Of the orders that a plan was made from."""
    return hashlib.sha256("\n".join(sorted(order.order_id for order in orders)).encode()).hexdigest()[:16]
