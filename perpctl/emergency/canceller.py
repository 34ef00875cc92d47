"""This file cancels: one mass cancel for what it reaches, ids for the rest, at a pace that the account survives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from perpctl.emergency.pending import Record
from perpctl.emergency.venue.port import Meaning, Said, Venue
from perpctl.emergency.venue.terms import Terms
from perpctl.emergency.world import World
from perpctl.errors import CredentialError
from perpctl.model.order import Order

AGAIN_S = 1.0  # between two requests to cancel the same order, where a request is no cancel yet


class Canceller:
    """What a kill cancelled so far."""

    def __init__(
        self,
        record: Record,
        terms: Terms,
        note_refusal: Callable[[str, Said], None],
        after: Callable[[], float],
        world: World,
    ) -> None:
        self.cancelled: set[str] = set()  # entries by id
        self.stops: set[str] = set()
        self.counted = 0  # by mass cancels, as the venue counts: tells people something, proves nothing
        self.began: float | None = None  # of the first cancel, monotonic
        self.unfit_keys: set[Path] = set()  # keys that may read and not trade
        self.shut = False  # the venue refused the last cancels because the session is closed
        self._record = record
        self._terms = terms
        self._note_refusal = note_refusal
        self._after = after
        self._world = world
        self._known: dict[str, Order] = {}  # seen alive, and not yet read ended by their own ids
        self._asked: dict[str, tuple[float, set[str]]] = {}  # when last, and where it counts once it is gone
        self._ids_left, self._ids_at = float(terms.ids_at_once), world.monotonic()

    def began_before(self, seconds: float) -> bool:
        """Whether the first cancel is older than that."""
        return self.began is not None and self._world.monotonic() - self.began > seconds

    def begin(self, venue: Venue) -> None:
        """Without a mass cancel, cancelling begins with the venue's clock."""
        if self.began is None:
            self.began = self._world.monotonic()
            venue.learn_market_clock()

    def begin_anew(self) -> None:
        """What came before was refused as a whole: a session that was closed has opened."""
        self.began, self.shut = self._world.monotonic(), False
        self._asked.clear()

    def cancel_limits(self, venue: Venue, currencies: Sequence[str], seen: Sequence[Order]) -> None:
        """One mass cancel a currency, those of `seen` included. Raises CredentialError when the key may not trade."""
        first = self.began is None
        if first:
            self.began = self._world.monotonic()
            self._record.write("first_cancel", after_s=round(self._after(), 4))
        answers: list[int | Exception] = []

        def cancel() -> None:
            answers.extend(venue.cancel_entries(currencies, seen))

        timed = self._world.at_once([cancel, venue.learn_market_clock] if first else [cancel])
        for answer in [*answers, *(each for each in timed if isinstance(each, Exception))]:
            if isinstance(answer, int):
                self.counted += answer
            elif isinstance(answer, Said) and not answer.throttled:
                self._note_refusal("mass cancel", answer)
                self._leave_unfit_key(venue, answer)
            else:
                raise answer

    def _leave_unfit_key(self, venue: Venue, why: Said) -> None:
        if why.meaning is Meaning.MAY_NOT and venue.key_file is not None:
            self.unfit_keys.add(venue.key_file)
            raise CredentialError(f"key {venue.key_id} may not trade: {why}")

    def cancel_ids(self, venue: Venue, orders: Sequence[Order], gone: set[str]) -> bool:
        """As many as the pace allows, each by its id; whether any was sent. Raises NoAnswer, or Said when throttled."""
        due = [order for order in orders if self._is_due(order)]
        chosen = due[: self._may_send(len(due))]
        if not chosen:
            return False
        if not self._terms.mass_cancel and not self._asked:
            self._record.write("first_cancel", after_s=round(self._after(), 4))
        self._asked |= dict.fromkeys((order.order_id for order in chosen), (self._world.monotonic(), gone))
        answers = venue.cancel(chosen)
        self.shut = any(isinstance(each, Said) and each.meaning is Meaning.SHUT for each in answers)
        taken = []
        for order, answer in zip(chosen, answers, strict=True):
            if answer is None or (isinstance(answer, Said) and answer.meaning is Meaning.GONE):
                taken.append(order)
            elif isinstance(answer, Said) and not answer.throttled:
                self._note_refusal(f"cancel {order.order_id}", answer)
                self._leave_unfit_key(venue, answer)
            else:
                raise answer
        for order in () if self._terms.asks_to_cancel else taken:
            self._note_gone(order, gone)
        return True

    def _note_gone(self, order: Order, gone: set[str]) -> None:
        gone.add(order.order_id)
        self._record.write("cancelled", order_id=order.order_id, label=order.identity, product=order.product_id)

    def _is_due(self, order: Order) -> bool:
        asked, _ = self._asked.get(order.order_id, (float("-inf"), None))
        return not self._terms.asks_to_cancel or self._world.monotonic() - asked >= AGAIN_S

    def all_known_ended(self, venue: Venue, alive: Sequence[Order]) -> bool:
        """Whether every order ever seen alive, and not listed so now, is read ended by its own id.

        Raises NoAnswer, Said.
        """
        if not self._terms.asks_to_cancel:
            return True
        self._known |= {order.order_id: order for order in alive}
        listed = {order.order_id for order in alive}
        missing = [order for name, order in self._known.items() if name not in listed]
        if missing:
            for name, order in venue.states(missing).items():
                if order.status.is_terminal:
                    del self._known[name]
                    if name in self._asked:
                        self._note_gone(order, self._asked[name][1])
        return all(name in listed for name in self._known)

    def _may_send(self, wanted: int) -> int:
        now, most = self._world.monotonic(), float(self._terms.ids_at_once)
        self._ids_left = min(most, self._ids_left + (now - self._ids_at) * self._terms.ids_a_second)
        self._ids_at = now
        granted = min(wanted, int(self._ids_left))
        self._ids_left -= granted
        return granted
