"""The venue's hours in the bot, played through at both venues: weekly stop, release, lock, settlement, an old state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from perpctl.clock import to_ms
from perpctl.engine import events as e
from perpctl.engine.hours.off import entries_off
from perpctl.engine.hours.state import Hours, closed_by_hours
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.sight import Permission, look
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.order import OrderRequest, OrderType, Side
from perpctl.model.venue.calendar import Happening, Kind
from tests.engine.bench import Bench, bid, of, offer, only, placed

STEP_S = 15
NEW_YORK = ZoneInfo("America/New_York")
FRIDAYS = ["2026-11-20", "2026-07-17", "2026-03-13", "2026-11-06"]  # winter, summer, just after each change


def utc(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=UTC))


def ny(text: str) -> int:
    return to_ms(datetime.fromisoformat(text).replace(tzinfo=NEW_YORK).astimezone(UTC))


@dataclass
class Walk:
    """A bench that goes through a stretch of market time in steps of 15 s, and keeps what the core asked for."""

    bench: Bench
    said: list[tuple[int, e.Effect]] = field(default_factory=list)

    def to(self, until_ms: int, *, quotes: bool = True, read: bool = True, **status: Any) -> list[e.Effect]:
        """Until that time, the last step to the millisecond."""
        first = len(self.said)
        while self.bench.at_ms < until_ms:
            step_ms = STEP_S * 1000 - self.bench.at_ms % (STEP_S * 1000)
            self._step(min(step_ms, until_ms - self.bench.at_ms), quotes, read, status)
        return [effect for _, effect in self.said[first:]]

    def _step(self, step_ms: int, quotes: bool, read: bool, status: dict[str, Any]) -> None:
        bench = self.bench
        bench.now += step_ms / 1000
        bench.at_ms += step_ms
        effects = bench.venue_read(**status) if read else []
        if quotes:
            bench.at_ms -= 100  # a quote comes a moment later
            effects += bench.quote()
        effects += bench.later(0)
        self.said += [(bench.at_ms, effect) for effect in effects]

    def alerts(self) -> list[tuple[int, int, str]]:
        return [(at_ms, one.level, one.name) for at_ms, one in self.said if isinstance(one, e.Alert)]

    def hold(self) -> OrderRequest:
        """A long position with its stop, and an entry that rests beside it; the entry."""
        self.bench.accept(self.bench.hold("0.1").request)
        (entry,) = placed(self.bench.wish(bid("0.01", "84050")))
        self.bench.accept(entry.request)
        return entry.request

    def reconciled(self, *, stop: bool = True) -> list[e.Effect]:
        """The venue's truth as the core believes it, or with the stop gone."""
        core = self.bench.core
        live = tuple(w.order for w in core.orders.ours.values() if w.order is not None and (stop or not w.is_stop))
        size = self.bench.product.position
        held = (self.bench.position(str(size)),) if size else ()
        return self.bench.tell(e.Reconciled(held, live, (), self.bench.now))


def walk_from(venue: str, at_ms: int, *, started: bool = False) -> Walk:
    """The day has been going on for a while; `started`: the bot has not."""
    bench = Bench(venue)
    bench.now += (at_ms - bench.at_ms) / 1000 if at_ms > bench.at_ms else 1_000_000.0
    bench.at_ms = bench.core.market.at_ms = at_ms
    if started:
        bench.core.hours = Hours()
    bench.venue_read()
    bench.quote()
    bench.tell(e.AccountRead(replace(bench.world.account, at_ms=at_ms)))
    bench.tell(e.Reconciled((), (), (), bench.now))
    return Walk(bench)


def off(walk: Walk) -> str | None:
    closed = entries_off(walk.bench.core)
    return None if closed is None else closed.why


def gate_sees_a_stop(bench: Bench) -> bool:
    core, permission = bench.core, Permission(Mode.NORMAL, False, 5000)
    wanted = OrderRequest("x", bench.world.btc, Side.BUY, D("0.01"), OrderType.LIMIT, D(84000))
    return look(core, wanted, permission, Meter(), bench.now).planned_stop


# --- the weekly stop


