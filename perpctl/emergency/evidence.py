"""This file collects what is known: how far each step came, and reads until they prove that nothing is left."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from perpctl.emergency.venue.port import Owner, Venue
from perpctl.emergency.venue.terms import Terms
from perpctl.model.flatten import Proof, Read, Standing, prove_flat, prove_no_orders


@dataclass(slots=True)
class StepState:
    """How far one numbered step has come; `after_s` since Enter."""

    state: str = "waiting"
    after_s: float | None = None
    evidence: str = ""


class Moment(NamedTuple):
    """When flat was first proven: wall for people, seconds since Enter."""

    at: datetime
    after_s: float


class Evidence:
    """The reads of one kill; a failed one makes all before it worthless."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._reads: list[Read] = []
        self._entries_gone: list[Read] = []

    def forget(self) -> None:
        self._reads.clear()
        self._entries_gone.clear()

    def note_look(self, venue: Venue, sent_s: float, standing: Standing, *, complete: bool, current: bool) -> None:
        """One look at orders and positions; a listing that is not `complete` proves nothing of orders."""
        rest = bool(standing.entries or standing.stops or standing.orphans or standing.liquidations)
        self._reads += [
            self._read(venue, "orders", sent_s, empty=not rest, current=current and complete),
            self._read(venue, "positions", sent_s, empty=not standing.positions, current=current),
        ]

    def note_entries(self, venue: Venue, sent_s: float, *, gone: bool, current: bool) -> None:
        """One listing taken after the bot was fenced; `current`: complete, and every order that we knew has ended."""
        self._entries_gone.append(self._read(venue, "orders", sent_s, empty=gone, current=current))

    def note_margin(self, venue: Venue, sent_s: float, owner: Owner, *, unused: bool) -> None:
        """What the second endpoint says of the account."""
        pinned, market_ms = venue.reaches_pin(owner), venue.market_ms()
        self._reads.append(Read("margin", sent_s, market_ms, unused, pinned, True, self._terms.blind))

    def _read(self, venue: Venue, kind: str, sent_s: float, *, empty: bool, current: bool) -> Read:
        pinned = venue.owner is not None
        return Read(kind, sent_s, venue.market_ms(), empty, pinned, current, self._terms.blind)

    def no_entries(self, since_s: float) -> Proof:
        return prove_no_orders(self._entries_gone, since_s=since_s, apart=self._terms.apart)

    def flat(self, since_s: float) -> Proof:
        return prove_flat(self._reads, since_s=since_s, apart=self._terms.apart)
