"""This file says what a protective stop is at a venue, as data: its type, what sets it off, up to where it fills."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from perpctl.model.instrument import Quote
from perpctl.model.money import price_down, price_up
from perpctl.model.order import OrderRequest, OrderType, Purpose, Side


class Protection(Struct, frozen=True):
    """`beyond`: the limit of a stop-limit lies that fraction past its trigger. Such a stop may fire and not fill: then
    the position is closed after `fills_within_s`. None: the stop trades at market."""

    type: OrderType
    trigger: str  # mark_price | index_price | last_price
    beyond: Decimal | None = None
    fills_within_s: float | None = None

    def limit(self, side: Side, trigger_price: Decimal, tick: Decimal) -> Decimal | None:
        """The price up to which the stop fills; None: any."""
        if self.beyond is None:
            return None
        if side is Side.BUY:
            return price_up(trigger_price * (1 + self.beyond), tick)
        return price_down(trigger_price * (1 - self.beyond), tick)

    def reference(self, quote: Quote) -> Decimal | None:
        """The price that sets the stop off, or the next best."""
        prices = {"mark_price": quote.mark, "index_price": quote.index, "last_price": quote.last}
        return prices[self.trigger] or quote.mark or quote.mid or quote.last

    def stop(
        self, identity: str, product_id: str, side: Side, size: Decimal, trigger_price: Decimal, tick: Decimal
    ) -> OrderRequest:
        """A stop that only reduces, without an end."""
        return OrderRequest(
            identity=identity,
            product_id=product_id,
            side=side,
            size=size,
            type=self.type,
            price=self.limit(side, trigger_price, tick),
            reduce_only=True,
            trigger_price=trigger_price,
            trigger=self.trigger,
            purpose=Purpose.STOP,
        )
