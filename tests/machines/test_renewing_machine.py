"""The renewal of entries against a venue that fills, ends and loses them: one alive a side, never beyond the target."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perpctl.engine import events as e
from perpctl.exchange import port
from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderRequest, OrderStatus, Purpose
from tests.engine.bench import Bench, as_order, bid
from tests.risk.world import NOW

TARGET = D("0.05")
PRICE = "84080.0"
LIFE_MS = 120_000


class RenewingMachine(RuleBasedStateMachine):
    """One entry is wished for once. Whatever becomes of sends and cancels, only what is left of it lives on."""

    @initialize()
    def start(self) -> None:
        self.bench = Bench("us")
        self.live: dict[str, Order] = {}
        self.over: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.outbox: list[OrderRequest] = []
        self.cancels: list[Order] = []
        self.unsettled: list[OrderRequest] = []
        self.stamps = itertools.count(NOW + 1)
        self.renewals = 0
        self._do(self.bench.wish(bid(str(TARGET), PRICE)))

    def _do(self, effects: Sequence[e.Effect]) -> None:
        for effect in effects:
            match effect:
                case e.PlaceEntry(request, _):
                    self.renewals += request.purpose is Purpose.RENEW
                    self.outbox.append(request)
                case e.CancelEntry(order, _):
                    self.cancels.append(order)
                case e.SettleUnknown(request):
                    self.unsettled.append(request)
                case _:
                    pass

    def _end(self, order: Order, status: OrderStatus = OrderStatus.CANCELLED) -> Order:
        done = replace(self.live.pop(order.order_id), status=status, updated_ms=next(self.stamps))
        self.over[order.order_id] = done
        return done

    def _fills_of(self, order: Order) -> tuple[Fill, ...]:
        return tuple(fill for fill in self.fills if fill.order_id == order.order_id)

    # --- time

    @rule(seconds=st.sampled_from([5.0, 40.0, 80.0]), heard=st.booleans())
    def time_passes(self, seconds: float, heard: bool) -> None:
        """What comes to its end is over at the venue, told or not."""
        self.bench.now += seconds
        self.bench.at_ms += int(seconds * 1000)
        for order in list(self.live.values()):
            assert order.ends_ms is not None
            if order.ends_ms <= self.bench.at_ms:
                done = self._end(order)
                if heard:
                    self._do(self.bench.tell(port.OrderSeen(done)))
        self._do(self.bench.venue_read())  # read each 15 s: nothing is renewed at a venue that was not heard of
        self._do(self.bench.quote())
        self._do(self.bench.later(0))

    # --- what becomes of sends and cancels

    @precondition(lambda self: self.outbox)
    @rule(fate=st.sampled_from(["accepted", "accepted", "accepted", "refused", "lost before", "lost after"]))
    def a_send_meets_its_fate(self, fate: str) -> None:
        asked = self.outbox.pop(0)
        ends_ms = self.bench.core.market.now_ms(self.bench.now) + LIFE_MS
        request = replace(asked, ends_ms=ends_ms)
        if (working := self.bench.core.orders.ours.get(asked.identity)) is not None:
            working.request = request
        order = as_order(request, ends_ms=ends_ms)
        if fate in ("accepted", "lost after"):
            self.live[order.order_id] = order
        answer: port.Outcome = port.Unknown("no answer")
        if fate == "accepted":
            answer = port.Confirmed(order)
        elif fate == "refused":
            answer = port.Refused(None, "INSUFFICIENT_FUNDS_FOR_FUTURES")
        self._do(self.bench.tell(e.Placed(asked.identity, answer)))

    @precondition(lambda self: self.cancels)
    @rule(fate=st.sampled_from(["done", "done", "lost before", "lost after", "refused"]))
    def a_cancel_meets_its_fate(self, fate: str) -> None:
        order = self.cancels.pop(0)
        if fate in ("done", "lost after") and order.order_id in self.live:
            self._end(order)
        answer: port.Outcome = port.Unknown("no answer")
        if fate == "done":
            done = self.over[order.order_id]
            answer = port.Confirmed(done)
        elif fate == "refused":
            answer = port.Refused(None, "INVALID_CANCEL_FCM_TRADING_SESSION")
        self._do(self.bench.tell(e.CancelAnswered(order.identity or "", answer)))

    @precondition(lambda self: self.unsettled)
    @rule(readable=st.booleans())
    def reads_settle_an_unknown(self, readable: bool) -> None:
        request = self.unsettled.pop(0)
        order_id = f"o-{request.identity}"
        known = self.live.get(order_id) or self.over.get(order_id)
        if not readable:
            answer: port.Settled = port.Unknown("not read")
        elif known is not None:
            answer = port.Confirmed(known, self._fills_of(known))
        else:
            answer = port.Absent("two empty readings")
        self._do(self.bench.tell(e.Settled(request.identity, answer)))

    # --- fills

    @precondition(lambda self: self.live)
    @rule(part=st.sampled_from([D("0.01"), D("0.02"), D(1)]), tell=st.booleans())
    def the_venue_fills(self, part: D, tell: bool) -> None:
        order = next(iter(self.live.values()))
        size = min(part, order.remaining)
        moved = replace(order, filled=order.filled + size, updated_ms=next(self.stamps))
        self.live[order.order_id] = moved
        asked = OrderRequest(order.identity or "", order.product_id, order.side, size, order.type, order.price)
        news = self.bench.fill(asked, str(size), PRICE)
        self.fills.append(news.fill)
        if not moved.remaining:
            moved = self._end(moved, OrderStatus.FILLED)
        if tell:
            self._do(self.bench.tell(news))
            self._do(self.bench.tell(port.OrderSeen(moved)))

    @precondition(lambda self: self.fills)
    @rule(number=st.integers(0, 10))
    def a_fill_is_told_late_or_again(self, number: int) -> None:
        self._do(self.bench.tell(port.FillSeen(self.fills[number % len(self.fills)])))

    @precondition(lambda self: len(self.live) == 1 and not self.cancels and not self.outbox)
    @rule(part=st.sampled_from([D("0.01"), D("0.02")]), told=st.booleans(), before=st.booleans())
    def it_fills_in_part_around_its_renewal(self, part: D, told: bool, before: bool) -> None:
        """Before the cancel leaves, or while it is on its way; the news of it in time, or late."""
        if before:
            self.the_venue_fills(part, told)
        self.time_passes(80.0, heard=True)
        if not before and self.live:
            self.the_venue_fills(part, told)
        while self.cancels:
            self.a_cancel_meets_its_fate("done")

    # --- what must hold

    @invariant()
    def at_most_one_is_alive_or_on_its_way(self) -> None:
        assert len(self.live) + len(self.outbox) <= 1

    @invariant()
    def nothing_goes_beyond_the_target(self) -> None:
        filled = sum((fill.size for fill in self.fills), D(0))
        open_ = sum((order.remaining for order in self.live.values()), D(0))
        coming = sum((request.size for request in self.outbox), D(0))
        assert filled + open_ + coming <= TARGET


RenewingMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
TestRenewing = RenewingMachine.TestCase


def test_the_machine_does_renew() -> None:
    """A machine whose entries never come to be renewed would prove nothing."""
    machine = RenewingMachine()
    machine.start()
    machine.a_send_meets_its_fate("accepted")
    for _ in range(3):
        machine.time_passes(80.0, heard=True)
        machine.a_cancel_meets_its_fate("done")
        machine.a_send_meets_its_fate("accepted")
    assert machine.renewals == 3
