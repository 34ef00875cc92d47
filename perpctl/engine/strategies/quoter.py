"""This file is the two-sided quoter: a bid and an ask around the mid, leaning against the inventory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpctl.engine.strategy import Desired, View
from perpctl.model.money import ZERO, floor_to, price_down, price_up
from perpctl.model.order import Side

BP = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class QuoterParams:
    """Distances in basis points of the mid."""

    half_spread_bp: Decimal = Decimal("4")
    skew_bp: Decimal = Decimal("4")  # how far both quotes lean when the inventory is full
    tolerance_bp: Decimal = Decimal("2")  # a quote nearer than this to where it should be stays
    slices: int = 10  # quotes that fill the largest position
    day_share: Decimal = Decimal("0.6")  # of the day's orders; stops and operators need the rest
    at_will: Decimal = Decimal("0.2")  # of that share, spent when the market asks for it; the rest evenly


class Quoter:
    """Quotes both sides; the side that would grow a full inventory is left out.

    The mid is shifted by `skew_bp` times the inventory's share of the largest position, against the inventory.
    """

    name = "quoter"

    def __init__(self, params: QuoterParams | None = None) -> None:
        self.params = params or QuoterParams()
        self._centre: Decimal | None = None
        self._position = ZERO
        self.waits = ""

    def warm_up(self, closes: Sequence[tuple[int, Decimal]]) -> None:
        """Needs no history."""

    def on_market(self, view: View) -> Sequence[Desired] | None:
        """New quotes when the fair price or the inventory has moved, and the day's orders allow."""
        if not view.may_increase or not view.target_max:
            return ()
        share = max(Decimal(-1), min(Decimal(1), view.position / view.target_max))
        centre = view.mid * (1 - share * self.params.skew_bp * BP)
        tolerance = view.mid * self.params.tolerance_bp * BP
        at_rest = self._centre is not None and abs(centre - self._centre) < tolerance
        if (at_rest and view.position == self._position) or not self._may_spend(view):
            return None
        self._centre, self._position = centre, view.position
        return self._quotes(view, centre, tolerance)

    def _may_spend(self, view: View) -> bool:
        used, share = view.orders_a_day - view.orders_left, view.orders_a_day * self.params.day_share
        due = share * (self.params.at_will + (1 - self.params.at_will) * (1 - view.day_left))
        may = used + 2 <= due
        told = f"{view.orders_a_day} orders a day, {share:.0f} of them quotes, spread over it"
        self.waits = "" if may else f"{used} sent, {due:.0f} due by now ({told})"
        return may

    def _quotes(self, view: View, centre: Decimal, tolerance: Decimal) -> tuple[Desired, ...]:
        half = view.mid * self.params.half_spread_bp * BP
        slice_ = min(view.max_order, view.target_max / self.params.slices)
        bid = min(price_down(centre - half, view.instrument.tick), view.ask - view.instrument.tick)
        ask = max(price_up(centre + half, view.instrument.tick), view.bid + view.instrument.tick)
        lean = "" if not view.position else f", inventory {'long' if view.position > 0 else 'short'}"
        wanted = (
            Desired(Side.BUY, self._room(slice_, view, 1), bid, f"requote{lean}", tolerance=tolerance),
            Desired(Side.SELL, self._room(slice_, view, -1), ask, f"requote{lean}", tolerance=tolerance),
        )
        return tuple(quote for quote in wanted if quote.size >= view.instrument.min_size)

    @staticmethod
    def _room(slice_: Decimal, view: View, sign: int) -> Decimal:
        """What a quote may add: up to the largest position, or to nothing where funding closes the side."""
        side = Side.BUY if sign > 0 else Side.SELL
        room = (ZERO if side in view.closed else view.target_max) - sign * view.position
        return floor_to(max(ZERO, min(slice_, room)), view.instrument.size_step)
