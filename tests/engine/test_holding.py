"""A fill counts once, however late it is told again, and what is remembered of the old ones has an end."""

from __future__ import annotations

import random
from dataclasses import replace
from decimal import Decimal as D

from perpctl.engine import events as e
from perpctl.engine.state.holding import KEPT, Held
from perpctl.model.books.ledger import Tally
from perpctl.model.fill import Fill
from perpctl.model.order import Side
from tests.conftest import both_venues
from tests.engine.bench import Bench
from tests.risk.world import GLOBAL, World


def fill(number: int, world: World = GLOBAL) -> Fill:
    side = Side.BUY if number % 2 else Side.SELL
    money, currency = {"size": D("0.01"), "price": D(84100), "fee": D("0.01")}, world.instrument.currency
    return Fill(
        f"t-{number}", "o-1", "i-1", world.btc, side, fee_currency=currency, liquidity="M", at_ms=number, **money
    )


def test_ten_times_as_many_fills_as_are_kept_count_once_each() -> None:
    held, told = Held(Tally(GLOBAL.btc)), random.Random(7)
    for number in range(1, KEPT * 10 + 1):
        assert held.book(fill(number)) is not None
        assert held.book(fill(told.randint(1, number))) is None
        if number % 1000 == 0:
            held.proven()
            assert len(held._known) <= KEPT
    assert (held.fills, held.size) == (KEPT * 10, 0)


@both_venues
def test_ids_are_let_go_of_only_while_the_venue_holds_what_we_hold(bench: Bench) -> None:
    """A position that differs may lack an old fill: the one that comes late then must still count."""
    for number in range(2, KEPT + 8):
        bench.product.held.book(fill(number, bench.world))
    assert bench.product.position == 0
    bench.core.step(e.Reconciled((bench.position("0.05"),), (), (), bench.now), bench.now)
    assert len(bench.product.held._known) == KEPT + 6
    bench.product.held.adopt(D(0), D(84100), ())
    bench.core.step(e.Reconciled((bench.position("0.01"),), (), (fill(1, bench.world),), bench.now), bench.now)
    assert bench.product.position == D("0.01")
    assert len(bench.product.held._known) == KEPT
    assert bench.product.held.book(replace(fill(1, bench.world), side=Side.BUY)) is None
