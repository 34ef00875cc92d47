"""This file plans how positions are closed or shrunk, reduce-only, by the same ladder as the kill."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from msgspec.structs import replace

from perpctl.errors import UnknownState, UsageError
from perpctl.exchange.port import Confirmed, Exchange, VenueTerms
from perpctl.host.login import operator
from perpctl.model import flatten
from perpctl.model.flatten import Key, key_of
from perpctl.model.instrument import Instrument
from perpctl.model.money import ZERO, floor_to
from perpctl.model.order import Order
from perpctl.model.position import Position
from perpctl.procedures.closer import Aim, Closer, markets_of, one_closer
from perpctl.procedures.hand import Hand
from perpctl.questions import figures
from perpctl.results import Confirm, Done, Plan, Risk, Step, StepResult

if TYPE_CHECKING:
    from perpctl.desk import Desk


BARE = "has no stop now"


@dataclass(frozen=True, slots=True)
class Manner:
    """How hard to close: the rungs in force, as fractions through the touch; None is at market."""

    rungs: tuple[Decimal | None, ...]

    @classmethod
    def named(cls, *, market: bool, max_slippage: Decimal | None) -> Manner:
        """Raises UsageError when both are asked for: market has no bound."""
        if market and max_slippage is not None:
            raise UsageError("--market has no bound: give it or --max-slippage, not both", not_done="nothing was sent")
        return cls(flatten.ladder(max_slippage, at_market=market))


@dataclass(frozen=True, slots=True)
class Amount:
    """How much to take away, or (`to`) to keep: a share of the position, or a size in base coin or contracts."""

    value: Decimal
    share: bool
    to: bool
    typed: str
    unit: str = ""  # of a size, when it was typed

    @classmethod
    def given(cls, by: str | None, to: str | None) -> Amount:
        """From `--by 50%`, `--by 0.1`, `--by "0.1 BTC"`, `--by "12 contracts"` or `--to 0.5`. Raises UsageError."""
        if (by is None) == (to is None):
            raise _wrong('say either --by (50%, a size in base coin, or "12 contracts") or --to (a size)')
        text = by or to or ""
        share = text.endswith("%")
        number, _, unit = text.removesuffix("%").strip().partition(" ")
        try:
            value = Decimal(number)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value < 0 or (share and (to is not None or value > 100 or unit)):
            raise _wrong(f"{text!r} is no size in base coin{'' if to is not None else ' and no percentage (0 to 100)'}")
        if to is None and value == 0:
            raise _wrong(f"--by {text} reduces nothing")
        return cls(value, share, to is not None, f"--{'by' if to is None else 'to'} {shlex.quote(text)}", unit.strip())

    def sized(self, instrument: Instrument) -> Amount:
        """The same in base coin. Raises UsageError for another unit than the product's, and between two steps."""
        if self.unit.lower() in ("contract", "contracts"):
            if instrument.contract_size is None:
                raise _wrong(f"{instrument.symbol} is sized in {instrument.base} at this venue, not in contracts")
            if self.value != self.value.to_integral_value():
                raise _wrong(f"{self.typed}: contracts are whole")
            return Amount(self.value * instrument.contract_size, self.share, self.to, self.typed)
        self._check(instrument)
        return self

    def target(self, held: Decimal, instrument: Instrument) -> Decimal:
        """The size that should be left, in whole steps: a share is rounded down to one. Raises UsageError."""
        left = self.value if self.to else held - (held * self.value / 100 if self.share else self.value)
        if left > held or left < 0:
            raise _wrong(f"{self.typed} does not shrink a position of {held:f} {instrument.base}")
        sent = held if left == 0 else floor_to(held - left, instrument.size_step)
        if sent < instrument.min_size and held != left:
            raise _wrong(f"that is less than the smallest order, {instrument.min_size:f} {instrument.base}")
        return held - sent

    def _check(self, instrument: Instrument) -> None:
        if self.unit and self.unit.upper() != instrument.base:
            raise _wrong(f"{instrument.symbol} is sized in {instrument.base}, not in {self.unit}")
        step = instrument.size_step
        below = floor_to(self.value, step)
        if not self.share and below != self.value:
            near = f"{below if below else 0} or {below + step:f}" if below or self.to else f"at least {step:f}"
            raise _wrong(f"{self.typed}: {instrument.symbol} is sized in steps of {step:f} {instrument.base}: {near}")


def _wrong(message: str) -> UsageError:
    return UsageError(message, not_done="nothing was sent", next_commands=("perpctl positions",))


async def close_all(desk: Desk, manner: Manner) -> Plan:
    """Close every position of every slot."""
    exchange = await desk.exchange()
    name = "positions close-all"
    return await _plan(desk, (name, name), await exchange.positions(), {}, manner)


async def close(desk: Desk, symbol: str, slot: int | None, manner: Manner) -> Plan:
    """Close one product, in one slot or all of them."""
    named = f"positions close {symbol}{_slot(slot)}"
    return await _plan(desk, ("positions close", named), await _of(desk, symbol, slot), {}, manner)


