"""A core on the bench: one product, a strategy that wishes what the test says, and the venue's answers by hand."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal as D
from typing import Any

from msgspec import structs

from perpctl.engine import events as e
from perpctl.engine.core import Core, Rules
from perpctl.engine.state.product import Product
from perpctl.engine.strategy import Desired, View
from perpctl.exchange import port
from perpctl.model.fill import Fill
from perpctl.model.instrument import Quote
from perpctl.model.mode import Mode
from perpctl.model.order import TRIGGER_TYPES, Order, OrderRequest, OrderStatus, Side
from perpctl.model.position import Position
from perpctl.risk.limits import Limits, RiskLevel, level_limits
from tests.risk.world import NOW, WORLDS, World

MINE = "mine-"
OPEN = {"locked": "false", "maintenance": None, "announcements": (), "offset_ms": 0, "round_trip_ms": 1}


@dataclass(frozen=True)
class Nothing:
    """No parameters."""


class Scripted:
    """A strategy that wishes for what the test put into `wishes`, and counts how often it was asked."""

    name = "scripted"
    params = Nothing()

    def __init__(self) -> None:
        self.wishes: Sequence[Desired] | None = None
        self.asked = 0
        self.seen: View | None = None

    def warm_up(self, closes: Sequence[tuple[int, D]]) -> None:
        return

    def on_market(self, view: View) -> Sequence[Desired] | None:
        self.asked, self.seen = self.asked + 1, view
        wishes, self.wishes = self.wishes, None
        return wishes


class Bench:
    """A running core in normal mode, flat, with a fresh account; its entries cannot outlive it."""

    def __init__(self, venue: str = "global", limits: Limits | None = None, **rules_: Any) -> None:
        numbers = itertools.count(1)
        self.strategy = Scripted()
        self.world: World = WORLDS[venue]
        calendar = rules_.pop("calendar", self.world.calendar)
        rules = Rules(limits or level_limits(RiskLevel.CONSERVATIVE), calendar, self.world.terms, **rules_)
        product = Product(self.world.instrument, self.strategy)
        self.core = Core(rules, [product], lambda: f"{MINE}{next(numbers)}", is_mine)
        self.now = 100.0
        self.at_ms = NOW
        self.trades = itertools.count(1)
        self.core.mode = Mode.NORMAL
        self.core.dead_man = self.world.dead_man
        self.core.begin(e.Reconciled((), (), (), self.now), self.now)
        self.venue_read()
        self.quote()
        self.tell(e.AccountRead(self.world.account))

    @property
    def product(self) -> Product:
        return self.core.products[self.world.btc]

    def tell(self, event: e.Event) -> list[e.Effect]:
        effects = self.core.step(event, self.now)
        self.core.on_their_way = 0  # as if each had come to its turn, long ago by the time of the next event
        return effects

    def quote(self, mid: str = "84100", **change: Any) -> list[e.Effect]:
        """The market a moment later, two ticks wide; a mark only where the venue has one."""
        self.at_ms += 100
        quote, tick, middle = self.world.quote, self.world.tick, D(mid)
        moved: Quote = structs.replace(
            quote,
            bid=middle - tick,
            ask=middle + tick,
            mark=None if quote.mark is None else middle,
            last=middle,
            at_ms=self.at_ms,
            seen=self.now,
        )
        return self.tell(port.QuoteSeen(structs.replace(moved, **change)))

    def venue_read(self, **change: Any) -> list[e.Effect]:
        """The venue says how it is."""
        return self.tell(e.VenueRead(port.VenueStatus(**{**OPEN, **change}), self.at_ms))

    def wish(self, *wishes: Desired) -> list[e.Effect]:
        """What the core does about these wishes at the next market event, two seconds later."""
        self.strategy.wishes = wishes
        self.now += 2
        self.at_ms += 2000
        return self.quote()

    def exits(self, *wishes: Desired) -> list[OrderRequest]:
        """The orders of an exit; what goes before it is read gone at once."""
        effects = self.wish(*wishes)
        for one in tuple(effects):
            if isinstance(one, e.CancelStop | e.CancelEntry):
                effects += self.gone(one.order)
        return [one.request for one in effects if isinstance(one, e.PlaceEntry | e.CloseNow)]

    def gone(self, order: Order, **change: Any) -> list[e.Effect]:
        """The venue shows the order ended."""
        over = replace(order, status=OrderStatus.CANCELLED, updated_ms=order.updated_ms + 1, **change)
        return self.tell(e.CancelAnswered(order.identity or "", port.Confirmed(over)))

    def later(self, seconds: float) -> list[e.Effect]:
        """Time passes while the user channel is heard."""
        self.now += seconds
        return self.tell(port.Beat(self.now)) + self.tell(e.Ticked())

    def accept(self, request: OrderRequest, **change: Any) -> list[e.Effect]:
        return self.tell(e.Placed(request.identity, port.Confirmed(as_order(request, **change))))

    def fill(
        self, request: OrderRequest, size: str | None = None, price: str = "84100", **change: Any
    ) -> port.FillSeen:
        """The news of a fill of this order, not told yet."""
        number = next(self.trades)
        made = Fill(
            trade_id=f"t-{number}",
            order_id=f"o-{request.identity}",
            identity=request.identity,
            product_id=request.product_id,
            side=request.side,
            size=D(size) if size else request.size,
            price=D(price),
            fee=D("0.01"),
            fee_currency=self.world.instrument.currency,
            liquidity="M",
            at_ms=self.at_ms,
        )
        return port.FillSeen(replace(made, **change))

    def hold(self, size: str = "0.1") -> e.PlaceStop:
        """Get into a long position; the stop that the core asks for."""
        entry = placed(self.wish(bid(size)))[0]
        self.accept(entry.request)
        return only(self.tell(self.fill(entry.request)), e.PlaceStop)

    def position(self, size: str, entry: str = "84100", **change: Any) -> Position:
        """What the venue tells of a holding; the index is not told of one where there is no mark."""
        told = Position(
            product_id=self.world.btc,
            slot=None,
            size=D(size),
            entry_price=D(entry),
            mark=D(84100),
            index=None if self.world.quote.mark is None else D(84100),
            notional=None,
            unrealized=None,
            realized=None,
            funding=None,
            initial_margin=None,
            maintenance_margin=None,
            leverage=None,
            units_agree=True,
            at_ms=NOW,
            seen=0.0,
            underlying=self.world.instrument.base,
        )
        return replace(told, **change)


def is_mine(label: str | None) -> bool:
    return label is not None and label.startswith(MINE)


def bid(size: str = "0.01", price: str = "84080", **change: Any) -> Desired:
    return replace(Desired(Side.BUY, D(size), D(price), "test", tolerance=D(5)), **change)


def offer(size: str = "0.01", price: str = "84120", **change: Any) -> Desired:
    return replace(Desired(Side.SELL, D(size), D(price), "test", tolerance=D(5)), **change)


def as_order(request: OrderRequest, status: OrderStatus | None = None, **change: Any) -> Order:
    resting = OrderStatus.UNTRIGGERED if request.type in TRIGGER_TYPES else OrderStatus.OPEN
    order = Order(
        order_id=f"o-{request.identity}",
        identity=request.identity,
        product_id=request.product_id,
        side=request.side,
        type=request.type,
        status=status or resting,
        size=request.size,
        filled=D(0),
        price=request.price,
        average_price=None,
        reduce_only=request.reduce_only,
        post_only=request.post_only,
        trigger_price=request.trigger_price,
        trigger=request.trigger,
        created_ms=NOW,
        updated_ms=NOW,
    )
    return replace(order, **change)


def placed(effects: Sequence[e.Effect]) -> list[e.PlaceEntry]:
    return [effect for effect in effects if isinstance(effect, e.PlaceEntry)]


def of(effects: Sequence[e.Effect], kind: type[Any]) -> list[Any]:
    return [effect for effect in effects if isinstance(effect, kind)]


def only(effects: Sequence[e.Effect], kind: type[Any]) -> Any:
    found = of(effects, kind)
    assert len(found) == 1, effects
    return found[0]
