"""This file knows when a kill must wait for the venue: while it liquidates, and while a session is closed."""

from __future__ import annotations

from decimal import Decimal

from perpctl.emergency.closing.closer import Closer
from perpctl.emergency.venue.port import Said, Session, Venue
from perpctl.emergency.venue.wire import NoAnswer
from perpctl.emergency.world import World
from perpctl.model.flatten import Key, Standing, key_of

MARGIN_FRESH_S = 1.0
MARGIN_UNREAD_S = 10.0
STANDS_STILL_S = 30.0
SHUT_S, NEARLY_OPEN_S, OPENING_S = 60.0, 1.0, 0.25
_NEAR_S, _JUST_OPENED_S = 60.0, 10.0


class Liquidation:
    """Whether the venue itself is closing: then no close of ours is sent."""

    def __init__(self, world: World) -> None:
        self.runs = False
        self._world = world
        self._since = 0.0
        self._sizes: dict[Key, Decimal] = {}
        self._margin_at = 0.0

    def margin_was_read(self) -> None:
        self._margin_at = self._world.monotonic()

    def forbids_closes(self, venue: Venue, standing: Standing, closer: Closer, acted_at: float) -> bool:  # type: ignore[type-arg]
        """Its orders are listed, margin is short of maintenance, or our closes are refused.

        A figure that is wrong must not keep positions open for ever: where a close cannot open anything, and while
        nothing moves, one is tried now and then, and the venue refuses it when there is a liquidation after all.
        """
        forced = bool(standing.liquidations) or self._is_short_of_margin(venue)
        sizes = {key_of(position): position.size for position in standing.positions}
        now, before = self._world.monotonic(), self.runs
        self.runs = forced or closer.locked
        if not before or self._sizes != sizes:
            self._since, self._sizes = now, sizes
        if forced and venue.terms.tries_in_liquidation and now - self._since > STANDS_STILL_S:
            self._since = now
            return False
        return forced or (closer.locked and now - acted_at < MARGIN_FRESH_S)

    def _is_short_of_margin(self, venue: Venue) -> bool:
        """By figures at most a second old; what cannot be read stops no close, and is not asked again at once."""
        if self._world.monotonic() - self._margin_at > MARGIN_FRESH_S:
            self.margin_was_read()
            try:
                owner = venue.account()
            except (NoAnswer, Said):
                self._margin_at += MARGIN_UNREAD_S
                return False
            if venue.owner is not None and venue.reaches_pin(owner):
                venue.owner = owner
        owner_now = venue.owner
        return owner_now is not None and owner_now.margin_balance < owner_now.maintenance_margin


def until_open(sessions: tuple[Session, ...], now_ms: int) -> float:
    """Seconds until the next try at a venue whose session is closed, by the opening that comes first."""
    opens = [session.opens_ms for session in sessions if session.opens_ms is not None]
    if not opens:
        return NEARLY_OPEN_S
    left_s = (min(opens) - now_ms) / 1_000
    if left_s > _NEAR_S:
        return min(SHUT_S, left_s - _NEAR_S)
    return OPENING_S if -_JUST_OPENED_S <= left_s <= 0 else NEARLY_OPEN_S
