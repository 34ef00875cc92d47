"""Orders and fills that are not ours: told, counted, adopted by somebody, or halted on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

import pytest

from perpctl.engine import events as e
from perpctl.engine.state.meter import Meter
from perpctl.engine.state.sight import Permission, look
from perpctl.engine.watch.strangers import Foreign, ForeignRule
from perpctl.exchange import port
from perpctl.model import identity
from perpctl.model.mode import Mode
from perpctl.model.order import Order, OrderRequest, OrderStatus, OrderType, Side
from perpctl.risk.gate import decide
from perpctl.risk.verdict import Reason
from tests.conftest import both_venues
from tests.engine.bench import MINE, Bench, as_order, bid, of, only, placed

pytestmark = both_venues

ADOPT_S = 300  # defaults of the runbook: halt if not adopted in 5 min
KILL_LABEL = "ffffffff-ffff-8fff-bfff-ffffffffffff"
HALT = ForeignRule(Foreign.HALT)


def stranger(bench: Bench, label: str | None = "by-hand", size: str = "0.05", **change: object) -> Order:
    request = OrderRequest("x", bench.world.btc, Side.BUY, D(size), OrderType.LIMIT, D("84000"))
    return replace(as_order(request), order_id="x-1", identity=label, **change)  # type: ignore[arg-type]


def halts(effects: Sequence[e.Effect]) -> bool:
    return any(mode.mode is Mode.HALTED and mode.risk for mode in of(effects, e.EnterMode))


def wait(bench: Bench, seconds: float) -> list[e.Effect]:
    """Tick by tick, as the bot does."""
    effects: list[e.Effect] = []
    for _ in range(int(seconds)):
        effects += bench.later(1.0)
    return effects


def test_a_foreign_order_is_told_at_once_and_halts_after_five_minutes_when_nobody_adopts_it(bench: Bench) -> None:
    alert = only(bench.tell(port.OrderSeen(stranger(bench))), e.Alert)
    assert (alert.level, alert.product_id) == (3, bench.world.btc)
    assert "orders adopt" in alert.text
    assert not halts(wait(bench, ADOPT_S))
    assert halts(wait(bench, 2))


def test_the_five_minutes_begin_when_a_run_first_told_of_it(bench: Bench) -> None:
    assert only(bench.tell(port.OrderSeen(stranger(bench))), e.SeekOwner).first
    bench.tell(e.ToldBefore("x-1", ADOPT_S - 10))
    assert not halts(wait(bench, 9))
    assert halts(wait(bench, 3))


def test_an_earlier_word_that_seems_to_come_from_the_future_gives_no_more_time(bench: Bench) -> None:
    bench.tell(port.OrderSeen(stranger(bench)))
    wait(bench, ADOPT_S - 10)
    bench.tell(e.ToldBefore("x-1", 0.0))
    assert halts(wait(bench, 12))


def test_an_adopted_order_halts_nothing_and_goes_on_counting(bench: Bench) -> None:
    bench.tell(port.OrderSeen(stranger(bench)))
    wait(bench, 10)
    bench.tell(e.OwnerFound("x-1", "adopted by desk"))
    assert not halts(wait(bench, ADOPT_S + 10))
    assert not of(bench.tell(port.OrderSeen(stranger(bench))), e.Alert)
    assert "x-1" in bench.core.orders.foreign


def test_the_journal_is_asked_whose_order_it_is_again_and_again(bench: Bench) -> None:
    assert only(bench.tell(port.OrderSeen(stranger(bench))), e.SeekOwner).order_id == "x-1"
    assert len(of(wait(bench, 5), e.SeekOwner)) == 5


def test_a_foreign_fill_halts_too_though_its_order_is_long_over(bench: Bench) -> None:
    request = OrderRequest("by-hand", bench.world.btc, Side.BUY, D("0.05"), OrderType.LIMIT, D("84000"))
    effects = bench.tell(bench.fill(request, order_id="x-1"))
    assert only(effects, e.Alert).level == 3
    assert of(effects, e.Reconcile)
    assert bench.product.position == D("0.05")
    bench.tell(port.OrderSeen(stranger(bench, status=OrderStatus.FILLED, filled=D("0.05"))))
    assert halts(wait(bench, ADOPT_S + 2))


def test_a_foreign_order_that_ends_without_a_fill_is_forgotten(bench: Bench) -> None:
    bench.tell(port.OrderSeen(stranger(bench)))
    bench.tell(port.OrderSeen(stranger(bench, status=OrderStatus.CANCELLED)))
    assert not halts(wait(bench, ADOPT_S + 2))


def test_with_halt_a_label_that_is_not_ours_halts_at_once(venue: str) -> None:
    bench = Bench(venue, foreign=HALT)
    assert halts(bench.tell(port.OrderSeen(stranger(bench))))


def test_with_halt_what_has_no_label_may_be_ours_for_two_seconds_in_which_nothing_is_sent(venue: str) -> None:
    bench = Bench(venue, foreign=HALT)
    assert not halts(bench.tell(port.OrderSeen(stranger(bench, None))))
    asked = bench.strategy.asked
    assert not placed(bench.wish(bid()))
    assert bench.strategy.asked == asked
    assert halts(wait(bench, 3))
    second = Bench(venue, foreign=HALT)
    second.tell(port.OrderSeen(stranger(bench, None)))
    second.tell(e.OwnerFound("x-1", "an intent of ours"))
    assert not halts(wait(second, 10))
    assert placed(second.wish(bid()))


@pytest.mark.parametrize("label", [f"{MINE}77", KILL_LABEL])
@pytest.mark.parametrize("policy", [Foreign.COUNT, Foreign.HALT])
def test_another_process_of_ours_is_no_stranger(venue: str, label: str, policy: Foreign) -> None:
    assert label.startswith(MINE) or identity.is_kill(label)
    bench = Bench(venue, foreign=ForeignRule(policy))
    assert not of(bench.tell(port.OrderSeen(stranger(bench, label))), e.Alert)
    assert "x-1" in bench.core.orders.foreign
    assert not halts(wait(bench, ADOPT_S + 2))


def test_a_foreign_order_counts_in_the_position_limit(bench: Bench) -> None:
    """0.5 of the limit held by hand leaves no room for an order that alone would pass."""
    entry = placed(bench.wish(bid("0.1")))[0].request
    permission = Permission(Mode.NORMAL, False, 9000)

    def verdict() -> Reason | None:
        decision = decide(entry, look(bench.core, entry, permission, Meter(), bench.now), bench.core.rules.limits)
        return decision.first_refusal.reason_code if decision.first_refusal is not None else None

    assert verdict() is None
    bench.tell(port.OrderSeen(stranger(bench, size="0.55")))
    assert verdict() is Reason.POSITION_TOO_LARGE


def test_ignored_products_neither_count_nor_alarm(venue: str, bench: Bench) -> None:
    eth = bench.world.eth
    held = bench.position("3", product_id=eth)
    counted, ignored = bench, Bench(venue, foreign=ForeignRule(Foreign.IGNORE, frozenset({eth})))
    order = stranger(bench, product_id=eth)
    for one in (counted, ignored):
        one.tell(e.Reconciled((held,), (order,), (), one.now))
    assert [one.product_id for one in counted.core.others] == [eth]
    assert list(counted.core.orders.foreign) == ["x-1"]
    assert ignored.core.others == ()
    assert not ignored.core.orders.foreign


def test_resuming_without_adopting_halts_again(bench: Bench) -> None:
    bench.tell(port.OrderSeen(stranger(bench)))
    wait(bench, ADOPT_S + 2)
    bench.tell(e.ModeChanged(Mode.HALTED, "foreign"))
    bench.tell(e.ModeChanged(Mode.NORMAL, "resumed"))
    assert halts(wait(bench, 2))
