"""This file carries a kill out: look, cancel, close, look again, until flat is proven and has held.

One loop instead of a sequence, so that no step is skipped because an earlier one failed, and whatever appears later is
dealt with like what stood at the start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpctl.emergency.canceller import Canceller
from perpctl.emergency.closing.capped import CappedCloser
from perpctl.emergency.closing.closer import Closer, Wish
from perpctl.emergency.closing.ownership import own_part, rise_of_delta
from perpctl.emergency.closing.reducing import ReducingCloser
from perpctl.emergency.evidence import Evidence, Moment, StepState
from perpctl.emergency.fence import Fence, fence_bot
from perpctl.emergency.pending import STEPS, Record
from perpctl.emergency.target import Target, locate
from perpctl.emergency.venue.opening import Dial, open_venue, terms_of
from perpctl.emergency.venue.port import Said, Session, Venue
from perpctl.emergency.venue.terms import Terms
from perpctl.emergency.venue.wire import NoAnswer, Wire
from perpctl.emergency.waiting import Liquidation, until_open
from perpctl.emergency.world import ThisMachine, World
from perpctl.errors import AccountMismatch, CredentialError, PerpctlError
from perpctl.model import identity
from perpctl.model.flatten import Proof, Standing, sort_standing
from perpctl.model.money import plain
from perpctl.model.order import Order
from perpctl.model.position import Position

POLL_S = 1.0
AGAIN_S = 0.25  # between rounds while something moves
VENUE_DOWN_S = 5.0
FIRST_FAILURE_S = 2.0
CLOSE_ANYWAY_S = 2.0  # an entry that cannot be cancelled does not keep positions open for ever
KEY_REFUSED_S = 10.0
QUIET_AFTER_OUTAGE_S = 30.0
_BEAT_S = 2.0
DIAL_S = 2.0


class Pursuit:
    """One kill of one account, from the first cancel to the end of the hold."""

    def __init__(
        self,
        target: Target,
        wish: Wish,
        record: Record,
        latches: Mapping[Path, str],
        world: World | None = None,
        dial: Dial = Wire,
    ) -> None:
        """`world` and `dial` are this machine's and the network's; a simulation hands in its own."""
        self.target = target
        self.wish = wish
        self.record = record
        self.latches = latches
        self.steps = {name: StepState() for name in STEPS}
        self.terms = terms_of(target.venue)
        self.venue: Venue | None = None
        self.fence: Fence | None = None
        self.standing: Standing | None = None
        self.looked_at: float | None = None
        self.trouble: str | None = None  # why the last round proved nothing
        self.key_trouble: str | None = None
        self.broken: list[str] = []
        self.world: World = world or ThisMachine()
        self.closer: Closer[Any] = _closer(self.terms)(record, wish, self.after, self.world)
        self.canceller = Canceller(record, self.terms, self.closer.note_refusal, self.after, self.world)
        self.liquidation = Liquidation(self.world)
        self.spot_orders: int | None = None
        self.equity_before: Decimal | None = None
        self.equity_after: Decimal | None = None
        self.proof: Proof | None = None
        self.proven_at: float | None = None
        self.first_proven: Moment | None = None
        self.over = False
        self.waits: str | None = None  # what the venue does not let us do right now
        self.waits_long = False  # and for so long that nobody should watch it
        self.contracts: Mapping[str, Decimal] = {}  # base coin in one, where sizes are whole contracts
        self.whole: tuple[Position, ...] = ()  # positions as the venue reports them, whoever made them
        self._dial = dial
        self._evidence = Evidence(self.terms)
        self._acted_at = wish.began
        self._limits_rest = True
        self._looks = 0
        self._outage = False
        self._trouble_since: float | None = None
        self._throttled = 0
        self._beat_at = 0.0

    # -- the loop

    def run(self, at_deadline: Callable[[Pursuit], None], stop_service: Callable[[Pursuit], None]) -> None:
        """Pursue until flat is proven and held, or what is left is left on purpose.

        `at_deadline` is called once when the foreground time is over, no key is accepted, or the session is closed for
        longer than that: the watcher may leave.
        """
        self._mark_latch()
        await_fence = self.world.beside(self._fence)
        told = stopped = False
        while not self.over:
            pause = self._round()
            late = self.after() > self.target.timing.foreground
            if not told and (late or self._key_refused_long() or self.waits_long):
                told = True
                if (late or self.waits_long) and not stopped:
                    stop_service(self)
                    stopped = True
                at_deadline(self)
            self._beat()
            if not self.over:
                self.world.sleep(pause if told else min(pause, self._until_deadline()))
        await_fence()
        if not stopped:
            stop_service(self)

    def _until_deadline(self) -> float:
        return max(self.target.timing.foreground - self.after(), 0.0) + 0.01

    def after(self) -> float:
        """Seconds since Enter."""
        return self.world.monotonic() - self.wish.began

    def mark(self, step: str, state: str, evidence: str) -> None:
        """Note how far a step has come; told to the watcher when it changed."""
        held = self.steps[step]
        if (held.state, held.evidence) == (state, evidence):
            return
        self.steps[step] = StepState(state, self.after(), evidence)
        self.record.write("step", step=step, state=state, after_s=round(self.after(), 3), text=evidence)

    def _round(self) -> float:
        """One look with what follows from it; returns seconds until the next."""
        try:
            venue = self._entered()
            self._cancel_limits(venue)
            pause = self._act(venue, self._look(venue))
            self.trouble = self.key_trouble = self._trouble_since = None
            self._throttled = 0
            return pause
        except Said as why:
            return self._suffer(f"refused: {why}", throttled=why.throttled)
        except NoAnswer as why:
            return self._suffer(why.cause)
        except (CredentialError, AccountMismatch) as why:
            self.key_trouble = str(why)
            self.venue = None
            return self._suffer(str(why))
        except PerpctlError as why:
            return self._suffer(str(why))
        except Exception as why:  # noqa: BLE001 - a mistake of ours must not end a kill; the receipt shows it
            return self._suffer(f"a bug: {why!r}")

    def _suffer(self, cause: str, *, throttled: bool = False) -> float:
        """No answer proves nothing: reads so far do not carry over, and the next try comes soon, then every 5 s."""
        now = self.world.monotonic()
        self._trouble_since = self._trouble_since or now
        self._outage = True
        self._limits_rest = True
        self._evidence.forget()
        if self.proven_at is not None:
            self.proven_at, self.proof = None, None
        if self.trouble != cause:
            self.trouble = cause
            self.record.write("trouble", after_s=round(self.after(), 3), text=cause)
        if throttled:
            self._throttled += 1
            return self.terms.throttle_s[min(self._throttled, len(self.terms.throttle_s)) - 1]
        if self.venue is not None:
            self.venue.hang_up()
            if self.target.http is None:
                self.venue = None  # an exchange of ours may have come back elsewhere
        return AGAIN_S * 2 if now - self._trouble_since < FIRST_FAILURE_S else VENUE_DOWN_S

    def _key_refused_long(self) -> bool:
        since = self._trouble_since
        patience = min(KEY_REFUSED_S, self.target.timing.foreground)
        return self.key_trouble is not None and since is not None and self.world.monotonic() - since > patience

    def _beat(self) -> None:
        if self.world.monotonic() - self._beat_at >= _BEAT_S:
            self._beat_at = self.world.monotonic()
            self.record.write("beat", after_s=round(self.after(), 1), text=self.trouble or self.waits or "")

    def _mark_latch(self) -> None:
        written = sum(1 for outcome in self.latches.values() if outcome == "written")
        named = "; ".join(
            str(path) if outcome == "written" else f"{path} {outcome}" for path, outcome in self.latches.items()
        )
        good = written == len(self.latches)
        self.mark("latch", "done" if good else "NOT LATCHED", f"{written} of {len(self.latches)} written: {named}")
        self.steps["latch"].after_s = self.wish.latched - self.wish.began  # before this process was

    def _fence(self) -> None:
        fence = fence_bot(self.target.directory, self.wish.kill_id, self.wish.reason, self.world.monotonic)
        self.mark("fence", "proven" if fence.proven else "NOT PROVEN", fence.evidence)
        self.fence = fence

    # -- seeing

    def _entered(self) -> Venue:
        """The venue, signed in; the account compared with the pin before anything is sent to it."""
        if self.venue is not None:
            if self.venue.owner is None:
                self._identify(self.venue)
            return self.venue
        address = locate(self.target)
        line = self._dial(address.http, address.ca_file)
        # The handshake and the import of the signer take about as long: side by side.
        dialled, _ = self.world.at_once([lambda: line.dial(self.world.monotonic() + DIAL_S), _warm_up])
        if isinstance(dialled, NoAnswer):
            raise dialled
        venue = open_venue(address, line, self.world, self.canceller.unfit_keys)
        owner = venue.enter()
        self.venue = venue
        if owner is not None:
            self._seen_owner(venue)
        return venue

    def _identify(self, venue: Venue) -> None:
        """An account that could not be read at first is compared as soon as it can."""
        try:
            owner = venue.account()
        except (NoAnswer, Said):
            return
        if not venue.reaches_pin(owner):
            raise AccountMismatch(f"the key reaches account {owner.account_id}, not the pinned one")
        venue.owner = owner
        self._seen_owner(venue)

    def _seen_owner(self, venue: Venue) -> None:
        owner = venue.owner
        assert owner is not None
        self.liquidation.margin_was_read()
        if self.equity_before is None:
            self.equity_before = owner.equity
        self.record.write("account", account=owner.account_id, after_s=round(self.after(), 3), key=venue.key_id)

    def _look(self, venue: Venue) -> Standing:
        """Fresh listings of orders and positions. Raises when either did not come: an error is never an empty list."""
        sent = self.world.monotonic()
        asked_ms = venue.market_ms()
        listing = venue.listing(quick=self._looks == 0)
        self.closer.see(venue, listing, asked_ms)
        self._looks += 1
        self.contracts = listing.contracts
        self.whole, held = listing.positions, [*listing.positions]
        if self.wish.scope != "account":
            held = [own_part(venue, position, self._is_ours) for position in held if position.size != 0]
        standing = sort_standing([order for order in listing.orders if self._in_scope(order)], held)
        self.spot_orders = listing.spot_orders
        self.closer.settle_unknown(venue)
        current = self.closer.shows_last_act(venue)
        flat = current and self.closer.adds_up(venue)
        self._evidence.note_look(venue, sent, standing, complete=listing.complete, current=flat)
        ended = self.canceller.all_known_ended(venue, standing.entries + standing.stops + standing.orphans)
        if self.fence is not None and sent > self.fence.settled_at:
            known = current and ended and listing.complete
            self._evidence.note_entries(venue, sent, gone=not standing.entries, current=known)
        self.standing, self.looked_at = standing, sent
        self._limits_rest = bool(standing.limits)
        return standing

    def _in_scope(self, order: Order) -> bool:
        return self.wish.scope == "account" or self._is_ours(order.identity)

    def _is_ours(self, label: str | None) -> bool:
        key = self.wish.identity_key
        return identity.is_kill(label) or (key is not None and identity.is_ours(key, label))

    # -- cancelling

    def _cancel_limits(self, venue: Venue) -> None:
        """One mass cancel while limit orders rest or may rest; ids only where there is none, or of a narrower scope."""
        if not self._cancels_by_mass or not self._limits_rest:
            self.canceller.begin(venue)
            return
        self._acted_at = self.world.monotonic()
        seen = self.standing.limits if self.standing else ()
        self.canceller.cancel_limits(venue, self.target.currencies, seen)

    @property
    def _cancels_by_mass(self) -> bool:
        return self.terms.mass_cancel and self.wish.scope == "account"

    def _cancel_ids(self, venue: Venue, orders: tuple[Order, ...], gone: set[str]) -> None:
        if self.canceller.cancel_ids(venue, orders, gone):
            self._acted_at = self.world.monotonic()

    # -- acting on what was seen

    def _act(self, venue: Venue, standing: Standing) -> float:
        """Everything that this look calls for; returns seconds until the next look."""
        self._note_intrusion(standing)
        if (pause := self._until_open(venue, standing)) is not None:
            return pause
        by_ids = not self._cancels_by_mass or self.canceller.began_before(0.5)
        left_by_mass = standing.limits if by_ids else ()
        self._cancel_ids(venue, standing.triggers + left_by_mass, self.canceller.cancelled)
        self._mark_entries(standing)
        if standing.positions:
            return self._close_positions(venue, standing)
        self._mark_closed()
        self._cancel_ids(venue, standing.orphans, self.canceller.stops)
        if standing.entries or standing.orphans or standing.liquidations:
            return self._pace()
        self._mark_stops()
        return self._prove(venue)

    def _mark_stops(self) -> None:
        before = f", {self.closer.stops_dropped} before it was closed" if self.closer.stops_dropped else ""
        self.mark("stops", "done", f"{len(self.canceller.stops)} cancelled after their position read zero{before}")

    def _until_open(self, venue: Venue, standing: Standing) -> float | None:
        """Seconds until the next try while all sessions are closed; None: go on. Entries go first when they open."""
        if not (self.canceller.shut or self.closer.shut):
            return None
        everything = standing.entries + standing.stops + standing.orphans
        names = {order.product_id for order in everything} | {each.product_id for each in standing.positions}
        sessions = venue.shut(sorted(names))
        if len(sessions) < len(names) and sessions:
            return None  # the others are not held up; what is closed says so by itself
        if not sessions:
            self.canceller.begin_anew()
            self.closer.shut, self.waits, self.waits_long = False, None, False
            return None
        pause = until_open(sessions, venue.market_ms())
        self.waits_long = self.after() + pause > self.target.timing.foreground or pause > POLL_S
        self.closer.stand_by(venue, standing)
        shut = ", ".join(f"{each.product_id}{_opening(each)}" for each in sessions)
        self._wait_for(f"session closed: {shut}; nothing can be cancelled or closed")
        return pause

    def _pace(self) -> float:
        """Quick at first; a venue that keeps refusing is asked once a second."""
        return POLL_S if self.canceller.began_before(CLOSE_ANYWAY_S) else AGAIN_S / 2

    def _note_intrusion(self, standing: Standing) -> None:
        """Anything that appears after flat was proven breaks the hold, and the kill cannot end in 0 any more."""
        if self.proven_at is None or standing.is_flat:
            return
        held = self.world.monotonic() - self.proven_at
        for order in standing.entries + standing.orphans + standing.stops:
            self.broken.append(
                f"order {order.order_id} {order.side} {plain(order.size)} {order.product_id}"
                f"{self._whose(order)} after {held:.1f} s"
            )
        for position in standing.positions:
            self.broken.append(f"position {plain(position.size)} {position.product_id} after {held:.1f} s")
        self.mark("hold", "BROKEN", "; ".join(self.broken[-3:]))
        self.proven_at = self.proof = None

    def _whose(self, order: Order) -> str:
        key = self.wish.identity_key
        if key is not None and identity.is_ours(key, order.identity):
            return f" (label of ours, epoch {identity.epoch_of(order.identity)})"
        return f" ({order.origin or 'unknown origin'}, not ours)"

    def _mark_entries(self, standing: Standing) -> None:
        proof = self._evidence.no_entries(self.canceller.began or 0)
        if proof.flat:
            if self.steps["entries"].state != "done":
                counted = f"{self.canceller.counted} cancelled as the venue counts, " if self.terms.mass_cancel else ""
                counts = f"{counted}{len(self.canceller.cancelled)} {'' if counted else 'cancelled '}by id"
                self.mark("entries", "done", f"2 listings after the fence show no entry; {counts}")
            if self.wish.entries_only:
                self.over = True
        else:
            self.mark("entries", "under way", f"{len(standing.entries)} left")

    def _close_positions(self, venue: Venue, standing: Standing) -> float:
        self.closer.meet(standing.positions)
        if self.wish.entries_only:
            return AGAIN_S
        if self.wish.scope != "account" and (why := rise_of_delta(self.whole, standing.positions)):
            return self._leave(standing, why)
        if self.liquidation.forbids_closes(venue, standing, self.closer, self._acted_at):
            self.closer.stand_by(venue, standing)
            return self._wait_for("a liquidation by the venue is running: no closes are sent until it ends")
        if standing.entries and not self.canceller.began_before(CLOSE_ANYWAY_S):
            return AGAIN_S / 4
        left = ", ".join(f"{each.product_id} {plain(abs(each.size))}" for each in standing.positions)
        self._acted_at = self.world.monotonic()
        done = self.closer.close_some(venue, standing)
        if done.sent:
            self.waits = None
            self.mark("close", "under way", f"{left} before this round")
            return 0.0 if done.filled else self._pace()
        if done.waiting:
            return self._wait_for(f"{'; '.join(done.waiting)}; closes wait")
        if done.exhausted == len(standing.positions):
            self.closer.stand_by(venue, standing)
            return self._leave(standing, f"{left}: nothing more within the slippage allowed")
        return AGAIN_S

    def _leave(self, standing: Standing, why: str) -> float:
        """What stands is left on purpose, with its stops; the kill is over once the entries are proven gone."""
        self.mark("close", "LEFT", why)
        self.mark("stops", "kept", f"{len(standing.stops)} stay at the venue")
        self.over = self.steps["entries"].state == "done"
        return AGAIN_S

    def _wait_for(self, what: str) -> float:
        self.waits = what
        self.mark("close", "waiting", what)
        return POLL_S

    def _mark_closed(self) -> None:
        if self.steps["close"].state == "done":
            return
        orders = sum(closed.orders for closed in self.closer.closed.values())
        self.liquidation.runs = False
        refused = sum(1 for what in self.closer.refusals if what.startswith("close "))
        count = len(self.closer.closed)
        self.mark("close", "done", f"{count} of {count} positions, {orders} orders, {refused} refused")

    # -- proving and holding

    def _prove(self, venue: Venue) -> float:
        """Nothing stands in this look: collect agreeing reads, then hold."""
        sent = self.world.monotonic()
        owner = venue.account()
        self.equity_after = owner.equity
        unused = self.wish.scope != "account" or not owner.uses_margin
        self._evidence.note_margin(venue, sent, owner, unused=unused)
        if self.proven_at is not None:
            return self._hold()
        proof = self._evidence.flat(self._acted_at)
        quiet = proof.reads[-1].at_s - proof.reads[0].at_s if proof.reads else 0.0
        if self._outage and self.closer.last_order is None and quiet < QUIET_AFTER_OUTAGE_S:
            self.mark("prove", "under way", "reads after an outage can be old: 30 s of agreement first")
            return POLL_S
        if not proof.flat or self.fence is None or self.steps["entries"].state != "done":
            self.mark("prove", "under way", "; ".join(proof.lacking) or "entries not yet proven gone")
            return POLL_S
        self.proof, self.proven_at = proof, self.world.monotonic()
        self.first_proven = self.first_proven or Moment(datetime.now(UTC), self.after())
        times = ", ".join(f"{read.at_s - self.wish.began:.2f}" for read in proof.reads if read.kind == "positions")
        ours = "" if self.closer.last_order is None else ", each with our last close in it"
        self.mark("prove", "done", f"reads at {times} s: no order, no position{ours}; margin in use 0.00")
        return POLL_S

    def _hold(self) -> float:
        assert self.proven_at is not None
        timing = self.target.timing
        # Where reads lag and nothing of ours is in them, they may all be older than what happened last.
        dated = self.terms.reads_lag_s == 0 or self.closer.last_order is not None
        proven = self.fence is not None and self.fence.proven and dated
        needed = timing.hold if proven else timing.hold_unproven
        held = self.world.monotonic() - self.proven_at
        if held >= needed:
            state = "BROKEN, then quiet" if self.broken else "done"
            self.mark(
                "hold",
                state,
                f"nothing appeared in {needed:.0f} s" + "".join(f"; earlier: {what}" for what in self.broken[:3]),
            )
            self.over = True
        return self.terms.hold_every_s


def _closer(terms: Terms) -> type[Closer[Any]]:
    return ReducingCloser if terms.reduces_only else CappedCloser


def _opening(session: Session) -> str:
    if session.opens_ms is None:
        return ""
    return f" (opens {datetime.fromtimestamp(session.opens_ms / 1_000, UTC):%a %H:%M:%S} UTC)"


def _warm_up() -> None:
    """Load the signer while the handshake waits for the network."""
    from perpctl.emergency.venue import signing

    signing.warm_up()
