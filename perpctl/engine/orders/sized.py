"""This file protects positions where the venue knows no reduce-only: size is all that keeps a stop from turning them.

Together the stops of a position are never meant to be larger than it. So a grown position gets another stop for the
difference, a shrunken one loses a stop before it gets a smaller one, and a position is closed only when whatever else
could close it has been read gone; a close that fails leaves the position to be covered again at once. An exit of the
strategy's goes the same way: whatever would close more beside it than is held is taken away before it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from perpctl.engine import events as e
from perpctl.engine.state.guard import RETRY_S, Guard, cancel_stop, resting, serving
from perpctl.engine.state.product import Leaving, Product
from perpctl.engine.state.working import Orders, Stage, Working
from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderRequest, OrderStatus, Purpose

MOST_STOPS = 3  # of one position; a further one waits until the two smallest are gone, and takes their place
EXIT_S = 5.0  # an exit that what stands beside it held up for so long is another day's decision
STUCK_S = 60.0  # a position that orders of others hold is told of again after so long


@dataclass(frozen=True, slots=True)
class SizedGuard(Guard):
    """Covers by size, closes only what nothing else can close."""

    def look_after(self, product: Product, orders: Orders, now: float) -> list[e.Effect]:
        stops = orders.of(product.product_id, stops=True)
        for stop in stops:
            _count(stop, now)
        closing = orders.ours.get(product.closing or "")
        if closing is None:
            product.closing = None
        if not product.position:
            product.bare_since = product.leaving = None
            return [cancel_stop(stop, "nothing left to protect", now) for stop in resting(stops)]
        if closing is not None:  # of unknown outcome it may never come: then the stop has to stand again
            return self._resize(product, orders, now) if closing.stage is Stage.UNKNOWN else []
        told = self._unfilled(product, stops, now)
        self._forget_late_exit(product, now)
        if product.leaving is not None:
            return told + self._leave(product, orders, now)
        return told + self._resize(product, orders, now)

    def covered(self, product: Product, orders: Orders) -> Decimal:
        mine = serving(product, orders.of(product.product_id, stops=True))
        return sum((stop.cover for stop in mine), ZERO) + sum((o.remaining for o in _theirs(product, orders)), ZERO)

    def close(self, product: Product, orders: Orders, now: float, reason: str) -> list[e.Effect]:
        leaves = product.leaving is not None and product.leaving.exit is None
        under_way = leaves or (product.closing is not None and product.closing in orders.ours)
        if under_way or not product.position or now < product.close_at:
            return []
        self._go(product, reason)
        return self.look_after(product, orders, now)

    def exit(self, product: Product, orders: Orders, request: OrderRequest, reason: str, now: float) -> list[e.Effect]:
        if product.leaving is not None or product.closing in orders.ours:
            return []
        self._go(product, reason, exit=request, until=now + EXIT_S)
        return self.look_after(product, orders, now)

    def refused(self, product: Product, stops: list[Working], now: float) -> list[e.Effect]:
        product.retry_at = now + RETRY_S
        return []

    def is_outdated(self, product: Product, stop: Working) -> bool:
        return product.changed_at > stop.since

    # --- cover

    def _resize(self, product: Product, orders: Orders, now: float) -> list[e.Effect]:
        """At most one change at a time, and none beside one that is under way."""
        stops = orders.of(product.product_id, stops=True)
        mine = serving(product, stops)
        left = abs(product.position) - self.covered(product, orders)
        if left <= 0:
            product.bare_since = None
        elif product.bare_since is None:
            product.bare_since = now
        astray = [stop for stop in resting(stops) if stop.request.side is not product.closing_side]
        if astray:
            return [cancel_stop(stop, "protects nothing", now) for stop in astray]
        if self._is_bare_too_long(product, now):
            self._go(product, f"no stop for {self.missing_s:g} s")
            return self._leave(product, orders, now)
        if any(stop.stage is not Stage.RESTING for stop in stops) or now < product.retry_at:
            return []
        if left < 0:
            return [cancel_stop(stop, "larger than the position", now) for stop in _too_many(mine, -left)]
        if left > 0:
            return self._add(product, orders, left, now)
        drifted = [stop for stop in mine if self._has_drifted(product, stop)]
        return [cancel_stop(stop, "the average entry moved", now) for stop in drifted[:1]]

    def _is_bare_too_long(self, product: Product, now: float) -> bool:
        since = product.bare_since
        return since is not None and product.closing is None and product.close_at <= now > since + self.missing_s

    def _add(self, product: Product, orders: Orders, missing: Decimal, now: float) -> list[e.Effect]:
        mine = serving(product, orders.of(product.product_id, stops=True))
        if len(mine) >= MOST_STOPS:
            smallest = sorted(mine, key=lambda stop: stop.cover)[:2]
            return [cancel_stop(stop, "gives way to one larger stop", now) for stop in smallest]
        if self._is_past(product):
            if product.closing is not None or now < product.close_at:
                return []
            self._go(product, f"the price is past where the stop belongs, {self._trigger(product)}")
            return self._leave(product, orders, now)
        return [self._stop(product, missing, "protects the position")]

    # --- leaving

    def _unfilled(self, product: Product, stops: Iterable[Working], now: float) -> list[e.Effect]:
        """A stop that fired and did not fill protects nothing: what it protected is closed at market."""
        within_s = self.protection.fills_within_s
        fired = [stop.fired_at for stop in stops if stop.fired_at is not None]
        late = within_s is not None and fired and now - min(fired) > within_s
        if not late or (product.leaving is not None and product.leaving.at_market) or now < product.close_at:
            return []
        why = f"a stop was triggered and did not fill within {within_s:g} s"
        self._go(product, why, at_market=True)
        return [e.Alert(4, "stop not filled", f"{why}: closing at market", product.product_id)]

    def _go(
        self,
        product: Product,
        reason: str,
        *,
        at_market: bool = False,
        exit: OrderRequest | None = None,
        until: float | None = None,
    ) -> None:
        product.leaving, product.waiting = Leaving(reason, at_market, exit, until), ()

    def _forget_late_exit(self, product: Product, now: float) -> None:
        """What it was decided for has passed, or turned around: the position is covered again as it is."""
        leaving = product.leaving
        if leaving is None or leaving.exit is None or leaving.until is None:
            return
        if now > leaving.until or leaving.exit.side is not product.closing_side:
            product.leaving = None

    def _leave(self, product: Product, orders: Orders, now: float) -> list[e.Effect]:
        """First everything of ours that could close too is read gone; then the close, of what nothing else may close.

        A stop that no answer ever showed is waited for only so long: it may not exist, and the position is bare.
        """
        assert product.leaving is not None
        leaving = product.leaving
        beside = [one for one in orders.ours.values() if _closes_too(product, one)]
        wanted = abs(product.position) if leaving.exit is None else min(leaving.exit.size, abs(product.position))
        if standing := _in_the_way(product, beside, wanted):
            return [_take_away(one, now) for one in standing]
        kept = [one for one in beside if _stands(one)]
        if any(self._is_waited_for(one, product, now) for one in beside if one not in kept):
            return []
        counted = sum((one.remaining for one in beside if one in kept or not one.is_stop), ZERO)
        theirs = sum((one.remaining for one in _others(product, orders)), ZERO)
        size = min(wanted, abs(product.position) - counted - theirs)
        product.leaving = None
        if size < product.instrument.min_size:
            product.close_at = now + STUCK_S
            text = f"not closed ({leaving.reason}): orders that are not this bot's may close it too; cancel them first"
            return [e.Alert(4, "close held up", text, product.product_id)]
        product.close_at = now + RETRY_S
        product.retry_at = now  # refused or unknown, the stop goes back at once
        if leaving.exit is not None:
            purpose = Purpose.CLOSE if size == abs(product.position) else Purpose.REDUCE
            return [e.CloseNow(replace(leaving.exit, size=size, purpose=purpose), leaving.reason, exit=True)]
        return [self._close(product, size, leaving.reason, at_market=leaving.at_market)]

    def _is_waited_for(self, beside: Working, product: Product, now: float) -> bool:
        """Whether it is to be read gone before the close; a stop never shown, no longer than bare is allowed."""
        if beside.order is not None or beside.booked or beside.stage is Stage.SENDING:
            return True
        bare_since = beside.since if product.bare_since is None else product.bare_since
        return beside.is_stop and now - bare_since <= self.missing_s


def _count(stop: Working, now: float) -> None:
    """What a stop covers is what is left of it; when it was first seen fired."""
    if stop.order is None:
        return
    stop.cover = stop.order.remaining
    if stop.order.status is OrderStatus.TRIGGERED and stop.fired_at is None:
        stop.fired_at = now


def _too_many(mine: list[Working], excess: Decimal) -> list[Working]:
    """The smallest stop that takes the excess with it; all of them when none does."""
    enough = [stop for stop in mine if stop.cover >= excess]
    return [min(enough, key=lambda stop: stop.cover)] if enough else mine


def _closes_too(product: Product, working: Working) -> bool:
    request = working.request
    return request.product_id == product.product_id and request.side is product.closing_side


def _stands(working: Working) -> bool:
    return working.stage is Stage.RESTING and working.order is not None


def _in_the_way(product: Product, beside: list[Working], wanted: Decimal) -> list[Working]:
    """What stands at the venue and goes before so much is closed: every entry, and of the stops what is too much."""
    standing = [one for one in beside if _stands(one)]
    if wanted == abs(product.position):
        return standing
    stops = [one for one in standing if one.is_stop]
    excess = wanted + sum((one.cover for one in stops), ZERO) - abs(product.position)
    return [one for one in standing if not one.is_stop] + (_too_many(stops, excess) if stops and excess > 0 else [])


def _take_away(working: Working, now: float) -> e.Effect:
    assert working.order is not None
    working.renews = False
    if working.is_stop:
        return cancel_stop(working, "goes before the close", now)
    working.enter(Stage.CANCELLING, now)
    return e.CancelEntry(working.order, "goes before the close")


def _others(product: Product, orders: Orders) -> list[Order]:
    """Orders not of this bot that can close the position."""
    place = (product.product_id, product.closing_side)
    return [one for one in orders.foreign.values() if (one.product_id, one.side) == place]


def _theirs(product: Product, orders: Orders) -> list[Order]:
    """Those of them that protect it."""
    return [one for one in _others(product, orders) if one.is_trigger and one.reduce_only]
