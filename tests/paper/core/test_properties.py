"""Whatever anybody does, in whatever order: the money adds up, and orders keep their promises."""

import contextlib
import json
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from perpctl.paper.core import Exchange
from perpctl.paper.events import BookChanged, Event, Filled, OrderChanged
from perpctl.paper.products import BTC, ETH, GATEWAY_PRODUCTS, GATEWAY_RULES
from perpctl.paper.types import Edit, NewOrder, Print, Rejected, Tick
from tests.paper.core.conftest import START_MS

D = Decimal
PRICES = {BTC.name: D(84000), ETH.name: D(2600)}
TIMES_IN_FORCE = (*["good_til_cancelled"] * 3, "immediate_or_cancel", "fill_or_kill", "good_til_day")
AMOUNTS = {BTC.name: D("0.1"), ETH.name: D("3")}

products = st.sampled_from((BTC.name, BTC.name, ETH.name))
steps = st.integers(-150, 150)
ticks = st.tuples(st.just("tick"), products, steps, st.integers(0, 3), st.integers(-30, 30))
pauses = st.tuples(st.just("pause"), st.sampled_from((1_000, 600_000, 30_000_000, 90_000_000)))
placements = st.tuples(
    st.just("place"),
    st.sampled_from((7, 8)),
    products,
    st.sampled_from(("buy", "sell")),
    st.integers(1, 60),
    steps,
    st.sampled_from(
        ("limit", "limit", "market", "market_limit", "stop_market", "take_limit", "trailing_stop", "oco", "otoco")
    ),
    st.sampled_from(TIMES_IN_FORCE),
    st.booleans(),
    st.sampled_from((None, None, None, "isolated", "post_only")),
    st.sampled_from(("first_hit", "complete_fill", "incremental")),
)
cancels = st.tuples(st.just("cancel"), st.sampled_from((7, 8)), st.integers(0, 5))
edits = st.tuples(st.just("edit"), st.sampled_from((7, 8)), st.integers(0, 5), st.integers(1, 60), steps)
closes = st.tuples(st.just("close"), st.sampled_from((7, 8)), products, st.booleans())
moneys = st.tuples(st.just("money"), st.sampled_from((7, 8)), st.sampled_from((D(-40_000), D(5_000))))
mixed = st.one_of(ticks, ticks, placements, placements, placements, cancels, edits, closes, pauses, moneys)
acts = st.lists(mixed, min_size=20, max_size=60)


class Play:
    """Carries acts out on an exchange; a refusal is an answer like any other."""

    def __init__(self) -> None:
        self.exchange = Exchange(GATEWAY_PRODUCTS, GATEWAY_RULES, START_MS)
        self.prices = dict(PRICES)
        self.events: list[Event] = []
        for account_id in (7, 8):
            self.exchange.open_account(account_id, f"user{account_id}", START_MS)
        for name in PRICES:
            self.tick(name, 0, 1, 0)
        self.exchange.take_events()

    def do(self, act: tuple[Any, ...]) -> None:
        verb: str = act[0]
        with contextlib.suppress(Rejected):
            getattr(self, verb)(*act[1:])
        self.events.extend(self.exchange.take_events())

    def tick(self, name: str, move: int, prints: int, premium: int) -> None:
        product = self.exchange.product(name)
        self.prices[name] = max(PRICES[name] / 2, self.prices[name] + move * product.tick * 40)
        bid = self.prices[name] // product.tick * product.tick
        mark, amount = bid * (1 + D(premium) / 10_000), AMOUNTS[name] * (1 + abs(move) % 7)
        seen = tuple(Print("sell" if n % 2 else "buy", bid + n * product.tick, amount) for n in range(prints))
        at_ms = self.exchange.now + 500
        self.exchange.on_tick(Tick(name, at_ms, bid, bid + product.tick, amount, amount, bid, mark, seen))

    def pause(self, length: int) -> None:
        self.exchange.advance(self.exchange.now + length)

    def place(
        self, account: int, name: str, direction: Any, lots: int, away: int, type: Any, tif: Any, reduce_only: bool,
        extra: str | None, condition: Any,
    ) -> None:  # fmt: skip
        product = self.exchange.product(name)
        price = self.prices[name] // product.tick * product.tick + away * product.tick * 10
        members: dict[str, Any] = {
            "product": name,
            "direction": direction,
            "amount": lots * AMOUNTS[name],
            "price": price,
            "time_in_force": tif,
            "reduce_only": reduce_only,
            "trigger": "mark_price",
            "trigger_price": price,
            "trigger_offset": product.tick * (1 + abs(away)),
            "isolated": extra == "isolated",
            "post_only": extra == "post_only",
            "allocated_margin": D(6000) if extra == "isolated" else None,
            "trigger_fill_condition": condition,
        }
        if type in ("oco", "otoco"):
            members |= self._linked(type, members)
            type = "limit"
        self.exchange.place(account, NewOrder(type=type, **members), self.exchange.now)

    def _linked(self, type: str, members: dict[str, Any]) -> dict[str, Any]:
        opposite: Any = "sell" if members["direction"] == "buy" else "buy"
        exits = (
            NewOrder(product="", direction=opposite, price=members["price"], reduce_only=True),
            NewOrder(product="", direction=opposite, type="stop_market", trigger="mark_price",
                     trigger_price=members["price"], reduce_only=True),
        )  # fmt: skip
        if type == "oco":
            return {"linked_order_type": "one_cancels_other", "otoco": exits[1:]}
        return {"linked_order_type": "one_triggers_one_cancels_other", "otoco": exits}

    def cancel(self, account: int, nth: int) -> None:
        orders = self.exchange.open_orders(account, include_isolated=True)
        if nth < len(orders):
            order = orders[nth]
            self.exchange.cancel(account, order.order_id, self.exchange.now, isolated=order.isolated)

    def edit(self, account: int, nth: int, lots: int, away: int) -> None:
        orders = self.exchange.open_orders(account, include_isolated=True)
        if nth < len(orders):
            order = orders[nth]
            tick = self.exchange.product(order.product).tick
            price = order.price + away * tick if order.price else None
            change = Edit(amount=lots * AMOUNTS[order.product], price=price)
            self.exchange.edit(account, order.order_id, change, self.exchange.now, isolated=order.isolated)

    def close(self, account: int, name: str, isolated: bool) -> None:
        self.exchange.close_position(account, name, "market", None, self.exchange.now, isolated=isolated)

    def money(self, account: int, amount: Decimal) -> None:
        if amount > 0 or self.exchange.account(account).available_funds > -amount:
            self.exchange.deposit(account, amount, self.exchange.now)

    def everybody(self) -> list[int]:
        mains = self.exchange.account_ids()
        return mains + [slot for main in mains for slot in self.exchange.slot_ids(main)]


