"""This file sees to it that every position has its protective stop, and closes what cannot have one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from perpctl.engine import events as e
from perpctl.engine.state.product import Product
from perpctl.engine.state.working import Orders, Stage, Working
from perpctl.model.money import ZERO, price_down, price_up
from perpctl.model.order import OrderRequest, OrderType, Purpose, Side, TimeInForce, is_protective
from perpctl.model.venue.protection import Protection

HUNDRED = Decimal(100)
DRIFT = Decimal("0.1")  # of the stop's distance: nearer triggers are left where they are
RETRY_S = 1.0


@dataclass(frozen=True, slots=True)
class Guard:
    """Where the venue enforces reduce-only: a stop may be as large as it likes, it shrinks with its position.

    `distance_pct` from the average entry; a position is bare for at most `missing_s`; closes reach `collar_pct`.
    """

    protection: Protection
    distance_pct: Decimal
    missing_s: float
    collar_pct: Decimal
    new_identity: Callable[[], str]

    def look_after(self, product: Product, orders: Orders, now: float) -> list[e.Effect]:
        """What the position's cover asks for now; at most one stop is on its way at any time."""
        stops = orders.of(product.product_id, stops=True)
        _shrink(product, stops)
        if product.closing is not None:
            if product.closing in orders.ours:
                return []
            product.closing = None
        if not product.position:
            product.bare_since = None
            return [cancel_stop(stop, "nothing left to protect", now) for stop in resting(stops)]
        if self.covered(product, orders) >= abs(product.position):
            product.bare_since = None
            return self._tidy(product, stops, now)
        return self._cover(product, stops, now)

    def _cover(self, product: Product, stops: list[Working], now: float) -> list[e.Effect]:
        if product.bare_since is None:
            product.bare_since = now
        if now < product.retry_at:
            return []
        if now - product.bare_since > self.missing_s:
            return [self._close_all(product, now, f"no stop for {self.missing_s:g} s")]
        if any(stop.stage in {Stage.SENDING, Stage.UNKNOWN} for stop in stops):
            return []
        return [self._place(product, now, "protects the position")]

    def covers(self, product: Product, orders: Orders) -> bool:
        """Whether the whole position has its protective stop."""
        return self.covered(product, orders) >= abs(product.position)

    def close(self, product: Product, orders: Orders, now: float, reason: str) -> list[e.Effect]:
        """Close the position now, unless that is under way or was just refused."""
        under_way = product.closing is not None and product.closing in orders.ours
        if under_way or not product.position or now < product.retry_at:
            return []
        return [self._close_all(product, now, reason)]

    def exit(self, product: Product, orders: Orders, request: OrderRequest, reason: str, now: float) -> list[e.Effect]:
        """Carry out an exit of the strategy's: at once, for whatever else closes is capped by the venue."""
        return [e.PlaceEntry(request, reason)]

    def refused(self, product: Product, stops: list[Working], now: float) -> list[e.Effect]:
        """The venue took no new stop: make room by cancelling the smaller ones, and try again."""
        product.retry_at = now if resting(stops) else now + RETRY_S
        return [cancel_stop(stop, "makes room for a larger stop", now) for stop in resting(stops)]

    def is_outdated(self, product: Product, stop: Working) -> bool:
        """Whether the position has moved on since this stop was asked for."""
        return stop.request.size != abs(product.position)

    def covered(self, product: Product, orders: Orders) -> Decimal:
        """How much of the position its stops protect, base coin."""
        stops = orders.of(product.product_id, stops=True)
        mine = max((stop.cover for stop in serving(product, stops)), default=ZERO)
        others = (o for o in orders.foreign.values() if o.product_id == product.product_id)
        theirs = sum((o.remaining for o in others if is_protective(o, product.position)), ZERO)
        return max(mine, theirs)

    def _tidy(self, product: Product, stops: list[Working], now: float) -> list[e.Effect]:
        enough = [stop for stop in serving(product, stops) if stop.cover >= abs(product.position)]
        if not enough:
            return []
        kept = max(enough, key=lambda stop: stop.since)
        spare = [stop for stop in resting(stops) if stop is not kept]
        if spare:
            return [cancel_stop(stop, "another stop covers the position", now) for stop in spare]
        on_its_way = any(stop.stage is not Stage.RESTING for stop in stops)
        if on_its_way or now < product.retry_at or not self._has_drifted(product, kept):
            return []
        return [self._place(product, now, "the average entry moved")]

    def _has_drifted(self, product: Product, stop: Working) -> bool:
        entry, trigger = product.held.entry_price, stop.request.trigger_price
        if entry is None or trigger is None:
            return False
        return abs(self._trigger(product) - trigger) > entry * self.distance_pct / HUNDRED * DRIFT

    def _trigger(self, product: Product) -> Decimal:
        entry = product.held.entry_price or product.mark or ZERO
        reach, tick = entry * self.distance_pct / HUNDRED, product.instrument.tick
        return price_up(entry - reach, tick) if product.position > 0 else price_down(entry + reach, tick)

    def _place(self, product: Product, now: float, reason: str) -> e.Effect:
        if self._is_past(product):
            return self._close_all(product, now, f"the price is past where the stop belongs, {self._trigger(product)}")
        return self._stop(product, abs(product.position), reason)

    def _is_past(self, product: Product) -> bool:
        """Whether the price has met the stop already, so that it cannot be placed."""
        price = None if product.quote is None else self.protection.reference(product.quote)
        return price is not None and (price - self._trigger(product)) * product.position <= 0

    def _stop(self, product: Product, size: Decimal, reason: str) -> e.Effect:
        trigger, tick = self._trigger(product), product.instrument.tick
        side, name = product.closing_side, self.new_identity()
        return e.PlaceStop(self.protection.stop(name, product.product_id, side, size, trigger, tick), reason)

    def _close_all(self, product: Product, now: float, reason: str) -> e.Effect:
        product.retry_at = now + RETRY_S
        return self._close(product, abs(product.position), reason)

    def _close(self, product: Product, size: Decimal, reason: str, *, at_market: bool = False) -> e.Effect:
        side, price = product.closing_side, None if at_market else self._collared(product)
        return e.CloseNow(
            OrderRequest(
                identity=self.new_identity(),
                product_id=product.product_id,
                side=side,
                size=size,
                type=OrderType.MARKET if price is None else OrderType.LIMIT,
                price=price,
                time_in_force=TimeInForce.IOC,
                reduce_only=True,
                purpose=Purpose.CLOSE,
            ),
            reason,
        )

    def _collared(self, product: Product) -> Decimal | None:
        if product.mark is None:
            return None
        reach, tick = product.mark * self.collar_pct / HUNDRED, product.instrument.tick
        if product.closing_side is Side.SELL:
            return price_up(product.mark - reach, tick)
        return price_down(product.mark + reach, tick)


def _shrink(product: Product, stops: list[Working]) -> None:
    """A reduce-only order shrinks with its position and never grows again: nor does what we count on."""
    for stop in serving(product, stops):
        told = stop.order.remaining if stop.order is not None else stop.request.size
        stop.cover = min(stop.cover, told, abs(product.position))


def serving(product: Product, stops: list[Working]) -> list[Working]:
    return [stop for stop in resting(stops) if stop.request.side is product.closing_side]


def resting(stops: list[Working]) -> list[Working]:
    return [stop for stop in stops if stop.stage is Stage.RESTING and stop.order is not None]


def cancel_stop(stop: Working, reason: str, now: float) -> e.Effect:
    assert stop.order is not None
    stop.enter(Stage.CANCELLING, now)
    return e.CancelStop(stop.order, reason)
