"""What the journal comes to: orders, fills, positions and funding as they stand, and booking what the venue tells."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
from msgspec import Struct

from perpctl.model.books.funding import FundingPayment
from perpctl.model.books.ledger import Ledger, Tally, apply_fill
from perpctl.model.fill import Fill, slippage_bp
from perpctl.model.money import ZERO
from perpctl.model.order import Order, OrderRequest
from perpctl.store import folds, sqlite
from perpctl.store.folds import UNPROVEN, IntentState
from perpctl.store.journal import Journal, JournalReader
from perpctl.store.records import Correlation, Kind, Record

Row = TypeVar("Row")
_LAST = 2**63 - 1


class TrackedOrder(Struct, frozen=True):
    """An order as our records know it: what we asked for, and what the venue last said of it."""

    key: str  # our identity; the venue's order id for an order that no intent of ours explains
    identity: str | None
    order_id: str | None
    state: IntentState
    cancel_state: str | None  # intended | confirmed | refused | unknown
    product_id: str
    request: OrderRequest | None  # None: no intent of ours
    order: Order | None  # None: the venue never reported it
    booked: Decimal  # sum of the fills booked, base coin
    cause: str | None  # of the last refusal, unknown outcome or absence
    epoch: int | None
    risk_day: str | None
    since_ms: int | None  # market time of the intent
    first_seq: int
    last_seq: int

    @property
    def size(self) -> Decimal:
        """Base coin, positive, total."""
        sized = self.order or self.request
        assert sized is not None  # a row comes from an intent or from a sighting
        return sized.size

    @property
    def remaining(self) -> Decimal:
        """What can still fill, by whichever of fills and the venue's word is further."""
        return self.size - max(self.booked, self.order.filled if self.order else ZERO)


class Baseline(Struct, frozen=True):
    """Equity at the start of a risk day."""

    risk_day: str
    equity: Decimal
    currency: str


