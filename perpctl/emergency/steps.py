"""This file carries a kill out: look, cancel, close, look again, until flat is proven and has held.

One loop instead of a sequence, so that no step is skipped because an earlier one failed, and whatever appears later is
dealt with like what stood at the start.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from perpctl.emergency.canceller import Canceller
from perpctl.emergency.closer import Closer, Wish, currency_of
from perpctl.emergency.fence import Fence, fence_bot
from perpctl.emergency.ownership import own_part, rise_of_delta
from perpctl.emergency.pending import Record
from perpctl.emergency.target import Target, locate
from perpctl.emergency.venue.gateway import Gateway, Said
from perpctl.emergency.venue.wire import NoAnswer, Wire, at_once, side_by_side
from perpctl.errors import AccountMismatch, CredentialError, PerpctlError
from perpctl.model import identity
from perpctl.model.flatten import Key, Proof, Read, Standing, key_of, prove_flat, prove_no_orders, sort_standing
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
LIQUIDATION_STANDS_STILL_S = 30.0
MARGIN_UNREAD_S = 10.0
_BEAT_S = 2.0
_THROTTLE_S = (1.0, 2.0, 4.0, 5.0)


@dataclass(slots=True)
class StepState:
    """How far one numbered step has come; `after_s` since Enter."""

    state: str = "waiting"
    after_s: float | None = None
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Moment:
    """When flat was first proven: wall for people, seconds since Enter."""

    at: datetime
    after_s: float


STEPS = ("latch", "fence", "entries", "close", "stops", "prove", "hold", "stop")


class Pursuit:
    """One kill of one account, from the first cancel to the end of the hold."""

    def __init__(self, target: Target, wish: Wish, record: Record, latches: Mapping[Path, str]) -> None:
        self.target = target
        self.wish = wish
        self.record = record
        self.latches = latches
        self.steps = {name: StepState() for name in STEPS}
        self.gateway: Gateway | None = None
        self.fence: Fence | None = None
        self.standing: Standing | None = None
        self.looked_at: float | None = None
        self.trouble: str | None = None  # why the last round proved nothing
        self.key_trouble: str | None = None
        self.broken: list[str] = []
        self.closer = Closer(record, wish, self.after)
        self.canceller = Canceller(record, self.closer.note_refusal, self.after)
        self.spot_orders: int | None = None
        self.equity_before: Decimal | None = None
        self.equity_after: Decimal | None = None
        self.proof: Proof | None = None
        self.proven_at: float | None = None
        self.first_proven: Moment | None = None
        self.over = False
        self.waits: str | None = None  # what the venue does not let us do right now
        self.liquidated = False  # the venue itself is closing
        self._liquidated_since = 0.0
        self._sizes: dict[Key, Decimal] = {}
        self._margin_at = 0.0
        self._reads: list[Read] = []
        self._entries_gone: list[Read] = []
        self._acted_at = wish.began
        self._limits_rest = True
        self.whole: tuple[Position, ...] = ()  # positions as the venue reports them, whoever made them
        self._outage = False
        self._trouble_since: float | None = None
        self._throttled = 0
        self._beat_at = 0.0

    # -- the loop

    def run(self, at_deadline: Callable[[Pursuit], None], stop_service: Callable[[Pursuit], None]) -> None:
        """Pursue until flat is proven and held, or what is left is left on purpose.

        `at_deadline` is called once when the foreground time is over, or no key is accepted: the watcher may leave.
        """
        self._mark_latch()
        fencing = threading.Thread(target=self._fence, daemon=True)
        fencing.start()
        told = stopped = False
        while not self.over:
            pause = self._round()
            late = self.after() > self.target.timing.foreground
            if not told and (late or self._key_refused_long()):
                told = True
                if late and not stopped:
                    stop_service(self)
                    stopped = True
                at_deadline(self)
            self._beat()
            if not self.over:
                time.sleep(pause)
        fencing.join()
        if not stopped:
            stop_service(self)

    def after(self) -> float:
        """Seconds since Enter."""
        return time.monotonic() - self.wish.began

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
            gateway = self._entered()
            self._cancel_limits(gateway)
            pause = self._act(gateway, self._look(gateway))
            self.trouble = self.key_trouble = self._trouble_since = None
            self._throttled = 0
            return pause
        except Said as why:
            return self._suffer(f"refused: {why}", throttled=why.throttled)
        except NoAnswer as why:
            return self._suffer(why.cause)
        except (CredentialError, AccountMismatch) as why:
            self.key_trouble = str(why)
            self.gateway = None
            return self._suffer(str(why))
        except PerpctlError as why:
            return self._suffer(str(why))
        except Exception as why:  # noqa: BLE001 - a mistake of ours must not end a kill; the receipt shows it
            return self._suffer(f"a bug: {why!r}")

    def _suffer(self, cause: str, *, throttled: bool = False) -> float:
        """No answer proves nothing: reads so far do not carry over, and the next try comes soon, then every 5 s."""
        now = time.monotonic()
        self._trouble_since = self._trouble_since or now
        self._outage = True
        self._limits_rest = True
        self._reads.clear()
        self._entries_gone.clear()
        if self.proven_at is not None:
            self.proven_at, self.proof = None, None
        if self.trouble != cause:
            self.trouble = cause
            self.record.write("trouble", after_s=round(self.after(), 3), text=cause)
        if throttled:
            self._throttled += 1
            return _THROTTLE_S[min(self._throttled, len(_THROTTLE_S)) - 1]
        if self.gateway is not None:
            self.gateway.wire.hang_up()
            if self.target.http is None:
                self.gateway = None  # an exchange of ours may have come back elsewhere
        return AGAIN_S * 2 if now - self._trouble_since < FIRST_FAILURE_S else VENUE_DOWN_S

    def _key_refused_long(self) -> bool:
        since = self._trouble_since
        patience = min(KEY_REFUSED_S, self.target.timing.foreground)
        return self.key_trouble is not None and since is not None and time.monotonic() - since > patience

    def _beat(self) -> None:
        if time.monotonic() - self._beat_at >= _BEAT_S:
            self._beat_at = time.monotonic()
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
        fence = fence_bot(self.target.directory, self.wish.kill_id, self.wish.reason)
        self.mark("fence", "proven" if fence.proven else "NOT PROVEN", fence.evidence)
        self.fence = fence

    # -- seeing

    def _entered(self) -> Gateway:
        """The venue, signed in; the account compared with the pin before anything is sent to it."""
        if self.gateway is not None:
            if self.gateway.owner is None:
                self._identify(self.gateway)
            return self.gateway
        address = locate(self.target)
        fit = [path for path in address.key_files if path not in self.canceller.unfit_keys] or address.key_files
        gateway = Gateway(Wire(address.http, address.ca_file), fit, address.pin, address.key_name)
        # The handshake and the import of the signer take about as long: side by side.
        dialled, _ = at_once([lambda: gateway.wire.dial(time.monotonic() + 2.0), _warm_up])
        if isinstance(dialled, NoAnswer):
            raise dialled
        owner = gateway.enter()
        self.gateway = gateway
        if owner is not None:
            self._seen_owner(gateway)
        return gateway

    def _identify(self, gateway: Gateway) -> None:
        """An account that could not be read at first is compared as soon as it can."""
        try:
            owner = gateway.summaries()
        except (NoAnswer, Said):
            return
        if not gateway.reaches_pin(owner):
            raise AccountMismatch(f"the key reaches account {owner.account_id}, not the pinned one")
        gateway.owner = owner
        self._seen_owner(gateway)

    def _seen_owner(self, gateway: Gateway) -> None:
        owner = gateway.owner
        assert owner is not None
        self._margin_at = time.monotonic()
        if self.equity_before is None:
            self.equity_before = owner.equity
        self.record.write("account", account=owner.account_id, after_s=round(self.after(), 3), key=gateway.key_id)

    def _look(self, gateway: Gateway) -> Standing:
        """Fresh listings of orders and positions. Raises when either did not come: an error is never an empty list."""
        sent = time.monotonic()
        orders, positions = side_by_side(gateway.open_orders, gateway.positions)
        held = [position for position in positions if is_derivative(position.product_id)]
        self.whole = tuple(held)
        if self.wish.scope != "account":
            held = [own_part(gateway, position, self._is_ours) for position in held if position.size != 0]
        standing = sort_standing([order for order in orders if self._in_scope(order)], held)
        self.spot_orders = sum(1 for order in orders if not is_derivative(order.product_id))
        current = self.closer.shows_last_order(gateway)
        pinned, market_ms = gateway.owner is not None, gateway.market_ms()
        rest = bool(standing.entries or standing.stops or standing.orphans or standing.liquidations)
        self._reads += [
            Read("orders", sent, market_ms, not rest, pinned, current),
            Read("positions", sent, market_ms, not standing.positions, pinned, current),
        ]
        if self.fence is not None and sent > self.fence.settled_at:
            self._entries_gone.append(Read("orders", sent, market_ms, not standing.entries, pinned, current))
        self.standing, self.looked_at = standing, sent
        self._limits_rest = bool(standing.limits)
        return standing

    def _in_scope(self, order: Order) -> bool:
        if not is_derivative(order.product_id):
            return False
        return self.wish.scope == "account" or self._is_ours(order.identity)

    def _is_ours(self, label: str | None) -> bool:
        key = self.wish.identity_key
        return identity.is_kill(label) or (key is not None and identity.is_ours(key, label))

    # -- cancelling

    def _cancel_limits(self, gateway: Gateway) -> None:
        """One mass cancel a currency while limit orders rest or may rest; of a narrower scope, ids only."""
        if not self._limits_rest or self.wish.scope != "account":
            self.canceller.begin(gateway)
            return
        self._acted_at = time.monotonic()
        self.canceller.cancel_limits(gateway, self._currencies())

    def _currencies(self) -> list[str]:
        seen = [currency_of(order.product_id) for order in (self.standing.limits if self.standing else ())]
        return list(dict.fromkeys([*self.target.currencies, *seen]))

    def _cancel_ids(self, gateway: Gateway, orders: tuple[Order, ...], gone: set[str]) -> None:
        if self.canceller.cancel_ids(gateway, orders, gone):
            self._acted_at = time.monotonic()

    # -- acting on what was seen

    def _act(self, gateway: Gateway, standing: Standing) -> float:
        """Everything that this look calls for; returns seconds until the next look."""
        self._note_intrusion(standing)
        by_ids = self.wish.scope != "account" or self.canceller.began_before(0.5)
        left_by_mass = standing.limits if by_ids else ()
        self._cancel_ids(gateway, standing.triggers + left_by_mass, self.canceller.cancelled)
        self._mark_entries(standing)
        if standing.positions:
            return self._close_positions(gateway, standing)
        self._mark_closed()
        self._cancel_ids(gateway, standing.orphans, self.canceller.stops)
        if standing.entries or standing.orphans or standing.liquidations:
            return self._pace()
        self.mark("stops", "done", f"{len(self.canceller.stops)} cancelled after their position read zero")
        return self._prove(gateway)

    def _pace(self) -> float:
        """Quick at first; a venue that keeps refusing is asked once a second."""
        return POLL_S if self.canceller.began_before(CLOSE_ANYWAY_S) else AGAIN_S / 2

    def _note_intrusion(self, standing: Standing) -> None:
        """Anything that appears after flat was proven breaks the hold, and the kill cannot end in 0 any more."""
        if self.proven_at is None or standing.is_flat:
            return
        held = time.monotonic() - self.proven_at
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
        proof = prove_no_orders(self._entries_gone, since_s=self.canceller.began or 0)
        if proof.flat:
            if self.steps["entries"].state != "done":
                counts = (
                    f"{self.canceller.counted} cancelled as the venue counts, {len(self.canceller.cancelled)} by id"
                )
                self.mark("entries", "done", f"2 listings after the fence show no entry; {counts}")
            if self.wish.entries_only:
                self.over = True
        else:
            self.mark("entries", "under way", f"{len(standing.entries)} left")

    def _close_positions(self, gateway: Gateway, standing: Standing) -> float:
        self.closer.meet(standing.positions)
        if self.wish.entries_only:
            return AGAIN_S
        if self.wish.scope != "account" and (why := rise_of_delta(self.whole, standing.positions)):
            return self._leave(standing, why)
        if self._must_leave_it_to_the_venue(gateway, standing):
            return self._wait_for("a liquidation by the venue is running: no closes are sent until it ends")
        if standing.entries and not self.canceller.began_before(CLOSE_ANYWAY_S):
            return AGAIN_S / 4
        left = ", ".join(f"{each.product_id} {plain(abs(each.size))}" for each in standing.positions)
        self._acted_at = time.monotonic()
        done = self.closer.close_some(gateway, standing.positions)
        if done.sent:
            self.waits = None
            self.mark("close", "under way", f"{left} before this round")
            return 0.0 if done.filled else self._pace()
        if done.waiting:
            return self._wait_for(f"book not open: {', '.join(done.waiting)}; closes wait")
        if done.exhausted == len(standing.positions):
            return self._leave(standing, f"{left}: nothing more within the slippage allowed")
        return AGAIN_S

    def _must_leave_it_to_the_venue(self, gateway: Gateway, standing: Standing) -> bool:
        """Whether a liquidation runs: its orders are listed, margin is short of maintenance, or our closes are refused.

        A figure that is wrong must not keep positions open for ever: while nothing moves, one close is tried now and
        then, and the venue refuses it when there is a liquidation after all.
        """
        forced = bool(standing.liquidations) or self._is_short_of_margin(gateway)
        sizes = {key_of(position): position.size for position in standing.positions}
        now, before = time.monotonic(), self.liquidated
        self.liquidated = forced or self.closer.locked
        if not before or self._sizes != sizes:
            self._liquidated_since, self._sizes = now, sizes
        if forced and now - self._liquidated_since > LIQUIDATION_STANDS_STILL_S:
            self._liquidated_since = now
            return False
        return forced or (self.closer.locked and now - self._acted_at < POLL_S)

    def _is_short_of_margin(self, gateway: Gateway) -> bool:
        """By figures at most a second old; what cannot be read stops no close, and is not asked again at once."""
        if time.monotonic() - self._margin_at > POLL_S:
            self._margin_at = time.monotonic()
            try:
                owner = gateway.summaries()
            except (NoAnswer, Said):
                self._margin_at += MARGIN_UNREAD_S
                return False
            if gateway.owner is not None and gateway.reaches_pin(owner):
                gateway.owner = owner
        owner_now = gateway.owner
        return owner_now is not None and owner_now.margin_balance < owner_now.maintenance_margin

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
        self.liquidated = False
        refused = sum(1 for what in self.closer.refusals if what.startswith("close "))
        count = len(self.closer.closed)
        self.mark("close", "done", f"{count} of {count} positions, {orders} orders, {refused} refused")

    # -- proving and holding

    def _prove(self, gateway: Gateway) -> float:
        """Nothing stands in this look: collect agreeing reads, then hold."""
        owner = gateway.summaries()
        self.equity_after = owner.equity
        self._reads.append(
            Read(
                "margin",
                time.monotonic(),
                gateway.market_ms(),
                self.wish.scope != "account" or owner.initial_margin == 0,
                gateway.reaches_pin(owner),
                True,
            )
        )
        if self.proven_at is not None:
            return self._hold()
        proof = prove_flat(self._reads, since_s=self._acted_at)
        quiet = proof.reads[-1].at_s - proof.reads[0].at_s if proof.reads else 0.0
        if self._outage and self.closer.last_order is None and quiet < QUIET_AFTER_OUTAGE_S:
            self.mark("prove", "under way", "reads after an outage can be old: 30 s of agreement first")
            return POLL_S
        if not proof.flat or self.fence is None or self.steps["entries"].state != "done":
            self.mark("prove", "under way", "; ".join(proof.lacking) or "entries not yet proven gone")
            return POLL_S
        self.proof, self.proven_at = proof, time.monotonic()
        self.first_proven = self.first_proven or Moment(datetime.now(UTC), self.after())
        times = ", ".join(f"{read.at_s - self.wish.began:.2f}" for read in proof.reads if read.kind == "positions")
        ours = "" if self.closer.last_order is None else ", each with our last close in it"
        self.mark("prove", "done", f"reads at {times} s: no order, no position{ours}; margin in use 0.00")
        return POLL_S

    def _hold(self) -> float:
        assert self.proven_at is not None
        timing = self.target.timing
        proven = self.fence is not None and self.fence.proven
        needed = timing.hold if proven else timing.hold_unproven
        held = time.monotonic() - self.proven_at
        if held >= needed:
            state = "BROKEN, then quiet" if self.broken else "done"
            self.mark(
                "hold",
                state,
                f"nothing appeared in {needed:.0f} s" + "".join(f"; earlier: {what}" for what in self.broken[:3]),
            )
            self.over = True
        return POLL_S


def is_derivative(product_id: str) -> bool:
    """Spot is never touched: a spot pair has no dash after the currencies (BTC_USDC), every derivative has."""
    return "-" in product_id


def _warm_up() -> None:
    """Load the signer while the handshake waits for the network."""
    from perpctl.emergency.venue import signing

    signing.warm_up()
