"""This file places the protective stops that open positions lack, over HTTP, so that they outlive every socket."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from perpctl.exchange.port import Confirmed, Refused, Unknown, VenueTerms
from perpctl.host.login import operator
from perpctl.model.money import ZERO
from perpctl.model.stops import Remedy, Stop, remedy
from perpctl.procedures.hand import Hand
from perpctl.questions.held import positions
from perpctl.questions.held.positions import Holding, named
from perpctl.questions.limits import limits_of
from perpctl.results import Confirm, Done, Json, Plan, Risk, Step, StepResult
from perpctl.risk.limits import RiskLevel, level_limits

if TYPE_CHECKING:
    from perpctl.desk import Desk


async def place_stops(desk: Desk, symbols: tuple[str, ...], slot: int | None) -> Plan:
    """A stop for each position that has none, or none that is near and large enough, in place of the old ones.

    A profile without a risk level has them where the most careful level wants them.
    """
    exchange = await desk.exchange()
    wanted = {(await exchange.instrument(symbol)).product_id for symbol in symbols}
    distance_pct = _distance_pct(desk)

    async def lacking() -> tuple[Holding, ...]:
        found = await positions.read(desk)
        meant = (one for one in found.holdings if not wanted or one.position.product_id in wanted)
        return tuple(one for one in meant if slot in (None, one.position.slot) and _lacks(one, distance_pct))

    async def preview() -> str:
        words = [_words(one, distance_pct, exchange.terms) for one in await lacking()]
        return "; ".join(words) or "every position has its stop"

    async def perform() -> StepResult:
        hand = Hand(desk, exchange, operator(), "protective stop")
        placing = _Placing(desk, hand, distance_pct, exchange.terms)
        for one in await lacking():
            await placing.protect(one)
        return placing.result(await lacking())

    held = ";".join(f"{one.position.product_id}/{one.position.slot}" for one in await lacking())
    step = Step("stops", "place stops", preview, perform)
    confirm = Confirm.YES if held else Confirm.NONE
    return Plan("stops place", await desk.scope(), Risk.LOWERS, confirm, held, (step,))


class _Placing:
    """What was placed, and what went wrong."""

    def __init__(self, desk: Desk, hand: Hand, distance_pct: Decimal, terms: VenueTerms) -> None:
        self._desk, self._hand, self._distance_pct, self._terms = desk, hand, distance_pct, terms
        self._placed: list[str] = []
        self._trouble: list[str] = []
        self._close: list[str] = []  # commands: what no stop can guard any more
        self._unknown = False

    async def protect(self, one: Holding) -> None:
        """Place first, and let the old ones go when the new stop is confirmed: no moment without one.

        Where the venue does not enforce reduce-only, two stops of one position would turn it: there the old ones go
        first, and nothing is placed before all of them are read ended.
        """
        try:
            cure = _remedy(one, self._distance_pct)
        except ValueError as why:
            self._trouble.append(f"{named(one.position)}: {why}")
            self._close.append(one.close_command)
            return
        if cure.place is None:
            return
        if cure.place.beyond:
            self._trouble.append(f"{named(one.position)}: {_beyond_words(one, cure.place)}")
            self._close.append(one.close_command)
            return
        stop, old = cure.place, cure.cancel
        size = stop.size
        if old and not self._terms.reduces_only:
            ended = [outcome.order for outcome in await self._hand.cancel(old) if isinstance(outcome, Confirmed)]
            if len(ended) < len(old) or not all(order.status.is_terminal for order in ended):
                self._unknown = True
                self._trouble.append(
                    f"{named(one.position)}: its old stop is not read gone, so no second one was placed"
                )
                return
            size -= sum((order.filled for order in ended), ZERO) - sum((order.filled for order in old), ZERO)
            if size < one.instrument.min_size:
                return
        request = self._terms.stop.stop(
            self._hand.new_identity(),
            stop.product_id,
            stop.side,
            size,
            stop.trigger_price,
            one.instrument.tick,
        )
        outcome = await self._hand.place(replace(request, slot=stop.slot), one.instrument)
        match outcome:
            case Confirmed(order, _):
                self._placed.append(f"{order.order_id} {order.side} {order.size:f} at {order.trigger_price}")
                if old and self._terms.reduces_only:
                    await self._hand.cancel(old)
            case Refused(code, reason):
                self._trouble.append(f"{named(one.position)} refused: {code or ''} {reason}")
            case _:
                self._unknown = self._unknown or isinstance(outcome, Unknown)
                self._trouble.append(f"{named(one.position)}: {outcome}")

    def result(self, lacking: tuple[Holding, ...]) -> StepResult:
        """Judged by what a fresh read still shows as lacking."""
        bare = tuple(f"{named(one.position)} has no full stop" for one in lacking)
        name = self._desk.settings.profile
        commands = [f"perpctl -p {name} {command}" for command in self._close]
        commands = commands if commands or bare else [f"perpctl -p {name} stops verify"]
        facts: dict[str, Json] = {"placed": list(self._placed), "trouble": list(self._trouble), "next": list(commands)}
        words = "; ".join([*self._placed, *self._trouble]) or "every position has its stop"
        if bare:
            return StepResult(Done.UNKNOWN if self._unknown else Done.PARTIAL, words, bare, facts)
        done = Done.DONE if self._placed else Done.NOTHING_TO_DO
        return StepResult(done, f"{words}; read back: every position is covered", (), facts)


def _remedy(one: Holding, distance_pct: Decimal) -> Remedy:
    return remedy(one.position, one.stops, distance_pct, one.instrument.tick)


def _lacks(one: Holding, distance_pct: Decimal) -> bool:
    try:
        return _remedy(one, distance_pct).is_needed
    except ValueError:
        return True  # nobody can say that it is protected


def _words(one: Holding, distance_pct: Decimal, terms: VenueTerms) -> str:
    try:
        cure = _remedy(one, distance_pct)
    except ValueError as why:
        return str(why)
    if cure.place is None:
        return "every position has its stop"
    if cure.place.beyond:
        return f"{named(one.position)}: {_beyond_words(one, cure.place)}"
    when = "then" if terms.reduces_only else "but first"
    old = f", {when} cancel {len(cure.cancel)} that are too small or too far" if cure.cancel else ""
    placed, on = cure.place, terms.stop.trigger.removesuffix("_price")
    return f"{placed.side} {placed.size:f} {named(one.position)} at {placed.trigger_price:f} on {on}{old}"


def _beyond_words(one: Holding, stop: Stop) -> str:
    return f"mark {one.position.mark} is past {stop.trigger_price:f}, where its stop would stand: close it instead"


def _distance_pct(desk: Desk) -> Decimal:
    """Of the profile's level, else of the most careful one: a position without a stop is worse than a near stop."""
    return (limits_of(desk) or level_limits(RiskLevel.CONSERVATIVE)).stop_distance_pct
