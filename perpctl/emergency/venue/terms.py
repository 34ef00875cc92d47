"""This file holds what differs between the venues of a kill as data, so that no step asks for a venue's name."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from perpctl.model.flatten import LADDER, SETTLEMENT, Apart, Blind

Rungs = tuple[Decimal | None, ...]
_HOUR_MS = 3_600_000


class Terms(NamedTuple):
    """How a venue is cancelled, closed and proven flat."""

    currency: str  # of margin and profit
    apart: Apart  # the reads of a proof
    hold_every_s: float
    throttle_s: tuple[float, ...]  # pauses after each refusal in a row for asking too often
    blind: Blind  # when reads prove nothing
    reads_lag_s: float  # a read may be as old as that, and nothing in it says so
    reduces_only: bool  # whether a close can be marked so that it never opens anything
    ladder: Rungs  # reduces_only: through the touch; otherwise: what stands within. None is all, at market
    mass_cancel: bool
    asks_to_cancel: bool  # that a cancel was taken says nothing: each order is read by its id
    tries_in_liquidation: bool  # a close that the venue should refuse is tried now and then all the same
    ids_a_second: float  # cancels by id that the account's other requests survive
    ids_at_once: int
    settles_at_ms: int | None  # of the UTC day
    words: Words


class Words(NamedTuple):
    """How people are told what is done here."""

    entries: str
    stops: str
    close: str
    prove: str


GLOBAL = Terms(
    currency="USDC",
    apart=Apart(1.0, 1.0),
    hold_every_s=1.0,
    throttle_s=(1.0, 2.0, 4.0, 5.0),
    blind=SETTLEMENT,
    reads_lag_s=0.0,
    reduces_only=True,
    ladder=LADDER,
    mass_cancel=True,
    asks_to_cancel=False,
    tries_in_liquidation=True,
    ids_a_second=3.0,  # 60 % of the lowest engine tier
    ids_at_once=12,
    settles_at_ms=8 * _HOUR_MS,
    words=Words(
        entries="limit orders by ONE request ({currencies}, future, limit, isolated included)",
        stops="protective stops stay until their position reads zero",
        close="reduce-only, through the touch",
        prove="2 agreeing reads 1 s apart: orders and positions, all slots; margin in use 0.00",
    ),
)
US = Terms(
    currency="USD",
    apart=Apart(3.0, 2.0),
    hold_every_s=2.0,
    throttle_s=(1.0, 2.0),
    # 17:00 New York is 21:00 or 22:00 UTC: no table of time zones is needed to leave both out.
    blind=tuple((hour * _HOUR_MS - 30_000, hour * _HOUR_MS + 30_000) for hour in (21, 22)),
    reads_lag_s=60.0,
    reduces_only=False,
    ladder=(Decimal("0.0015"), Decimal("0.0040"), Decimal("0.0100"), None),
    mass_cancel=False,
    asks_to_cancel=True,
    tries_in_liquidation=False,
    ids_a_second=100.0,
    ids_at_once=100,
    settles_at_ms=None,
    words=Words(
        entries="orders by id, at most 100 a request; each is then read by its id",
        stops="protective stops stay until one contract of their position is closed, and return if the rest is not",
        close="1 contract, then the depth in",
        prove="2 listings 3 s apart, all ids read ended; 2 position reads 2 s apart; margin, hold 0.00",
    ),
)