class Views:
    """The projections, read; over the journal's own database or over a rebuilt copy."""

    def __init__(self, connection: apsw.Connection, path: Path) -> None:
        self._connection = connection
        self._path = path

    def order(self, identity: str) -> TrackedOrder | None:
        """The order of one of our intents."""
        return next(self._orders("key = ?", identity), None)

    def orders_of(self, word: str) -> tuple[TrackedOrder, ...]:
        """Every order that goes by this identity or order id; more than one when a label was reused."""
        return tuple(self._orders("key = ?1 OR order_id = ?1 OR (identity = ?1 AND identity <> key)", word))

    def orders(self, *states: IntentState) -> tuple[TrackedOrder, ...]:
        """Orders in any of these states, in the order they were first recorded; all of them without states."""
        marks = ", ".join("?" * len(states))
        return tuple(self._orders(f"state IN ({marks})" if states else "1", *states))

    def unknown_orders(self) -> tuple[TrackedOrder, ...]:
        """Orders that may have reached the venue and are neither confirmed nor refused: intended, sent or unknown."""
        return self.orders(*UNPROVEN)

    def working_orders(self) -> tuple[TrackedOrder, ...]:
        """Orders that the venue has and that can still fill, whoever made them."""
        return self.orders(IntentState.CONFIRMED)

    def absent_orders(self, since_ms: int) -> tuple[TrackedOrder, ...]:
        """Orders intended from `since_ms` on (market time) that reads proved never to have arrived."""
        return tuple(self._orders("state = 'absent' AND since_ms >= ?", since_ms))

    def unaccounted_since_ms(self) -> int | None:
        """Market time of the oldest intent of which fills may lack here: it can still fill, or has filled more.

        None: no order of ours has one. The comparison of decimals as doubles only chooses how far to look back.
        """
        sql = (
            "SELECT min(since_ms) FROM orders WHERE state IN ('intended', 'sent', 'unknown', 'confirmed') "
            "OR (state = 'terminal' AND CAST(seen ->> '$.filled' AS REAL) > CAST(booked AS REAL) + 1e-9)"
        )
        since_ms: int | None = self._rows(sql)[0][0]
        return since_ms

    def is_lacking_fills(self) -> bool:
        """Whether an order of ours ended with more filled than was booked here; decimals compared as doubles."""
        more = "state = 'terminal' AND CAST(seen ->> '$.filled' AS REAL) > CAST(booked AS REAL) + 1e-9"
        return bool(self._rows(f"SELECT 1 FROM orders WHERE {more} LIMIT 1"))  # noqa: S608 - our own words

    def fills(self, since_ms: int = 0) -> tuple[Fill, ...]:
        """Fills from `since_ms` (market time), in the order of the venue's times."""
        return self._decoded(Fill, "SELECT fill FROM fills WHERE at_ms >= ? ORDER BY at_ms, seq", since_ms)

    def fills_of(self, word: str) -> tuple[Fill, ...]:
        """Fills of one order, by our identity or its order id."""
        ids = {word, *(order.order_id for order in self.orders_of(word) if order.order_id)}
        marks = ", ".join("?" * len(ids))
        return self._decoded(
            Fill,
            f"SELECT fill FROM fills WHERE order_id IN ({marks}) ORDER BY at_ms, seq",  # noqa: S608 - marks only
            *sorted(ids),
        )

    def newest_fill(self, product_id: str | None = None) -> Fill | None:
        """The last fill by the venue's time, of one product or of all."""
        where, values = ("", ()) if product_id is None else ("WHERE product_id = ?", (product_id,))
        sql = f"SELECT fill FROM fills {where} ORDER BY at_ms DESC, seq DESC LIMIT 1"  # noqa: S608 - our own words
        return next(iter(self._decoded(Fill, sql, *values)), None)

    def since_flat(self, product_id: str, slot: int | None = None) -> tuple[Fill, ...]:
        """What made today's position: fills and corrections from the one that opened it on, in the order booked."""
        size = next((one.size for one in self.positions() if (one.product_id, one.slot) == (product_id, slot)), ZERO)
        found: list[Fill] = []
        for moved in self._newest_first(product_id):
            if size == 0:
                break
            if moved.slot == slot:
                found.append(moved)
                before = size - moved.side.sign * moved.size
                size = ZERO if (before > 0) != (size > 0) else before  # it turned the position: the rest is older
        return tuple(reversed(found))

    def _newest_first(self, product_id: str) -> Iterator[Fill]:
        """What moved a product's positions, read by the page: most positions are younger than one."""
        sql = (
            "SELECT seq, fill FROM fills WHERE product_id = ?1 AND seq < ?2 UNION ALL "
            "SELECT seq, movement FROM corrections WHERE movement ->> '$.product_id' = ?1 AND seq < ?2 "
            "ORDER BY 1 DESC LIMIT 200"
        )
        below = _LAST
        while rows := self._rows(sql, product_id, below):
            yield from (msgspec.json.decode(text, type=Fill) for _, text in rows)
            below = rows[-1][0]

    def corrections(self) -> tuple[tuple[str, Fill], ...]:
        """What moved our positions without being a fill: cause and movement, in the order booked."""
        rows = self._rows("SELECT cause, movement FROM corrections ORDER BY seq")
        return tuple((cause, msgspec.json.decode(movement, type=Fill)) for cause, movement in rows)

    def positions(self) -> tuple[Tally, ...]:
        """What our records say is held, by product and slot."""
        return tuple(tally for tally in self.tallies() if tally.size)

    def tallies(self) -> tuple[Tally, ...]:
        """Every product and slot ever traded, those that are flat now with what they realised, paid and cost."""
        return self._decoded(Tally, "SELECT tally FROM positions ORDER BY product_id, slot")

    def ledger(self, start: Decimal, currency: str, transfers: Decimal = ZERO) -> Ledger:
        """The money of our records, from equity `start` when nothing was held."""
        tallies = {(tally.product_id, tally.slot): tally for tally in self.tallies()}
        return Ledger(start, currency, transfers, tallies)

    def booked_fills(self, venue: str, trade_ids: Iterable[str]) -> frozenset[str]:
        """Those of these executions that are booked; the others are news."""
        sql = "SELECT trade_id FROM fills WHERE venue = ? AND trade_id IN (SELECT value FROM json_each(?))"
        return frozenset(one for (one,) in self._rows(sql, venue, _listed(trade_ids)))

    def booked_funding(self, venue: str, row_ids: Iterable[str]) -> frozenset[str]:
        """Those of these funding rows that are booked."""
        sql = "SELECT row_id FROM funding WHERE venue = ? AND row_id IN (SELECT value FROM json_each(?))"
        return frozenset(one for (one,) in self._rows(sql, venue, _listed(row_ids)))

    def has_fill(self, venue: str, trade_id: str) -> bool:
        """Whether this execution is booked."""
        return bool(self._rows("SELECT 1 FROM fills WHERE venue = ? AND trade_id = ?", venue, trade_id))

    def funding(self, since_ms: int = 0) -> tuple[FundingPayment, ...]:
        """Funding payments from `since_ms` (market time), in the order of the venue's times."""
        return self._decoded(
            FundingPayment, "SELECT payment FROM funding WHERE at_ms >= ? ORDER BY at_ms, seq", since_ms
        )

    def intents_today(self, risk_day: str) -> int:
        """How many orders were decided on in a risk day: those that only renew another are left out."""
        sql = "SELECT count(*) FROM orders WHERE risk_day = ? AND request ->> '$.purpose' <> 'renew'"
        return int(self._rows(sql, risk_day)[0][0])

    def last_clean_reconcile(self) -> datetime | None:
        """Wall time of the last reconcile that left no difference open."""
        rows = self._rows("SELECT at FROM reconciles ORDER BY seq DESC LIMIT 1")
        return datetime.fromisoformat(rows[0][0]).astimezone(UTC) if rows else None

    def baseline(self, risk_day: str) -> Baseline | None:
        """Equity at the start of a risk day, None when none was taken."""
        rows = self._rows("SELECT risk_day, equity, currency FROM baselines WHERE risk_day = ?", risk_day)
        return Baseline(rows[0][0], Decimal(rows[0][1]), rows[0][2]) if rows else None

    def mode_changes(self, limit: int = 100) -> tuple[dict[str, Any], ...]:
        """The bodies of the last mode changes, newest first, each with its `at`."""
        rows = self._rows("SELECT at, change FROM mode_changes ORDER BY seq DESC LIMIT ?", limit)
        return tuple({**msgspec.json.decode(change), "at": at} for at, change in rows)

    def differences(self, other: Views) -> tuple[str, ...]:
        """The names of the projections in which two folds differ; `schema` when a table is not what it is called."""
        found = tuple(table for table in folds.PROJECTIONS if self.rows_of(table) != other.rows_of(table))
        return found if self._schema() == other._schema() else (*found, "schema")

    def _schema(self) -> list[tuple[Any, ...]]:
        """An empty table under a false name reads as well as ever: only its name and its text can tell."""
        return self._rows("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY name")

    def rows_of(self, projection: str) -> list[tuple[Any, ...]]:
        """A projection as it stands, whole: to compare folds by."""
        assert projection in folds.PROJECTIONS
        return self._rows(f"SELECT * FROM {projection} ORDER BY 1, 2")  # noqa: S608 - our own names

    def _orders(self, where: str, *values: str | int) -> Iterator[TrackedOrder]:
        sql = (
            "SELECT key, identity, order_id, state, cancel_state, product_id, request, seen, booked, cause, epoch, "  # noqa: S608
            f"risk_day, since_ms, first_seq, last_seq FROM orders WHERE {where} ORDER BY first_seq"
        )
        for row in self._rows(sql, *values):
            key, identity, order_id, state, cancel_state, product_id, request, seen, booked, *rest = row
            yield TrackedOrder(
                key,
                identity,
                order_id,
                IntentState(state),
                cancel_state,
                product_id,
                None if request is None else msgspec.json.decode(request, type=OrderRequest),
                None if seen is None else msgspec.json.decode(seen, type=Order),
                Decimal(booked),
                *rest,
            )

    def _decoded(self, kind: type[Row], sql: str, *values: str | int) -> tuple[Row, ...]:
        return tuple(msgspec.json.decode(text, type=kind) for (text,) in self._rows(sql, *values))

    def _rows(self, sql: str, *values: str | int) -> list[tuple[Any, ...]]:
        with sqlite.named_errors(self._path):
            return self._connection.execute(sql, values).fetchall()


