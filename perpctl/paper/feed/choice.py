"""This file finds the feed that an operator names, and moves a feed to another price level."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from msgspec.structs import replace

from perpctl.errors import UsageError
from perpctl.paper.feed.candles import ReplayFeed
from perpctl.paper.feed.capture import CapturedFeed, is_capture
from perpctl.paper.feed.outside import VENUE, OutsideFeed
from perpctl.paper.feed.synthetic import SyntheticFeed
from perpctl.paper.products import GATEWAY_PRODUCTS
from perpctl.paper.types import Ladder, Level, Product, Tick

CENT = Decimal("0.01")
# (market ms, last prices) -> what follows; None when nothing is known yet
FeedFrom = Callable[[int, dict[str, Decimal]], Iterator[Tick | None]]


@dataclass(frozen=True, slots=True)
class Feed:
    """Where the market comes from."""

    ticks: FeedFrom
    start_ms: int  # market time of a new exchange
    is_live: bool = False  # market time is wall time, also after a pause


def feed_of(name: str, seed: int, wall_ms: int, products: tuple[Product, ...] = GATEWAY_PRODUCTS) -> Feed:
    """The feed that synthetic, replay:FILE or venue names; a file holds candles, or captured stream messages.

    Raises UsageError for another word, FeedFileError for a file that cannot be played, VenueUnreachable.
    """
    kind, _, path = name.partition(":")
    if kind == "synthetic" and not path:
        return Feed(
            lambda now, prices: _synthetic(seed if now == wall_ms else seed + now, now, prices, products), wall_ms
        )
    if kind == "replay" and path:
        return _replay(Path(path), products)
    if kind == "venue":
        outside = OutsideFeed(products, path or VENUE)
        return Feed(lambda now, prices: iter(outside), wall_ms, is_live=True)
    raise UsageError(f"the feed is synthetic, replay:FILE or venue, not {name!r}")


def _replay(path: Path, products: tuple[Product, ...]) -> Feed:
    played: CapturedFeed | ReplayFeed
    played = CapturedFeed(path, products) if is_capture(path) else ReplayFeed(path, _product_of(path, products))
    return Feed(lambda now, prices: (tick for tick in played if tick.at_ms > now), played.start_ms - 1)


def _synthetic(seed: int, now: int, prices: dict[str, Decimal], products: tuple[Product, ...]) -> Iterator[Tick]:
    return iter(SyntheticFeed(seed, products, now, prices=prices))


def _product_of(path: Path, products: tuple[Product, ...]) -> Product:
    """The perpetual whose coin the file is named after; the first when it names none."""
    tradable = [product for product in products if product.tradable]
    return next((p for p in tradable if path.name.lower().startswith(p.base.lower())), tradable[0])


def scaled(tick: Tick, scale: Decimal, step: Decimal) -> Tick:
    """The same tick at other prices, all of them on the product's grid, and ask above bid."""

    def grid(price: Decimal) -> Decimal:
        return max(step, (price * scale / step).to_integral_value() * step)

    bid = grid(tick.bid)
    return replace(
        tick,
        bid=bid,
        ask=max(grid(tick.ask), bid + step),
        index=(tick.index * scale).quantize(CENT),
        mark=(tick.mark * scale).quantize(CENT),
        prints=tuple(replace(one, price=grid(one.price)) for one in tick.prints),
        ladder=tick.ladder and Ladder(_moved(tick.ladder.bids, grid), _moved(tick.ladder.asks, grid)),
    )


def _moved(levels: tuple[Level, ...], grid: Callable[[Decimal], Decimal]) -> tuple[Level, ...]:
    sums: dict[Decimal, Decimal] = {}
    for price, amount in levels:
        at = grid(price)
        sums[at] = sums.get(at, Decimal(0)) + amount
    return tuple(sums.items())
