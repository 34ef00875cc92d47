"""This file plays captured stream messages of the gateway again: its books, trades and prices, by their own clock.

A capture is one JSON object a line, as the streams socket sent them. What carries a market is followed: `book` (whole,
or ungrouped top levels), `quote`, `ticker`, `incremental_ticker`, `trades`, `perpetual`, `deribit_price_index`,
`instrument.state`, `platform_state`. Other channels, answers to requests and heartbeats are passed over.
"""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from perpctl.errors import FeedFileError
from perpctl.paper.feed.files import broken, opened
from perpctl.paper.feed.sight import Contradiction, Sights, decode
from perpctl.paper.types import Product, Tick

MOST_BACK_MS = 5_000  # channels of one socket lag each other by their intervals, not by more
NOTHING = "ends without a market: it takes a book, quotes or a ticker, and mark and index prices (ticker or trades)"


def is_capture(path: Path) -> bool:
    """Whether the file begins like captured messages. Whatever cannot be read is none."""
    try:
        with opened(path) as file:
            return file.read(256).lstrip().startswith("{")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return False


class CapturedFeed:
    """A capture as ticks. The whole file is checked before the first tick.

    Raises FeedFileError naming file and line when it is unreadable, cut off, of another shape, contradicts itself or
    misses a message.
    """

    def __init__(self, path: Path, products: tuple[Product, ...]) -> None:
        self._path, self._products = path, products
        ticks = iter(self)
        first = next(ticks, None)
        if first is None:
            raise broken(path, _lines(path), NOTHING)
        self.start_ms = first.at_ms  # of the first tick
        self._count = 1 + sum(1 for _ in ticks)

    def __len__(self) -> int:
        """How many ticks it yields."""
        return self._count

    def __iter__(self) -> Iterator[Tick]:
        sights, now = Sights(self._products), 0
        line = 0
        try:
            with opened(self._path) as file:
                for line, text in enumerate(file, 1):
                    if not text.endswith("\n"):
                        raise broken(self._path, line, "is cut off")
                    heard = self._hear(sights, line, text)
                    if heard is None:
                        continue
                    if heard < now - MOST_BACK_MS:
                        raise broken(self._path, line, f"is {(now - heard) / 1000:g} s older than a line before it")
                    now = max(now, heard)
                    yield from sights.ticks(now)
        except (EOFError, gzip.BadGzipFile, zlib.error) as cause:
            raise broken(self._path, line + 1, "cannot be unpacked: the file is cut off or damaged") from cause
        except UnicodeDecodeError as cause:
            raise broken(self._path, line + 1, "is not text") from cause
        except OSError as cause:
            raise FeedFileError(
                f"feed file {self._path} cannot be read: {cause.strerror}", not_done="nothing was replayed"
            ) from cause

    def _hear(self, sights: Sights, line: int, text: str) -> int | None:
        """Take in one message; the answer is its market time, None when it says nothing about a market."""
        try:
            message = decode(text)
        except ValueError as cause:
            raise broken(self._path, line, "is not a JSON object: cut off, or not a capture") from cause
        if not isinstance(message, dict) or "jsonrpc" not in message:
            raise broken(self._path, line, "is no message of a streams socket")
        if message.get("method") != "subscription":
            return None
        try:
            return _heard(sights, message)
        except Contradiction as why:
            raise broken(self._path, line, str(why)) from why
        except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as why:
            raise broken(self._path, line, f"is no message of its channel ({type(why).__name__}: {why})") from why


def _heard(sights: Sights, message: dict[str, Any]) -> int | None:
    channel: str = message["params"]["channel"]
    content = message["params"]["data"]
    match channel.split("."):
        case ["book", name, _]:
            return sights.book(name, channel, content)
        case ["book", name, "none", _, _]:
            return sights.top_levels(name, channel, content)
        case ["quote", name] | ["ticker", name, _] | ["incremental_ticker", name]:
            return sights.prices(name, channel, content)
        case ["trades", *_, _]:
            return sights.trades(content)
        case ["perpetual", name, _]:
            return sights.index_of(name, content["index_price"], content["timestamp"])
        case ["deribit_price_index", _]:
            return sights.index(content["index_name"], content["price"], content["timestamp"])
        case ["instrument", "state", _, _]:
            return sights.state(content["instrument_name"], content["state"], content["timestamp"])
        case ["platform_state"] if "price_index" in content:
            sights.lock(content["price_index"], bool(content["locked"]))
    return None


def _lines(path: Path) -> int:
    with opened(path) as file:
        return sum(1 for _ in file)
