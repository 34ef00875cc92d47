"""This file places the protective stops that open positions lack, over HTTP, so that they outlive every socket."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.desk import operator
from perpctl.errors import RefusedBySafety
from perpctl.exchange.port import Confirmed, Refused, Unknown
from perpctl.model.money import price_down, price_up
from perpctl.model.order import OrderRequest, OrderType, Purpose, Side
from perpctl.procedures.hand import Hand
from perpctl.questions import positions, stops
from perpctl.questions.limits import limits_of
from perpctl.questions.positions import Holding
from perpctl.results import Confirm, Done, Json, Plan, Risk, Step, StepResult

if TYPE_CHECKING:
    from perpctl.desk import Desk


async def place_stops(desk: Desk, symbols: tuple[str, ...], slot: int | None) -> Plan:
    """A stop for each position that has none or too little of one; existing stops are left alone."""
    exchange = await desk.exchange()
    wanted = {(await exchange.instrument(symbol)).product_id for symbol in symbols}
    distance = _distance(desk)

    async def lacking() -> tuple[Holding, ...]:
        found = await positions.read(desk)
        meant = (one for one in found.holdings if not wanted or one.position.product_id in wanted)
        return tuple(one for one in meant if slot in (None, one.position.slot) and stops.trouble(one) is not None)

    async def preview() -> str:
        requests = [stop_request("", one, distance) for one in await lacking()]
        words = [f"{one.side} {one.size:f} {one.product_id} at {one.trigger_price:f} on mark" for one in requests]
        return "; ".join(words) or "every position has its stop"

    async def perform() -> StepResult:
        hand = Hand(desk, exchange, operator(), "protective stop")
        placed, trouble = [], []
        unknown = False
        for one in await lacking():
            outcome = await hand.place(stop_request(hand.new_identity(), one, distance), one.instrument)
            match outcome:
                case Confirmed(order, _):
                    placed.append(f"{order.order_id} {order.side} {order.size:f} at {order.trigger_price}")
                case Refused(code, reason):
                    trouble.append(f"{one.position.product_id} refused: {code or ''} {reason}")
                case _:
                    unknown = unknown or isinstance(outcome, Unknown)
                    trouble.append(f"{one.position.product_id}: {outcome}")
        bare = tuple(f"{one.position.product_id} has no full stop" for one in await lacking())
        facts: dict[str, Json] = {"placed": list(placed), "trouble": list(trouble)}
        words = "; ".join([*placed, *trouble]) or "every position has its stop"
        if bare:
            return StepResult(Done.UNKNOWN if unknown else Done.PARTIAL, words, bare, facts)
        done = Done.DONE if placed else Done.NOTHING_TO_DO
        return StepResult(done, f"{words}; read back: every position is covered", (), facts)

    held = ";".join(f"{one.position.product_id}/{one.position.slot}" for one in await lacking())
    step = Step("stops", "place stops", preview, perform)
    return Plan("stops place", await desk.scope(), Risk.LOWERS, Confirm.YES, held, (step,))


def stop_request(name: str, one: Holding, distance: Decimal) -> OrderRequest:
    """A reduce-only stop-market on mark for the part that no stop covers, `distance` (a fraction) from entry.

    Where the market has already passed that price, the stop goes the same distance from mark instead.
    """
    position, tick = one.position, one.instrument.tick
    side = Side.SELL if position.size > 0 else Side.BUY
    anchor = position.entry_price or position.mark
    assert anchor is not None
    mark = position.mark or anchor
    trigger = anchor * (1 - side.opposite.sign * distance)
    if (side is Side.SELL and trigger >= mark) or (side is Side.BUY and trigger <= mark):
        trigger = mark * (1 - side.opposite.sign * distance)
    covered = sum((stop.remaining for stop in one.stops), Decimal(0))
    return OrderRequest(
        identity=name,
        product_id=position.product_id,
        side=side,
        size=abs(position.size) - covered,
        type=OrderType.STOP_MARKET,
        price=None,
        reduce_only=True,
        trigger_price=price_up(trigger, tick) if side is Side.SELL else price_down(trigger, tick),
        trigger="mark_price",
        slot=position.slot,
        purpose=Purpose.STOP,
    )


def _distance(desk: Desk) -> Decimal:
    limits = limits_of(desk)
    if limits is None:
        raise RefusedBySafety(
            "this profile has no risk level, so nobody said how far a stop stands from entry",
            not_done="no stop was placed",
            next_commands=("perpctl config show --origin",),
        )
    return limits.stop_distance_pct / 100