def test_a_bot_that_starts_just_after_it_sees_a_two_sided_book_for_a_minute_like_one_that_was_there() -> None:
    began_ms = ny("2026-11-06T18:00:30")
    walk = walk_from("us", began_ms, started=True)
    walk.bench.tell(e.SpecificationRead(walk.bench.product.instrument))
    walk.reconciled()
    walk.to(began_ms + 45_000)
    walk.bench.tell(e.AccountRead(replace(walk.bench.world.account, at_ms=walk.bench.at_ms)))
    assert "a two-sided book of BTC-PERP for 60 s" in (off(walk) or "")
    assert gate_sees_a_stop(walk.bench)
    walk.to(began_ms + 90_000)
    assert off(walk) is None


@pytest.mark.parametrize("began", ["2026-11-06T18:10:01", "2026-11-05T18:00:30", "2026-11-06T12:00:00"])
def test_a_bot_that_starts_when_none_was_just_over_waits_for_no_book(began: str) -> None:
    assert off(walk_from("us", ny(began), started=True)) is None


def test_a_settlement_of_seconds_is_no_stop_to_come_back_from() -> None:
    assert off(walk_from("global", utc("2026-11-05T08:01:00"), started=True)) is None


@pytest.mark.parametrize("day", FRIDAYS)
def test_a_friday_step_by_step(day: str) -> None:
    walk = walk_from("us", ny(f"{day}T15:50:00"))
    entry = walk.hold()

    effects = walk.to(ny(f"{day}T16:00:00"))
    ahead = next(one for one in of(effects, e.Alert) if one.name == "stop ahead")
    assert (ahead.level, "or flat before: perpctl positions close BTC-PERP" in ahead.text) == (1, True)
    walk.to(ny(f"{day}T16:44:45"))
    assert (walk.bench.core.may_increase, gate_sees_a_stop(walk.bench)) == (True, False)

    walk.to(ny(f"{day}T16:45:00"))
    assert (walk.bench.core.may_increase, gate_sees_a_stop(walk.bench)) == (False, True)
    kept = bid("0.01", "84050")  # what rests may stay for now
    assert not placed(walk.bench.wish(kept, bid("0.02", "84060")))  # nothing new ...
    (exit_,) = walk.bench.exits(kept, offer("0.05", "84000", take=True))
    assert exit_.reduce_only  # ... but the way out
    missed = walk.bench.tell(e.Placed(exit_.identity, port.Refused(None, "nothing stands within it")))
    walk.bench.accept(only(missed, e.PlaceStop).request)  # the stop that had made room for it is back

    walk.to(ny(f"{day}T16:54:45"))
    effects = walk.to(ny(f"{day}T16:55:00"))
    assert only(effects, e.ReadBackEntries)
    assert not of([effect for at_ms, effect in walk.said if at_ms < ny(f"{day}T16:54:50")], e.ReadBackEntries)
    assert [one.order.identity for one in of(effects, e.CancelEntry)] == [entry.identity]

    effects = walk.to(ny(f"{day}T16:58:00"))
    assert only(effects, e.Reconcile)
    assert "was read back" in only(walk.reconciled(), e.Note).text

    effects = walk.to(ny(f"{day}T17:00:00")) + walk.to(ny(f"{day}T17:59:45"), quotes=False, locked="true")
    notes = [one for one in of(effects, e.Note) if one.kind == "SHUT"]
    assert 59 <= len(notes) <= 61
    assert "0.1 BTC, stop at the venue, buffer 100,000.00 USD" in notes[0].text
    assert not [one for one in effects if isinstance(one, e.PlaceEntry | e.PlaceStop | e.CloseNow | e.CancelStop)]
    assert walk.bench.core.hours.is_shut


@dataclass
class Opening:
    """What is told to the bot after a stop, in any order and with any piece left out."""

    walk: Walk

    def pieces(self) -> dict[str, Any]:
        bench = self.walk.bench
        return {
            "reconciled": self.walk.reconciled,
            "the account read anew": lambda: bench.tell(e.AccountRead(replace(bench.world.account, at_ms=bench.at_ms))),
            "the specification of BTC-PERP read anew": lambda: bench.tell(e.SpecificationRead(bench.world.instrument)),
        }


