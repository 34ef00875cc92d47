"""This file plays a candle file again as ticks."""

import gzip
import zlib
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

from perpctl.errors import FeedFileError
from perpctl.paper.feed.files import broken, opened
from perpctl.paper.types import Print, Product, Tick

CENT = Decimal("0.01")
HEADER = "start_epoch_s,open,high,low,close,volume_usd"
CANDLE_STEP_MS = 15_000


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
        with opened(path) as file:
            for line, text in enumerate(file, 1):
                if not text.endswith("\n"):
                    raise broken(path, line, "is cut off")
                if line == 1 and text.strip() != HEADER:
                    raise broken(path, line, f"is not the header {HEADER!r}")
                if line > 1:
                    before = _checked_start(path, line, text, before)
                    rows.append(text.strip())
    except (EOFError, gzip.BadGzipFile, zlib.error) as cause:
        raise broken(path, line + 1, "cannot be unpacked: the file is cut off or damaged") from cause
    except UnicodeDecodeError as cause:
        raise broken(path, line + 1, "is not text") from cause
    except OSError as cause:
        raise FeedFileError(
            f"feed file {path} cannot be read: {cause.strerror}", not_done="nothing was replayed"
        ) from cause
    if not rows:
        raise broken(path, line + 1, "is missing: there is no candle")
    return rows


def _checked_start(path: Path, line: int, text: str, before: int) -> int:
    try:
        start = int(text.partition(",")[0])
        opened, high, low, close, volume = _numbers(text)
    except (ValueError, ArithmeticError) as cause:
        raise broken(path, line, "is not six numbers") from cause
    if not 0 < low <= min(opened, close) <= max(opened, close) <= high or volume < 0:
        raise broken(path, line, "has prices that contradict each other")
    if start <= before:
        raise broken(path, line, "is not later than the line before")
    return start


def _numbers(text: str) -> list[Decimal]:
    numbers = [Decimal(part) for part in text.split(",")[1:]]
    if len(numbers) != 5 or not all(number.is_finite() for number in numbers):
        raise ValueError(text)
    return numbers
