"""This file closes or shrinks positions, reduce-only, by the same ladder as the kill, until reads show it done."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING

from perpctl.desk import operator
from perpctl.errors import UsageError
from perpctl.exchange.port import Absent, Confirmed, Exchange, Refused, Settled
from perpctl.model import flatten
from perpctl.model.flatten import Climb, Close, Key, key_of
from perpctl.model.instrument import Instrument
from perpctl.model.money import floor_to
from perpctl.model.position import Position
from perpctl.procedures.hand import Hand, close_request
from perpctl.results import Confirm, Done, Json, Plan, Risk, Step, StepResult

if TYPE_CHECKING:
    from perpctl.desk import Desk

DEADLINE_S = 120.0
ROUND_S = 0.3
READS_TO_BELIEVE = 2


@dataclass(frozen=True, slots=True)
class Aim:
    """What a position should come to: `target` is an absolute size in base coin, zero to close it."""

    key: Key
    target: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Manner:
    """How hard to close: the rungs in force, as fractions through the touch; None is at market."""

    rungs: tuple[Decimal | None, ...]

    @classmethod
    def named(cls, *, market: bool, max_slippage: Decimal | None) -> Manner:
        return cls(flatten.ladder(max_slippage, at_market=market))


async def close_all(desk: Desk, manner: Manner) -> Plan:
    """Close every position of every slot."""
    exchange = await desk.exchange()
    positions = await exchange.positions()
    return await _plan(desk, "positions close-all", positions, {key_of(one): Decimal(0) for one in positions}, manner)


async def close(desk: Desk, symbol: str, slot: int | None, manner: Manner) -> Plan:
    """Close one product, in one slot or all of them."""
    positions = await _of(desk, symbol, slot)
    return await _plan(desk, "positions close", positions, {key_of(one): Decimal(0) for one in positions}, manner)


async def reduce(desk: Desk, symbol: str, slot: int | None, amount: Amount, manner: Manner) -> Plan:
    """Shrink one product by a share or a size, or to a size."""
    exchange = await desk.exchange()
    instrument = await exchange.instrument(symbol)
    positions = await _of(desk, symbol, slot)
    targets = {key_of(one): amount.target(abs(one.size), instrument) for one in positions}
    return await _plan(desk, "positions reduce", positions, targets, manner)


@dataclass(frozen=True, slots=True)
class Amount:
    """`--by 50%`, `--by 0.1` or `--to 0.5`, in base coin."""

    text: str
    to: bool

    @classmethod
    def given(cls, by: str | None, to: str | None) -> Amount:
        """Raises UsageError unless exactly one of the two was given."""
        if (by is None) == (to is None):
            raise UsageError(
                "say either --by (50%, or a size in base coin) or --to (a size in base coin)",
                not_done="nothing was sent",
            )
        return cls(by or to or "", to is not None)

    def target(self, held: Decimal, instrument: Instrument) -> Decimal:
        """The size that should be left, in whole steps. Raises UsageError."""
        number, share = self.text.removesuffix("%").strip(), self.text.endswith("%")
        try:
            value = Decimal(number)
        except InvalidOperation:
            value = Decimal("NaN")
        if not value.is_finite() or value < 0 or (share and (self.to or value > 100)):
            raise self._wrong(f"{self.text!r} is no size in {instrument.base} and no percentage to reduce by")
        left = value if self.to else held - (held * value / 100 if share else value)
        if left > held or left < 0:
            raise self._wrong(f"{self.text} does not shrink a position of {held:f} {instrument.base}")
        sent = floor_to(held - left, instrument.size_step)
        if sent < instrument.min_size and held != left:
            raise self._wrong(f"that is less than the smallest order, {instrument.min_size:f} {instrument.base}")
        return held - sent

    @staticmethod
    def _wrong(message: str) -> UsageError:
        return UsageError(message, not_done="nothing was sent", next_commands=("perpctl positions",))


async def _of(desk: Desk, symbol: str, slot: int | None) -> tuple[Position, ...]:
    exchange = await desk.exchange()
    instrument = await exchange.instrument(symbol)
    held = tuple(one for one in await exchange.positions() if one.product_id == instrument.product_id)
    return held if slot is None else tuple(one for one in held if one.slot == slot)


async def _plan(
    desk: Desk, name: str, positions: tuple[Position, ...], targets: Mapping[Key, Decimal], manner: Manner
) -> Plan:
    exchange = await desk.exchange()

    async def preview() -> str:
        markets = await _markets(exchange, positions)
        words = [_preview_words(one, targets[key_of(one)], markets[one.product_id], manner) for one in positions]
        return "; ".join(words) or "nothing is held"

    async def perform() -> StepResult:
        closer = _Closer(desk, exchange, targets, manner)
        return await closer.run()

    sizes = ";".join(f"{one.product_id}/{one.slot}:{one.size > 0}" for one in positions)
    step = Step("close", "close positions", preview, perform)
    return Plan(name, await desk.scope(), Risk.LOWERS, Confirm.YES, sizes, (step,))


def _preview_words(position: Position, target: Decimal, market: flatten.Market, manner: Manner) -> str:
    first = manner.rungs[0]
    touch = market.bid if position.size > 0 else market.ask
    how = "at market" if first is None else f"limit IOC up to {first * 100:.2f} % through {touch or 'an empty book'}"
    side = "SELL" if position.size > 0 else "BUY"
    return f"{side} {abs(position.size) - target:f} {position.product_id}, reduce-only, {how}"


@dataclass(slots=True)
class _Closer:
    """Round after round: fresh positions, fresh books, one order in flight a position, until reads agree."""

    desk: Desk
    exchange: Exchange
    targets: Mapping[Key, Decimal]
    manner: Manner
    climbs: dict[Key, Climb] = field(default_factory=dict)
    orders: int = 0
    refusals: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    async def run(self) -> StepResult:
        hand = Hand(self.desk, self.exchange, operator(), "close")
        start: dict[Key, Decimal] | None = None
        until, agreeing = self.desk.clock.monotonic() + DEADLINE_S, 0
        while True:
            left = self._above(await self.exchange.positions())
            start = start if start is not None else {key_of(one): one.size for one in left}
            agreeing = 0 if left else agreeing + 1
            given_up = all(flatten.is_exhausted(self._climb(one), self.manner.rungs) for one in left)
            if agreeing == READS_TO_BELIEVE or (left and given_up) or self.desk.clock.monotonic() >= until:
                return self._result(left, agreeing)
            if left:
                await self._round(hand, left, start)
            await self.desk.clock.sleep(ROUND_S if left else flatten.READS_APART_S)

    async def _round(self, hand: Hand, left: tuple[Position, ...], start: Mapping[Key, Decimal]) -> None:
        markets = await _markets(self.exchange, left)
        excess = tuple(self._excess(one) for one in left)
        by_key = {key_of(one): one for one in left}
        for close in flatten.next_closes(excess, markets, self.climbs, self.manner.rungs, start):
            key = key_of(close)
            filled = await self._send(hand, close, by_key[key])
            self.climbs[key] = self._climb(by_key[key]).after(filled)

    async def _send(self, hand: Hand, close: Close, position: Position) -> Decimal:
        """Sends one close and returns what it filled, as far as the venue told."""
        self.orders += 1
        instrument = await self.exchange.instrument(close.product_id)
        target = self.targets[key_of(close)]
        whole = close.size is None and target == 0
        if whole and not position.units_agree:
            return self._told(await hand.close_whole(position, instrument))
        size = close.size if close.size is not None else abs(position.size) - target
        return self._told(await hand.place(close_request(hand.new_identity(), position, size, close.price), instrument))

    def _told(self, outcome: Settled | Refused) -> Decimal:
        match outcome:
            case Confirmed(order, _):
                return order.filled
            case Refused(code, reason):
                self.refusals.append(f"{code or ''} {reason}".strip())
            case Absent(evidence):
                self.refusals.append(f"never arrived ({evidence})")
            case _:
                self.unknown.append(outcome.cause)
        return Decimal(0)

    def _above(self, positions: tuple[Position, ...]) -> tuple[Position, ...]:
        """The positions meant, while they are larger than they should be."""
        meant = (one for one in positions if key_of(one) in self.targets)
        return tuple(one for one in meant if abs(one.size) > self.targets[key_of(one)])

    def _excess(self, position: Position) -> Position:
        """The part to be closed, as a position of its own for the ladder to size."""
        excess = abs(position.size) - self.targets[key_of(position)]
        return replace(position, size=excess.copy_sign(position.size))

    def _climb(self, position: Position) -> Climb:
        return self.climbs.get(key_of(position), Climb())

    def _result(self, left: tuple[Position, ...], agreeing: int) -> StepResult:
        facts: dict[str, Json] = {
            "orders": self.orders,
            "refusals": list(self.refusals),
            "left": [{"product_id": one.product_id, "slot": one.slot, "size": f"{one.size:f}"} for one in left],
        }
        notes = [*self.refusals[-3:], *self.unknown[-3:]]
        if agreeing == READS_TO_BELIEVE:
            done = Done.DONE if self.orders else Done.NOTHING_TO_DO
            words = f"{self.orders} orders; {READS_TO_BELIEVE} reads a second apart agree"
            return StepResult(done, "; ".join([words, *notes]), (), facts)
        names = tuple(f"{one.product_id} {one.size:+f}" for one in left)
        done = Done.UNKNOWN if self.unknown or not left else Done.PARTIAL
        return StepResult(done, "; ".join([f"{self.orders} orders", *notes]), names, facts)


async def _markets(exchange: Exchange, positions: tuple[Position, ...]) -> dict[str, flatten.Market]:
    products = tuple(dict.fromkeys(one.product_id for one in positions))
    quotes = await asyncio.gather(*map(exchange.quote, products))
    found: dict[str, flatten.Market] = {}
    for product, quote in zip(products, quotes, strict=True):
        instrument = await exchange.instrument(product)
        found[product] = flatten.Market(
            product,
            instrument.base,
            instrument.tick,
            instrument.size_step,
            quote.bid,
            quote.ask,
            quote.band_low,
            quote.band_high,
        )
    return found
