"""This file makes the outside market: a seeded price process, or candles played again as ticks."""

import gzip
import random
import zlib
from collections.abc import Iterator, Mapping
from decimal import Decimal
from math import isqrt
from pathlib import Path
from typing import IO

from perpctl.errors import FeedFileError
from perpctl.paper.types import Direction, Print, Product, Tick

CENT = Decimal("0.01")
HEADER = "start_epoch_s,open,high,low,close,volume_usd"
CANDLE_STEP_MS = 15_000
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


class ReplayFeed:
    """A candle file as ticks. The whole file is checked before the first tick.

    A candle is four ticks 15 s apart: open, the nearer of high and low, the other, close; each prints a quarter of the
    volume. The outside best prices lie one tick apart around it. The premium leans towards where the price came from.
    Raises FeedFileError naming file and line when the file is unreadable, cut off or of another shape.
    """

    def __init__(self, path: Path, product: Product) -> None:
        self._path, self._product = path, product
        self._rows = _checked_rows(path)

    @property
    def start_ms(self) -> int:
        """When the first candle begins."""
        return int(self._rows[0].partition(",")[0]) * 1000

    def __len__(self) -> int:
        """How many ticks it yields."""
        return 4 * len(self._rows)

    def __iter__(self) -> Iterator[Tick]:
        slow = last = _numbers(self._rows[0])[0]
        for row in self._rows:
            start, rest = row.split(",", 1)
            opened, high, low, close, volume = (Decimal(text) for text in rest.split(","))
            first, second = (high, low) if high - opened <= opened - low else (low, high)
            for step, price in enumerate((opened, first, second, close)):
                slow += (price - slow) / 1920  # eight hours of ticks
                yield self._tick(int(start) * 1000 + step * CANDLE_STEP_MS, price, volume / 4, slow, price >= last)
                last = price

    def _tick(self, at_ms: int, price: Decimal, volume_usd: Decimal, slow: Decimal, buys: bool) -> Tick:
        tick, step = self._product.tick, self._product.contract_size
        price = (price / tick).to_integral_value() * tick
        bid, ask = (price - tick, price) if buys else (price, price + tick)
        amount = max(step, (volume_usd / price / step).to_integral_value() * step)
        premium = max(-CENT / 10, min(CENT / 10, (price - slow) / slow / 20))
        index = (price * (1 - premium)).quantize(CENT)
        noise = at_ms // CANDLE_STEP_MS * 2654435761 & 0xFFFF
        deep = step * (1 + noise % max(1, int(100_000 / (price * step))))
        thin = step * (1 + (noise * 40503 & 0xFFFF) % max(1, int(100_000 / (price * step))))
        seen = Print("buy" if buys else "sell", price, amount)
        return Tick(self._product.name, at_ms, bid, ask, deep, thin, index, price.quantize(CENT), (seen,))


def _checked_rows(path: Path) -> list[str]:
    """Every row after the header, each of the right shape and later than the one before."""
    rows: list[str] = []
    line = before = 0
    try:
        with _opened(path) as file:
            for line, text in enumerate(file, 1):
                if not text.endswith("\n"):
                    raise _broken(path, line, "is cut off")
                if line == 1 and text.strip() != HEADER:
                    raise _broken(path, line, f"is not the header {HEADER!r}")
                if line > 1:
                    before = _checked_start(path, line, text, before)
                    rows.append(text.strip())
    except (EOFError, gzip.BadGzipFile, zlib.error) as cause:
        raise _broken(path, line + 1, "cannot be unpacked: the file is cut off or damaged") from cause
    except UnicodeDecodeError as cause:
        raise _broken(path, line + 1, "is not text") from cause
    except OSError as cause:
        raise FeedFileError(f"feed file {path} cannot be read: {cause.strerror}") from cause
    if not rows:
        raise _broken(path, line + 1, "is missing: there is no candle")
    return rows


def _checked_start(path: Path, line: int, text: str, before: int) -> int:
    try:
        start = int(text.partition(",")[0])
        opened, high, low, close, volume = _numbers(text)
    except (ValueError, ArithmeticError) as cause:
        raise _broken(path, line, "is not six numbers") from cause
    if not 0 < low <= min(opened, close) <= max(opened, close) <= high or volume < 0:
        raise _broken(path, line, "has prices that contradict each other")
    if start <= before:
        raise _broken(path, line, "is not later than the line before")
    return start


def _numbers(text: str) -> list[Decimal]:
    numbers = [Decimal(part) for part in text.split(",")[1:]]
    if len(numbers) != 5 or not all(number.is_finite() for number in numbers):
        raise ValueError(text)
    return numbers


def _opened(path: Path) -> IO[str]:
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rt", encoding="utf-8") if packed else path.open(encoding="utf-8")


def _broken(path: Path, line: int, what: str) -> FeedFileError:
    return FeedFileError(f"feed file {path}, line {line} {what}", not_done="nothing was replayed")