class Projections(Views):
    """The projections of an open journal, and the booking of what the venue tells: each thing once."""

    def __init__(self, journal: Journal, is_ours: Callable[[str | None], bool] | None = None) -> None:
        super().__init__(journal.connection, journal.path)
        self.journal = journal
        self.fills_booked = 0  # from here: by whichever answer, channel or reading told of them first
        self._is_ours = is_ours

    def book_fill(self, fill: Fill, seen_by: str, correlation: Correlation | None = None) -> bool:
        """Book an execution exactly once, whoever sees it first; False: it was booked already.

        `seen_by` is reply, user channel, by id, listing or reconcile.
        """
        venue = self.journal.writer.venue
        with self.journal.batch():
            if self.has_fill(venue, fill.trade_id):
                return False
            change = apply_fill(folds.tally_of(self._connection, fill.product_id, fill.slot), fill)
            arrival = self._arrival_price(fill.identity)
            body = {
                "order_id": fill.order_id,
                "ours": self.ours(fill.identity),
                "seen_by": seen_by,
                "trade_type": "fill",
                "counted_once_key": f"{venue}:{fill.trade_id}",
                "size_unit": "base coin",
                "fill": fill,
                "effect": change.effect,
                "position_after": change.after.size,
                "realised": change.realized,
                "arrival_price": arrival,
                "slippage_bp": None if not arrival else slippage_bp(fill, arrival),
            }
            self.journal.append(Kind.FILL_BOOKED, body, correlation or Correlation(intent_id=fill.identity), fill.at_ms)
        self.fills_booked += 1
        return True

    def _arrival_price(self, identity: str | None) -> Decimal | None:
        """Where the market was when the order was decided on; of one that waits for a price, that price."""
        sql = (
            "SELECT coalesce(canonical ->> '$.body.request.trigger_price', canonical ->> '$.body.inputs.mid') "
            "FROM journal WHERE intent_id = ? AND kind = 'order.intended'"
        )
        rows = [] if identity is None else self._rows(sql, identity)
        return Decimal(rows[0][0]) if rows and rows[0][0] is not None else None

    def book_funding(self, payment: FundingPayment, seen_by: str) -> bool:
        """Book a funding payment exactly once by its row id; False: it was booked already."""
        with self.journal.batch():
            known = "SELECT 1 FROM funding WHERE venue = ? AND row_id = ?"
            if self._rows(known, self.journal.writer.venue, payment.row_id):
                return False
            self.journal.append(Kind.FUNDING_BOOKED, {"seen_by": seen_by, "payment": payment}, None, payment.at_ms)
        return True

    def see_order(self, order: Order, seen_by: str) -> bool:
        """Record what the venue says of an order, when it says something new; False: nothing new."""
        with self.journal.batch():
            known = next((one for one in self.orders_of(order.order_id) if one.order_id == order.order_id), None)
            if known is not None and known.order == order:
                return False
            state = None if known is None else known.state
            body = {**self.sighting(order), "seen_by": seen_by, "state_before": state}
            self.journal.append(Kind.ORDER_SEEN, body, Correlation(intent_id=order.identity), order.updated_ms)
        return True

    def sighting(self, order: Order) -> dict[str, object]:
        """The members that every record of an order's state has."""
        return {
            "order_id": order.order_id,
            "ours": self.ours(order.identity),
            "state_after": order.status,
            "size_unit": "base coin",
            "order": order,
        }

    def ours(self, identity: str | None) -> bool | None:
        """Whether the identity proves to be of our making; None: nobody here holds the key that tells."""
        return None if self._is_ours is None else self._is_ours(identity)

    def set_baseline(self, risk_day: str, equity: Decimal, currency: str, market_ms: int | None = None) -> Baseline:
        """Equity at the start of the risk day; the first one stays, whoever restarts."""
        with self.journal.batch():
            taken = self.baseline(risk_day)
            if taken is None:
                body = {"risk_day": risk_day, "equity": equity, "currency": currency}
                self.journal.append(Kind.BASELINE_TAKEN, body, None, market_ms)
                taken = Baseline(risk_day, equity, currency)
        return taken

    def baseline_taken_ms(self, risk_day: str) -> int | None:
        """Market time at which the day's baseline was taken; transfers from before are in it already."""
        sql = (
            "SELECT json_extract(CAST(canonical AS TEXT), '$.at_market_ms') FROM journal "
            "JOIN baselines USING (seq) WHERE risk_day = ?"
        )
        rows = self._rows(sql, risk_day)
        return None if not rows else rows[0][0]

    def correct(self, movement: Fill, cause: str, correlation: Correlation) -> Record:
        """Move our position by what no fill explains: `movement` has no fee and a trade id of its own making.

        Raises ValueError when a correction of that trade id was booked already.
        `cause` is foreign, liquidation, reversal or unknown; the correlation names the plan that decided on it.
        """
        body = {"cause": cause, "order_id": movement.order_id, "size_unit": "base coin", "fill": movement}
        return self.journal.append(Kind.CORRECTION_BOOKED, body, correlation, movement.at_ms)

    def trace(self, word: str) -> tuple[Record, ...]:
        """Every record of one order, by our identity or its order id, in the order written."""
        orders = self.orders_of(word)
        words = sorted({word} | {order.order_id or word for order in orders} | {order.key for order in orders})
        marks = ", ".join("?" * len(words))
        sql = f"SELECT seq FROM journal WHERE intent_id IN ({marks}) OR order_id IN ({marks})"  # noqa: S608 - marks only
        return tuple(self.journal.lines(sorted(seq for (seq,) in self._rows(sql, *words, *words))))


def _listed(words: Iterable[str]) -> str:
    return msgspec.json.encode(list(words)).decode()


def rebuild(journal: JournalReader, until_seq: int | None = None) -> Views:
    """The projections folded anew, in memory, from the journal's lines up to `until_seq`."""
    connection = apsw.Connection(":memory:")
    sqlite.migrate(connection, journal.path)
    connection.execute("BEGIN")
    for record in journal.records():
        if until_seq is not None and record.seq > until_seq:
            break
        folds.fold(connection, record)
    connection.execute("COMMIT")
    return Views(connection, journal.path)
