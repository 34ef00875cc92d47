"""This file is the bot: it carries what happens to the core, and out what the core asks for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpctl.clock import Clock, to_ms
from perpctl.engine import events as e
from perpctl.engine.closing import Ended, Wish, close_down
from perpctl.engine.core import USER, Core
from perpctl.engine.reading import note_reconcile, owner_of, read_money, read_truth, settle_working, told_at
from perpctl.engine.sending import HTTP, SOCKET, Lease, Sender
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.working import Stage
from perpctl.engine.watch.alarms import HEALING
from perpctl.errors import PerpctlError
from perpctl.exchange import port
from perpctl.model.day import DAY_MS
from perpctl.model.fill import Fill
from perpctl.model.mode import Mode
from perpctl.model.order import Order, is_protective
from perpctl.risk.bounds import ramp_after
from perpctl.store.intents import Intents
from perpctl.store.latch import Latch, LatchState
from perpctl.store.projections import Projections
from perpctl.store.records import Kind

TICK_S = 0.25
LEASE_LOOK_S = 3.0
RECONCILE_S = 30.0
ACCOUNT_S = 20.0
SPECIFICATION_S = 1810.0
VENUE_S = 15.0  # a quarter of the age at which its state is stale
READ_BACK_S = 2.0
OVERLAP_MS = 300_000  # of each look for fills with the one before

_IN_FLIGHT = frozenset({Stage.SENDING, Stage.UNKNOWN})
Watcher = Callable[[e.Event, list[e.Effect]], None]


@dataclass(slots=True)
class Gear:
    """What the bot holds in its hands."""

    exchange: port.Exchange
    projections: Projections
    latch: Latch
    lease: Lease
    clock: Clock
    symbols: tuple[str, ...]
    name: str  # who writes the latch when the gate decides
    start_kill: Callable[[str], None] = lambda reason: None  # the emergency program; a simulation has none

    @property
    def intents(self) -> Intents:
        return Intents(self.projections)


@dataclass(slots=True)
class ReadBack:
    """What the venue's listing said after the entries were cancelled."""

    proven: bool
    cancelled: int
    stops: tuple[Order, ...] = ()
    left: tuple[Order, ...] = ()
    in_flight: int = 0  # entries whose answer was still awaited when time was up


