"""This file is the trend follower: two moving averages of minute closes, sized by volatility."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from perpctl.engine.strategy import Desired, View
from perpctl.model.money import ZERO, floor_to, price_down, price_up
from perpctl.model.order import Side

MINUTE_MS = 60_000
MINUTES_A_DAY = Decimal(1440)


@dataclass(frozen=True, slots=True)
class TrendParams:
    """Spans in minutes; `risk_a_day` is the day's volatility that a full position may have, as a fraction."""

    fast_minutes: int = 60
    slow_minutes: int = 360
    volatility_minutes: int = 360
    warm_up_minutes: int = 120
    risk_a_day: Decimal = Decimal("0.03")
    enter_z: Decimal = Decimal("0.35")  # distance of the averages in volatilities over the slow span
    rebalance: Decimal = Decimal("0.25")  # of the largest position: smaller differences are left alone
    reach: Decimal = Decimal("0.0004")  # how far through the touch an order may take


class Trend:
    """Long when the fast average stands above the slow one, short below; smaller when the market is wild.

    Averages are exponential (weight 2 / (span + 1)); volatility is the root of the averaged squared minute returns.
    """

    name = "trend"

    def __init__(self, params: TrendParams | None = None) -> None:
        self.params = params or TrendParams()
        self._fast = self._slow = self._variance = ZERO
        self._closes = 0
        self._previous_close = ZERO
        self._minute: int | None = None
        self._last = ZERO
        self._direction = 0

    def warm_up(self, closes: Sequence[tuple[int, Decimal]]) -> None:
        for start_ms, close in closes:
            self._close_minute(close)
            self._minute, self._last = start_ms // MINUTE_MS + 1, close

    def on_market(self, view: View) -> Sequence[Desired] | None:
        """Decides once a minute, on the close."""
        minute = view.market_ms // MINUTE_MS
        closed, self._minute = self._minute is not None and minute > self._minute, minute
        previous, self._last = self._last, view.mid
        if not closed:
            return None
        self._close_minute(previous)
        return self._orders_towards(self._target(view), view) if self._closes >= self.params.warm_up_minutes else None

    def _close_minute(self, close: Decimal) -> None:
        if not self._closes:
            self._fast = self._slow = close
        else:
            change = close / self._previous_close - 1
            self._variance += (change * change - self._variance) * _weight(self.params.volatility_minutes)
            self._fast += (close - self._fast) * _weight(self.params.fast_minutes)
            self._slow += (close - self._slow) * _weight(self.params.slow_minutes)
        self._previous_close = close
        self._closes += 1

    def _target(self, view: View) -> Decimal:
        a_minute = self._variance.sqrt()
        if not a_minute:
            return ZERO
        z = (self._fast / self._slow - 1) / (a_minute * Decimal(self.params.slow_minutes).sqrt())
        if abs(z) >= self.params.enter_z:
            self._direction = 1 if z > 0 else -1
        elif z * self._direction <= 0:
            self._direction = 0
        share = min(Decimal(1), self.params.risk_a_day / (a_minute * MINUTES_A_DAY.sqrt()))
        side = Side.BUY if self._direction > 0 else Side.SELL
        return ZERO if side in view.closed else self._direction * share * view.target_max

    def _orders_towards(self, target: Decimal, view: View) -> Sequence[Desired]:
        missing = target - view.position
        leaving = target * view.position <= 0 and view.position != 0
        if abs(missing) < self.params.rebalance * view.target_max and not leaving:
            return ()
        size = floor_to(min(abs(missing), view.max_order), view.instrument.size_step)
        if size < view.instrument.min_size:
            return ()
        if missing > 0:
            price = price_down(view.ask * (1 + self.params.reach), view.instrument.tick)
            return (Desired(Side.BUY, size, price, "trend up: towards target", take=True),)
        price = price_up(view.bid * (1 - self.params.reach), view.instrument.tick)
        return (Desired(Side.SELL, size, price, "trend down or over: towards target", take=True),)


def _weight(span: int) -> Decimal:
    return Decimal(2) / (span + 1)
