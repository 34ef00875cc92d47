"""An order that was settled as never arrived is looked out for; when it comes after all it is ours, and cancelled."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

from perpctl.engine import events as e
from perpctl.engine.orders.watching import is_watched
from perpctl.exchange import port
from perpctl.model.order import OrderRequest, OrderStatus
from tests.conftest import both_venues
from tests.engine.bench import Bench, as_order, bid, of, only, placed

pytestmark = both_venues

DAY_MS = 86_400_000


def settled_absent(bench: Bench) -> OrderRequest:
    entry: OrderRequest = placed(bench.wish(bid()))[0].request
    bench.tell(e.Placed(entry.identity, port.Unknown("timed out")))
    bench.tell(e.Settled(entry.identity, port.Absent("two empty readings")))
    return entry


def test_it_is_cancelled_on_sight_counted_until_then_and_called_ours(bench: Bench) -> None:
    late = as_order(settled_absent(bench))
    effects = bench.tell(port.OrderSeen(late))
    assert only(effects, e.CancelEntry).order == late
    alert = only(effects, e.Alert)
    assert (alert.level, "ours" in alert.text) == (3, True)
    assert late.order_id in bench.core.orders.foreign
    assert not bench.core.strangers.met
    gone = replace(late, status=OrderStatus.CANCELLED, updated_ms=late.updated_ms + 1)
    bench.tell(e.CancelAnswered(late.identity or "", port.Confirmed(gone)))
    assert not bench.core.orders.foreign


def test_it_is_told_once_and_cancelled_until_it_is_gone(bench: Bench) -> None:
    late = as_order(settled_absent(bench))
    bench.tell(port.OrderSeen(late))
    effects = bench.tell(e.Reconciled((), (late,), (), bench.now))
    assert only(effects, e.CancelEntry).order == late
    assert not of(effects, e.Alert)


def test_a_new_run_that_remembers_it_finds_it_ours_at_the_start(venue: str, bench: Bench) -> None:
    late = as_order(settled_absent(bench))
    second = Bench(venue)
    second.core.orders.watched[late.identity or ""] = second.core.market_ms + DAY_MS
    effects = second.core.begin(e.Reconciled((), (late,), (), second.now), second.now)
    assert only(effects, e.CancelEntry).reason == "was thought gone"
    assert only(effects, e.Alert).level == 3


def test_its_fill_is_ours_and_no_strangers(bench: Bench) -> None:
    entry = settled_absent(bench)
    effects = bench.tell(bench.fill(entry, "0.01"))
    told = ["never to have arrived" in alert.text for alert in of(effects, e.Alert)]
    assert told == [True] * bool(bench.world.terms.arrival.watched_s)
    assert not of(effects, e.SeekOwner)
    assert bench.product.position == D("0.01")


def test_it_is_looked_out_for_as_long_as_it_can_arrive_late_and_no_longer(bench: Bench) -> None:
    late = settled_absent(bench).identity
    watched_ms = int(bench.world.terms.arrival.watched_s * 1000)
    if not watched_ms:  # nothing arrives late here: there is no list
        assert not bench.core.orders.watched
        return
    until_ms = bench.core.orders.watched[late]
    assert watched_ms - 10_000 <= until_ms - bench.at_ms <= watched_ms
    assert is_watched(bench.core, late)
    bench.quote(at_ms=until_ms + 1)
    assert not is_watched(bench.core, late)
    assert not bench.core.orders.watched


def test_old_news_of_what_was_seen_to_end_stays_old_news(bench: Bench) -> None:
    entry = placed(bench.wish(bid()))[0].request
    bench.accept(entry)
    bench.tell(port.OrderSeen(as_order(entry, OrderStatus.CANCELLED, updated_ms=2_000_000_000_000)))
    assert bench.tell(port.OrderSeen(as_order(entry))) == []
