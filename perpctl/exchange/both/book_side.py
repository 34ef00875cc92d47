"""This file keeps one side of an order book: amounts by price, and the prices in order."""

from __future__ import annotations

from bisect import bisect_left, insort
from decimal import Decimal

Level = tuple[Decimal, Decimal]


class BookSide:
    """Absolute amounts; an amount of zero takes its level away."""

    def __init__(self) -> None:
        self._amounts: dict[Decimal, Decimal] = {}
        self._prices: list[Decimal] = []

    def put(self, price: Decimal, amount: Decimal) -> None:
        """What now stands at a price."""
        amounts = self._amounts
        if amount:
            known = len(amounts)  # asking for the price first would hash it twice, and that is most of the work
            amounts[price] = amount
            if len(amounts) != known:
                insort(self._prices, price)
        elif amounts.pop(price, None) is not None:
            del self._prices[bisect_left(self._prices, price)]

    def highest(self, count: int) -> tuple[Level, ...]:
        """The best levels of the bids."""
        amounts = self._amounts
        return tuple([(price, amounts[price]) for price in self._prices[: -count - 1 : -1]])

    def lowest(self, count: int) -> tuple[Level, ...]:
        """The best levels of the asks."""
        amounts = self._amounts
        return tuple([(price, amounts[price]) for price in self._prices[:count]])
