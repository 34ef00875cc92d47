"""This file translates order configurations, the one-key objects of v3, into orders of the core and back."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpctl.paper.advanced_trade.listing import contracts, moment, text
from perpctl.paper.advanced_trade.reading import FLAG, TEXT, WHOLE, invalid, number, read_time
from perpctl.paper.types import Direction, NewOrder, Order, OrderType, Product, TimeInForce

_SIZES = {"quote_size": TEXT, "base_size": TEXT}
_LIMIT = {**_SIZES, "limit_price": TEXT, "rfq_disabled": FLAG, "reduce_only": FLAG}
_STOP = {
    "base_size": TEXT,
    "limit_price": TEXT,
    "stop_price": TEXT,
    "stop_direction": TEXT,
    "reduce_only": FLAG,
}
_BRACKET = {"base_size": TEXT, "limit_price": TEXT, "stop_trigger_price": TEXT, "reduce_only": FLAG}
_GTC = {**_LIMIT, "post_only": FLAG}
_SCALED_WORDS = (
    "quote_size", "base_size", "min_price", "max_price", "price_distribution", "size_distribution", "size_diff",
    "size_ratio",
)  # fmt: skip
_SCALED = dict.fromkeys(_SCALED_WORDS, TEXT)

CONFIGURATIONS: dict[str, Any] = {
    # post_only here is an unknown field, on the venue too (JKorf/Coinbase.Net PR 35)
    "market_market_ioc": {**_SIZES, "rfq_disabled": FLAG, "reduce_only": FLAG},
    "market_market_fok": {**_SIZES, "rfq_disabled": FLAG, "reduce_only": FLAG},
    "sor_limit_ioc": _LIMIT,
    "limit_limit_gtc": _GTC,
    "limit_limit_gtd": {**_GTC, "end_time": TEXT},
    "limit_limit_fok": _LIMIT,
    "twap_limit_gtd": {**_LIMIT, **dict.fromkeys(
        ("start_time", "end_time", "number_buckets", "bucket_size", "bucket_duration"), TEXT
    )},
    "stop_limit_stop_limit_gtc": _STOP,
    "stop_limit_stop_limit_gtd": {**_STOP, "end_time": TEXT},
    "trigger_bracket_gtc": _BRACKET,
    "trigger_bracket_gtd": {**_BRACKET, "end_time": TEXT},
    "scaled_limit_gtc": {**_SCALED, "orders": [_GTC], "num_orders": WHOLE},
}  # fmt: skip

_IN_FORCE: dict[str, TimeInForce] = {"ioc": "immediate_or_cancel", "fok": "fill_or_kill"}


@dataclass(frozen=True, slots=True)
class Wish:
    """An order as asked for, before anybody judged it. A number is None when absent or no number."""

    product_id: str
    side: str
    kind: str  # the configuration's key
    terms: dict[str, Any]
    client_order_id: str = ""
    attached: Any = None  # the terms of a bracket that each fill brings along

    @property
    def size(self) -> Decimal | None:
        return number(self.terms.get("base_size"))

    @property
    def limit(self) -> Decimal | None:
        return number(self.terms.get("limit_price"))

    @property
    def stop(self) -> Decimal | None:
        return number(self.terms.get("stop_price") or self.terms.get("stop_trigger_price"))

    @property
    def direction(self) -> Direction:
        return "buy" if self.side == "BUY" else "sell"

    @property
    def sign(self) -> int:
        return 1 if self.side == "BUY" else -1

    @property
    def is_market(self) -> bool:
        return self.kind.startswith("market_")

    @property
    def is_stop(self) -> bool:
        return self.kind.startswith("stop_limit")

    @property
    def is_bracket(self) -> bool:
        return self.kind.startswith("trigger_bracket")

    @property
    def end_ms(self) -> int | None:
        end = self.terms.get("end_time")
        return read_time("end_time", end) if end else None

    def _bracket(self, product: Product) -> NewOrder:
        """The order that closes what this one opens, at a profit or a stop."""
        return NewOrder(
            product=product.name,
            direction="sell" if self.side == "BUY" else "buy",
            price=number(self.attached.get("limit_price")),
            trigger="last_price",
            trigger_price=number(self.attached.get("stop_trigger_price")),
            bracket=True,
        )

    def new_order(self, product: Product) -> NewOrder:
        """The core's request for it; only for a wish that was judged."""
        rises = self.terms.get("stop_direction") == "STOP_DIRECTION_STOP_UP"
        kind: OrderType = "market" if self.is_market else "limit"
        if self.is_stop:
            kind = "stop_limit" if rises == (self.side == "BUY") else "take_limit"
        return NewOrder(
            product=product.name,
            direction=self.direction,
            amount=(self.size or Decimal(0)) * product.contract_size,
            type=kind,
            price=None if self.is_market else self.limit,
            time_in_force=_IN_FORCE.get(self.kind[-3:], "good_til_cancelled"),
            post_only=bool(self.terms.get("post_only")),
            reject_post_only=bool(self.terms.get("post_only")),
            label=self.client_order_id,
            trigger="last_price" if self.stop is not None else None,
            trigger_price=self.stop,
            bracket=self.is_bracket,
            end_ms=self.end_ms,
            linked_order_type="one_triggers_other" if self.attached else None,
            trigger_fill_condition="incremental" if self.attached else "first_hit",
            otoco=(self._bracket(product),) if self.attached else (),
        )


def read_configuration(content: Any) -> tuple[str, dict[str, Any]]:
    """(key, terms) of an order_configuration. Raises ApiError unless it has exactly one key."""
    if not isinstance(content, dict) or len(content) != 1:
        raise invalid("order_configuration must have exactly one configuration")
    ((kind, terms),) = content.items()
    return kind, terms or {}


def configuration_of(order: Order, product: Product) -> dict[str, Any]:
    """An order's configuration as its reads show it."""
    size = text(contracts(product, order.amount))
    ended = {"end_time": moment(order.end_ms)} if order.end_ms is not None else {}
    if order.original_order_type == "market":
        key = "market_market_fok" if order.time_in_force == "fill_or_kill" else "market_market_ioc"
        return {key: {"base_size": size, "rfq_disabled": False, "reduce_only": False}}
    suffix = "gtd" if ended else "gtc"
    limit = {"base_size": size, "limit_price": text(order.price)}
    if order.is_bracket:
        first = order.trigger_reference_price if order.triggered else order.price
        stop = {"stop_trigger_price": text(order.trigger_price)}
        return {f"trigger_bracket_{suffix}": {"base_size": size, "limit_price": text(first), **stop, **ended}}
    if order.trigger is not None:
        way = {"stop_price": text(order.trigger_price), "stop_direction": stop_direction(order)}
        return {f"stop_limit_stop_limit_{suffix}": {**limit, **way, **ended}}
    if order.time_in_force == "immediate_or_cancel":
        return {"sor_limit_ioc": {**limit, "rfq_disabled": False}}
    if order.time_in_force == "fill_or_kill":
        return {"limit_limit_fok": {**limit, "rfq_disabled": False}}
    return {f"limit_limit_{suffix}": {**limit, "post_only": order.post_only, **ended}}


def stop_direction(order: Order) -> str:
    """Whether a stop waits for a rise or a fall."""
    rises = (order.direction == "buy") != order.order_type.startswith("take")
    return "STOP_DIRECTION_STOP_UP" if rises else "STOP_DIRECTION_STOP_DOWN"