PIECES = ["reconciled", "the account read anew", "the specification of BTC-PERP read anew"]


def opened(day: str = "2026-11-20") -> Walk:
    """A bot that went through the weekly stop, at 18:00 sharp."""
    walk = walk_from("us", ny(f"{day}T16:30:00"))
    walk.to(ny(f"{day}T17:00:00"))
    walk.to(ny(f"{day}T17:59:45"), quotes=False, locked="true")
    walk.to(ny(f"{day}T18:00:00"), quotes=False)
    return walk


def test_after_the_stop_everything_is_asked_for_anew() -> None:
    walk = opened()
    asked = [effect for at_ms, effect in walk.said if at_ms >= ny("2026-11-20T17:59:59")]
    assert only(asked, e.ReadVenue)
    assert only(asked, e.ReadSpecifications)
    assert only(asked, e.Reconcile)
    assert "after weekly stop" in [one.reason for one in of(asked, e.ReadAccount)]


@pytest.mark.parametrize("left_out", [None, *PIECES])
def test_entries_stay_off_until_each_piece_was_seen(left_out: str | None) -> None:
    walk = opened()
    for name, tell in Opening(walk).pieces().items():
        if name != left_out:
            tell()
    walk.to(ny("2026-11-20T18:00:45"))
    assert "a two-sided book of BTC-PERP for 60 s" in ", ".join(
        walk.bench.core.hours.back.missing(walk.bench.core, walk.bench.at_ms)  # type: ignore[union-attr]
    )
    walk.to(ny("2026-11-20T18:05:00"))
    if left_out is None:
        assert off(walk) is None
        assert walk.bench.core.may_increase
        assert walk.alerts()[-1][1:] == (1, "entries back")
        assert ny("2026-11-20T18:01:00") <= walk.alerts()[-1][0] <= ny("2026-11-20T18:01:30")
    else:
        assert off(walk) == ("after weekly stop, still to be seen: " + left_out)
        assert (walk.bench.core.may_increase, gate_sees_a_stop(walk.bench)) == (False, True)


def test_an_answer_from_inside_a_planned_stop_is_no_surprise_just_after_it_and_a_later_one_is() -> None:
    walk = walk_from("us", ny("2026-11-20T16:30:00"))
    walk.to(ny("2026-11-20T17:00:00"))
    walk.to(ny("2026-11-20T18:00:15"), quotes=False, locked="true")
    assert (off(walk) or "").startswith("weekly stop (just over)")
    assert [name for _, _, name in walk.alerts()].count("shut") == 1
    walk.to(ny("2026-11-20T18:00:45"), quotes=False, locked="true")  # it goes on longer than planned
    assert (off(walk) or "").startswith("lock (nothing can be placed")
    assert [name for _, _, name in walk.alerts()].count("shut") == 2


@pytest.mark.parametrize(
    ("status", "quote", "words"),
    [
        ({"locked": "true"}, {}, "lock (nothing can be placed"),
        ({}, {"bid": None}, "a two-sided book"),
        ({}, {"ask": D(84500)}, "a normal spread"),
    ],
)
def test_entries_stay_off_while_the_market_is_not_back(
    status: dict[str, Any], quote: dict[str, Any], words: str
) -> None:
    walk = opened()
    for tell in Opening(walk).pieces().values():
        tell()
    for _ in range(12):
        walk.to(walk.bench.at_ms + 15_000, quotes=False, **status)
        walk.bench.quote(**quote)
        walk.bench.later(0)
    assert words in (off(walk) or "")
    assert not walk.bench.core.may_increase


