"""A strategy that wishes once and then leaves all as it is: what becomes of its order is the bot's doing alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpctl.engine.strategy import Desired, View
from perpctl.model.money import price_down
from perpctl.model.order import Side


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