relaxed = settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))


@relaxed
@given(acts)
def test_after_every_act_the_money_of_every_account_adds_up_exactly(played: list[tuple[Any, ...]]) -> None:
    play = Play()
    for act in played:
        play.do(act)
        for account_id in play.everybody():
            play.exchange.check_identity(account_id)
            view = play.exchange.account(account_id)
            assert view.equity == view.balance + view.session_rpl + view.session_upl
    outside = sum(row.change for a in play.everybody() for row in play.exchange.ledger(a) if row.type == "transfer")
    assert outside == 0


@relaxed
@given(acts)
def test_orders_keep_their_promises(played: list[tuple[Any, ...]]) -> None:
    play = Play()
    for act in played:
        play.do(act)
    ended: dict[str, str] = {}
    for event in play.events:
        if isinstance(event, OrderChanged):
            order = event.order
            assert 0 <= order.filled <= order.amount
            assert order.order_id not in ended or order.state == ended[order.order_id] or order.state == "rejected"
            if not order.is_live:
                ended[order.order_id] = order.state
    for account_id in play.everybody():
        closing_only = {trade.order_id for trade in play.exchange.trades(account_id) if trade.reduce_only}
        for row in play.exchange.ledger(account_id):
            if row.order_id in closing_only:
                assert row.side is not None
                assert row.side.startswith("close")
        for order in play.exchange.open_orders(account_id):
            assert order.state != "open" or order.remaining > 0
            size = play.exchange.position(account_id, order.product).size
            assert not (order.reduce_only and order.state == "open") or 0 < order.remaining <= -order.sign * size
    fills = [event.trade.trade_id for event in play.events if isinstance(event, Filled) and event.account_id == 7]
    assert len(fills) == len(set(fills))


@relaxed
@given(acts)
def test_what_margin_counts_of_a_book_is_what_rests_in_it_and_may_grow_a_position(
    played: list[tuple[Any, ...]],
) -> None:
    play = Play()
    for act in played:
        play.do(act)
        resting: dict[tuple[str, int, str], Decimal] = {}
        for order in (order for main in (7, 8) for order in play.exchange.open_orders(main, include_isolated=True)):
            if order.state == "open" and not order.reduce_only:
                key = (order.product, order.account_id, f"{order.direction}s")
                resting[key] = resting.get(key, D(0)) + order.remaining
        books = {name: market["book"]["growing"] for name, market in play.exchange.dump()["markets"].items()}
        counted = {
            (name, int(number), side): D(amount)
            for name, growing in books.items()
            for number, sides in growing.items()
            for side, amount in sides.items()
        }
        assert {key: amount for key, amount in counted.items() if amount} == resting


@relaxed
@given(acts)
def test_books_chain_and_never_stand_crossed(played: list[tuple[Any, ...]]) -> None:
    play = Play()
    last: dict[str, int] = {}
    for act in played:
        play.do(act)
        for name in PRICES:
            book = play.exchange.book(name, 5)
            open_book = play.exchange.ticker(name).state == "open"
            assert not (open_book and book.bids and book.asks) or book.bids[0][0] < book.asks[0][0] or act[0] == "pause"
    for event in play.events:
        if isinstance(event, BookChanged):
            assert last.get(event.product, event.prev_change_id) == event.prev_change_id
            last[event.product] = event.change_id


@relaxed
@given(acts, st.integers(0, 30))
def test_the_same_acts_give_the_same_events_even_across_dump_and_load(played: list[tuple[Any, ...]], at: int) -> None:
    plain, stored = Play(), Play()
    for number, act in enumerate(played):
        plain.do(act)
        if number == at:
            stored.exchange = Exchange.load(json.loads(json.dumps(stored.exchange.dump())))
        stored.do(act)
    assert plain.events == stored.events
    assert plain.exchange.dump() == stored.exchange.dump()