class Bot:
    """One bot, from the first event to the last. Everything runs on one loop; a task that dies ends it all."""

    def __init__(self, core: Core, gear: Gear, meter: Meter) -> None:
        self.core, self.gear, self.meter = core, gear, meter
        self.sender = Sender(
            core, gear.exchange, gear.intents, gear.latch, gear.lease, gear.clock, meter, self.dispatch
        )
        self.watchers: list[Watcher] = []
        self.stopping = asyncio.Event()
        self.began = gear.clock.monotonic()
        self.fills_since_ms = 0
        self.books_from_ms = 0
        self._group: asyncio.TaskGroup | None = None
        self._reconciling = False
        self._reading_money = False
        self._clearing: asyncio.Task[ReadBack] | None = None
        self._leasing = True
        self._first: list[e.Effect] = []
        self.wish = Wish()
        self.companions: list[Coroutine[Any, Any, None]] = []  # what runs beside, and ends with the bot

    # --- events in, effects out

    def dispatch(self, event: e.Event) -> None:
        """Tell the core, carry out what it asks for. What the venue tells is on the disk before it counts."""
        self.write_down(event)
        self._tally(event)
        effects = self.core.step(event, self.gear.clock.monotonic())
        for watch in self.watchers:
            watch(event, effects)
        self.carry_out(effects)

    def carry_out(self, effects: list[e.Effect]) -> None:
        """Do what the core asked for."""
        for effect in effects:
            self._carry_out(effect)

    def _tally(self, event: e.Event) -> None:
        match event:
            case e.Placed(_, port.Refused()):
                self.meter.counts["refused.venue"] += 1
            case e.HeldBack():
                self.meter.counts["refused.gate"] += 1
            case _:
                return

    def take_over(self, truth: e.Reconciled) -> None:
        """Begin with what the venue holds; what follows from it is done first thing when the bot runs."""
        self._first = self.core.begin(truth, self.gear.clock.monotonic())

    def write_down(self, event: e.Event) -> None:
        """What the venue told goes into the journal, each thing once."""
        see = self.gear.projections.see_order
        match event:
            case port.FillSeen(fill):
                self._book(fill, "user channel")
            case port.OrderSeen(order):
                see(order, "user channel")
            case port.FeedResumed(orders=orders, fills=fills):
                for order in orders or ():
                    see(order, "listing")
                for fill in fills or ():
                    self._book(fill, "listing")
            case e.Reconciled(orders=orders, fills=fills):
                for order in orders:
                    see(order, "listing")
                for fill in fills:
                    self._book(fill, "reconcile")
            case e.Settled(identity, settled):
                self._write_down_settled(identity, settled)
            case _:
                return

    def _book(self, fill: Fill, seen_by: str) -> None:
        """Fills from before a new journal began belong to nobody's run."""
        if fill.at_ms >= self.books_from_ms:
            self.gear.projections.book_fill(fill, seen_by)

    def _write_down_settled(self, identity: str, settled: port.Settled) -> None:
        if isinstance(settled, port.Confirmed):
            self.gear.intents.settled(identity, settled.order, "label", settled.fills)
        elif isinstance(settled, port.Absent):
            self.gear.intents.settled_absent(identity, settled.evidence, "label")

    def _carry_out(self, effect: e.Effect) -> None:
        sender = self.sender
        match effect:
            case e.PlaceEntry(request, reason):
                self._send(sender.order(request, reason, SOCKET))
            case e.PlaceStop(request, reason) | e.CloseNow(request, reason):
                self._send(sender.order(request, reason, HTTP))
            case e.CancelEntry(order, reason):
                self._send(sender.cancel(order, reason, SOCKET))
            case e.CancelStop(order, reason):
                self._send(sender.cancel(order, reason, HTTP))
            case e.SettleUnknown(request):
                self.spawn(self._settle(request.identity))
            case e.Reconcile() | e.ReadAccount() | e.ReadFunding() | e.ReadBackEntries() | e.ReadVenue():
                self._look(effect)
            case e.ReadSpecifications():
                self._look(effect)
            case e.TakeBaseline(account):
                name = self.core.rules.calendar.day_name(account.at_ms)
                self.gear.projections.set_baseline(name, account.equity, account.currency, account.at_ms)
            case e.EnterMode(mode, reason, risk):
                self.enter_mode(mode, self.gear.name, reason, cause="gate", risk=risk)
            case e.LeaveMode(reason):
                self._leave_mode(reason)
            case e.SeekOwner(order_id, first):
                self._seek_owner(order_id, first=first)
            case e.Alert():
                self._raise_alert(effect)
            case e.StartKill(reason):
                self.gear.start_kill(reason)
            case e.Note():
                pass

    def _look(self, effect: e.Look) -> None:
        if self._group is None:  # not running yet: first thing then
            self._first.append(effect)
            return
        match effect:
            case e.ReadFunding():
                self.spawn(self.book_funding())
            case e.Reconcile():
                self.spawn(self.reconcile())
            case e.ReadAccount():
                self.spawn(self.read_account())
            case e.ReadVenue():
                self.spawn(self.read_venue())
            case e.ReadSpecifications():
                self.spawn(self.read_specifications())
            case e.ReadBackEntries(reason):
                self.spawn(self._read_back(reason))

    def _seek_owner(self, order_id: str, *, first: bool) -> None:
        if first and (at := told_at(self.gear.projections.journal, order_id)) is not None:
            self.dispatch(e.ToldBefore(order_id, max(0.0, (self.gear.clock.now() - at).total_seconds())))
        owner = owner_of(self.gear.projections, order_id)
        if owner is not None:
            self.dispatch(e.OwnerFound(order_id, owner))

    def _raise_alert(self, alert: e.Alert) -> None:
        """On the record, with its level; whoever watches the bot is told by the diary, the log and the metrics."""
        self.meter.counts[f"alert.{alert.level}"] += 1
        body = {"level": alert.level, "name": alert.name, "text": alert.text, "product_id": alert.product_id}
        body |= {} if alert.order_id is None else {"order_id": alert.order_id}
        self.gear.projections.journal.append(Kind.ALERT_RAISED, body, market_ms=self.core.market_ms or None)

    @property
    def fenced(self) -> str | None:
        """Which kill has fenced us; None: none."""
        return self.sender.fenced

    def fence(self, kill_id: str) -> None:
        """The strategy is stopped for good, and nothing more is sent."""
        self.sender.fenced = kill_id
        self.core.blocks["fenced"] = f"kill {kill_id}"

    def _send(self, sending: Coroutine[Any, Any, None]) -> None:
        """After a fence nothing leaves any more."""
        if self.fenced is not None:
            sending.close()
        else:
            self.spawn(sending)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run beside the rest; an exception in it ends the bot."""
        assert self._group is not None
        self._group.create_task(work)

    # --- the mode is the latch file

    def enter_mode(self, mode: Mode, who: str, why: str, *, cause: str, risk: bool = False) -> None:
        """Write the latch, tighter only, and act on it at once. Raises StateDamaged: then nothing more is sent."""
        at_ms = to_ms(self.gear.clock.now())
        self.gear.latch.tighten(LatchState(mode, who, why, at_ms, cause, risk=risk))
        self.look_at_latch()

    def _leave_mode(self, reason: str) -> None:
        state = self.gear.latch.read()
        if state.cause != "gate" or state.who != self.gear.name or state.risk or reason not in HEALING:
            return
        at_ms = to_ms(self.gear.clock.now())
        normal = LatchState(Mode.NORMAL, self.gear.name, f"over: {state.why}", at_ms, "gate")
        self.gear.latch.write(normal, seen=state)
        self.look_at_latch()

    def look_at_latch(self) -> None:
        """Read the latch; a change is journaled and told to the core."""
        state = self.gear.latch.read()
        self.core.ramp = min(self._ramp(state), self.core.hours.share(self.core.market_ms))
        mode = state.mode
        if mode is self.core.mode:
            return
        body = {"from": self.core.mode, "to": mode, "who": state.who, "why": state.why, "cause": state.cause}
        self.gear.projections.journal.append(Kind.MODE_CHANGED, body, market_ms=self.core.market_ms or None)
        self.dispatch(e.ModeChanged(mode, state.why))

    def _ramp(self, state: LatchState) -> Decimal:
        """Limits grow back after a human resumed; a bot that starts meanwhile is no exception."""
        return ramp_after(to_ms(self.gear.clock.now()) - state.at_ms) if state.cause == "resume" else Decimal(1)

    def clear_entries(self) -> asyncio.Task[ReadBack]:
        """Cancel our entries and read back; whoever asks meanwhile gets the same answer."""
        if self._clearing is None or self._clearing.done():
            assert self._group is not None
            self._clearing = self._group.create_task(self._clear_entries())
        return self._clearing

    async def _read_back(self, reason: str) -> None:
        found = await self.clear_entries()
        if not found.proven:
            self.dispatch(e.EntriesLeft(reason, len(found.left) + found.in_flight or None))

    async def _clear_entries(self) -> ReadBack:
        """List until none of our entries is there or on its way, for at most two seconds.

        What was on its way before a listing may arrive after it: such a listing proves nothing.
        """
        clock = self.gear.clock
        ends, gone = clock.monotonic() + READ_BACK_S, 0
        before = len([w for w in self.core.orders.entries() if not w.request.reduce_only])
        while True:
            coming = self._entries_in_flight()
            try:
                listed = await self.gear.exchange.open_orders()
            except PerpctlError:
                listed = None
            if listed is not None:
                entries = [order for order in listed if self._is_our_entry(order)]
                gone = max(gone, before - len(entries))
                if not entries and not coming and not self._entries_in_flight():
                    stops = tuple(order for order in listed if self._protects(order))
                    return ReadBack(True, gone, stops)
                await self._cancel_again(entries, ends)
            if clock.monotonic() > ends:
                left = () if listed is None else tuple(entries)
                return ReadBack(False, gone, left=left, in_flight=self._entries_in_flight())
            await clock.sleep(0.1)

    async def _cancel_again(self, entries: list[Order], ends: float) -> None:
        """All at once; whoever waits for the reading back does not wait for a venue that does not answer."""
        assert self._group is not None
        sent = [self._group.create_task(self.sender.cancel(one, "read back and still there", HTTP)) for one in entries]
        if sent:
            await asyncio.wait(sent, timeout=max(0.0, ends - self.gear.clock.monotonic()))

    def _entries_in_flight(self) -> int:
        return sum(1 for one in self.core.orders.entries() if one.stage in _IN_FLIGHT)

    def _is_our_entry(self, order: Order) -> bool:
        return self.core.is_ours(order.identity) and not self._protects(order) and not order.status.is_terminal

    def _protects(self, order: Order) -> bool:
        product = self.core.products.get(order.product_id)
        return product is not None and is_protective(order, product.position)

    # --- reads

    async def _settle(self, identity: str) -> None:
        working = self.core.orders.ours.get(identity)
        if working is not None:
            settled = await settle_working(self.gear.exchange, working, self.gear.clock)
            self.dispatch(e.Settled(identity, settled))

    async def reconcile(self) -> None:
        """Agreeing reads of positions, orders and fills; one at a time."""
        if self._reconciling:
            return
        self._reconciling = True
        try:
            began_ms, began = self.core.market_ms, self.gear.clock.now()
            truth = await read_truth(self.gear.exchange, self.fills_since_ms, self.gear.clock)
            if self._is_settling():
                truth = e.ReconcileFailed("the venue settles: what is read now proves nothing")
            if isinstance(truth, e.Reconciled):
                self.fills_since_ms = max(self.fills_since_ms, began_ms - OVERLAP_MS)
            self.dispatch(truth)
            note_reconcile(self.gear.projections, truth, began, sum(1 for _ in self.core.orders.unknown()))
        finally:
            self._reconciling = False

    def _is_settling(self) -> bool:
        now_ms = self.core.market.now_ms(self.gear.clock.monotonic())
        return self.core.rules.calendar.reads_prove_nothing(now_ms)

    async def read_account(self) -> None:
        """Equity and margin, one read at a time; what cannot be read grows old, and the gate sees that."""
        if self._reading_money:
            return
        self._reading_money = True
        try:
            account, moves = await read_money(self.gear.exchange, self.core.day, self.core.market_ms)
        except PerpctlError as why:
            self.meter.counts["account.failed"] += 1
            self.dispatch(e.ReconcileFailed(why.message))
            return
        finally:
            self._reading_money = False
        self.meter.counts["transfers.failed"] += moves.unread is not None and not moves.never
        self.dispatch(e.AccountRead(account, moves))

    async def read_specifications(self) -> None:
        """Every product's tick, step and minimum; an unread one stays as it was."""
        try:
            for instrument in await self.gear.exchange.instruments(fresh=True):
                self.dispatch(e.SpecificationRead(instrument))
        except PerpctlError:
            self.meter.counts["specification.failed"] += 1

    async def read_venue(self) -> None:
        """What the venue says of itself; what cannot be read grows old, and then no entry goes."""
        try:
            status = await self.gear.exchange.status()
        except PerpctlError:
            self.meter.counts["venue.failed"] += 1
            return
        self.dispatch(e.VenueRead(status, to_ms(self.gear.clock.now()) + status.offset_ms))

    async def book_funding(self) -> None:
        """Settled funding since a day before the last look, each payment once; what fails is read the next day."""
        try:
            payments = await self.gear.exchange.funding_payments(self.core.market_ms - 2 * DAY_MS)
        except PerpctlError:
            self.meter.counts["funding.failed"] += 1
            return
        for payment in () if isinstance(payments, port.Unsupported) else payments:
            if payment.at_ms >= self.books_from_ms:
                self.gear.projections.book_funding(payment, "ledger")

    # --- running

    async def run(self) -> Ended:
        """Until `stopping` is set. Raises whatever ended it otherwise."""
        async with asyncio.TaskGroup() as self._group:
            self.carry_out(self._first)
            tasks = [self._group.create_task(work) for work in (*self._works(), *self.companions)]
            await self.stopping.wait()
            ended = await close_down(self, self.wish)
            for task in tasks:
                task.cancel()
        return ended

    def stop(self, wish: Wish | None = None) -> None:
        """End in order; the first wish counts."""
        if not self.stopping.is_set():
            self.wish = wish or self.wish
            self.stopping.set()

    def _works(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._listen(),
            self._every(TICK_S, self._tick),
            self._every(LEASE_LOOK_S, self._look_at_lease),
            self._every(RECONCILE_S, self.reconcile),
            self._every(ACCOUNT_S, self.read_account),
            self._every(SPECIFICATION_S, self.read_specifications),
            self._every(VENUE_S, self.read_venue),
        ]

    async def _every(self, seconds: float, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        clock = self.gear.clock
        while True:
            due = clock.monotonic() + seconds
            await clock.sleep(seconds)
            if seconds == TICK_S:
                self.meter.lags.append(max(0.0, clock.monotonic() - due))
            await work()

    async def _tick(self) -> None:
        self.look_at_latch()
        now = self.gear.clock.monotonic()
        self.dispatch(e.Ticked(self.meter.order_success_pct(now), self.meter.latency_p95_ms(now)))
        if self.sender.session is not None and not self.core.dead_man and USER not in self.core.blocks:
            await self._arm(self.sender.session)

    async def _look_at_lease(self) -> None:
        if not self.gear.lease.left_ms() and self._leasing:
            self._leasing = False
            self.enter_mode(Mode.HALTED, self.gear.name, "the lease was lost", cause="gate")

    async def _listen(self) -> None:
        """The venue's line: entries live on it, and die with it once that is read back."""
        async with self.gear.exchange.session(self.gear.symbols) as session:
            self.sender.session = session
            try:
                async for event in session:
                    self._heard(event)
                    self.dispatch(event)
                    if isinstance(event, port.FeedResumed) and event.channel.startswith(USER):
                        await self._arm(session)
            finally:
                self.sender.session = None

    async def _arm(self, session: port.Session) -> None:
        """Entries are refused until cancel-on-disconnect reads back on; a failure is tried again with the next tick."""
        try:
            ends_itself = self.gear.exchange.terms.entries_end_s is not None  # then entries need no line to die with
            self.core.dead_man = ends_itself or await session.arm_dead_man()
        except PerpctlError:
            self.core.dead_man = False

    def _heard(self, event: port.SessionEvent) -> None:
        self.meter.heard[_FEED[type(event)]] = self.gear.clock.monotonic()
        self.meter.counts[_FEED[type(event)]] += 1


_FEED: dict[type, str] = {
    port.QuoteSeen: "ticker",
    port.BookSeen: "book",
    port.OrderSeen: "user",
    port.FillSeen: "user",
    port.PositionSeen: "user",
    port.FeedLost: "lost",
    port.FeedResumed: "resumed",
    port.Beat: "heartbeat",
}