def test_a_position_that_is_bare_in_the_stop_gets_its_stop_in_the_first_second_after_it() -> None:
    walk = walk_from("us", ny("2026-11-20T16:59:30"))
    (entry,) = placed(walk.bench.tell(port.Beat(walk.bench.now))) or (None,)
    assert entry is None
    walk.to(ny("2026-11-20T17:00:15"), quotes=False, locked="true")
    request = OrderRequest("mine-late", walk.bench.world.btc, Side.BUY, D("0.1"), OrderType.LIMIT, D(84100))
    effects = walk.bench.tell(walk.bench.fill(request))  # its news comes late: nothing can protect it now
    effects += walk.to(ny("2026-11-20T17:59:45"), quotes=False, locked="true")
    assert not [one for one in effects if isinstance(one, e.PlaceStop | e.CloseNow)]
    assert "NO STOP" in next(one for one in of(effects, e.Note) if one.kind == "SHUT").text
    effects = walk.to(ny("2026-11-20T18:00:00"), quotes=False, locked="false")
    assert only(effects, e.PlaceStop).request.size == D("0.1")
    assert not of(effects, e.CloseNow)


def test_a_stop_that_was_refused_at_the_last_moment_is_tried_again_before_the_position_is_closed() -> None:
    walk = walk_from("us", ny("2026-11-20T16:40:00"))
    (entry,) = placed(walk.bench.wish(bid("0.1")))
    walk.bench.accept(entry.request)
    walk.to(ny("2026-11-20T16:59:58"))
    stop = only(walk.bench.tell(walk.bench.fill(entry.request)), e.PlaceStop)
    walk.bench.tell(e.Placed(stop.request.identity, port.Refused(None, "the session is shut")))
    walk.to(ny("2026-11-20T17:00:00"), quotes=False)
    walk.to(ny("2026-11-20T17:59:45"), quotes=False, locked="true")
    effects = walk.to(ny("2026-11-20T18:00:00"), quotes=False)
    assert only(effects, e.PlaceStop)
    assert not of(effects, e.CloseNow)


def test_no_stop_before_a_stop_is_told_gravely() -> None:
    walk = walk_from("us", ny("2026-11-20T16:30:00"))
    walk.hold()
    walk.to(ny("2026-11-20T16:58:00"))
    walk.bench.core.orders.drop(next(w.request.identity for w in walk.bench.core.orders.ours.values() if w.is_stop))
    found = [one for one in of(walk.reconciled(stop=False), e.Alert) if one.name == "no stop before a stop"]
    assert [one.level for one in found] == [3]


def test_a_bot_that_starts_three_minutes_before_makes_up_for_what_it_missed() -> None:
    bench = Bench("us")
    (entry,) = placed(bench.wish(bid()))
    bench.accept(entry.request)
    at_ms = ny("2026-11-20T16:57:30")
    bench.now, bench.at_ms = bench.now + (at_ms - bench.at_ms) / 1000, at_ms
    effects = bench.venue_read()
    assert only(effects, e.CancelEntry).order.identity == entry.request.identity
    assert only(effects, e.ReadBackEntries)
    bench.now, bench.at_ms = bench.now + 60, at_ms + 60_000
    assert only(bench.venue_read(), e.Reconcile)  # stops are verified all the same


@pytest.mark.parametrize(("count", "words"), [(2, "2 still listed or on their way"), (None, "could not be read")])
def test_entries_that_are_not_proven_gone_are_told_gravely_each_week(count: int | None, words: str) -> None:
    bench = Bench("us")
    for _ in range(2):
        alert = only(bench.tell(e.EntriesLeft("before weekly stop", count)), e.Alert)
        assert (alert.level, words in alert.text) == (3, True)


# --- a release, a lock, the settlement, an old state


def release(start: str, end: str | None, key: str = "release") -> tuple[Happening, ...]:
    return (Happening(key, Kind.STOP, "announced: Release", utc(start), None if end is None else utc(end), True),)


@pytest.mark.parametrize(
    ("venue", "pause", "clear"), [("global", "09:50:00", "09:57:00"), ("us", "09:45:00", "09:55:00")]
)
def test_a_release_that_is_announced_takes_the_steps_of_its_venue(venue: str, pause: str, clear: str) -> None:
    planned = release("2026-12-02T10:00:00", "2026-12-02T10:30:00", "announced")
    walk = walk_from(venue, utc("2026-12-02T08:50:00"))
    entry = walk.hold()
    walk.to(utc("2026-12-02T10:00:00"), planned=planned)
    told = {name: at_ms for at_ms, _, name in walk.alerts()}
    assert told["stop ahead"] == utc("2026-12-02T09:00:00")
    assert told["no new entries"] == utc(f"2026-12-02T{pause}")
    assert told["entries cancelled"] == utc(f"2026-12-02T{clear}")
    assert entry.identity in [one.order.identity for _, one in walk.said if isinstance(one, e.CancelEntry)]


