"""This file writes down what a run hears beside orders and fills: lines, feeds, who asks it what, that it lives.

A bot in a process of its own has a recorder; a simulation has none.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from perpctl.clock import Clock
from perpctl.engine import events as e
from perpctl.engine.core import Core
from perpctl.exchange import port
from perpctl.hiding import without_secrets
from perpctl.model.instrument import Instrument
from perpctl.model.passage import Connection
from perpctl.model.position import Account
from perpctl.store.facts.grounds import lasting, spec_hash
from perpctl.store.facts.heads import sign_head
from perpctl.store.facts.looks import take_looks
from perpctl.store.journal import Journal
from perpctl.store.records import Kind, iso

HEAD_S = 60.0
MOST_ROWS = 200  # of the access log, a minute: whoever may ask could ask for anything
SENT_TO = ("log",)
LONGEST = 400  # characters of a venue's words
_log = logging.getLogger("perpctl.journal")


@dataclass(frozen=True, slots=True)
class Asking:
    """One sort of request to this process, and who made it; `asked` is what a request to act asked for."""

    door: str  # local service | control socket
    what: str
    status: str
    uid: int | None  # of the calling process, as the kernel tells it
    pid: int | None
    by_token: bool
    asked: str | None = None


OTHERS = Asking("any", "more sorts of requests than are told apart", "any", None, None, by_token=False)


class Recorder:
    """Everything beside orders and fills. `watch` is told each event after the core, `connection` each connection."""

    def __init__(self, journal: Journal, clock: Clock, core: Core, key: bytes) -> None:
        self._journal, self._clock, self._core, self._key = journal, clock, core, key
        self._lost_at: dict[str, float] = {}
        self._armed = False
        self._window: str | None = None
        self._rows: Counter[Asking] = Counter()
        self._since = clock.now()
        self._specifications: dict[str, Instrument] = {}
        self._transfers = {
            str(record.body["transfer"]["row_id"]) for record in journal.records(kinds=(Kind.TRANSFER_SEEN,))
        }
        for product in core.products.values():
            self._specification(product.instrument)

    def connection(self, told: Connection) -> None:
        """A socket came up, or is over."""
        self._append(Kind.CONNECTION_OPENED if told.closed_at is None else Kind.CONNECTION_CLOSED, {"connection": told})

    def watch(self, event: e.Event, effects: list[e.Effect]) -> None:
        """What of this event is to be remembered."""
        match event:
            case port.FeedLost(channel, cause):
                self._lost_at.setdefault(channel, self._clock.monotonic())
                self._append(Kind.FEED_LOST, {"channel": channel, "why": without_secrets(cause[:LONGEST])})
            case port.FeedResumed():
                self._resumed(event)
            case e.AccountRead(account):
                self._money(account)
            case e.SpecificationRead(instrument) if instrument.product_id in self._specifications:
                self._specification(instrument)
            case _:
                pass
        if self._core.dead_man is not self._armed:
            self._armed = self._core.dead_man
            dead_man = self._core.rules.terms.dead_man
            by = "cancel on disconnect, read back" if dead_man is None else "an end time on each entry"
            self._append(Kind.DEAD_MAN_READ, {"armed": self._armed, "by": by, "not_offered": dead_man})

    def asked(self, asking: Asking) -> None:
        """Somebody asked something of this process; written with the next head."""
        known = asking in self._rows or len(self._rows) < MOST_ROWS
        self._rows[asking if known else OTHERS] += 1

    async def keep_signing(self) -> None:
        """A signed head each minute, also when nothing happens."""
        while True:
            self.sign()
            await self._clock.sleep(HEAD_S)

    def sign(self) -> None:
        """Write down who asked what since the last head, and the head; both in one commit."""
        rows, self._rows = self._rows, Counter()
        since, self._since = self._since, self._clock.now()
        take_looks(self._journal, self._journal.path.parent)
        with self._journal.batch():
            if rows:
                told = [{"asking": asking, "count": count} for asking, count in rows.items()]
                self._append(Kind.ACCESS_LOGGED, {"since": iso(since), "requests": told})
            head = sign_head(self._journal, self._key, SENT_TO)
        _log.info("head %d %s", head.seq, head.hash.hex())

    def _resumed(self, event: port.FeedResumed) -> None:
        lost_at = self._lost_at.pop(event.channel, None)
        out_ms = None if lost_at is None else int((self._clock.monotonic() - lost_at) * 1000)
        read = {"orders": event.orders, "positions": event.positions, "fills": event.fills}
        counts = {name: None if rows is None else len(rows) for name, rows in read.items()}
        self._append(Kind.FEED_RESUMED, {"channel": event.channel, "out_ms": out_ms, "read_anew": counts})

    def _money(self, account: Account) -> None:
        for moved in self._core.day.came:
            if moved.row_id not in self._transfers:
                self._transfers.add(moved.row_id)
                self._append(Kind.TRANSFER_SEEN, {"transfer": moved})
        if account.margin_window != self._window:
            before, self._window = self._window, account.margin_window
            body = {"before": before, "window": account.margin_window, "measures": account.measures}
            self._append(Kind.MARGIN_CHANGED, {**body, "equity": account.equity, "currency": account.currency})

    def _specification(self, row: Instrument) -> None:
        before, now = self._specifications.get(row.product_id), lasting(row)
        if before is not None and (then := lasting(before)) == now:
            return
        changed = None if before is None else sorted(name for name in now if then.get(name) != now[name])
        self._specifications[row.product_id] = row
        body = {"product_id": row.product_id, "spec_hash": spec_hash(row), "changed": changed, "row": now}
        self._append(Kind.INSTRUMENT_SEEN, body)

    def _append(self, kind: Kind, body: Mapping[str, object]) -> None:
        self._journal.append(kind, body, market_ms=self._core.market_ms or None)
