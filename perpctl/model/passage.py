"""What went over the wire: a request and its answer, a connection from opening to end, how far two clocks are apart."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from msgspec import Struct

KEPT = 16_384  # characters of an answer; one to an order has some 1,500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class ClockReading(Struct, frozen=True):
    """How far the machine's clock was from another one when last measured; microseconds, theirs minus ours."""

    offset_us: int
    error_us: int
    source: str
    checked_at: datetime


class Papers(Struct, frozen=True):
    """What a request carries along: whose key (its id, never the key), how old its token is, what may follow it."""

    key_id: str | None = None
    token_age_s: int | None = None
    rate_budget_left: int | None = None


NO_PAPERS = Papers()


class Passage(Struct):
    """One request and what came back, filled as it goes; both bodies by their SHA-256. Missing: not observed."""

    way: str  # http | websocket
    method: str
    host: str
    sent_at: datetime  # right before the bytes
    attempt: int = 1  # which try of its order or cancel
    connection_id: str | None = None  # of this process: which of its sockets; pooled connections have none
    key_id: str | None = None
    token_age_s: int | None = None
    rate_budget_left: int | None = None
    request_hash: str | None = None
    answered_at: datetime | None = None
    took_us: int | None = None  # by our monotonic counter
    http_status: int | None = None
    venue_in_us: int | None = None  # the venue's own wall clock, when it took the request in
    venue_out_us: int | None = None
    venue_date: str | None = None  # the Date header, word for word: whole seconds, where nothing finer is told
    response_hash: str | None = None
    response_kept: str | None = None  # what the venue answered, keys and tokens hidden, up to KEPT

    def clock_reading(self) -> ClockReading | None:
        """The venue's clock minus ours, as NTP reckons it (RFC 5905, section 8); None when the venue told no times.

        What lay between sending and answering and was not spent at the venue is the error: half of it either way.
        """
        if self.answered_at is None or self.venue_in_us is None or self.venue_out_us is None:
            return None
        sent_us, answered_us = _us(self.sent_at), _us(self.answered_at)
        offset_us = ((self.venue_in_us - sent_us) + (self.venue_out_us - answered_us)) // 2
        underway_us = (answered_us - sent_us) - (self.venue_out_us - self.venue_in_us)
        return ClockReading(offset_us, max(0, underway_us + 1) // 2, "usIn and usOut of the venue", self.answered_at)


class Connection(Struct):
    """One connection of a live session, from the try to open it to its end. Missing: it did not come so far."""

    line: str  # user | market
    host: str
    connection_id: str | None = None  # of this process and line: as on the passages that went over it
    opened_at: datetime | None = None
    resync_ms: int | None = None  # from the try to open it until subscribed and caught up
    granted: tuple[str, ...] = ()  # channels
    refused: tuple[str, ...] = ()  # asked for and left out
    messages: int = 0
    closed_at: datetime | None = None
    lasted_ms: int | None = None
    cause: str | None = None
    code: int | None = None  # of the close frame (RFC 6455, section 7.4); None: it ended without one


def hash_of(body: bytes | str) -> str:
    """By which a body kept elsewhere is recognised."""
    return hashlib.sha256(body.encode() if isinstance(body, str) else body).hexdigest()


def _us(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND
