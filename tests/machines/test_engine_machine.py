"""The core against a venue that answers late, twice, not at all or no; whatever happens, what must hold holds."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field, replace
from decimal import Decimal as D

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from perpctl.engine import events as e
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.sight import Permission, look
from perpctl.exchange import port
from perpctl.model.fill import Fill
from perpctl.model.mode import Mode
from perpctl.model.money import floor_to, price_up
from perpctl.model.order import Order, OrderRequest, OrderStatus, Side
from perpctl.risk.gate import decide
from tests.conftest import both_venues
from tests.engine.bench import Bench, as_order, bid, offer
from tests.risk.world import NOW

PRICES = st.integers(84_050, 84_150)
SIZES = st.sampled_from(["0.01", "0.05", "0.11"])
LIMIT = D(50_000) / D(84_050) * D("1.005")  # half of equity, at the lowest price of these tests


@dataclass
class Venue:
    """What the venue really has: the oracle. `told` are fills that reached the core."""

    start: D
    size: D
    live: dict[str, Order] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)
    told: set[str] = field(default_factory=set)


class EngineMachine(RuleBasedStateMachine):
    """Sends wait in `outbox` until a rule decides what becomes of them."""

    def __init__(self, venue: str) -> None:
        super().__init__()
        self.bench = Bench(venue)
        self.terms, self.tick, self.step = self.bench.world.terms, self.bench.world.tick, self.bench.world.step

    @initialize(held=st.sampled_from(["0", "0.45", "-0.45"]))
    def start(self, held: str) -> None:
        self.venue = Venue(start=D(held), size=D(held))
        self.outbox: list[OrderRequest] = []
        self.cancels: list[Order] = []
        self.unsettled: list[OrderRequest] = []
        self.placed_ids: list[str] = []
        self.asked_while_halted = 0
        self.stamps = itertools.count(NOW + 1)
        if self.venue.size:
            truth = e.Reconciled((self.bench.position(held),), (), (), self.bench.now)
            self._do(self.bench.core.begin(truth, self.bench.now))

    def _do(self, effects: list[e.Effect]) -> None:
        for effect in effects:
            match effect:
                case e.PlaceEntry(request, _) | e.PlaceStop(request, _) | e.CloseNow(request, _):
                    self.outbox.append(request)
                case e.CancelEntry(order, _) | e.CancelStop(order, _):
                    self.cancels.append(order)
                case e.SettleUnknown(request):
                    self.unsettled.append(request)
                case _:
                    pass

    def _tell(self, event: e.Event) -> None:
        if isinstance(event, port.FillSeen):
            self.venue.told.add(event.fill.trade_id)
        self._do(self.bench.tell(event))

    # --- the market and the strategy

    @rule(mid=PRICES, size=SIZES, sides=st.sampled_from(["bid", "bids", "offers", "both"]), hurry=st.booleans())
    def the_market_moves_and_the_strategy_wishes(self, mid: int, size: str, sides: str, hurry: bool) -> None:
        """`hurry`: takes instead of resting, and everything under way is accepted at once."""
        middle = floor_to(D(mid), self.tick)
        bids = [bid(size, str(middle - 10)), bid(size, str(middle - 20))]
        offers = [offer(size, str(middle + 10), take=hurry), offer(size, str(middle + 20))]
        wishes = {"bid": bids[:1], "bids": bids, "offers": offers, "both": [bids[0], offers[0]]}[sides]
        before = self.bench.strategy.asked
        self.bench.strategy.wishes = wishes
        self.bench.now += 2
        self.bench.at_ms += 2000
        self._do(self.bench.quote(str(middle)))
        if self.bench.core.mode is Mode.HALTED:
            self.asked_while_halted += self.bench.strategy.asked - before
        while hurry and self.outbox:
            self._send(self.outbox.pop(0), "accepted")

    # --- what becomes of a send

    @precondition(lambda self: self.outbox)
    @rule(fate=st.sampled_from(["accepted", "accepted", "accepted", "refused", "lost before", "lost after"]))
    def a_send_meets_its_fate(self, fate: str) -> None:
        self._send(self.outbox.pop(0), fate)

    def _send(self, request: OrderRequest, fate: str) -> None:
        core = self.bench.core
        permission = Permission(core.mode, False, 5_000)
        decision = decide(request, look(core, request, permission, Meter(), self.bench.now), core.rules.limits)
        if not decision.allowed:
            assert decision.first_refusal is not None
            code = decision.first_refusal.reason_code
            assert code is not None
            self._tell(e.HeldBack(request.identity, code, code.meaning))
            return
        self._judge(request)
        core.left += 1
        core.activity.order_sent(request, core.market_ms)
        self.placed_ids.append(request.identity)
        if fate in ("accepted", "lost after"):
            self._accept(request)
        answer: port.Outcome = port.Unknown("no answer")
        if fate == "accepted":
            answer = port.Confirmed(as_order(request))
        elif fate == "refused":
            answer = port.Refused(11030, "other_reject")
        self._tell(e.Placed(request.identity, answer))

    def _judge(self, request: OrderRequest) -> None:
        """A second reading of what the gate let through: exits are exits, and a stricter mode lets nothing grow."""
        core, product = self.bench.core, self.bench.product
        sign = request.side.sign
        held = -sign * product.position  # what there is to close on this side
        proven = product.proven_at is not None and self.bench.now - product.proven_at <= 60
        if request.reduce_only and proven:
            coming = (one for one in core.orders.entries() if one.request.side is not request.side)
            most = held + sum((one.remaining for one in coming if not one.request.reduce_only), D(0))
            assert request.size <= most, f"{request.size} can close {most} at most"
        if core.mode is not Mode.NORMAL and not request.reduce_only:
            assert core.mode is Mode.REDUCE_ONLY, "only exits pass a halt"
            assert request.size <= held, "in reduce_only it could grow"

    def _accept(self, request: OrderRequest) -> None:
        order = as_order(request)
        if not request.time_in_force.value.startswith("immediate"):
            self.venue.live[order.order_id] = order

    @rule(side=st.sampled_from(["bids", "offers"]), fates=st.permutations(["lost after", "accepted"]))
    def two_leave_at_once_and_one_answer_is_lost(self, side: str, fates: list[str]) -> None:
        """What has no answer may be live: the second must be judged as if the first were."""
        waiting = len(self.outbox)
        self.the_market_moves_and_the_strategy_wishes(84_100, "0.11", side, False)
        for fate in fates:
            if len(self.outbox) > waiting:
                self._send(self.outbox.pop(waiting), fate)

    @precondition(lambda self: self.outbox)
    @rule(mode=st.sampled_from([Mode.REDUCE_ONLY, Mode.HALTED]))
    def the_latch_closes_while_orders_are_on_their_way(self, mode: Mode) -> None:
        self._tell(e.ModeChanged(mode, "somebody"))
        while self.outbox:
            self._send(self.outbox.pop(0), "accepted")

    @precondition(lambda self: self.venue.size and any(one.reduce_only for one in self.outbox))
    @rule()
    def somebody_turns_the_position_over_while_an_exit_is_on_its_way(self) -> None:
        """An exit of yesterday's position is none any more, whatever it claims and at whatever price.

        Not where entries that rest would take the turned position past its limit: that is not the bot's doing.
        """
        side = Side.SELL if self.venue.size > 0 else Side.BUY
        resting = (o.remaining for o in self.venue.live.values() if o.side is side and not o.reduce_only)
        if abs(self.venue.size) + sum(resting, D(0)) > LIMIT:
            return
        self.bench.strategy.wishes = [offer("0.05", "84090.0", take=True), bid("0.05", "84110.0", take=True)]
        self.bench.now += 2
        self.bench.at_ms += 2000
        self._do(self.bench.quote())
        self.the_venue_is_reconciled()
        turned = -2 * self.venue.size
        self.venue.start, self.venue.size = self.venue.start + turned, self.venue.size + turned
        self.the_venue_is_reconciled()
        for _ in range(len(self.outbox)):
            self._send(self.outbox.pop(0), "accepted")

    @precondition(lambda self: self.cancels)
    @rule(lost=st.booleans())
    def a_cancel_is_answered(self, lost: bool) -> None:
        order = self.cancels.pop(0)
        live = self.venue.live.pop(order.order_id, None)
        if lost or live is None:
            answer: port.Outcome = port.Unknown("no answer") if lost else port.Refused(11044, "not_open_order")
        else:
            answer = port.Confirmed(replace(live, status=OrderStatus.CANCELLED, updated_ms=next(self.stamps)))
        self._tell(e.CancelAnswered(order.identity or "", answer))

    @precondition(lambda self: self.unsettled)
    @rule()
    def reads_settle_an_unknown(self) -> None:
        request = self.unsettled.pop(0)
        order_id = f"o-{request.identity}"
        live = self.venue.live.get(order_id)
        mine = tuple(fill for fill in self.venue.fills if fill.order_id == order_id)
        if live is not None:
            answer: port.Settled = port.Confirmed(live, mine)
        elif mine:
            filled = sum((fill.size for fill in mine), D(0))
            done = as_order(request, OrderStatus.CANCELLED, filled=filled, updated_ms=2_000_000_000_000)
            answer = port.Confirmed(done, mine)
        else:
            answer = port.Absent("two empty readings")
        self.venue.told.update(fill.trade_id for fill in mine)
        self._tell(e.Settled(request.identity, answer))

    # --- fills

    @precondition(lambda self: any(not order.is_trigger for order in self.venue.live.values()))
    @rule(number=st.integers(0, 10), part=st.sampled_from([D("0.5"), D(1)]), tell=st.booleans())
    def the_venue_fills(self, number: int, part: D, tell: bool) -> None:
        entries = [order for order in self.venue.live.values() if not order.is_trigger]
        order = entries[number % len(entries)]
        size = price_up(order.remaining * part, self.step)
        if order.reduce_only and self.terms.reduces_only:
            size = min(size, max(D(0), -order.side.sign * self.venue.size))
        if size <= 0:
            return
        filled = replace(order, filled=order.filled + size, updated_ms=next(self.stamps))
        self.venue.live[order.order_id] = filled
        if not filled.remaining:
            filled = replace(filled, status=OrderStatus.FILLED)
            del self.venue.live[order.order_id]
        self.venue.size += order.side.sign * size
        asked = self.bench.core.orders.ours.get(order.identity or "")
        request = asked.request if asked is not None else None
        news = self._news(order, size, request)
        self.venue.fills.append(news.fill)
        if tell:
            self._tell(news)
            self._tell(port.OrderSeen(filled))

    def _news(self, order: Order, size: D, request: OrderRequest | None) -> port.FillSeen:
        made = request or OrderRequest(
            order.identity or "", order.product_id, order.side, order.size, order.type, order.price
        )
        return self.bench.fill(made, str(size), str(order.price), order_id=order.order_id)

    @precondition(lambda self: self.venue.fills)
    @rule(number=st.integers(0, 10))
    def a_fill_is_told_again(self, number: int) -> None:
        self._tell(port.FillSeen(self.venue.fills[number % len(self.venue.fills)]))

    @rule()
    def the_venue_is_reconciled(self) -> None:
        self.bench.now += 0.1
        self.venue.told.update(fill.trade_id for fill in self.venue.fills)
        held = (self.bench.position(str(self.venue.size)),) if self.venue.size else ()
        orders, fills = tuple(self.venue.live.values()), tuple(self.venue.fills)
        self._tell(e.Reconciled(held, orders, fills, self.bench.now))
        self._tell(e.AccountRead(self.bench.world.account))

    # --- modes, feeds, time

    @rule(mode=st.sampled_from([Mode.NORMAL, Mode.NORMAL, Mode.NORMAL, Mode.REDUCE_ONLY, Mode.HALTED]))
    def the_latch_changes(self, mode: Mode) -> None:
        self._tell(e.ModeChanged(mode, "somebody"))

    @rule()
    def the_user_channel_breaks_and_returns(self) -> None:
        self._tell(port.FeedLost("user", "closed"))
        for order in [order for order in self.venue.live.values() if not order.is_trigger]:
            if self.terms.dead_man is None:
                del self.venue.live[order.order_id]
        self.venue.told.update(fill.trade_id for fill in self.venue.fills)
        live = tuple(self.venue.live.values())
        self._tell(port.FeedResumed("user", orders=live, positions=(), fills=tuple(self.venue.fills)))
        self.bench.core.dead_man = self.bench.world.dead_man

    @rule(seconds=st.sampled_from([0.3, 1.1, 3.0]))
    def time_passes(self, seconds: float) -> None:
        """After each look at the time, a position is covered, being closed, or was refused a moment ago."""
        self._do(self.bench.later(seconds))
        product, now = self.bench.product, self.bench.now
        bare_s = 0.0 if product.bare_since is None else now - product.bare_since
        leaves = product.closing is not None or product.leaving is not None
        assert bare_s <= 5.0 or leaves or now < max(product.retry_at, product.close_at)

    # --- what must hold

    @invariant()
    def every_fill_that_was_told_counts_exactly_once(self) -> None:
        known = [fill for fill in self.venue.fills if fill.trade_id in self.venue.told]
        moved = sum((fill.side.sign * fill.size for fill in known), D(0))
        assert self.bench.product.position == self.venue.start + moved

    @invariant()
    def what_may_fill_at_the_venue_is_counted(self) -> None:
        for order in self.venue.live.values():
            working = self.bench.core.orders.ours.get(order.identity or "")
            followed = working is not None and working.remaining >= order.remaining
            thought_gone = order.identity in {cancel.identity for cancel in self.cancels}
            assert followed or thought_gone or order.order_id in self.bench.core.orders.foreign, order

    @invariant()
    def the_position_limit_holds_at_its_worst(self) -> None:
        for side in Side:
            open_ = (o.remaining for o in self.venue.live.values() if o.side is side and not o.reduce_only)
            worst = max(D(0), side.sign * self.venue.size) + sum(open_, D(0))
            assert worst <= LIMIT

    @invariant()
    def no_identity_is_ever_used_twice(self) -> None:
        assert len(self.placed_ids) == len(set(self.placed_ids))

    @invariant()
    def halted_the_strategy_is_not_asked(self) -> None:
        assert self.asked_while_halted == 0


@both_venues
def test_what_must_hold_holds(venue: str) -> None:
    within = settings(max_examples=150, stateful_step_count=60, deadline=None)
    run_state_machine_as_test(lambda: EngineMachine(venue), settings=within)