def test_inside_a_release_a_dead_line_is_no_alarm_and_after_it_all_is_read_anew() -> None:
    planned = release("2026-12-02T10:00:00", "2026-12-02T10:30:00")
    walk = walk_from("global", utc("2026-12-02T09:59:00"))
    walk.to(utc("2026-12-02T10:00:00"), planned=planned)
    walk.bench.tell(port.FeedLost("user", "the venue hung up"))
    for _ in range(100):  # nothing is heard: no beat, no quote, no answer
        walk.bench.now += 15
        walk.bench.at_ms += 15_000
        walk.said += [(walk.bench.at_ms, one) for one in walk.bench.tell(e.Ticked())]
    assert [name for _, _, name in walk.alerts() if name in ("user silent", "shut")] == ["shut"]
    assert walk.bench.core.hours.is_shut
    walk.bench.now += 300
    effects = walk.bench.tell(e.Ticked())
    assert only(effects, e.ReadSpecifications)
    assert not walk.bench.core.may_increase


def test_a_venue_that_turns_out_to_be_open_inside_a_planned_stop_lets_the_stop_be_placed_but_no_entry() -> None:
    planned = release("2026-12-02T10:00:00", "2026-12-02T10:30:00")
    walk = walk_from("global", utc("2026-12-02T09:59:00"))
    walk.to(utc("2026-12-02T10:05:00"), planned=planned)
    core = walk.bench.core
    assert (core.hours.is_shut, core.may_increase) == (False, False)
    request = OrderRequest("mine-1", walk.bench.world.btc, Side.BUY, D("0.1"), OrderType.LIMIT, D(84100))
    assert only(walk.bench.tell(walk.bench.fill(request)), e.PlaceStop)


def test_a_release_that_is_put_off_lets_entries_go_again() -> None:
    planned = release("2026-12-02T10:00:00", "2026-12-02T10:30:00")
    walk = walk_from("global", utc("2026-12-02T09:40:00"))
    walk.to(utc("2026-12-02T09:55:00"), planned=planned)
    assert off(walk) is not None
    walk.to(utc("2026-12-02T09:56:00"))
    assert off(walk) is None


@pytest.mark.parametrize("venue", ["global", "us"])
@pytest.mark.parametrize("status", [{"locked": "true"}, {"maintenance": True}])
def test_an_unplanned_lock_shuts_until_it_is_lifted_and_then_all_is_read_anew(
    venue: str, status: dict[str, Any]
) -> None:
    walk = walk_from(venue, utc("2026-12-02T10:00:00"))
    effects = walk.to(utc("2026-12-02T10:05:00"), **status)
    assert [one.name for one in of(effects, e.Alert)] == ["shut"]
    assert not walk.bench.core.may_increase
    effects = walk.to(utc("2026-12-02T10:05:15"))
    assert only(effects, e.ReadSpecifications)
    assert not walk.bench.core.may_increase


def test_after_an_unplanned_lock_the_limits_are_a_quarter_for_ten_minutes() -> None:
    walk = walk_from("global", utc("2026-12-02T10:00:00"))
    walk.to(utc("2026-12-02T10:05:00"), locked="true")
    walk.to(utc("2026-12-02T10:05:15"))
    for tell in Opening(walk).pieces().values():
        tell()
    walk.to(utc("2026-12-02T10:07:00"))
    hours = walk.bench.core.hours
    assert walk.bench.core.may_increase
    assert hours.surprised_ms is not None
    assert [hours.share(hours.surprised_ms + minute * 60_000) for minute in (0, 9, 10)] == [D("0.25"), D("0.25"), 1]


def test_after_a_planned_stop_the_limits_are_whole() -> None:
    walk = opened()
    for tell in Opening(walk).pieces().values():
        tell()
    walk.to(ny("2026-11-20T18:05:00"))
    assert walk.bench.core.may_increase
    assert walk.bench.core.hours.share(walk.bench.at_ms) == 1


