"""This file makes an outside market: a seeded price process."""

import random
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import isqrt

from perpctl.paper.types import Direction, Print, Product, Tick

CENT = Decimal("0.01")
PREMIUM_UNIT = 1_000_000_000  # premiums are whole numbers of 1e-9


class Walk:
    """One product's price process in whole ticks: a random walk whose pace and premium wander and come back."""

    def __init__(self, product: Product, start_price: Decimal, every_ms: int) -> None:
        self.product = product
        self.ticks = int(start_price / product.tick)
        # About 60 % a year: 1.07e-4 of the price a second, in 2**-32 of itself, growing with the root of the step.
        self.sigma = 459 * isqrt(1000 * every_ms)
        self.pace = 1000  # of a thousand
        self.premium = 0
        self.carry = 0

    def step(self, dice: random.Random, shared: int, at_ms: int) -> Tick:
        """The next tick. `shared` is the move that all products have in common."""
        self.pace += (1000 - self.pace) // 64 + dice.randint(-40, 40)
        self.pace = max(300, min(3000, self.pace))
        move = (8 * shared + 6 * _bell(dice)) // 10  # a standard normal in 2**-16
        self.carry += self.ticks * self.sigma * move * self.pace // 1000
        moved = self.carry >> 48
        self.carry -= moved << 48
        self.ticks = max(100, self.ticks + moved)
        self.premium += (_bell(dice) * 5_000 + move * 2_000 >> 16) - self.premium // 3000  # mostly within 0.04 %
        return self._tick(dice, at_ms, moved)

    def _tick(self, dice: random.Random, at_ms: int, moved: int) -> Tick:
        tick = self.product.tick
        bid = self.ticks * tick
        ask = (self.ticks + dice.choice((1, 1, 1, 1, 2, 3))) * tick
        middle = (bid + ask) / 2
        index = (middle * (PREMIUM_UNIT - self.premium) / PREMIUM_UNIT).quantize(CENT)
        prints = tuple(self._print(dice, bid, ask, moved) for _ in range(dice.choice((0, 1, 1, 2))))
        return Tick(
            self.product.name,
            at_ms,
            bid,
            ask,
            self._amount(dice, bid),
            self._amount(dice, bid),
            index,
            middle.quantize(CENT),
            prints,
        )

    def _print(self, dice: random.Random, bid: Decimal, ask: Decimal, moved: int) -> Print:
        buys = dice.randint(0, 99) < 50 + max(-30, min(30, moved))
        direction: Direction = "buy" if buys else "sell"
        return Print(direction, ask if buys else bid, self._amount(dice, bid))

    def _amount(self, dice: random.Random, price: Decimal) -> Decimal:
        """Mostly small, now and then some 100,000 in quote currency."""
        largest = max(1, int(100_000 / (price * self.product.contract_size)))
        return self.product.contract_size * max(1, largest * dice.randint(1, 100) * dice.randint(1, 100) // 10_000)


class SyntheticFeed:
    """Ticks without end: every `every_ms` one for each product. Equal arguments yield equal ticks.

    `prices` continues from known prices instead of the products' start prices.
    """

    def __init__(
        self,
        seed: int,
        products: tuple[Product, ...],
        start_ms: int,
        every_ms: int = 500,
        prices: Mapping[str, Decimal] | None = None,
    ) -> None:
        self._dice = random.Random(seed)  # noqa: S311 - a market, not a secret
        known = prices or {}
        self._walks = [Walk(p, known.get(p.name, p.start_price), every_ms) for p in products if p.tradable]
        self._at_ms, self._every_ms = start_ms, every_ms

    def __iter__(self) -> Iterator[Tick]:
        while True:
            self._at_ms += self._every_ms
            shared = _bell(self._dice)
            for walk in self._walks:
                yield walk.step(self._dice, shared, self._at_ms)


def _bell(dice: random.Random) -> int:
    """A standard normal draw in 2**-16, from twelve uniform ones: whole numbers, so equal on every machine."""
    bits = dice.getrandbits(192)
    return sum((bits >> shift) & 0xFFFF for shift in range(0, 192, 16)) - 6 * 0xFFFF
