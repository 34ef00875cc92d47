"""This file runs the core's second instance: the US venue with its own products, money and ledger, on the same feed."""

from __future__ import annotations

from dataclasses import dataclass, field

from perpctl.paper.advanced_trade.face import AdvancedTrade
from perpctl.paper.faults import FaultPlane
from perpctl.paper.keys import MAIN_ACCOUNT, Keys
from perpctl.paper.state import KeptExchange, Record
from perpctl.paper.terms.us import US_PRODUCTS, US_RULES, follow
from perpctl.paper.types import Tick

USERNAME = "paper"
FOLDER = "us"  # below the exchange's own directory
PACE_MS = 15 * 60_000


@dataclass
class UsVenue:
    """An exchange, its face and its memory. It has no time of its own: the venue beside it moves it."""

    record: Record
    keys: Keys
    start_ms: int
    seed: int
    faults: FaultPlane
    exchange: KeptExchange = field(init=False)
    face: AdvancedTrade = field(init=False)
    _due_ms: dict[str, int] = field(default_factory=dict)  # by coin: until then an unused venue may skip ticks

    def __post_init__(self) -> None:
        resumed = self.record.resume()
        self.exchange = resumed or self._new_exchange()
        self._open_face()

    def _new_exchange(self) -> KeptExchange:
        exchange = KeptExchange(US_PRODUCTS, US_RULES, self.start_ms)
        self.record.start(exchange)
        exchange.open_account(MAIN_ACCOUNT, USERNAME, self.start_ms)
        return exchange

    def _open_face(self) -> None:
        self.face = AdvancedTrade(self.exchange, self.keys, seed=self.seed, faults=self.faults, keeper=self.record)
        self.face.remember(self.record.extra)

    def on_tick(self, tick: Tick, base: str, *, hurried: bool = False) -> None:
        """The feed's market in a coin moved. Who is `hurried` and at nobody's service takes one now and then."""
        if hurried and tick.at_ms < self._due_ms.get(base, 0) and self._is_unused:
            return
        self._due_ms[base] = tick.at_ms + PACE_MS
        for made in follow(tick, base):
            self.exchange.on_tick(made)

    @property
    def _is_unused(self) -> bool:
        """Whether nobody listens, has an order or holds anything."""
        accounts = self.exchange.account_ids()
        return not self.face.sessions and not any(
            self.exchange.open_orders(account) or any(held.size for held in self.exchange.positions(account))
            for account in accounts
        )

    def advance(self, now: int) -> None:
        """Market time is `now`."""
        if now > self.exchange.now:
            self.exchange.advance(now)

    def publish(self) -> None:
        """Tell what happened."""
        self.face.publish()

    def reset(self, start_ms: int) -> None:
        """Start anew; connections end."""
        for session in list(self.face.sessions):
            session.cut()
        self.record.extra = {}
        self.start_ms = start_ms
        self._due_ms = {}
        self.exchange = self._new_exchange()
        self._open_face()

    def close(self) -> None:
        """The clean end."""
        for session in list(self.face.sessions):
            session.lost()
        self.record.note_extra(self.face.memory())
        self.record.close(self.exchange)
