"""This file keeps the bot's diary: what was decided and what came of it, for the screen and for pipes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from perpctl.clock import Clock
from perpctl.engine import events as e
from perpctl.engine.core import Core
from perpctl.exchange import port
from perpctl.model import identity
from perpctl.model.fill import Fill
from perpctl.model.money import plain
from perpctl.model.order import Order, OrderRequest
from perpctl.results import Json

KEPT = 200
BOT = logging.getLogger("perpctl.bot")
_GRAVE = {
    **dict.fromkeys(("ALERT", "DRIFT"), logging.ERROR),
    **dict.fromkeys(("UNKNOWN", "FEED LOST", "NOT RECONCILED", "FOREIGN"), logging.WARNING),
    **dict.fromkeys(("MODE", "FEED BACK", "ADOPTED", "BESIDE"), logging.INFO),
}
Listener = Callable[["Entry"], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: `word` is its kind as shown, `facts` what a pipe gets beside the common members."""

    at: datetime
    word: str
    text: str
    reason: str
    product_id: str | None = None
    facts: Mapping[str, Json] = field(default_factory=dict)


def short(label: str | None) -> str:
    """Our identity as people read it: epoch and number of the intent; others as they are."""
    epoch, number = identity.epoch_of(label), identity.intent_of(label)
    return (label or "?")[:12] if epoch is None or number is None else f"pc-{epoch:04X}-{number:04d}"


def _readable(reason: str) -> str:
    """The identity that a reason names, as people read it."""
    before, renews, identity_named = reason.partition("renews ")
    return f"{before}{renews}{short(identity_named)}" if renews else reason


class Diary:
    """Watches a bot's events; bounded. `listeners` are told each entry as it is written."""

    def __init__(self, core: Core, clock: Clock) -> None:
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.listeners: list[Listener] = []
        self._core, self._clock = core, clock
        self._asked: dict[str, tuple[OrderRequest, str]] = {}
        self._told: deque[str] = deque(maxlen=KEPT)

    def watch(self, event: e.Event, effects: list[e.Effect]) -> None:
        """To be called with each event and what the core made of it."""
        for effect in effects:
            self._effect(effect)
        match event:
            case e.Placed(label, outcome):
                self._placed(label, outcome)
            case e.HeldBack(label, control, reason):
                request, _ = self._asked.pop(label, (None, ""))
                if request is not None:
                    self._write("REFUSED", f"{_order(request)}  {control}", reason, request, gate=control)
            case e.CancelAnswered(_, port.Confirmed(order, _)):
                self._write("CANCEL", short(order.identity), "", order)
            case port.FillSeen(fill):
                self._fill(fill)
            case _:
                return

    def _effect(self, effect: e.Effect) -> None:
        match effect:
            case e.PlaceEntry(request, reason) | e.PlaceStop(request, reason) | e.CloseNow(request, reason):
                self._asked[request.identity] = (request, _readable(reason))
            case e.Alert(level, name, text, product_id):
                facts: dict[str, Json] = {"note": text, "level": level, "name": name}
                self._add(Entry(self._clock.now(), "ALERT", f"level {level}: {text}", "", product_id, facts))
            case e.Note(kind, product_id, text) if kind not in ("REFUSED", "VENUE NO"):
                self._add(Entry(self._clock.now(), kind, text, "", product_id, {"note": text}))
            case _:
                return

    def _placed(self, label: str, outcome: port.Outcome) -> None:
        request, reason = self._asked.pop(label, (None, ""))
        if request is None:
            return
        word = "STOP" if request.trigger_price is not None else "PLACE"
        match outcome:
            case port.Confirmed(order, fills):
                self._write(word, _order(request), reason, request, gate="allowed", order_id=order.order_id)
                for fill in fills:
                    self._fill(fill)
            case port.Refused(code, why):
                self._write("VENUE NO", _order(request), f"{why} ({code})", request, gate="allowed", venue_code=code)
            case port.Unknown(cause):
                self._write("UNKNOWN", _order(request), cause, request, gate="allowed")

    def _fill(self, fill: Fill) -> None:
        if fill.trade_id in self._told:
            return
        self._told.append(fill.trade_id)
        product = self._core.products.get(fill.product_id)
        after = product.position if product is not None else None
        before = None if after is None else after - fill.side.sign * fill.size
        moved = "" if after is None else f"{before:+} -> {after:+}"
        liquidity = {"M": "maker", "T": "taker"}.get(fill.liquidity or "", "?")
        text = f"{fill.side.value} {plain(fill.size)} at {fill.price:,f}, {liquidity} fee {fill.fee:.2f}"
        facts: dict[str, Json] = {
            "side": fill.side.value,
            "size": plain(fill.size),
            "price": plain(fill.price),
            "fee": plain(fill.fee),
            "fee_currency": fill.fee_currency,
            "liquidity": fill.liquidity,
            "trade_id": fill.trade_id,
            "id": fill.identity,
        }
        self._add(Entry(self._clock.now(), "FILL", text, moved, fill.product_id, facts))

    def _write(self, word: str, text: str, reason: str, about: OrderRequest | Order, **more: Json) -> None:
        price = about.price if about.price is not None else about.trigger_price
        facts: dict[str, Json] = {
            "side": about.side.value,
            "size": plain(about.size),
            "price": None if price is None else plain(price),
            "id": about.identity,
            "reason": reason or None,
            **more,
        }
        self._add(Entry(self._clock.now(), word, text, reason, about.product_id, facts))

    def _add(self, entry: Entry) -> None:
        self.entries.append(entry)
        for tell in self.listeners:
            tell(entry)


def _order(request: OrderRequest) -> str:
    at = "at market" if request.price is None else f"at {request.price:,}"
    if request.trigger_price is not None:
        at = f"at {request.trigger_price:,}" + ("" if request.price is None else f" limit {request.price:,}")
    how = "stop" if request.trigger_price is not None else "post-only" if request.post_only else "take"
    return f"{request.side.value} {plain(request.size)} {at} {how}"


def to_log(entry: Entry) -> None:
    """The entry as a line of the log: what needs somebody is an error, orders and fills are for debugging."""
    BOT.log(_GRAVE.get(entry.word, logging.DEBUG), "%s  %s  %s", entry.word, entry.text, entry.reason)


def as_json(entry: Entry, core: Core, env: str) -> dict[str, Json]:
    """The entry as one object of a pipe, with what the bot knew then."""
    product = core.products.get(entry.product_id or "")
    quote = product.quote if product is not None else None
    mark = product.mark if product is not None else None
    return {
        "schema": "perpctl.run/1",
        "env": env,
        "at": entry.at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "event": entry.word.lower().replace(" ", "_"),
        "product_id": entry.product_id,
        **entry.facts,
        "position": plain(product.position) if product is not None else None,
        "ref_price": plain(mark) if mark is not None else None,
        "ref_age_ms": int((core.now - quote.seen) * 1000) if quote is not None else None,
        "mode": core.mode.value,
    }
