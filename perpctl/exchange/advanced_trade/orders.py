"""This file writes orders of ours as this venue takes them, and says which it has none of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from perpctl.exchange.advanced_trade.wire.products import Contract
from perpctl.exchange.advanced_trade.wire.words import stamp
from perpctl.model.instrument import Book
from perpctl.model.money import ZERO, plain, price_down, price_up
from perpctl.model.order import TRIGGER_TYPES, Order, OrderRequest, OrderType, Side, TimeInForce

ENTRY_LIFE_MS = 120_000  # this venue has no dead-man switch: what rests and protects nothing ends by itself
STOP_LIMIT_BEYOND = Decimal("0.01")  # there is no stop at market: the limit lies so far beyond the stop
LONGEST_ID = 128
_STOPS = frozenset({OrderType.STOP_MARKET, OrderType.STOP_LIMIT})
_LASTING = frozenset({TimeInForce.GTC, TimeInForce.GTD, TimeInForce.DAY})


class Unsendable(Exception):
    """The venue has no such order; the text says why."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An order as it goes out: `contracts` whole, and the one configuration that carries its terms."""

    request: OrderRequest
    contracts: Decimal
    configuration: Mapping[str, Mapping[str, object]]

    @property
    def body(self) -> dict[str, object]:
        request = self.request
        return {
            "client_order_id": request.identity,
            "product_id": request.product_id,
            "side": request.side.value,
            "order_configuration": self.configuration,
        }

    @property
    def closing_body(self) -> dict[str, object]:
        """The same as the venue's close of a position, of so many contracts."""
        request = self.request
        return {
            "client_order_id": request.identity,
            "product_id": request.product_id,
            "size": plain(self.contracts),
        }


def ends_at_once(request: OrderRequest) -> bool:
    """Whether it is done, filled or not, when the venue has answered."""
    return request.type is OrderType.MARKET or request.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)


def check(request: OrderRequest) -> None:
    """Raises Unsendable for what no configuration of this venue expresses."""
    if request.slot is not None:
        raise Unsendable("this venue has no isolated slots")
    if request.type in (OrderType.TRAILING_STOP, OrderType.OTHER):
        raise Unsendable(f"orders of type {request.type.value} cannot be sent to this venue")
    if request.type is OrderType.LIMIT and request.price is None:
        raise Unsendable("an order of type limit needs a price")
    if request.type in TRIGGER_TYPES and request.trigger_price is None:
        raise Unsendable(f"an order of type {request.type.value} needs a trigger price")
    if request.post_only and (request.type is not OrderType.LIMIT or request.time_in_force not in _LASTING):
        raise Unsendable("post-only is for limit orders that rest")
    if not 0 < len(request.identity) <= LONGEST_ID:
        raise Unsendable(f"an identity has 1 to {LONGEST_ID} characters here")


def contracts_in(request: OrderRequest, unit: Contract) -> Decimal:
    """The size in whole contracts. Raises Unsendable."""
    count = unit.contracts(request.size)
    if count is None or count < 1:
        raise Unsendable(f"{plain(request.size)} {unit.base} is no whole number of contracts of {plain(unit.size)}")
    return count


def draft(request: OrderRequest, contracts: Decimal, unit: Contract, now_ms: int) -> Draft:
    """The order in the venue's terms. What rests ends as it says, or in two minutes; a stop that reduces does not."""
    size = {"base_size": plain(contracts)}
    end = {"end_time": stamp(request.ends_ms or now_ms + ENTRY_LIFE_MS)}
    if request.type is OrderType.MARKET:
        kind = "market_market_fok" if request.time_in_force is TimeInForce.FOK else "market_market_ioc"
        return Draft(request, contracts, {kind: size})
    if request.type in TRIGGER_TYPES:
        terms = {**size, **_stop_terms(request, unit)}
        if request.reduce_only:
            return Draft(request, contracts, {"stop_limit_stop_limit_gtc": terms})
        return Draft(request, contracts, {"stop_limit_stop_limit_gtd": {**terms, **end}})
    assert request.price is not None
    limit = {**size, "limit_price": plain(request.price)}
    if request.time_in_force is TimeInForce.FOK:
        return Draft(request, contracts, {"limit_limit_fok": limit})
    return Draft(request, contracts, {"limit_limit_gtd": {**limit, **end, "post_only": request.post_only}})


def _stop_terms(request: OrderRequest, unit: Contract) -> dict[str, str]:
    assert request.trigger_price is not None
    stop, buys = request.trigger_price, request.side is Side.BUY
    limit = request.price
    if limit is None:
        beyond = stop * (1 + STOP_LIMIT_BEYOND if buys else 1 - STOP_LIMIT_BEYOND)
        limit = price_up(beyond, unit.tick) if buys else price_down(beyond, unit.tick)
    rises = buys == (request.type in _STOPS)
    direction = f"STOP_DIRECTION_STOP_{'UP' if rises else 'DOWN'}"
    return {"stop_price": plain(stop), "limit_price": plain(limit), "stop_direction": direction}


def standing_within(book: Book, side: Side, price: Decimal, unit: Contract) -> Decimal:
    """How many whole contracts stand in the book at this price or a better one, for an order of this side."""
    levels = book.asks if side is Side.BUY else book.bids
    reached = (amount for at, amount in levels if (at <= price if side is Side.BUY else at >= price))
    return sum(reached, ZERO) // unit.size


def is_the_one(order: Order, request: OrderRequest, sent: Decimal) -> bool:
    """Whether a returned order is the one asked for: an id that was used before returns the first of its name."""
    return (
        order.identity == request.identity
        and order.product_id == request.product_id
        and order.side is request.side
        and order.size == sent
    )
