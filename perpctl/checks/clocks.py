"""This file judges our clock by the venue's: wall against wall, for market time stands still or leaps in a replay."""

from __future__ import annotations

from perpctl.checks.gate import Finding, Verdict, failed, passed, warned
from perpctl.exchange.port import VenueStatus

OFFSET_WARN_MS, OFFSET_FAIL_MS = 1_000, 30_000


def judged_clock(status: VenueStatus) -> Finding:
    """A token allows 120 s, of which the way to the venue and its own tolerance take some."""
    words = clock_words(status)
    if status.wall_offset_ms is None:
        return Finding(Verdict.UNKNOWN, words)
    if abs(status.wall_offset_ms) > OFFSET_FAIL_MS:
        return failed(words, "set this machine's clock")
    return warned(words) if abs(status.wall_offset_ms) > OFFSET_WARN_MS else passed(words)


def clock_words(status: VenueStatus) -> str:
    """How far the two are apart; the venue tells whole seconds."""
    round_trip = f"round trip {status.round_trip_ms} ms"
    if status.wall_offset_ms is None:
        return f"the venue does not tell its wall clock; {round_trip}"
    if status.wall_offset_ms == 0:
        return f"ours is within 1 s of the venue's; {round_trip}"
    return f"the venue's is {status.wall_offset_ms:+d} ms from ours; {round_trip}"