async def reduce(desk: Desk, symbol: str, slot: int | None, amount: Amount, manner: Manner) -> Plan:
    """Shrink one product by a share or a size, or to a size."""
    instrument = await (await desk.exchange()).instrument(symbol)
    amount = amount.sized(instrument)
    positions = await _of(desk, symbol, slot)
    targets = {key_of(one): amount.target(abs(one.size), instrument) for one in positions}
    named = f"positions reduce {symbol}{_slot(slot)} {amount.typed}"
    return await _plan(desk, ("positions reduce", named), positions, targets, manner)


def _slot(slot: int | None) -> str:
    return "" if slot is None else f" --slot {slot}"


async def _of(desk: Desk, symbol: str, slot: int | None) -> tuple[Position, ...]:
    exchange = await desk.exchange()
    instrument = await exchange.instrument(symbol)
    held = tuple(one for one in await exchange.positions() if one.product_id == instrument.product_id)
    return held if slot is None else tuple(one for one in held if one.slot == slot)


async def _plan(
    desk: Desk, named: tuple[str, str], positions: tuple[Position, ...], targets: Mapping[Key, Decimal], manner: Manner
) -> Plan:
    """`named`: the plan and what was typed for it. `targets` are the sizes to keep; one without is closed."""
    exchange = await desk.exchange()
    aims = {key_of(one): Aim(targets.get(key_of(one), Decimal(0)), one.size) for one in positions}

    async def preview() -> str:
        markets = await markets_of(exchange, positions)
        terms = exchange.terms
        words = [_preview_words(one, aims[key_of(one)], markets[one.product_id], manner, terms) for one in positions]
        words += () if terms.reduces_only else await _in_the_way(exchange, aims)
        return "; ".join(words) or "nothing is held"

    async def perform() -> StepResult:
        if not aims:
            return StepResult(Done.NOTHING_TO_DO, "nothing is held")
        desk.journal()  # makes the directory that the lock is in
        with one_closer(desk.settings.state_dir):
            if exchange.terms.reduces_only:
                result = await Closer(desk, exchange, aims, manner.rungs).run()
            else:
                result = await _close_beside_stops(desk, exchange, aims, manner)
        if result.done in (Done.DONE, Done.NOTHING_TO_DO):
            return _followed(result, f"perpctl -p {desk.settings.profile} positions")
        in_the_way = () if exchange.terms.reduces_only else await _in_the_way(exchange, aims)
        names = ("stops place",) * any(BARE in one for one in result.left) + ("cancel-all",) * bool(in_the_way)
        names += (f"{command} --market", "positions")
        result = replace(result, left=(*result.left, *in_the_way))
        return _followed(result, *(f"perpctl -p {desk.settings.profile} {name}" for name in names))

    closed = frozenset(key for key, aim in aims.items() if aim.target == 0)
    steps = [Step("close", "close positions", preview, perform)]
    if closed:
        steps.append(_leftover_stops(desk, exchange, closed))
    sides = ";".join(f"{one.product_id}/{one.slot}:{one.size > 0}" for one in positions)
    confirm = Confirm.YES if aims else Confirm.NONE
    name, command = named
    return Plan(name, await desk.scope(), Risk.LOWERS, confirm, sides, tuple(steps), command=command)


def _followed(result: StepResult, *commands: str) -> StepResult:
    return replace(result, facts={**result.facts, "next": list(commands)})


async def _in_the_way(exchange: Exchange, aims: Mapping[Key, Aim]) -> tuple[str, ...]:
    """What rests on the closing side of what is left: where no order is bound to reduce, a close leaves it room."""
    try:
        orders, positions = await asyncio.gather(exchange.open_orders(), exchange.positions())
    except UnknownState:
        return ()  # the result says already what could not be read
    standing = flatten.sort_standing(orders, positions)
    left = {key_of(one): one.size for one in standing.positions if key_of(one) in aims}
    found = (one for one in standing.limits if one.side.sign * left.get(key_of(one), ZERO) < 0)
    return tuple(
        f"{one.side} {one.remaining:f} {one.product_id} rests, {one.order_id}: filled beside a close of everything it "
        "would turn the position around"
        for one in found
    )


