"""This file tells which orders of ours were settled as never arrived and may still come: these are watched for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from perpctl.clock import from_ms
from perpctl.errors import StateDamaged
from perpctl.questions import figures
from perpctl.results import Json, Line, Tone

if TYPE_CHECKING:
    from perpctl.desk import Desk
    from perpctl.exchange.port import VenueTerms
    from perpctl.store.projections import TrackedOrder

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Watched:
    """One such order, and until when (market time) the venue may still take it."""

    order: TrackedOrder
    until_ms: int

    @property
    def words(self) -> str:
        """What was asked for, and by when it can come no more."""
        asked = self.order.request
        what = "" if asked is None else f"{asked.side} {asked.size:f} {asked.product_id}, "
        return f"{what}until {figures.clock(self.until_ms)}: {self.order.key}"

    def facts(self) -> Json:
        asked = self.order.request
        return {
            "client_order_id": self.order.key,
            "product_id": self.order.product_id,
            "side": None if asked is None else asked.side.value,
            "size": None if asked is None else figures.text(asked.size),
            "until": from_ms(self.until_ms).isoformat(),
            "evidence": self.order.cause,
        }


def watched(desk: Desk, terms: VenueTerms, now_ms: int) -> tuple[Watched, ...]:
    """Every one, the first to be let go of first; none where an order cannot arrive late. Raises StateDamaged."""
    watched_ms = int(terms.arrival.watched_s * 1000)
    if not watched_ms or not (desk.settings.state_dir / "journal.db").exists():
        return ()
    found = desk.projections().absent_orders(now_ms - watched_ms)
    return tuple(Watched(one, (one.since_ms or now_ms) + watched_ms) for one in found)


def lines(desk: Desk, terms: VenueTerms, now_ms: int) -> tuple[tuple[Line, ...], Json]:
    """On a screen of orders, which must be told with a broken journal too; and the same in JSON, None: not known."""
    try:
        found = watched(desk, terms, now_ms)
    except StateDamaged as why:
        return (Line(f"WATCHED  ? ({why.message})", Tone.WARN),), None
    if not found:
        return (), []
    told = figures.count(len(found), "order")
    head = Line(f"WATCHED  {told} of ours, settled as never arrived, may still come; a bot cancels it then", Tone.WARN)
    rows = tuple(Line(f"    {one.words}", Tone.WARN) for one in found[:SHOWN])
    more = (Line(f"    and {len(found) - SHOWN} more"),) if len(found) > SHOWN else ()
    return (head, *rows, *more), [one.facts() for one in found]
