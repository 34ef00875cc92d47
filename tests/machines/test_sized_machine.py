"""Stops and closes where nothing is reduce-only, at a venue that loses answers: never more together than is held."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perpctl.engine import events as e
from perpctl.engine.state.working import Stage
from perpctl.exchange import port
from perpctl.model.fill import Fill
from perpctl.model.order import Order, OrderRequest, OrderStatus, OrderType, Purpose, Side
from tests.engine.bench import Bench, as_order
from tests.risk.world import NOW, US

FATES = ["accepted", "accepted", "accepted", "refused", "lost before", "lost after"]


class SizedMachine(RuleBasedStateMachine):
    """A long position that grows and shrinks; every fill is told at once, every answer may be lost."""

    @initialize()
    def start(self) -> None:
        self.bench = Bench("us")
        self.held = D(0)
        self.live: dict[str, Order] = {}
        self.over: dict[str, Order] = {}
        self.fills: list[Fill] = []
        self.outbox: list[OrderRequest] = []
        self.cancels: list[Order] = []
        self.unsettled: list[OrderRequest] = []
        self.unshown: set[str] = set()  # live, and no answer ever said so
        self.stamps = itertools.count(NOW + 1)
        self.names = itertools.count(1)
        self.bench.quote()
        self.it_grows(D("0.05"))

    # --- what the core asks for

    def _do(self, effects: Sequence[e.Effect]) -> None:
        for effect in effects:
            match effect:
                case e.PlaceStop(request, _):
                    self._stop_is_asked_for(request)
                    self.outbox.append(request)
                case e.CloseNow(request, _):
                    self._close_is_asked_for(request)
                    self.outbox.append(request)
                case e.CancelStop(order, _):
                    self.cancels.append(order)
                case e.SettleUnknown(request):
                    self.unsettled.append(request)
                case _:
                    pass

    def _stop_is_asked_for(self, request: OrderRequest) -> None:
        standing = sum((order.remaining for order in self.live.values()), D(0))
        coming = sum((one.size for one in self.outbox if one.purpose is Purpose.STOP), D(0))
        held = self.bench.product.position  # a close of unknown outcome may have come: our own client looks first
        assert standing + coming + request.size <= held, "the stops would be larger than the position"

    def _close_is_asked_for(self, request: OrderRequest) -> None:
        shown = [order for order in self.live.values() if order.order_id not in self.unshown]
        assert not shown, "a stop stands beside the close"
        assert not [one for one in self.outbox if one.purpose is Purpose.CLOSE], "two closes at once"
        assert 0 < request.size <= self.held
        assert request.side is Side.SELL

    # --- the position

    def _moves(self, identity: str, size: D, side: Side) -> Fill:
        asked = OrderRequest(identity, US.btc, side, size, OrderType.LIMIT, D("84100"))
        fill = self.bench.fill(asked, str(size)).fill
        self.fills.append(fill)
        self.held += side.sign * size
        return fill

    @rule(size=st.sampled_from([D("0.01"), D("0.02"), D("0.05")]))
    def it_grows(self, size: D) -> None:
        fill = self._moves(f"mine-entry-{next(self.names)}", size, Side.BUY)
        self._do(self.bench.tell(port.FillSeen(fill)))

    @precondition(lambda self: self.held > 0)
    @rule(part=st.sampled_from([D("0.01"), D(1)]))
    def it_shrinks(self, part: D) -> None:
        """An exit of the strategy, beside the stop: what was on its way as a close would have been refused."""
        closes = sum((one.size for one in self.outbox if one.purpose is Purpose.CLOSE), D(0))
        size = min(part, self.held - closes)
        if size > 0 and not self._close_is_unknown():
            fill = self._moves(f"mine-exit-{next(self.names)}", size, Side.SELL)
            self._do(self.bench.tell(port.FillSeen(fill)))

    def _close_is_unknown(self) -> bool:
        return any(one.purpose is Purpose.CLOSE for one in self.unsettled)

    @precondition(lambda self: self.live)
    @rule(part=st.sampled_from([D("0.01"), D(1)]), fires_only=st.booleans())
    def a_stop_fires(self, part: D, fires_only: bool) -> None:
        order = next(iter(self.live.values()))
        size = min(part, order.remaining)
        if size > self.held:
            return
        fired = replace(order, status=OrderStatus.TRIGGERED, updated_ms=next(self.stamps))
        if fires_only:
            self.live[order.order_id] = fired
            self.unshown.discard(order.order_id)
            self._do(self.bench.tell(port.OrderSeen(fired)))
            return
        filled = self.live[order.order_id] = replace(fired, filled=order.filled + size)
        fill = self._moves(order.identity or "", size, Side.SELL)
        if not filled.remaining:
            filled = self._end(filled, OrderStatus.FILLED)
        self.unshown.discard(order.order_id)
        self._do(self.bench.tell(port.FillSeen(fill)))
        self._do(self.bench.tell(port.OrderSeen(filled)))

    def _end(self, order: Order, status: OrderStatus) -> Order:
        del self.live[order.order_id]
        self.unshown.discard(order.order_id)
        done = self.over[order.order_id] = replace(order, status=status, updated_ms=next(self.stamps))
        return done

    # --- what becomes of sends and cancels

    @precondition(lambda self: self.outbox)
    @rule(fate=st.sampled_from(FATES))
    def a_send_meets_its_fate(self, fate: str) -> None:
        request = self.outbox.pop(0)
        if request.size > self.held and fate in ("accepted", "lost after"):
            fate = "refused"  # our own client reads the position first
        order, fills = as_order(request, OrderStatus.UNTRIGGERED), ()
        if fate in ("accepted", "lost after"):
            if request.purpose is Purpose.STOP:
                self.live[order.order_id] = order
                if fate == "lost after":
                    self.unshown.add(order.order_id)
            else:
                fills = (self._moves(request.identity, request.size, Side.SELL),)
                order = replace(order, status=OrderStatus.FILLED, filled=request.size)
                self.over[order.order_id] = order
        answer: port.Outcome = port.Unknown("no answer")
        if fate == "accepted":
            answer = port.Confirmed(order, fills)
        elif fate == "refused":
            answer = port.Refused(None, "INVALID_FCM_TRADING_SESSION")
        self._do(self.bench.tell(e.Placed(request.identity, answer)))

    @precondition(lambda self: self.cancels)
    @rule(fate=st.sampled_from(["done", "done", "lost before", "lost after", "refused"]))
    def a_cancel_meets_its_fate(self, fate: str) -> None:
        order = self.cancels.pop(0)
        if fate in ("done", "lost after") and order.order_id in self.live:
            self._end(self.live[order.order_id], OrderStatus.CANCELLED)
        answer: port.Outcome = port.Unknown("no answer")
        if order.order_id in self.over and fate == "done":
            answer = port.Confirmed(self.over[order.order_id])
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
            self.unshown.discard(order_id)
            answer = port.Confirmed(known, tuple(fill for fill in self.fills if fill.order_id == order_id))
        else:
            answer = port.Absent("two empty readings")
        self._do(self.bench.tell(e.Settled(request.identity, answer)))

    # --- time, and an operator

    @rule(seconds=st.sampled_from([0.3, 1.1, 5.5]))
    def time_passes(self, seconds: float) -> None:
        self._do(self.bench.quote())
        self._do(self.bench.later(seconds))

    @rule()
    def everything_is_to_be_closed(self) -> None:
        self._do(self.bench.core.close_all("test", self.bench.now))

    # --- what must hold

    @invariant()
    def every_fill_that_was_told_counts(self) -> None:
        lost = [fill for fill in self.fills if fill.order_id in self._closes_without_an_answer()]
        assert self.bench.product.position == self.held + sum((fill.size for fill in lost), D(0))

    def _closes_without_an_answer(self) -> set[str]:
        ours = self.bench.core.orders.ours
        return {f"o-{name}" for name, one in ours.items() if one.request.purpose is Purpose.CLOSE and not one.booked}

    @invariant()
    def nothing_turns_the_position_over(self) -> None:
        assert self.held >= 0

    @invariant()
    def a_position_is_covered_or_something_is_being_done_about_it(self) -> None:
        product, core = self.bench.product, self.bench.core
        if product.position and core.guard.covered(product, core.orders) < product.position:
            waits = product.leaving is not None or product.closing is not None or product.bare_since is not None
            stops = core.orders.of(US.btc, stops=True)
            assert waits or any(stop.stage is not Stage.RESTING for stop in stops)


SizedMachine.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
TestSized = SizedMachine.TestCase
