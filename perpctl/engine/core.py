"""This file is the heart of the bot, without I/O: an event goes in, the effects that it asks for come out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from perpctl.engine import events as e
from perpctl.engine.hours import steps
from perpctl.engine.hours.margin import watch_margin
from perpctl.engine.hours.state import Hours, closed_by_hours
from perpctl.engine.orders import outcomes
from perpctl.engine.orders.renewing import renew_entries
from perpctl.engine.orders.sized import SizedGuard
from perpctl.engine.state.day import RiskDay
from perpctl.engine.state.guard import Guard
from perpctl.engine.state.market_clock import MarketClock
from perpctl.engine.state.product import Product
from perpctl.engine.state.truth import compare, take_over
from perpctl.engine.state.wishes import cancel_unwanted, messages_in, place_waiting, view_of
from perpctl.engine.state.working import Orders, Stage, Working
from perpctl.engine.watch.alarms import USER_SILENT, Alarm, clear_alarm, raise_alarm
from perpctl.engine.watch.cover import watch_cover
from perpctl.engine.watch.losses import watch_losses, watch_transfers
from perpctl.engine.watch.pace import watch_answers
from perpctl.engine.watch.strangers import (
    ForeignRule,
    Strangers,
    owner_found,
    told_before,
    watch_strangers,
)
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.money import ZERO
from perpctl.model.order import OrderRequest
from perpctl.model.position import Position
from perpctl.model.venue.calendar import VenueCalendar
from perpctl.risk.activity import Activity
from perpctl.risk.breaches import LossWatch
from perpctl.risk.limits import Limits

HALF_HOUR_MS = 1_800_000
UNPROVEN_S = 60.0  # after so long without a reconciliation no entry is sent
USER = "user"


@dataclass(frozen=True, slots=True)
class Rules:
    """`user_silent_s` None: the line cannot go silent (a simulation in memory)."""

    limits: Limits
    calendar: VenueCalendar
    terms: port.VenueTerms
    user_silent_s: float | None = 5.0
    foreign: ForeignRule = field(default_factory=ForeignRule)
    unattended_kill: bool = False
    isolated: frozenset[str] = frozenset()  # products whose margin may be isolated


class Core:
    """All that the bot knows and decides. Times are our monotonic counter in seconds, or market ms."""

    def __init__(
        self,
        rules: Rules,
        products: Iterable[Product],
        new_identity: Callable[[], str],
        is_ours: Callable[[str | None], bool],
    ) -> None:
        self.rules = rules
        self.ramp = Decimal(1)  # the share of the limits in force after a return from a halt
        self.products = {product.product_id: product for product in products}
        self.orders = Orders()
        self.others: tuple[Position, ...] = ()  # positions of products or slots that we do not trade
        self.day = RiskDay(rules.calendar)
        self.losses = LossWatch()
        self.activity = Activity()
        self.mode, self.mode_why, self.mode_since = Mode.HALTED, "not started", 0.0
        self.blocks: dict[str, str] = {}  # why no entry may be sent, by what blocks it
        self.dead_man = False
        self.entered = self.left = 0
        self.on_their_way = 0  # messages that we asked for and that have not come to their turn
        self.user_heard = 0.0
        self.reconciled_at: float | None = None
        self.now = 0.0
        self.market = MarketClock()
        self.hours = Hours()
        self.new_identity, self.is_ours = new_identity, is_ours
        self.guard = _guard(rules, new_identity)
        self.asked: list[e.Effect] = []  # by the event at hand
        self.alarms: dict[str, Alarm] = {}  # that stand, by name
        self.strangers = Strangers()
        self._holds_risk = False  # the mode in force was asked for as one that never ends by itself
        self._steps: dict[type, Callable[[Any], None]] = {
            port.QuoteSeen: self._quote_seen,
            port.BookSeen: self._book_seen,
            port.OrderSeen: lambda event: outcomes.order_seen(self, event.order),
            port.FillSeen: lambda event: outcomes.fill_seen(self, event.fill),
            port.PositionSeen: lambda event: self._position_seen(event.position),
            port.FeedLost: self._feed_lost,
            port.FeedResumed: self._feed_resumed,
            port.Beat: self._beat,
            e.Placed: lambda event: outcomes.placed(self, event),
            e.HeldBack: lambda event: outcomes.held_back(self, event),
            e.CancelAnswered: lambda event: outcomes.cancel_answered(self, event),
            e.Settled: lambda event: outcomes.settled(self, event),
            e.ModeChanged: self._mode_changed,
            e.AccountRead: self._account_read,
            e.SpecificationRead: self._specification_read,
            e.VenueRead: lambda event: steps.venue_read(self, event),
            e.EntriesLeft: self._entries_left,
            e.Ticked: self._ticked,
            e.OwnerFound: lambda event: owner_found(self, event),
            e.ToldBefore: lambda event: told_before(self, event),
            e.Reconciled: self._reconciled,
            e.ReconcileFailed: self._reconcile_failed,
        }

    def step(self, event: e.Event, now: float) -> list[e.Effect]:
        """What has to be done about an event."""
        self.now = now
        self._steps[type(event)](event)
        return self._taken()

    def begin(self, truth: e.Reconciled, now: float) -> list[e.Effect]:
        """Take over what the venue holds before the first order."""
        self.now = self.user_heard = self.reconciled_at = now
        take_over(self, truth)
        return self._taken()

    # --- the market

    @property
    def market_ms(self) -> int:
        """Market time as the venue last stamped it."""
        return self.market.at_ms

    def _quote_seen(self, event: port.QuoteSeen) -> None:
        quote = event.quote
        product = self.products.get(quote.product_id)
        if product is None:
            return
        before = self.market_ms
        self.market.saw(quote.at_ms, quote.seen)
        product.quoted(quote)
        self._time_went(before)
        steps.market_moved(self)
        if self._may_ask(product):
            self._ask(product)

    def time_seen(self, at_ms: int, seen: float) -> None:
        """The venue's time, where no quote tells it."""
        before = self.market_ms
        self.market.saw(at_ms, seen)
        self._time_went(before)

    def _time_went(self, before_ms: int) -> None:
        if self.market_ms // 60_000 != before_ms // 60_000:
            self._minute_passed(before_ms)

    def _book_seen(self, event: port.BookSeen) -> None:
        if (product := self.products.get(event.book.product_id)) is not None:
            product.book = event.book

    def _may_ask(self, product: Product) -> bool:
        """Halted or blind, the strategy is not asked."""
        return (
            self.mode is not Mode.HALTED
            and not self.blocks
            and not self.hours.is_shut
            and product.is_tradable
            and product.closing is None
            and product.leaving is None
            and self.day.account is not None
            and not self.orders.has_unknown(product.product_id)
        )

    def _ask(self, product: Product) -> None:
        wishes = product.strategy.on_market(view_of(self, product))
        if wishes is not None:
            product.waiting, product.waiting_since = tuple(wishes), self.now
            cancel_unwanted(self, product)
        place_waiting(self, product)

    def follow(self, request: OrderRequest, reason: str, tolerance: Decimal = ZERO) -> Working:
        """Keep an order from its intent on."""
        working = Working(request, reason, Stage.SENDING, self.now, self.market_ms, tolerance, cover=request.size)
        self.orders.ours[request.identity] = working
        self.entered += 1
        return working

    def exit(self, product: Product, request: OrderRequest, reason: str) -> None:
        """Carry out an exit that the strategy decided on."""
        self._keep(product, self.guard.exit(product, self.orders, request, reason, self.now))

    def cancel(self, working: Working, reason: str) -> None:
        """Cancel an order of ours that the venue has."""
        if working.order is None:
            return
        working.enter(Stage.CANCELLING, self.now)
        self.asked.append(e.CancelEntry(working.order, reason))

    def _position_seen(self, position: Position) -> None:
        self.user_heard = self.now
        product = self.products.get(position.product_id)
        if product is None or position.slot is not None:
            return
        if position.size == product.position:
            product.proven_at = self.now

    # --- feeds

    def _beat(self, event: port.Beat) -> None:
        if USER not in self.blocks:
            self.user_heard = self.now

    def _feed_lost(self, event: port.FeedLost) -> None:
        self.note("FEED LOST", None, f"{event.channel}: {event.cause}")
        if event.channel.startswith(USER):
            self.blocks[USER] = event.cause
            self.dead_man = False
            for working in self.orders.entries():
                if working.stage in {Stage.RESTING, Stage.CANCELLING}:
                    working.enter(Stage.UNKNOWN, self.now)
            return
        self.clear_entries("the market feed is lost")

    def _feed_resumed(self, event: port.FeedResumed) -> None:
        self.note("FEED BACK", None, event.channel)
        if not event.channel.startswith(USER):
            return
        self.blocks.pop(USER, None)
        self.user_heard = self.now
        for fill in event.fills or ():
            outcomes.fill_seen(self, fill)
        for order in event.orders or ():
            outcomes.order_seen(self, order)
        for working in self.orders.unknown():
            outcomes.settle(self, working)
        self.asked.append(e.Reconcile("the user channel is back"))

    # --- time, mode, money

    def _ticked(self, event: e.Ticked) -> None:
        silent = self.rules.user_silent_s
        if self.hours.is_shut:
            pass  # whoever is on call was told that the venue stops
        elif silent is not None and self.now - self.user_heard > silent:
            reason = f"gate: user channel silent for {silent:g} s"
            raise_alarm(self, Alarm(USER_SILENT, 3, reason, Mode.REDUCE_ONLY, risk=False))
        else:
            clear_alarm(self, USER_SILENT)
        watch_answers(self, event)
        watch_strangers(self)
        for working in tuple(self.orders.ours.values()):
            outcomes.chase(self, working)
        renew_entries(self)
        watch_cover(self)
        for product in self.products.values():
            self.look_after(product)
        if self.day.is_blind and self.worth(worse=False) is not None:
            self.asked.append(e.ReadAccount("what is held has a price again"))
        watch_losses(self)
        steps.watch_hours(self)

    @property
    def is_closed_to_entries(self) -> bool:
        """Whether nothing of ours may rest but what protects."""
        return self.mode is not Mode.NORMAL or bool(self.blocks) or self.hours.keeps_none_resting

    @property
    def may_increase(self) -> bool:
        """Whether an entry may be sent, as far as mode and the venue's hours go."""
        return self.mode is Mode.NORMAL and closed_by_hours(self) is None

    def _mode_changed(self, event: e.ModeChanged) -> None:
        self.mode, self.mode_why, self.mode_since = event.mode, event.why, self.now
        self.note("MODE", None, f"{event.mode.value}: {event.why}")
        if event.mode is Mode.NORMAL:
            self._go_on()
            return
        self.clear_entries(f"mode is {event.mode.value}")
        self.asked.append(e.ReadBackEntries(f"mode is {event.mode.value}"))

    def _go_on(self) -> None:
        """Back to normal: every line is watched anew, and what a human has answered for is not counted again."""
        self._holds_risk = False
        if any(alarm.mode is Mode.HALTED for alarm in self.alarms.values()):
            self.activity.went_on()
        self.alarms.clear()

    def clear_entries(self, reason: str) -> None:
        """Cancel every entry; those on their way are cancelled when they arrive."""
        for product in self.products.values():
            product.waiting = ()
        self.orders.renew_none()
        for working in self.orders.entries():
            if working.stage is Stage.RESTING:
                self.cancel(working, reason)

    def _entries_left(self, event: e.EntriesLeft) -> None:
        left = "the listing could not be read" if event.count is None else f"{event.count} still listed or on their way"
        text = f"entries are not proven gone ({event.reason}): {left}"
        self.asked.append(e.Alert(3, "entries left", text))

    def clear(self, reason: str, now: float) -> list[e.Effect]:
        """Cancel every entry, whatever the mode."""
        self.now = now
        self.clear_entries(reason)
        return self._taken()

    def close_all(self, reason: str, now: float) -> list[e.Effect]:
        """Close every position that is not being closed already."""
        self.now = now
        for product in self.products.values():
            self._keep(product, self.guard.close(product, self.orders, now, reason))
        return self._taken()

    def enter_mode(self, mode: Mode, reason: str, *, risk: bool) -> None:
        """Ask for a stricter mode, or for the same one to hold until a human ends it."""
        stricter = self.mode is not mode and self.mode is not Mode.HALTED
        if stricter or (self.mode is mode and risk and not self._holds_risk):
            self._holds_risk = risk
            self.asked.append(e.EnterMode(mode, reason, risk))

    def _account_read(self, event: e.AccountRead) -> None:
        if self.day.read(event.account, self.worth(worse=False), self.now, event.moves):
            self.asked.append(e.TakeBaseline(event.account))
        watch_transfers(self)
        watch_losses(self)
        watch_margin(self)

    def _specification_read(self, event: e.SpecificationRead) -> None:
        """Another tick, step or minimum than at the start: no entry in that product until a human starts anew."""
        steps.specification_read(self, event.instrument.product_id)
        product = self.products.get(event.instrument.product_id)
        if product is None:
            return
        product.specified_at = self.now
        if product.spec_changed or not product.rounds_otherwise(event.instrument):
            return
        product.spec_changed, product.waiting = True, ()
        text = "tick, size step or minimum changed: no entries until a new start"
        self.asked.append(e.Alert(3, "specification", text, product.product_id))
        for working in self.orders.of(product.product_id, stops=False):
            if working.stage is Stage.RESTING:
                self.cancel(working, "the specification changed")

    def _minute_passed(self, before_ms: int) -> None:
        calendar = self.rules.calendar
        if before_ms and calendar.day_start_ms(self.market_ms) != calendar.day_start_ms(before_ms):
            self.activity.day_began()
            self.asked.append(e.ReadFunding())
        if before_ms and self.market_ms // HALF_HOUR_MS != before_ms // HALF_HOUR_MS:
            self.asked.append(e.ReadAccount("half an hour of the market passed"))
        watch_losses(self)
        watch_margin(self)

    def worth(self, *, worse: bool) -> Decimal | None:
        """Cash of our fills plus positions, at mark or at the worse of mark and index; None when one has no price."""
        parts = [p.worth(p.worse_price if worse else p.mark) for p in self.products.values()]
        return None if None in parts else sum((one for one in parts if one is not None), ZERO)

    # --- the venue's truth

    def _reconciled(self, truth: e.Reconciled) -> None:
        compare(self, truth)
        self.reconciled_at = self.now
        self.blocks.pop("reconcile", None)
        steps.verified(self)

    def _reconcile_failed(self, event: e.ReconcileFailed) -> None:
        self.note("NOT RECONCILED", None, event.why)
        if self.reconciled_at is None or self.now - self.reconciled_at > UNPROVEN_S:
            self.blocks["reconcile"] = event.why

    def look_after(self, product: Product) -> None:
        """See to the stop of a position; inside a stop of the venue nothing can be sent, and it waits."""
        if self.hours.is_shut:
            return
        self._keep(product, self.guard.look_after(product, self.orders, self.now))

    def _keep(self, product: Product, effects: Iterable[e.Effect]) -> None:
        for effect in effects:
            if isinstance(effect, e.PlaceEntry | e.PlaceStop | e.CloseNow):
                self.follow(effect.request, effect.reason)
            if isinstance(effect, e.CloseNow):
                product.closing, product.exiting = effect.request.identity, effect.exit
            self.asked.append(effect)

    def _taken(self) -> list[e.Effect]:
        out, self.asked = self.asked, []
        self.on_their_way += messages_in(out)
        return out

    def ask_for(self, effect: e.Effect) -> None:
        """One more thing to do."""
        self.asked.append(effect)

    def note(self, kind: str, product_id: str | None, text: str) -> None:
        self.asked.append(e.Note(kind, product_id, text))


def _guard(rules: Rules, new_identity: Callable[[], str]) -> Guard:
    """What sees to the stops, by what the venue does with them."""
    kind, limits = Guard if rules.terms.reduces_only else SizedGuard, rules.limits
    missing_s = float(limits.stop_missing_s)
    return kind(rules.terms.stop, limits.stop_distance_pct, missing_s, limits.price_collar_pct, new_identity)
