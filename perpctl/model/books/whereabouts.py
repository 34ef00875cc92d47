"""This file says what a position can be, from reads that may be old and fills that are told at once.

A read shows the position as it was at some moment not longer ago than reads lag. Which of the latest fills are in it
cannot be told from it; that a position only changes by fills can. So each read leaves a few sizes, and what is possible
after several of them is mostly one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from perpctl.model.money import ZERO


@dataclass(frozen=True, slots=True)
class Move:
    """One fill of anybody's order in the product: signed base coin, market ms."""

    fill_id: str
    at_ms: int
    size: Decimal


@dataclass(slots=True)
class Whereabouts:
    """What one product's position can be, in signed base coin. Nothing is possible before the first read."""

    lag_ms: int
    sizes: frozenset[Decimal] = frozenset()
    _known: set[str] = field(default_factory=set)
    _told_ms: int = 0  # when fills were last told

    def hear(self, moves: Iterable[Move], told_ms: int) -> None:
        """Take the fills since `lag_ms` before the first read, told at `told_ms`."""
        sizes, ordered = set(self.sizes), sorted(moves, key=_age)
        for move in ordered:
            if move.fill_id not in self._known:
                moved = {size + move.size for size in sizes}
                # One that was to be told before may be in what earlier reads showed.
                sizes = sizes | moved if move.at_ms <= self._told_ms else moved
        self._known |= {move.fill_id for move in ordered}
        self._told_ms = max(self._told_ms, told_ms)
        self.sizes = frozenset(sizes)

    def see(self, read: Decimal, asked_ms: int, moves: Iterable[Move], told_ms: int) -> None:
        """Take a read that was asked for at `asked_ms`, and the fills as in `hear`, asked for after it."""
        told = sorted(moves, key=_age)
        self.hear(told, told_ms)
        by_read, now = {read}, read
        for move in reversed([move for move in told if move.at_ms >= asked_ms - self.lag_ms]):
            now += move.size
            by_read.add(now)
        # Reads that contradict the fills win: something moved it that is no fill.
        self.sizes = frozenset(by_read & self.sizes or by_read)

    @property
    def most(self) -> Decimal:
        """What can be closed, signed as the position, without ever turning it; zero while that cannot be told."""
        if not self.sizes or min(self.sizes) <= 0 <= max(self.sizes):
            return ZERO
        return min(self.sizes, key=abs)

    @property
    def is_zero(self) -> bool:
        """Whether nothing but zero is possible."""
        return self.sizes == {ZERO}


def _age(move: Move) -> tuple[int, str]:
    return move.at_ms, move.fill_id
