"""A strategy that trades without rest and wants more than it may have, so that faults and limits hit something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpctl.engine.strategy import Desired, View
from perpctl.model.money import floor_to
from perpctl.model.order import Side


@dataclass(frozen=True, slots=True)
class RestlessParams:
    """Market time between two changes of mind."""

    every_ms: int = 12_000


class Restless:
    """Takes from one side, rests on both, takes from the other side, rests again."""

    name = "restless"

    def __init__(self) -> None:
        self.params = RestlessParams()
        self._next_ms = 0
        self._turn = 0

    def warm_up(self, closes: Sequence[tuple[int, Decimal]]) -> None:
        """Needs no history."""

    def on_market(self, view: View) -> Sequence[Desired] | None:
        if view.market_ms < self._next_ms:
            return None
        self._next_ms, self._turn = view.market_ms + self.params.every_ms, self._turn + 1
        size = floor_to(view.max_order / 2, view.instrument.size_step)
        tick = view.instrument.tick
        if self._turn % 2:
            buys = self._turn % 8 < 4  # two takes in a row to one side, so that positions build up
            price = view.ask + 50 * tick if buys else view.bid - 50 * tick
            return (Desired(Side.BUY if buys else Side.SELL, size, price, "takes", take=True),)
        return (
            Desired(Side.BUY, size, view.bid - 20 * tick, "rests"),
            Desired(Side.SELL, size, view.ask + 20 * tick, "rests"),
        )


class Greedy:
    """Buys, and buys again, whatever it holds: only the limits stop it."""

    name = "greedy"

    def __init__(self) -> None:
        self.params = RestlessParams(6_000)
        self._next_ms = 0

    def warm_up(self, closes: Sequence[tuple[int, Decimal]]) -> None:
        """Needs no history."""

    def on_market(self, view: View) -> Sequence[Desired] | None:
        if view.market_ms < self._next_ms:
            return None
        self._next_ms = view.market_ms + self.params.every_ms
        size = floor_to(view.max_order / 2, view.instrument.size_step)
        return (Desired(Side.BUY, size, view.ask + 50 * view.instrument.tick, "more", take=True),)