async def _close_beside_stops(desk: Desk, exchange: Exchange, aims: Mapping[Key, Aim], manner: Manner) -> StepResult:
    """Where no order is bound to reduce, a stop that fires beside a close turns the position around.

    So one step of size is closed first, which proves that closing works; then the stops of what is closed go, and only
    when they read as ended the rest is closed. If nothing can be closed the stops stay. Of what is only
    shrunk they go first too. Whatever is left after all, wanted or not, gets its stop back, in its size.
    """
    whole = {key: aim for key, aim in aims.items() if aim.target == 0}
    steps = {one.product_id: one.size_step for one in await exchange.instruments()}
    first = {key: Aim(abs(aim.start) - steps.get(key[0], abs(aim.start)), aim.start) for key, aim in whole.items()}
    orders, positions = await asyncio.gather(exchange.open_orders(), exchange.positions())
    guards = [one for one in flatten.sort_standing(orders, positions).stops if key_of(one) in aims]
    rest = Closer(desk, exchange, aims, manner.rungs)
    if guards:
        one_step = Closer(desk, exchange, {key: aim for key, aim in first.items() if aim.target}, manner.rungs)
        tried = await one_step.run() if one_step.aims else StepResult(Done.NOTHING_TO_DO, "")
        if tried.done not in (Done.DONE, Done.NOTHING_TO_DO):
            return tried
        hand = Hand(desk, exchange, operator(), "its position is being closed")
        ends = list(zip(guards, await hand.cancel(guards), strict=True))
        standing = [one.order_id for one, end in ends if not isinstance(end, Confirmed)]
        if standing:
            words = f"these stops still stand, and could turn the position around: {', '.join(standing)}"
            result = StepResult(Done.PARTIAL, words, tuple(standing))
        else:
            rest.goes_on_from(one_step)
            result = await rest.run()
        return await _put_back(exchange, hand, [one for one, end in ends if isinstance(end, Confirmed)], result)
    return await rest.run()


async def _put_back(exchange: Exchange, hand: Hand, taken: list[Order], result: StepResult) -> StepResult:
    """The stop of what is left, at the trigger that the nearest of those that were taken away had."""
    try:
        positions = await exchange.positions()
    except UnknownState as why:
        bare = f"whether what is left has a stop is not known ({why.message})"
        return replace(result, done=Done.UNKNOWN, left=(*result.left, bare))
    notes, left = list(result.notes), list(result.left)
    for position in positions:
        mine = [one for one in taken if key_of(one) == key_of(position) and one.side.sign * position.size < 0]
        nearest = max(mine, key=lambda one: -one.side.sign * (one.trigger_price or ZERO), default=None)
        if nearest is None or nearest.trigger_price is None:
            continue
        instrument, size, at = await exchange.instrument(position.product_id), abs(position.size), nearest.trigger_price
        stop = exchange.terms.stop.stop(
            hand.new_identity(), position.product_id, nearest.side, size, at, instrument.tick
        )
        outcome = await hand.place(stop, instrument)
        if isinstance(outcome, Confirmed):
            notes.append(f"its stop again: {outcome.order.order_id} {nearest.side} {size:f} at {at:f}")
        else:
            left.append(f"{position.product_id} {position.size:+f} {BARE}")
    done = Done.PARTIAL if len(left) > len(result.left) and result.done is Done.DONE else result.done
    return replace(result, done=done, left=tuple(left), notes=tuple(notes))


def _leftover_stops(desk: Desk, exchange: Exchange, closed: frozenset[Key]) -> Step:
    """Cancels the stops of what was closed: left standing they would guard the next position at an old price."""

    async def standing() -> flatten.Standing:
        orders, positions = await asyncio.gather(exchange.open_orders(), exchange.positions())
        return flatten.sort_standing(orders, positions)

    async def preview() -> str:
        now = await standing()
        orphans = [one for one in (*now.stops, *now.orphans) if key_of(one) in closed]
        return f"cancel the stops of what then reads zero: {_ids(orphans) or 'none'}"

    async def perform() -> StepResult:
        orphans = [one for one in (await standing()).orphans if key_of(one) in closed]
        if orphans:
            await Hand(desk, exchange, operator(), "its position is closed").cancel(orphans)
        now = await standing()
        left = [one for one in now.orphans if key_of(one) in closed]
        resting = [one for one in now.entries if key_of(one) in closed]
        notes: tuple[str, ...] = ()
        if resting:
            rest = figures.count(len(resting), "entry rests", "entries rest")
            notes = (f"{rest} and can open it again: {_ids(resting)}",)
        if left:
            return StepResult(Done.PARTIAL, f"these stops still stand: {_ids(left)}", (_ids(left), *notes))
        done = Done.DONE if orphans else Done.NOTHING_TO_DO
        gone = figures.count(len(orphans), "leftover stop")
        return StepResult(done, f"{gone} cancelled, read back gone" if orphans else "there is none", notes)

    return Step("stops", "cancel leftover stops", preview, perform)


def _preview_words(position: Position, aim: Aim, market: flatten.Market, manner: Manner, terms: VenueTerms) -> str:
    first = manner.rungs[0]
    touch = market.bid if position.size > 0 else market.ask
    there = "an empty book" if touch is None else f"{touch:,f}"
    limit = "limit IOC" if terms.limit_at_once else "at market, no more than stands"
    how = "at market" if first is None else f"{limit} up to {first * 100:.2f} % through {there}"
    bound = "reduce-only" if terms.reduces_only else "never more than is held"
    side = "SELL" if position.size > 0 else "BUY"
    slot = "" if position.slot is None else f" iso {position.slot}"
    return f"{side} {abs(position.size) - aim.target:f} {position.product_id}{slot}, {bound}, {how}"


def _ids(orders: list[Order]) -> str:
    return ", ".join(order.order_id for order in orders)
