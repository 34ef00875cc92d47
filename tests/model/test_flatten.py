"""Following the next cancels and closes always ends flat or says what is left, and never adds risk on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpctl.model.flatten import (
    LADDER,
    Climb,
    Close,
    Key,
    Market,
    Read,
    is_exhausted,
    key_of,
    ladder,
    next_closes,
    prove_flat,
    prove_no_orders,
    sort_standing,
    through_touch,
)
from perpctl.model.order import Order, OrderStatus, OrderType, Side
from perpctl.model.position import Position

BTC, ETH = "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL"
DATED = "BTC_USDC-25JUN27"
STEP = Decimal("0.0001")
MARKET = Market(BTC, "BTC", Decimal("0.1"), STEP, Decimal(84_000), Decimal(84_001), Decimal(82_740), Decimal(85_260))
MARKETS = {
    BTC: MARKET,
    DATED: MARKET._replace(product_id=DATED),
    ETH: Market(ETH, "ETH", Decimal("0.01"), STEP, Decimal(2_960), Decimal(2_961), Decimal(2_915), Decimal(3_005)),
}


def order(kind: OrderType = OrderType.LIMIT, **more: object) -> Order:
    whole: dict[str, object] = {
        "order_id": "USDC-1",
        "identity": None,
        "product_id": BTC,
        "side": Side.SELL,
        "type": kind,
        "status": OrderStatus.OPEN,
        "size": Decimal("0.1"),
        "filled": Decimal(0),
        "price": None,
        "average_price": None,
        "reduce_only": False,
        "post_only": False,
        "trigger_price": None,
        "trigger": None,
        "created_ms": 0,
        "updated_ms": 0,
    }
    return Order(**{**whole, **more})  # type: ignore[arg-type]


def position(size: str, product: str = BTC, slot: int | None = None, **more: object) -> Position:
    nothing = dict.fromkeys(
        (
            "entry_price",
            "mark",
            "index",
            "notional",
            "unrealized",
            "realized",
            "funding",
            "maintenance_margin",
            "leverage",
            "initial_margin",
        )
    )
    whole = {
        **nothing,
        "product_id": product,
        "slot": slot,
        "size": Decimal(size),
        "units_agree": True,
        "at_ms": 0,
        "seen": 0.0,
        "underlying": "BTC",
        **more,
    }
    return Position(**whole)  # type: ignore[arg-type]


def closes(*positions: Position, climbs: dict[Key, Climb] | None = None, **more: object) -> tuple[Close, ...]:
    start = {key_of(each): each.size for each in positions}
    arguments = {"rungs": LADDER, "start": start, **more}
    return next_closes(positions, MARKETS, climbs or {}, **arguments)  # type: ignore[arg-type]


# --- sorting


def test_a_reduce_only_stop_on_the_closing_side_protects_and_everything_else_is_an_entry() -> None:
    stop = order(OrderType.STOP_MARKET, reduce_only=True)
    loose = order(OrderType.STOP_MARKET)
    take = order(OrderType.TAKE_MARKET, reduce_only=True)
    wrong_side = order(OrderType.STOP_MARKET, reduce_only=True, side=Side.BUY)
    limit = order(reduce_only=True)
    standing = sort_standing([stop, loose, take, wrong_side, limit], [position("1")])
    assert standing.stops == (stop,)
    assert standing.triggers == (loose, take, wrong_side)
    assert standing.limits == (limit,)
    assert not standing.is_flat


def test_a_stop_protects_only_in_its_own_slot() -> None:
    stop = order(OrderType.STOP_MARKET, reduce_only=True, slot=3)
    assert sort_standing([stop], [position("1")]).orphans == (stop,)
    assert sort_standing([stop], [position("1", slot=3)]).stops == (stop,)


def test_a_stop_without_position_is_an_orphan_and_no_entry() -> None:
    stop = order(OrderType.STOP_LIMIT, reduce_only=True)
    standing = sort_standing([stop], [position("0")])
    assert (standing.orphans, standing.entries, standing.positions) == ((stop,), (), ())


def test_an_unknown_status_counts_and_a_terminal_one_does_not() -> None:
    seen = [order(status=status) for status in OrderStatus]
    left = sort_standing(seen, []).limits
    assert {each.status for each in left} == {
        OrderStatus.OPEN,
        OrderStatus.UNTRIGGERED,
        OrderStatus.TRIGGERED,
        OrderStatus.UNKNOWN,
    }


def test_the_venues_own_liquidation_order_is_neither_entry_nor_stop() -> None:
    forced = order(origin="liquidation")
    standing = sort_standing([forced], [position("1")])
    assert (standing.liquidations, standing.entries) == ((forced,), ())


# --- closing


def test_one_position_climbs_the_ladder_and_ends_at_the_venues_own_close() -> None:
    seen = [closes(position("0.5"), climbs={(BTC, None): Climb(rung)})[0] for rung in range(4)]
    assert [each.price for each in seen] == [Decimal("83916.0"), Decimal("83748.0"), Decimal("83370.0"), None]
    assert [each.size for each in seen] == [Decimal("0.5")] * 3 + [None]
    assert {each.side for each in seen} == {Side.SELL}


def test_two_tries_a_rung_unless_nothing_was_filled() -> None:
    first = Climb().after(Decimal("0.1"))
    assert (first, first.after(Decimal("0.1"))) == (Climb(0, 1), Climb(1))
    assert Climb().after(Decimal(0)) == Climb(1)


def test_a_price_stays_inside_the_band_and_on_the_tick() -> None:
    narrow = MARKET._replace(band_low=Decimal("83999.95"), band_high=Decimal("84001.17"))
    assert through_touch(Side.SELL, Decimal("0.0075"), narrow) == Decimal("84000.0")
    assert through_touch(Side.BUY, Decimal("0.0075"), narrow) == Decimal("84001.1")
    assert through_touch(Side.SELL, Decimal("0.001"), MARKET._replace(bid=None)) is None


def test_units_that_disagree_are_closed_without_a_size() -> None:
    assert closes(position("0.5", units_agree=False)) == (Close(BTC, None, Side.SELL, None, None),)
    unknown = Market(BTC, "BTC", None, None, None, None, None, None)
    assert next_closes([position("0.5")], {BTC: unknown}, {}, LADDER, {})[0].size is None


def test_what_one_side_has_in_excess_goes_first_and_then_both_sides_together() -> None:
    long, short = position("1.2"), position("-0.2", slot=3)
    assert [(each.slot, each.size) for each in closes(long, short)] == [(None, Decimal("1.0"))]
    long = position("0.2")
    start = {(BTC, None): Decimal("1.2"), (BTC, 3): Decimal("-0.2")}
    both = closes(long, short, start=start)
    assert [(each.side, each.size or abs(long.size)) for each in both] == [
        (Side.SELL, Decimal("0.2")),
        (Side.BUY, Decimal("0.2")),
    ]


def test_opposite_positions_shrink_in_equal_slices() -> None:
    both = closes(position("1"), position("-1", DATED))
    assert {(each.side, each.size) for each in both} == {(Side.SELL, Decimal("0.25")), (Side.BUY, Decimal("0.25"))}


def test_most_margin_goes_first_and_at_most_four_at_once() -> None:
    held = [
        position("1", product=f"{name}_USDC-PERPETUAL", initial_margin=Decimal(margin))
        for name, margin in (("A", 1), ("B", 5), ("C", 3), ("D", 4), ("E", 2))
    ]
    assert [each.product_id[0] for each in closes(*held)] == ["B", "D", "C", "E"]


def test_a_bound_on_slippage_ends_the_ladder_below_the_market() -> None:
    rungs = ladder(Decimal("0.002"))
    assert rungs == (Decimal("0.0010"), Decimal("0.002"))
    assert not is_exhausted(Climb(1), rungs)
    assert is_exhausted(Climb(2), rungs)
    assert closes(position("1"), rungs=rungs, climbs={(BTC, None): Climb(2)}) == ()
    assert not is_exhausted(Climb(9), LADDER)


# --- a venue that fills as it likes


@dataclass
class Venue:
    """Positions and orders that obey reduce-only; what it fills of a close is decided by the test."""

    positions: dict[Key, Decimal]
    orders: list[Order] = field(default_factory=list)

    def listing(self) -> tuple[list[Order], list[Position]]:
        return list(self.orders), [position(str(size), *key) for key, size in self.positions.items()]

    def close(self, close: Close, share: Decimal) -> Decimal:
        held = self.positions[key_of(close)]
        assert held != 0
        assert close.side is (Side.SELL if held > 0 else Side.BUY), "a close on the wrong side"
        assert close.size is None or 0 < close.size <= abs(held), "a close larger than the position"
        asked = abs(held) if close.size is None else close.size
        filled = (asked * share / STEP).to_integral_value() * STEP
        filled = min(filled, asked) if share < 1 else asked
        self.positions[key_of(close)] = held + close.side.sign * filled
        return filled


KEYS: list[Key] = [(BTC, None), (BTC, 3), (DATED, None), (ETH, None)]
SIZES = st.integers(-50_000, 50_000).map(lambda number: number * STEP)
SHARES = st.sampled_from([Decimal(0), Decimal("0.3"), Decimal("0.99"), Decimal(1)])


def net(venue: Venue, underlying: str) -> Decimal:
    return sum((size for key, size in venue.positions.items() if key[0].startswith(underlying)), Decimal(0))


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(SIZES, min_size=4, max_size=4), shares=st.lists(SHARES, min_size=40, max_size=40))
def test_following_it_ends_flat_and_never_adds_risk(sizes: list[Decimal], shares: list[Decimal]) -> None:
    venue = Venue(dict(zip(KEYS, sizes, strict=True)))
    start, climbs = dict(venue.positions), dict[Key, Climb]()
    tape = iter(shares)
    for _ in range(200):
        _, positions = venue.listing()
        wave = next_closes([each for each in positions if each.size], MARKETS, climbs, LADDER, start)
        if not wave:
            break
        assert len({key_of(close) for close in wave}) == len(wave), "more than one close of a position in flight"
        before = {name: abs(net(venue, name)) for name in ("BTC", "ETH")}
        pair = max((close.size or abs(venue.positions[key_of(close)])) for close in wave)
        for close in wave:
            held = abs(venue.positions[key_of(close)])
            filled = venue.close(close, next(tape, Decimal(1)))
            assert abs(venue.positions[key_of(close)]) <= held, "an absolute position grew"
            climbs[key_of(close)] = climbs.get(key_of(close), Climb()).after(filled)
        for name, was in before.items():
            assert abs(net(venue, name)) <= was + pair, "the net delta of an underlying grew by more than one slice"
    assert all(size == 0 for size in venue.positions.values())


@settings(max_examples=100, deadline=None)
@given(size=SIZES.filter(bool), shares=st.lists(SHARES, min_size=20, max_size=20))
def test_a_bounded_ladder_ends_and_what_is_left_keeps_its_stop(size: Decimal, shares: list[Decimal]) -> None:
    side = Side.SELL if size > 0 else Side.BUY
    stop = order(OrderType.STOP_MARKET, reduce_only=True, side=side)
    venue = Venue({(BTC, None): size}, [stop])
    rungs, climbs, rounds = ladder(Decimal("0.003")), dict[Key, Climb](), 0
    for share in shares:
        standing = sort_standing(*venue.listing())
        if standing.positions:
            assert standing.stops == (stop,), "a stop whose position stands was given up"
            assert stop not in standing.entries + standing.orphans
        wave = next_closes(standing.positions, MARKETS, climbs, rungs, {(BTC, None): size})
        if not wave:
            break
        rounds += 1
        filled = venue.close(wave[0], share)
        climbs[BTC, None] = climbs.get((BTC, None), Climb()).after(filled)
    assert rounds <= 2 * len(rungs)
    left = venue.positions[BTC, None]
    assert left == 0 or is_exhausted(climbs[BTC, None], rungs)


# --- the proof


def read(
    kind: str,
    at: float,
    *,
    empty: bool = True,
    pinned: bool = True,
    current: bool = True,
    market_ms: int = 12 * 3_600_000,
) -> Read:
    return Read(kind, at, market_ms, empty, pinned, current)


FLAT = [read("orders", 1), read("positions", 1), read("orders", 2), read("positions", 2), read("margin", 2.1)]


def test_agreeing_fresh_reads_prove_flat() -> None:
    assert prove_flat(FLAT, since_s=0.5).flat


@pytest.mark.parametrize("missing", range(len(FLAT)))
def test_not_one_read_can_be_left_out(missing: int) -> None:
    assert not prove_flat(FLAT[:missing] + FLAT[missing + 1 :], since_s=0.5).flat


@pytest.mark.parametrize("spoilt", range(len(FLAT)))
@pytest.mark.parametrize(
    "defect",
    [{"empty": False}, {"pinned": False}, {"current": False}, {"market_ms": 8 * 3_600_000 + 1}, {"at_s": 0.4}],
    ids=["shows something", "another account", "old", "in settlement", "before our last act"],
)
def test_a_spoilt_read_proves_nothing(spoilt: int, defect: dict[str, object]) -> None:
    spoilt_read = FLAT[spoilt]._replace(**defect)  # type: ignore[arg-type]
    assert not prove_flat([*FLAT[:spoilt], spoilt_read, *FLAT[spoilt + 1 :]], since_s=0.5).flat


def test_two_reads_in_the_same_second_are_one() -> None:
    close_together = [each._replace(at_s=1 + each.at_s / 10) for each in FLAT]
    assert not prove_flat(close_together, since_s=0.5).flat


def test_anything_seen_later_takes_the_proof_back() -> None:
    assert not prove_flat([*FLAT, read("positions", 3, empty=False)], since_s=0.5).flat


def test_a_sight_that_does_not_count_as_proof_still_counts_against_it() -> None:
    assert not prove_flat([*FLAT, read("orders", 3, empty=False, pinned=False)], since_s=0.5).flat


def test_no_orders_needs_two_listings_and_ignores_positions() -> None:
    listings = [read("orders", 1), read("positions", 1.5, empty=False), read("orders", 2)]
    assert prove_no_orders(listings, since_s=0).flat
    assert not prove_no_orders(listings[:2], since_s=0).flat
