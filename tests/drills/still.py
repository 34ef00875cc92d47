"""Strategies that wish once and then leave all as it is: what becomes of their order is the bot's doing alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from perpctl.engine.strategy import Desired, View
from perpctl.model.money import price_down, price_up
from perpctl.model.order import Side

AGAIN_MS = 3_000
TOLERANCE = Decimal("0.0005")


@dataclass(frozen=True)
class StillParams:
    """How far under the market the one bid rests."""

    away: Decimal = Decimal("0.004")


class Still:
    """One bid of three steps, too far away to fill."""

    name = "still"

    def __init__(self) -> None:
        self.params = StillParams()
        self._asked = False

    def warm_up(self, closes: Sequence[tuple[int, Decimal]]) -> None:
        """Needs no history."""

    def on_market(self, view: View) -> Sequence[Desired] | None:
        if self._asked:
            return None
        self._asked = True
        tick, price = view.instrument.tick, view.mid * (1 - self.params.away)
        return (Desired(Side.BUY, 3 * view.instrument.size_step, price_down(price, tick), "once", tolerance=tick),)


class Follower(Still):
    """The bid follows the market at its distance, and is never met."""

    name = "follower"

    def on_market(self, view: View) -> Sequence[Desired]:
        self._asked = False
        return tuple(replace(wish, tolerance=view.mid * TOLERANCE) for wish in super().on_market(view) or ())


class Holder(Still):
    """Takes the same, again every few seconds until it holds something, and then holds it."""

    name = "holder"
    _asked_ms = 0

    def on_market(self, view: View) -> Sequence[Desired] | None:
        if view.position:
            self._asked = True
            return ()
        if self._asked or view.market_ms - self._asked_ms < AGAIN_MS:
            return None
        self._asked_ms = view.market_ms
        price = price_up(view.mid * (1 + self.params.away), view.instrument.tick)
        return (Desired(Side.BUY, 3 * view.instrument.size_step, price, "once", take=True),)


class Leaver(Holder):
    """Takes three steps, holds them for a few seconds, takes two of them back, and holds the third."""

    name = "leaver"
    _held_ms: int | None = None

    def on_market(self, view: View) -> Sequence[Desired] | None:
        step = view.instrument.size_step
        if view.position != 3 * step:
            return () if self._asked else super().on_market(view)
        self._asked = True
        self._held_ms = self._held_ms or view.market_ms
        if view.market_ms - self._held_ms < AGAIN_MS or view.market_ms - self._asked_ms < AGAIN_MS:
            return None
        self._asked_ms = view.market_ms
        price = price_down(view.mid * (1 - self.params.away), view.instrument.tick)
        return (Desired(Side.SELL, 2 * step, price, "two of three", take=True),)
