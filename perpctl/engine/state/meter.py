"""This file measures how the bot does: answers of the venue, lag of the loop, the journal's pace; all bounded."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import takewhile
from typing import TypeVar

T = TypeVar("T")

SUCCESS_S, LATENCY_S, SAMPLE = 900.0, 300.0, 20
OWN_FAULT = frozenset({11054})  # a post-only order that would have taken: no fault of the venue
REFRESH_S = 1.0


def _window(length: int) -> deque[float]:
    return deque(maxlen=length)


@dataclass(slots=True)
class Meter:
    """Times are our monotonic counter in seconds; `counts` is by name for the metrics."""

    answers: deque[tuple[float, bool]] = field(default_factory=lambda: deque(maxlen=5000))
    latencies: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=5000))  # at, seconds
    lags: deque[float] = field(default_factory=lambda: _window(1000))
    decisions: deque[float] = field(default_factory=lambda: _window(1000))  # seconds from wish to wire
    writes: deque[float] = field(default_factory=lambda: _window(1000))  # seconds that an intent took to be durable
    counts: Counter[str] = field(default_factory=Counter)
    heard: dict[str, float] = field(default_factory=dict)  # feed -> last message
    _figures: tuple[float, Decimal | None, int | None] | None = None

    def answered(self, now: float, took_s: float, code: int | None, *, ok: bool) -> None:
        """The venue answered an order or a cancel, or did not."""
        self.latencies.append((now, took_s))
        if code not in OWN_FAULT:
            self.answers.append((now, ok))

    def order_success_pct(self, now: float) -> Decimal | None:
        """Percent of 15 minutes; None: fewer than 20 orders. At most a second old."""
        return self._fresh(now)[1]

    def latency_p95_ms(self, now: float) -> int | None:
        """Of 5 minutes of order calls; None: fewer than 20. At most a second old."""
        return self._fresh(now)[2]

    def _fresh(self, now: float) -> tuple[float, Decimal | None, int | None]:
        if self._figures is None or now - self._figures[0] >= REFRESH_S:
            good, took = _since(self.answers, now - SUCCESS_S), _since(self.latencies, now - LATENCY_S)
            success = Decimal(100 * sum(good)) / len(good) if len(good) >= SAMPLE else None
            latency = int(percentile(took, 95) * 1000) if len(took) >= SAMPLE else None
            self._figures = (now, success, latency)
        return self._figures


def _since(noted: deque[tuple[float, T]], then: float) -> list[T]:
    """What was noted after that moment, newest first."""
    return [what for _, what in takewhile(lambda one: one[0] > then, reversed(noted))]


def percentile(values: Iterable[float], percent: int) -> float:
    """The nearest-rank percentile; 0.0 of nothing."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, len(ranked) * percent // 100)] if ranked else 0.0
