"""A price outside of the venue's band is brought nearer: half as far, three times, each an order of its own."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from perpctl.engine import events as e
from perpctl.exchange import port
from perpctl.model.mode import Mode
from perpctl.model.order import OrderRequest, OrderStatus
from tests.engine.bench import Bench, bid, of, offer, only, placed

OUTSIDE = port.Refused(None, "LIMIT_ORDER_PRICE_EXCEEDS_PRICE_BAND_ON_BUY: above the band", outside_band=True)
LAST = D("84100")


@pytest.fixture
def bench() -> Bench:
    bench = Bench("us")
    bench.quote(last=LAST)
    return bench


def refuse(bench: Bench, request: OrderRequest) -> list[e.Effect]:
    bench.now += 2
    bench.at_ms += 2000
    bench.core.market.saw(bench.at_ms, bench.now)
    return bench.tell(e.Placed(request.identity, OUTSIDE))


def test_it_goes_half_as_far_from_the_last_price_with_an_identity_of_its_own(bench: Bench) -> None:
    bench.strategy.wishes = [bid(price="84000")]
    far = placed(bench.quote(last=LAST))[0].request
    near = placed(refuse(bench, far))[0].request
    assert near.price == D("84050")
    assert near == replace(far, identity=near.identity, price=near.price)
    assert near.identity != far.identity
    assert far.identity not in bench.core.orders.ours


def test_three_times_and_not_a_fourth(bench: Bench) -> None:
    bench.strategy.wishes = [offer(price="84500")]
    request = placed(bench.quote(last=LAST))[0].request
    prices = []
    while again := placed(refuse(bench, request)):
        request = again[0].request
        prices.append(request.price)
    assert prices == [D("84300"), D("84200"), D("84150")]


def test_another_refusal_is_not_tried_again(bench: Bench) -> None:
    bench.strategy.wishes = [bid(price="84000")]
    far = placed(bench.quote(last=LAST))[0].request
    assert not placed(bench.tell(e.Placed(far.identity, port.Refused(None, "INSUFFICIENT_FUNDS_FOR_FUTURES"))))


def test_while_nothing_may_be_entered_nothing_is_tried_again(bench: Bench) -> None:
    bench.strategy.wishes = [bid(price="84000")]
    far = placed(bench.quote(last=LAST))[0].request
    bench.tell(e.ModeChanged(Mode.REDUCE_ONLY, "test"))
    assert not placed(refuse(bench, far))


def test_a_stop_keeps_its_trigger_and_its_limit_comes_nearer_to_it(bench: Bench) -> None:
    stop = bench.hold("0.1").request
    again = only(refuse(bench, stop), e.PlaceStop).request
    assert again.trigger_price == stop.trigger_price
    assert stop.price is not None
    assert stop.trigger_price is not None
    assert again.price is not None
    assert stop.price < again.price < stop.trigger_price
    bench.accept(again, status=OrderStatus.UNTRIGGERED)
    assert bench.core.guard.covered(bench.product, bench.core.orders) == D("0.1")


def test_a_close_that_was_refused_is_the_guards_to_try_again(bench: Bench) -> None:
    bench.tell(e.Placed(bench.hold("0.1").request.identity, port.Unknown("timed out")))
    close = only(bench.later(5.1), e.CloseNow).request
    assert not of(bench.tell(e.Placed(close.identity, OUTSIDE)), e.PlaceEntry)
