"""The store, driven at random: crashes, repeats, a second process; projections are always the fold of the journal."""

from __future__ import annotations

import shutil
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from perpctl.clock import ManualClock
from perpctl.model.order import OrderStatus, Side
from perpctl.store import folds
from perpctl.store.folds import UNPROVEN, IntentState
from perpctl.store.intents import Attempt, Intents
from perpctl.store.journal import Journal
from perpctl.store.projections import Projections, rebuild
from tests.store.stock import ALGORITHM, ALLOWED, GROUNDS, MS, START, WRITER, fill, order, payment, request

NUMBERS = st.integers(0, 2)
SIZES = st.sampled_from(["0.002", "0.004", "0.01"])


class Crash(Exception):
    """Stands for the process dying inside a transaction."""


class StoreMachine(RuleBasedStateMachine):
    """Two processes on one journal. What they acknowledged is kept beside, in plain sets, as the oracle."""

    @initialize()
    def begin(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="store-machine-"))
        self.clock = ManualClock(START)
        self.journals = [self.opened(), self.opened()]
        self.intended: set[str] = set()
        self.fills: dict[str, Decimal] = {}
        self.funding: set[str] = set()
        self.over: set[str] = set()
        self.newest: dict[str, int] = {}
        self.lines = 0
        self.moments: dict[int, dict[str, list[tuple[Any, ...]]]] = {}

    def opened(self) -> Journal:
        return Journal.open(self.directory / "journal.db", WRITER, self.clock, durable=False)

    def projections(self, who: int) -> Projections:
        return Projections(self.journals[who % 2])

    def intents(self, who: int) -> Intents:
        return Intents(self.projections(who))

    @rule(who=NUMBERS, n=NUMBERS)
    def intend(self, who: int, n: int) -> None:
        name = f"o{n}"
        try:
            self.intents(who).intend(request(name), ALLOWED, GROUNDS)
        except ValueError:
            assert name in self.intended
        else:
            assert name not in self.intended
            self.intended.add(name)

    @precondition(lambda self: self.intended)
    @rule(who=NUMBERS, n=NUMBERS, what=st.sampled_from(["sent", "refused", "unknown", "absent"]))
    def answer(self, who: int, n: int, what: str) -> None:
        name, intents = sorted(self.intended)[n % len(self.intended)], self.intents(who)
        if what == "sent":
            intents.sent(name, Attempt("private/buy"))
        elif what == "refused":
            intents.refused(name, 10009, "not_enough_funds")
        elif what == "unknown":
            intents.unknown(name, "no answer")
        else:
            intents.settled_absent(name, "not listed", "listing")

    @rule(who=NUMBERS, n=NUMBERS, status=st.sampled_from(OrderStatus), age=st.integers(0, 5))
    def see(self, who: int, n: int, status: OrderStatus, age: int) -> None:
        seen = order(f"v{n}", f"o{n}", status, updated_ms=MS + age)
        self.projections(who).see_order(seen, "listing")
        assert not self.projections(who + 1).see_order(seen, "user channel") or self._outdated(n, seen.updated_ms)
        row = self.projections(who).orders_of(f"v{n}")[0]
        if status.is_terminal and not self._outdated(n, seen.updated_ms):
            assert row.state is IntentState.TERMINAL
        if f"v{n}" not in self.over:
            self.newest[f"v{n}"] = max(self.newest.get(f"v{n}", 0), seen.updated_ms)
            # filled in full by its fills before it was ever seen: what is told of it as open afterwards is old
            is_over = row.state is IntentState.TERMINAL
            assert is_over or (row.order is not None and row.order.updated_ms == self.newest[f"v{n}"])
        if row.state is IntentState.TERMINAL:
            self.over.add(f"v{n}")

    def _outdated(self, n: int, updated_ms: int) -> bool:
        known = self.projections(0).orders_of(f"v{n}")[0]
        return known.state is IntentState.TERMINAL or (known.order is not None and known.order.updated_ms > updated_ms)

    @rule(who=NUMBERS, n=NUMBERS, trade=st.integers(0, 20), size=SIZES, side=st.sampled_from(Side), named=st.booleans())
    def fill(self, who: int, n: int, trade: int, size: str, side: Side, named: bool) -> None:
        one = fill(f"t{trade}", f"v{n}", f"o{n}" if named else None, size=size, side=side, at_ms=MS + trade)
        booked = self.projections(who).book_fill(one, "user channel")
        assert booked == (one.trade_id not in self.fills)
        self.fills.setdefault(one.trade_id, one.size * side.sign)
        assert not self.projections(who + 1).book_fill(one, "listing")

    @rule(who=NUMBERS, n=NUMBERS)
    def pay(self, who: int, n: int) -> None:
        assert self.projections(who).book_funding(payment(f"f{n}"), "listing") == (f"f{n}" not in self.funding)
        self.funding.add(f"f{n}")

    @rule(who=NUMBERS, n=NUMBERS)
    def cancel(self, who: int, n: int) -> None:
        self.intents(who).intend_cancel(order(f"v{n}", f"o{n}"), "strategy", ALGORITHM)
        self.intents(who).cancel_unknown(order(f"v{n}", f"o{n}"), "no answer")

    @rule(who=NUMBERS, n=NUMBERS)
    def crash_inside_a_transaction(self, who: int, n: int) -> None:
        projections = self.projections(who)
        try:
            with projections.journal.batch():
                projections.book_fill(fill(f"lost{n}", f"v{n}"), "reply")
                projections.book_funding(payment(f"lost{n}"), "listing")
                raise Crash
        except Crash:
            self.reopen(who)

    @rule(who=NUMBERS)
    def reopen(self, who: int) -> None:
        self.journals[who % 2].close()
        self.journals[who % 2] = self.opened()

    @rule(seconds=st.integers(0, 3))
    def wait(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def what_was_acknowledged_is_there_once(self) -> None:
        for who in (0, 1):
            views = self.projections(who)
            assert {one.trade_id: one.size * one.side.sign for one in views.fills()} == self.fills
            assert {one.row_id for one in views.funding()} == self.funding
            assert {one.key for one in views.orders() if one.request} == self.intended
            held = views.positions()
            assert sum((tally.size for tally in held), Decimal(0)) == sum(self.fills.values(), Decimal(0))

    @invariant()
    def what_is_over_stays_over_and_nothing_counts_twice(self) -> None:
        views = self.projections(0)
        for word in self.over:
            assert {one.state for one in views.orders_of(word)} == {IntentState.TERMINAL}
        counting = [*views.unknown_orders(), *views.working_orders()]
        assert len({one.key for one in counting}) == len(counting)
        assert all(one.state in (*UNPROVEN, IntentState.CONFIRMED) for one in counting)

    @invariant()
    def the_chain_is_whole_and_only_grows(self) -> None:
        verdict = self.journals[0].verify()
        assert verdict.is_whole
        assert verdict.records >= self.lines
        self.lines = verdict.records
        if self.lines % 5 == 0:
            views = self.projections(1)
            self.moments[self.lines] = {name: views.rows_of(name) for name in folds.PROJECTIONS}

    def teardown(self) -> None:
        try:
            views = self.projections(0)
            assert views.differences(rebuild(self.journals[0])) == ()
            for seq, tables in self.moments.items():
                then = rebuild(self.journals[0], seq)
                assert {name: then.rows_of(name) for name in folds.PROJECTIONS} == tables
        finally:
            for journal in self.journals:
                journal.close()
            shutil.rmtree(self.directory)


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