def settlement() -> Iterator[tuple[str, bool]]:
    yield from (("07:59:29", True), ("07:59:30", False), ("08:00:00", False), ("08:00:29", False), ("08:00:31", True))


def test_the_settlement_pauses_entries_and_cancels_none() -> None:
    walk = walk_from("global", utc("2026-12-02T07:55:00"))
    walk.hold()
    for at, goes in settlement():
        walk.to(utc(f"2026-12-02T{at}"))
        assert (at, walk.bench.core.may_increase, gate_sees_a_stop(walk.bench)) == (at, goes, not goes)
    assert not [one for _, one in walk.said if isinstance(one, e.CancelEntry | e.ReadBackEntries)]
    assert walk.alerts() == [(utc("2026-12-02T07:58:00"), 1, "stop ahead")]


@pytest.mark.parametrize("venue", ["global", "us"])
def test_a_state_that_was_not_read_for_a_minute_sends_no_entry(venue: str) -> None:
    walk = walk_from(venue, utc("2026-12-02T10:00:00"))
    walk.to(utc("2026-12-02T10:01:00"))
    walk.to(utc("2026-12-02T10:02:00"), read=False)
    assert walk.bench.core.may_increase
    walk.to(utc("2026-12-02T10:02:01"), read=False)
    assert off(walk) == "the venue's state was read 61 s ago, limit 60 s"
    assert not placed(walk.bench.wish(bid()))
    walk.bench.venue_read()
    assert placed(walk.bench.wish(bid()))


def test_a_bot_that_never_read_the_venues_state_sends_no_entry() -> None:
    bench = Bench()
    bench.core.hours.status = None
    closed = closed_by_hours(bench.core)
    assert closed is not None
    assert closed.why.startswith("the venue's state was never read")


# --- the margin of the night


def over(walk: Walk, used: str) -> None:
    walk.bench.tell(e.AccountRead(replace(walk.bench.world.account, initial_margin=D(used), at_ms=walk.bench.at_ms)))


def margin_alarms(day: str, used: str, until: str = "17:00:00") -> list[tuple[str, int]]:
    walk = walk_from("us", ny(f"{day}T14:55:00"))
    over(walk, used)
    walk.to(ny(f"{day}T{until}"))
    found = [(at_ms, level) for at_ms, level, name in walk.alerts() if "margin" in name]
    return [(f"{datetime.fromtimestamp(at_ms / 1000, NEW_YORK):%H:%M}", level) for at_ms, level in found]


@pytest.mark.parametrize("day", ["2026-11-19", "2026-07-16", "2026-03-09", "2026-11-02"])
def test_more_margin_than_the_night_allows_is_told_three_times_each_time_more_gravely(day: str) -> None:
    assert margin_alarms(day, "25001") == [("15:00", 2), ("15:30", 3), ("15:45", 4)]
    assert margin_alarms(day, "25000") == []


@pytest.mark.parametrize("day", ["2026-11-26", "2026-11-21"])
def test_a_holiday_and_a_saturday_have_no_cheaper_margin_that_could_end(day: str) -> None:
    assert margin_alarms(day, "25001") == []


def test_what_was_reduced_in_time_is_told_no_more() -> None:
    walk = walk_from("us", ny("2026-11-19T14:55:00"))
    over(walk, "25001")
    walk.to(ny("2026-11-19T15:10:00"))
    assert "margin at the dearest rates is 25.0 % of equity, limit 25.0 %" in (off(walk) or "")
    over(walk, "20000")
    walk.to(ny("2026-11-19T16:00:00"))
    assert [level for _, level, name in walk.alerts() if "margin" in name] == [2]
    assert off(walk) is None


def test_where_there_is_one_margin_nothing_is_told() -> None:
    walk = walk_from("global", utc("2026-11-19T19:55:00"))
    over(walk, "25001")
    walk.to(utc("2026-11-19T22:00:00"))
    assert [name for _, _, name in walk.alerts() if "margin" in name] == []
