"""This file keeps what the venue's hours mean for the bot: its state as last read, the stop near by, the way back."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, NamedTuple

from perpctl.exchange.port import VenueStatus
from perpctl.model.venue.calendar import Happening, Kind
from perpctl.model.venue.stops import Stage, Standing
from perpctl.risk.ages import DEFAULT_AGES
from perpctl.risk.bounds import ramp_after

if TYPE_CHECKING:
    from perpctl.engine.core import Core
    from perpctl.engine.state.product import Product

TWO_SIDED_MS = 60_000  # of the market's time, after a stop
SETTLED_MS = 30_000  # into a stop that was planned: what the venue says of itself then is said of the stop
SURPRISED_MS = 600_000
LOCK = "lock"  # the key of a stop that nobody planned
BP = 10_000


class Closed(NamedTuple):
    """Why no entry is sent, and until when by the clock; None: the clock does not say."""

    why: str
    until_ms: int | None


@dataclass(slots=True)
class Return:
    """After a stop: what has to be seen anew before entries go again. `since` is our counter at its end."""

    stop: Happening
    since: float
    since_ms: int
    specified: set[str] = field(default_factory=set)
    two_sided_ms: dict[str, int] = field(default_factory=dict)

    def look(self, product: Product, now_ms: int) -> None:
        """One more look at a product's touch: it must stay two-sided for a minute, at a spread that may be taken."""
        quote = product.quote
        if quote is None or quote.seen < self.since or not product.is_tradable:
            self.two_sided_ms.pop(product.product_id, None)
        else:
            self.two_sided_ms.setdefault(product.product_id, now_ms)

    def missing(self, core: Core, now_ms: int) -> list[str]:
        """What is not proven yet, in words."""
        hours, account, found = core.hours, core.day.account, []
        if hours.status is None or hours.read_at < self.since or hours.status.locked == "true":
            found.append("the venue says that it is open")
        for product in core.products.values():
            since_ms = self.two_sided_ms.get(product.product_id)
            if since_ms is None or now_ms - since_ms < TWO_SIDED_MS:
                found.append(f"a two-sided book of {product.instrument.symbol} for 60 s")
            elif _is_wide(product, core):
                found.append(f"a normal spread of {product.instrument.symbol}")
            if product.product_id not in self.specified:
                found.append(f"the specification of {product.instrument.symbol} read anew")
        if core.reconciled_at is None or core.reconciled_at < self.since:
            found.append("reconciled")
        if account is None or core.day.read_at < self.since:
            found.append("the account read anew")
        return found


def _is_wide(product: Product, core: Core) -> bool:
    quote = product.quote
    if quote is None or quote.bid is None or quote.ask is None or not quote.mid:
        return True
    return (quote.ask - quote.bid) / quote.mid * BP > core.rules.limits.max_spread_bp


@dataclass(slots=True)
class Hours:
    """`reached` is the last step that was taken towards the stop that begins at `towards_ms`."""

    status: VenueStatus | None = None
    read_at: float = float("-inf")
    read_ms: int = 0  # by the market's clock
    looked_ms: int = 0  # at the clock
    locked_since_ms: int | None = None  # without a plan
    standing: Standing | None = None
    towards_ms: int | None = None
    reached: Stage | None = None
    verifying: bool = False  # the next reconciliation tells whether every position has its stop
    inside: Happening | None = None  # the stop that the bot has been in
    was_shut: bool = False  # at the last look
    told_minute: int = 0
    back: Return | None = None
    surprised_ms: int | None = None  # when entries came back after a lock that nobody planned

    def share(self, now_ms: int) -> Decimal:
        """Of the limits: a quarter for ten minutes after such a lock."""
        ago_ms = None if self.surprised_ms is None else now_ms - self.surprised_ms
        return Decimal(1) if ago_ms is None or ago_ms >= SURPRISED_MS else ramp_after(ago_ms)

    def read(self, status: VenueStatus, at_ms: int, now: float) -> None:
        """Take what the venue says of itself."""
        self.status, self.read_at, self.read_ms = status, now, at_ms
        locked = status.locked == "true" or status.maintenance is True
        surprises = locked and not self._is_explained(at_ms)
        self.locked_since_ms = (self.locked_since_ms or at_ms) if surprises else None

    def _is_explained(self, at_ms: int) -> bool:
        """Whether a lock is that of a planned stop: one that is on, or over so shortly that the answer may be older."""
        stop = self.inside or (None if self.back is None else self.back.stop)
        if stop is None or stop.key == LOCK:
            return False
        return stop.end_ms is None or at_ms < stop.end_ms + SETTLED_MS

    @property
    def stops(self) -> tuple[Happening, ...]:
        """What was announced, and a lock that nobody planned, which lasts until it is lifted."""
        announced = () if self.status is None else self.status.planned
        if self.locked_since_ms is None:
            return announced
        words = "the venue is locked, unplanned: nothing can be placed, cancelled or closed"
        return (*announced, Happening(LOCK, Kind.STOP, words, self.locked_since_ms, None, announced=True))

    @property
    def is_shut(self) -> bool:
        """Whether nothing can be sent: inside a stop, unless the venue said meanwhile that it is open."""
        standing = self.standing
        if standing is None or standing.stage is not Stage.SHUT:
            return False
        told = self.status is not None and self.read_ms >= standing.stop.start_ms + SETTLED_MS
        return not (told and self.status is not None and self.status.locked == "false")

    @property
    def keeps_none_resting(self) -> bool:
        """Whether entries have to be gone by now."""
        return self.back is not None or (self.standing is not None and self.standing.stage >= Stage.CLEARED)

    def age_ms(self, now: float) -> int | None:
        """Of the venue's state; None: never read."""
        return None if self.status is None else max(0, int((now - self.read_at) * 1000))


def closed_by_hours(core: Core) -> Closed | None:
    """Why the venue's hours keep entries off now; None: they do not."""
    hours, standing = core.hours, core.hours.standing
    if standing is not None and standing.pauses:
        return Closed(f"{standing.stop.name} ({_WORDS[standing.stage]})", standing.until_ms)
    if hours.back is not None:
        missing = hours.back.missing(core, core.market.now_ms(core.now))
        return Closed(f"after {hours.back.stop.name}, still to be seen: {', '.join(missing) or 'one more look'}", None)
    age_ms, limit = hours.age_ms(core.now), DEFAULT_AGES.venue.stale_ms
    if age_ms is None or age_ms > limit:
        words = "was never read" if age_ms is None else f"was read {age_ms // 1000} s ago"
        return Closed(f"the venue's state {words}, limit {limit // 1000} s", None)
    return None


_WORDS = {
    Stage.PAUSED: "no new entries",
    Stage.CLEARED: "entries are cancelled",
    Stage.VERIFIED: "stops are verified",
    Stage.SHUT: "nothing can be placed, cancelled or closed",
    Stage.AFTER: "just over",
}
