"""A request on the wire: how far the clocks are apart is reckoned from its four times, with its error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from perpctl.model.passage import Passage

SENT = datetime(2026, 11, 25, 3, 12, 7, tzinfo=UTC)
SENT_US = 1_795_576_327_000_000
times = st.integers(0, 3_000_000)


@given(offset=st.integers(-(10**9), 10**9), there=times, at_venue=times, back=times)
def test_the_true_offset_lies_within_the_error(offset: int, there: int, at_venue: int, back: int) -> None:
    passage = Passage("http", "public/get_time", "venue", SENT)
    passage.venue_in_us = SENT_US + there + offset
    passage.venue_out_us = passage.venue_in_us + at_venue
    passage.answered_at = SENT + timedelta(microseconds=there + at_venue + back)
    reading = passage.clock_reading()
    assert reading is not None
    assert abs(reading.offset_us - offset) <= reading.error_us + 1
    assert reading.error_us == (there + back + 1) // 2
    assert reading.checked_at == passage.answered_at


def test_a_venue_that_tells_no_times_leaves_the_offset_unknown() -> None:
    passage = Passage("http", "public/get_time", "venue", SENT, answered_at=SENT)
    assert passage.clock_reading() is None
